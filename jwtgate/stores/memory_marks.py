"""What may be used once, in a store inside one process; and ends in their order. Not thread-safe: the store has one lock."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from jwtgate.stores.cursors import place_of, told

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Ends", "MarkTable"]

SWEPT_PER_STEP = 16
"""More than a step adds, and bounded."""


class Ends:
    """When what is under a key may be forgotten."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}
        self._order: list[tuple[float, bytes]] = []

    def put(self, key: bytes, until: float | None) -> None:
        """None: never."""
        if until is None:
            self._until.pop(key, None)
        elif self._until.get(key) != until:
            self._until[key] = until
            heappush(self._order, (until, key))

    def passed(self, now: float) -> Iterator[bytes]:
        """A few that are over, which are known no more. An end that was moved since it was noted counts no more."""
        for _ in range(SWEPT_PER_STEP):
            if not self._order or self._order[0][0] >= now:
                return
            until, key = heappop(self._order)
            if self._until.get(key) == until:
                del self._until[key]
                yield key


class _Group:
    def __init__(self) -> None:
        self.kept: dict[bytes, tuple[float, bytes]] = {}
        self.ends = Ends()


class MarkTable:
    """By group and name."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def mark(self, group: str, name: bytes, value: bytes, until: float, now: float) -> bool:
        """Whether it is new. Args: now: the earlier of the clocks."""
        here = self._groups.setdefault(group, _Group())
        for over in here.ends.passed(now):
            del here.kept[over]
        known = here.kept.get(name)
        if known is not None and known[0] >= now:
            return False
        here.kept[name] = (until, value)
        here.ends.put(name, until)
        return True

    def page(
        self, group: str, after: str | None, limit: int, now: float
    ) -> tuple[tuple[tuple[bytes, bytes, float], ...], str | None]:
        """As ``MarkPage`` has them."""
        first = (now, b"") if after is None else place_of(after)
        kept = self._groups[group].kept if group in self._groups else {}
        live = sorted((until, name, value) for name, (until, value) in kept.items() if until >= now)
        rest = [each for each in live if each[:2] > first]
        page = tuple((name, value, until) for until, name, value in rest[:limit])
        return page, told(page) if len(rest) > limit else None
