"""Databases whose users, or which themselves, have odd settings: the same answers, or a clear refusal."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pymysql
import pytest
from conftest import emptied_database
from servers import WATCH, missing
from sqlalchemy import make_url

from jwtgate.core.history import NotWritten, StoreBusy, Worker
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.stored import SessionChange
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import Store, open_store
from jwtgate.stores.sql import schema
from jwtgate.stores.sql.tables import lock_number, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from databases import Database

pytestmark = pytest.mark.server

DIGESTS = [bytes([number]) * 16 for number in (1, 92, 255)]
"""One of backslashes."""


@contextmanager
def opened(url: str, prefix: str = "jwtgate") -> Iterator[Store]:
    """A store there."""
    store = open_store(url, prefix=prefix, watch=WATCH)
    yield store
    store.close()


def in_postgresql(url: str, *statements: str) -> None:
    """As the server's owner."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)  # type: ignore[call-overload]


@pytest.fixture
def role(running_databases: dict[str, Database]) -> Iterator[Any]:
    """Sets something for a user of PostgreSQL; returns its URL of the same tables."""
    url = emptied_database("postgresql", running_databases)
    if "postgresql" not in running_databases:
        missing("roles of a PostgreSQL of one's own")
    in_postgresql(url, "DROP ROLE IF EXISTS odd", "CREATE ROLE odd SUPERUSER LOGIN PASSWORD 'word'")

    def put(*settings: str) -> str:
        in_postgresql(url, *(f"ALTER ROLE odd SET {each}" for each in settings))
        return make_url(url).set(username="odd", password="word").render_as_string(hide_password=False)

    yield put
    in_postgresql(url, "DROP ROLE odd")


@pytest.fixture
def mariadb(running_databases: dict[str, Database]) -> Iterator[Any]:
    """A connection to MariaDB; what is set for all is as before in the end."""
    url = make_url(emptied_database("mariadb", running_databases))
    if "mariadb" not in running_databases:
        missing("settings of a MariaDB of one's own")
    connection = pymysql.connect(
        host=url.host or "", port=url.port or 3306, user=url.username, password=url.password or "", database=url.database,
        autocommit=True,
    )  # fmt: skip
    before: dict[str, Any] = {}

    def say(statement: str) -> Any:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()

    def put(name: str, value: object) -> None:
        before.setdefault(name, say(f"SELECT @@GLOBAL.{name}")[0])
        say(f"SET GLOBAL {name} = {value!r}")

    with closing(connection):
        say.url = url.render_as_string(hide_password=False)  # type: ignore[attr-defined]
        say.put = put  # type: ignore[attr-defined]
        yield say
        for name, value in before.items():
            say(f"SET GLOBAL {name} = {value!r}")


def check_answers(store: Store) -> None:
    """All that is written is told, to the last digit."""
    now = time.time()
    written = store.write([Change(digest, cuts_off=True, until=now + 1000 / 3) for digest in DIGESTS], now)
    assert written is not None and abs(written.at - now) < 60
    user, ends_at = DIGESTS[1], now + 1000 / 7
    session = SessionChange("sid", user, record=b"\\x00\\'\0\xff", handles=tuple(DIGESTS), ends_at=ends_at, seen_at=now)
    store.write([], now, [session])
    facts = store.look_up(DIGESTS, ["sid"])
    assert facts.rulings == written.rulings
    (found,) = facts.sessions
    assert found is not None and (found.record, found.ends_at) == (session.record, ends_at)
    assert found.rulings == written.rulings
    assert [each and each.sid for each in store.sessions_of(user).sessions] == ["sid"]


@pytest.mark.parametrize("digits", [-15, 0])
def test_times_are_whole_whatever_digits_a_role_asks_for(role: Any, digits: int) -> None:
    """With 15 left out every clock would be of the year 2033; with none, a session's end is another one than was put."""
    with opened(role(f"extra_float_digits = {digits}")) as store:
        check_answers(store)


def test_texts_of_a_role_change_no_answer(role: Any) -> None:
    """How times and octets are written is the driver's affair."""
    settings = (
        "DateStyle = 'SQL, DMY'", "TimeZone = 'Asia/Kathmandu'", "bytea_output = escape", "standard_conforming_strings = off",
        "default_transaction_isolation = serializable", "default_transaction_deferrable = on", "client_encoding = latin1",
        "quote_all_identifiers = on", "lock_timeout = 1", "idle_in_transaction_session_timeout = 1",
    )  # fmt: skip
    with opened(role(*settings)) as store:
        check_answers(store)


