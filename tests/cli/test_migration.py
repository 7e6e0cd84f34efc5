"""``jwtgate migrate``: the tables of an SQL store, made before anybody needs them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cli.commanding import run
from servers import free_port
from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from pathlib import Path


def test_tables_are_made_once(tmp_path: Path) -> None:
    """The first says that it made them, the second that they are there; a gate then finds them."""
    url = f"sqlite:///{tmp_path}/store.db"
    first, second = run("migrate", STORE=url), run("migrate", STORE=url)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "made" in first.stdout and "already" in second.stdout
    told = run("migrate", "--json", STORE=url)
    assert json.loads(told.stdout) == {"before": 2, "after": 2}
    assert run("revoke", "--sub", "alice", STORE=url).returncode == 0


def test_json_tells_that_there_was_nothing(tmp_path: Path) -> None:
    """``before`` is null."""
    told = run("migrate", "--json", STORE=f"sqlite:///{tmp_path}/store.db", PREFIX="other.app")
    assert (told.returncode, json.loads(told.stdout)) == (0, {"before": None, "after": 2})


def test_older_layout_is_brought_up_to_date_and_who_cannot_read_it_now_is_named(tmp_path: Path) -> None:
    """Workers that still run an earlier version refuse what they do not know: whoever migrates must hear of it."""
    url = f"sqlite:///{tmp_path}/store.db"
    run("migrate", STORE=url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE jwtgate_marks"))
        connection.execute(text("UPDATE jwtgate_meta SET version = 1"))
    engine.dispose()
    told = run("migrate", STORE=url)
    assert told.returncode == 0, told.stderr
    assert "of layout version 1" in told.stdout and "503" in told.stdout


def test_newer_layout_is_one_clear_line(tmp_path: Path) -> None:
    """It is left as it is, with status 1."""
    url = f"sqlite:///{tmp_path}/store.db"
    run("migrate", STORE=url)
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE jwtgate_meta SET version = 7"))
    engine.dispose()
    told = run("migrate", STORE=url)
    assert told.returncode == 1
    assert "JWTGATE_STORE" in told.stderr and "7" in told.stderr and len(told.stderr.splitlines()) == 1


def test_tables_of_a_journal_are_made(tmp_path: Path) -> None:
    """Redis is not asked for anything."""
    url = f"sqlite:///{tmp_path}/journal.db"
    settings = {"STORE": f"redis://127.0.0.1:{free_port()}", "JOURNAL": url}
    first, second = run("migrate", **settings), run("migrate", "--json", **settings)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "made" in first.stdout and json.loads(second.stdout) == {"before": 1, "after": 1}


@pytest.mark.parametrize("store", ["", "redis://localhost"])
def test_store_without_tables_is_wrong_usage(store: str) -> None:
    """Status 2, and nothing is connected to."""
    told = run("migrate", STORE=store)
    assert told.returncode == 2 and "JWTGATE_STORE" in told.stderr


@pytest.mark.parametrize("strict", ["", "1"])
@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "mariadb+pymysql"])
def test_unreachable_database_is_one_clear_line(scheme: str, strict: str) -> None:
    """Without the password, with status 1."""
    told = run("migrate", STORE=f"{scheme}://me:hunter2pw@127.0.0.1:{free_port()}/gate", STRICT=strict)
    assert told.returncode == 1
    assert len(told.stderr.splitlines()) == 1 and "JWTGATE_STORE" in told.stderr
    assert "hunter2pw" not in told.stderr + told.stdout
