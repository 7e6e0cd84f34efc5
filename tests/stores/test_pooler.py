"""PostgreSQL behind a pooler: what a session remembers is nobody's there, and no answer may be another's."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from beside import beside, together
from conftest import emptied_database
from poolers import PgBouncer, required_pooler
from servers import WATCH
from sqlalchemy import text

from jwtgate.core.history import Worker
from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import open_store
from jwtgate.stores.sql import postgresql
from jwtgate.stores.sql.dialects import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from databases import Database

    from jwtgate.stores import Store

pytestmark = pytest.mark.server

A = b"\x01" * 16
TRANSACTIONAL = ("session", "transaction")


@pytest.fixture(scope="module")
def shared(running_databases: dict[str, Database]) -> Iterator[PgBouncer]:
    """Not to be stopped."""
    required_pooler()
    place = urlsplit(emptied_database("postgresql", running_databases))
    assert place.port is not None and place.hostname is not None
    with PgBouncer(place.port, host=place.hostname, database=place.path.strip("/")) as pooler:
        yield pooler


@pytest.fixture
def pooler(shared: PgBouncer, running_databases: dict[str, Database]) -> PgBouncer:
    """Before an empty database."""
    emptied_database("postgresql", running_databases)
    return shared


@pytest.fixture
def opened() -> Iterator[Callable[[str], Store]]:
    """Stores that end with the test."""
    stores: list[Store] = []

    def opened(url: str) -> Store:
        stores.append(open_store(url, prefix="jwtgate", watch=WATCH))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


def eventually(call: Callable[[], object], seconds: float = 10.0) -> None:
    """Until it is answered."""
    until = time.monotonic() + seconds
    while True:
        try:
            call()
        except StoreUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return


def test_no_answer_is_anothers_in_transaction_pooling(
    pooler: PgBouncer,
    opened: Callable[[str], Store],
    unhurried_sql: None,  # noqa: ARG001
) -> None:
    """More clients than sessions, each asking other things first: a statement prepared by one would be another's."""
    stores = [opened(pooler.url("transaction")) for _ in range(2)]
    written = stores[0].write([Change(A, revoked=True)], time.time())
    assert written is not None
    wrong: list[object] = []

    def ask(store: Store, place: int) -> None:
        own = bytes([2 + place]) * 16
        for turn in range(20):
            try:
                if (turn + place) % 3 == 0:
                    store.write([Change(own, revoked=turn % 2 == 0)], time.time())
                store.mark("g", os.urandom(16), b"", time.time() + 60, time.time())
                found = store.look_up([own, A] if place % 2 else [A]).rulings[-1]
                if found != written.rulings[0]:
                    wrong.append(found)
                store.workers()
            except StoreUnavailable as error:
                wrong.append(error)

    together(*[partial(ask, store, place) for place, store in enumerate(stores * 3)])
    assert not wrong


@pytest.mark.parametrize("mode", TRANSACTIONAL)
def test_nothing_of_a_session_is_left_to_others(pooler: PgBouncer, opened: Callable[[str], Store], mode: str) -> None:
    """The application's own statements go through the same pool: no time-out of ours ends them, none of our notices reach them,
    and no commit of theirs, or of a revocation, comes before the disk."""
    store = opened(pooler.url(mode))
    eventually(lambda: store.write([Change(A, revoked=True)], time.time()))
    feed = store.feed()
    feed.renew(Worker("one", 1.0, -1, 1, is_healing=False), None)
    feed.read("1", 0.01, 10)
    names = (*postgresql.LIMITS, "synchronous_commit", "default_transaction_isolation")
    with pooler.client(mode) as stranger:
        wanted = [stranger.execute(f"SELECT reset_val FROM pg_settings WHERE name = '{name}'").fetchone() for name in names]
        for _ in range(10):
            shown = [stranger.execute(f"SELECT setting FROM pg_settings WHERE name = '{name}'").fetchone() for name in names]
            heard = stranger.execute("SELECT count(*) FROM pg_listening_channels()").fetchone()
            assert shown == wanted and heard == (0,)
    feed.close()


