"""What is known, and as of when, as data: of one partition, and of some handles as decisions take it. No rule lives here."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jwtgate.core.history import LogEnd

__all__ = ["Known", "Part", "Place", "Rulings"]


@dataclass(slots=True)
class Part:
    """One partition's part of a view.

    Attributes:
        index: the partition's number.
        lease_until, grace_until, granted_at: as of the view, for this partition alone; boot clock.
        epoch, end: how far its log is applied; None before the first snapshot.
        is_complete: none of its rulings was left out.
        recent_floor: what was ruled on up to this position may be forgotten among the recent.
    """

    index: int
    lease_until: float = -inf
    grace_until: float = -inf
    granted_at: float | None = None
    epoch: str | None = None
    end: LogEnd | None = None
    is_complete: bool = True
    recent_floor: int = -1

    def place(self) -> Place:
        """How far it is known now."""
        return Place(self.index, self.epoch or "", -1 if self.end is None else self.end.position)


class Place(NamedTuple):
    """How far one partition's history is known."""

    partition: int
    epoch: str
    position: int


@dataclass(slots=True)
class Known:
    """What is known of some handles at one place of each partition that holds them; rulings are encoded, None where none is.

    ``ends_at``: under ``VALIDITY=allowlist``, when the token's session ends, on the boot clock.
    """

    places: tuple[Place, ...]
    rulings: list[bytes | None]
    is_complete: bool = True
    ends_at: float = inf

    @property
    def epoch(self) -> str:
        """Of partition 0, whose positions are stamped; it is always among them, since each token may meet a cut-off."""
        return self.places[0].epoch


class Rulings(dict[bytes, bytes]):
    """Handle to encoded ruling, and whether none is left out: one object, so a reader without a lock gets both together."""

    __slots__ = ("is_complete",)

    def __init__(self) -> None:
        super().__init__()
        self.is_complete = True
