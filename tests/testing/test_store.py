"""A store that fails when it is told to, and receipts that are incomplete."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from jwtgate.errors import Revoked, StoreUnavailable
from jwtgate.testing import gate

CALLS = {
    "revoke": lambda gate: gate.revoke(sub="alice"),
    "revoke and wait": lambda gate: gate.revoke(sub="alice", wait=True),
    "suspend": lambda gate: gate.suspend("alice"),
    "issue": lambda gate: gate.issue("alice"),
    "sessions.start": lambda gate: gate.sessions.start("alice"),
    "sessions.list": lambda gate: gate.sessions.list("alice"),
    "sessions.end_all": lambda gate: gate.sessions.end_all("alice"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_whatever_needs_the_store_raises_while_it_fails(call: Any) -> None:
    """W5: never a silent success; and once it is back all is as it was."""
    with gate() as fixture:
        before = fixture.status().rulings
        with fixture.faults.fail(), pytest.raises(StoreUnavailable):
            call(fixture)
        assert (fixture.status().rulings, fixture.status().live) == (before, True)
        call(fixture)


def test_failing_store_is_down_until_it_recovers() -> None:
    """R1: the lease is over at once, as after one of silence; what is known goes on refusing."""
    with gate() as fixture:
        token, revoked = fixture.token_for("alice"), fixture.token_for("bob")
        fixture.verify(token)
        fixture.revoke(sub="bob")
        fixture.faults.fail()
        assert (fixture.status().live, fixture.status().store) == (False, "down")
        with pytest.raises(StoreUnavailable):
            fixture.verify(token)
        with pytest.raises(Revoked):
            fixture.verify(revoked)
        fixture.faults.recover()
        assert (fixture.status().live, fixture.status().store) == (True, "up")
        assert fixture.verify(token).subject == "alice"


def test_admit_admits_what_signature_and_expiry_allow() -> None:
    """``ON_STORE_DOWN=admit``, of tokens never seen before."""
    with gate(on_store_down="admit") as fixture:
        token = fixture.token_for("alice")
        with fixture.faults.fail():
            assert fixture.verify(token).subject == "alice"


def test_store_that_fails_when_the_gate_is_closed_holds_nobody_up() -> None:
    """A test need not recover what it had fail."""
    with gate() as fixture:
        fixture.faults.fail()
        fixture.close()
        with pytest.raises(StoreUnavailable):
            fixture.revoke(sub="alice")


def test_worker_that_lags_makes_a_receipt_incomplete() -> None:
    """It may act on old knowledge for its reach, and is told of in ``effective_by``."""
    with gate() as fixture, fixture.faults.lag(5):
        receipt = fixture.revoke(sub="alice")
        assert (receipt.effective_everywhere, receipt.workers) == (False, 1)
        assert receipt.effective_by == fixture.clock.wall() + 5


def test_waiting_for_a_worker_that_lags_moves_the_clock() -> None:
    """W2: one full reach since the reply, which nobody has to sleep through."""
    with gate() as fixture, fixture.faults.lag(5):
        began = fixture.clock.wall()
        receipt = fixture.revoke(sub="alice", wait=True)
        assert receipt.effective_everywhere
        assert receipt.waited_seconds == pytest.approx(5, abs=0.1)
        assert fixture.clock.wall() - began == pytest.approx(5, abs=0.1)


def test_worker_of_unbounded_reach_is_never_waited_for() -> None:
    """``ON_STORE_DOWN=admit`` somewhere: no moment can be named; without that worker it is as ever."""
    with gate() as fixture:
        with fixture.faults.lag(inf):
            receipt = fixture.revoke(sub="alice", wait=True)
            assert (receipt.effective_everywhere, receipt.effective_by) == (False, None)
        assert fixture.revoke(sub="alice").effective_everywhere


@pytest.mark.parametrize("reach", [0, -1, float("nan"), True, "1"])
def test_reach_that_is_none_is_a_mistake(reach: Any) -> None:
    """Seconds, over 0."""
    with gate() as fixture, pytest.raises(ValueError, match="lag: reach_seconds must be a number over 0"):
        fixture.faults.lag(reach)


def test_two_that_lag_are_two() -> None:
    """The end of one block is not the end of the other."""
    with gate() as fixture, fixture.faults.lag(7):
        with fixture.faults.lag(9):
            assert fixture.revoke(sub="alice").effective_by == fixture.clock.wall() + 9
        assert fixture.revoke(sub="alice").effective_by == fixture.clock.wall() + 7
