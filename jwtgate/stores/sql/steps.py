"""The steps that several calls share: reading the state, holding the log's end, opening an epoch, adding to the log.

**The rule for late commits.** Positions are drawn from the one row of ``meta``, which a writing transaction holds from before
it reads anything until it has committed. So two writes never overlap, numbers become visible in their order, and nothing is
missing below an entry that can be seen: no reader ever sees n+1 without n. Were the rule ever broken, the links would show it.

Whoever holds the row reads everything after that, under READ COMMITTED: what the write before it left. Other rows are locked
only by who holds it, or one by one, so nobody waits in a circle.
"""

from __future__ import annotations

import math
import secrets
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, bindparam, case, func, select, update

from jwtgate.core.history import Epoch, LogEnd
from jwtgate.stores.sql.engine import NotPrepared
from jwtgate.stores.sql.progress import Progress
from jwtgate.stores.sql.schema import refuse_newer
from jwtgate.stores.sql.tables import FOREVER
from jwtgate.stores.sql.workers import columns_of_workers, fields_of, spelt, worker_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from jwtgate.core.history import Watch, Worker
    from jwtgate.stores.sql.dialects import Dialect, Row, Statement
    from jwtgate.stores.sql.line import Line
    from jwtgate.stores.sql.tables import Tables

__all__ = ["State", "Steps", "cursor_of"]

FEW_DIGESTS = 4
"""Whose rulings come with the state: each has a row for each worker."""

ATTEMPTS = 3
"""To answer of one epoch: each time another process has just opened a new one, or this one must."""


@dataclass(frozen=True, slots=True)
class State:
    """What one statement saw.

    Attributes:
        is_known: the epoch is of this server's present life, and not before what was seen of it (H1).
        at: the store's clock.
        workers: of this epoch, where they were asked for.
        first_until: when the first ruling may be forgotten, where that was asked for.
        rulings: on the digests that were asked for, where they are few.
    """

    epoch: Epoch
    end: LogEnd
    is_known: bool
    at: float
    workers: tuple[Worker, ...] = ()
    first_until: float | None = None
    rulings: dict[bytes, bytes] | None = None


def cursor_of(position: int) -> str:
    """What ``Feed.read`` takes."""
    return str(position)


