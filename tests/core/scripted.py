"""A store without a network: clocks that move when told, and a server whose every step and mishap is a method.

``ScriptedServer`` keeps the contract of ``jwtgate.stores.contract`` in plain Python; test_scripted.py holds it against
``MemoryStore``. Each call is one atomic step. What a real server can suffer is said in one word: ``flush``, ``lose_tail``,
``restart``, ``trim``. Rules of the contract stand in methods of their own, so that a test can take one away.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from jwtgate.core.effects import (
    Forget,
    ListSessions,
    LookUp,
    Lose,
    Mark,
    Marks,
    NextPage,
    OpenJournal,
    OpenPages,
    Read,
    Renew,
    Restore,
    RestoreSessions,
    Roster,
    Saw,
    Write,
)
from jwtgate.core.history import (
    Entry,
    Epoch,
    Facts,
    JournalUnavailable,
    LogEnd,
    Marked,
    MarkPage,
    Renewal,
    Watch,
    Worker,
    Written,
)
from jwtgate.core.rulings import Ruling, supersede
from jwtgate.core.sessions.stored import MOST_LISTED, Guard
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.memory_marks import MarkTable
from jwtgate.stores.memory_sessions import SessionTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from jwtgate.core.history import Repair
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import KeptSession, SessionChange

MAX_SKEW_SECONDS = 60.0
START = 1_700_000_000.0


class Time:
    """The true time, in seconds. Nobody in the simulation can see it; each clock is off by something."""

    def __init__(self) -> None:
        self.now = 0.0


class ScriptedClock:
    """The two clocks of one process: ``boot`` never steps, ``wall`` does when told."""

    def __init__(self, time: Time, *, boot: float = 0.0, wall: float = START) -> None:
        self.time = time
        self.booted = boot
        self.set = wall

    def boot(self) -> float:
        return self.time.now + self.booted

    def wall(self) -> float:
        return self.time.now + self.set

    def step(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.set += seconds


@dataclass(frozen=True, slots=True)
class Record:
    """The epoch record: the epoch, and the identity of the server that it was opened on."""

    epoch: Epoch
    identity: int


class ScriptedServer:
    """What all stores of one world talk to. Epochs are born unhealed and unsettled, unless ``is_own``."""

    def __init__(self, time: Time, *, is_own: bool = False) -> None:
        """Args: is_own: as memory://: nobody else can have written to it, so the first epoch is healed and settled."""
        self.time = time
        self.skew = START
        self.identity = 1
        self.is_own = is_own
        self.serial = count(1)
        self.forget_everything()

    def forget_everything(self) -> None:
        self.rulings: dict[bytes, bytes] = {}
        self.until: dict[bytes, float] = {}
        self.log: list[Entry] = []
        self.end: LogEnd | None = None
        self.record: Record | None = None
        self.registered: dict[str, Worker] = {}
        self.sessions = SessionTable()
        self.marks = MarkTable()

    def now(self) -> float:
        return self.time.now + self.skew

    # --- what can happen to it

    def flush(self) -> None:
        """FLUSHALL, or a restart without persistence."""
        self.is_own = False
        self.forget_everything()

    def restart(self) -> None:
        """The data survive, but nobody can know whether all of them did."""
        self.identity += 1

    def lose_tail(self, entries: int) -> None:
        """A failover, or a restart from an older file: the last entries are gone, the epoch record is not."""
        self.restart()
        self.cut_tail(entries)

    def cut_tail(self, entries: int) -> None:
        """History is rewritten, and nothing tells but the links."""
        lost = self.log[len(self.log) - entries :] if entries else []
        self.log = self.log[: len(self.log) - len(lost)]
        if lost:
            first = lost[0]
            end = self.log[-1] if self.log else None
            self.end = LogEnd(first.position - 1, first.previous, "0-0" if end is None else end.cursor)
        for entry in lost:
            earlier = [each.ruling for each in self.log if each.digest == entry.digest]
            if earlier:
                self.rulings[entry.digest] = earlier[-1]
            else:
                self.rulings.pop(entry.digest, None)

    def trim(self, kept: int) -> None:
        """Old entries leave the log; the rulings stay."""
        self.log = self.log[-kept:] if kept else []

    # --- H1

    def is_current(self, record: Record | None) -> bool:
        """Whether history can be vouched for."""
        return record is not None and self.end is not None and record.identity == self.identity

    def current(self, watch: Watch) -> Record:
        """The epoch record, after the comparison that every step makes."""
        if not self.is_current(self.record):
            self.open_epoch(watch)
        assert self.record is not None
        return self.record

    def open_epoch(self, watch: Watch, *, is_own: bool | None = None) -> None:
        reach = max(watch.reach_seconds, 0.0 if self.record is None else self.record.epoch.reach_seconds)
        is_born_whole = self.is_own and self.record is None if is_own is None else is_own
        name = urlsafe_b64encode(next(self.serial).to_bytes(8, "big")).decode().rstrip("=")
        self.registered = {}
        if self.end is None:
            self.log = []
            self.end = LogEnd(0, self.link(), self.cursor(0))
        self.record = Record(Epoch(name, watch.lease_seconds, reach, is_born_whole, is_born_whole, self.now()), self.identity)

    def link(self) -> str:
        return f"link{next(self.serial)}"

    def cursor(self, position: int) -> str:
        """As a stream's ids: by time, then by position."""
        return f"{int(self.now() * 1000):015d}-{position:015d}"

    # --- writing

    def put(self, digest: bytes, ruling: bytes, until: float | None) -> None:
        end = self.end
        assert end is not None
        position = end.position + 1
        entry = Entry(position, self.link(), end.link, max(self.cursor(position), end.cursor + "+"), digest, ruling)
        self.log.append(entry)
        self.end = LogEnd(position, entry.link, entry.cursor)
        self.rulings[digest] = ruling
        self.until.pop(digest, None)
        if until is not None:
            self.until[digest] = until

    def sweep(self, now: float) -> None:
        for digest in [digest for digest, until in self.until.items() if until < now]:
            del self.until[digest], self.rulings[digest]

    def workers_now(self) -> tuple[Worker, ...]:
        return tuple(self.registered.values())


