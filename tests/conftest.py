"""Servers and stores that many modules share. A server lives as long as the run; each test finds it empty."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import hypothesis
import pytest
from asking import pytest_configure, pytest_runtest_makereport  # noqa: F401
from databases import DATABASES, OWN, REQUIRE_ALL, Database, empty
from servers import WATCH, Server, binary_of, valkey_binary
from topologies import PATIENT, ClusterGroup, SentinelGroup

from jwtgate import Gate, Settings
from jwtgate.core.history import Watch
from jwtgate.stores import Feed, Store, open_store
from jwtgate.stores.contract import Migrating
from jwtgate.stores.sql import engine, mysql, postgresql
from jwtgate.stores.sql.dialects import TIMEOUT_SECONDS
from jwtgate.stores.sql.engine import Lines
from jwtgate.stores.sql.journal import SqlJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


hypothesis.settings.register_profile("jwtgate", deadline=None)  # a busy machine is no fault of an example
hypothesis.settings.load_profile("jwtgate")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Side by side where all is asked for: tests of processes mostly wait. Not on a database that the runs would share."""
    is_all = not config.invocation_params.args or config.args == config.getini("testpaths")
    return min(4, (os.cpu_count() or 1) + 2) if is_all and not any(map(os.environ.get, OWN.values())) else 0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why tests were asked once more (``only_rerun``): one that needs it often waits for something that does not come."""
    for report in terminalreporter.getreports("rerun"):
        said = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
        terminalreporter.write_line(f"ASKED AGAIN {report.nodeid}: {' | '.join(said[:2])}")


SQL_SERVERS = [pytest.param(name, marks=pytest.mark.server) for name in DATABASES]
SERVERS = [pytest.param(name, marks=pytest.mark.server) for name in ("valkey", "redis")]
GROUPS = [pytest.param(name, marks=pytest.mark.server) for name in ("sentinel", "cluster")]


@pytest.fixture(scope="session")
def running_servers() -> Iterator[dict[str, Server]]:
    """Started when first asked for, by name."""
    servers: dict[str, Server] = {}
    yield servers
    for server in servers.values():
        server.close()


def emptied(name: str, running: dict[str, Server]) -> Server:
    """The shared server of that name, without data and with its usual settings."""
    if name not in running:
        running[name] = Server(binary_of(name)).start()
    server = running[name]
    with server.client() as client:
        client.flushall()
    return server


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, running_servers: dict[str, Server]) -> Server:
    """An empty Valkey, then an empty Redis. Not to be stopped or reconfigured: see ``own_server``."""
    return emptied(request.param, running_servers)


@pytest.fixture(params=SERVERS)
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server for this test alone, not yet started: to be restarted, paused, reconfigured."""
    server = Server(binary_of(request.param))
    yield server
    server.close()


@pytest.fixture(scope="session")
def sentinel_group() -> Iterator[SentinelGroup]:
    """Valkey behind Sentinels; no test may move its master. A starved machine must not make it refuse."""
    with SentinelGroup(valkey_binary(), *PATIENT, down_after_ms=30_000) as group:
        yield group


@pytest.fixture(scope="session")
def cluster_group() -> Iterator[ClusterGroup]:
    """A Valkey cluster; no test may move its slots."""
    with ClusterGroup(valkey_binary(), node_timeout_ms=15_000) as group:
        yield group


@pytest.fixture(scope="session")
def running_databases() -> Iterator[dict[str, Database]]:
    """Started when first asked for, by name."""
    databases: dict[str, Database] = {}
    yield databases
    for database in databases.values():
        database.close()


def required(name: str) -> type[Database]:
    """What starts such a database; skips loudly where it is not installed, fails where everything must be."""
    missing = DATABASES[name].missing()
    if missing is None:
        return DATABASES[name]
    text = f"{name.upper()} NOT TESTED: no {missing} on this machine"
    assert os.environ.get(REQUIRE_ALL) != "1", text
    pytest.skip(text)


