"""SQL stores when the database stands still, goes away, refuses or is misconfigured; and over forks."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import subprocess
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pymysql  # type: ignore[import-untyped]
import pytest
from beside import together
from conftest import emptied_database, required, sql_url
from databases import DATABASES, Database, MariaDB, PostgreSQL
from processes.proxy import Proxy
from servers import WATCH, free_port
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from jwtgate.core.history import Repair, StoreBusy, Worker
from jwtgate.core.rulings import Change
from jwtgate.errors import SettingsError, StoreUnavailable
from jwtgate.stores import Feed, Store, open_store
from jwtgate.stores.contract import Durability
from jwtgate.stores.skew import clock_told
from jwtgate.stores.sql import mysql, sqlite
from jwtgate.stores.sql.dialects import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

A = b"\x01" * 16
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)
BOUND = 2 * TIMEOUT_SECONDS + 0.5
"""No request waits longer than twice the store's timeout; the rest is the machine's."""

server = pytest.mark.server


def opened(url: str, **more: object) -> Store:
    """A store of its own on ``url``."""
    return open_store(url, watch=WATCH, **{"prefix": "jwtgate", **more})  # type: ignore[arg-type]


def calls_of(store: Store) -> dict[str, Callable[[], object]]:
    """Everything that waits for the server; feeds anew each time, since an error closes them."""
    eventually(lambda: store.look_up([]))
    feed, reader = store.feed(), store.feed()
    feed.renew(WORKER, None)
    reader.read("0", 0.0, 1)
    epoch = store.look_up([]).epoch.name
    return {
        "look_up": lambda: store.look_up([A], ["a session"]),
        "sessions_of": lambda: store.sessions_of(A),
        "write": lambda: store.write([Change(A, revoked=True)], time.time()),
        "workers": store.workers,
        "forget": lambda: store.forget(WORKER),
        "audit": store.audit,
        "renew": lambda: feed.renew(WORKER, epoch),
        "read": lambda: reader.read("0", 0.3, 10),
        "a new feed": lambda: on_new_feed(store, lambda feed: feed.renew(WORKER, epoch)),
        "repair": lambda: on_new_feed(store, lambda feed: feed.repair(epoch, [Repair(A, None, b"{}", None)])),
    }


def on_new_feed(store: Store, step: Callable[[Feed], object]) -> None:
    """Performs ``step`` on a connection of its own."""
    with closing(store.feed()) as feed:
        step(feed)


def assert_bounded_failure(calls: dict[str, Callable[[], object]]) -> None:
    """Each raises in time, and nothing of the driver's."""
    for name, call in calls.items():
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            call()
        assert time.monotonic() - began < BOUND, name


def execute(url: str, *statements: str) -> None:
    """As an administrator."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def eventually(call: Callable[[], object], seconds: float = 10.0) -> object:
    """Its answer, once the store is back."""
    until = time.monotonic() + seconds
    while True:
        try:
            return call()
        except StoreUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@server
def test_server_that_stands_still_holds_nobody(own_database: Database) -> None:
    """SIGSTOP: every call ends in time, with an established connection and with a new one; afterwards all is well."""
    with own_database:
        store = opened(own_database.url)
        calls = calls_of(store)
        own_database.pause()
        assert_bounded_failure(calls)
        began = time.monotonic()
        together(*[lambda: pytest.raises(StoreUnavailable, store.look_up, [A])] * 20)
        assert time.monotonic() - began < BOUND + 1.0, "a crowd waits no longer than one"
        own_database.resume()
        eventually(lambda: store.write([Change(A, revoked=True)], time.time()))
        assert store.look_up([A]).rulings[0] is not None
        store.close()


@server
@pytest.mark.parametrize("questions", [True, False])
def test_network_that_swallows_holds_nobody(database_url: str, questions: bool) -> None:
    """Questions or answers vanish; every call ends in time, and the connection is not used again."""
    if database_url.startswith("sqlite"):
        pytest.skip("SQLITE NOT TESTED HERE: it has no network")
    port = urlsplit(database_url).port
    assert port is not None
    with Proxy(port) as proxy:
        store = opened(database_url.replace(f":{port}/", f":{proxy.port}/"))
        calls = calls_of(store)
        proxy.hold(questions=questions, answers=True)
        assert_bounded_failure(calls)
        proxy.pass_on()
        eventually(lambda: store.write([Change(A, revoked=True)], time.time()))
        for _ in range(20):
            assert store.look_up([A]).rulings[0] is not None
        proxy.drop()
        eventually(lambda: store.look_up([A]))
        store.close()


@server
def test_restart_costs_no_request(own_database: Database) -> None:
    """Connections whose server has gone are found out before they are used."""
    with own_database:
        store = opened(own_database.url)
        store.look_up([])
        own_database.restart()
        time.sleep(0.2)
        store.look_up([])
        store.close()


def test_file_that_another_thread_makes_meanwhile_is_not_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two connections opened at once on a new file: the one that looked before the other was done is not told of a theft."""
    path = str(tmp_path / "store.db")
    sqlite3.connect(path).close()
    Path(path).touch()
    mine, others = sqlite.SQLite(path), sqlite.SQLite(path)
    look, until = sqlite.SQLite._files, time.monotonic() + 5  # noqa: SLF001
    made: list[Any] = []

    def look_and_be_slow(dialect: sqlite.SQLite) -> tuple[bytes, ...]:
        found = look(dialect)
        if dialect is mine and not made:
            made.append(None)
            made.append(others.connect(until))
        return found

    monkeypatch.setattr(sqlite.SQLite, "_files", look_and_be_slow)
    with closing(mine.connect(until)), closing(made[1]):
        assert len(made) == 2