class Steps:
    """Of one prefix on one kind of database. Every line may use it."""

    def __init__(self, tables: Tables, dialect: Dialect, watch: Watch) -> None:
        self.tables = tables
        self.dialect = dialect
        self.watch = watch
        self.progress = Progress()
        self.begin = dialect.begin(tables)

    # --- reading

    @cached_property
    def heading(self) -> tuple[Any, ...]:
        """The columns of ``meta`` that every answer begins with."""
        meta = self.tables.meta.c
        return (
            *(meta.version, meta.epoch.label("current"), meta.lease, meta.reach.label("reach_of_record")),
            *(meta.is_healed, meta.is_settled, meta.position, meta.link.label("end_link"), meta.born_at),
            case((self.dialect.is_same(self.tables), 1), else_=0).label("is_known"),
            self.dialect.clock().label("clock"),
        )

    @cached_property
    def _members(self) -> Statement:
        return self._asked(self._listed)

    @property
    def _listed(self) -> Any:
        meta, workers = self.tables.meta, self.tables.workers
        return meta.outerjoin(workers, workers.c.epoch == meta.c.epoch)

    def _asked(self, source: Any) -> Statement:
        columns = (*self.heading, *columns_of_workers(self.tables.workers))
        return select(*columns).select_from(source).where(self.tables.meta.c.id == 1)

    @cached_property
    def _members_and_ends(self) -> Statement:
        return self._members.add_columns(self._first_until)

    @property
    def _first_until(self) -> Any:
        return select(func.min(self.tables.rulings.c.until)).scalar_subquery().label("first_until")

    @cached_property
    def _members_and_rulings(self) -> Statement:
        rulings = self.tables.rulings
        known = self._listed.outerjoin(rulings, rulings.c.digest.in_(bindparam("digests", expanding=True)))
        return self._asked(known).add_columns(self._first_until, rulings.c.digest, rulings.c.ruling)

    def state(self, line: Line, *, with_ends: bool = False, digests: frozenset[bytes] = frozenset()) -> State:
        """Epoch, end and workers, of one statement and so of one moment. Args: digests: ``with_ends``, their rulings."""
        is_few = 0 < len(digests) <= FEW_DIGESTS
        told = self._members_and_rulings if is_few else self._members_and_ends if with_ends else self._members
        rows, state = self.told(line, told, {"digests": sorted(digests)} if is_few else None)
        workers = {row.name: worker_of(row) for row in rows if row.name is not None}
        known = {bytes(row.digest): bytes(row.ruling) for row in rows if row.digest is not None} if is_few else None
        ends = rows[0].first_until if with_ends else None
        return replace(state, workers=tuple(workers.values()), first_until=ends, rulings=known)

    def told(self, line: Line, statement: Statement, parameters: Any = None) -> tuple[list[Row], State]:
        """What a statement finds that begins with ``heading``, and the state without workers.

        Raises: NotPrepared: the row of ``meta`` is gone; StoreUnavailable: it is of a layout that nobody knows here.
        """
        seen = self.progress.seen
        rows: list[Row] = line.run(statement, parameters).all()
        if not rows:
            raise NotPrepared("the store was emptied")
        refuse_newer(rows[0].version)
        state = _state(rows[0])
        if seen is not None and seen.is_after(state.epoch.name, state.end):
            return rows, replace(state, is_known=False)
        if state.is_known:
            self.progress.note(state.epoch.name, state.end)
        return rows, state

    # --- writing

    @contextmanager
    def holding(self, line: Line, *, with_ends: bool = False, digests: frozenset[bytes] = frozenset()) -> Generator[State]:
        """A transaction that nobody else writes in, in a known epoch: H1 and W1 are kept here. Args: as of ``state``."""
        is_prepared = not self.dialect.has_boot
        while True:
            with line.transaction(self.begin):
                state = self.state(line, with_ends=with_ends, digests=digests)
                if not state.is_known and is_prepared:
                    state = self.open_epoch(line, state)
                if state.is_known:
                    yield state
                    return
            line.run(self.dialect.prepare_epoch(self.tables))
            is_prepared = True

    def acquaint(self, line: Line) -> None:
        """After a look at an unknown epoch: opens a new one, unless another process was first."""
        with self.holding(line):
            pass

    def open_epoch(self, line: Line, old: State) -> State:
        """H1. Of the row's holder only. Rulings stay; what of the log lies beyond its end is of a history that is over."""
        meta = self.tables.meta
        reach = max(old.epoch.reach_seconds, self.watch.reach_seconds)
        epoch = Epoch(
            secrets.token_urlsafe(8), self.watch.lease_seconds, reach, is_healed=False, is_settled=False, birth=old.at
        )
        end = old.end
        if not end.link:
            end = replace(end, link=secrets.token_urlsafe(8))
            line.put(self.tables.log.delete())
        line.put(self.tables.log.delete().where(self.tables.log.c.position > end.position))
        line.put(self.tables.workers.delete())
        values = {"epoch": epoch.name.encode(), "born_at": old.at, "link": end.link.encode(), **_record(epoch)}
        line.put(
            update(meta)
            .where(meta.c.id == 1)
            .values(**values, identity=self.dialect.server(self.tables), mark=self.dialect.mark())
        )
        return replace(old, epoch=epoch, end=end, is_known=True, workers=())

    # --- workers

    @cached_property
    def _renewal(self) -> Any:
        workers = self.tables.workers.c
        is_of = workers.epoch == bindparam("of_epoch")
        return (
            update(self.tables.workers)
            .where((workers.name == bindparam("of")) & (workers.reach >= bindparam("new_reach")))
            .values(
                reach=bindparam("new_reach"),
                acknowledged=case((is_of, bindparam("new_acknowledged", type_=BigInteger)), else_=-1),
                beat=bindparam("new_beat"),
                is_healing=bindparam("new_is_healing"),
            )
        )

    def renew(self, line: Line, worker: Worker, epoch: str | None) -> None:
        """Renews a row that stands, of whatever epoch, with a reach that does not grow; else does nothing."""
        fields = {f"new_{name}": value for name, value in fields_of(worker).items()}
        line.put(self._renewal, {"of": worker.name.encode(), "of_epoch": (epoch or "").encode(), **fields})

    def register(self, line: Line, worker: Worker, epoch: str) -> None:
        """Of the row's holder only."""
        workers, name = self.tables.workers, worker.name.encode()
        line.put(workers.delete().where(workers.c.name == name))
        line.put(workers.insert(), {"name": name, "epoch": epoch.encode(), **fields_of(worker)})

    def forget(self, line: Line, worker: Worker) -> None:
        """Where the beat is the same."""
        workers = self.tables.workers
        line.put(workers.delete().where((workers.c.name == worker.name.encode()) & (workers.c.beat == worker.beat)))

    # --- the record and the log

    def save_record(self, line: Line, epoch: Epoch) -> None:
        """Of the row's holder only."""
        meta = self.tables.meta
        line.put(update(meta).where(meta.c.id == 1).values(**_record(epoch), mark=self.dialect.mark()))

    @cached_property
    def _advance(self) -> Any:
        meta = self.tables.meta
        values: dict[str, Any] = {
            "position": bindparam("new_position"),
            "link": bindparam("new_link"),
            "mark": self.dialect.mark(),
        }
        return self.dialect.announcing(update(meta).where(meta.c.id == 1).values(**values), self.tables)

    def append(self, line: Line, state: State, entries: Iterable[tuple[bytes, bytes]]) -> LogEnd:
        """H2. Of the row's holder only: (digest, ruling), in order."""
        position, link = state.end.position, state.end.link
        rows: list[dict[str, Any]] = []
        for digest, ruling in entries:
            position, previous, link = position + 1, link, secrets.token_urlsafe(8)
            fields = {"position": position, "link": link.encode(), "previous": previous.encode(), "at": state.at}
            rows.append({**fields, "digest": digest, "ruling": ruling})
        if rows:
            line.put_all(self.tables.log.insert(), rows)
            line.put(self._advance, {"new_position": position, "new_link": link.encode()})
        return LogEnd(position, link, cursor_of(position))

    def rulings_on(self, line: Line, digests: Iterable[bytes]) -> dict[bytes, bytes]:
        """What is stored on each, if anything."""
        rulings, wanted = self.tables.rulings.c, sorted(set(digests))
        if not wanted:
            return {}
        found = line.run(select(rulings.digest, rulings.ruling).where(rulings.digest.in_(wanted)))
        return {bytes(digest): bytes(ruling) for digest, ruling in found}

    def put_rulings(self, line: Line, puts: dict[bytes, tuple[bytes, float | None]], known: Iterable[bytes]) -> None:
        """Of the row's holder only: digest -> (ruling, until). ``known``: what has a row already."""
        rulings, there = self.tables.rulings, frozenset(known)
        fresh = [
            {"digest": digest, "ruling": ruling, "until": until}
            for digest, (ruling, until) in puts.items()
            if digest not in there
        ]
        changed = [
            {"of": digest, "new_ruling": ruling, "new_until": until}
            for digest, (ruling, until) in puts.items()
            if digest in there
        ]
        line.put_all(rulings.insert(), fresh)
        line.put_all(self._replace_ruling, changed)

    @cached_property
    def _replace_ruling(self) -> Any:
        rulings = self.tables.rulings
        values: dict[str, Any] = {"ruling": bindparam("new_ruling"), "until": bindparam("new_until")}
        return update(rulings).where(rulings.c.digest == bindparam("of")).values(**values)


def _state(row: Row) -> State:
    reach = math.inf if row.reach_of_record >= FOREVER else row.reach_of_record
    epoch = Epoch(bytes(row.current).decode(), row.lease, reach, bool(row.is_healed), bool(row.is_settled), row.born_at)
    end = LogEnd(row.position, bytes(row.end_link).decode(), cursor_of(row.position))
    return State(epoch, end, bool(row.is_known), float(row.clock))


def _record(epoch: Epoch) -> dict[str, Any]:
    return {
        "lease": epoch.lease_seconds,
        "reach": spelt(epoch.reach_seconds),
        "is_healed": int(epoch.is_healed),
        "is_settled": int(epoch.is_settled),
    }
