"""What each ``ON_STORE_DOWN`` does when a real server is gone, what is logged, and how long anybody waits."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import jwt
import pytest
from beside import together
from processes.gates import answer_of, heal, started
from processes.proxy import Proxy
from processes.world import SECRET, wait_until

from jwtgate.errors import JWTGateError

if TYPE_CHECKING:
    from servers import Server

    from jwtgate import Gate

pytestmark = pytest.mark.server

LEASE = 0.4
NOISE_SECONDS = 1.0
"""For a machine that does something else; a second timeout would be longer."""


def signed_by_another() -> str:
    """Valid but for its key."""
    now = int(time.time())
    return jwt.encode({"sub": "alice", "iat": now, "exp": now + 60}, SECRET[::-1], "HS256")


def expired() -> str:
    """Valid but for its time."""
    now = int(time.time())
    return jwt.encode({"sub": "alice", "iat": now - 60, "exp": now - 30}, SECRET, "HS256")


def is_down(gate: Gate) -> bool:
    """Noticed, and the lease is over."""
    return gate.status().store == "down" and not gate.status().live


def test_refuse_answers_503_and_known_rulings_401(valkey: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The default. One line says that the store is gone, one that it is back."""
    heal(valkey)
    with started(valkey.url, lease=LEASE) as gate:
        token, fresh, revoked = (gate.issue("alice") for _ in range(3))
        gate.verify(token)
        gate.revoke(token=revoked, wait=True)
        with caplog.at_level(logging.INFO, "jwtgate"):
            caplog.clear()
            valkey.kill()
            wait_until(lambda: is_down(gate), 10.0, "the store is found down")
            for _ in range(20):
                answers = [answer_of(gate, each) for each in (token, fresh, revoked, signed_by_another(), expired())]
                assert answers == ["unavailable", "unavailable", "refused", "unavailable", "refused"]
                time.sleep(0.05)
            assert gate.status().store == "down"
            assert [text for text in caplog.messages if "does not answer" in text] == caplog.messages
            assert len(caplog.messages) == 1
            assert caplog.records[0].levelno == logging.WARNING
            caplog.clear()
            valkey.start()
            wait_until(lambda: gate.status().live, 15.0, "the gate is live again")
        assert [answer_of(gate, each) for each in (token, fresh, revoked)] == ["admitted", "admitted", "refused"]
        assert len([text for text in caplog.messages if text == "the store answers"]) == 1
        assert len([text for text in caplog.messages if "does not answer" in text]) == 0


def test_cached_admits_what_it_knew_until_the_grace_is_over(valkey: Server) -> None:
    """F2: lease and grace count from the last read; tokens never admitted, and revoked ones, gain nothing."""
    grace = 2.0
    heal(valkey)
    with started(valkey.url, lease=LEASE, on_store_down="cached", grace=grace) as gate:
        known, unknown, revoked = (gate.issue("alice") for _ in range(3))
        gate.verify(known)
        gate.verify(revoked)
        receipt = gate.revoke(token=revoked, wait=True)
        assert receipt.effective_everywhere
        valkey.kill()
        killed_at = time.monotonic()
        admitted_after_lease = 0
        while (began := time.monotonic()) < killed_at + LEASE + grace + 1.0:
            is_over = began > killed_at + LEASE
            answer = answer_of(gate, known)
            assert answer in ("admitted", "unavailable")
            if answer == "admitted":
                assert began <= killed_at + LEASE + grace
                admitted_after_lease += is_over
            assert answer_of(gate, revoked) == "refused"
            if is_over and answer_of(gate, unknown) != "unavailable":
                pytest.fail("a token that was never admitted passed")
            time.sleep(0.02)
        assert admitted_after_lease > 3
        assert answer_of(gate, known) == "unavailable"
        valkey.start()
        wait_until(lambda: gate.status().live, 15.0, "the gate is live again")
        assert [answer_of(gate, each) for each in (known, unknown, revoked)] == ["admitted", "admitted", "refused"]


def test_receipt_waits_for_the_grace_of_a_worker_that_is_cut_off(valkey: Server) -> None:
    """F2, W2: who may act on old knowledge for lease and grace is waited for as long; then nobody admits."""
    heal(valkey)
    settings = {"lease": LEASE, "on_store_down": "cached", "grace": 3.0}
    with Proxy(valkey.port) as proxy, started(valkey.url, **settings) as here, started(proxy.url, **settings) as away:
        token = here.issue("alice")
        away.verify(token)
        proxy.hold()
        wait_until(lambda: is_down(away), 10.0, "the store is found down")
        assert answer_of(away, token) == "admitted"
        promise = here.revoke(jti="another")
        receipt = here.revoke(token=token, wait=True)
        assert answer_of(away, token) == "unavailable"
        assert receipt.effective_everywhere
        assert not promise.effective_everywhere
        proxy.pass_on()
        wait_until(lambda: answer_of(away, token) == "refused", 15.0, "it hears of the revocation")


