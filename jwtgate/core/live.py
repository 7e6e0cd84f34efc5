"""Connections that outlive the decision that admitted them: WebSockets and streaming responses.

Invariant: a message passes, in either direction, only at a moment at which a new request with the same token would be
admitted from memory: under a live lease, before the deadline, and nothing ruled on any of its handles since it was decided.
Else it is decided anew, by the one decision, before the message passes (``core.gate``). So what a receipt promises of requests
holds for each message of a connection; and one over which nothing passes is woken at its deadline and by whatever ends what was
remembered of its token, never by a clock that ticks.

A connection is listed under its handles before the decision that is to vouch for it: whatever is ruled on one of them after
that decision looked makes the verdict void (``doubts``): it is doubted once the ruling is known, so whoever decides after that
finds it. Unlike the admitted tokens the list has no bound of its own: it is as long as the server has connections.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from math import inf
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jwtgate.core.lru import Admitted
    from jwtgate.messages import Source

__all__ = ["LiveConnection", "LiveConnections", "Lock", "nobody"]

LEAST_UNDECIDED_SECONDS = 1.0
MOST_UNDECIDED_SECONDS = 30.0
"""What cannot be known of a connection though the view is trusted (its session was lost, its issuer's keys cannot be had) may
be so for hours: it is asked again after half as long as it has been so, within these bounds. Grants come far more often."""


class Lock(AbstractContextManager[object], Protocol):
    """As ``threading`` has them."""

    def acquire(self, blocking: bool = ...) -> bool:  # noqa: FBT001 - as it is there
        """False: another holds it, and it was not to be waited for."""
        ...

    def release(self) -> None:
        """Lets others have it."""


def nobody() -> None:
    """Whom a connection wakes that has nobody to wake: its thread is the application's, or it is over."""


class LiveConnection:
    """One connection, as long as it lasts.

    Attributes:
        token: the bytes that it was opened with; the server keeps them as long, in its scope.
        source: where they were found.
        entry: what was admitted.
        wake: called, in any thread and under the view's lock, when it should be looked at.
        handles: those that it is listed under.
        deadline: boot-clock seconds from which what vouches for it is over.
        doubts: how often a ruling, or the end of what was known, has made it doubtful.
        is_vouched: a decision has admitted it, and nothing has happened since.
    """

    __slots__ = ("deadline", "doubts", "entry", "handles", "is_vouched", "source", "token", "wake")

    source: Source | None

    def __init__(self, token: bytes, source: Source | None, entry: Admitted, wake: Callable[[], object]) -> None:
        self.token = token
        self.source = source
        self.entry = entry
        self.wake = wake
        self.handles = entry.handles
        self.deadline = -inf
        self.doubts = 0
        self.is_vouched = False

    def doubt(self) -> None:
        """Something happened that may have ended it."""
        self.doubts += 1
        self.is_vouched = False
        self.wake()


class LiveConnections:
    """Of one process, indexed by handle. What takes the lock says so; all else is called under it.

    Attributes:
        opened: how many there ever were.
    """

    __slots__ = ("_all", "_gone", "_index", "_lock", "_next_at", "_undecided", "opened")

    def __init__(self, lock: Lock) -> None:
        """Args: lock: the view's."""
        self._lock = lock
        self._all: set[LiveConnection] = set()
        self._gone: set[LiveConnection] = set()
        self._index: dict[bytes, LiveConnection | set[LiveConnection]] = {}
        self._undecided: dict[LiveConnection, tuple[float, float]] = {}  # since when, and when it is looked at again
        self._next_at = inf
        self.opened = 0

    def __len__(self) -> int:
        return len(self._all)

    def watch(self, live: LiveConnection) -> None:
        """Lists a connection, which no decision has vouched for yet; takes the lock."""
        with self._lock:
            self._sweep()
            self.opened += 1
            self._add(live)

    def unwatch(self, live: LiveConnection) -> None:
        """It is over; twice is fine. Waits for no lock: the collector, too, ends what its loop or its server forgot, in any
        thread, also in one that holds the lock; whoever has it next does the rest.
        """
        self._gone.add(live)
        if self._lock.acquire(blocking=False):
            try:
                self._sweep()
            finally:
                self._lock.release()

    def vouch(self, live: LiveConnection, entry: Admitted, deadline: float, doubts: int) -> bool:
        """A decision that began when it had ``doubts`` admits a connection until ``deadline``; takes the lock.

        False: something was ruled on it meanwhile, or it has handles under which it was not listed: it must be decided again.
        One that ended meanwhile is not listed again.
        """
        with self._lock:
            if live not in self._all:
                return True
            if live.doubts != doubts:
                return False
            live.entry, live.deadline = entry, deadline
            if entry.handles != live.handles:
                self._remove(live)
                live.handles = entry.handles
                self._add(live)
                return False
            live.is_vouched = True
            self._undecided.pop(live, None)
            return True

    def leave_open(self, live: LiveConnection, now: float, *, is_trusted: bool) -> None:
        """Nobody can know at boot time ``now`` whether it may go on; takes the lock.

        Args: is_trusted: whether the view is: something else is missing then; else it is woken as soon as the view is.
        """
        with self._lock:
            if live in self._all:
                since, _ = self._undecided.get(live, (now, now))
                seconds = min(max((now - since) / 2, LEAST_UNDECIDED_SECONDS), MOST_UNDECIDED_SECONDS)
                again_at = now + seconds if is_trusted else -inf
                self._undecided[live] = since, again_at
                self._next_at = min(self._next_at, again_at)

    def due(self, now: float) -> list[LiveConnection]:
        """Those whose deadline is past at boot time ``now``; takes the lock."""
        with self._lock:
            return [live for live in self._all if live.deadline <= now]

    def _sweep(self) -> None:
        """Those that are over; the collector may add to them meanwhile."""
        while self._gone:
            self._remove(self._gone.pop())

    def _add(self, live: LiveConnection) -> None:
        self._all.add(live)
        for handle in live.handles:
            known = self._index.get(handle)
            if known is None:
                self._index[handle] = live
            elif isinstance(known, set):
                known.add(live)
            else:
                self._index[handle] = {known, live}

    def _remove(self, live: LiveConnection) -> None:
        if live not in self._all:
            return
        self._all.discard(live)
        self._undecided.pop(live, None)
        for handle in live.handles:
            known = self._index[handle]
            if not isinstance(known, set):
                del self._index[handle]
                continue
            known.discard(live)
            if len(known) == 1:
                self._index[handle] = known.pop()

    def under(self, handle: bytes) -> Iterable[LiveConnection]:
        """Those that carry a handle."""
        known = self._index.get(handle, ())
        return tuple(known) if isinstance(known, (set, tuple)) else (known,)

    def doubt(self, handle: bytes) -> None:
        """Something was ruled on a handle."""
        if self._index:
            for live in self.under(handle):
                live.doubt()

    def resume(self, now: float) -> None:
        """The view is trusted at boot time ``now``: what was left open is looked at, if it is time. Infinite: in any case."""
        self._sweep()
        if now < self._next_at:
            return
        self._next_at = inf
        for live, (since, again_at) in self._undecided.items():
            if again_at <= now:
                self._undecided[live] = since, inf
                live.wake()
            else:
                self._next_at = min(self._next_at, again_at)

    def catch_up(self, now: float) -> None:
        """After a lapse: a machine that slept has slept through alarms, whose clock may stand still in that."""
        for live in self._all:
            if live.deadline <= now:
                live.wake()

    def doubt_all(self) -> None:
        """What was known is void, or ruled on everybody."""
        for live in self._all:
            live.doubt()
