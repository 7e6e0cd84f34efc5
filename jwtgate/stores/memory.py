"""A store inside one process: for tests, demonstrations and services of a single process.

Its history is its own from the first entry, so an epoch is born healed and settled (H1). After a fork parent and child
go separate ways, each with what was known, and neither hears of the other again.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from jwtgate.core.history import Entry, Epoch, Facts, LogEnd, Marked, MarkPage, Renewal, Written
from jwtgate.core.rulings import Ruling, UnreadableRuling, supersede
from jwtgate.core.sessions.stored import MOST_LISTED, Guard
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.contract import Weakness
from jwtgate.stores.memory_marks import Ends, MarkTable
from jwtgate.stores.memory_sessions import SessionTable
from jwtgate.stores.skew import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jwtgate.core.history import Repair, Watch, Worker
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import KeptSession, SessionChange

__all__ = ["MemoryFeed", "MemoryStore"]

KEPT_SECONDS, KEPT_ENTRIES = 120.0, 100_000
"""Of the log: a follower that is further behind reloads."""


class MemoryStore:
    """A ``Store`` under one lock."""

    def __init__(self, *, watch: Watch, wall: Callable[[], float] = time.time) -> None:
        self._watch = watch
        self._wall = wall
        self._rulings: dict[bytes, bytes] = {}
        self._ends = Ends()
        self._log: deque[tuple[float, Entry]] = deque(maxlen=KEPT_ENTRIES)
        self._end = LogEnd(0, secrets.token_urlsafe(8), "0")
        self._sessions = SessionTable()
        self._marks = MarkTable()
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """New locks, the same rulings; a new epoch, healed, since what it knows is all there is."""
        self._changed = threading.Condition(threading.RLock())
        self._open_epoch(is_healed=True)

    def _open_epoch(self, *, is_healed: bool) -> None:
        lease, reach = self._watch.lease_seconds, self._watch.reach_seconds
        self._epoch = Epoch(secrets.token_urlsafe(8), lease, reach, is_healed, is_healed, self._wall())
        self._workers: dict[str, Worker] = {}

    def look_up(self, digests: Sequence[bytes], sids: Sequence[str] = ()) -> Facts:
        """A glance under the lock."""
        with self._changed:
            now = self._wall()
            rulings = tuple(self._rulings.get(digest) for digest in digests)
            sessions = tuple(self._sessions.find(sid, now, self._rulings) for sid in sids)
            return Facts(self._epoch, self._end, rulings, sessions, now)

    def sessions_of(self, user: bytes, offset: int = 0, limit: int = MOST_LISTED) -> Facts:
        """A glance under the lock."""
        with self._changed:
            now = self._wall()
            return Facts(self._epoch, self._end, (), self._sessions.of_user(user, now, self._rulings, offset, limit), now)

    def write(
        self,
        changes: Sequence[Change],
        now: float,
        sessions: Sequence[SessionChange] = (),
        guard: Guard | None = None,
    ) -> Written | None:
        """W1, by holding the lock."""
        with self._changed:
            here = beside(self._wall(), now)
            at = max(here, now)
            for digest in self._ends.passed(min(here, now)):
                del self._rulings[digest]
            if not self._holds(guard or Guard(), here) or not all(
                self._sessions.is_as_expected(each, here) for each in sessions
            ):
                return None
            rulings = self._superseded(changes, at)
            texts = tuple(ruling.encode() for ruling in rulings)
            for change, ruling, text in zip(changes, rulings, texts, strict=True):
                self._put(change.digest, text, ruling.until)
            self._sessions.change(sessions, f"{self._epoch.name}:{self._end.position}", here)
            self._changed.notify_all()
            is_quiet = not changes and len(sessions) > 0 and all(each.record is not None for each in sessions)
            return Written(self._epoch, self._end, at, texts, () if is_quiet else tuple(self._workers.values()))

    def _holds(self, guard: Guard, now: float) -> bool:
        if not guard.holds(self._decoded):
            return False
        return guard.user is None or self._sessions.sids_of(guard.user, now) == guard.sids

    def _superseded(self, changes: Sequence[Change], at: float) -> list[Ruling]:
        """All before any is stored: what cannot be read must not leave half a write behind."""
        known: dict[bytes, Ruling | None] = {}
        rulings: list[Ruling] = []
        for position, change in enumerate(changes, self._end.position + 1):
            if change.digest not in known:
                known[change.digest] = self._decoded(change.digest)
            ruling = supersede(known[change.digest], change, self._epoch.name, position, at)
            known[change.digest] = ruling
            rulings.append(ruling)
        return rulings

    def _decoded(self, digest: bytes) -> Ruling | None:
        text = self._rulings.get(digest)
        try:
            return None if text is None else Ruling.decode(text)
        except UnreadableRuling as error:
            raise StoreUnavailable("a stored ruling cannot be read") from error

    def _put(self, digest: bytes, ruling: bytes, until: float | None) -> None:
        position, link, now = self._end.position + 1, secrets.token_urlsafe(8), self._wall()
        entry = Entry(position, link, self._end.link, str(position), digest, ruling)
        self._log.append((now, entry))
        while self._log[0][0] < now - KEPT_SECONDS:
            self._log.popleft()
        self._end = LogEnd(position, link, entry.cursor)
        self._rulings[digest] = ruling
        self._ends.put(digest, until)

    def mark(self, group: str, name: bytes, value: bytes, until: float, now: float) -> Marked:
        """Under the lock."""
        with self._changed:
            here = beside(self._wall(), now)
            return Marked(self._marks.mark(group, name, value, until, min(here, now)), self._epoch, here, self._epoch.birth)

    def marks(self, group: str, after: str | None, limit: int) -> MarkPage:
        """A glance under the lock."""
        with self._changed:
            return MarkPage(self._epoch, *self._marks.page(group, after, limit, self._wall()))

    def workers(self) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
        """A glance under the lock."""
        with self._changed:
            return self._epoch, self._end, tuple(self._workers.values())

    def feed(self) -> MemoryFeed:
        """A follower's own end of the store."""
        return MemoryFeed(self)

    def forget(self, worker: Worker) -> None:
        """Deregisters, if the beat is the same."""
        with self._changed:
            known = self._workers.get(worker.name)
            if known is not None and known.beat == worker.beat:
                del self._workers[worker.name]

    def audit(self) -> tuple[Weakness, ...]:
        """What this store is not."""
        problem = "Rulings live in the memory of one process: other processes do not see them and a restart loses them."
        return (Weakness(problem, "JWTGATE_STORE=<redis://host:6379/0, or sqlite:///path for one machine>"),)

    def close(self) -> None:
        """Nothing to close; what is known stays."""

    # What a feed does, under the same lock.

    def renew(self, worker: Worker, epoch: str | None, *, healed: bool, settled: bool) -> Renewal:
        """See ``Feed.renew``."""
        with self._changed:
            is_current = epoch == self._epoch.name
            was_registered = worker.name in self._workers
            self._workers[worker.name] = worker if is_current else replace(worker, acknowledged=-1)
            watch, known = self._watch, self._epoch
            healed = healed and is_current and not any(other.is_healing for other in self._workers.values())
            self._epoch = replace(
                known,
                lease_seconds=watch.lease_seconds if len(self._workers) == 1 else known.lease_seconds,
                reach_seconds=max(known.reach_seconds, watch.reach_seconds, worker.reach_seconds),
                is_healed=known.is_healed or healed,
                is_settled=known.is_settled or (settled and is_current),
            )
            return Renewal(self._epoch, self._end, was_registered, tuple(self._workers.values()))

    def read(self, cursor: str, block_seconds: float, limit: int) -> tuple[Entry, ...]:
        """See ``Feed.read``."""
        if not cursor.isdecimal():
            raise StoreUnavailable("the cursor is of another store")
        after = int(cursor)
        with self._changed:
            self._changed.wait_for(lambda: self._end.position > after, block_seconds)
            skipped = max(0, after + 1 - self._log[0][1].position) if self._log else 0
            return tuple(entry for _, entry in islice(self._log, skipped, skipped + limit))

    def snapshot(self) -> list[tuple[bytes, bytes]]:
        """All rulings of one moment."""
        with self._changed:
            return list(self._rulings.items())

    def repair(self, epoch: str, repairs: Sequence[Repair]) -> tuple[bytes, ...] | None:
        """See ``Feed.repair``."""
        with self._changed:
            if epoch != self._epoch.name:
                return None
            outdated: list[bytes] = []
            for repair in repairs:
                if self._rulings.get(repair.digest) == repair.expected:
                    self._put(repair.digest, repair.ruling, repair.until)
                else:
                    outdated.append(repair.digest)
            self._changed.notify_all()
            return tuple(outdated)

    def saw(self, sids: Sequence[str]) -> None:
        """See ``Feed.saw``."""
        with self._changed:
            self._sessions.saw(sids, self._wall())

    def restore_sessions(self, epoch: str, sessions: Sequence[KeptSession], *, is_last: bool) -> bool:
        """See ``Restorable.restore_sessions``."""
        with self._changed:
            if epoch != self._epoch.name:
                return False
            self._sessions.restore(sessions, self._wall())
            if is_last:
                self._epoch = replace(self._epoch, is_restored=True)
            return True

    def lose(self, epoch: str) -> None:
        """See ``Feed.lose``."""
        with self._changed:
            if epoch == self._epoch.name:
                reach = self._epoch.reach_seconds
                self._open_epoch(is_healed=False)
                self._epoch = replace(self._epoch, reach_seconds=max(reach, self._epoch.reach_seconds))