def test_admit_checks_signature_expiry_and_what_it_knows(valkey: Server) -> None:
    """Known rulings refuse, those about tokens of an earlier epoch too; receipts promise no time."""
    heal(valkey)
    with started(valkey.url, lease=LEASE, on_store_down="admit") as gate:
        known, unknown, revoked, early_jti, early_cut = (gate.issue(f"user {number}") for number in range(5))
        gate.verify(known)
        gate.revoke(token=revoked)
        valkey.kill()
        valkey.start()
        wait_until(lambda: gate.status().live and gate.status().store == "up", 15.0, "live in the next epoch")
        gate.revoke(sub="user 3")
        gate.revoke(token=early_jti)
        gate.revoke(sub="user 4")
        assert [answer_of(gate, each) for each in (early_jti, early_cut, revoked)] == ["refused"] * 3
        valkey.kill()
        wait_until(lambda: is_down(gate), 10.0, "the store is found down")
        assert [answer_of(gate, each) for each in (known, unknown)] == ["admitted"] * 2
        assert [answer_of(gate, each) for each in (revoked, signed_by_another(), expired())] == ["refused"] * 3
        assert "admitted" not in [answer_of(gate, each) for each in (early_jti, early_cut)]
        with pytest.raises(JWTGateError):
            gate.revoke(jti="not stored")
        valkey.start()
        wait_until(lambda: gate.status().live, 15.0, "the gate is live again")
        assert answer_of(gate, revoked) == "refused"


def timed(gate: Gate, token: str, count: int, seconds: list[float]) -> None:
    """So many requests one after the other."""
    for _ in range(count):
        began = time.monotonic()
        assert answer_of(gate, token) == "unavailable"
        seconds.append(time.monotonic() - began)


def test_nobody_waits_for_a_second_timeout(valkey: Server) -> None:
    """While the server hangs only the first requests wait at all; then the circuit is open."""
    heal(valkey)
    with Proxy(valkey.port) as proxy, started(proxy.url, lease=1.0, view_limit=0) as gate:
        gate.revoke(jti="another")
        token = gate.issue("alice")
        proxy.hold()
        seconds: list[float] = []
        together(*[partial(timed, gate, token, 60, seconds)] * 24)
        assert len(seconds) == 24 * 60
        assert max(seconds) < 2 * 0.25 + NOISE_SECONDS, f"one took {max(seconds):.2f} s"
        late = [each for each in seconds if each > 0.2]
        assert len(late) <= 2 * 24, f"all of them took {sum(late):.2f} s"
        proxy.pass_on()
        wait_until(lambda: answer_of(gate, token) == "admitted", 15.0, "the store is asked again")


def test_no_loop_stands_still_while_the_store_hangs(valkey: Server) -> None:
    """Five hundred requests wait together, and the loop goes on meanwhile.

    A loop that waits for the store stands still in each of the rounds, one on a busy machine in some of them.
    """
    heal(valkey)

    async def ask(gate: Gate, token: str) -> tuple[float, float]:
        seconds: list[float] = []
        gaps: list[float] = []

        async def one() -> None:
            began = time.monotonic()
            with pytest.raises(JWTGateError):
                await gate.aio.verify(token)
            seconds.append(time.monotonic() - began)

        async def beat() -> None:
            while len(seconds) < 500:
                began = time.monotonic()
                await asyncio.sleep(0.001)
                gaps.append(time.monotonic() - began)

        await asyncio.gather(beat(), *(one() for _ in range(500)))
        return max(seconds), sorted(gaps)[len(gaps) * 9 // 10]

    with Proxy(valkey.port) as proxy, started(proxy.url, lease=1.0, view_limit=0) as gate:
        gate.revoke(jti="another")
        usual_gaps: list[float] = []
        for unseen in [gate.issue("alice") for _ in range(5)]:
            proxy.hold()
            longest, usual_gap = asyncio.run(asyncio.wait_for(ask(gate, unseen), 30.0))
            proxy.pass_on()
            assert longest < 2 * 0.25 + NOISE_SECONDS, f"one took {longest:.2f} s"
            usual_gaps.append(usual_gap)
            if usual_gap < 0.2:
                break
            wait_until(lambda token=unseen: answer_of(gate, token) == "admitted", 15.0, "the store is asked again")
        assert min(usual_gaps) < 0.2, f"a turn of the loop took {min(usual_gaps):.2f} s"
