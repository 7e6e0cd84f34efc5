"""How far a database has been seen by this process: one that stands before that was put back (H1, H2).

Where a database keeps no trace of an older copy that was loaded into it, only those who remember can tell. Followers do, by
position and link, a moment later; what may be used once must not wait for them. Every question remembers what had been seen
when it was sent: an answer that was overtaken by another is no older copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jwtgate.core.history import LogEnd

__all__ = ["Progress", "Seen"]

MOST_PAST = 64
"""Epochs that are over: each was a loss of history."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An epoch, how far it went, and the epochs that came before it."""

    epoch: str
    end: LogEnd
    past: tuple[str, ...] = ()

    def is_after(self, epoch: str, end: LogEnd) -> bool:
        """Whether that is an older copy, or another branch."""
        if epoch != self.epoch:
            return epoch in self.past
        return end.position < self.end.position or (end.position == self.end.position and end.link != self.end.link)


class Progress:
    """Of one process on one database. Takes no lock: of two that note at once one may be lost, and is noted again."""

    def __init__(self) -> None:
        self.seen: Seen | None = None

    def note(self, epoch: str, end: LogEnd) -> None:
        """What was committed. Of what is past nothing more is noted."""
        seen = self.seen
        if seen is None:
            self.seen = Seen(epoch, end)
        elif epoch == seen.epoch:
            if end.position > seen.end.position:
                self.seen = Seen(epoch, end, seen.past)
        elif epoch not in seen.past:
            self.seen = Seen(epoch, end, (*seen.past, seen.epoch)[-MOST_PAST:])
