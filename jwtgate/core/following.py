"""How one process follows the change log of one partition: the plan of its follower.

Theory of operation. The plan is always in one of four places, and moves on what the store answers to a renewal:

    fenced ----epoch known, healed----> loading ----same epoch at its end----> following
      ^   \\__epoch new, rulings known_> healing __nothing left to write____/       |
      |_______________another epoch, a gap, a fork, an error______________________|

Invariant: ``followed.grant(sent_at)`` is called only when, in this order and all in one epoch, (a) a renewal registered this
worker with its whole reach, (b) a read of the log was sent at ``sent_at``, (c) its entries followed the view's end link by
link and reached at least the end that (a) reported, and (d) a renewal after it found the epoch unchanged and healed, the
registration of (a) still standing and, if nothing was read, the log's end where the view stands.

The rules kept here, by letter: H2 (links, epoch after the read), H3 (another lease: does not follow), F1 (end, snapshot,
same epoch at its end, then the log), F2 (register first), F3 (granted only at the log's end; resumes from its position),
F4 (apply, then acknowledge), L2 (healed after two leases of watching without a healer), W3 (settled after one longest reach of
watching). L1, writing back what a store has lost, stands in ``healing``.

Performs nothing: ``runtime.follower`` does. Any ``StoreUnavailable`` leaves the lease to lapse by itself.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from jwtgate.core.effects import (
    Clock,
    FeedEffect,
    Forget,
    Lose,
    Pause,
    Read,
    Renew,
    Saw,
)
from jwtgate.core.healing import BACKOFF_OF_LEASE, Healing
from jwtgate.core.history import Entry, LogEnd, Renewal, Worker
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.followed import Followed

__all__ = ["Following"]

Step = Generator[FeedEffect, Any, None]

BLOCK_OF_LEASE = 0.3
"""F4: blocking reads overshoot, and two of them must fit into a lease with room for a slow round trip."""

ENTRIES_PER_READ = 1000
CYCLE_SECONDS = 0.005
CYCLES_AT_ONCE = 8
"""Under a stream of rulings one read serves about 5 ms of them, after eight reads at once: 1,000 rulings a second would
otherwise cost a read and an acknowledgement each."""

PURGE_SECONDS = 300.0
PURGE_SLICE = 500
"""Under a millisecond of work, so that no renewal waits for it."""

WALL_STEP_SECONDS = 1.0

TELL_SECONDS = 5.0
TOLD_AT_ONCE = 500
"""Sessions seen are told to the store every few seconds, in steps that nobody waits long for."""


class Following(Healing):
    """The follower's plan and what it remembers between renewals. One per follower start; used by one thread."""

    def __init__(
        self,
        followed: Followed,
        clock: Clock,
        *,
        name: str,
        reach_seconds: float,
        draw: Callable[[], float],
        has_journal: bool = False,
    ) -> None:
        """Args: name: random, new per start. reach_seconds: F2, may be inf. draw: random numbers in [0, 1)."""
        super().__init__(followed, clock, draw, has_journal=has_journal)
        self.worker = Worker(name, reach_seconds, -1, 0, is_healing=False)
        self.reach_seconds = self.longest_reach = reach_seconds
        self.watched_since = clock.boot()
        self._loaded = False
        self._beats: dict[str, tuple[int, float]] = {}
        self._offset = clock.wall() - clock.boot()
        self._purged_at = clock.boot()
        self._told_at = clock.boot()
        self._cycles = float(CYCLES_AT_ONCE)
        self._cycled_at = clock.boot()

    def follow(self) -> Step:
        """Never ends by itself."""
        while True:
            try:
                renewal = yield from self._renew()
                yield from self._advance(renewal)
            except StoreUnavailable:
                self.condition = "unreachable"
                yield Pause(self.lease * BACKOFF_OF_LEASE * (0.2 + 0.8 * self.draw()))

    def _advance(self, renewal: Renewal) -> Step:
        """From one renewal to the next place."""
        epoch = renewal.epoch
        if epoch.lease_seconds != self.lease:
            self._fence(f"lease of the store is {epoch.lease_seconds:g} s, JWTGATE_LEASE says {self.lease:g} s")
            yield Forget(self.worker)
            yield Pause(self.lease * BLOCK_OF_LEASE)
        elif self._loaded and epoch.name == self.followed.epoch and epoch.is_healed:
            yield from self._read_on(renewal)
        elif self._must_restore():
            self._fence(self._healing)
            yield from self._restore(epoch)
        elif not epoch.is_healed:
            self._fence("healing")
            yield Pause(self.lease * 0.1)
        else:
            yield from self._load(renewal)

    def _fence(self, condition: str) -> None:
        self.followed.fence()
        if self._loaded:
            self.view.tally.count_fence(self._reason(condition))
        self._loaded = False
        self.condition = condition

    def _reason(self, condition: str) -> str:
        """Of a fence, as metrics have it."""
        if condition in {"gap", "fork"}:
            return condition
        return "other_lease" if self.epoch is not None and self.epoch.lease_seconds != self.lease else "history_lost"

    # --- renewal

    def _renew(self) -> Generator[FeedEffect, Any, Renewal]:
        """Registers, acknowledges, and says what this process has watched long enough (F2, F4, L2, W3).

        A healer is announced from its first renewal in the new epoch until it is through, also between two attempts: in a
        gap the others would call the epoch healed.
        """
        old, followed, end = self.worker, self.followed, self.followed.end
        acknowledged = end.position if self._loaded and end is not None else -1
        self.worker = Worker(old.name, self._reach_to_tell(), acknowledged, old.beat + 1, self._must_restore())
        name = followed.epoch if self._loaded else self._watched_name()
        wrote_in, wrote_at = followed.written
        renewal: Renewal = yield Renew(self.worker, name, healed=self._may_heal(), settled=self._may_settle())
        self._watch(renewal)
        if renewal.epoch.name == wrote_in and renewal.end.position < wrote_at:  # H2: what was written here is not there
            self._fence("fork")
            yield Lose(wrote_in)
        yield from self._keep_house(renewal)
        return renewal

    def _reach_to_tell(self) -> float:
        """W3: a new epoch's record may have lost the longest reach; whoever remembers it raises it again, once."""
        is_lost = self.epoch is not None and self.epoch.reach_seconds < self.longest_reach
        return self.longest_reach if is_lost else self.reach_seconds

    def _may_heal(self) -> bool:
        """L2: watched for two leases on this clock, and nothing of its own left to write back."""
        epoch = self.epoch
        if epoch is None or epoch.is_healed or epoch.lease_seconds != self.lease:
            return False
        return not self._must_restore() and self.clock.boot() - self.watched_since >= 2 * self.lease

    def _may_settle(self) -> bool:
        epoch = self.epoch
        if epoch is None or epoch.is_settled:
            return False
        return self.clock.boot() - self.watched_since >= max(epoch.reach_seconds, self.longest_reach)

    def _watch(self, renewal: Renewal) -> None:
        """Counts from the answer, not from the question: the epoch may be younger than the question."""
        if self.epoch is None or self.epoch.name != renewal.epoch.name:
            self.watched_since = self.clock.boot()
        self._renewed_at = self.clock.boot()
        self.epoch = renewal.epoch
        self.longest_reach = max(self.longest_reach, renewal.epoch.reach_seconds)

    def _keep_house(self, renewal: Renewal) -> Step:
        """Forgets workers whose beat stood still for their whole reach on this clock; purges; minds the wall clock."""
        now = self.clock.boot()
        beats: dict[str, tuple[int, float]] = {}
        for worker in renewal.workers:
            beat, since = self._beats.get(worker.name, (worker.beat, now))
            beats[worker.name] = (worker.beat, since if beat == worker.beat else now)
            patience = 2 * self.lease if worker.is_healing else max(worker.reach_seconds, 2 * self.lease)
            if worker.name != self.worker.name and now - beats[worker.name][1] > patience:
                yield Forget(worker)
        self._beats = beats
        self._purge(now)
        if renewal.epoch.is_healed:  # all who heal wait for each other long enough
            yield from self._tell(now)
        offset = self.clock.wall() - self.clock.boot()
        if abs(offset - self._offset) > WALL_STEP_SECONDS:  # in one step or in many
            self._offset = offset
            self.view.forget_admitted()

    def _tell(self, now: float) -> Step:
        """What sessions were seen; the rest with the next renewal, where there are more than one step takes."""
        if now - self._told_at >= TELL_SECONDS:
            sids = self.view.seen.take(TOLD_AT_ONCE, self.followed.keeps)
            if len(sids) < TOLD_AT_ONCE:
                self._told_at = now
            if sids:
                yield Saw(sids)

    def _purge(self, now: float) -> None:
        """Looks at a slice of the rulings per renewal; once there is room again an incomplete view is loaded anew.

        Of several followers the first one looks: the rulings are in one place.
        """
        if now - self._purged_at < PURGE_SECONDS:
            return
        if self.followed.index == 0 and self.view.purge(self.clock.wall(), PURGE_SLICE):
            return
        self._purged_at = now
        if not self.followed.is_complete and len(self.view.rulings) < 0.8 * self.view.rulings_limit:
            self._loaded = False

    # --- the log

    def _read_on(self, before: Renewal) -> Step:
        """One read, one application, one acknowledging renewal, at best one grant."""
        followed = self.followed
        while True:
            sent_at = self.clock.boot()
            block = self.lease * BLOCK_OF_LEASE if followed.is_live(sent_at) else 0.0
            entries: tuple[Entry, ...] = yield Read(_cursor(followed.end), block, ENTRIES_PER_READ)
            fault = _fault(followed.end, before.end, entries)
            if fault is not None:
                self._fence(fault)
                if fault == "fork":
                    yield Lose(before.epoch.name)
                return
            followed.apply(entries)
            after = yield from self._renew()
            if not self._is_same_history(after):
                return
            if self._may_grant(before, after, len(entries)):
                followed.count_lapse(sent_at, self.clock.boot())
                followed.grant(sent_at)
                self.condition = "following"
            before = after
            if entries:
                yield from self._breathe()

    def _may_grant(self, before: Renewal, after: Renewal, read: int) -> bool:
        """F2, F3: a registration that stood, a read that reached the log's end.

        H2: a read that found nothing must still stand at the end: ``before`` may be old, the log trimmed to nothing since.
        """
        end = self.followed.end
        if end is None or not after.was_registered or read >= ENTRIES_PER_READ:
            return False
        is_at_end = (end.position, end.link) == (after.end.position, after.end.link)
        return end.position >= before.end.position and (read > 0 or is_at_end)

    def _is_same_history(self, after: Renewal) -> bool:
        """H2: the epoch is checked after each read of the log."""
        epoch = after.epoch
        if epoch.name == self.followed.epoch and epoch.is_healed and epoch.lease_seconds == self.lease and self._loaded:
            return True
        self._fence("history lost" if epoch.name != self.followed.epoch else self.condition)
        return False

    def _breathe(self) -> Step:
        now = self.clock.boot()
        self._cycles = min(float(CYCLES_AT_ONCE), self._cycles + (now - self._cycled_at) / CYCLE_SECONDS) - 1
        self._cycled_at = now
        if self._cycles < 0:
            yield Pause(-self._cycles * CYCLE_SECONDS)

    # --- the snapshot

    def _load(self, before: Renewal) -> Step:
        """F1. The end is noted before the scan; what is written during it is read from the log afterwards."""
        if self.followed.epoch is not None:
            self._fence("loading")
            yield Pause(self.draw() * 0.1 * self.lease)
        self.condition = "loading"
        snapshot = yield from self._snapshot()
        after = yield from self._renew()
        if after.epoch.name == before.epoch.name and after.epoch.is_healed:
            self.followed.load(snapshot, before.epoch.name, before.end)
            self._loaded = True


def _cursor(end: LogEnd | None) -> str:
    return "" if end is None else end.cursor


def _fault(own: LogEnd | None, reported: LogEnd, entries: tuple[Entry, ...]) -> str | None:
    """H2: what is wrong with a read, if anything. ``gap``: entries were trimmed. ``fork``: history was rewritten.

    Args:
        own: the view's end before the read.
        reported: the log's end as a renewal before the read told it.
        entries: what was read after ``own``.
    """
    if own is None or reported.position < own.position:
        return "fork"
    if reported.position == own.position and reported.link != own.link:
        return "fork"
    position, link = own.position, own.link
    for entry in entries:
        if entry.position != position + 1:
            return "gap" if entry.position > position + 1 else "fork"
        if entry.previous != link:
            return "fork"
        position, link = entry.position, entry.link
    return "gap" if position < reported.position and len(entries) < ENTRIES_PER_READ else None
