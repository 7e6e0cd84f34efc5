"""Reads the change log as it grows. A store that goes away is waited for, the position kept; what broke the log is said."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.errors import StoreUnavailable
from jwtgate.watching.events import Reader

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from jwtgate.core.history import Entry, LogEnd, Worker
    from jwtgate.stores.contract import Feed, Store
    from jwtgate.watching.events import Event

__all__ = ["Line", "Read", "watched"]

BLOCK_SECONDS = 1.0
"""Of one read: so soon a new epoch is noticed, which wakes no reader."""

RETRY_SECONDS = 0.25
ENTRIES_PER_READ = 1000


def watched(parts: Sequence[Store], *, from_start: bool) -> Generator[Event]:
    """What happens in all partitions, by turns. Never ends by itself.

    Raises: StoreUnavailable: before the first answer it is a mistake, later an outage.
    """
    with ExitStack() as stack:
        block_seconds = BLOCK_SECONDS / len(parts)
        all_looks = [stack.enter_context(closing(_looks(part, block_seconds, from_start=from_start))) for part in parts]
        while True:
            for index, looks in enumerate(all_looks):
                for event in next(looks):
                    yield event if len(parts) == 1 else event.of_partition(index)


def _looks(store: Store, block_seconds: float, *, from_start: bool) -> Generator[Iterable[Event]]:
    """What each look at one log tells."""
    epoch, end, _ = store.workers()
    reader = Reader(epoch.name, end, from_start=from_start)
    yield (reader.opening(time.time()),)
    line = Line(store, block_seconds)
    is_away = False
    try:
        while True:
            try:
                read = line.read(reader.cursor)
            except StoreUnavailable as error:
                if not is_away:
                    yield (reader.away(time.time(), str(error)),)
                is_away = True
                time.sleep(RETRY_SECONDS)
                yield ()
                continue
            if is_away:
                yield (reader.back(time.time()),)
            is_away = False
            yield reader.advance(read.entries, read.epoch, read.end, time.time())
    finally:
        line.hang_up()


@dataclass(frozen=True, slots=True)
class Read:
    """The next entries, and what the epoch, the log's end and the registered workers are after that (H2)."""

    entries: tuple[Entry, ...]
    epoch: str
    end: LogEnd
    workers: tuple[Worker, ...]


class Line:
    """A feed of the store, a new one after each failure."""

    def __init__(self, store: Store, block_seconds: float) -> None:
        self.store = store
        self.block_seconds = block_seconds
        self._feed: Feed | None = None

    def read(self, cursor: str) -> Read:
        """What follows a cursor. Raises: StoreUnavailable."""
        try:
            if self._feed is None:
                self._feed = self.store.feed()
            entries = self._feed.read(cursor, self.block_seconds, ENTRIES_PER_READ)
            epoch, end, workers = self.store.workers()
        except StoreUnavailable:
            self.hang_up()
            raise
        return Read(entries, epoch.name, end, workers)

    def hang_up(self) -> None:
        """Closes what is open."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()