def test_busy_sqlite_is_unavailable(tmp_path: Path) -> None:
    """Another program holds the file's lock: a write ends in time, and look-ups go on."""
    import sqlite3

    store = opened(f"sqlite:///{tmp_path}/store.db")
    store.look_up([])
    with sqlite3.connect(tmp_path / "store.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="locked"):
            store.write([Change(A, revoked=True)], time.time())
        with pytest.raises(StoreUnavailable):
            on_new_feed(store, lambda feed: feed.renew(WORKER, None))
        assert time.monotonic() - began < 2 * BOUND
        assert store.look_up([A]).rulings == (None,)
        other.execute("COMMIT")
    other.close()
    assert store.write([Change(A, revoked=True)], time.time()) is not None
    store.close()


# Mistakes of the operator


@server
@pytest.mark.parametrize("name", DATABASES)
def test_wrong_settings_are_named_without_the_password(name: str, running_databases: dict[str, Database]) -> None:
    """One clear error that names the variable, for a wrong database, user, password, host."""
    kind = required(name)
    if name not in running_databases:
        running_databases[name] = kind().start()
    database = running_databases[name]
    urls = {
        "no database": database.url_at(database.port, database="nowhere"),
        "user": database.url_at(database.port, user_info="nobody:s3cr3t"),
        None: database.url_at(free_port(), user_info="someone:s3cr3t"),
    }
    for words, url in urls.items():
        store = opened(url)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=words) as caught:
            store.look_up([])
        assert time.monotonic() - began < BOUND
        said = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
        assert "s3cr3t" not in said.replace("url_at", "")
        assert "JWTGATE_STORE" in str(caught.value)
        store.close()


@server
@pytest.mark.parametrize(
    ("name", "user", "limited"),
    [
        ("postgresql", "few", "CREATE USER few CONNECTION LIMIT 1"),
        ("mariadb", "few:word", "CREATE USER few@'127.0.0.1' IDENTIFIED BY 'word' WITH MAX_USER_CONNECTIONS 1"),
    ],
)
def test_connections_that_are_used_up_are_named(
    name: str, user: str, limited: str, running_databases: dict[str, Database]
) -> None:
    """No password is wrong then, and nobody is to look for one."""
    url = emptied_database(name, running_databases)
    grant, whom = {
        "postgresql": ("GRANT ALL ON SCHEMA public TO few", "few"),
        "mariadb": ("GRANT ALL ON jwtgate.* TO few@'127.0.0.1'", "few@'127.0.0.1'"),
    }[name]
    execute(url, limited, grant)
    scheme, _, place = url.partition("://")
    stores = [opened(f"{scheme}://{user}@{place.partition('@')[2]}", prefix="jwtgate_few") for _ in range(2)]
    try:
        eventually(lambda: stores[0].look_up([]))
        with pytest.raises(StoreUnavailable, match="JWTGATE_STORE: the (server has no connection left|user has used up)"):
            stores[1].look_up([])
    finally:
        for store in stores:
            store.close()
        execute(url, *(["DROP OWNED BY few"] if name == "postgresql" else []), f"DROP USER {whom}")


