"""A journal in an SQL database: what the store ruled and which sessions it holds, remembered when the store does not.

Each call is one short transaction with the timeouts of the engine. Nothing is decided here: rows combine as
``journal_tables`` says. Whatever goes wrong below becomes ``JournalUnavailable``, whose text quotes nothing that was sent.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import delete, insert, or_, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from jwtgate.core.history import JournalUnavailable
from jwtgate.core.rulings import UnreadableRuling
from jwtgate.stores.sql.journal_engine import open_engine
from jwtgate.stores.sql.journal_tables import (
    VERSION,
    Tables,
    merged_ruling,
    merged_session,
    row_of,
    session_of,
    until_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Engine, RowMapping

    from jwtgate.core.sessions.stored import KeptSession
    from jwtgate.stores.contract import Weakness

__all__ = ["SqlJournal"]

T = TypeVar("T")

ATTEMPTS = 5
"""Of a transaction that another one came before, or whose connection had died in the pool. Merging twice changes nothing."""

PATIENCE_SECONDS = 0.5
"""So long a call may have taken already and still be begun again."""

PURGE_SECONDS = 300.0
PURGE_SLICE = 500
PURGE_PAUSE_SECONDS = 0.05
"""A few milliseconds of the database's time, and then others first."""

MARGIN_SECONDS = 120.0
"""Rows are kept so much longer: ends are of the store's clock, purged by ours."""


