"""``jwtgate watch``: the change log, live. Reads only: it registers nowhere, so that no receipt waits for it.

Whatever breaks the log is said (``events``); a store that goes away is waited for, the position kept.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Annotated

import typer

from jwtgate.cli.answering import FAILED, answering
from jwtgate.cli.events import Reader
from jwtgate.cli.gates import opened
from jwtgate.cli.options import Json
from jwtgate.cli.printing import complain, dump, say
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from jwtgate.cli.events import Event
    from jwtgate.core.history import Entry, LogEnd
    from jwtgate.stores.contract import Feed, Store

__all__ = ["watch"]

BLOCK_SECONDS = 1.0
"""Of one read: so soon a new epoch is noticed, which wakes no reader."""

RETRY_SECONDS = 0.25
ENTRIES_PER_READ = 1000


@answering
def watch(
    *,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin with what the log still holds, about two minutes.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show the change log, live, until Ctrl-C (status 130). With --json one object per line."""
    with opened("watch") as gate, closing(_events(gate.parts, from_start=from_start)) as events:
        for event in events:
            if as_json:
                dump(event.as_dict())
            elif event.name == "entry":
                say(event.words)
            else:
                complain(event.words)
    return FAILED


def _events(parts: Sequence[Store], *, from_start: bool) -> Generator[Event]:
    """Of all partitions, by turns. Never ends by itself. Raises: as ``_looks``."""
    with ExitStack() as stack:
        block_seconds = BLOCK_SECONDS / len(parts)
        all_looks = [stack.enter_context(closing(_looks(part, block_seconds, from_start=from_start))) for part in parts]
        while True:
            for index, looks in enumerate(all_looks):
                for event in next(looks):
                    yield event if len(parts) == 1 else event.of_partition(index)


def _looks(store: Store, block_seconds: float, *, from_start: bool) -> Generator[Iterable[Event]]:
    """What each look at one log tells. Raises: StoreUnavailable: before the first answer it is a mistake, later an outage."""
    epoch, end, _ = store.workers()
    reader = Reader(epoch.name, end, from_start=from_start)
    yield (reader.opening(time.time()),)
    line = _Line(store, block_seconds)
    is_away = False
    try:
        while True:
            try:
                entries, name, after = line.read(reader.cursor)
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
            yield reader.advance(entries, name, after, time.time())
    finally:
        line.hang_up()


class _Line:
    """A feed of the store, a new one after each failure."""

    def __init__(self, store: Store, block_seconds: float) -> None:
        self.store = store
        self.block_seconds = block_seconds
        self._feed: Feed | None = None

    def read(self, cursor: str) -> tuple[tuple[Entry, ...], str, LogEnd]:
        """The next entries, and what the epoch and the log's end are after that (H2). Raises: StoreUnavailable."""
        try:
            if self._feed is None:
                self._feed = self.store.feed()
            entries = self._feed.read(cursor, self.block_seconds, ENTRIES_PER_READ)
            epoch, end, _ = self.store.workers()
        except StoreUnavailable:
            self.hang_up()
            raise
        return entries, epoch.name, end

    def hang_up(self) -> None:
        """Closes what is open."""
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()
