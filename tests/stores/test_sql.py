"""What only SQL stores have: the order of commits, identities of databases, layouts, prefixes, purging."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import pytest
from beside import beside, together
from servers import WATCH
from sqlalchemy import MetaData, create_engine, text

from jwtgate.core.history import Renewal, Worker
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.stored import SessionChange
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import Feed, Store, open_store
from jwtgate.stores.sql import schema
from jwtgate.stores.sql.store import SqlStore
from jwtgate.stores.sql.tables import VERSION, identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from databases import Database

A, B = (bytes([number]) * 16 for number in (1, 2))
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)


def opened(url: str, *, prefix: str = "jwtgate", poll_seconds: float = 0.25) -> SqlStore:
    """A store of its own on ``url``."""
    store = open_store(url, prefix=prefix, watch=WATCH, poll_seconds=poll_seconds)
    assert isinstance(store, SqlStore)
    return store


@pytest.fixture
def hurried(database_url: str) -> Iterator[SqlStore]:
    """One whose server waits no longer for us than it would outside of tests."""
    store = opened(database_url)
    yield store
    store.close()


@pytest.fixture
def other(database_url: str) -> Iterator[SqlStore]:
    """A second store on the same database, as another process would have."""
    store = opened(database_url)
    yield store
    store.close()


def revoke(store: Store, *digests: bytes) -> int:
    """Returns the position of the last."""
    written = store.write([Change(digest, revoked=True) for digest in digests], time.time())
    assert written is not None
    return written.end.position


def registered(store: Store, epoch: str | None = None) -> Renewal:
    """What a renewal on a connection of its own answered."""
    with closing(store.feed()) as feed:
        return feed.renew(WORKER, epoch)


def execute(url: str, *statements: str) -> None:
    """As an administrator would, each on its own."""
    engine = create_engine(url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


class HeldWrite:
    """A write that has got its position and has not committed yet, in a thread."""

    def __init__(self, store: SqlStore, digest: bytes, *, seconds: float = 2.0) -> None:
        self.store, self.digest, self.seconds = store, digest, seconds
        self.has_position, self.may_commit = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def _write(self) -> None:
        steps = self.store._steps

        def step(line: object) -> None:
            with steps.holding(line) as state:
                steps.append(line, state, [(self.digest, b"{}")])
                self.has_position.set()
                self.may_commit.wait(self.seconds)

        try:
            self.store._lines.ask(step, seconds=self.seconds + 1.0)
        except StoreUnavailable as error:
            self.error = error

    def __enter__(self) -> Self:
        self._beside = beside(self._write, end=self.may_commit.set)
        (thread,) = self._beside.__enter__()
        while not self.has_position.wait(0.01):
            if not thread.is_alive():
                raise self.error or AssertionError("it got no position")
        return self

    def __exit__(self, *raised: object) -> None:
        self._beside.__exit__(*raised)


# The rule for late commits


def test_later_write_waits_for_the_earlier_position(sql_store: SqlStore, other: SqlStore) -> None:
    """Two transactions held open: the second draws no position before the first has committed, and no reader sees a hole."""
    start = sql_store.look_up([]).end
    other.look_up([])
    feed = other.feed()
    answers: list[int | StoreUnavailable] = []

    def write_second() -> None:
        try:
            answers.append(revoke(other, B))
        except StoreUnavailable as error:
            answers.append(error)

    with HeldWrite(sql_store, A) as first, beside(write_second, end=first.may_commit.set):
        assert feed.read(start.cursor, 0.2, 10) == ()
        assert other.look_up([A, B]).end == start
        assert answers == []
    assert first.error is None
    entries = feed.read(start.cursor, 0.0, 10)
    assert [entry.position for entry in entries] == ([1, 2] if answers == [2] else [1])
    assert entries[0].digest == A
    feed.close()


def test_no_reader_sees_a_hole_under_many_writers(database_url: str) -> None:
    """Writers in several stores, read all the while: every read goes on where the last one ended, link by link."""
    stores = [opened(database_url) for _ in range(3)]
    facts = stores[0].look_up([])
    end, epoch = facts.end, facts.epoch.name
    is_over = threading.Event()

    def write(store: SqlStore) -> None:
        while not is_over.is_set():
            try:
                revoke(store, os.urandom(16), os.urandom(16))
            except StoreUnavailable:
                continue

    feed = stores[0].feed()
    position, link, cursor = end.position, end.link, end.cursor
    began = time.monotonic()
    with beside(*[partial(write, store) for store in stores], end=is_over.set):
        while (seconds := time.monotonic() - began) < 2.0 or (position <= 10 and seconds < 30.0):
            for entry in feed.read(cursor, 0.05, 100):
                assert (entry.position, entry.previous) == (position + 1, link)
                position, link, cursor = entry.position, entry.link, entry.cursor
    assert position > 10
    assert {store.look_up([]).epoch.name for store in stores} == {epoch}, "no answer that came late is taken for an older copy"
    feed.close()
    for store in stores:
        store.close()


def test_registration_waits_for_a_write_and_a_renewal_does_not(sql_store: SqlStore, other: SqlStore) -> None:
    """F2, W1: whom a write under way does not list, that one is registered only after it, and so reads it."""
    standing, newcomer = other.feed(), other.feed()
    standing.renew(WORKER, None)
    newcomer.renew(replace(WORKER, name="warm"), None)
    with HeldWrite(sql_store, A, seconds=5.0):
        if not database_has_one_lock(other):
            assert standing.renew(replace(WORKER, beat=2), None).was_registered
        with pytest.raises(StoreUnavailable):
            newcomer._lines.ask_own(lambda line: newcomer._renew(line, claims("two")), newcomer._line, seconds=0.3)
    assert "two" not in {worker.name for worker in other.workers()[2]}
    newcomer.close()
    standing.close()


@pytest.mark.server
def test_writer_that_stands_still_is_thrown_out(hurried: SqlStore, other: SqlStore) -> None:
    """A process that is stopped while it holds the log's end: the server frees it, and what was begun is undone."""
    if database_has_one_lock(other):
        pytest.skip("SQLITE NOT TESTED HERE: it has no server that could; its writers wait until the process goes on")
    other.look_up([])
    with HeldWrite(hurried, A, seconds=20.0) as held:
        began = time.monotonic()
        assert eventually(lambda: revoke(other, B)) == 1
        assert time.monotonic() - began < 8.0
    assert held.error is not None
    feed = other.feed()
    assert [entry.digest for entry in feed.read("0", 0.0, 10)] == [B]
    feed.close()


