"""Row 4: requests a second with wrk, gated against bare, one worker each, in turns; beside the peer with its Redis check.

All servers of a pair run at once and only one is loaded at a time. uvicorn runs as plain pip installs it (asyncio, h11) and
on uvloop and httptools, where a request costs so little that every microsecond of the gate shows.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.hits import made
from benchmarks.measuring import Line, Options, in_turns, median, ratio
from benchmarks.serving import gunicorn, requests_per_second, serving, uvicorn
from benchmarks.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["throughput"]

BAR = 0.90

PURE = {"bare": "bare_asgi", "jwtgate": "gated_asgi"}
STARLETTE = {"bare": "bare_starlette", "jwtgate": "gated_starlette", "PyJWT+Redis": "checked_starlette"}
LOOPS = {"h11": "asyncio", "httptools": "uvloop"}


def throughput(options: Options) -> list[Line]:
    """Five pairs; only what can be imported runs beside them."""
    own = mint("HS256")[0]
    return [
        *(_uvicorn(options, own, f"uvicorn {http}, pure ASGI", PURE, http) for http in LOOPS),
        *(_uvicorn(options, own, f"uvicorn {http}, Starlette", STARLETTE, http) for http in LOOPS),
        *_flask(options, own),
    ]


def _uvicorn(options: Options, own: str, name: str, factories: Mapping[str, str], http: str) -> Line:
    commands = {each: uvicorn(factory, loop=LOOPS[http], http=http) for each, factory in factories.items()}
    return _pair(options, name, commands, own)


def _flask(options: Options, own: str) -> list[Line]:
    commands = {"bare": gunicorn("bare_flask"), "jwtgate": gunicorn("gated_flask")}
    peer = made(peers.flask_jwt_extended, options.url)
    theirs = {}
    if peer is not None:
        commands["Flask-JWT-Extended+Redis"] = gunicorn("checked_flask")
        theirs["Flask-JWT-Extended+Redis"] = peer[2]
    return [_pair(options, "gunicorn, Flask", commands, own, theirs)]


def _pair(
    options: Options, name: str, commands: Mapping[str, list[str]], own: str, theirs: Mapping[str, str] | None = None
) -> Line:
    seconds = options.pick(2, 1)
    with ExitStack() as stack:
        candidates = {}
        for candidate, command in commands.items():
            token = (theirs or {}).get(candidate, own)
            url = stack.enter_context(serving(command, options.url, token, JWTGATE_PREFIX="throughput"))
            candidates[candidate] = partial(requests_per_second, url, token, seconds)
        samples = in_turns(candidates, options.pick(7, 4))
    share = ratio(samples["jwtgate"], samples["bare"])
    others = {f"{peer} ratio": ratio(samples[peer], samples["bare"]) for peer in samples if "+Redis" in peer}
    return Line(
        f"4 requests/s, {name}",
        f"{median(samples['jwtgate']):,.0f}/s",
        "; ".join(f"{peer} {median(values):,.0f}/s" for peer, values in samples.items() if peer != "jwtgate"),
        "; ".join([f"{share:.3f} of bare", *(f"{peer.removesuffix(' ratio')} {value:.3f}" for peer, value in others.items())]),
        f">= {BAR:g} of bare",
        share >= BAR,
        {"ratio": share, **others, **{f"{each} per second": median(values) for each, values in samples.items()}},
    )
