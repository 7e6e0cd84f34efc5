"""MySQL and MariaDB, through PyMySQL.

The identity (H1) is a random word in a table in memory, which a restart empties, beside the server's own names, which tell a
replica that copied the word. What a dump restored into the running server undoes, a look-up alone cannot see, for the dump
brings the word along; followers can, by position and link (H2). Galera's nodes each have a memory of their own: give the gate
one of them.

The server's own timeouts free its locks from a client that stands still (MariaDB); the deadline on this side does not rely on
them.
"""

from __future__ import annotations

import os
import secrets
import select
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pymysql  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs] - it has no types
from sqlalchemy import Double, LargeBinary, literal, literal_column
from sqlalchemy.dialects.mysql import insert as insert_into

from jwtgate.errors import SettingsError
from jwtgate.stores.contract import Weakness
from jwtgate.stores.sql.dialects import NO_CONNECTION_LEFT, TIMEOUT_SECONDS, USED_UP
from jwtgate.stores.sql.mysql_patience import PatientConnection
from jwtgate.stores.sql.tables import lock_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, ColumnElement, Table, Update

    from jwtgate.stores.sql.dialects import Raw, Statement
    from jwtgate.stores.sql.tables import Tables

__all__ = ["MySQL"]

IDLE_SECONDS = 1
"""After which MariaDB ends a transaction whose client says no more."""

OPTIONS = frozenset(
    ["ssl_ca", "ssl_cert", "ssl_key", "ssl_key_password", "ssl_verify_cert", "ssl_verify_identity", "unix_socket"]
)
"""Of PyMySQL's, what a URL may say. The rest is fixed here."""

FLAGS = frozenset({"ssl_verify_cert", "ssl_verify_identity"})

IN_SETTINGS = {
    1040: NO_CONNECTION_LEFT,
    1044: "the user may not use this database",
    1045: "the server refuses the user or the password",
    1049: "there is no database of this name",
    1142: "the user may not do this; the gate's user makes and uses its own tables",
    1203: NO_CONNECTION_LEFT,
    1226: USED_UP,
    1698: "the server refuses the user or the password",
}
"""Error number to the sentence."""

BEGIN = "SET autocommit = 0"
LOCK_SECONDS = 0.8 * TIMEOUT_SECONDS

BUSY = frozenset({1205, 1213, 1969, 1021, 1114, 1290, 1792, 1836})
"""A lock took too long, or two got in each other's way; or no writes are taken, for want of room or by order."""

FOUND_ROWS = 2
"""CLIENT_FOUND_ROWS of the protocol: a row that an UPDATE leaves as it is counts as well."""

MODES = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"
"""Nothing is cut short to fit, and a table in memory is one."""


WHOLE = "sql_select_limit = 18446744073709551615, sql_safe_updates = 0, sql_big_selects = 1"
"""Of a server that gives only the first rows a look-up would not tell what is revoked."""


