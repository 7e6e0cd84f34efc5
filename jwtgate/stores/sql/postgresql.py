"""PostgreSQL, through psycopg 3.

The identity (H1) is when the server was started: a restart, a restored base backup and a promoted standby all change it. A
dump that was restored into the running server is found as well: each write of the row of ``meta`` leaves in it the number of
its own transaction, which is that of the row's version (``xmin``) until somebody else writes the row, and a restore does.
Locking the row makes no new version, no savepoint is ever used, and neither freezing nor VACUUM FULL changes ``xmin``.
A transaction's number comes again only after four thousand million others, and those of one server only grow meanwhile.

The server's own timeouts free its locks from a client that stands still; the deadline on this side does not rely on them.

A pooler between us (PgBouncer and its like) may give each transaction another session, and ours to others: what is set for a
session, listened to or prepared in it would be missing here and be met by them. So through one nothing of a session is used:
transactions say their limits themselves, and the log is looked at every ``poll_seconds``.
"""

from __future__ import annotations

import os
import select
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo
from sqlalchemy import Double, LargeBinary, Text, literal_column
from sqlalchemy.dialects.postgresql import insert

from jwtgate.errors import SettingsError
from jwtgate.stores.sql.dialects import NO_CONNECTION_LEFT, TIMEOUT_SECONDS
from jwtgate.stores.sql.patience import PatientConnection
from jwtgate.stores.sql.postgresql_audit import fewest, weaknesses_of
from jwtgate.stores.sql.tables import lock_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, ColumnElement, Table, Update

    from jwtgate.stores.contract import Weakness
    from jwtgate.stores.sql.dialects import Raw, Statement
    from jwtgate.stores.sql.tables import Tables

__all__ = ["PostgreSQL"]

LIMITS = {
    name: int(part * TIMEOUT_SECONDS * 1000)
    for name, part in (("lock_timeout", 0.8), ("statement_timeout", 0.9), ("idle_in_transaction_session_timeout", 0.5))
}
"""Milliseconds. The server gives up before its client does; and on a client that holds the log's end and says no more, while
those who wait for it still have time for their own turn."""

SESSION = {"TimeZone": "UTC", "default_transaction_isolation": "read committed", "extra_float_digits": 3}
"""Whatever the role, the database or the server says: another isolation may refuse single statements that meet others, and
times that come back rounded would be other times."""

IDLE_SESSIONS_END_FROM = 140000
"""The version of the server. Ours are idle between any two questions, and a follower's for a whole lease."""

CREATION_IDLE_MS = int(5 * TIMEOUT_SECONDS * 1000)
"""Who makes the tables has much to think about between two statements, and a busy machine to do it on."""

BUSY = frozenset(["55P03", "57014", "40001", "40P01", "53100", "25006"])
"""SQLSTATE of what the server says in good order: a lock or a statement took too long, or two got in each other's way; or it
takes no writes, for want of room or by order."""

OPTIONS = frozenset(
    ["sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl", "sslnegotiation", "channel_binding", "gssencmode"]
)
"""Of libpq's, what a URL may say: how the connection is protected. The rest is fixed here."""

MOST_NOTICES = 100
"""Read in one go; under a storm of writes there is always another one."""

IN_SETTINGS = {
    "28000": "the server does not let this user in",
    "28P01": "the server refuses the user or the password",
    "3D000": "there is no database of this name",
    "42501": "the user may not do this; the gate's user makes and uses its own tables",
    "3F000": "the user has no schema to make tables in; its search_path names none that is there",
    "53300": NO_CONNECTION_LEFT,
    "statement pooling": (
        "the pooler takes transactions apart, and a revocation is one; use transaction or session pooling"
        " (pool_mode of PgBouncer), or the server's own address"
    ),
    "startup": "the pooler refuses what PGOPTIONS asks for: unset it, or name it in the pooler's ignore_startup_parameters",
}
"""SQLSTATE, or what stands for it, to the sentence."""


