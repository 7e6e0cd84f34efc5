"""Looks at live connections, each in its own event loop, when something has happened to what vouches for them.

Whoever applies a ruling must not wait for a loop: it puts the connection into the loop's line and calls the loop once, however
many are in it. They are looked at a few at a time, and other work has its turn in between.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Line", "Lines", "Looked"]


class Looked(Protocol):
    """A connection of a loop."""

    def look(self) -> None:
        """Raises nothing, and waits for nothing."""


AT_ONCE = 8
"""Under a millisecond of work: each is parsed, and its signature verified, where everybody is doubted."""


class Line:
    """Of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[Looked] = deque()
        self._is_called = False
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, connection: Looked) -> None:
        """From any thread; a loop that has closed has no connections any more."""
        self._waiting.append(connection)
        if not self._is_called:
            self._is_called = True
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._look)

    def run(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Does something beside, in the loop; it is held until it is done."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _look(self) -> None:
        self._is_called = False  # before the line is emptied: whoever comes later calls again
        try:
            for _ in range(min(AT_ONCE, len(self._waiting))):
                self._waiting.popleft().look()
        finally:  # a fault at one must not leave the others unlooked at
            if self._waiting:
                self._is_called = True
                self.loop.call_soon(self._look)


class Lines:
    """Of one gate: one line a loop, as long as anybody is in it or has connections there.

    A line holds its loop, so whoever held the lines would hold all loops there ever were; and while there is a line, no other
    loop has that id.
    """

    def __init__(self) -> None:
        self._lines: WeakValueDictionary[int, Line] = WeakValueDictionary()
        self._lock = threading.Lock()

    def own(self) -> Line:
        """That of the loop that runs here."""
        loop = asyncio.get_running_loop()
        line = self._lines.get(id(loop))
        if line is None:
            with self._lock:
                line = self._lines.setdefault(id(loop), Line(loop))
        return line
