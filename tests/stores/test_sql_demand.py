"""SQL stores where the server has fewer connections than all processes would take."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest
from conftest import emptied_database
from servers import WATCH

from jwtgate import Gate, Settings
from jwtgate.core.rulings import Change
from jwtgate.stores import open_store
from jwtgate.stores.sql import demand
from jwtgate.stores.sql.demand import Demand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from databases import Database

A = b"\x01" * 16


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


def together(calls: Sequence[Callable[[], object]]) -> None:
    """Each in a thread of its own."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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
        failures: list[Exception] = []

        def ask() -> None:
            for _ in range(5):
                try:
                    store.write([Change(A, revoked=True)], time.time())
                except Exception as error:  # noqa: BLE001 - all are counted
                    failures.append(error)

        together([ask] * 8)
        assert not failures


@pytest.mark.server
def test_last_of_four_workers_follows_on_five_connections(limited: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others let go of what they needed once: no worker is without a lease for good."""
    monkeypatch.setattr(demand, "WINDOW_SECONDS", 0.3)
    settings = Settings(secret="of-a-test-kT0Zb8yqW3vXrLm5Jd7uHf2", store=limited, prefix="jwtgate_five")
    with ExitStack() as stack:
        gates = [stack.enter_context(closing(Gate(settings))) for _ in range(4)]
        assert gates[0].ready(20.0)
        together([partial(gates[0].issue, "alice")] * 16)  # all the connections that there are
        together([partial(gate.ready, 20.0) for gate in gates])
        assert [gate.ready(1.0) for gate in gates] == [True] * 4
