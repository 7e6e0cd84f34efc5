"""How far a database has been seen by this process: one that stands before that, in the same epoch, was put back (H1, H2).

Where a database keeps no trace of an older copy that was loaded into it, only those who remember can tell. Followers do, by
position and link, a moment later; what may be used once must not wait for them. Every question remembers what had been seen
when it was sent: an answer that was overtaken by another is no older copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jwtgate.core.history import LogEnd

__all__ = ["Progress", "is_before"]


class Progress:
    """Of one process on one database. Takes no lock: of two that note at once one may be lost, and is noted again."""

    def __init__(self) -> None:
        self.seen: tuple[str, LogEnd] | None = None

    def note(self, epoch: str, end: LogEnd) -> None:
        """What was committed."""
        seen = self.seen
        if seen is None or seen[0] != epoch or seen[1].position < end.position:
            self.seen = (epoch, end)


def is_before(end: LogEnd, epoch: str, seen: tuple[str, LogEnd] | None) -> bool:
    """Whether it lies before what had been seen, or on another branch. Args: seen: when the question was sent."""
    if seen is None or seen[0] != epoch:
        return False
    return end.position < seen[1].position or (end.position == seen[1].position and end.link != seen[1].link)
