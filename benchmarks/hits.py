"""Rows 1 and 2: what an admitted request pays when its token was admitted before, over the bare application.

One request with ten headers goes through the application in this process, thousands of times per sample; the bare
application's time in the same round is taken off. Peers: the same, over their own bare framework.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.measuring import Line, Options, added, in_turns, median, ratio
from benchmarks.requests import asgi_sample, environ_with, scope_with, wsgi_sample
from benchmarks.tokens import mint, settings_for
from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["asgi_hits", "gate_for", "made", "wsgi_hits"]

BAR_MICROSECONDS = 2.0
BAR_TIMES_LESS = 100.0
ALGORITHMS = ("HS256", "RS256")


def gate_for(options: Options, algorithm: str, prefix: str, lease: float = 1.0) -> Gate:
    """A gate whose view is live."""
    gate = Gate(Settings(store=options.url, prefix=prefix, lease=lease, **settings_for(algorithm)))
    if not gate.ready(20.0):
        raise AssertionError("the view did not become live")
    return gate


def made(maker: Callable[..., peers.Made], *arguments: Any, **named: Any) -> peers.Made | None:
    """A peer, or None and a loud line."""
    try:
        return maker(*arguments, **named)
    except ImportError as error:
        print(f"!!! PEER LEFT OUT: {maker.__name__}: {error}", file=sys.stderr)
        return None


def asgi_hits(options: Options) -> list[Line]:
    """Row 1."""
    loop = asyncio.new_event_loop()
    with ExitStack() as stack:
        candidates, bases = _asgi_peers(options, loop)
        for algorithm in ALGORITHMS:
            gate = stack.enter_context(closing(gate_for(options, algorithm, f"hit-{algorithm}")))
            scopes = [scope_with(mint(algorithm)[0])] * options.pick(4000, 1000)
            candidates[f"jwtgate {algorithm}"] = asgi_sample(loop, ASGIMiddleware(peers.bare_asgi, gate=gate), scopes)
            candidates[f"bare {algorithm}"] = asgi_sample(loop, peers.bare_asgi, scopes)
            candidates[f"jwt.decode {algorithm}"] = asgi_sample(loop, peers.decoding_asgi(algorithm), scopes[:500])
            bases[f"jwt.decode {algorithm}"] = bases[f"jwtgate {algorithm}"] = f"bare {algorithm}"
        samples = in_turns(candidates, options.pick(15, 5))
    loop.close()
    gains = {name: added(samples[name], samples[base]) for name, base in bases.items()}
    return [_line("1 hit, pure ASGI", algorithm, gains) for algorithm in ALGORITHMS]


def _asgi_peers(options: Options, loop: asyncio.AbstractEventLoop) -> tuple[dict[str, Callable[[], float]], dict[str, str]]:
    candidates: dict[str, Callable[[], float]] = {}
    bases: dict[str, str] = {}
    calls = options.pick(400, 100)
    for name, maker in {"Starlette": peers.starlette, "AuthX": peers.authx, "Litestar": peers.litestar}.items():
        peer = made(maker, options.url)
        if peer is None:
            continue
        bare, checked, token = peer
        scopes = [scope_with(token)] * calls
        candidates[f"{name} bare"] = asgi_sample(loop, bare, scopes)
        candidates[f"{name}+Redis"] = asgi_sample(loop, checked, scopes)
        bases[f"{name}+Redis"] = f"{name} bare"
    return candidates, bases


def wsgi_hits(options: Options) -> list[Line]:
    """Row 2."""
    candidates: dict[str, Callable[[], float]] = {}
    bases: dict[str, str] = {}
    with ExitStack() as stack:
        for algorithm in ALGORITHMS:
            gate = stack.enter_context(closing(gate_for(options, algorithm, f"hit-{algorithm}")))
            environs = [environ_with(mint(algorithm)[0])] * options.pick(4000, 1000)
            candidates[f"jwtgate {algorithm}"] = wsgi_sample(WSGIMiddleware(peers.bare_wsgi, gate=gate), environs)
            candidates[f"bare {algorithm}"] = wsgi_sample(peers.bare_wsgi, environs)
            bases[f"jwtgate {algorithm}"] = f"bare {algorithm}"
        peer = made(peers.flask_jwt_extended, options.url)
        if peer is not None:
            bare, checked, token = peer
            environs = [environ_with(token)] * options.pick(400, 100)
            candidates["Flask bare"] = wsgi_sample(bare, environs)
            candidates["Flask-JWT-Extended+Redis"] = wsgi_sample(checked, environs)
            bases["Flask-JWT-Extended+Redis"] = "Flask bare"
        samples = in_turns(candidates, options.pick(15, 5))
    gains = {name: added(samples[name], samples[base]) for name, base in bases.items()}
    return [_line("2 hit, WSGI", algorithm, gains) for algorithm in ALGORITHMS]


def _line(row: str, algorithm: str, gains: dict[str, list[float]]) -> Line:
    """Met: within the microseconds, and every peer with Redis costs a hundred times more."""
    own = gains[f"jwtgate {algorithm}"]
    others = {name: values for name, values in gains.items() if "+Redis" in name or name == f"jwt.decode {algorithm}"}
    times = {name: ratio(values, own) for name, values in others.items()}
    microseconds = median(own) * 1e6
    least = min((value for name, value in times.items() if "+Redis" in name), default=float("inf"))
    return Line(
        f"{row}, {algorithm}",
        f"{microseconds:.2f} µs",
        "; ".join(f"{name} {median(values) * 1e6:.0f} µs" for name, values in others.items()),
        "; ".join(f"{name} {value:.0f}x" for name, value in times.items()),
        f"<= {BAR_MICROSECONDS:g} µs; +Redis >= {BAR_TIMES_LESS:g}x",
        microseconds <= BAR_MICROSECONDS and least >= BAR_TIMES_LESS,
        {"microseconds": microseconds, **{f"times {name}": value for name, value in times.items()}},
    )
