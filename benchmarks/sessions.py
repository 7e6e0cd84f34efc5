"""Sessions: what a login and a refresh take beside one round trip of redis-py, and what they leave in the store.

Each round times one call of every candidate, so a noisy second falls on all of them. The sessions that are refreshed are in
the middle of their lives: nine times rotated, the grace of all but the last rotation over. ``hot lineage`` is one session
refreshed over and over within its grace, which nobody does.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from time import perf_counter
from typing import TYPE_CHECKING, Any

import redis

from benchmarks.measuring import Line, Options, in_turns, median, percentile, ratio
from benchmarks.tokens import signing_settings_for
from jwtgate import Gate, Settings
from jwtgate.errors import GrantError, InvalidToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.messages import TokenPair

__all__ = ["left_behind", "made_gate", "rotations", "speed", "stolen"]

BAR_ROUND_TRIPS = 3.0
ALGORITHMS = ("HS256", "RS256", "ES256")
AGE = 9
GRACE_SECONDS = 1.0
LEASE_SECONDS = 3.0
"""Longer than the default: on a machine that others starve a lapse would be another thing."""


def made_gate(options: Options, prefix: str, algorithm: str = "HS256", **settings: Any) -> Gate:
    """A gate whose view is live."""
    own = {"lease": LEASE_SECONDS, **signing_settings_for(algorithm), **settings}
    gate = Gate(Settings(store=options.url, prefix=prefix, **own))
    if not gate.ready(20.0):
        raise AssertionError("the view did not become live")
    return gate


# --- speed


def speed(options: Options) -> list[Line]:
    """Row 11. Only HS256 has a bar: the other signatures cost more than a round trip themselves."""
    lines: list[Line] = []
    for algorithm in ALGORITHMS:
        with closing(made_gate(options, f"speed-{algorithm}", algorithm, refresh_grace=GRACE_SECONDS)) as gate:
            with redis.Redis.from_url(options.url) as client:
                client.set("round-trip", b"x" * 20)
                samples = _timed(gate, client, options.pick(1500, 300))
        lines += [_speed_line(way, algorithm, samples) for way in samples if way not in ("GET", "PING", "hot lineage")]
        lines.append(_speed_line("hot lineage", algorithm, samples, has_bar=False))
    return lines


def _timed(gate: Gate, client: redis.Redis, rounds: int) -> dict[str, list[float]]:
    loop = asyncio.new_event_loop()
    aged = [_aged(gate, f"user-{number}") for number in range(2 * (rounds + 1))]
    time.sleep(GRACE_SECONDS)
    hot = [gate.sessions.start("hot").refresh_token]
    names = iter(range(10**9))

    def refresh_hot() -> None:
        hot[0] = gate.sessions.refresh(hot[0]).refresh_token

    samples = in_turns(
        {
            "GET": _sample(lambda: client.get("round-trip")),
            "login": _sample(lambda: gate.sessions.start(f"login-{next(names)}")),
            "PING": _sample(client.ping),
            "refresh": _sample(lambda: gate.sessions.refresh(aged.pop())),
            "login, asyncio": _awaited(loop, lambda: gate.aio.sessions.start(f"login-{next(names)}")),
            "refresh, asyncio": _awaited(loop, lambda: gate.aio.sessions.refresh(aged.pop())),
            "hot lineage": _sample(refresh_hot),
        },
        rounds,
    )
    loop.close()
    return samples


def _aged(gate: Gate, sub: str) -> str:
    pair = gate.sessions.start(sub, scope="read write", device="Firefox on Linux", ip="192.0.2.7")
    for _ in range(AGE):
        pair = gate.sessions.refresh(pair.refresh_token)
    return pair.refresh_token


def _sample(call: Callable[[], object]) -> Callable[[], float]:
    def sample() -> float:
        began = perf_counter()
        call()
        return perf_counter() - began

    return sample


def _awaited(loop: asyncio.AbstractEventLoop, call: Callable[[], Any]) -> Callable[[], float]:
    async def timed() -> float:
        began = perf_counter()
        await call()
        return perf_counter() - began

    return lambda: loop.run_until_complete(timed())


def _speed_line(way: str, algorithm: str, samples: dict[str, list[float]], *, has_bar: bool = True) -> Line:
    has_bar = has_bar and algorithm == "HS256"
    own, trip, ping = (median(samples[name]) * 1e6 for name in (way, "GET", "PING"))
    trips, by_round = own / trip, ratio(samples[way], samples["GET"])
    noise = percentile(samples["GET"], 90) / percentile(samples["GET"], 10)
    return Line(
        f"11 {way}, {algorithm}",
        f"p50 {own:.0f} µs; p99 {percentile(samples[way], 99) * 1e6:.0f} µs",
        f"redis-py GET {trip:.0f} µs; PING {ping:.0f} µs; GET p90/p10 {noise:.1f}",
        f"{trips:.2f} Redis round trips; {by_round:.2f} round by round",
        f"<= {BAR_ROUND_TRIPS:g} round trips" if has_bar else "",
        trips <= BAR_ROUND_TRIPS if has_bar else None,
        {"microseconds": own, "round trips": trips, "GET": trip, "PING": ping, "noise": noise},
    )


# --- what is left in the store


def _keys_of(client: redis.Redis, prefix: str, kinds: str = "sgu") -> dict[bytes, int]:
    """Sessions' keys and the bytes of each."""
    keys = [key for kind in kinds for key in client.scan_iter(match=f"{{{prefix}:0}}:{kind}:*", count=1000)]
    sizes = [client.memory_usage(key, samples=0) for key in keys]
    return {key: size for key, size in zip(keys, sizes, strict=True) if size is not None}


