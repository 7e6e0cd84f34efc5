"""Who waits for a connection gets it in turn.

Invariant: nobody is served while another has waited longer. The standard library's semaphores and queues wake who waits, but
give what is free to whoever comes first, and that is mostly the thread that just gave it back: a request would wait out its
whole timeout while others are served hundreds of times.
"""

from __future__ import annotations

import threading
from collections import deque

__all__ = ["Turns"]


class Turns:
    """A semaphore that is fair. Thread-safe."""

    __slots__ = ("_left", "_lock", "_most", "_waiting")

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._left = self._most = most
        self._waiting: deque[threading.Lock] = deque()  # somebody waits only while none is left

    def limit(self, most: int) -> None:
        """To so many from here on. Where more are taken, those given back first go to nobody."""
        with self._lock:
            self._left += most - self._most
            self._most = most
            while self._waiting and self._left > 0:
                self._left -= 1
                self._waiting.popleft().release()

    def take(self, seconds: float) -> bool:
        """Waits for its turn. Returns: whether it came in time; then ``give`` must follow."""
        with self._lock:
            if self._left > 0:
                self._left -= 1
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        try:
            if turn.acquire(timeout=seconds):
                return True
        except BaseException:  # of a killed greenlet, or of a signal's handler
            if not self._withdrawn(turn):
                self.give()
            raise
        return not self._withdrawn(turn)

    def give(self) -> None:
        """To the one that waited longest."""
        with self._lock:
            if self._waiting and self._left >= 0:
                self._waiting.popleft().release()
            else:
                self._left += 1

    def _withdrawn(self, turn: threading.Lock) -> bool:
        """Whether it still waited; else its turn has come meanwhile."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return True
            return False