def database_has_one_lock(store: SqlStore) -> bool:
    """SQLite's writers wait for each other, whatever they write."""
    return type(store._lines.dialect).__name__ == "SQLite"


def claims(name: str) -> object:
    """Of a worker's renewal."""
    from jwtgate.stores.sql.feed import _Claims

    return _Claims(replace(WORKER, name=name), None, healed=False, settled=False)


# Layouts


def test_tables_are_made_by_many_at_once(database_url: str) -> None:
    """Processes that begin together disturb each other not at all: all are of one epoch."""
    prefix = "fresh"
    drop(database_url, prefix)
    stores = [opened(database_url, prefix=prefix) for _ in range(6)]
    names: list[str] = []
    errors: list[StoreUnavailable] = []

    def look(store: SqlStore) -> None:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                names.append(store.look_up([]).epoch.name)
                return
            except StoreUnavailable as error:  # a slow disk: the next one finds what was made
                errors.append(error)

    together(*[partial(look, store) for store in stores])
    assert len(names) == 6 and len(set(names)) == 1, errors
    for store in stores:
        store.close()
    drop(database_url, prefix)


def drop(url: str, prefix: str) -> None:
    """Takes the tables away."""
    names = ("meta", "rulings", "log", "workers", "sessions", "marks", "boot")
    execute(url, *[f"DROP TABLE IF EXISTS {prefix}_{name}" for name in names])