def test_role_whose_idle_sessions_end_has_a_feed_all_the_same(role: Any, running_databases: dict[str, Database]) -> None:
    """A follower waits for the log longer than that: it would begin anew each time, and never be live."""
    with opened(emptied_database("postgresql", running_databases)) as store:
        store.look_up([])
    with opened(role("idle_session_timeout = 100")) as store:
        feed = store.feed()
        renewal = feed.renew(Worker("one", 1.0, -1, 1, is_healing=False), None)
        assert feed.read(renewal.end.cursor, 0.3, 1) == ()
        assert feed.renew(Worker("one", 1.0, -1, 2, is_healing=False), renewal.epoch.name).was_registered
        feed.close()


def test_role_that_only_reads_is_named_with_the_line_that_mends_it(role: Any) -> None:
    """Nothing is written, and the server is not to blame."""
    with opened(role("default_transaction_read_only = on")) as store:
        with pytest.raises(StoreBusy, match="read-only"):
            store.write([Change(DIGESTS[0], revoked=True)], time.time())
        remedies = [weakness.remedy for weakness in store.audit()]
        assert "ALTER ROLE <the gate's> SET default_transaction_read_only = off" in remedies


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sql_select_limit", 1),
        ("init_connect", "SET sql_select_limit = 1"),
        ("sql_safe_updates", 1),
        ("max_join_size", 1),
        ("sql_mode", "ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT"),
        ("time_zone", "+05:45"),
        ("autocommit", 0),
        ("tx_isolation", "READ-UNCOMMITTED"),
        ("completion_type", 2),
    ],
)
def test_what_mariadb_does_for_all_changes_no_answer(mariadb: Any, name: str, value: object) -> None:
    """A look-up that is cut to one row would call all others not revoked."""
    if name == "init_connect":  # which whoever may do everything is spared
        mariadb("CREATE OR REPLACE USER odd@'127.0.0.1' IDENTIFIED BY 'word'")
        mariadb("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON *.* TO odd@'127.0.0.1'")
        mariadb.url = make_url(mariadb.url).set(username="odd").render_as_string(hide_password=False)
    mariadb.put(name, value)
    with opened(mariadb.url) as store:
        check_answers(store)


def test_user_whose_queries_are_used_up_after_a_commit_may_have_written(mariadb: Any) -> None:
    """The COMMIT was the last that the server took: what it refused behind that says nothing of it."""
    with opened(mariadb.url) as store:
        store.look_up([])
    mariadb("CREATE OR REPLACE USER odd@'127.0.0.1' IDENTIFIED BY 'word'")
    mariadb("GRANT ALL ON *.* TO odd@'127.0.0.1'")
    url = make_url(mariadb.url).set(username="odd", password="word").render_as_string(hide_password=False)
    is_told, has_stood = False, []
    for number in range(8, 100):
        mariadb("DELETE FROM jwtgate_rulings")
        mariadb(f"ALTER USER odd@'127.0.0.1' WITH MAX_QUERIES_PER_HOUR {number}")
        mariadb("FLUSH USER_RESOURCES")
        with opened(url) as store:
            try:
                store.write([Change(DIGESTS[0], revoked=True)], time.time())
            except NotWritten:
                assert mariadb("SELECT 1 FROM jwtgate_rulings") is None
            except StoreUnavailable:
                has_stood.append(mariadb("SELECT 1 FROM jwtgate_rulings"))
            else:
                is_told = True
                break
    assert is_told and has_stood == [(1,)]


def test_tables_are_made_by_one_process_at_a_time(mariadb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does not get the lock makes nothing, and says who has it."""
    monkeypatch.setattr(schema, "CREATION_SECONDS", 0.3)
    tables = tables_of("locked")
    lock = f"'jwtgate_{lock_number(tables)}'"
    assert mariadb(f"SELECT GET_LOCK({lock}, 1)") == (1,)
    with opened(mariadb.url, "locked") as store:
        with pytest.raises(StoreUnavailable, match="another process is making the tables"):
            store.look_up([])
        assert mariadb("SHOW TABLES LIKE 'locked%'") is None
        mariadb(f"SELECT RELEASE_LOCK({lock})")
        monkeypatch.undo()
        check_answers(store)
    for table in tables.all().values():
        mariadb(f"DROP TABLE {table.name}")
