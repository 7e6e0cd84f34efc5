"""How one process writes back what a store has lost: the part of its follower's plan that begins with a new epoch.

Invariant (L1): a process that knows rulings from before this epoch, or has a journal that does, announces itself with each
renewal from the first one in the epoch until the store lacks none of them; so the epoch is not called healed before (L2). It
writes back in short jittered batches, each of which the store refuses in any other epoch, and only over what it has seen
there. What the journal remembers comes after what is known here, its sessions last (L3).

Where a ruling was lost, the end of a session may have been lost with it, and the session be back with the older data: no
journal says that it has ended. So what is written back is remembered as long as the longest session lives.

Performs nothing: ``runtime.follower`` does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jwtgate.core.effects import NextPage, OpenJournal, OpenPages, Pause, Restore, RestoreSessions
from jwtgate.core.history import JournalUnavailable, Repair
from jwtgate.core.rulings import MAX_SKEW_SECONDS, Ruling, UnreadableRuling, merge

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from jwtgate.core.effects import Clock, FeedEffect
    from jwtgate.core.followed import Followed
    from jwtgate.core.history import Epoch, Renewal

__all__ = ["BACKOFF_OF_LEASE", "NO_JOURNAL", "SESSIONS_PER_BATCH", "Healing", "outlasts"]

BACKOFF_OF_LEASE = 0.25
"""F4: longest wait before the next attempt."""

PAGE_SIZE = 1000
REPAIRS_PER_BATCH = 200
"""L1: short batches: each is one atomic step that nobody else's request waits long for."""

SESSIONS_PER_BATCH = 200
RENEWAL_OF_LEASE = 0.3
"""How long a healer that finds nothing to write back is silent at the most."""

NO_JOURNAL = "JWTGATE_JOURNAL does not answer: the store's history is not healed, and requests are refused, until it does"


