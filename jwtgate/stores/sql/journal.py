"""A journal in an SQL database: what the store ruled and which sessions it holds, remembered when the store does not.

Each call is one short transaction within the bounds of ``engine``. How rows combine stands in ``journal_tables``. Rows are
locked in one order, so that two writers wait for each other and not in a circle; whoever comes second finds what the first
left. Whatever goes wrong becomes ``JournalUnavailable``.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import bindparam, delete, inspect, or_, select, text, update

from jwtgate.core.history import JournalUnavailable
from jwtgate.core.rulings import UnreadableRuling
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.sql.dialects import TIMEOUT_SECONDS
from jwtgate.stores.sql.engine import Lines
from jwtgate.stores.sql.journal_tables import (
    VERSION,
    journal_tables_of,
    merged_ruling,
    merged_session,
    row_of_ruling,
    row_of_session,
    session_of,
)
from jwtgate.stores.sql.schema import alone, create
from jwtgate.stores.sql.tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import RowMapping, Table

    from jwtgate.core.sessions.stored import KeptSession
    from jwtgate.stores.contract import Weakness
    from jwtgate.stores.sql.dialects import Dialect
    from jwtgate.stores.sql.line import Line

__all__ = ["SqlJournal"]

T = TypeVar("T")

BEGIN = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "BEGIN ISOLATION LEVEL READ COMMITTED",
    "mysql": "SET autocommit = 0",  # see ``mysql``
}
"""A read that locks sees what was committed last; in MySQL under any isolation."""

ATTEMPTS = 3
AGAIN_SECONDS = 0.3
"""A call that failed so early is begun again: its connection had died in the pool, or it stood in a circle with another one
after all. Merging twice changes nothing."""

PURGE_SECONDS = 300.0
PURGE_SLICE = 500
PURGE_PAUSE_SECONDS = 0.05
"""A few milliseconds of the database's time, and then others first."""

MIGRATION_SECONDS = 60.0
"""Somebody waits for it who asked for it."""

MARGIN_SECONDS = 120.0
"""Rows are kept so much longer: ends are of the store's clock, purged by ours."""


