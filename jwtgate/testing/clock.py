"""Time that stands still until a test moves it: wall and boot clock of one gate, together."""

from __future__ import annotations

import time
from math import inf
from typing import TYPE_CHECKING

from jwtgate.runtime.clock import boot

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FrozenClock"]


class FrozenClock:
    """See ``core.effects.Clock``. Begins at the time of day, on the full second.

    A token that a test signs itself takes its ``iat`` and ``exp`` from ``wall()``: to a clock that stands still, whatever is
    made later is of the future.
    """

    def __init__(self, moved: Callable[[], object]) -> None:
        """Args: moved: called after each move."""
        self._boot_at, self._wall_at = boot(), float(int(time.time()))
        self._passed = 0.0
        self._moved = moved

    def boot(self) -> float:
        """Seconds since boot: leases and deadlines are on it."""
        return self._boot_at + self._passed

    def wall(self) -> float:
        """NumericDate: ``iat`` and ``exp`` are on it."""
        return self._wall_at + self._passed

    def advance(self, seconds: float) -> None:
        """Lets time pass, and the gate hear of the store meanwhile, as it does all the time outside of tests.

        Args: seconds: 0 or more. Time does not go back: that is no expiry undone, but a clock that is wrong.
        Raises: ValueError.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < inf:
            raise ValueError("advance: seconds must be a number, 0 or more")
        self._passed += seconds
        self._moved()
