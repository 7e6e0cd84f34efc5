"""How far a store's clock may be from the caller's, and how every audit tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.core.history import NotWritten
from jwtgate.core.rulings import MAX_SKEW_SECONDS
from jwtgate.stores.contract import Weakness

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["beside", "clock_told"]

SKEW_SECONDS = 1.0
"""From here on it is said. One log orders what was issued here; only tokens of others are compared by time."""


def beside(here: float, now: float) -> float:
    """The store's clock. Raises: NotWritten: it and the caller's are too far apart."""
    if not abs(here - now) <= MAX_SKEW_SECONDS:
        raise NotWritten(f"the clocks of the store and the caller are over 60 s apart: {here:.3f} and {now:.3f}")
    return here


def clock_told(sent: float, there: float, back: float) -> Iterator[Weakness]:
    """Args: sent, back: this machine's clock before and after the store told its own, ``there``: as wrong as half of that."""
    off = there - (sent + back) / 2
    sure = abs(off) - abs(back - sent) / 2
    if sure <= SKEW_SECONDS:
        return
    told = f"The server's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this machine's"
    remedy = "timedatectl set-ntp true  # on both machines"
    if sure > MAX_SKEW_SECONDS:
        yield Weakness(f"{told}: over {MAX_SKEW_SECONDS:.0f} s every write is refused.", remedy, about="clock")
    else:
        yield Weakness(f"{told}: cut-offs by time reach so much too far.", remedy, "hint", about="clock")