class SqlJournal:
    """A ``Journal``. Opens no connection before the first use."""

    def __init__(self, dialect: Dialect, *, prefix: str) -> None:
        self._tables = journal_tables_of(prefix)
        self._guard = tables_of(f"{prefix}_journal")
        self._begin = (BEGIN[dialect.url.partition(":")[0].partition("+")[0]],)
        self._lines = Lines(dialect, self._prepare)
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._has_failed = False
        self._before: int | None = None
        self._purged_at = time.monotonic()

    def reset_after_fork(self) -> None:
        """The child gets its own connections and locks."""
        self._lines.reset_after_fork()
        self._start()

    # --- writing

    def record(self, rulings: Sequence[tuple[bytes, bytes]], sessions: Sequence[KeptSession]) -> None:
        """One transaction."""
        if rulings or sessions:
            self._ask(lambda line: self._record(line, rulings, sessions))
            self._purge_sometimes()

    def _record(self, line: Line, rulings: Sequence[tuple[bytes, bytes]], sessions: Sequence[KeptSession]) -> None:
        table, kept = self._tables.rulings, self._tables.sessions
        told_rulings: dict[bytes, bytes] = {}
        for digest, ruling in rulings:
            told_rulings[digest] = merged_ruling(told_rulings.get(digest), ruling)
        told_sessions: dict[bytes, KeptSession] = {}
        for session in sessions:
            told_sessions[session.sid.encode()] = merged_session(told_sessions.get(session.sid.encode()), session)
        with line.transaction(self._begin):
            fresh = [row_of_ruling(*told) for told in sorted(told_rulings.items())]
            for row in self._taken(line, table, "digest", fresh):
                digest, known = bytes(row["digest"]), bytes(row["ruling"])
                merged = merged_ruling(known, told_rulings[digest])
                if merged != known:
                    self._replace(line, table, "digest", row_of_ruling(digest, merged))
            fresh = [row_of_session(told) for _, told in sorted(told_sessions.items())]
            for row in self._taken(line, kept, "sid", fresh):
                there = session_of(row)
                whole = merged_session(there, told_sessions[bytes(row["sid"])])
                if whole != there:
                    self._replace(line, kept, "sid", row_of_session(whole))

    def _taken(self, line: Line, table: Table, key: str, told: list[dict[str, Any]]) -> Sequence[RowMapping]:
        """Locks and reads what is there, and puts in the rest; where another write put that in first, reads what it left."""
        found = self._locked(line, table, key, [row[key] for row in told])
        known = {bytes(row[key]) for row in found}
        fresh = [row for row in told if row[key] not in known]
        if not fresh:
            return found
        done = line.run(self._lines.dialect.insert_missing(table), fresh)
        if len(fresh) == 1 and done.rowcount == 1:
            return found
        return (*found, *self._locked(line, table, key, [row[key] for row in fresh]))

    def _locked(self, line: Line, table: Table, key: str, values: list[bytes]) -> Sequence[RowMapping]:
        column = table.c[key]
        wanted = select(table).where(column.in_(values)).order_by(column).with_for_update()
        found: Sequence[RowMapping] = line.run(wanted).mappings().all() if values else ()
        return found

    def _replace(self, line: Line, table: Table, key: str, row: dict[str, Any]) -> None:
        values = {f"new_{name}": value for name, value in row.items()}
        changed: dict[str, Any] = {name: bindparam(f"new_{name}") for name in row if name != key}
        line.run(update(table).where(table.c[key] == bindparam(f"new_{key}")).values(**changed), values)

    def check(self) -> None:
        """One question, where the last one had no answer."""
        if self._has_failed:
            self._ask(lambda line: line.run(text("SELECT 1")).close())

    # --- reading

    def pages(self, size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """By digest, a statement each: nothing is held open while a page is worked on."""
        table = self._tables.rulings
        matters = or_(table.c.until.is_(None), table.c.until >= time.time())
        for rows in self._slices(select(table.c.digest, table.c.ruling).where(matters), table.c.digest, size):
            yield [(bytes(row["digest"]), bytes(row["ruling"])) for row in rows]

    def session_pages(self, size: int) -> Iterator[Sequence[KeptSession]]:
        """By name; what no jwtgate wrote is left out."""
        table = self._tables.sessions
        wanted = select(table).where(table.c.ends_at > time.time() - MARGIN_SECONDS)
        for rows in self._slices(wanted, table.c.sid, size):
            yield [session for session in map(session_of, rows) if session is not None]

    def _slices(self, wanted: Any, key: Any, size: int) -> Iterator[Sequence[RowMapping]]:
        last: bytes | None = None
        while True:
            asked = (wanted if last is None else wanted.where(key > last)).order_by(key).limit(size)
            rows = self._ask(partial(_rows, asked=asked))
            if rows:
                yield rows
            if len(rows) < size:
                return
            last = bytes(rows[-1][key.name])

    # --- forgetting

    def purge(self, now: float) -> int:
        """Forgets what can no longer matter, in slices; returns how many rows. Not for a request to wait for."""
        rulings, sessions = self._tables.rulings, self._tables.sessions
        gone = 0
        for key, end in ((rulings.c.digest, rulings.c.until), (sessions.c.sid, sessions.c.ends_at)):
            while True:
                count = self._ask(partial(_purged, key=key, end=end, before=now - MARGIN_SECONDS))
                gone += count
                if count < PURGE_SLICE:
                    break
                time.sleep(PURGE_PAUSE_SECONDS)
        return gone

    def _purge_sometimes(self) -> None:
        """In a thread that lives for this alone."""
        with self._lock:
            now = time.monotonic()
            if now - self._purged_at < PURGE_SECONDS:
                return
            self._purged_at = now
        with suppress(RuntimeError):  # no thread can be had: a later write tries again
            threading.Thread(target=self._purge_quietly, name="jwtgate-journal-purge", daemon=True).start()

    def _purge_quietly(self) -> None:
        with suppress(JournalUnavailable):
            self.purge(time.time())

    # --- the rest

    def audit(self) -> tuple[Weakness, ...]:
        """What the database says of itself; several statements."""
        return tuple(self._lines.dialect.audit(self._inquire, [table.name for table in self._tables.all()]))

    def _inquire(self, asked: str) -> list[tuple[Any, ...]] | None:
        return self._ask(lambda line: [tuple(row) for row in line.say(asked)])

    def migrate(self) -> tuple[int | None, int]:
        """Makes the tables. Returns: their version before (None: there were none) and after."""
        self._ask(lambda line: line.run(text("SELECT 1")).close(), seconds=MIGRATION_SECONDS)
        return self._before, VERSION

    def close(self) -> None:
        """Closes the pooled connections."""
        self._lines.close()

    def _ask(self, work: Callable[[Line], T], *, seconds: float = TIMEOUT_SECONDS) -> T:
        until = time.monotonic() + AGAIN_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._lines.ask(work, seconds=seconds)
            except StoreUnavailable as error:
                if attempt == ATTEMPTS or time.monotonic() > until or isinstance(error, JournalUnavailable):
                    self._has_failed = True
                    raise _as_journal(error) from error
            except UnreadableRuling as error:
                raise JournalUnavailable("a ruling cannot be read") from error
            else:
                self._has_failed = False
                return answer
        raise AssertionError("the last attempt raises")

    def _prepare(self, line: Line) -> None:
        """Makes what is missing. Raises: JournalUnavailable: the tables are of another version."""
        version = self._tables.version
        begin, end = line.dialect.guard_creation(self._guard)
        alone(line, begin)
        self._before = self._version(line)
        for table in self._tables.all():
            create(line, table)
        line.run(line.dialect.insert_missing(version), {"id": 1, "version": VERSION})
        found = self._version(line)
        for said in end:
            line.say(said)
        if found != VERSION:
            raise JournalUnavailable(
                f"JWTGATE_JOURNAL: its tables are of layout version {found}, and this version of jwtgate knows {VERSION}"
            )

    def _version(self, line: Line) -> int | None:
        """None: there is nothing yet."""
        version = self._tables.version
        if not inspect(line.connection).has_table(version.name):
            return None
        found: int | None = line.run(select(version.c.version)).scalar()
        return found


def _as_journal(error: StoreUnavailable) -> JournalUnavailable:
    if isinstance(error, JournalUnavailable):
        return error
    words = str(error).replace("the store (JWTGATE_STORE)", "the journal (JWTGATE_JOURNAL)")
    words = words.replace("JWTGATE_STORE", "JWTGATE_JOURNAL")
    return JournalUnavailable(words)


def _rows(line: Line, asked: Any) -> Sequence[RowMapping]:
    found: Sequence[RowMapping] = line.run(asked).mappings().all()
    return found


def _purged(line: Line, key: Any, end: Any, before: float) -> int:
    doomed = line.run(select(key).where(end < before).order_by(end).limit(PURGE_SLICE)).scalars().all()
    if doomed:  # one that was moved meanwhile stays
        line.run(delete(key.table).where(key.in_(doomed), end < before))
    return len(doomed)
