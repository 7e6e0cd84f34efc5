"""How many connections a process needs at once, and how many it may have where a server has few for all processes.

Invariant: where the server tells how many it gives, all workers together may have no more than leaves room for one worker more,
as far as two for each go: one to follow on and one for requests. What is not needed is let go of.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from jwtgate.stores.contract import Weakness
from jwtgate.stores.sql.dialects import MAX_LINES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Demand", "fair_share", "scarcity"]

WINDOW_SECONDS = 10.0
"""What was not needed for so long may go. A new connection takes some milliseconds."""


class Demand:
    """Of one pool. Thread-safe; entered by each call for as long as it has a connection or waits for one.

    Attributes:
        returned: how many calls have ended.
    """

    def __init__(self) -> None:
        self.returned = 0
        self._in_use = 0
        self._waiting = 0
        self._peak = 0
        self._until = time.monotonic() + WINDOW_SECONDS
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._in_use += 1
            self._peak = max(self._peak, self._in_use)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._in_use -= 1
            self.returned += 1
            self._changed.notify()

    def wait(self, returned: int, deadline: float) -> bool:
        """Of a call: until another ends that had not when ``returned`` was read. False: none did in time, or all wait.

        Not asked of the pool: it may be a new one, while calls still have connections of the one before.
        """
        with self._changed:
            if self.returned == returned and self._in_use - self._waiting <= 1:
                return False
            self._waiting += 1
            try:
                return self._changed.wait_for(lambda: self.returned != returned, deadline - time.monotonic())
            finally:
                self._waiting -= 1

    def peak(self) -> int | None:
        """The most at once in the window that is over, once for each; None: it is not over."""
        now = time.monotonic()
        if now < self._until:
            return None
        with self._changed:
            peak, self._peak, self._until = self._peak, self._in_use, now + WINDOW_SECONDS
        return peak


def fair_share(most: int | None, workers: int) -> int:
    """Connections that a process may have beside its follower's.

    Args: most: that all may have together; None: nobody tells. workers: that are registered.
    """
    if most is None:
        return MAX_LINES
    return max(1, min(MAX_LINES, (most - 2) // max(1, workers) - 1))


def scarcity(most: int | None, workers: int) -> Iterator[Weakness]:
    """Where some may be refused a connection.

    Args: most: that all may have together; None: nobody tells. workers: that are registered.
    """
    if most is None or most >= workers * (MAX_LINES + 1):
        return
    told = f"The server gives {most} connections, and {workers} workers are registered: each follows on one"
    remedy = f"Raise the limit of the server, the database or the user to {workers * (MAX_LINES + 1)}"
    if most <= workers:
        yield Weakness(f"{told}, so that none is left for revocations.", remedy)
    else:
        yield Weakness(f"{told} and takes up to {MAX_LINES} more; who is refused one waits, or answers 503.", remedy, "hint")