class Healing(ABC):
    """What a follower knows of the epoch, and how it restores it."""

    def __init__(self, followed: Followed, clock: Clock, draw: Callable[[], float], *, has_journal: bool) -> None:
        """Args: draw: random numbers in [0, 1)."""
        self.followed = followed
        self.view = followed.view
        self.clock = clock
        self.lease = followed.view.lease_seconds
        self.draw = draw
        self.has_journal = has_journal
        self.condition = "starting"
        self.epoch: Epoch | None = None
        self._renewed_at = clock.boot()
        self._restored_in: str | None = None
        self._healing = "healing"

    @abstractmethod
    def _renew(self) -> Generator[FeedEffect, Any, Renewal]:
        """Registers and acknowledges; announces a healer."""

    def _watched_name(self) -> str | None:
        return None if self.epoch is None else self.epoch.name

    def _must_restore(self) -> bool:
        """L1: knows rulings from before this epoch, or has a journal that does, and has not written them all back."""
        epoch = self.epoch
        if epoch is None or epoch.lease_seconds != self.lease or epoch.name == self._restored_in:
            return False
        return self._awaits_journal() or (epoch.name != self.followed.epoch and self.followed.has_rulings())

    def _awaits_journal(self) -> bool:
        """Whether nobody has put back yet, in this epoch, what the journal remembers.

        Without it nobody who has the journal calls the epoch healed, or goes live where one without it did so.
        """
        return self.has_journal and self.epoch is not None and not self.epoch.is_restored

    def _snapshot(self, *, is_healing: bool = False) -> Generator[FeedEffect, Any, dict[bytes, bytes]]:
        snapshot: dict[bytes, bytes] = {}
        pages = yield OpenPages(PAGE_SIZE)
        while (page := (yield NextPage(pages))) is not None:
            snapshot.update(page)
            if is_healing:
                yield from self._stay_announced()
        return snapshot

    def _restore(self, epoch: Epoch) -> Generator[FeedEffect, Any, None]:
        """L1: announces itself, writes back what the store lacks in short jittered batches, withdraws."""
        renewal = yield from self._renew()
        if renewal.epoch.name != epoch.name:
            return
        yield Pause(self.draw() * 0.3 * self.lease)
        snapshot = yield from self._snapshot(is_healing=True)
        is_done = yield from self._write_back(self.followed.rulings().items(), snapshot, epoch.name)
        if is_done and self._awaits_journal():
            is_done = yield from self._restore_journal(snapshot, epoch.name)
        if is_done:
            self._restored_in = epoch.name
            self.view.tally.healings += 1

    def _write_back(
        self, known: Iterable[tuple[bytes, bytes]], snapshot: dict[bytes, bytes], epoch: str
    ) -> Generator[FeedEffect, Any, bool]:
        """False: what the snapshot says has changed meanwhile, or the epoch has: once more.

        Each healer begins somewhere else, and looks again where another one has been: so each ruling is sent about once,
        however many heal.
        """
        missing = self._missing_from(snapshot, known, epoch)
        first = int(self.draw() * len(missing))
        missing = missing[first:] + missing[:first]
        is_current = True
        for start in range(0, len(missing), REPAIRS_PER_BATCH):
            batch = tuple(missing[start : start + REPAIRS_PER_BATCH])
            outdated = yield Restore(epoch, batch)
            if outdated is None or len(outdated) == len(batch):
                return False
            is_current = is_current and not outdated
            snapshot.update((repair.digest, repair.ruling) for repair in batch)
            renewal = yield from self._renew()
            if renewal.epoch.name != epoch:
                return False
            yield Pause(self.draw() * 0.02 * self.lease)
        return is_current

    def _restore_journal(self, snapshot: dict[bytes, bytes], epoch: str) -> Generator[FeedEffect, Any, bool]:
        """The journal's rulings, then its sessions, page by page. True: all of it, by this process or another one."""
        try:
            return (yield from self._restore_rulings(snapshot, epoch)) and (yield from self._restore_sessions(epoch))
        except JournalUnavailable:
            self.condition = self._healing = NO_JOURNAL
            yield Pause(self.lease * BACKOFF_OF_LEASE * (0.2 + 0.8 * self.draw()))
            return False

    def _restore_rulings(self, snapshot: dict[bytes, bytes], epoch: str) -> Generator[FeedEffect, Any, bool]:
        is_current = True
        pages = yield OpenJournal(of_sessions=False, size=PAGE_SIZE)
        while self._awaits_journal() and (page := (yield NextPage(pages))) is not None:
            known = [(digest, text) for digest, text in page if self.followed.holds(digest)]
            is_current = (yield from self._write_back(known, snapshot, epoch)) and is_current
            if not (yield from self._stay_announced(epoch)):
                return False
        return is_current

    def _restore_sessions(self, epoch: str) -> Generator[FeedEffect, Any, bool]:
        """L3. With the last of them the store knows that what it lacks has ended."""
        pages = yield OpenJournal(of_sessions=True, size=SESSIONS_PER_BATCH)
        while self._awaits_journal() and (page := (yield NextPage(pages))) is not None:
            sessions = tuple(session for session in page if self.followed.takes_back(session))
            is_current = not sessions or (yield RestoreSessions(epoch, sessions))
            if not (is_current and (yield from self._stay_announced(epoch))):
                return False
        self._healing = "healing"
        return not self._awaits_journal() or (yield RestoreSessions(epoch, (), is_last=True))

    def _stay_announced(self, epoch: str | None = None) -> Generator[FeedEffect, Any, bool]:
        """Renews if the last time is long ago. False: the epoch is another one by now."""
        if self.clock.boot() - self._renewed_at > RENEWAL_OF_LEASE * self.lease:
            yield from self._renew()
        return epoch is None or self._watched_name() == epoch

    def _missing_from(self, snapshot: dict[bytes, bytes], known: Iterable[tuple[bytes, bytes]], epoch: str) -> list[Repair]:
        """What is known here, still matters, and is not yet all in the store."""
        now = self.clock.wall()
        repairs: list[Repair] = []
        for digest, text in known:
            stored = snapshot.get(digest)
            if stored is not None and outlasts(stored, text):
                continue
            try:
                ruling = Ruling.decode(text)
                there = None if stored is None else Ruling.decode(stored)
            except UnreadableRuling:
                continue
            if ruling.until is not None and ruling.until < now:
                continue
            whole = ruling if there is None else merge(there, ruling, epoch)
            if whole != there:
                whole = self._remembered(whole, now)
                repairs.append(Repair(digest, stored, whole.encode(), whole.until))
        return repairs

    def _remembered(self, lost: Ruling, now: float) -> Ruling:
        """The same, for as long as what it ended could live again."""
        if lost.until is None or self.has_journal:
            return lost
        return replace(lost, until=max(lost.until, now + self.view.session_seconds + MAX_SKEW_SECONDS))


def outlasts(one: bytes, other: bytes) -> bool:
    """Whether an encoded ruling says what another one does and is remembered as long at least; False: perhaps, all the same.

    Without reading them: who heals compares all there are.
    """
    if one == other:
        return True
    said, _, until = one.rpartition(b',"u":')
    also_said, _, also_until = other.rpartition(b',"u":')
    if not said or said != also_said:
        return False
    try:
        return float(until[:-1]) >= float(also_until[:-1])
    except ValueError:
        return False
