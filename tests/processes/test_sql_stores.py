"""Gates in several processes on SQLite, PostgreSQL and MariaDB: the promise holds there as it does on Redis."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from processes.gates import answer_of, judged, started
from processes.world import SECRET, World, ended, python_path, wait_until
from sqlalchemy import create_engine, text

from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jwtgate import Gate

pytestmark = pytest.mark.server

SECONDS = 6.0

OTHER = """
import sys
from jwtgate import Gate, Settings
from processes.gates import answer_of
gate = Gate(Settings(secret=sys.argv[2], store=sys.argv[1]))
assert gate.ready(15.0), gate.status()
print("ready", flush=True)
for line in sys.stdin:
    print(answer_of(gate, line.strip()), flush=True)
gate.close()
"""


class Other:
    """A gate in another process, asked for verdicts."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER, url, SECRET],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": python_path()},
        )

    def line(self) -> str:
        """The next thing it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def answer(self, token: str) -> str:
        """Its verdict; raises as ``judged``."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{token}\n")
        self.process.stdin.flush()
        verdict = self.line()
        if verdict == "unavailable":
            raise StoreUnavailable("so says the other process")
        return verdict


@pytest.fixture
def other(database_url: str) -> Iterator[Other]:
    """Ready."""
    other = Other(database_url)
    try:
        assert other.line() == "ready"
        yield other
    finally:
        assert other.process.stdin is not None and other.process.stdout is not None
        other.process.stdin.close()
        status = ended(other.process, 20.0)
        other.process.stdout.close()
    assert status == 0


def test_revocation_holds_in_the_other_process_with_its_receipt(database_url: str, other: Other) -> None:
    """With ``wait`` the receipt is effective everywhere, and the next request there is refused from memory."""
    with started(database_url) as gate:
        tokens = [gate.issue(f"user-{number}") for number in range(5)]
        for number, token in enumerate(tokens):
            assert judged(gate, token) == other.answer(token) == "admitted"
            receipt = gate.revoke(sub=f"user-{number}", wait=True)
            assert receipt.effective_everywhere and receipt.workers == 2
            assert other.answer(token) == judged(gate, token) == "refused"
        fresh = gate.issue("user-0")
        assert judged(gate, fresh) == other.answer(fresh) == "admitted"
        assert gate.status().store == "up"


def test_no_request_passes_after_its_receipt_in_any_process(database_url: str) -> None:
    """Revocations of every kind from two processes, requests in three others: nobody sees an error or a violation."""
    with World(lease=2.0, rate=30.0) as world:
        for index in range(3):
            world.start_worker(f"worker-{index}", ("asgi", "wsgi")[index % 2], database_url)
        world.start_revokers(2, database_url)
        world.go()
        time.sleep(SECONDS)
        wait_until(lambda: len(world.calls()) > 100, 60.0, "revocations go on")
        world.sweep()
        world.stop()
        found = world.check()
        assert found.violations == [], "\n".join(found.violations[:5])
        calls = world.calls()
        failed = [call for call in calls if "error" in call or "returned" not in call]
        assert failed == [], f"{len(failed)} of {len(calls)} calls failed: {json.dumps(failed[:3])}"
        assert all(call["everywhere"] for call in calls if call["wait"])
        assert found.tested_kills > 20


def execute(url: str, *statements: str) -> None:
    """All in one transaction."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def healed(gate: Gate, before: str) -> None:
    """Until the gate follows another epoch than ``before``."""
    wait_until(
        lambda: gate.view.parts[0].epoch != before and gate.status().live and gate.store.look_up([]).epoch.is_healed,
        20.0,
        f"a new epoch is healed; {gate.status()}",
    )


def test_what_the_database_lost_comes_back_from_a_process(database_url: str) -> None:
    """L1: all rows are gone; the one process that knew writes its rulings back, and refuses all the while."""
    with started(database_url, lease=0.5) as gate:
        token, other = gate.issue("alice"), gate.issue("bob")
        gate.revoke(token=token, wait=True)
        assert judged(gate, other) == "admitted"
        before = gate.view.parts[0].epoch
        tables = ("meta", "rulings", "log", "workers", "sessions")
        execute(database_url, *[f"DELETE FROM jwtgate_{name}" for name in tables])
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            assert answer_of(gate, token) == "refused"
        healed(gate, before)
        with started(database_url, lease=0.5) as fresh:
            assert judged(fresh, token) == "refused"
            assert judged(fresh, gate.issue("carol")) == "admitted"


def test_restored_backup_is_found_by_position_and_link(database_url: str) -> None:
    """H2: an older state under the same server is a fork to whoever followed; what it had lost is written back."""
    kept = ("meta", "rulings", "log")
    with started(database_url, lease=0.5) as gate:
        early, late = gate.issue("alice"), gate.issue("bob")
        gate.revoke(token=early, wait=True)
        try:
            execute(database_url, *[f"CREATE TABLE kept_{name} AS SELECT * FROM jwtgate_{name}" for name in kept])
            end = gate.revoke(token=late, wait=True).position
            wait_until(lambda: gate.status().position == end, 10.0, "the follower has read it, and not only its writer")
            before = gate.view.parts[0].epoch
            restoring = [
                statement
                for name in kept
                for statement in (f"DELETE FROM jwtgate_{name}", f"INSERT INTO jwtgate_{name} SELECT * FROM kept_{name}")
            ]
            execute(database_url, *restoring)
            healed(gate, before)
            assert judged(gate, late) == "refused"
            with started(database_url, lease=0.5) as fresh:
                assert judged(fresh, early) == judged(fresh, late) == "refused"
        finally:
            execute(database_url, *[f"DROP TABLE IF EXISTS kept_{name}" for name in kept])
