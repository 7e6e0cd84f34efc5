"""SQL stores whose database is busy: who waits for the log's end waits for few round trips, and a refusal costs nobody else."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import pytest
from beside import beside, together
from servers import WATCH
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from jwtgate.core.history import StoreBusy, Worker
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.stored import SessionChange
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import open_store
from jwtgate.stores.sql.dialects import MAX_LINES, TIMEOUT_SECONDS
from jwtgate.stores.sql.store import SqlStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jwtgate.stores.sql.line import Line

pytestmark = pytest.mark.server

A, B, C = (bytes([number]) * 16 for number in (1, 2, 3))
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)

MOST_TURNS = {"postgresql": 2, "mariadb": 3, "mysql": 3}
"""State and rulings; the rest with COMMIT, which MySQL is asked for once it has confirmed the rest."""

SYNC = b"S\x00\x00\x00\x04"
"""Of PostgreSQL's protocol."""


class Relay:
    """Before a database: counts how often a client asks after it was answered."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self.url = url.replace(f":{parts.port}/", f":{self._listener.getsockname()[1]}/")
        self.turns = 0
        self._spoke: socket.socket | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    pair[1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self._carry, args=(*pair, client), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source is client and not data.replace(SYNC, b""):  # asks nothing
                    target.sendall(data)
                    continue
                if source is client and self._spoke is not client:
                    self.turns += 1
                self._spoke = source
                target.sendall(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def url(database_url: str) -> str:
    """Of a database server."""
    if database_url.startswith("sqlite"):
        pytest.skip("SQLITE NOT TESTED HERE: it has no server, and so no round trips")
    return database_url


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    """On it."""
    with closing(opened(url)) as store:
        yield store


def opened(url: str) -> SqlStore:
    """A store of its own on ``url``."""
    store = open_store(url, prefix="jwtgate", watch=WATCH)
    assert isinstance(store, SqlStore)
    store.look_up([])
    return store


def revoke(store: SqlStore, *digests: bytes) -> None:
    """Writes."""
    assert store.write([Change(digest, revoked=True) for digest in digests], time.time()) is not None


class Locked:
    """The row of ``meta``, by somebody else."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, poolclass=NullPool)

    def __enter__(self) -> Self:
        self._connection = self._engine.connect()
        self._connection.exec_driver_sql("SELECT 1 FROM jwtgate_meta WHERE id = 1 FOR UPDATE")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def session(sid: str) -> SessionChange:
    """Its beginning."""
    return SessionChange(sid, user=A, record=b"{}", expected=None, seen_at=1.0, ends_at=time.time() + 600, handles=(B,))


def test_writer_holds_the_end_of_the_log_for_few_round_trips(url: str) -> None:
    """Each is two waits for a processor on a busy machine, and nobody else writes meanwhile."""
    most = MOST_TURNS[urlsplit(url).scheme.partition("+")[0]]
    with Relay(url) as relay, closing(opened(relay.url)) as store:
        revoke(store, A)
        for digests in ((A,), (B,), (A, B)):
            relay.turns = 0
            revoke(store, *digests)
            assert relay.turns <= most
        feed = store.feed()
        feed.renew(WORKER, None)
        relay.turns = 0
        assert feed.renew(WORKER, None).was_registered
        assert relay.turns == 1
        feed.close()


def test_refused_statement_leaves_nothing_of_its_write(store: SqlStore, url: str) -> None:
    """Statements that were sent with it, before it or after it, are taken back: COMMIT is not among what is done."""
    revoke(store, A)
    before = store.look_up([A, B])
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO jwtgate_log SELECT position + 1, link, previous, digest, ruling, at FROM jwtgate_log"
        )
    with pytest.raises(StoreUnavailable):
        revoke(store, B)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM jwtgate_log WHERE position = {before.end.position + 1}")
    after = store.look_up([A, B])
    assert (after.end, after.rulings) == (before.end, before.rulings)
    revoke(store, B)
    assert store.look_up([B]).rulings[0] is not None