class PostgreSQL:
    """See ``Dialect``."""

    url = "postgresql+psycopg://"
    has_boot = False
    after: tuple[str, ...] = ()
    options: Mapping[str, Any] = MappingProxyType({"use_native_hstore": False})
    """Four round trips of each process's first connection."""

    def __init__(self, parts: URL) -> None:
        """Raises: SettingsError."""
        self._is_pooled = False
        others = sorted(set(parts.query) - OPTIONS)
        if others:
            raise SettingsError(
                f"JWTGATE_STORE: PostgreSQL's URL takes {', '.join(sorted(OPTIONS))}, not: {', '.join(others)}."
            )
        self.secrets = tuple(str(word) for word in (parts.password, parts.query.get("sslpassword")) if word)
        given = {
            "host": parts.host,
            "port": parts.port,
            "user": parts.username,
            "password": parts.password,
            "dbname": parts.database,
            "client_encoding": "UTF8",
            "application_name": "jwtgate",
            **parts.query,
        }
        self._conninfo = make_conninfo("", **{name: str(each) for name, each in given.items() if each is not None})

    def begin(self, tables: Tables) -> tuple[str, ...]:
        """Sent together with the question that follows."""
        lock = f"SELECT 1 FROM {tables.meta.name} WHERE id = 1 FOR UPDATE"  # noqa: S608 - see ``identifier``
        return ("BEGIN ISOLATION LEVEL READ COMMITTED", lock)

    def limits(self, raw: Raw) -> tuple[str, ...]:
        """Those of the session, where it is not ours."""
        return (f"SELECT {_set(LIMITS, is_local=True)}",) if raw.is_pooled else ()

    def relaxing(self, raw: Raw, *, is_relaxed: bool) -> str | None:
        """Asynchronous commit, of a session that nobody else is given."""
        return None if raw.is_pooled else f"SET synchronous_commit TO {'off' if is_relaxed else 'DEFAULT'}"

    def server(self, tables: Tables) -> ColumnElement[bytes]:  # noqa: ARG002
        """Microseconds since 1970."""
        started = "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text"
        return literal_column(f"convert_to({started}, 'UTF8')", LargeBinary)

    def is_same(self, tables: Tables) -> ColumnElement[bool]:
        """The same life of the server, and the row's version is the one that a write of ours left."""
        meta = tables.meta
        version = literal_column(f"convert_to({meta.name}.xmin::text, 'UTF8')", LargeBinary)
        return (meta.c.identity == self.server(tables)) & (meta.c.mark == version)

    def clock(self) -> ColumnElement[float]:
        """The server's, at this moment of the transaction."""
        return literal_column("extract(epoch FROM clock_timestamp())::double precision", Double)

    def mark(self) -> ColumnElement[bytes]:
        """The transaction's number, in the 32 bits that ``xmin`` shows."""
        return literal_column("convert_to((txid_current() % 4294967296)::text, 'UTF8')", LargeBinary)

    def insert_missing(self, table: Table) -> Statement:
        """INSERT … ON CONFLICT DO NOTHING."""
        return insert(table).on_conflict_do_nothing()

    def announcing(self, update: Update, tables: Tables) -> Statement:
        """Told to the listeners when it commits."""
        return update.returning(literal_column(f"pg_notify('{tables.log.name}', '')::text", Text))

    def guard_creation(self, tables: Tables) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """IF NOT EXISTS alone does not hold against a second process at the same moment."""
        limits = {"statement_timeout": 0, "lock_timeout": 0, "idle_in_transaction_session_timeout": CREATION_IDLE_MS}
        patient = "; ".join(f"SET LOCAL {name} = {value}" for name, value in limits.items())
        return (f"BEGIN; {patient}; SELECT pg_advisory_xact_lock({lock_number(tables)})",), ("COMMIT",)

    def prepare_epoch(self, tables: Tables) -> Statement:  # noqa: ARG002
        """Nothing to prepare."""
        return None

    def connect(self, deadline: float) -> Raw:
        """Libpq's own timeout counts in whole seconds, from two."""
        raw = PatientConnection.by(self._conninfo, deadline)
        raw.autocommit = True
        raw.add_notify_handler(lambda _: setattr(raw, "is_awake", True))
        wanted = {**LIMITS, **SESSION}
        if raw.info.server_version >= IDLE_SESSIONS_END_FROM:
            wanted["idle_session_timeout"] = 0
        ours = f"WHERE pg_backend_pid() = {raw.pgconn.backend_pid}"  # a pooler has told a number of its own
        raw.is_pooled = raw.execute(f"SELECT {_set(wanted)} {ours}".encode()).fetchone() is None
        if raw.is_pooled:
            raw.prepare_threshold = None
            for text in (b"BEGIN", b"COMMIT"):  # refused at once by one that knows no transactions
                raw.execute(text)
        self._is_pooled = raw.is_pooled
        return raw

    def bound(self, raw: Raw, deadline: float, *, is_asking: bool = True) -> None:
        """For every wait from here on."""
        raw.deadline, raw.is_asking = deadline, is_asking

    def together(self, raw: Raw) -> AbstractContextManager[None]:
        """Libpq's pipeline mode, COMMIT included: a server that refuses one statement does none of those after it."""
        together: AbstractContextManager[None] = raw.together()
        return together

    def settle(self, raw: Raw, *, but: int = 0) -> None:
        """Needs nothing: see ``together``."""

    def is_busy(self, error: BaseException) -> bool:
        """By SQLSTATE."""
        return getattr(error, "sqlstate", None) in BUSY

    def is_stale(self, raw: Raw) -> bool:
        """Closed, or something came unasked, such as the server's farewell. What wakes a listener is no farewell."""
        if raw.closed:
            return True
        if not _is_readable(raw, 0.0):
            return False
        return not _listens_still(raw)

    def has_moved(self, raw: Raw) -> bool:  # noqa: ARG002
        """The server answered the commit."""
        return False

    def listen(self, raw: Raw, tables: Tables) -> None:
        """LISTEN, until the connection ends."""
        if not raw.is_pooled:
            raw.execute(f"LISTEN {tables.log.name}".encode())

    def wait(self, raw: Raw, seconds: float) -> None:
        """For the notice of a write, which may have come with an earlier answer."""
        if not raw.is_awake and _is_readable(raw, seconds):
            _listens_still(raw)
        raw.is_awake = False

    def abandon(self, raw: Raw) -> None:
        """Closes this process's copy of the socket."""
        os.close(raw.pgconn.socket)

    def explain(self, error: BaseException) -> str | None:
        """By SQLSTATE; a refused connection carries it only in words, and poolers have one for all they say."""
        state = getattr(error, "sqlstate", None)
        if state in (None, "08P01") and isinstance(error, psycopg.OperationalError):
            words = str(error)
            state = next((state for state, mark in _IN_WORDS if mark in words), None)
        return IN_SETTINGS.get(state or "")

    def most_lines(self, ask: Callable[[str], list[tuple[Any, ...]] | None]) -> int | None:
        """The server's limit, the database's or the user's; through a pooler they are not ours."""
        return None if self._is_pooled else fewest(ask)

    def audit(self, ask: Callable[[str], list[tuple[Any, ...]] | None], tables: Iterable[str]) -> Iterator[Weakness]:  # noqa: ARG002
        """What a crash would take, and whether this is the primary; what a pooler does not let through."""
        return weaknesses_of(ask, is_pooled=self._is_pooled)