def test_newer_layout_is_refused(sql_store: SqlStore, database_url: str) -> None:
    """One clear error that names the setting, for a process that was running and for one that begins."""
    sql_store.look_up([])
    execute(database_url, "UPDATE jwtgate_meta SET version = 99")
    begun = opened(database_url)
    for store in (sql_store, begun):
        with pytest.raises(StoreUnavailable, match="JWTGATE_STORE.*99.*upgrade"):
            store.look_up([])
        with pytest.raises(StoreUnavailable, match="99"):
            revoke(store, A)
    with pytest.raises(StoreUnavailable, match="99"):
        begun.migrate()
    execute(database_url, f"UPDATE jwtgate_meta SET version = {VERSION}")
    assert revoke(sql_store, A) == 1, "the refused migration holds nothing"
    begun.close()


def test_older_layout_is_migrated(sql_store: SqlStore, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step by step, at the first contact; what was there stays, in the same epoch."""
    revoke(sql_store, A)
    epoch = sql_store.look_up([]).epoch.name
    monkeypatch.setattr(schema, "VERSION", VERSION + 1)
    monkeypatch.setattr(schema, "STEPS", {VERSION: ("ALTER TABLE {meta} ADD COLUMN fresh INTEGER",)})
    newer = opened(database_url)
    try:
        assert newer.migrate() == (VERSION, VERSION + 1)
        assert newer.migrate() == (VERSION + 1, VERSION + 1)
        facts = newer.look_up([A])
        assert facts.rulings[0] is not None
        assert facts.epoch.name == epoch
    finally:
        newer.close()
        execute(database_url, "ALTER TABLE jwtgate_meta DROP COLUMN fresh")


def test_layout_1_gets_a_table_of_marks(sql_store: SqlStore, database_url: str) -> None:
    """What was kept before there were any stays, in the same epoch."""
    revoke(sql_store, A)
    epoch = sql_store.look_up([]).epoch.name
    execute(database_url, "DROP TABLE jwtgate_marks", "UPDATE jwtgate_meta SET version = 1")
    newer = opened(database_url)
    try:
        assert newer.migrate() == (1, VERSION)
        now = time.time()
        assert newer.mark("group", b"name", b"", now + 60, now).is_new
        assert not newer.mark("group", b"name", b"", now + 60, now).is_new
        assert newer.look_up([A]).rulings[0] is not None
        if "postgresql" not in database_url:  # there a change by hand is a change of history
            assert newer.look_up([]).epoch.name == epoch
    finally:
        newer.close()


def test_older_rows_are_another_history_to_who_has_seen_more(sql_store: SqlStore, other: SqlStore, database_url: str) -> None:
    """H1: an older dump loaded into the running database, with the same epoch record. No question waits for a follower to
    notice: neither what was revoked nor what was used since is taken for unknown."""
    revoke(sql_store, B)
    other.look_up([])
    rows, now = table_rows(database_url), time.time()
    epoch = sql_store.look_up([]).epoch.name
    assert sql_store.mark("group", b"name", b"", now + 60, now).is_new
    revoke(sql_store, A)
    other.look_up([])
    put_back(database_url, rows)
    marked = sql_store.mark("group", b"name", b"", now + 60, now)
    assert marked.epoch.name != epoch and not marked.epoch.is_healed
    assert marked.since >= marked.epoch.birth >= now, "so nobody is told that it was not used before"
    assert other.look_up([]).epoch.name == marked.epoch.name
    put_back(database_url, rows)
    facts = other.look_up([A, B])
    assert facts.epoch.name not in (epoch, marked.epoch.name), "an epoch that is over does not begin again"
    assert not facts.epoch.is_healed and facts.rulings[1] is not None


def table_rows(url: str) -> dict[str, list[dict[str, object]]]:
    """All there is, as a dump has it."""
    engine, tables = create_engine(url), MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        rows = {each.name: [dict(row) for row in connection.execute(each.select()).mappings()] for each in tables.sorted_tables}
    engine.dispose()
    return rows


def put_back(url: str, rows: dict[str, list[dict[str, object]]]) -> None:
    """In one transaction, as a restore may."""
    engine, tables = create_engine(url), MetaData()
    tables.reflect(engine)
    with engine.begin() as connection:
        for each in tables.sorted_tables:
            connection.execute(each.delete())
            if rows[each.name]:
                connection.execute(each.insert(), rows[each.name])
    engine.dispose()


def test_emptied_tables_are_another_history(sql_store: SqlStore, database_url: str) -> None:
    """H1: as after FLUSHALL: the next call opens a new epoch, without a word of complaint."""
    epoch = sql_store.look_up([]).epoch.name
    revoke(sql_store, A)
    execute(database_url, "DELETE FROM jwtgate_meta", "DELETE FROM jwtgate_rulings")
    facts = sql_store.look_up([A])
    assert facts.epoch.name != epoch and not facts.epoch.is_healed
    assert (facts.rulings, facts.end.position) == ((None,), 0)
    assert revoke(sql_store, A) == 1


# Prefixes


@pytest.mark.parametrize("prefix", ["jwtgate", "a", "a_b", "a9_"])
def test_plain_prefix_is_its_own_name(prefix: str) -> None:
    """What every database takes is left as it is."""
    assert identifier(prefix) == prefix


def test_no_two_prefixes_share_a_name() -> None:
    """Case, signs, length and what looks like another's name make a difference, in databases without case as well."""
    prefixes = [
        "app",
        "App",
        "APP",
        "a.b",
        "a_b",
        "a-b",
        "a:b",
        "1a",
        "_a",
        "x" * 64,
        "x" * 63,
        identifier("a.b"),
        identifier("1a"),
    ]
    names = {identifier(prefix) for prefix in prefixes}
    assert len(names) == len(prefixes)
    assert all(name == name.lower() and len(name) <= 40 for name in names)


def test_prefixes_share_no_rows(sql_store: SqlStore, database_url: str) -> None:
    """Two applications in one database."""
    revoke(sql_store, A)
    registered(sql_store)
    another = opened(database_url, prefix="other.App")
    try:
        facts = another.look_up([A])
        assert (facts.rulings, facts.end.position, another.workers()[2]) == ((None,), 0, ())
        assert facts.epoch.name != sql_store.look_up([]).epoch.name
    finally:
        another.close()
        drop(database_url, identifier("other.App"))


# Identities


@pytest.mark.usefixtures("unhurried_sql")
def test_restart_of_the_server_is_another_life(own_database: Database) -> None:
    """H1: look-up, write, renewal and listing each notice; rulings and positions stay, registrations do not."""
    with own_database:
        store = opened(own_database.url)
        feed = store.feed()
        feed.renew(WORKER, None)
        revoke(store, A)
        names = [store.look_up([]).epoch.name]
        calls = [lambda: store.look_up([]).epoch, lambda: store.workers()[0], lambda: store.write([], time.time()).epoch]
        for call in calls:
            own_database.restart()
            epoch = eventually(call)
            assert epoch.name not in names and not epoch.is_healed
            names.append(epoch.name)
        with pytest.raises(StoreUnavailable):
            feed.renew(WORKER, names[0])
        own_database.kill()
        own_database.start()
        renewal = eventually(lambda: registered(store, names[-1]))
        assert renewal.epoch.name not in names and not renewal.was_registered
        facts = store.look_up([A])
        assert facts.rulings[0] is not None and facts.end.position == 1
        assert revoke(store, B) == 2
        store.close()


def test_log_entries_beyond_the_end_stand_in_nobodys_way(sql_store: SqlStore, database_url: str) -> None:
    """H2: a dump of older rows was put back, and newer entries of the log were left: once noticed, they go."""
    with closing(sql_store.feed()) as feed:
        epoch = feed.renew(WORKER, None).epoch.name
        revoke(sql_store, A, B)
        columns = "link, previous, digest, ruling, at"
        execute(database_url, f"INSERT INTO jwtgate_log (position, {columns}) SELECT position + 2, {columns} FROM jwtgate_log")
        with pytest.raises(StoreUnavailable):
            revoke(sql_store, A)
        feed.lose(epoch)
    assert [revoke(sql_store, A) for _ in range(3)] == [3, 4, 5]


def eventually(call: object, seconds: float = 10.0) -> object:
    """Its answer, once the store is back."""
    until = time.monotonic() + seconds
    while True:
        try:
            return call()  # type: ignore[operator]
        except StoreUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@pytest.mark.server
def test_restored_dump_is_found_by_a_look_up_in_postgresql(running_databases: dict[str, Database]) -> None:
    """H1: rows that another transaction wrote are another history, in the same life of the server."""
    url = emptied("postgresql", running_databases)
    store = opened(url)
    epoch = store.look_up([]).epoch.name
    revoke(store, A)
    execute(url, "VACUUM FULL jwtgate_meta", "VACUUM FREEZE jwtgate_meta", "ANALYZE jwtgate_meta")
    with HeldWrite(store, B):
        assert store.look_up([]).epoch.name == epoch
    execute(url, "BEGIN; SELECT 1 FROM jwtgate_meta FOR UPDATE; COMMIT")
    assert store.look_up([]).epoch.name == epoch
    execute(
        url,
        "CREATE TABLE kept AS SELECT * FROM jwtgate_meta",
        "DELETE FROM jwtgate_meta",
        "INSERT INTO jwtgate_meta SELECT * FROM kept",
        "DROP TABLE kept",
    )
    facts = store.look_up([A])
    assert facts.epoch.name != epoch and not facts.epoch.is_healed and facts.rulings[0] is not None
    store.close()


def emptied(name: str, running: dict[str, Database]) -> str:
    """Skips loudly where it is not installed."""
    from conftest import emptied_database

    return emptied_database(name, running)


def test_file_moved_into_place_is_another_history(tmp_path: Path) -> None:
    """H1: each call looks where the path leads now; a backup in the file's place is reopened and distrusted."""
    path, backup = tmp_path / "store.db", tmp_path / "backup.db"
    store = opened(f"sqlite:///{path}")
    feed = store.feed()
    feed.renew(WORKER, None)
    revoke(store, A)
    epoch = store.look_up([]).epoch.name
    subprocess.run(["cp", str(path), str(backup)], check=True)
    execute(f"sqlite:///{path}", "PRAGMA wal_checkpoint(TRUNCATE)")
    subprocess.run(["cp", str(path), str(backup)], check=True)
    revoke(store, B)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"store.db{suffix}").unlink(missing_ok=True)
    backup.rename(path)
    with pytest.raises(StoreUnavailable):
        feed.renew(WORKER, epoch)
    facts = store.look_up([A, B])
    assert facts.epoch.name != epoch and not facts.epoch.is_healed
    assert facts.rulings[0] is not None and facts.rulings[1] is None
    path.unlink()
    facts = store.look_up([A])
    assert (facts.rulings, facts.end.position) == ((None,), 0)
    store.close()


