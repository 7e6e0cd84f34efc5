"""A follower without a thread, and pauses without sleep."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from beside import together

from jwtgate.errors import Revoked, StoreUnavailable
from jwtgate.testing import FixtureGate, gate


def followers() -> list[threading.Thread]:
    """Threads that follow a store, of fixture gates or others."""
    return [each for each in threading.enumerate() if each.name == "jwtgate-follower" and each.is_alive()]


def test_gate_is_live_at_once_and_has_no_thread() -> None:
    """F1, F3 by the real plan, in the calling thread."""
    before = followers()
    with gate() as fixture:
        status = fixture.status()
        assert (status.live, status.complete, status.store, status.lease_left_seconds) == (True, True, "up", 1.0)
        assert set(followers()) <= set(before)


def test_what_is_written_is_followed_at_once() -> None:
    """F4: when a write returns its log entry has been read, so a token issued after it is remembered."""
    with gate() as fixture:
        for position in range(1, 4):
            receipt = fixture.revoke(jti=f"jti-{position}")
            assert receipt.position == fixture.status().position
            assert receipt.position.endswith(f":{position}")
        token = fixture.token_for("alice")
        fixture.verify(token)
        fixture.verify(token)
        assert fixture.status().hits == 1


def test_lease_is_whole_however_much_time_has_passed() -> None:
    """Outside of tests the follower renews it all the while."""
    with gate(lease=0.5) as fixture:
        for seconds in (0, 0.5, 0.75, 400, 86400 * 365):
            fixture.clock.advance(seconds)
            assert (fixture.status().live, fixture.status().lease_left_seconds) == (True, 0.5)


def test_more_rulings_than_one_read_takes_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand entries a read, and pauses between reads, which nobody sleeps through."""
    with gate() as fixture:
        token = fixture.token_for("alice")
        with monkeypatch.context() as patched:
            patched.setattr(fixture.store, "_written", lambda: None)  # so the gate hears of nothing
            for number in range(12_000):
                fixture.revoke(jti=f"jti-{number}")
            last = fixture.revoke(token=token)
        assert last.position != fixture.status().position
        fixture.clock.advance(0)
        assert (fixture.status().live, fixture.status().position) == (True, last.position)
        with pytest.raises(Revoked):
            fixture.verify(token)


def test_awaited_pauses_move_the_clock() -> None:
    """``ready`` and a receipt that is waited for, while the store fails or another worker lags: no loop sleeps."""

    async def wait(fixture: FixtureGate) -> None:
        began = fixture.clock.wall()
        with fixture.faults.lag(5):
            receipt = await fixture.aio.revoke(sub="alice", wait=True)
        assert receipt.effective_everywhere
        assert fixture.clock.wall() - began == pytest.approx(5, abs=0.1)
        with fixture.faults.fail():
            assert await fixture.aio.ready(3) is False
            with pytest.raises(StoreUnavailable):
                await fixture.aio.revoke(sub="alice")
        assert await fixture.aio.ready(3) is True
        await fixture.aio.close()

    with gate() as fixture:
        asyncio.run(asyncio.wait_for(wait(fixture), 30))


def test_calls_from_many_threads_are_followed() -> None:
    """Handlers that block run in threads: what any of them revoked is followed by the one plan."""
    with gate() as fixture:
        together(*[lambda name=name: [fixture.revoke(jti=f"{name}-{each}") for each in range(50)] for name in range(8)])
        status = fixture.status()
        assert (status.live, status.rulings, (status.position or "").rpartition(":")[2]) == (True, 400, "400")


def test_gate_that_was_closed_goes_on_with_the_next_use() -> None:
    """As the ASGI shell closes one at shutdown: the store has forgotten nothing."""
    with gate() as fixture:
        token, revoked = fixture.token_for("alice"), fixture.token_for("bob")
        fixture.revoke(sub="bob")
        fixture.close()
        fixture.close()
        assert not fixture.status().live
        assert fixture.verify(token).subject == "alice"
        assert fixture.status().live
        with pytest.raises(Revoked):
            fixture.verify(revoked)


def test_forked_child_has_a_gate_of_its_own() -> None:
    """As ever on memory://: it knows what was known, and goes its own way."""
    with gate() as fixture:
        token, revoked = fixture.token_for("alice"), fixture.token_for("bob")
        fixture.revoke(sub="bob")
        child = os.fork()
        if child == 0:
            try:
                fixture.verify(token)
                fixture.verify(revoked)
            except Revoked:
                os._exit(0 if fixture.status().live else 3)
            except BaseException:
                os._exit(2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