class MySQL:
    """See ``Dialect``."""

    url = "mysql+pymysql://"
    has_boot = True
    after = ("SET autocommit = 1",)
    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, parts: URL) -> None:
        """Raises: SettingsError."""
        others = sorted(set(parts.query) - OPTIONS)
        if others:
            raise SettingsError(f"JWTGATE_STORE: MySQL's URL takes {', '.join(sorted(OPTIONS))}, not: {', '.join(others)}.")
        if not all(parts.query.get(name, "true") in ("true", "false") for name in FLAGS):
            raise SettingsError(f"JWTGATE_STORE: in MySQL's URL {' and '.join(sorted(FLAGS))} are true or false.")
        self.secrets = tuple(str(word) for word in (parts.password, parts.query.get("ssl_key_password")) if word)
        options = {name: value == "true" if name in FLAGS else value for name, value in parts.query.items()}
        self._arguments: dict[str, Any] = {
            "host": parts.host,
            "port": parts.port or 3306,
            "user": parts.username,
            "password": str(parts.password or ""),
            "database": parts.database,
            "charset": "utf8mb4",
            "autocommit": True,
            "client_flag": FOUND_ROWS,
            "local_infile": False,
            "init_command": (
                f"SET time_zone = '+00:00', sql_mode = '{MODES}', completion_type = NO_CHAIN, {WHOLE},"
                f" innodb_lock_wait_timeout = {max(1, int(TIMEOUT_SECONDS))}"
            ),
            **options,
        }

    def begin(self, tables: Tables) -> tuple[str, ...]:
        """The isolation is the connection's. MariaDB gives up before its client does; MySQL counts in whole seconds only.

        No START TRANSACTION: of two that stand in each other's way the server takes one back whole, and what was sent
        behind the statement that met it would be done for good, each on its own.
        """
        limit = f"/*M! SET STATEMENT max_statement_time = {LOCK_SECONDS:g} FOR */"
        return (BEGIN, f"{limit} SELECT 1 FROM {tables.meta.name} WHERE id = 1 FOR UPDATE")  # noqa: S608 - see ``identifier``

    def limits(self, raw: Raw) -> tuple[str, ...]:  # noqa: ARG002
        """Said once by each connection."""
        return ()

    def relaxing(self, raw: Raw, *, is_relaxed: bool) -> None:
        """No connection has a choice."""

    def server(self, tables: Tables) -> ColumnElement[bytes]:
        """NULL once a restart has taken the word."""
        word = f"(SELECT token FROM {tables.boot.name} WHERE id = 1)"  # noqa: S608 - see ``identifier``
        return literal_column(f"CAST(CONCAT(@@hostname, '/', @@port, '/', @@server_id, '/', {word}) AS BINARY)", LargeBinary)

    def is_same(self, tables: Tables) -> ColumnElement[bool]:
        """The same server, in the same life."""
        return tables.meta.c.identity == self.server(tables)

    def clock(self) -> ColumnElement[float]:
        """The server's, when the expression is reached: NOW() would be that of the statement's beginning."""
        return literal_column("(UNIX_TIMESTAMP(SYSDATE(6)) + 0e0)", Double)

    def mark(self) -> ColumnElement[bytes]:
        """Nothing."""
        return literal(b"", LargeBinary)

    def insert_missing(self, table: Table) -> Statement:
        """INSERT IGNORE."""
        return insert_into(table).prefix_with("IGNORE")

    def announcing(self, update: Update, tables: Tables) -> Statement:  # noqa: ARG002
        """Nobody can be woken."""
        return update

    def guard_creation(self, tables: Tables) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Making a table ends a transaction, so a lock by name. The time of a statement is unbounded meanwhile."""
        name = f"jwtgate_{lock_number(tables)}"
        begin = (_bounded(0), f"SELECT GET_LOCK('{name}', 0)")
        return begin, (f"SELECT RELEASE_LOCK('{name}')", _bounded(LOCK_SECONDS))

    def prepare_epoch(self, tables: Tables) -> Statement:
        """Puts a word where a restart has taken it; whoever is first. Outside of any transaction: this table knows none."""
        word = secrets.token_urlsafe(12).encode()
        return self.insert_missing(tables.boot).values(id=1, token=word)

    def connect(self, deadline: float) -> Raw:
        """Each wait is bounded by what is left at the beginning."""
        left = max(0.001, deadline - time.monotonic())
        raw = PatientConnection(**self._arguments, connect_timeout=left, read_timeout=left, write_timeout=left)
        raw.pid, raw.deadline, raw.is_asking = os.getpid(), deadline, False
        with raw.together(), raw.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            if "MariaDB" in raw.get_server_info():
                cursor.execute(f"SET SESSION idle_transaction_timeout = {IDLE_SECONDS}")
                cursor.execute(_bounded(LOCK_SECONDS))
        return raw

    def bound(self, raw: Raw, deadline: float, *, is_asking: bool = True) -> None:
        """For every wait from here on."""
        raw.deadline, raw.is_asking = deadline, is_asking
        raw.limit()

    def together(self, raw: Raw) -> AbstractContextManager[None]:
        """Sent one after another. A server that refuses one goes on with the next, so COMMIT waits for all answers."""
        together: AbstractContextManager[None] = raw.together()
        return together

    def settle(self, raw: Raw, *, but: int = 0) -> None:
        """See ``together``."""
        raw.settle(but)

    def is_busy(self, error: BaseException) -> bool:
        """By the server's number."""
        return isinstance(error, pymysql.err.MySQLError) and bool(error.args) and error.args[0] in BUSY

    def is_stale(self, raw: Raw) -> bool:
        """Closed, or something came unasked, such as the end."""
        line = raw.socket()
        if line is None:
            return True
        poll = select.poll()
        poll.register(line.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def has_moved(self, raw: Raw) -> bool:  # noqa: ARG002
        """The server answered the commit."""
        return False

    def listen(self, raw: Raw, tables: Tables) -> None:
        """There is nobody to ask."""

    def wait(self, raw: Raw, seconds: float) -> None:  # noqa: ARG002
        """Sleeps."""
        time.sleep(seconds)

    def abandon(self, raw: Raw) -> None:
        """Closes this process's copy of the socket."""
        line = raw.socket()
        if line is not None:
            os.close(line.detach())

    def explain(self, error: BaseException) -> str | None:
        """By the server's number."""
        if isinstance(error, pymysql.err.MySQLError) and error.args:
            return IN_SETTINGS.get(error.args[0])
        return None

    def most_lines(self, ask: Callable[[str], list[tuple[Any, ...]] | None]) -> int | None:
        """The server's limit, or the user's."""
        found = (ask("SELECT @@max_connections, @@max_user_connections") or [()])[0]
        return min((int(limit) for limit in found if limit > 0), default=None)

    def audit(self, ask: Callable[[str], list[tuple[Any, ...]] | None], tables: Iterable[str]) -> Iterator[Weakness]:
        """What a crash would take, and whether this is the primary."""
        names = ("innodb_flush_log_at_trx_commit", "read_only", "log_bin", "sync_binlog")
        found = (ask(f"SELECT {', '.join(f'@@{name}' for name in names)}") or [(1, 0, 0, 1)])[0]
        flush, read_only, has_binlog, sync = found
        if flush != 1:
            yield Weakness(
                f"innodb_flush_log_at_trx_commit is {flush}: a crash takes revocations that were confirmed.",
                "SET GLOBAL innodb_flush_log_at_trx_commit = 1",
            )
        if read_only not in (0, "OFF"):  # MariaDB has it in words from 12.0 on
            yield Weakness(
                "The server is read-only: a replica, which can be behind.", "JWTGATE_STORE with the primary's address"
            )
        if has_binlog and sync != 1:
            yield Weakness(
                f"sync_binlog is {sync}: after a crash replicas may have what the server lost, or lack what it has.",
                "SET GLOBAL sync_binlog = 1",
            )
        wanted = ", ".join(f"'{name}'" for name in tables)
        query = "SELECT table_name, engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN"
        for name, engine in ask(f"{query} ({wanted})") or []:
            if engine != "InnoDB":
                yield Weakness(
                    f"The table {name} is kept by {engine}, without transactions: receipts are not to be believed.",
                    f"ALTER TABLE {name} ENGINE = InnoDB",
                )


def _bounded(seconds: float) -> str:
    """MariaDB gives up a statement before its client does, whatever that waits for.

    A backup's FLUSH TABLES WITH READ LOCK holds up writes, and no time for a lock bounds that but one in whole seconds: a
    client that waits no longer would take the server for one that does not answer.
    """
    return f"SET @jwtgate = 0 /*M! , SESSION max_statement_time = {seconds:g} */"
