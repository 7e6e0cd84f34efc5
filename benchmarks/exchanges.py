"""What one exchange with the store costs this process: ``Line.ask`` beside redis-py's bare connection and its client."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import redis

from benchmarks.measuring import Line, Options, in_turns, median, ratio
from jwtgate.stores.redis import wire
from jwtgate.stores.redis.dialling import dial_settings
from jwtgate.stores.redis.places import Fixed

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["exchanges"]


def exchanges(options: Options) -> list[Line]:
    """PING, microseconds each."""
    calls = options.pick(5000, 1000)
    dial = dial_settings(options.url)
    bare = dial.open()
    bare.connect()

    def exchange() -> Any:
        bare.send_command("PING")
        return bare.read_response()

    with closing(wire.Line(Fixed(dial))) as line, redis.Redis.from_url(options.url) as client:
        samples = in_turns(
            {
                "line": _timed(lambda: line.ask(("PING",), _same), calls),
                "bare": _timed(exchange, calls),
                "client": _timed(client.ping, calls),
            },
            options.pick(15, 5),
        )
    bare.disconnect()
    values = {name: median(times) for name, times in samples.items()}
    against = ratio(samples["line"], samples["bare"])
    return [
        Line(
            "exchange with the store",
            f"{values['line']:.1f} us",
            f"bare connection {values['bare']:.1f} us, redis-py's client {values['client']:.1f} us",
            f"{against:.2f} of the bare connection",
            "",
            None,
            {**values, "against_bare": against},
        )
    ]


def _timed(call: Callable[[], Any], calls: int) -> Callable[[], float]:
    def sample() -> float:
        began = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - began) / calls * 1e6

    return sample


def _same(answer: Any) -> Any:
    return answer
