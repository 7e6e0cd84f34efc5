"""Forgetting what is over, off the way of requests: in a follower's pauses, every few seconds, a little at a time.

By the store's clock alone; a clock that runs ahead eats of the margin that each end has, so the margin is left to it.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

if TYPE_CHECKING:
    from jwtgate.stores.sql.line import Line
    from jwtgate.stores.sql.steps import State, Steps

__all__ = ["Purging"]

PURGE_SECONDS = 5.0
"""Between two purges of one follower, more or less: followers do not come together."""

ROWS_PER_PURGE = 500
"""Of each table: a few milliseconds in which others wait to write."""

PURGE_AGAIN_SECONDS = 0.1
"""Where one purge did not take all: 5,000 a second go, more than are made."""

KEPT_SECONDS, KEPT_ENTRIES = 120.0, 1000
"""Of the log: a follower that is further behind on both counts reloads."""

MARGIN_SECONDS = 60.0
"""How far the store's clock may be ahead of a caller's."""


class Purging:
    """When the next purge is due, and what it does. One per feed."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self._next = 0.0
        self._plan()

    def _plan(self) -> None:
        self._next = time.monotonic() + PURGE_SECONDS * random.SystemRandom().uniform(0.5, 1.5)

    def is_due(self) -> bool:
        """Whether enough time has passed."""
        return time.monotonic() >= self._next

    def purge(self, line: Line) -> None:
        """One small transaction, if there is anything to forget at all."""
        self._plan()
        tables = self.steps.tables
        state = self.steps.state(line, with_ends=True)
        position, written_at = line.run(
            select(tables.log.c.position, tables.log.c.at).order_by(tables.log.c.position).limit(1)
        ).first() or (0, None)
        oldest_session = line.run(select(tables.sessions.c.ends_at).order_by(tables.sessions.c.ends_at).limit(1)).scalar()
        oldest_mark = line.run(select(tables.marks.c.until).order_by(tables.marks.c.until).limit(1)).scalar()
        is_more = False
        if state.is_known and _is_before(oldest_mark, state.at - MARGIN_SECONDS):
            is_more = self._purge_marks(line, state)
        is_old = (
            _is_before(state.first_until, state.at - MARGIN_SECONDS)
            or (position <= state.end.position - KEPT_ENTRIES and _is_before(written_at, state.at - KEPT_SECONDS))
            or _is_before(oldest_session, state.at)
        )
        if state.is_known and is_old:
            with self.steps.holding(line) as state:
                purges = (self._purge_rulings, self._purge_sessions, self._purge_log)
                left = [is_more, *(purge(line, state) for purge in purges)]
            is_more = any(left)
        if is_more:
            self._next = time.monotonic() + PURGE_AGAIN_SECONDS

    def _purge_rulings(self, line: Line, state: State) -> bool:
        """Each of these says whether there may be more."""
        rulings = self.steps.tables.rulings
        over = rulings.c.until < state.at - MARGIN_SECONDS
        digests = line.run(select(rulings.c.digest).where(over).order_by(rulings.c.until).limit(ROWS_PER_PURGE)).scalars().all()
        if digests:
            line.run(delete(rulings).where(rulings.c.digest.in_(digests)))
        return len(digests) == ROWS_PER_PURGE

    def _purge_marks(self, line: Line, state: State) -> bool:
        """Not of who holds the log's end: nobody waits. One that was put anew meanwhile is over no more.

        There may be one for each request: all of one moment go together.
        """
        until = self.steps.tables.marks.c.until
        oldest = select(until).where(until < state.at - MARGIN_SECONDS).order_by(until).limit(ROWS_PER_PURGE)
        ends = line.run(oldest).scalars().all()
        if ends:
            line.run(delete(self.steps.tables.marks).where(until <= ends[-1]))
        return len(ends) == ROWS_PER_PURGE

    def _purge_sessions(self, line: Line, state: State) -> bool:
        sessions = self.steps.tables.sessions
        over = sessions.c.ends_at <= state.at
        sids = line.run(select(sessions.c.sid).where(over).order_by(sessions.c.ends_at).limit(ROWS_PER_PURGE)).scalars().all()
        if sids:
            line.run(delete(sessions).where(sessions.c.sid.in_(sids)))
        return len(sids) == ROWS_PER_PURGE

    def _purge_log(self, line: Line, state: State) -> bool:
        log = self.steps.tables.log
        oldest = select(log.c.position, log.c.at).order_by(log.c.position).limit(ROWS_PER_PURGE)
        old = [
            position
            for position, at in line.run(oldest)
            if at < state.at - KEPT_SECONDS and position <= state.end.position - KEPT_ENTRIES
        ]
        if old:
            line.run(delete(log).where(log.c.position <= max(old)))
        return len(old) == ROWS_PER_PURGE


def _is_before(moment: float | None, limit: float) -> bool:
    return moment is not None and moment < limit