def rotations(options: Options) -> list[Line]:
    """Row 13: one lineage, rotated again and again within its grace, when it holds the most.

    The first figure is from before it remembers as many spent tokens as it ever does.
    """
    at, prefix = (10, 100, 1_000, options.pick(100_000, 5_000)), "rotations"
    found: dict[int, tuple[int, int, int]] = {}
    with closing(made_gate(options, prefix)) as gate, redis.Redis.from_url(options.url) as client:
        pair = gate.sessions.start("alice")
        for number in range(1, at[-1] + 1):
            pair = gate.sessions.refresh(pair.refresh_token)
            if number in at:
                keys = _keys_of(client, prefix)
                record = int(client.hstrlen(f"{{{prefix}:0}}:s:{pair.session_id}", "record"))  # type: ignore[arg-type]
                found[number] = (len(keys), sum(keys.values()), record)
    first, last = found[at[1]], found[at[-1]]
    is_constant = last[0] == first[0] and last[1] - first[1] <= 64 and last[2] - first[2] <= 64
    return [
        Line(
            f"13 one lineage, {at[-1]:,} rotations",
            "; ".join(f"after {number:,}: {size:,} bytes, record {record:,}" for number, (_, size, record) in found.items()),
            f"{last[0]} keys",
            f"{last[1] / first[1]:.3f}",
            "constant (within 64 bytes: numbers get longer)",
            is_constant,
            {f"bytes after {number}": size for number, (_, size, _) in found.items()},
        )
    ]


def left_behind(options: Options) -> list[Line]:
    """Row 15: a session that was ended is remembered until its own end, lest it be taken for a lost one."""
    count, prefix = options.pick(1_000, 200), "left-behind"
    with closing(made_gate(options, prefix)) as gate, redis.Redis.from_url(options.url) as client:
        pairs = [gate.sessions.start(f"user-{number}") for number in range(count)]
        live = sum(_keys_of(client, prefix).values())
        rulings = _rulings_bytes(client, prefix)
        for pair in pairs:
            gate.sessions.end(pair.session_id)
        keys = _keys_of(client, prefix)
        rulings = _rulings_bytes(client, prefix) - rulings
        endless = [key for key in keys if int(client.pttl(key)) < 0]  # type: ignore[arg-type]
    kinds = {kind: sum(f":{kind}:".encode() in key for key in keys) for kind in "sgu"}
    return [
        Line(
            f"15 left of {count:,} logins and logouts",
            f"{sum(keys.values()) / count:.0f} bytes a session until its end; {rulings / count:.0f} bytes of ruling and log",
            f"{live / count:.0f} bytes a live session",
            "",
            "one key each, all of which expire",
            kinds == {"s": count, "g": 0, "u": 0} and not endless,
            {"bytes": sum(keys.values()) / count, "live bytes": live / count, "ruling bytes": rulings / count, **kinds},
        )
    ]


def _rulings_bytes(client: redis.Redis, prefix: str) -> int:
    return sum(int(client.memory_usage(f"{{{prefix}:0}}:{name}", samples=0) or 0) for name in ("rulings", "until", "log"))  # type: ignore[arg-type]


# --- theft


def stolen(options: Options) -> list[Line]:
    """Row 14: whoever comes second after the grace ends the session for both, whatever the order."""
    count, grace = options.pick(200, 40), 0.3
    with closing(made_gate(options, "stolen", refresh_grace=grace)) as gate:
        kept = {order: [gate.sessions.start(f"{order}-{number}") for number in range(count)] for order in ORDERS}
        first = {order: [gate.sessions.refresh(pair.refresh_token) for pair in pairs] for order, pairs in kept.items()}
        time.sleep(grace * 1.5)
        ended = {order: _second_uses(gate, kept[order], first[order], order) for order in ORDERS}
    return [
        Line(
            "14 stolen refresh token, both orders",
            "; ".join(f"{order}: {number} of {count} sessions ended" for order, number in ended.items()),
            "",
            "",
            "every session ends at the second use after the grace",
            set(ended.values()) == {count},
            {order: float(number) for order, number in ended.items()},
        )
    ]


ORDERS = ("thief first", "owner first")
"""Who used the token first and holds the living pair; the other comes with the spent one."""


def _second_uses(gate: Gate, spent: list[TokenPair], current: list[TokenPair], order: str) -> int:
    """In the first order the holder has rotated once more by then: the spent one is not even the latest."""
    ended = 0
    for old, new in zip(spent, current, strict=True):
        pairs = [old, new, gate.sessions.refresh(new.refresh_token)] if order == ORDERS[0] else [old, new]
        is_caught = _refusal(lambda old=old: gate.sessions.refresh(old.refresh_token)) == "ReusedRefreshToken"  # type: ignore[misc]
        are_dead = all(_refusal(lambda pair=pair: gate.sessions.refresh(pair.refresh_token)) for pair in pairs)  # type: ignore[misc]
        are_refused = all(_refusal(lambda pair=pair: gate.verify(pair.access_token)) for pair in pairs)  # type: ignore[misc]
        ended += is_caught and are_dead and are_refused
    return ended


def _refusal(call: Callable[[], object]) -> str:
    try:
        call()
    except (GrantError, InvalidToken) as error:
        return type(error).__name__
    return ""