class ScriptedStore:
    """One process's ``Store`` on a server, and its ``Feed`` too."""

    def __init__(self, server: ScriptedServer, watch: Watch) -> None:
        self.server = server
        self.watch = watch
        self.is_down = False
        self.journal: dict[bytes, bytes] = {}
        self.journal_sessions: list[KeptSession] = []
        self.is_journal_down = False

    def step(self) -> tuple[ScriptedServer, Record]:
        if self.is_down:
            raise StoreUnavailable("the store does not answer")
        return self.server, self.server.current(self.watch)

    def look_up(self, digests: Sequence[bytes], sids: Sequence[str] = ()) -> Facts:
        server, record = self.step()
        now = server.now()
        sessions = tuple(server.sessions.find(sid, now, server.rulings) for sid in sids)
        return Facts(record.epoch, _end(server), tuple(server.rulings.get(digest) for digest in digests), sessions, now)

    def sessions_of(self, user: bytes, offset: int = 0, limit: int = MOST_LISTED) -> Facts:
        server, record = self.step()
        now = server.now()
        listed = server.sessions.of_user(user, now, server.rulings, offset, limit)
        return Facts(record.epoch, _end(server), (), listed, now)

    def saw(self, sids: Sequence[str]) -> None:
        server, _ = self.step()
        server.sessions.saw(sids, server.now())

    def holds(self, guard: Guard) -> bool:
        server = self.server
        if not guard.holds(lambda each: Ruling.decode(server.rulings[each]) if each in server.rulings else None):
            return False
        return guard.user is None or server.sessions.sids_of(guard.user, server.now()) == guard.sids

    def write(
        self,
        changes: Sequence[Change],
        now: float,
        sessions: Sequence[SessionChange] = (),
        guard: Guard | None = None,
    ) -> Written | None:
        server, record = self.step()
        here = server.now()
        if not abs(here - now) <= MAX_SKEW_SECONDS:
            raise StoreUnavailable("the clocks of the store and the caller are over 60 s apart")
        at = max(here, now)
        server.sweep(min(here, now))
        if not self.holds(guard or Guard()) or not all(server.sessions.is_as_expected(each, here) for each in sessions):
            return None
        texts: list[bytes] = []
        for change in changes:
            known = server.rulings.get(change.digest)
            position = _end(server).position + 1
            ruling = supersede(None if known is None else Ruling.decode(known), change, record.epoch.name, position, at)
            texts.append(ruling.encode())
            server.put(change.digest, texts[-1], ruling.until)
        server.sessions.change(sessions, f"{record.epoch.name}:{_end(server).position}", here)
        return Written(record.epoch, _end(server), at, tuple(texts), server.workers_now())

    def mark(self, group: str, name: bytes, value: bytes, until: float, now: float) -> Marked:
        server, record = self.step()
        here = server.now()
        if not abs(here - now) <= MAX_SKEW_SECONDS:
            raise StoreUnavailable("the clocks of the store and the caller are over 60 s apart")
        is_new = server.marks.mark(group, name, value, until, min(here, now))
        return Marked(is_new, record.epoch, here, record.epoch.birth)

    def marks(self, group: str, after: str | None, limit: int) -> MarkPage:
        server, record = self.step()
        return MarkPage(record.epoch, *server.marks.page(group, after, limit, server.now()))

    def workers(self) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
        server, record = self.step()
        return record.epoch, _end(server), server.workers_now()

    def feed(self) -> ScriptedStore:
        return self

    def forget(self, worker: Worker) -> None:
        server, _ = self.step()
        known = server.registered.get(worker.name)
        if known is not None and known.beat == worker.beat:
            del server.registered[worker.name]

    def audit(self) -> tuple[str, ...]:
        return ("A simulation.",)

    def reset_after_fork(self) -> None:
        """Nothing is inherited."""

    def close(self) -> None:
        """Nothing to close."""

    # --- as a feed

    def renew(self, worker: Worker, epoch: str | None, *, healed: bool = False, settled: bool = False) -> Renewal:
        server, record = self.step()
        is_current = epoch == record.epoch.name
        was_registered = worker.name in server.registered
        server.registered[worker.name] = worker if is_current else replace(worker, acknowledged=-1)
        is_anybody_healing = any(other.is_healing for other in server.registered.values())
        known = record.epoch
        told = replace(
            known,
            lease_seconds=self.watch.lease_seconds if len(server.registered) == 1 else known.lease_seconds,
            reach_seconds=max(known.reach_seconds, self.watch.reach_seconds, worker.reach_seconds),
            is_healed=known.is_healed or (healed and is_current and not is_anybody_healing),
            is_settled=known.is_settled or (settled and is_current),
        )
        server.record = replace(record, epoch=told)
        return Renewal(told, _end(server), was_registered, server.workers_now())

    def has_news(self, cursor: str) -> bool:
        log = self.server.log
        return self.is_down or (bool(log) and log[-1].cursor > cursor)

    def read(self, cursor: str, block_seconds: float, limit: int) -> tuple[Entry, ...]:
        """Waits for nothing: the world asks ``has_news`` first. Compares no epoch, as a plain XREAD."""
        if self.is_down:
            raise StoreUnavailable("the store does not answer")
        return tuple(entry for entry in self.server.log if entry.cursor > cursor)[:limit]

    def pages(self, size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """As a scan: what is there from start to end is told, with the value of its moment."""
        keys = list(self.server.rulings)
        for first in range(0, len(keys), size):
            if self.is_down:
                raise StoreUnavailable("the store does not answer")
            rulings = self.server.rulings
            yield [(key, rulings[key]) for key in keys[first : first + size] if key in rulings]

    def repair(self, epoch: str, repairs: Sequence[Repair]) -> tuple[bytes, ...] | None:
        server, record = self.step()
        if record.epoch.name != epoch:
            return None
        outdated: list[bytes] = []
        for repair in repairs:
            if server.rulings.get(repair.digest) == repair.expected:
                server.put(repair.digest, repair.ruling, repair.until)
            else:
                outdated.append(repair.digest)
        return tuple(outdated)

    def journal_pages(self, of_sessions: bool, size: int) -> Iterator[Sequence[Any]]:
        """Of this process's journal, which may be down."""
        kept: list[Any] = list(self.journal_sessions) if of_sessions else list(self.journal.items())
        for first in range(0, len(kept), size):
            if self.is_journal_down:
                raise JournalUnavailable("the journal does not answer")
            yield kept[first : first + size]
        if self.is_journal_down:
            raise JournalUnavailable("the journal does not answer")

    def restore_sessions(self, epoch: str, sessions: Sequence[KeptSession], *, is_last: bool) -> bool:
        server, record = self.step()
        if record.epoch.name != epoch:
            return False
        server.sessions.restore(sessions, server.now())
        if is_last:
            server.record = replace(record, epoch=replace(record.epoch, is_restored=True))
        return True

    def lose(self, epoch: str) -> None:
        server, record = self.step()
        if record.epoch.name == epoch:
            server.open_epoch(self.watch, is_own=False)


def _end(server: ScriptedServer) -> LogEnd:
    assert server.end is not None
    return server.end


def perform(store: ScriptedStore, effect: Any) -> Any:
    """One effect in one atomic step. ``LookUp`` is answered with facts alone: the caller knows when it was sent."""
    match effect:
        case LookUp(digests, sids):
            return store.look_up(digests, sids)
        case ListSessions(user, offset, limit):
            return store.sessions_of(user, offset, limit)
        case Write(changes, now, sessions, guard):
            return store.write(changes, now, sessions, guard)
        case Mark(group, name, value, until, now):
            return store.mark(group, name, value, until, now)
        case Marks(group, after, limit):
            return store.marks(group, after, limit)
        case Saw(sids):
            return store.saw(sids)
        case Roster():
            return store.workers()
        case Renew(worker, epoch, healed, settled):
            return store.renew(worker, epoch, healed=healed, settled=settled)
        case Read(cursor, block_seconds, limit):
            return store.read(cursor, block_seconds, limit)
        case OpenPages(size):
            return store.pages(size)
        case NextPage(pages):
            return next(pages, None)
        case Restore(epoch, repairs):
            return store.repair(epoch, repairs)
        case OpenJournal(of_sessions, size):
            return store.journal_pages(of_sessions, size)
        case RestoreSessions(epoch, sessions, is_last):
            return store.restore_sessions(epoch, sessions, is_last=is_last)
        case Lose(epoch):
            return store.lose(epoch)
        case Forget(worker):
            return store.forget(worker)
    raise AssertionError(effect)
