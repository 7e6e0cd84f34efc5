"""An SQL database as a store. Every step is one transaction, or one statement (H1, W1).

How late commits are kept in order stands in ``steps``. A backup that was restored into the same running server or the same
file, where the database itself keeps no trace of it (each dialect's module says what it finds), is found by whoever has seen
more: by any of its questions (``progress``), and by its follower's reading (H2, ``Feed.lose``). What nobody finds: one that
lacks no ruling, but marks or sessions; single tables restored or emptied by hand.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, func, select

from jwtgate.core.history import Facts, Written
from jwtgate.core.rulings import Ruling, UnreadableRuling, supersede
from jwtgate.core.sessions.stored import MOST_LISTED, Guard
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.skew import beside, clock_told
from jwtgate.stores.sql import schema
from jwtgate.stores.sql.demand import scarcity
from jwtgate.stores.sql.engine import Lines
from jwtgate.stores.sql.feed import SqlFeed
from jwtgate.stores.sql.marks import MarkRows
from jwtgate.stores.sql.rehearsing import rehearsed
from jwtgate.stores.sql.sessions import SessionRows, handles_of, is_as_expected
from jwtgate.stores.sql.steps import ATTEMPTS, Steps
from jwtgate.stores.sql.tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jwtgate.core.history import Epoch, LogEnd, Marked, MarkPage, Watch, Worker
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import SessionChange
    from jwtgate.stores.contract import Weakness
    from jwtgate.stores.sql.dialects import Dialect, Row, Statement
    from jwtgate.stores.sql.line import Line
    from jwtgate.stores.sql.steps import State

__all__ = ["SqlStore"]

SWEPT_PER_WRITE = 16
"""More than a write adds, and bounded. The rest is the followers' (``purging``)."""

MIGRATION_SECONDS = 60.0
"""Somebody waits for it who asked for it."""


