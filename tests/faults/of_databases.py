"""What happens to SQL databases, beyond what happens to every server: locks, ended sessions, older copies of the data."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

from faults.faults import fault
from sqlalchemy import MetaData
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    import random

    from faults.faults import Happening
    from faults.scene import Scene

META = "jwtgate_meta"
TRIES = 20


def _tables(scene: Scene) -> MetaData:
    tables = MetaData()
    tables.reflect(scene.store.engine)
    return tables


def _insist(work: Any) -> None:
    """A busy database may have to be asked more than once."""
    for attempt in range(TRIES):
        try:
            return work()
        except (SQLAlchemyError, sqlite3.Error):
            if attempt == TRIES - 1:
                raise


def _copied(scene: Scene) -> dict[str, list[Any]]:
    with scene.store.engine.connect() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for table in _tables(scene).sorted_tables
        }


def _put_back(scene: Scene, rows: dict[str, list[Any]]) -> None:
    with scene.store.engine.begin() as connection:
        for table in _tables(scene).sorted_tables:
            connection.execute(table.delete())
            if rows[table.name]:
                connection.execute(table.insert(), rows[table.name])


@fault("rows of an older dump", "server", "sql", loses_history=True)
def older_rows(scene: Scene, draw: random.Random) -> Happening:
    """Somebody loads yesterday's dump into the running database: the same epoch record, without what was revoked since."""
    rows = _copied(scene)
    yield draw.uniform(0.5, 3.0) * scene.lease
    _insist(lambda: _put_back(scene, rows))


@fault("rows deleted", "server", "sql", loses_history=True)
def emptied(scene: Scene, draw: random.Random) -> Happening:
    """Every one, of every table."""
    tables = _tables(scene).sorted_tables
    _insist(lambda: _put_back(scene, {table.name: [] for table in tables}))
    yield 0.0


@fault("tables dropped", "server", "sql", loses_history=True)
def dropped(scene: Scene, draw: random.Random) -> Happening:
    """They are made again at the next use."""
    _insist(lambda: _tables(scene).drop_all(scene.store.engine))
    yield 0.0


@fault("meta row locked", "server", "sql")
def locked(scene: Scene, draw: random.Random) -> Happening:
    """By a transaction of somebody else that takes its time."""
    begin, lock = {
        "sqlite": ("BEGIN IMMEDIATE", f"UPDATE {META} SET version = version"),
    }.get(scene.store.engine.dialect.name, ("BEGIN", f"SELECT * FROM {META} FOR UPDATE"))
    raw = scene.store.engine.raw_connection()
    try:
        raw.driver_connection.isolation_level = None if begin == "BEGIN IMMEDIATE" else raw.driver_connection.isolation_level
    except AttributeError:
        pass
    try:
        cursor = raw.cursor()
        _insist(lambda: cursor.execute(begin))
        cursor.execute(lock)
        yield draw.uniform(0.3, 2.5) * scene.lease
        raw.rollback()
    finally:
        raw.close()


@fault("sessions ended by the server", "server", "sql server")
def ended(scene: Scene, draw: random.Random) -> Happening:
    """pg_terminate_backend, or KILL."""
    for _ in range(draw.randint(1, 8)):
        with contextlib.suppress(SQLAlchemyError), scene.store.engine.connect() as connection:
            if scene.store.engine.dialect.name == "postgresql":
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'jwtgate'"
                )
            else:
                own = connection.exec_driver_sql("SELECT CONNECTION_ID()").scalar()
                for row in connection.exec_driver_sql(
                    "SELECT id FROM information_schema.processlist WHERE db = 'jwtgate'"
                ).all():
                    if row[0] != own:
                        with contextlib.suppress(SQLAlchemyError):
                            connection.exec_driver_sql(f"KILL {int(row[0])}")
        yield draw.uniform(0.02, 0.3) * scene.lease


@fault("writes forbidden", "server", "sql server")
def read_only(scene: Scene, draw: random.Random) -> Happening:
    """Every transaction is read-only (PostgreSQL); or all tables are locked for reading (MariaDB)."""
    if scene.store.engine.dialect.name == "postgresql":
        say = scene.store.engine.execution_options(isolation_level="AUTOCOMMIT")
        with say.connect() as connection:
            connection.exec_driver_sql("ALTER SYSTEM SET default_transaction_read_only = on")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        yield draw.uniform(0.3, 2.5) * scene.lease
        with say.connect() as connection:
            connection.exec_driver_sql("ALTER SYSTEM RESET default_transaction_read_only")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
    else:
        with scene.store.engine.connect() as connection:
            connection.exec_driver_sql("FLUSH TABLES WITH READ LOCK")
            yield draw.uniform(0.3, 2.5) * scene.lease
            connection.exec_driver_sql("UNLOCK TABLES")


@fault("file replaced by an older copy", "server", "file", loses_history=True)
def replaced(scene: Scene, draw: random.Random) -> Happening:
    """Under processes that have it open: they see what is no longer there, until they look."""
    path = scene.store.path
    copy = path.with_suffix(".copy")
    with contextlib.closing(sqlite3.connect(path)) as here, contextlib.closing(sqlite3.connect(copy)) as there:
        here.backup(there)
    yield draw.uniform(0.5, 3.0) * scene.lease
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.move(copy, path)
