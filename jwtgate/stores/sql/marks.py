"""What may be used once, in an SQL database.

Marks do not take part in the log, so nobody waits for its end: the key alone decides who was first. Three statements, sent
together where the driver can: one puts the mark where there is none, one where there is one that is over, and the last reads
the history (H1) and whose mark it is now. The first two do nothing in a history that is over, so what the last one tells is
never of an older one than the mark.
"""

from __future__ import annotations

import secrets
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import Double, LargeBinary, bindparam, exists, func, literal, select, update

from jwtgate.core.history import Marked, MarkPage
from jwtgate.core.rulings import MAX_SKEW_SECONDS
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.cursors import place_of, told
from jwtgate.stores.skew import beside
from jwtgate.stores.sql.steps import ATTEMPTS

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from jwtgate.stores.sql.dialects import Statement
    from jwtgate.stores.sql.line import Line
    from jwtgate.stores.sql.steps import Steps

__all__ = ["MarkRows"]


def _given(name: str) -> ColumnElement[bytes]:
    return bindparam(name, type_=LargeBinary)


NOW = bindparam("now", type_=Double)


class MarkRows:
    """Of one prefix on one kind of database. Without state."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.table = steps.tables.marks

    def mark(self, line: Line, group: str, name: bytes, value: bytes, until: float, now: float) -> Marked:
        """See ``Store.mark``."""
        by = secrets.token_bytes(8)
        key = {"of_group": group.encode(), "of_name": name}
        given = {**key, "new_value": value, "new_until": until, "new_by": by, "now": now}
        for _ in range(ATTEMPTS):
            with line.together():
                line.put(self._first, given)
                line.put(self._again, given)
                rows, state = self.steps.told(line, self._told, key)
            beside(state.at, now)
            if state.is_known:
                return Marked(rows[0].by is not None and bytes(rows[0].by) == by, state.epoch, state.at, state.epoch.birth)
            self.steps.acquaint(line)
        raise StoreUnavailable("the store's history was lost again and again")

    @cached_property
    def _may(self) -> ColumnElement[bool]:
        """Of a known history, and of clocks that agree."""
        meta = self.steps.tables.meta
        skew = func.abs(self.steps.dialect.clock() - NOW)
        return (meta.c.id == 1) & self.steps.dialect.is_same(self.steps.tables) & (skew <= literal(MAX_SKEW_SECONDS, Double))

    @cached_property
    def _first(self) -> Statement:
        until = bindparam("new_until", type_=Double)
        values = select(_given("of_group"), _given("of_name"), _given("new_value"), until, _given("new_by"))
        chosen = values.select_from(self.steps.tables.meta).where(self._may)
        return self.steps.dialect.insert_missing(self.table).from_select(list(self.table.c), chosen)

    @cached_property
    def _again(self) -> Statement:
        marks = self.table.c
        is_over = (marks.until < self.steps.dialect.clock()) & (marks.until < NOW)
        return (
            update(self.table)
            .where((marks.group == _given("of_group")) & (marks.name == _given("of_name")) & is_over)
            .where(exists(select(literal(1)).select_from(self.steps.tables.meta).where(self._may)))
            .values(value=_given("new_value"), until=bindparam("new_until", type_=Double), by=_given("new_by"))
        )

    @cached_property
    def _told(self) -> Statement:
        meta, marks = self.steps.tables.meta, self.table.c
        here = (marks.group == _given("of_group")) & (marks.name == _given("of_name"))
        return select(*self.steps.heading, marks.by).select_from(meta.outerjoin(self.table, here)).where(meta.c.id == 1)

    def page(self, line: Line, group: str, after: str | None, limit: int) -> MarkPage:
        """See ``Store.marks``. Two statements."""
        for _ in range(ATTEMPTS):
            _, state = self.steps.told(line, select(*self.steps.heading).where(self.steps.tables.meta.c.id == 1))
            if state.is_known:
                rows = self._rows(line, group, after, limit + 1, state.at)
                return MarkPage(state.epoch, rows[:limit], told(rows[:limit]) if len(rows) > limit else None)
            self.steps.acquaint(line)
        raise StoreUnavailable("the store's history was lost again and again")

    def _rows(
        self, line: Line, group: str, after: str | None, limit: int, now: float
    ) -> tuple[tuple[bytes, bytes, float], ...]:
        marks = self.table.c
        wanted = select(marks.name, marks.value, marks.until).where((marks.group == group.encode()) & (marks.until >= now))
        if after is not None:
            until, name = place_of(after)
            wanted = wanted.where((marks.until > until) | ((marks.until == until) & (marks.name > name)))
        rows = line.run(wanted.order_by(marks.until, marks.name).limit(limit))
        return tuple((bytes(name), bytes(value), float(until)) for name, value, until in rows)
