"""A follower's own connection: registration, reading the log, writing back. Everything a follower does, and purging on its way.

F2, W1: a registration takes the log's end as a write does: whichever of the two came first, the write lists the worker or the
worker's next read finds the write. A renewal of a row that stands need not: only the reach that a write saw must not grow.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import bindparam, select

from jwtgate.core.history import Entry, Renewal, StoreBusy
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.sql.purging import Purging
from jwtgate.stores.sql.steps import cursor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jwtgate.core.history import Epoch, Repair, Worker
    from jwtgate.stores.sql.engine import Lines
    from jwtgate.stores.sql.line import Line
    from jwtgate.stores.sql.sessions import SessionRows
    from jwtgate.stores.sql.steps import State, Steps

__all__ = ["SqlFeed"]

T = TypeVar("T")

MOST_UNTOLD = 5000
"""Sessions seen that are kept for a quieter moment."""

SEEN_PER_STEP = 500
"""Sessions told of while others wait to write."""


class SqlFeed:
    """A ``Feed``. Any error closes it for good: a new connection would be another follower's start (F2)."""

    def __init__(self, lines: Lines, steps: Steps, sessions: SessionRows, poll_seconds: float) -> None:
        self._lines = lines
        self._steps = steps
        self._sessions = sessions
        self._poll_seconds = poll_seconds
        self._purging = Purging(steps)
        self._line: Line | None = None
        self._is_closed = False
        self._is_listening = False
        self._untold: list[str] = []

    def _ask(self, step: Callable[[Line], T], *, is_relaxed: bool) -> T:
        """Args: is_relaxed: the step writes nothing that must outlive a crash."""
        if self._is_closed:
            raise StoreUnavailable("the feed is closed")

        def performed(line: Line) -> T:
            line.relax(is_relaxed=is_relaxed)
            return step(line)

        try:
            if self._line is None:
                self._line = self._lines.own()
            return self._lines.ask_own(performed, self._line)
        except BaseException:
            self.close()
            raise

    # --- registration

    def renew(self, worker: Worker, epoch: str | None, *, healed: bool = False, settled: bool = False) -> Renewal:
        """One statement that renews and one that looks, sent together; a transaction where more than that is to be said."""
        claims = _Claims(worker, epoch, healed=healed, settled=settled)
        return self._ask(lambda line: self._renew(line, claims), is_relaxed=True)

    def _renew(self, line: Line, claims: _Claims) -> Renewal:
        worker = claims.worker
        with line.together():
            self._steps.renew(line, worker, claims.epoch)
            state = self._steps.state(line)
        self._lines.share(len(state.workers))
        is_renewed = any((each.name, each.beat) == (worker.name, worker.beat) for each in state.workers)
        if state.is_known and is_renewed and self._record(state, claims) == state.epoch:
            return Renewal(state.epoch, state.end, was_registered=True, workers=state.workers)
        with self._steps.holding(line) as state:
            return self._register(line, state, claims)

    def _register(self, line: Line, state: State, claims: _Claims) -> Renewal:
        """Of who holds the log's end only."""
        worker = claims.worker
        was_registered = any(each.name == worker.name for each in state.workers)
        told = worker if claims.epoch == state.epoch.name else replace(worker, acknowledged=-1)
        self._steps.register(line, told, state.epoch.name)
        others = tuple(each for each in state.workers if each.name != worker.name)
        state = replace(state, workers=(*others, told))
        record = self._record(state, claims)
        if record != state.epoch:
            self._steps.save_record(line, record)
        return Renewal(record, state.end, was_registered, state.workers)

    def _record(self, state: State, claims: _Claims) -> Epoch:
        """The epoch record as this renewal leaves it (H3, L2, W3). ``state`` knows the worker already."""
        known, watch = state.epoch, self._steps.watch
        is_current = claims.epoch == known.name
        healed = claims.healed and is_current and not any(each.is_healing for each in state.workers)
        return replace(
            known,
            lease_seconds=watch.lease_seconds if len(state.workers) == 1 else known.lease_seconds,
            reach_seconds=max(known.reach_seconds, watch.reach_seconds, claims.worker.reach_seconds),
            is_healed=known.is_healed or healed,
            is_settled=known.is_settled or (claims.settled and is_current),
        )

    def forget(self, worker: Worker) -> None:
        """One statement."""
        self._ask(lambda line: self._steps.forget(line, worker), is_relaxed=True)

    # --- the log and the scan

    def read(self, cursor: str, block_seconds: float, limit: int) -> tuple[Entry, ...]:
        """Looks again whenever it is woken, and every ``poll_seconds``."""
        if not cursor.isdecimal():
            self.close()
            raise StoreUnavailable("the cursor is of another store")
        until = time.monotonic() + block_seconds
        if block_seconds > 0 and not self._is_listening:
            self._ask(lambda line: line.listen(self._steps.tables), is_relaxed=True)
            self._is_listening = True
        while True:
            entries = self._ask(lambda line: self._read(line, int(cursor), limit), is_relaxed=True)
            if entries or time.monotonic() >= until:
                return entries
            if self._purging.is_due():
                self._ask(self._purging.purge, is_relaxed=True)
            self._wait(min(self._poll_seconds, until - time.monotonic()))

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self._ask(lambda line: line.wait(seconds), is_relaxed=True)

    def _read(self, line: Line, after: int, limit: int) -> tuple[Entry, ...]:
        log = self._steps.tables.log.c
        rows = line.run(
            select(log.position, log.link, log.previous, log.digest, log.ruling)
            .where(log.position > bindparam("after"))
            .order_by(log.position)
            .limit(limit),
            {"after": after},
        )
        return tuple(
            Entry(position, bytes(link).decode(), bytes(previous).decode(), cursor_of(position), bytes(digest), bytes(ruling))
            for position, link, previous, digest, ruling in rows
        )

    def pages(self, size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """In the order of digests, each page from where the last ended."""
        page = self._page(None, size)
        while page:
            yield page
            page = self._page(page[-1][0], size)

    def _page(self, after: bytes | None, size: int) -> list[tuple[bytes, bytes]]:
        rulings = self._steps.tables.rulings.c
        wanted = select(rulings.digest, rulings.ruling).order_by(rulings.digest).limit(size)
        if after is not None:
            wanted = wanted.where(rulings.digest > after)
        return self._ask(lambda line: [(bytes(digest), bytes(text)) for digest, text in line.run(wanted)], is_relaxed=True)

    # --- writing back

    def repair(self, epoch: str, repairs: Sequence[Repair]) -> tuple[bytes, ...] | None:
        """L1, one batch."""
        return self._ask(lambda line: self._repair(line, epoch, repairs), is_relaxed=False)

    def _repair(self, line: Line, epoch: str, repairs: Sequence[Repair]) -> tuple[bytes, ...] | None:
        with self._steps.holding(line) as state:
            if state.epoch.name != epoch:
                return None
            known = self._steps.rulings_on(line, [repair.digest for repair in repairs])
            wanted = [repair for repair in repairs if known.get(repair.digest) == repair.expected]
            puts = {repair.digest: (repair.ruling, repair.until) for repair in wanted}
            self._steps.put_rulings(line, puts, known)
            self._steps.append(line, state, [(repair.digest, repair.ruling) for repair in wanted])
        return tuple(repair.digest for repair in repairs if known.get(repair.digest) != repair.expected)

    def lose(self, epoch: str) -> None:
        """H2."""
        self._ask(lambda line: self._lose(line, epoch), is_relaxed=False)

    def _lose(self, line: Line, epoch: str) -> None:
        with self._steps.holding(line) as state:
            if state.epoch.name == epoch:
                self._steps.open_epoch(line, state)

    def saw(self, sids: Sequence[str]) -> None:
        """A few hundred at a time: others wait meanwhile.

        Of no account beside a lease: it has a free connection and no patience, and what finds others writing all the time is
        told with the next.
        """
        if self._is_closed:
            raise StoreUnavailable("the feed is closed")
        wanted = list(dict.fromkeys((*self._untold, *sids)))[-MOST_UNTOLD:]
        while wanted:
            some = wanted[:SEEN_PER_STEP]
            try:
                self._lines.ask(lambda line, some=some: self._saw(line, some))  # type: ignore[misc]
            except StoreBusy:
                break
            del wanted[:SEEN_PER_STEP]
        self._untold = wanted

    def _saw(self, line: Line, sids: Sequence[str]) -> None:
        with self._steps.holding(line):
            self._sessions.saw(line, sids)

    def close(self) -> None:
        """Closes the connection."""
        self._is_closed = True
        line, self._line = self._line, None
        if line is not None:
            self._lines.give_back(line)


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a renewal says."""

    worker: Worker
    epoch: str | None
    healed: bool
    settled: bool