@server
@pytest.mark.parametrize("name", ["sqlite", *DATABASES])
def test_store_that_takes_no_writes_still_tells_what_is_revoked(
    name: str, tmp_path: Path, running_databases: dict[str, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a database made read-only: no renewal is taken then, and no request is refused for that."""
    url = sql_url(name, tmp_path, running_databases)
    store = opened(url)
    eventually(lambda: store.write([Change(A, revoked=True)], time.time()))
    store.close()
    forbid = {
        "sqlite": "PRAGMA max_page_count=1",
        "postgresql": "SET default_transaction_read_only TO on",
        "mariadb": "SET SESSION TRANSACTION READ ONLY",
    }
    dialect = store._lines.dialect
    connect = dialect.connect

    def forbidden(deadline: float) -> object:
        raw = connect(deadline)
        raw.cursor().execute(forbid[name])
        return raw

    monkeypatch.setattr(dialect, "connect", forbidden)
    with pytest.raises(StoreBusy):
        for _ in range(200):  # until no page has room
            store.write([Change(os.urandom(16), revoked=True) for _ in range(100)], time.time())
    assert store.look_up([A]).rulings[0] is not None
    store.close()


@server
def test_backup_that_holds_up_writes_is_no_outage(
    running_databases: dict[str, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MariaDB's FLUSH TABLES WITH READ LOCK: the follower's renewal is refused in good order, and look-ups are answered."""
    monkeypatch.setattr(mysql, "LOCK_SECONDS", 0.3)
    url = emptied_database("mariadb", running_databases)
    store = opened(url)
    eventually(lambda: store.write([Change(A, revoked=True)], time.time()))
    feed, engine = store.feed(), create_engine(url, poolclass=NullPool)
    epoch = feed.renew(WORKER, None).epoch.name
    with engine.connect() as backup:
        backup.exec_driver_sql("FLUSH TABLES WITH READ LOCK")
        with pytest.raises(StoreBusy):
            feed.renew(WORKER, epoch)
        with pytest.raises(StoreBusy):
            store.write([Change(A, revoked=False)], time.time())
        assert store.look_up([A]).rulings[0] is not None
        backup.exec_driver_sql("UNLOCK TABLES")
    assert store.look_up([]).end.position == 1
    store.close()


@server
def test_defaults_that_a_server_has_are_not_ours(running_databases: dict[str, Database]) -> None:
    """MariaDB's ``completion_type`` would end each connection with its first transaction."""
    url = emptied_database("mariadb", running_databases)
    others = {"completion_type": "RELEASE", "tx_isolation": "SERIALIZABLE", "sql_mode": "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"}
    digest = bytes(range(256))
    with pymysql.connect(**pymysql_address(url), autocommit=True) as admin, admin.cursor() as say:
        for name, value in others.items():
            say.execute(f"SET GLOBAL {name} = '{value}'")
        try:
            store = opened(url)
            eventually(lambda: store.write([Change(digest, revoked=True)], time.time()))
            assert store.write([Change(digest, revoked=True)], time.time()) is not None
            assert store.look_up([digest]).rulings[0] is not None
            store.close()
        finally:
            for name in others:
                say.execute(f"SET GLOBAL {name} = DEFAULT")


def pymysql_address(url: str) -> dict[str, Any]:
    """As the driver itself takes it."""
    parts = urlsplit(url)
    return {"host": parts.hostname, "port": parts.port or 3306, "user": parts.username, "password": parts.password or ""}


@server
def test_isolation_that_a_role_has_is_not_ours(running_databases: dict[str, Database]) -> None:
    """Single statements would be refused wherever they meet others'."""
    url = emptied_database("postgresql", running_databases)
    execute(url, "ALTER ROLE postgres SET default_transaction_isolation = 'serializable'")
    store = opened(url)
    try:
        assert eventually(lambda: store._inquire("SHOW transaction_isolation")) == [("read committed",)]
    finally:
        store.close()
        execute(url, "ALTER ROLE postgres RESET default_transaction_isolation")


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """SQLite makes the file, never the folder."""
    store = opened(f"sqlite:///{tmp_path}/missing/store.db")
    with pytest.raises(StoreUnavailable, match=r"JWTGATE_STORE: .*missing/store.db.*folder"):
        store.look_up([])


def test_file_of_something_else_is_named(tmp_path: Path) -> None:
    """What is no database is not made one."""
    path = tmp_path / "store.db"
    path.write_bytes(b"not a database" * 100)
    store = opened(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="JWTGATE_STORE"):
        store.look_up([])
    assert path.read_bytes() == b"not a database" * 100


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "postgresql+psycopg://u:s3cr3t@host/db?connect_timeout=60",
        "postgresql+psycopg://u:s3cr3t@host:port/db",
        "mysql+pymysql://u:s3cr3t@host/db?read_timeout=60",
        "mariadb+pymysql://u:s3cr3t@host/db?s3cr3t=1",
        "mysql+pymysql://u:s3cr3t@host/db?ssl_ca=/ca.pem&ssl_verify_cert=1",
        "mysql+pymysql://u:s3cr3t@host/db?ssl_verify_identity=True",
    ],
)
def test_unusable_url_is_the_operators_mistake(url: str) -> None:
    """Said at once, without the URL."""
    with pytest.raises(SettingsError, match="JWTGATE_STORE") as caught:
        opened(url)
    assert ":s3cr3t" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://host/db",
        "postgresql+psycopg://u:p%40ss@host:5433/db?sslmode=verify-full&sslrootcert=/ca.pem",
        "mysql+pymysql://u:p%40ss@host/db?ssl_ca=/ca.pem&ssl_verify_cert=true",
        "mariadb+pymysql://u@[::1]:3307/db",
    ],
)
def test_usual_urls_are_taken(url: str) -> None:
    """Nothing is connected at opening."""
    opened(url).close()


