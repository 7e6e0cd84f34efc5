"""One line of a table: a setting or a name of another package, ours, and what changes in meaning."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """What stands beside what.

    Attributes:
        theirs: as their documentation spells it.
        ours: a variable, without ``JWTGATE_``, or what one writes in Python; empty: nothing.
        note: what differs, or why there is nothing.
    """

    theirs: str
    ours: str
    note: str = ""
