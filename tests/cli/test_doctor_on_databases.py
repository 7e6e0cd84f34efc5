"""``jwtgate doctor`` where the store is an SQL database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from cli.commanding import run
from conftest import emptied_database

if TYPE_CHECKING:
    from pathlib import Path

    from databases import Database


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
