"""SQL stores where the server has fewer connections than all processes would take."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from beside import beside, together
from conftest import emptied_database
from hypothesis import given
from hypothesis import strategies as st
from servers import WATCH

from jwtgate.core.history import Worker
from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import open_store
from jwtgate.stores.sql import demand
from jwtgate.stores.sql.demand import Demand, fair_share, scarcity
from jwtgate.stores.sql.dialects import MAX_LINES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from databases import Database

    from jwtgate.stores import Store
    from jwtgate.stores.sql.line import Line

A = b"\x01" * 16
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)


def test_peak_of_a_window_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is still at work counts into the next one."""
    monkeypatch.setattr(demand, "WINDOW_SECONDS", 0.0)
    seen = Demand()
    with seen:
        with seen:
            assert seen.peak() == 2
        assert seen.peak() == 2
        assert seen.peak() == 1
    assert (seen.peak(), seen.peak()) == (1, 0)
    monkeypatch.setattr(demand, "WINDOW_SECONDS", 60.0)
    assert seen.peak() == 0 and seen.peak() is None


def test_waiting_ends_with_a_call_or_the_deadline() -> None:
    """A call that ended since the count was read is no reason to wait."""
    seen = Demand()
    with seen:
        returned = seen.returned
        assert not seen.wait(returned, time.monotonic())
        with seen:
            pass
        assert seen.wait(returned, time.monotonic())
        later = threading.Timer(0.05, lambda: seen.__exit__())
        seen.__enter__()
        later.start()
        assert seen.wait(seen.returned, time.monotonic() + 10.0)
        later.join()


def test_nobody_waits_where_all_do() -> None:
    """Each would wait for another who has nothing to give back."""
    seen, until = Demand(), time.monotonic() + 60.0

    def wait() -> None:
        with seen:
            assert seen.wait(seen.returned, until)

    with seen, beside(wait):
        while not seen._waiting:
            assert time.monotonic() < until, "nobody waits"
        assert not seen.wait(seen.returned, until)
        with seen:
            assert time.monotonic() < until


@pytest.mark.parametrize(
    ("most", "workers", "severities"), [(None, 4, []), (5, 0, []), (36, 4, []), (35, 4, ["hint"]), (4, 4, ["problem"])]
)
def test_scarcity_is_told_with_the_number_needed(most: int | None, workers: int, severities: list[str]) -> None:
    """Fewer than the workers follow on is no advice any more."""
    told = list(scarcity(most, workers))
    assert [weakness.severity for weakness in told] == severities
    assert all(str(9 * workers) in weakness.remedy for weakness in told)


@given(most=st.integers(0, 300), workers=st.integers(1, 40))
def test_shares_leave_room_for_one_worker_more(most: int, workers: int) -> None:
    """One connection to follow on and one for requests, as long as there are two for each."""
    share = fair_share(most, workers)
    assert 1 <= share <= MAX_LINES
    if most >= 2 * (workers + 1):
        assert workers * (share + 1) + 2 <= most
    if share < MAX_LINES:
        assert workers * (share + 2) + 2 > most


@pytest.mark.parametrize(("most", "workers"), [(None, 400), (38, 4), (11, 1), (11, 0)])
def test_nobody_goes_short_where_there_are_enough(most: int | None, workers: int) -> None:
    """Or where nobody tells."""
    assert fair_share(most, workers) == MAX_LINES


def test_connection_that_is_taken_while_the_free_ones_go_is_closed(tmp_path: Path) -> None:
    """Given back to a pool that nobody uses any more, it would stay open."""
    with closing(open_store(f"sqlite:///{tmp_path}/store.db", prefix="jwtgate", watch=WATCH)) as store:
        store.look_up([])
        lines: Any = store._lines  # type: ignore[attr-defined]
        is_taken, may_end, taken = threading.Event(), threading.Event(), list[Any]()
        dispose = lines._engine.dispose

        def take(line: Line) -> None:
            taken.append(line)
            is_taken.set()
            assert may_end.wait(60.0)

        def late() -> None:
            assert is_taken.wait(60.0)
            dispose()

        with beside(lambda: lines.ask(take), end=may_end.set), pytest.MonkeyPatch.context() as patch:
            patch.setattr(lines._engine, "dispose", late)
            lines._dispose()
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            taken[0]._raw.execute("SELECT 1")


@pytest.mark.server
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_audit_counts_connections(name: str, running_databases: dict[str, Database]) -> None:
    """By the server's own limit, here of 200."""
    with closing(open_store(emptied_database(name, running_databases), prefix="jwtgate", watch=WATCH)) as store:
        feed = store.feed()
        for place in range(23):
            feed.renew(Worker(str(place), 1.0, -1, 1, is_healing=False), None)
        (told,) = store.audit()
        assert told.severity == "hint" and "23 workers" in told.problem and "207" in told.remedy
        feed.close()


@pytest.fixture
def limited(running_databases: dict[str, Database]) -> Iterator[str]:
    """The URL of a user who gets five connections."""
    url = emptied_database("postgresql", running_databases)
    plain = url.replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as admin:
        admin.execute("CREATE USER five CONNECTION LIMIT 5")
        admin.execute("GRANT ALL ON SCHEMA public TO five")
        yield url.replace("postgres@", "five@")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'five'")
        admin.execute("DROP OWNED BY five")
        admin.execute("DROP USER five")


