"""Whether the store answers: the circuit that spares requests a second timeout, and one log line per change of state.

Invariant: after one failed look-up no request waits for the store until the follower is through again; where no follower
is at work, one request per ``PROBE_SECONDS`` tries. Of several partitions the worst speaks for all: a request
seldom needs only one, and none may wait for it.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Literal

from jwtgate.core.history import StoreBusy
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from jwtgate.core.effects import Clock

__all__ = ["Health", "StoreState"]

StoreState = Literal["up", "down", "healing"]

PROBE_SECONDS = 0.25

ATTEMPT_SECONDS = 2.0
"""A follower whose store hangs says so after a database's timeout, or nearly two where all must be made ready: however short
the lease is, it is at work meanwhile, and requests would only wait as long."""

logger = logging.getLogger("jwtgate")


class Health:
    """One per gate. Thread-safe."""

    def __init__(self, clock: Clock, lease_seconds: float) -> None:
        self.clock = clock
        self.lease_seconds = lease_seconds
        self.state: StoreState = "up"
        self._followed: dict[int, StoreState] = {}
        self._is_busy = False
        self._lock = threading.Lock()
        self._followed_at = float("-inf")
        self._patience_seconds = lease_seconds
        self._probed_at = float("-inf")

    def is_down(self) -> bool:
        """Whether the store failed and nobody has been through since."""
        return self.state != "up"

    def check(self) -> None:
        """Before a look-up. Raises: ``StoreUnavailable`` while the circuit is open."""
        if self.state != "down":
            return
        with self._lock:
            now = self.clock.boot()
            if not self._is_followed(now) and now - self._probed_at >= PROBE_SECONDS:
                self._probed_at = now
                return
        raise StoreUnavailable("the store failed a moment ago and is not asked again yet")

    def failed(self, error: StoreUnavailable, *, of_follower: int | None = None) -> None:
        """A call failed: opens the circuit, unless it was a follower who found others writing: look-ups write nothing, and the
        first of them that fails opens it.

        Args: of_follower: the partition whose follower called.
        """
        is_busy = isinstance(error, StoreBusy)
        self._patience_seconds = self.lease_seconds + (0.0 if is_busy else ATTEMPT_SECONDS)
        if of_follower is not None:
            if is_busy:
                self._say_busy(error)
                return
            self._followed_at = self.clock.boot()
            self._followed[of_follower] = "down"
        self._move("down", "the store does not answer: %s", error)

    def answered(self, *, is_healed: bool, of_follower: int | None = None) -> None:
        """A call went through: closes the circuit, but a look-up's luck does not override a working follower."""
        now = self.clock.boot()
        state: StoreState = "up" if is_healed else "healing"
        if of_follower is not None:
            self._is_busy = False
            self._followed_at = now
            self._followed[of_follower] = state
            state = max(self._followed.values(), key=("up", "healing", "down").index)
        elif self.state == "down" and self._is_followed(now):
            return
        if state == "up":
            self._move("up", "the store answers")
        elif state == "healing":
            self._move("healing", "the store's history is new: requests are refused until it is healed")

    def _is_followed(self, now: float) -> bool:
        """Whether a follower is at work, or hangs in an attempt and is about to tell."""
        return now - self._followed_at <= self._patience_seconds

    def _say_busy(self, error: StoreUnavailable) -> None:
        """Once, until a follower is through again."""
        if not self._is_busy:
            self._is_busy = True
            logger.warning("the store takes no renewal for now, so requests ask it one by one: %s", error)

    def _move(self, state: StoreState, text: str, *values: object) -> None:
        if state == self.state:
            return
        with self._lock:
            if state == self.state:
                return
            self.state = state
        logger.log(logging.INFO if state == "up" else logging.WARNING, text, *values)