@pytest.mark.parametrize(
    ("library", "url"),
    [
        ("sqlalchemy", "sqlite:////tmp/x.db"),
        ("psycopg", "postgresql+psycopg://host/db"),
        ("pymysql", "mysql+pymysql://host/db"),
    ],
)
def test_missing_library_is_named_with_its_line(library: str, url: str) -> None:
    """The extra is what pip is told; nothing else of the package needs it."""
    code = f"""
import sys
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] == {library!r} else find(name, *rest)
from jwtgate.core.history import Watch
from jwtgate.errors import SettingsError
from jwtgate.stores import open_store
try:
    open_store({url!r}, prefix="x", watch=Watch(1, 1))
except SettingsError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "pip install 'jwtgate[sql]'" in done.stdout and library in done.stdout


# Audits


@server
@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("postgresql", [], []),
        (
            "postgresql",
            ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "synchronous_commit=off"],
            ["fsync", "full_page", "synchronous"],
        ),
        ("mariadb", [], []),
        (
            "mariadb",
            ["--innodb-flush-log-at-trx-commit=2", "--log-bin", "--sync-binlog=0", "--server-id=7"],
            ["innodb_flush", "sync_binlog"],
        ),
    ],
)
def test_audit_names_what_would_break_the_promise(name: str, options: list[str], told: list[str]) -> None:
    """A healthy server has nothing to be told; each weakness comes with its remedy."""
    with required(name)(*options) as database:
        store = opened(database.url)
        store.write([Change(A, revoked=True)], time.time())
        found = store.audit()
        assert len(found) == len(told)
        assert all(word in weakness.problem and weakness.remedy for word, weakness in zip(told, found, strict=True))
        store.close()


@pytest.mark.parametrize(
    ("read_only", "is_told"),
    [(0, False), (1, True), ("OFF", False), ("ON", True), ("NO_LOCK", True), ("NO_LOCK_NO_ADMIN", True)],
)
def test_audit_knows_a_replica_by_number_and_by_word(read_only: object, is_told: bool) -> None:
    """MariaDB from 12.0 on answers in words."""
    dialect = mysql.MySQL(make_url("mysql+pymysql://host/db"))
    found = list(dialect.audit(lambda text: [(1, read_only, 0, 1)] if "@@read_only" in text else [], ()))
    assert ["read-only" in weakness.problem for weakness in found] == [True] * is_told


@server
def test_tables_have_transactions_whatever_the_servers_default() -> None:
    """And where somebody has made them otherwise, the audit says so."""
    with required("mariadb")("--default-storage-engine=MyISAM") as database:
        store = opened(database.url)
        assert store.audit() == ()
        execute(database.url, "ALTER TABLE jwtgate_log ENGINE = MyISAM")
        (weakness,) = store.audit()
        assert "jwtgate_log" in weakness.problem and weakness.remedy == "ALTER TABLE jwtgate_log ENGINE = InnoDB"
        execute(database.url, weakness.remedy)
        assert store.audit() == ()
        store.close()


def test_audit_finds_a_table_that_is_gone_and_its_remedy_brings_it_back(database_url: str) -> None:
    """A store that can be looked at is not yet one that can be used."""
    store = opened(database_url)
    store.write([Change(A, revoked=True)], time.time())
    before = store.workers()[0].name
    execute(database_url, "DROP TABLE jwtgate_rulings")
    (weakness,) = store.audit()
    assert "jwtgate_rulings" in weakness.problem
    execute(database_url, weakness.remedy.partition("  #")[0])
    eventually(lambda: store.look_up([A]))
    assert store.workers()[0].name != before, "what was lost is known to be lost"
    assert store.audit() == ()
    store.close()


@server
def test_audit_finds_that_no_write_is_taken(running_databases: dict[str, Database]) -> None:
    """A user without rights, and a database that is read-only."""
    url = emptied_database("postgresql", running_databases)
    execute(url, "CREATE USER reader", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    reader = opened(url.replace("//postgres@", "//reader@"))
    try:
        (weakness,) = reader.audit()
        assert "the user may not do this" in weakness.problem and "GRANT" in weakness.remedy
        execute(
            url, "GRANT ALL ON ALL TABLES IN SCHEMA public TO reader", "ALTER USER reader SET default_transaction_read_only=on"
        )
        reader.close()
        setting, weakness = reader.audit()
        assert setting.remedy == "ALTER ROLE <the gate's> SET default_transaction_read_only = off"
        assert "read-only" in weakness.problem and "a server that takes writes" in weakness.remedy
    finally:
        reader.close()
        execute(url, "DROP OWNED BY reader", "DROP USER reader")


@pytest.mark.parametrize(("off", "severity"), [(0.5, None), (-20.0, "hint"), (90.0, "problem"), (-90.0, "problem")])
def test_audit_compares_clocks(off: float, severity: str | None) -> None:
    """Beyond a minute every write is refused; what the way takes is not the clock's."""
    told = list(clock_told(1000.0, 1000.5 + off, 1001.0))
    assert [(each.severity, each.about) for each in told] == [(severity, "clock")] * (severity is not None)