@pytest.mark.server
def test_requests_share_the_connections_that_there_are(limited: str, unhurried_sql: None) -> None:  # noqa: ARG001
    """Refused a sixth, a call waits for one of the five."""
    with closing(open_store(limited, prefix="jwtgate_five", watch=WATCH)) as store:
        store.look_up([])
        assert "5 connections" in str(list(scarcity(store._lines.dialect.most_lines(store._inquire), 1))[0])  # type: ignore[attr-defined]
        failures: list[Exception] = []

        def ask() -> None:
            for _ in range(5):
                try:
                    store.write([Change(A, revoked=True)], time.time())
                except Exception as error:  # noqa: BLE001 - all are counted
                    failures.append(error)

        together(*[ask] * 8)
        assert not failures


@pytest.mark.server
def test_worker_lets_go_of_connections_that_it_needed_once(
    limited: str,
    monkeypatch: pytest.MonkeyPatch,
    unhurried_sql: None,  # noqa: ARG001
) -> None:
    """Else another one would be without a lease for good, long after the burst."""
    with (
        closing(open_store(limited, prefix="jwtgate_five", watch=WATCH)) as store,
        closing(open_store(limited, prefix="jwtgate_five", watch=WATCH)) as other,
    ):
        feed = store.feed()
        feed.renew(WORKER, None)
        at_once(store, 4)
        with pytest.raises(StoreUnavailable, match="no connection left"):
            other.feed().renew(WORKER, None)
        monkeypatch.setattr(store._lines._demand, "_until", 0.0)  # type: ignore[attr-defined]
        feed.renew(WORKER, None)
        with pytest.raises(StoreUnavailable, match="no connection left"):
            other.feed().renew(WORKER, None)
        monkeypatch.setattr(store._lines._demand, "_until", 0.0)  # type: ignore[attr-defined]
        feed.renew(WORKER, None)
        late = other.feed()
        late.renew(WORKER, None)
        late.close()
        feed.close()


@pytest.mark.server
def test_late_worker_gets_its_share_of_those_who_need_all(limited: str, unhurried_sql: None) -> None:  # noqa: ARG001
    """One connection to follow on and one to revoke with, though the calls of the first worker never cease; none of them fails."""
    is_over = threading.Event()
    with (
        closing(open_store(limited, prefix="jwtgate_five", watch=WATCH)) as store,
        closing(open_store(limited, prefix="jwtgate_five", watch=WATCH)) as late,
        closing(store.feed()) as feed,
        closing(late.feed()) as other,
    ):
        feed.renew(WORKER, None)
        at_once(store, 4)
        store.audit()

        def ask() -> None:
            while not is_over.is_set():
                store.look_up([A])

        with beside(*[ask] * 8, end=is_over.set):
            feed.renew(WORKER, None)
            until = time.monotonic() + 60.0
            while store._lines._engine.pool.checkedout() > 2:  # type: ignore[attr-defined]
                assert time.monotonic() < until, "it goes on with more"
            served(lambda: other.renew(Worker("late", 1.0, -1, 1, is_healing=False), None), until)
            served(lambda: late.write([Change(A, revoked=True)], time.time()), until)


def served(call: Callable[[], object], until: float) -> None:
    """The server counts a connection until it has seen it go."""
    while True:
        try:
            call()
        except StoreUnavailable:
            if time.monotonic() > until:
                raise
        else:
            return


@pytest.mark.server
def test_follower_comes_before_the_calls_of_its_process(limited: str, unhurried_sql: None) -> None:  # noqa: ARG001
    """It takes the next that is given back: as long as it does not follow, each request is another call."""
    order, all_have, may_end = list[str](), threading.Barrier(5 + 1), threading.Event()
    with closing(open_store(limited, prefix="jwtgate_five", watch=WATCH)) as store, closing(store.feed()) as feed:
        store.look_up([])
        lines: Any = store._lines  # type: ignore[attr-defined]

        def hold(_: object) -> None:
            all_have.wait(60.0)
            assert may_end.wait(60.0)

        def follow() -> None:
            lines.give_back(lines.own())
            order.append("followed")

        with beside(*[lambda: lines.ask(hold, seconds=60.0)] * 5, end=may_end.set):
            all_have.wait(60.0)
            with beside(follow):
                until = time.monotonic() + 60.0
                while lines._turns._most:
                    assert time.monotonic() < until, "calls go on"
                with beside(lambda: lines.ask(lambda _: order.append("asked"))):
                    while not lines._turns._waiting:
                        assert time.monotonic() < until, "a call does not wait"
                    may_end.set()
        assert order == ["followed", "asked"]


@pytest.mark.server
def test_call_waits_for_a_connection_of_the_pool_before(limited: str, unhurried_sql: None) -> None:  # noqa: ARG001
    """The server has none left until those of the pool that was let go of come back: that is no reason to fail."""
    all_have, may_end, answered = threading.Barrier(5 + 1), threading.Event(), list[object]()
    with closing(open_store(limited, prefix="jwtgate_five", watch=WATCH)) as store:
        store.look_up([])
        lines: Any = store._lines  # type: ignore[attr-defined]

        def hold(_: object) -> None:
            all_have.wait(60.0)
            assert may_end.wait(60.0)

        with beside(*[lambda: lines.ask(hold, seconds=60.0)] * 5, end=may_end.set):
            all_have.wait(60.0)
            lines._dispose()
            with beside(lambda: lines.ask(answered.append, seconds=60.0)):
                until = time.monotonic() + 60.0
                while not lines._demand._waiting:
                    assert time.monotonic() < until, "a call does not wait"
                may_end.set()
        assert len(answered) == 1


def at_once(store: Store, lines: int) -> None:
    """A burst of so many."""
    if lines:
        store._lines.ask(lambda _: at_once(store, lines - 1))  # type: ignore[attr-defined]
