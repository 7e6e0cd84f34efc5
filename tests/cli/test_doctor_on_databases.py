"""``jwtgate doctor`` where the store is an SQL database."""

from __future__ import annotations

import json
import shlex
import sqlite3
from contextlib import closing
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
import redis
from cli.commanding import run
from conftest import emptied_database, emptied_url
from servers import missing
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from jwtgate import Settings
from jwtgate.cli import examining
from jwtgate.core.history import Watch, Worker
from jwtgate.stores import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from databases import Database

SERVER = pytest.mark.server


def finding(**settings: str) -> dict[str, Any]:
    """The one problem that is found."""
    ended = run("doctor", "--json", **settings)
    problems = [each for each in json.loads(ended.stdout) if each["severity"] == "problem" and "SECRET" not in each["about"]]
    assert (ended.returncode, len(problems), ended.stderr) == (1, 1, "")
    assert "w0rd" not in ended.stdout
    return problems[0]


def test_tables_of_a_newer_version_are_no_store_that_cannot_be_reached(tmp_path: Path) -> None:
    """Another URL would mend nothing."""
    url = f"sqlite:///{tmp_path}/store.db"
    run("migrate", STORE=url)
    with closing(sqlite3.connect(tmp_path / "store.db")) as connection, connection:
        connection.execute("UPDATE jwtgate_meta SET version = 7")
    found = finding(STORE=url, AUDIENCE="api")
    assert "reached" not in found["problem"] and "7" in found["problem"]
    assert "upgrade" in found["remedy"]


@pytest.mark.server
def test_database_that_does_not_let_us_in_is_one_problem(running_databases: dict[str, Database]) -> None:
    """The remedy is another user or database, not a store that is running."""
    url = emptied_database("postgresql", running_databases)
    for wrong in (url.replace("//postgres@", "//nobody:s3cr3t-w0rd@"), url.replace("/jwtgate", "/elsewhere")):
        found = finding(STORE=wrong, AUDIENCE="api")
        assert "does not let us in" in found["problem"] and "running" not in found["remedy"]


@pytest.mark.parametrize(
    "kind", ["sqlite", *(pytest.param(name, marks=SERVER) for name in ("postgresql", "mariadb", "valkey"))]
)
def test_killed_worker_of_endless_reach_is_taken_off_the_list(kind: str, request: pytest.FixtureRequest) -> None:
    """``ON_STORE_DOWN=admit``: nobody can tell it from one that is cut off, and receipts wait for it until somebody does.

    The line is for the store that it is; a name that is none of ours is in no line.
    """
    url = emptied_url(kind, request)
    with closing(open_store(url, prefix="jwtgate", watch=Watch(0.1, inf))) as store:
        for name in ("-killed_1", "$(reboot)'"):
            with closing(store.feed()) as feed:
                feed.renew(Worker(name, inf, 0, 1, is_healing=False), None)
        (found,) = examining._watch(store, 0.1).weaknesses(Settings(secret="x" * 32, store=url, lease=0.1))
        assert "-killed_1" in found.problem
        if kind == "valkey":
            with closing(redis.from_url(url)) as client:
                assert client.execute_command(*shlex.split(found.remedy)) == 1
        else:
            with create_engine(url, poolclass=NullPool).begin() as connection:
                assert connection.exec_driver_sql(found.remedy).rowcount == 1
        assert [worker.name for worker in store.workers()[2]] == ["$(reboot)'"]


@pytest.mark.server
def test_role_that_only_reads_is_told_with_the_line_that_mends_it(running_databases: dict[str, Database]) -> None:
    """Before there are tables, too: the server is running, and another URL would mend nothing."""
    url = emptied_database("postgresql", running_databases)
    if "postgresql" not in running_databases:
        missing("roles of a PostgreSQL of one's own")
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in ("CREATE ROLE reads LOGIN SUPERUSER", "ALTER ROLE reads SET default_transaction_read_only = on"):
            connection.exec_driver_sql(statement)
        try:
            store = url.replace("//postgres@", "//reads@")
            found = examining.examine({"JWTGATE_SECRET": "x" * 32, "JWTGATE_STORE": store, "JWTGATE_PREFIX": "absent"}).findings
        finally:
            connection.exec_driver_sql("DROP ROLE reads")
    assert any(each.remedy.startswith("ALTER ROLE <the gate's user> SET default_transaction_read_only = off") for each in found)
