"""Row 3: the decision on a token that this process sees for the first time, beside ``jwt.decode`` of the same token.

The view is live and complete, so no decision asks the store: ``status().look_ups`` is counted and must not move. Between
rounds the admitted tokens are forgotten, and every token is first seen again.
"""

from __future__ import annotations

import asyncio
from contextlib import closing
from time import perf_counter
from typing import TYPE_CHECKING

import jwt

from benchmarks import peers
from benchmarks.hits import ALGORITHMS, gate_for
from benchmarks.measuring import Line, Options, added, in_turns, median, ratio
from benchmarks.requests import asgi_sample, scope_with
from benchmarks.tokens import mint, verifying_key
from jwtgate.asgi import JWTGateMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate import Gate

__all__ = ["first_seen"]

BAR = 0.9

LEASE_SECONDS = 3.0
"""Longer than the default: on a machine that others starve, a lapse would turn decisions into look-ups, another thing."""


def first_seen(options: Options) -> list[Line]:
    """Through ``gate.verify`` and through the ASGI shell, less the bare application."""
    lines: list[Line] = []
    for algorithm in ALGORITHMS:
        tokens = mint(algorithm, options.pick(2000, 500))
        with closing(gate_for(options, algorithm, f"first-{algorithm}", LEASE_SECONDS)) as gate:
            lines += _lines(algorithm, *_measured(gate, algorithm, tokens, options.pick(15, 5)))
    return lines


def _measured(gate: Gate, algorithm: str, tokens: list[str], rounds: int) -> tuple[dict[str, list[float]], int]:
    loop = asyncio.new_event_loop()
    key, scopes = verifying_key(algorithm), [scope_with(token) for token in tokens]
    look_ups, misses = gate.status().look_ups, gate.status().misses
    samples = in_turns(
        {
            "jwt.decode": _sample(lambda token: jwt.decode(token, key, algorithms=[algorithm]), tokens),
            "verify": _forgetting(gate, _sample(gate.verify, tokens)),
            "bare": asgi_sample(loop, peers.bare_asgi, scopes),
            "ASGI": _forgetting(gate, asgi_sample(loop, JWTGateMiddleware(peers.bare_asgi, gate=gate), scopes)),
        },
        rounds,
    )
    loop.close()
    if gate.status().misses - misses != 2 * (rounds + 1) * len(tokens):
        raise AssertionError("some tokens were not seen for the first time")
    samples["ASGI"] = added(samples["ASGI"], samples["bare"])
    return samples, gate.status().look_ups - look_ups


def _sample(decide: Callable[[str], object], tokens: list[str]) -> Callable[[], float]:
    def sample() -> float:
        began = perf_counter()
        for token in tokens:
            decide(token)
        return (perf_counter() - began) / len(tokens)

    return sample


def _forgetting(gate: Gate, sample: Callable[[], float]) -> Callable[[], float]:
    def forgetful() -> float:
        gate.view.forget_admitted()
        return sample()

    return forgetful


def _lines(algorithm: str, samples: dict[str, list[float]], look_ups: int) -> list[Line]:
    lines: list[Line] = []
    for way in ("verify", "ASGI"):
        share = ratio(samples[way], samples["jwt.decode"])
        own, theirs = median(samples[way]) * 1e6, median(samples["jwt.decode"]) * 1e6
        lines.append(
            Line(
                f"3 first seen, {way}, {algorithm}",
                f"{own:.1f} µs; {look_ups} look-ups",
                f"jwt.decode {theirs:.1f} µs",
                f"{share:.2f}",
                f"<= {BAR:g} x jwt.decode; 0 look-ups",
                share <= BAR and look_ups == 0,
                {"microseconds": own, "ratio": share, "look_ups": look_ups},
            )
        )
    return lines