# Purging


def test_what_is_over_is_purged_by_followers(sql_store: SqlStore, database_url: str) -> None:
    """Rulings past their end, sessions past theirs and old log entries go in a follower's pause; the rest stays."""
    now = time.time()
    old = [os.urandom(16) for _ in range(30)]
    sql_store.write([Change(digest, revoked=True, until=now - 120) for digest in old], now)
    put = SessionChange("short", b"u" * 16, record=b"x", ends_at=now + 0.05, seen_at=now)
    sql_store.write([], now, (put, replace(put, sid="long", ends_at=now + 60)))
    execute(
        database_url,
        "UPDATE jwtgate_log SET at = at - 1000",
        "UPDATE jwtgate_sessions SET ends_at = ends_at - 1 WHERE ends_at < " + repr(now + 1),
    )
    feed = sql_store.feed()
    cursor = sql_store.look_up([]).end.cursor
    purge_until(feed, cursor, lambda: counts(database_url) == {"rulings": 0, "sessions": 1, "log": 30})
    assert sql_store.look_up([], ["long"]).sessions[0] is not None
    feed.close()


def test_old_entries_are_purged_behind_the_last_thousand(sql_store: SqlStore, database_url: str) -> None:
    """A follower that slept for minutes goes on from its position where little happened meanwhile."""
    revoke(sql_store, *[os.urandom(16) for _ in range(1400)])
    feed = sql_store.feed()
    feed._purging._next = 0.0
    feed.read("1400", 0.02, 10)
    assert counts(database_url)["log"] == 1400, "they are young"
    execute(database_url, "UPDATE jwtgate_log SET at = at - 1000")
    purge_until(feed, "1400", lambda: counts(database_url)["log"] == 1000)
    assert feed.read("400", 0.0, 1)[0].position == 401
    assert not feed._purging.is_due()
    feed.close()