@pytest.mark.parametrize("mode", TRANSACTIONAL)
def test_writer_that_stands_still_is_thrown_out_behind_a_pooler(
    pooler: PgBouncer, opened: Callable[[str], Store], mode: str
) -> None:
    """It holds the log's end: each transaction says how long the server bears that."""
    store, other = opened(pooler.url(mode)), opened(pooler.url(mode))
    eventually(lambda: store.look_up([]))
    eventually(lambda: other.look_up([]))

    def stopped(line: object) -> None:
        with store._steps.holding(line):  # type: ignore[attr-defined]
            began = time.monotonic()
            eventually(lambda: other.write([Change(A, revoked=True)], time.time()), 5.0)
            assert time.monotonic() - began < 3 * TIMEOUT_SECONDS
            line.run(text("SELECT 1"))  # type: ignore[attr-defined]

    with pytest.raises(StoreUnavailable):
        store._lines.ask(stopped)  # type: ignore[attr-defined]
    assert other.look_up([A]).rulings[0] is not None


@pytest.mark.parametrize("mode", TRANSACTIONAL)
def test_reader_polls_behind_a_pooler_and_the_audit_says_so(
    pooler: PgBouncer,
    opened: Callable[[str], Store],
    mode: str,
    unhurried_sql: None,  # noqa: ARG001
) -> None:
    """Whether a notice would reach us nobody knows, so nobody waits for one."""
    store = opened(pooler.url(mode))
    store.look_up([])
    feed = store.feed()
    with beside(lambda: time.sleep(0.1) or store.write([Change(A, revoked=True)], time.time())):
        began = time.monotonic()
        assert len(feed.read("0", 10.0, 10)) == 1
        assert time.monotonic() - began < 5.0
    (told,) = store.audit()
    assert told.severity == "hint" and "JWTGATE_POLL" in told.problem
    feed.close()


def test_statement_pooling_is_refused_with_its_remedy(pooler: PgBouncer, opened: Callable[[str], Store]) -> None:
    """From the first question on, whatever is asked: a look-up that worked would promise revocations that do not."""
    store = opened(pooler.url("statement"))
    for call in (lambda: store.look_up([]), lambda: store.write([Change(A, revoked=True)], time.time()), store.audit):
        with pytest.raises(StoreUnavailable, match=r"JWTGATE_STORE: .*session pooling.*the server's own address"):
            call()


def test_startup_parameter_that_a_pooler_refuses_is_named(
    pooler: PgBouncer, opened: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libpq takes more from the environment than the URL says."""
    monkeypatch.setenv("PGOPTIONS", "-c geqo=off")
    with pytest.raises(StoreUnavailable, match=r"JWTGATE_STORE: .*PGOPTIONS.*ignore_startup_parameters"):
        opened(pooler.url("transaction")).look_up([])


@pytest.mark.parametrize("mode", TRANSACTIONAL)
def test_isolation_of_the_role_is_told_behind_a_pooler(
    pooler: PgBouncer, opened: Callable[[str], Store], mode: str, running_databases: dict[str, Database]
) -> None:
    """Transactions bring their own, single statements cannot."""
    del running_databases
    with pooler.client("transaction") as admin:
        admin.execute("DROP ROLE IF EXISTS strict_one")
        admin.execute("CREATE ROLE strict_one LOGIN SUPERUSER")
        admin.execute("ALTER ROLE strict_one SET default_transaction_isolation TO 'serializable'")
    try:
        store = opened(pooler.url(mode, "strict_one"))
        eventually(lambda: store.look_up([]))
        told = [weakness for weakness in store.audit() if weakness.severity == "problem"]
        assert len(told) == 1 and told[0].remedy.startswith("ALTER ROLE")
    finally:
        with pooler.client("transaction") as admin:
            admin.execute("DROP ROLE strict_one")


def test_pooler_that_pauses_or_goes_away_holds_nobody(
    running_databases: dict[str, Database], opened: Callable[[str], Store]
) -> None:
    """PAUSE, and its end: every call fails in time, and the first afterwards is answered."""
    required_pooler()
    place = urlsplit(emptied_database("postgresql", running_databases))
    assert place.port is not None and place.hostname is not None
    with PgBouncer(place.port, host=place.hostname, database=place.path.strip("/")) as pooler:
        store = opened(pooler.url("transaction"))
        eventually(lambda: store.look_up([]))
        for stop, go_on in (
            (lambda: pooler.say("PAUSE"), lambda: pooler.say("RESUME")),
            (pooler.stop, pooler.start),
        ):
            stop()
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                store.look_up([A])
            assert time.monotonic() - began < 2 * TIMEOUT_SECONDS + 0.5
            go_on()
            eventually(lambda: store.write([Change(A, revoked=True)], time.time()))
        pooler.say("RELOAD")
        assert store.look_up([A]).rulings[0] is not None