class SqlStore:
    """A ``Store``."""

    def __init__(self, dialect: Dialect, *, prefix: str, watch: Watch, poll_seconds: float) -> None:
        """Connects to nothing yet."""
        self._tables = tables_of(prefix)
        self._lines = Lines(dialect, lambda line: schema.prepare(line, self._tables))
        self._steps = Steps(self._tables, dialect, watch)
        self._sessions = SessionRows(self._steps)
        self._marks = MarkRows(self._steps)
        self._poll_seconds = poll_seconds

    # --- looking

    def look_up(self, digests: Sequence[bytes], sids: Sequence[str] = ()) -> Facts:
        """One statement; with sessions two.

        Sessions are read first, the rulings on them and the position afterwards. That can only be stricter than one moment:
        whatever ends a session early writes a ruling in the same step, which the second statement sees; and one that the first
        did not find yet can have given no token to a request that began before it.
        """
        return self._lines.ask(lambda line: self._look(line, digests, sids=sids))

    def sessions_of(self, user: bytes, offset: int = 0, limit: int = MOST_LISTED) -> Facts:
        """As ``look_up`` with sessions."""
        page = (user, offset, min(limit, MOST_LISTED))
        return self._lines.ask(lambda line: self._look(line, (), page=page))

    def _look(
        self,
        line: Line,
        digests: Sequence[bytes],
        *,
        sids: Sequence[str] = (),
        page: tuple[bytes, int, int] | None = None,
    ) -> Facts:
        for _ in range(ATTEMPTS):
            epoch: str = ""
            rows: list[Row] = []
            if page is not None:
                epoch, rows = self._sessions.of_user(line, *page)
            elif sids:
                epoch, rows = self._sessions.named(line, sids)
            wanted = {*digests, *(handle for row in rows for handle in handles_of(row))}
            state, rulings = self._judged(line, wanted)
            if state.is_known and epoch in ("", state.epoch.name):
                return self._facts(state, rulings, digests, rows, None if page is not None else sids)
            self._steps.acquaint(line)
        raise StoreUnavailable("the store's history was lost again and again")

    @cached_property
    def _looked(self) -> Statement:
        meta, rulings = self._tables.meta, self._tables.rulings
        named = meta.outerjoin(rulings, rulings.c.digest.in_(bindparam("digests", expanding=True)))
        return select(*self._steps.heading, rulings.c.digest, rulings.c.ruling).select_from(named).where(meta.c.id == 1)

    @cached_property
    def _glanced(self) -> Statement:
        return select(*self._steps.heading).where(self._tables.meta.c.id == 1)

    def _judged(self, line: Line, digests: set[bytes]) -> tuple[State, dict[bytes, bytes]]:
        """The position, and what is ruled at that position."""
        if not digests:
            return self._steps.told(line, self._glanced)[1], {}
        rows, state = self._steps.told(line, self._looked, {"digests": list(digests)})
        return state, {bytes(row.digest): bytes(row.ruling) for row in rows if row.digest is not None}

    def _facts(
        self,
        state: State,
        rulings: Mapping[bytes, bytes],
        digests: Sequence[bytes],
        rows: Sequence[Row],
        sids: Sequence[str] | None,
    ) -> Facts:
        """Args: sids: in the order of the answer; None: as the rows come."""
        found = {bytes(row.sid).decode(): self._sessions.stored(row, rulings, state.at) for row in rows}
        if sids is None:
            sessions = tuple(session for session in found.values() if session is not None)
            return Facts(state.epoch, state.end, (), sessions, state.at)
        answers = tuple(found.get(sid) for sid in sids)
        return Facts(state.epoch, state.end, tuple(map(rulings.get, digests)), answers, state.at)

    def workers(self) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
        """One statement."""
        state = self._lines.ask(self._members)
        return state.epoch, state.end, state.workers

    def _members(self, line: Line) -> State:
        state = self._steps.state(line)
        if state.is_known:
            return state
        with self._steps.holding(line) as state:
            return state

    # --- writing

    def write(
        self,
        changes: Sequence[Change],
        now: float,
        sessions: Sequence[SessionChange] = (),
        guard: Guard | None = None,
    ) -> Written | None:
        """W1. Never retried: where the answer to the commit is lost, nobody knows whether it was done."""
        written = self._lines.ask(lambda line: self._write(line, changes, now, sessions, guard or Guard()))
        if written is not None:
            self._steps.progress.note(written.epoch.name, written.end)
        return written

    def _write(
        self, line: Line, changes: Sequence[Change], now: float, sessions: Sequence[SessionChange], guard: Guard
    ) -> Written | None:
        is_quiet = not changes and len(sessions) > 0 and all(each.record is not None for each in sessions)
        seen = (digest for digest, _ in guard.toggled_at)
        digests = frozenset((*guard.not_revoked, *seen, *(change.digest for change in changes)))
        with self._steps.holding(line, with_ends=not is_quiet, digests=digests) as state:
            swept = self._sweep(line, state, min(beside(state.at, now), now))
            known = self._steps.rulings_on(line, digests) if state.rulings is None else state.rulings
            known = {digest: ruling for digest, ruling in known.items() if digest not in swept}
            rows = self._sessions.rows_of(line, sessions)
            if not self._holds(line, guard, known, state.at) or not all(
                is_as_expected(each, rows.get(each.sid), state.at) for each in sessions
            ):
                return None
            at = max(state.at, now)
            rulings = _superseded(changes, known, state, at)
            texts = tuple(ruling.encode() for ruling in rulings)
            puts = {change.digest: (text, ruling.until) for change, ruling, text in zip(changes, rulings, texts, strict=True)}
            self._steps.put_rulings(line, puts, known)
            end = self._steps.append(line, state, zip((change.digest for change in changes), texts, strict=True))
            self._sessions.change(line, sessions, rows, f"{state.epoch.name}:{end.position}", state.at)
        return Written(state.epoch, end, at, texts, () if is_quiet else state.workers)

    def _holds(self, line: Line, guard: Guard, known: Mapping[bytes, bytes], now: float) -> bool:
        if not guard.holds(lambda digest: _decoded(known[digest]) if digest in known else None):
            return False
        return guard.user is None or self._sessions.sids_of(line, guard.user, now) == guard.sids

    def _sweep(self, line: Line, state: State, now: float) -> frozenset[bytes]:
        """Forgets a few rulings past their end, by the earlier clock: one that is fast must not eat the margin of ``until``."""
        if state.first_until is None or state.first_until >= now:
            return frozenset()
        rulings = self._tables.rulings
        expired = select(rulings.c.digest).where(rulings.c.until < now).order_by(rulings.c.until).limit(SWEPT_PER_WRITE)
        digests = list(line.run(expired).scalars())
        line.put(delete(rulings).where(rulings.c.digest.in_(digests)))
        return frozenset(map(bytes, digests))

    # --- what may be used once

    def mark(self, group: str, name: bytes, value: bytes, until: float, now: float) -> Marked:
        """Never retried, as ``write``."""
        return self._lines.ask(lambda line: self._marks.mark(line, group, name, value, until, now))

    def marks(self, group: str, after: str | None, limit: int) -> MarkPage:
        """Two statements."""
        return self._lines.ask(lambda line: self._marks.page(line, group, after, limit))

    # --- the rest

    def feed(self) -> SqlFeed:
        """A feed with a connection of its own."""
        return SqlFeed(self._lines, self._steps, self._sessions, self._poll_seconds)

    def forget(self, worker: Worker) -> None:
        """One statement."""
        self._lines.ask(lambda line: self._steps.forget(line, worker))

    def migrate(self) -> tuple[int | None, int]:
        """Makes the tables, or brings them to this layout. Returns: its version before (None: there were none) and after."""
        return self._lines.ask(lambda line: schema.migrate(line, self._tables), seconds=MIGRATION_SECONDS, is_prepared=True)

    def audit(self) -> tuple[Weakness, ...]:
        """Several statements; each may be refused to the gate's user."""
        dialect = self._lines.dialect
        tables = [table for table in self._tables.all().values() if table is not self._tables.boot or dialect.has_boot]
        on_disk = [table.name for table in tables if table is not self._tables.boot]
        sent = time.time()
        there = float(self._lines.ask(lambda line: line.run(select(dialect.clock())).scalar()))
        back = time.time()
        self._lines.given = dialect.most_lines(self._inquire)
        return (
            *dialect.audit(self._inquire, on_disk),
            *scarcity(self._lines.given, self._registered()),
            *rehearsed(self._lines.ask, tables, self._tables.meta),
            *clock_told(sent, there, back),
        )

    def _registered(self) -> int:
        """One statement, which opens no epoch; a table that does not answer is told of by the rehearsal."""
        counted = select(func.count()).select_from(self._tables.workers)
        try:
            return int(self._lines.ask(lambda line: line.run(counted).scalar()))
        except StoreUnavailable:
            return 0

    def _inquire(self, text: str) -> list[tuple[Any, ...]] | None:
        return self._lines.ask(lambda line: [tuple(row) for row in line.say(text)])

    def reset_after_fork(self) -> None:
        """The child gets its own connections and locks."""
        self._lines.reset_after_fork()

    def close(self) -> None:
        """Closes the pooled connections."""
        self._lines.close()


def _superseded(changes: Sequence[Change], known: Mapping[bytes, bytes], state: State, at: float) -> list[Ruling]:
    """What holds after each change, in order."""
    latest: dict[bytes, Ruling] = {digest: _decoded(text) for digest, text in known.items()}
    rulings: list[Ruling] = []
    for position, change in enumerate(changes, state.end.position + 1):
        ruling = supersede(latest.get(change.digest), change, state.epoch.name, position, at)
        latest[change.digest] = ruling
        rulings.append(ruling)
    return rulings


def _decoded(text: bytes) -> Ruling:
    try:
        return Ruling.decode(text)
    except UnreadableRuling as error:
        raise StoreUnavailable("a stored ruling cannot be read") from error
