"""Calls the gate in front of a bare application, in either shell and without a server, and times some of the calls.

Requests in which the machine took the processor away can be left out (``ru_nivcsw``): where several share it they are one in
a hundred, and p99 would be the length of somebody else's turn.
"""

from __future__ import annotations

import asyncio
import resource
import time
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.requests import environ_with, scope_with
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

if TYPE_CHECKING:
    from jwtgate import Gate

__all__ = ["SHELLS", "Block", "Caller", "Prepared"]

RUSAGE_THREAD = getattr(resource, "RUSAGE_THREAD", None)  # Linux

Prepared = dict[str, Any]
Block = list[tuple[Prepared | None, Prepared]]
"""Pairs: what comes before, not timed, and what is timed."""


def _turns_lost() -> int:
    """How often the machine has taken the processor away from this thread; 0 where it does not tell."""
    return resource.getrusage(RUSAGE_THREAD).ru_nivcsw if RUSAGE_THREAD is not None else 0


class Asgi:
    """On an event loop of its own."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self._app = gate, ASGIMiddleware(peers.bare_asgi, gate=gate)
        self._loop = asyncio.new_event_loop()
        self.prepared = scope_with

    def call(self, block: Block, *, is_alone: bool = True) -> list[float]:
        """Seconds of each that is timed. Args: is_alone: leave out those in which the processor was taken away."""
        return self._loop.run_until_complete(self._call(block, is_alone=is_alone))

    async def _call(self, block: Block, *, is_alone: bool) -> list[float]:
        seconds: list[float] = []
        for before, known in block:
            if before is not None:
                await self._app(before.copy(), _receive, _refused)
            scope, turns = known.copy(), _turns_lost()
            began = time.perf_counter()
            await self._app(scope, _receive, _admitted)
            ended = time.perf_counter()
            if not is_alone or _turns_lost() == turns:
                seconds.append(ended - began)
        return seconds

    def call_refused(self, prepared: Prepared) -> None:
        """One that must be."""
        self._loop.run_until_complete(self._app(prepared.copy(), _receive, _refused))

    def close(self) -> None:
        """Its loop."""
        self._loop.close()


class Wsgi:
    """As a server's thread calls it."""

    def __init__(self, gate: Gate) -> None:
        self.gate, self._app = gate, WSGIMiddleware(peers.bare_wsgi, gate=gate)
        self.prepared = environ_with

    def call(self, block: Block, *, is_alone: bool = True) -> list[float]:
        """See ``Asgi``."""
        seconds: list[float] = []
        for before, known in block:
            if before is not None:
                self.call_refused(before)
            environ, turns = known.copy(), _turns_lost()
            began = time.perf_counter()
            b"".join(self._app(environ, _start_admitted))
            ended = time.perf_counter()
            if not is_alone or _turns_lost() == turns:
                seconds.append(ended - began)
        return seconds

    def call_refused(self, prepared: Prepared) -> None:
        """One that must be."""
        b"".join(self._app(prepared.copy(), _start_refused))

    def close(self) -> None:
        """Nothing to close."""


Caller = Asgi | Wsgi
SHELLS: dict[str, type[Caller]] = {"ASGI": Asgi, "WSGI": Wsgi}


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _admitted(message: dict[str, Any]) -> None:
    if message.get("status", 200) != 200:
        raise AssertionError(f"an admitted request was answered {message}")


async def _refused(message: dict[str, Any]) -> None:
    if message.get("status", 401) not in (401, 503):
        raise AssertionError(f"a refused request was answered {message}")


def _start_admitted(status: str, _headers: Any, _info: Any = None) -> None:
    if not status.startswith("200"):
        raise AssertionError(f"an admitted request was answered {status}")


def _start_refused(status: str, _headers: Any, _info: Any = None) -> None:
    if not status.startswith(("401", "503")):
        raise AssertionError(f"a refused request was answered {status}")