def test_refusal_closes_no_other_connection(store: SqlStore, url: str) -> None:
    """Who waited too long for the lock is told so; new connections for everybody would only add to the load."""
    revoke(store, A)
    named = "SELECT pg_backend_pid()" if url.startswith("postgresql") else "SELECT CONNECTION_ID()"
    inner, outer = threading.Event(), threading.Event()
    found: list[object] = []

    def hold() -> None:
        def step(line: object) -> None:
            found.append(line.say(named).scalar())  # type: ignore[attr-defined]
            inner.set()
            outer.wait(20)

        store._lines.ask(step, seconds=20.0)

    with beside(hold, end=outer.set):
        assert inner.wait(10)
        with Locked(url), pytest.raises(StoreBusy):
            store._lines.ask(
                lambda line: store._write(line, [Change(B, revoked=True)], time.time(), (), _nothing()), seconds=5.0
            )
    assert store._lines.ask(lambda line: line.say(named).scalar()) == found[0]


def test_too_many_callers_cost_no_connections(store: SqlStore, url: str) -> None:
    """Who gets no turn in time is told that the others are busy: the server is not taken for one that does not answer."""
    sleep = "pg_sleep" if url.startswith("postgresql") else "SLEEP"
    store.look_up([])
    dialect, made, outcomes = store._lines.dialect, [0], list[str]()
    connect = dialect.connect

    def connected(deadline: float) -> object:
        made[0] += 1
        return connect(deadline)

    dialect.connect = connected  # type: ignore[method-assign]
    until = time.monotonic() + 2

    def ask() -> None:
        while time.monotonic() < until:
            try:
                store._lines.ask(lambda line: line.say(f"SELECT {sleep}(0.1)"))
                outcomes.append("done")
            except StoreUnavailable as error:
                outcomes.append(type(error).__name__)

    together(*[ask] * (6 * MAX_LINES))
    assert {"done", "StoreBusy"} <= set(outcomes)
    assert made[0] < 3 * MAX_LINES


def _nothing() -> object:
    from jwtgate.core.sessions.stored import Guard

    return Guard()


def test_follower_outlives_a_busy_lock(store: SqlStore, url: str) -> None:
    """What sessions were seen is told later; the connection that its lease depends on stays."""
    store.write((), time.time(), [session("one")])
    feed = store.feed()
    feed.renew(WORKER, None)
    store._lines.ask(lambda line: line.say("SELECT 1"))
    with Locked(url):
        with suppress(StoreUnavailable):  # our own deadline, where it came before the server's
            feed.saw(["one"])
        assert feed.renew(WORKER, None).was_registered
    assert store.look_up([], ["one"]).sessions[0].seen_at == 1.0  # type: ignore[union-attr]
    feed.saw(["two"])
    assert store.look_up([], ["one"]).sessions[0].seen_at > 1.0  # type: ignore[union-attr]
    feed.close()


def test_new_connection_counts_into_the_time_of_its_step(url: str) -> None:
    """A caller that had to wait before gives a server that does not answer no second timeout."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        parts = urlsplit(url)
        silent = url.replace(f":{parts.port}/", f":{deaf.getsockname()[1]}/")
        store = open_store(silent, prefix="jwtgate", watch=WATCH)
        assert isinstance(store, SqlStore)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store._lines.ask(lambda line: line.say("SELECT 1"), seconds=0.2 * TIMEOUT_SECONDS)
        assert time.monotonic() - began < TIMEOUT_SECONDS
        store.close()


def test_connection_is_as_good_after_a_write_that_gave_up(store: SqlStore) -> None:
    """The step itself takes back what it began; the next one asks on the same connection, and is answered."""
    revoke(store, A)
    with pytest.raises(StoreUnavailable, match="60 s apart"):
        store.write([Change(B, revoked=True)], time.time() + 1000)
    for digest, is_there in ((A, True), (B, False)):
        assert (store.look_up([digest]).rulings[0] is not None) is is_there
    revoke(store, B)
    assert store.look_up([B]).rulings[0] is not None


def test_connections_share_what_takes_long_to_read(url: str) -> None:
    """After a fault all are made anew at once: none reads the machine's certificate authorities again."""
    from sqlalchemy import make_url

    from jwtgate.stores.sql.opening import dialect_of

    dialect = dialect_of(make_url(url))
    first, second = (dialect.connect(time.monotonic() + 5) for _ in range(2))
    assert getattr(first, "ctx", None) is getattr(second, "ctx", None)
    first.close()
    second.close()