def purge_until(feed: Any, cursor: str, condition: Callable[[], bool]) -> None:
    """A follower that has no pause, or is thrown out while it purges, as on a busy machine, does it the next time."""
    for pause in (0.02, 0.1, 0.5, 2.0, 5.0):
        feed._purging._next = 0.0
        assert feed.read(cursor, pause, 10) == ()
        if condition():
            return
    raise AssertionError("not purged")


def counts(url: str) -> dict[str, int]:
    """Rows per table."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {
            name: int(connection.execute(text(f"SELECT count(*) FROM jwtgate_{name}")).scalar_one())
            for name in ("rulings", "sessions", "log")
        }
    engine.dispose()
    return found


# Waking


@pytest.mark.server
def test_postgresql_wakes_a_reader(running_databases: dict[str, Database]) -> None:
    """LISTEN/NOTIFY: however seldom it polls, a reader hears of a write at once."""
    store = opened(emptied("postgresql", running_databases), poll_seconds=30.0)
    feed: Feed = store.feed()
    end = store.look_up([]).end
    for digest in (A, B):
        with beside(lambda digest=digest: time.sleep(0.2) or revoke(store, digest)):
            began = time.monotonic()
            entries = feed.read(end.cursor, 20.0, 10)
            assert [entry.digest for entry in entries] == [digest]
            assert time.monotonic() - began < 5.0
        end = store.look_up([]).end
    feed.close()
    store.close()


@pytest.mark.server
def test_reader_in_a_storm_of_notices_keeps_its_connection(running_databases: dict[str, Database]) -> None:
    """What comes unasked to a listener is no farewell, however much of it there is."""
    url = emptied("postgresql", running_databases)
    store = opened(url)
    feed = store.feed()
    end = store.look_up([]).end
    feed.read(end.cursor, 0.01, 1)
    execute(url, *["SELECT pg_notify('jwtgate_log', generate_series(1, 20000)::text)"] * 2)
    is_over = threading.Event()

    def notify() -> None:
        while not is_over.is_set():
            execute(url, "SELECT pg_notify('jwtgate_log', generate_series(1, 500)::text)")

    with beside(notify, end=is_over.set):
        for beat in range(200):
            feed.renew(replace(WORKER, beat=beat), None)
            feed.read(end.cursor, 0.0, 1)
    revoke(store, A)
    assert [entry.digest for entry in feed.read(end.cursor, 1.0, 10)] == [A]
    feed.close()
    store.close()
