"""The processes of one run around one store, and what faults reach for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Self

from processes.proving import SETTINGS
from processes.proxy import Proxy
from processes.world import START_SECONDS, World, wait_until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

WORKERS = 4
REQUESTS_PER_SECOND = 1200.0
"""Of all workers together: over the thousand that the report asks for, since one of them may be away."""

REVOCATIONS_PER_SECOND = 24.0
REVOKERS = 2
OF_WORKERS = {"fresh_seconds": 4.0, "swept_latest": 300, "shows_proofs": True}
OF_REVOKERS = {"lanes": 6, "everything_seconds": 7.0, "session_share": 0.2, "proofs_per_second": 3.0}
TOLD_BY = {"issuer": "https://id.example", "logout_audience": "web", "endpoints": "/auth"}
"""A provider tells of logouts, too: rulings by its time, not by position."""


class Scene:
    """Four workers, both faces, and two revokers.

    Attributes:
        proxies: of each process, where the fault is one of the network; else empty and all are connected directly.
        troubled: from when to when something was wrong.
    """

    def __init__(self, store: Any, *, lease: float, is_proxied: bool, cripple: str | None = None, ripe: float = 3.0) -> None:
        """Args:
        cripple: of one of the workers, see ``processes.cripples``.
        ripe: longest that a token lives before it is revoked, in seconds.
        """
        self.store = store
        self.lease = lease
        self.proxies: dict[str, Proxy] = {}
        self.troubled: list[tuple[float, float]] = []
        self._later: list[Callable[[], object]] = []
        self._is_proxied = is_proxied
        self.world = World(
            lease=lease,
            rate=REVOCATIONS_PER_SECOND,
            workers={**OF_WORKERS, "rate": REQUESTS_PER_SECOND / WORKERS},
            revokers={**OF_REVOKERS, "ripe_seconds": ripe},
            **SETTINGS,
            **TOLD_BY,
        )
        self._started = 0
        try:
            for index in range(WORKERS):
                more = {"cripple": cripple} if cripple and index == 0 else {}
                self._start_worker(("asgi", "wsgi")[index % 2], more)
            for index in range(REVOKERS):
                name = f"revoker-{index}"
                self.world.start_revoker(name, self._url(name), REVOCATIONS_PER_SECOND / REVOKERS)
            self.world.go()
        except BaseException:
            self.close()
            raise

    def _start_worker(self, face: str, more: dict[str, Any]) -> None:
        name = f"worker-{self._started}-{face}"
        self._started += 1
        self.world.start_worker(name, face, self._url(name), **more)

    def _url(self, name: str) -> str:
        if not self._is_proxied:
            return str(self.store.url)
        self.proxies[name] = Proxy(self.store.port)
        return str(self.store.url_through(self.proxies[name].port))

    def close(self) -> None:
        """Ends all processes and proxies."""
        self.world.__exit__()
        for proxy in self.proxies.values():
            proxy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- for the faults

    @property
    def workers(self) -> list[str]:
        """Names of those that are processes of their own; their forked children come and go."""
        return sorted(name for name in self.world.processes if name.startswith("worker"))

    def some_workers(self, draw: random.Random) -> list[str]:
        """At least one."""
        return draw.sample(self.workers, draw.randint(1, len(self.workers)))

    def some_proxies(self, draw: random.Random) -> list[Proxy]:
        """Of at least one worker, now and then of a revoker too."""
        victims = self.some_workers(draw)
        if draw.random() < 0.25:
            victims.append("revoker-0")
        return [self.proxies[name] for name in victims]

    def replace(self, name: str) -> None:
        """A new worker with a new name, for one that was killed."""
        self._start_worker(name.rpartition("-")[2], {})

    def wait_started(self) -> None:
        """Until the newest worker has something to say: an interpreter's start is not the gate's."""
        newest = max(self.workers, key=lambda name: int(name.split("-")[1]))
        path = self.world.folder / f"{newest}.status"
        wait_until(lambda: path.exists() and path.stat().st_size, START_SECONDS, "the new worker has started")

    def wait_for(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        """Polls."""
        wait_until(condition, seconds, "what the fault waits for")

    def later(self, work: Callable[[], object]) -> None:
        """To be done once recovery was measured."""
        self._later.append(work)

    def tidy_up(self, *, after_seconds: float) -> None:
        """Does what was left for later, in its order; then the processes may have to recover once more."""
        if self._later:
            time.sleep(after_seconds)
        while self._later:
            self._later.pop(0)()
            if not self._later:
                time.sleep(after_seconds)
                self.world.wait_live(self.now, START_SECONDS)

    @property
    def now(self) -> float:
        """The clock of all histories."""
        return time.monotonic()
