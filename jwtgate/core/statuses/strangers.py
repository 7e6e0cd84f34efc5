"""Names of lists of which this process has made none: anybody can ask for any number of them.

Where such a list's marks would be is read whole to find none, and many tokens of other lists may be there. So of one group one
name is sought at a time; after a search in vain nothing is sought there for four times as long as it took, but for the lists
whose marks were met. No flood of invented names keeps a store busy, or away from the lists that there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

__all__ = ["COST_SHARE", "Strangers"]

COST_SHARE = 4
"""What took a second is not done again for four."""


class Strangers:
    """Of one gate in one process. As many groups as there are turns of lists, so few. In single steps: threads come here."""

    def __init__(self) -> None:
        self._vain: dict[str, tuple[AbstractSet[bytes], float]] = {}

    def found_none(self, group: str, met: AbstractSet[bytes], began_at: float, now: float) -> None:
        """A search in vain. Args: met: what the names of all marks there begin with. began_at, now: boot clock."""
        self._vain[group] = (met, now + COST_SHARE * (now - began_at))

    def may_seek(self, group: str, tag: bytes, now: float) -> bool:
        """Whether a list whose marks begin with ``tag`` may be sought now."""
        met, until = self._vain.get(group, (frozenset[bytes](), now))
        return now >= until or tag in met