class SqlJournal:
    """A ``Journal``. Opens no connection before the first use."""

    def __init__(self, url: str, *, prefix: str) -> None:
        """Raises: SettingsError: the URL cannot be used, or its driver is not installed."""
        self._engine: Engine = open_engine(url)
        self._tables = Tables(prefix)
        self.reset_after_fork(is_child=False)

    def reset_after_fork(self, *, is_child: bool = True) -> None:
        """The child makes its own connections; the parent's are dropped unclosed."""
        if is_child:
            self._engine.dispose(close=False)
        self._lock = threading.Lock()
        self._is_there = False
        self._has_failed = False
        self._purged_at = time.monotonic()

    def record(self, rulings: Sequence[tuple[bytes, bytes]], sessions: Sequence[KeptSession]) -> None:
        """One transaction, over rows in one order, so that two of them wait for each other and never in a circle."""
        if rulings or sessions:
            self._ask(lambda connection: self._record(connection, rulings, sessions))
            self._purge_sometimes()

    def _record(self, connection: Connection, rulings: Sequence[tuple[bytes, bytes]], sessions: Sequence[KeptSession]) -> None:
        if rulings:
            self._record_rulings(connection, rulings)
        if sessions:
            self._record_sessions(connection, sessions)

    def _record_rulings(self, connection: Connection, rulings: Sequence[tuple[bytes, bytes]]) -> None:
        table = self._tables.rulings
        found = connection.execute(_locked(table.c.digest, {digest for digest, _ in rulings}, table.c.ruling)).mappings()
        known = {bytes(row["digest"]): bytes(row["ruling"]) for row in found}
        merged = dict(known)
        for digest, ruling in rulings:
            merged[digest] = merged_ruling(merged.get(digest), ruling)
        rows = {digest: {"digest": digest, "ruling": ruling, "until": until_of(ruling)} for digest, ruling in merged.items()}
        _put(connection, table, "digest", rows, known={digest: rows[digest]["ruling"] == known[digest] for digest in known})

    def _record_sessions(self, connection: Connection, sessions: Sequence[KeptSession]) -> None:
        table = self._tables.sessions
        sids = {session.sid.encode() for session in sessions}
        found = [session_of(row) for row in connection.execute(_locked(table.c.sid, sids, *table.c)).mappings()]
        known = {session.sid: session for session in found if session is not None}
        merged = dict(known)
        for session in sessions:
            merged[session.sid] = merged_session(merged.get(session.sid), session)
        rows = {sid: row_of(session) for sid, session in merged.items()}
        _put(connection, table, "sid", rows, known={sid: merged[sid] == known[sid] for sid in known})

    def check(self) -> None:
        """One question, where the last one had no answer."""
        if self._has_failed:
            self._ask(lambda connection: connection.execute(text("SELECT 1")).close())

    def pages(self, size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """By digest, a transaction each: none is held open while a page is worked on."""
        table, earliest = self._tables.rulings, time.time()
        wanted = select(table.c.digest, table.c.ruling).where(or_(table.c.until.is_(None), table.c.until >= earliest))
        for rows in self._slices(wanted, table.c.digest, size):
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
        with suppress(RuntimeError):  # no thread can be had: the next write tries again in five minutes
            threading.Thread(target=self._purge_quietly, name="jwtgate-journal-purge", daemon=True).start()

    def _purge_quietly(self) -> None:
        with suppress(JournalUnavailable):
            self.purge(time.time())

    def audit(self) -> tuple[Weakness, ...]:
        """That it answers, and with tables of this version."""
        self._ask(lambda connection: connection.execute(text("SELECT 1")).close())
        return ()

    def close(self) -> None:
        """Closes the pooled connections."""
        self._engine.dispose()

    def _ask(self, work: Callable[[Connection], T]) -> T:
        """One transaction, begun again where it lost a race or a connection."""
        try:
            self._see_to_tables()
            answer = self._attempted(work)
        except SQLAlchemyError as error:
            self._has_failed = True
            raise JournalUnavailable(f"JWTGATE_JOURNAL: the database does not answer ({_name(error)})") from error
        except UnreadableRuling as error:
            raise JournalUnavailable("a ruling cannot be read") from error
        self._has_failed = False
        return answer

    def _attempted(self, work: Callable[[Connection], T]) -> T:
        attempt, until = 1, time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                with self._engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if attempt == ATTEMPTS or time.monotonic() > until or not _is_worth_another(error):
                    raise
                attempt += 1

    def _see_to_tables(self) -> None:
        """Once in each process. Raises: JournalUnavailable: they are of a newer version."""
        if self._is_there:
            return
        self._attempted(self._create)
        self._is_there = True

    def _create(self, connection: Connection) -> None:
        state = self._tables.state
        self._tables.metadata.create_all(connection, checkfirst=True)
        version = connection.execute(select(state.c.value).where(state.c.name == "version")).scalar()
        if version is None:
            connection.execute(insert(state).values(name="version", value=str(VERSION)))
        elif version != str(VERSION):
            raise JournalUnavailable(
                f"JWTGATE_JOURNAL: its tables are of version {str(version)[:9]}, and this jwtgate knows version {VERSION}"
            )


def _rows(connection: Connection, asked: Any) -> Sequence[RowMapping]:
    return connection.execute(asked).mappings().all()


def _locked(key: Any, values: Iterable[bytes], *columns: Any) -> Any:
    """In one order, so that two transactions never wait for each other."""
    return (
        select(key, *[column for column in columns if column is not key])
        .where(key.in_(sorted(values)))
        .order_by(key)
        .with_for_update()
    )


def _put(connection: Connection, table: Any, key: str, rows: dict[Any, dict[str, Any]], *, known: dict[Any, bool]) -> None:
    """Args: rows: as they are to be, by key. known: those that are there, and whether they are so already."""
    added = [rows[each] for each in rows if each not in known]
    changed = [rows[each] for each, is_same in known.items() if not is_same]
    if added:
        connection.execute(insert(table), sorted(added, key=lambda row: row[key]))
    for row in changed:
        connection.execute(update(table).where(table.c[key] == row[key]).values(row))


def _purged(connection: Connection, key: Any, end: Any, before: float) -> int:
    doomed = connection.execute(select(key).where(end < before).order_by(end).limit(PURGE_SLICE)).scalars().all()
    if doomed:  # one that was moved meanwhile stays
        connection.execute(delete(key.table).where(key.in_(doomed), end < before))
    return len(doomed)


def _is_worth_another(error: DBAPIError) -> bool:
    """Another transaction inserted the row first or stood in the way, another process made the tables, or the pool held a
    connection that had died."""
    texts = ("deadlock", "serializ", "locked", "already exists", "restart transaction")
    return (
        error.connection_invalidated
        or isinstance(error, IntegrityError)
        or any(word in str(error.orig).lower() for word in texts)
    )


def _name(error: SQLAlchemyError) -> str:
    """Of the driver's error where there is one: never its text, which may quote rows and addresses."""
    return type(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error).__name__