def emptied_database(name: str, running: dict[str, Database]) -> str:
    """The URL of the shared database of that name, or of the one in the environment, its tables without rows."""
    url = os.environ.get(OWN[name])
    if url is None:
        if name not in running:
            running[name] = required(name)()
        if not running[name].is_running:  # MariaDB has been seen to end by a fault of its own
            running[name].start()
        url = running[name].url
    empty(url)
    store = open_store(url, prefix="jwtgate", watch=WATCH)
    assert isinstance(store, Migrating)
    store.migrate()  # patiently: no test is about how fast a crowded machine makes tables
    store.close()
    return url


@pytest.fixture(params=DATABASES)
def own_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database server for this test alone, not yet started: to be restarted, paused, reconfigured."""
    database = required(request.param)()
    yield database
    database.close()


def sql_url(kind: str, folder: Path, running: dict[str, Database]) -> str:
    """Of an empty SQL database of that kind."""
    return f"sqlite:///{folder}/store.db" if kind == "sqlite" else emptied_database(kind, running)


@pytest.fixture(params=["sqlite", *SQL_SERVERS])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, running_databases: dict[str, Database]) -> str:
    """Of an empty SQL database of each kind; not to be stopped."""
    return sql_url(request.param, tmp_path, running_databases)


@pytest.fixture
def unhurried_sql(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL servers wait for us for ten times as long: on a busy machine a test may stand still between two statements.

    Its server would rightly throw it out; what is asked here is what a store answers, not when.
    """
    for ask in (Lines.ask, Lines.ask_own, SqlJournal._ask):  # noqa: SLF001
        monkeypatch.setitem(ask.__kwdefaults__, "seconds", 10 * TIMEOUT_SECONDS)
    monkeypatch.setattr(engine, "TIMEOUT_SECONDS", 10 * TIMEOUT_SECONDS)
    for name, milliseconds in postgresql.LIMITS.items():
        monkeypatch.setitem(postgresql.LIMITS, name, 10 * milliseconds)
    for name in ("LOCK_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(mysql, name, 10 * getattr(mysql, name))


@pytest.fixture
def sql_store(database_url: str, unhurried_sql: None) -> Iterator[Store]:  # noqa: ARG001
    """A store on ``database_url``."""
    store = open_store(database_url, prefix="jwtgate", watch=WATCH)
    yield store
    store.close()


def emptied_url(name: str, request: pytest.FixtureRequest) -> str:
    """Of an empty store of that kind."""
    if name == "memory":
        return "memory://"
    if name in ("sqlite", *DATABASES):
        return sql_url(name, request.getfixturevalue("tmp_path"), request.getfixturevalue("running_databases"))
    if name in ("sentinel", "cluster"):
        group: SentinelGroup | ClusterGroup = request.getfixturevalue(f"{name}_group")
        group.flush()
        return group.url
    return emptied(name, request.getfixturevalue("running_servers")).url


@pytest.fixture(params=["memory", *SERVERS, *GROUPS, "sqlite", *SQL_SERVERS])
def store(request: pytest.FixtureRequest, unhurried_sql: None) -> Iterator[Store]:  # noqa: ARG001
    """An empty store of each kind."""
    url = emptied_url(request.param, request)
    store = open_store(url, prefix="jwtgate", watch=WATCH)
    yield store
    store.close()


@pytest.fixture
def feed(store: Store) -> Iterator[Feed]:
    """A follower's end of ``store``."""
    feed = store.feed()
    yield feed
    feed.close()


@pytest.fixture
def server_store(server: Server) -> Iterator[Store]:
    """A store on ``server``."""
    store = open_store(server.url, prefix="jwtgate", watch=WATCH)
    yield store
    store.close()


@pytest.fixture
def gates(own_server: Server, tmp_path: Path) -> Iterator[Callable[..., Gate]]:
    """Makes gates on one server and one journal, each with a view, a follower and connections of its own."""
    own_server.start()
    with ExitStack() as stack:

        def make(**settings: object) -> Gate:
            named: dict[str, object] = {
                "secret": "the secret of an application, of more than thirty-two bytes",
                "store": own_server.url,
                "journal": f"sqlite:///{tmp_path}/journal.sqlite",
                "lease": 0.3,
            }
            gate = Gate(Settings(**{**named, **settings}))  # type: ignore[arg-type]
            stack.callback(gate.close)
            return gate

        yield make
