"""Processes whose clocks are seconds apart: the order is the change log's, not the clocks'."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from processes.gates import ShiftedClock, heal, started
from processes.world import SECRET, python_path, wait_until

from jwtgate.errors import Expired, InvalidToken, Revoked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Server

    from jwtgate import Gate

pytestmark = pytest.mark.server

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
OFFSETS = (-5.0, 0.0, 5.0)


@pytest.fixture(scope="module")
def server(module_valkey: Server) -> Server:
    """Healed already."""
    heal(module_valkey)
    return module_valkey


@pytest.fixture(scope="module")
def gates(server: Server) -> Iterator[list[Gate]]:
    """Three processes: one 5 s behind, one right, one 5 s ahead."""
    with ExitStack() as stack:
        yield [stack.enter_context(started(server.url, clock=ShiftedClock(offset))) for offset in OFFSETS]


CUTS: dict[str, dict[str, Any]] = {
    "sub": {"sub": "alice"},
    "tenant": {"claim": ("tenant", "acme")},
    "client_id": {"claim": ("client_id", "web")},
    "everything": {"everything": True},
}


def issued_by(gates: list[Gate]) -> list[str]:
    """A token of each, for the same subject, tenant and client."""
    return [gate.issue("alice", claims={"tenant": "acme", "client_id": "web"}) for gate in gates]


def assert_dead(gates: list[Gate], tokens: list[str]) -> None:
    """On every worker."""
    for gate in gates:
        for token in tokens:
            with pytest.raises(Revoked):
                gate.verify(token)


def assert_alive(gates: list[Gate], tokens: list[str]) -> None:
    """On every worker, whatever its clock says of iat."""
    for gate in gates:
        for token in tokens:
            assert str(gate.verify(token).subject).startswith("alice")


@pytest.mark.parametrize("target", CUTS)
@pytest.mark.parametrize("revoker", range(len(OFFSETS)))
def test_cut_off_kills_what_was_before_and_nothing_after(gates: list[Gate], target: str, revoker: int) -> None:
    """Whoever revokes, and whoever issues right afterwards."""
    before = issued_by(gates)
    assert_alive(gates, before)
    receipt = gates[revoker].revoke(**CUTS[target], wait=True)
    after = issued_by(gates)
    assert receipt.effective_everywhere
    assert_dead(gates, before)
    assert_alive(gates, after)


def test_login_lives_in_the_second_of_the_logout(gates: list[Gate]) -> None:
    """threats.md 16: twenty times in a row, far more than one within each second."""
    began = time.monotonic()
    for turn in range(20):
        gate = gates[turn % len(gates)]
        before = gate.issue("alice")
        gates[(turn + 1) % len(gates)].revoke(sub="alice", wait=True)
        after = gates[(turn + 2) % len(gates)].issue("alice")
        assert_dead(gates, [before])
        assert_alive(gates, [after])
    assert time.monotonic() - began < 20, "more than a second a turn tests nothing"


def test_unstamped_token_is_dead_in_the_ambiguous_second(gates: list[Gate]) -> None:
    """Without a stamp the time decides, and the second of the cut-off is refused, never admitted."""
    receipt = gates[1].revoke(sub="alice", wait=True)
    token = jwt.encode({"sub": "alice", "iat": int(receipt.at), "exp": int(receipt.at) + 60}, SECRET, "HS256")
    assert_dead(gates, [token])


def test_session_of_suspensions_is_ordered_by_position(gates: list[Gate]) -> None:
    """A lift by a worker that is 10 s behind the one that suspended still lifts."""
    behind, right, ahead = gates
    subject = f"alice {time.monotonic_ns()}"  # whoever is left suspended by a failure is none of the next test's
    for _ in range(5):
        token = right.issue(subject)
        ahead.suspend(subject, wait=True)
        assert_dead(gates, [token])
        behind.reinstate(subject, wait=True)
        assert_alive(gates, [token])


def test_step_of_the_wall_clock_forgets_admitted_tokens(server: Server) -> None:
    """A deadline was made from the wall clock; after a step it is made anew."""
    clock = ShiftedClock()
    with started(server.url, clock=clock) as gate:
        token = gate.issue("alice", ttl=60)
        gate.verify(token)
        clock.seconds = 50.0
        assert gate.verify(token)
        clock.seconds = 59.9 + 10.0

        def is_expired() -> bool:
            try:
                gate.verify(token)
            except Expired:
                return True
            return False

        wait_until(is_expired, 10.0, "the token is expired by the new time")


@pytest.mark.parametrize("offset", ["-5s", "+5s"])
def test_process_under_another_time_issues_tokens_that_live(server: Server, offset: str) -> None:
    """The same with a real process whose every clock call is shifted."""
    if not FAKETIME.exists():
        pytest.skip("CLOCK OF A WHOLE PROCESS NOT TESTED: libfaketime is not installed")
    program = (
        "import json, sys, time\nfrom jwtgate import Gate, Settings\n"
        "gate = Gate(Settings(**json.loads(sys.argv[1])))\n"
        "before = gate.issue('alice')\nreceipt = gate.revoke(sub='alice', wait=True)\nafter = gate.issue('alice')\n"
        "gate.verify(after)\n"
        "print(json.dumps([before, after, receipt.effective_everywhere, time.time()]))\ngate.close()\n"
    )
    with started(server.url) as gate:
        own_before = gate.issue("alice")
        gate.verify(own_before)
        answer = subprocess.run(
            [sys.executable, "-c", program, json.dumps({"secret": SECRET, "store": server.url})],
            env={**os.environ, "PYTHONPATH": python_path(), "LD_PRELOAD": str(FAKETIME), "FAKETIME": offset},
            capture_output=True,
            check=True,
            timeout=60,
        )
        before, after, is_everywhere, its_time = json.loads(answer.stdout)
        assert abs(its_time - time.time()) > 2, "the clock was not shifted"
        assert is_everywhere
        assert_dead([gate], [own_before, before])
        assert_alive([gate], [after, gate.issue("alice")])
        with pytest.raises(InvalidToken):
            gate.verify(after[:-4] + "AAAA")