@server
def test_audit_tells_of_the_servers_clock(running_databases: dict[str, Database], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every write would be refused, something is found."""
    store = opened(emptied_database("postgresql", running_databases))
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 120)
    assert [weakness.about for weakness in store.audit()] == ["clock"]
    store.close()


def test_audit_takes_no_lock_for_a_weakness(tmp_path: Path) -> None:
    """Somebody writes just now: that is an answer that did not come, no store that is unsafe."""
    store = opened(f"sqlite:///{tmp_path}/store.db")
    store.write([Change(A, revoked=True)], time.time())
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            store.audit()
        connection.execute("ROLLBACK")
    assert store.audit() == ()
    store.close()


def test_audit_of_sqlite_tells_a_full_disk_and_quotes_its_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line with a blank in a path would be about something else."""
    from jwtgate.stores.sql import sqlite

    folder = tmp_path / "two words"
    folder.mkdir()
    monkeypatch.setattr(sqlite.shutil, "disk_usage", lambda _: SimpleNamespace(free=1024))  # type: ignore[attr-defined]
    told = list(sqlite.SQLite(f"{folder}/store.db").audit(lambda _: [("delete",)], ()))
    assert ["WAL" in told[0].problem, "1 KiB left" in told[1].problem] == [True, True]
    assert [shlex.split(each.remedy)[index] for each, index in zip(told, (1, 2), strict=True)] == [
        f"{folder}/store.db",
        str(folder),
    ]


def test_audit_of_sqlite_looks_at_the_file(tmp_path: Path) -> None:
    """A folder that is writable, on a local disk, in WAL mode: nothing; a network file system: told."""
    from jwtgate.stores.sql import sqlite

    store = opened(f"sqlite:///{tmp_path}/store.db")
    assert store.audit() == ()
    dialect = sqlite.SQLite("/proc/store.db")
    told = list(dialect.audit(lambda _: [("delete",)], ()))
    assert "WAL" in told[0].problem and "PRAGMA" in told[0].remedy
    assert sqlite._file_system(tmp_path) not in ("", *sqlite.NETWORK_FILE_SYSTEMS)
    assert sqlite._file_system(sqlite.Path("/proc")) == "proc"
    store.close()


# Forks


def test_child_of_a_fork_has_connections_of_its_own(database_url: str, unhurried_sql: None) -> None:  # noqa: ARG001
    """Parent and child both go on; the child's end disturbs nobody, nor does its closing of everything."""
    store = opened(database_url)
    feed = store.feed()
    epoch = feed.renew(WORKER, None).epoch.name
    store.write([Change(A, revoked=True)], time.time())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.reset_after_fork()
            feed.close()
            assert store.look_up([A]).rulings[0] is not None
            assert store.write([Change(b"\x02" * 16, revoked=True)], time.time()) is not None
            own = store.feed()
            assert own.renew(Worker("two", 1.0, -1, 1, is_healing=False), epoch).epoch.name == epoch
            own.close()
            store.close()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    for beat in range(2, 10):
        assert feed.renew(Worker("one", 1.0, -1, beat, is_healing=False), epoch).was_registered
        assert store.look_up([A, b"\x02" * 16]).end.position == 2
    assert {worker.name for worker in store.workers()[2]} == {"one", "two"}
    feed.close()
    store.close()


@pytest.mark.parametrize("is_asked_before", [True, False])
def test_child_of_a_fork_sees_what_is_written_after_its_parent_has_closed(tmp_path: Path, is_asked_before: bool) -> None:
    """SQLite's locks are not inherited: without them whoever closes last would take the log from under the child."""
    url = f"sqlite:///{tmp_path}/store.db"
    store = opened(url)
    store.write([], time.time())
    (to_child, asks), (answers, to_parent) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            store.reset_after_fork()
            if is_asked_before:
                store.look_up([A])
            os.write(to_parent, b"ready")
            os.read(to_child, 1)
            os.write(to_parent, b"revoked" if store.look_up([A]).rulings[0] else b"unknown")
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    assert os.read(answers, 8) == b"ready"
    store.close()
    for digest in (b"\x02" * 16, A):  # each closes the file
        other = opened(url)
        other.write([Change(digest, revoked=True)], time.time())
        other.close()
    os.write(asks, b"?")
    assert os.read(answers, 8) == b"revoked"
    os.waitpid(child, 0)
    for end in (to_child, asks, answers, to_parent):
        os.close(end)


@pytest.mark.parametrize("taken", [("-wal", "-shm"), ("-shm",), ("-wal",)])
def test_files_beside_the_database_that_were_deleted_part_nobody(tmp_path: Path, taken: tuple[str, ...]) -> None:
    """Who has them open would go on among themselves, and who comes later would hear of none of their rulings."""
    path = tmp_path / "store.db"
    here, there = opened(f"sqlite:///{path}"), opened(f"sqlite:///{path}")
    for store in (here, there):
        store.write([Change(A, revoked=True)], time.time())
    for end in taken:
        Path(f"{path}{end}").unlink()
    for _ in range(3):  # an old connection stands in the way of a new one, until its owner finds the same
        for store in (here, there):
            with contextlib.suppress(StoreUnavailable):
                store.look_up([])
    newcomer = subprocess.run(
        [sys.executable, "-c", NEWCOMER, str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert newcomer.returncode == 0, newcomer.stderr
    for store in (here, there):
        assert store.look_up([bytes(16)]).rulings[0] is not None
        store.close()


NEWCOMER = """
import sys, time
from jwtgate.core.history import Watch
from jwtgate.core.rulings import Change
from jwtgate.stores import open_store
store = open_store(f"sqlite:///{sys.argv[1]}", prefix="jwtgate", watch=Watch(1.0, 1.0))
assert store.write([Change(bytes(16), revoked=True)], time.time()) is not None
"""


def test_child_whose_file_was_let_go_of_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It came too late with its locks: it must not go on with a log that nobody else has."""
    from jwtgate.stores.sql import sqlite

    store = opened(f"sqlite:///{tmp_path}/store.db")
    store.look_up([A])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            monkeypatch.setattr(sqlite, "_place", lambda _: b"another")
            store.reset_after_fork()
            monkeypatch.undo()
            (tmp_path / "store.db-shm").unlink()
            with pytest.raises(StoreUnavailable, match="started anew"):
                store.look_up([A])
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    store.close()


def test_both_kinds_are_listed() -> None:
    """Fixtures and this module speak of the same servers."""
    assert list(DATABASES.values()) == [PostgreSQL, MariaDB]
