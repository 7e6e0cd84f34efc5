"""One partition of a view, as its follower moves it. Each method takes the view's lock, unless it says otherwise.

Invariant: the lease of a partition is granted, and its position moved, by its own follower alone; what any of them learns is
in the one view of all, so that a token meets all its rulings in one place.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from jwtgate.core.history import Entry, LogEnd
from jwtgate.core.known import Rulings
from jwtgate.core.partitioning import partition_of, partition_of_session, partition_of_user

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.core.sessions.stored import KeptSession
    from jwtgate.core.view import View

__all__ = ["Followed"]


class Followed:
    """See the module. Used by one thread; any may read."""

    def __init__(self, view: View, index: int = 0) -> None:
        """Args: index: the partition's number."""
        self.view = view
        self.index = index
        self.part = view.parts[index]
        self._life = view.lives

    @property
    def epoch(self) -> str | None:
        """Of the history that is applied; None before the first snapshot. Takes no lock."""
        return self.part.epoch

    @property
    def end(self) -> LogEnd | None:
        """How far its log is applied; None before the first snapshot. Takes no lock."""
        return self.part.end

    @property
    def written(self) -> tuple[str, int]:
        """Epoch and position of this process's own latest write. Takes no lock."""
        return self.part.written

    @property
    def is_complete(self) -> bool:
        """Whether all its rulings are known. Takes no lock."""
        return self.part.is_complete

    def is_live(self, now: float) -> bool:
        """Whether this partition's lease runs at boot time ``now``. Takes no lock."""
        return now < self.part.lease_until

    def keeps(self, sid: str) -> bool:
        """Whether a session stands in this partition. Takes no lock."""
        return partition_of_session(sid, len(self.view.parts)) == self.index

    def takes_back(self, session: KeptSession) -> bool:
        """Whether a session that a journal remembers belongs here, it and its user's list. Takes no lock.

        Made under another number of partitions the two may fall apart: it could be neither listed nor ended with the others
        of its user, so no partition takes it back, and it has ended.
        """
        return self.keeps(session.sid) and partition_of_user(session.user, len(self.view.parts)) == self.index

    def has_rulings(self) -> bool:
        """Whether any of this partition is known. Takes no lock."""
        rulings = self.view.rulings
        return bool(rulings) if len(self.view.parts) == 1 else any(map(self.holds, rulings.copy()))

    def rulings(self) -> dict[bytes, bytes]:
        """Those of this partition, of one moment. Takes no lock."""
        rulings = self.view.rulings.copy()
        if len(self.view.parts) == 1:
            return rulings
        return {digest: text for digest, text in rulings.items() if self.holds(digest)}

    def holds(self, digest: bytes) -> bool:
        """Whether the ruling on a handle stands in this partition. Takes no lock."""
        return partition_of(digest, len(self.view.parts)) == self.index

    def grant(self, sent_at: float) -> None:
        """F3: trusts this partition for one lease from when the granting read was sent; W4: not once it was given up."""
        view, part = self.view, self.part
        with view.lock:
            if self._life != view.lives:
                return
            has_lapsed = view.lease_until <= sent_at
            part.granted_at = sent_at
            part.lease_until = max(part.lease_until, sent_at + view.lease_seconds)
            part.grace_until = max(part.grace_until, sent_at + view.lease_seconds + view.grace_seconds)
            view.sum_up()
            if sent_at < view.lease_until:
                view.live.resume(sent_at)
                if has_lapsed:
                    view.live.catch_up(sent_at)

    def count_lapse(self, sent_at: float, now: float) -> None:
        """Before a grant at boot time ``now``: whether it ends a lapse, and no fence. Takes no lock."""
        if -inf < self.part.lease_until <= now < sent_at + self.view.lease_seconds:
            self.view.tally.lapses += 1

    def fence(self) -> None:
        """Stops trusting memory at once: history may be lost or has a gap. What is known goes on refusing."""
        with self.view.lock:
            self.part.lease_until = -inf
            self.view.sum_up()

    def load(self, snapshot: dict[bytes, bytes], epoch: str, end: LogEnd) -> None:
        """F1: installs what the store holds, merged with what is known."""
        view, part = self.view, self.part
        with view.lock:
            part.lease_until = -inf
            view.sum_up()
            view.forget_recent()
            part.recent_floor = end.position
            rulings = Rulings()
            for source in (snapshot, view.rulings):
                for digest, text in source.items():
                    view.learn_ruling(rulings, digest, text, epoch)
            if rulings.is_complete:
                part.is_complete = True
            else:  # what found no room may be another partition's, and that one must load it anew before it vouches again
                for each in view.parts:
                    each.is_complete = False
            rulings.is_complete = all(each.is_complete for each in view.parts)
            view.rulings = rulings  # in one step: readers hold no lock, and at no moment is less known than before
            part.end, part.epoch = end, epoch  # in this order: no reader may take a position of old for one of this epoch
            view.live.doubt_all()

    def apply(self, entries: Iterable[Entry]) -> None:
        """F4: evicts under each handle, then moves the position. The entries must follow ``end``."""
        view, part = self.view, self.part
        with view.lock:
            for entry in entries:
                view.rule(part, entry, part.epoch or "")
                part.end = LogEnd(entry.position, entry.link, entry.cursor)