_IN_WORDS = (
    ("53300", "too many connections for"),
    ("53300", "too many clients already"),
    ("53300", "remaining connection slots are reserved"),
    ("53300", "no more connections allowed"),
    ("statement pooling", "not allowed in statement pooling mode"),
    ("startup", "unsupported startup parameter: options"),
    ("28P01", "password authentication failed"),
    ("28P01", 'role "'),
    ("28000", "no pg_hba.conf entry"),
    ("3D000", 'FATAL:  database "'),
)
"""While connecting libpq hands on the words alone; in other languages they stand for themselves."""


def _set(values: Mapping[str, object], *, is_local: bool = False) -> str:
    return ", ".join(f"set_config('{name}', '{value}', {is_local})" for name, value in values.items())


def _is_readable(raw: Raw, seconds: float) -> bool:
    poll = select.poll()
    poll.register(raw.pgconn.socket, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _listens_still(raw: Raw) -> bool:
    """Takes in what has come, notices of writes for all it knows. False: the server has gone, and a farewell came with that."""
    try:
        for _ in range(MOST_NOTICES):
            raw.pgconn.consume_input()
            while raw.pgconn.notifies() is not None:
                raw.is_awake = True
            if not _is_readable(raw, 0.0):
                break
    except psycopg.Error:
        return False
    return bool(raw.pgconn.status == pq.ConnStatus.OK)
