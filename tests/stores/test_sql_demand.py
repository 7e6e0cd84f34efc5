"""SQL stores where the server has fewer connections than all processes would take."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest
from beside import together
from conftest import emptied_database
from servers import WATCH

from jwtgate.core.history import Worker
from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import open_store
from jwtgate.stores.sql import demand
from jwtgate.stores.sql.demand import Demand, scarcity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from databases import Database

    from jwtgate.stores import Store

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


@pytest.mark.parametrize(
    ("most", "workers", "severities"), [(None, 4, []), (5, 0, []), (36, 4, []), (35, 4, ["hint"]), (4, 4, ["problem"])]
)
def test_scarcity_is_told_with_the_number_needed(most: int | None, workers: int, severities: list[str]) -> None:
    """Fewer than the workers follow on is no advice any more."""
    told = list(scarcity(most, workers))
    assert [weakness.severity for weakness in told] == severities
    assert all(str(9 * workers) in weakness.remedy for weakness in told)


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


def at_once(store: Store, lines: int) -> None:
    """A burst of so many."""
    if lines:
        store._lines.ask(lambda _: at_once(store, lines - 1))  # type: ignore[attr-defined]
