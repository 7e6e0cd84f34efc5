"""Gates in several processes on SQLite, PostgreSQL and MariaDB: the promise holds there as it does on Redis."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from processes.gates import answer_of, started
from processes.world import SECRET, World, python_path

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        """Its verdict."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{token}\n")
        self.process.stdin.flush()
        return self.line()


@pytest.fixture
def other(database_url: str) -> Iterator[Other]:
    """Ready."""
    other = Other(database_url)
    assert other.line() == "ready"
    yield other
    other.process.communicate(timeout=20)
    assert other.process.returncode == 0


def test_revocation_holds_in_the_other_process_with_its_receipt(database_url: str, other: Other) -> None:
    """Design §4: with ``wait`` the receipt is effective everywhere, and the next request there is refused from memory."""
    with started(database_url) as gate:
        tokens = [gate.issue(f"user-{number}") for number in range(5)]
        for number, token in enumerate(tokens):
            assert answer_of(gate, token) == other.answer(token) == "admitted"
            receipt = gate.revoke(sub=f"user-{number}", wait=True)
            assert receipt.effective_everywhere and receipt.workers == 2
            assert other.answer(token) == answer_of(gate, token) == "refused"
        fresh = gate.issue("user-0")
        assert answer_of(gate, fresh) == other.answer(fresh) == "admitted"
        assert gate.status().store == "up"


def test_no_request_passes_after_its_receipt_in_any_process(database_url: str) -> None:
    """Revocations of every kind from two processes, requests in three others: nobody sees an error or a violation."""
    with World(lease=2.0, rate=30.0) as world:
        for index in range(3):
            world.start_worker(f"worker-{index}", ("asgi", "wsgi")[index % 2], database_url)
        world.start_revokers(2, database_url)
        world.go()
        time.sleep(SECONDS)
        world.sweep()
        world.stop()
        found = world.check()
        assert found.violations == [], "\n".join(found.violations[:5])
        calls = world.calls()
        assert [call for call in calls if "error" in call or "returned" not in call] == [], json.dumps(calls[-3:])
        assert all(call["everywhere"] for call in calls if call["wait"])
        assert found.tested_kills > 20