def test_nobody_starves_in_sqlite_behind_a_stream_of_writes(tmp_path: Path) -> None:
    """SQLite lets whoever asks first have its lock, and tells nobody to wait: within a process all take turns."""
    with (
        closing(open_store(f"sqlite:///{tmp_path}/store.db", prefix="jwtgate", watch=WATCH)) as store,
        closing(store.feed()) as feed,
    ):
        is_over, told = threading.Event(), []

        def stream() -> None:
            number = 0
            while not is_over.is_set():
                number += 1
                told.append(
                    store.mark("group", b"%d.%d" % (threading.get_ident(), number), b"-", time.time() + 60, time.time()).is_new
                )

        with beside(*[stream] * 3, end=is_over.set):
            beats = [feed.renew(replace(WORKER, beat=beat), None).workers for beat in range(200)]
        assert len(beats) == 200
        assert all(told)


def test_who_waits_for_sqlite_asks_often_enough(tmp_path: Path) -> None:
    """Another process writes nearly always: the moment in which it does not is found, however long one has waited.

    Who asks too seldom misses it in each of the rounds, a busy machine in some of them.
    """
    import sqlite3

    path = f"{tmp_path}/store.db"

    def write_nearly_always(holds: threading.Event, is_over: threading.Event) -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as other:
            other.execute("BEGIN IMMEDIATE")
            holds.set()
            is_over.wait(0.14)
            other.execute("COMMIT")
            is_over.wait(0.025)
            other.execute("BEGIN IMMEDIATE")
            is_over.wait(1)
            other.execute("COMMIT")

    failures: list[StoreBusy] = []
    with closing(open_store(f"sqlite:///{path}", prefix="jwtgate", watch=WATCH)) as store:
        store.look_up([])
        for number in range(5):
            holds, is_over = threading.Event(), threading.Event()
            with beside(partial(write_nearly_always, holds, is_over), end=is_over.set):
                assert holds.wait(5)
                try:
                    assert store.mark("group", bytes([number]) * 16, b"-", time.time() + 60, time.time()).is_new
                    break
                except StoreBusy as busy:
                    failures.append(busy)
    assert len(failures) < 5, f"{len(failures)} of 5 calls failed"


def test_write_that_the_server_takes_back_is_taken_back_whole(store: SqlStore, url: str) -> None:
    """It stands in the way of somebody who holds what it needs and waits for what it holds: the server ends one of the two. What
    it had sent behind the statement that met it is not done on its own: no position without its entry and its ruling."""
    revoke(store, A)
    end = store.look_up([]).end
    engine = create_engine(url, poolclass=NullPool)
    much = ", ".join(f"({number}, 'l', 'p', 'd', 'r', 1.0)" for number in (*range(-200, 0), end.position + 1))
    holds = threading.Event()

    def step(line: Line) -> None:
        with store._steps.holding(line) as state:
            holds.set()
            waiting.join(0.3)  # it is at the row of ``meta`` by now
            store._steps.put_rulings(line, {B: (b"{}", None)}, ())
            store._steps.append(line, state, [(B, b"{}")])

    def wait() -> None:
        if holds.wait(10.0):
            with suppress(SQLAlchemyError):
                other.exec_driver_sql("UPDATE jwtgate_meta SET version = version WHERE id = 1")

    with engine.connect() as other:  # its transaction ends with it: else it would stand in the way of the next tests
        other.exec_driver_sql(f"INSERT INTO jwtgate_log (position, link, previous, digest, ruling, at) VALUES {much}")
        with beside(wait) as (waiting,), pytest.raises(StoreUnavailable):
            store._lines.ask(step)
    revoke(
        store, C
    )  # waits for whatever the server is still at: PostgreSQL may commit after we had given up, which nobody knows
    is_done = store.look_up([B]).rulings[0] is not None
    assert store.look_up([A, C]).end.position == end.position + is_done + 1
    with closing(store.feed()) as feed:
        assert [entry.digest for entry in feed.read(end.cursor, 0.0, 10)] == [B] * is_done + [C]