class MemoryFeed:
    """A ``Feed``; closed is closed, as everywhere."""

    def __init__(self, store: MemoryStore) -> None:
        self._store: MemoryStore | None = store

    def _open_store(self) -> MemoryStore:
        if self._store is None:
            raise StoreUnavailable("the feed is closed")
        return self._store

    def renew(self, worker: Worker, epoch: str | None, *, healed: bool = False, settled: bool = False) -> Renewal:
        """Registers and acknowledges."""
        return self._open_store().renew(worker, epoch, healed=healed, settled=settled)

    def read(self, cursor: str, block_seconds: float, limit: int) -> tuple[Entry, ...]:
        """Waits on the store's condition."""
        return self._open_store().read(cursor, block_seconds, limit)

    def pages(self, size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """Slices of one moment's rulings."""
        rulings = self._open_store().snapshot()
        for first in range(0, len(rulings), size):
            yield rulings[first : first + size]

    def repair(self, epoch: str, repairs: Sequence[Repair]) -> tuple[bytes, ...] | None:
        """L1, one batch."""
        return self._open_store().repair(epoch, repairs)

    def restore_sessions(self, epoch: str, sessions: Sequence[KeptSession], *, is_last: bool) -> bool:
        """L3, one batch."""
        return self._open_store().restore_sessions(epoch, sessions, is_last=is_last)

    def lose(self, epoch: str) -> None:
        """H2."""
        self._open_store().lose(epoch)

    def forget(self, worker: Worker) -> None:
        """Deregisters, if the beat is the same."""
        self._open_store().forget(worker)

    def saw(self, sids: Sequence[str]) -> None:
        """Under the lock."""
        self._open_store().saw(sids)

    def close(self) -> None:
        """Nothing but a mark."""
        self._store = None
