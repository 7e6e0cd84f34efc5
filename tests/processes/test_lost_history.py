"""What must not be concluded from what a store has lost: that nobody is registered, that nothing was lifted."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest
from processes.gates import answer_of, heal, judged, started
from processes.proxy import Proxy
from processes.world import wait_until

from jwtgate.core.rulings import Ruling

if TYPE_CHECKING:
    from servers import Server

    from jwtgate import Gate

pytestmark = pytest.mark.server


def test_receipt_waits_for_workers_whose_registration_was_lost(valkey: Server) -> None:
    """threats.md 17: an evicted or deleted list of workers never means that there are none."""
    heal(valkey)
    with (
        Proxy(valkey.port) as proxy,
        started(valkey.url, lease=2.0) as here,
        started(proxy.url, lease=2.0) as away,
    ):
        token = here.issue("alice")
        away.verify(token)
        proxy.hold()
        with valkey.client() as client:
            client.delete("{jwtgate:0}:workers")
        receipt = here.revoke(token=token, wait=True)
        verdict = answer_of(away, token)
        proxy.pass_on()
    assert receipt.effective_everywhere is False or verdict != "admitted"


def test_lift_that_the_store_lost_is_not_answered_with_401(valkey: Server) -> None:
    """503, never 401, for the store's fault: an older copy says suspended, this process knows better."""
    heal(valkey)
    copy = valkey.folder.with_suffix(".copy")
    with started(valkey.url, lease=1.0) as gate:
        token, epoch = gate.issue("alice"), gate.view.parts[0].epoch
        gate.suspend("alice", wait=True)
        shutil.copytree(valkey.folder / "appendonlydir", copy)
        gate.reinstate("alice", wait=True)
        assert judged(gate, token) == "admitted"
        valkey.kill()
        shutil.rmtree(valkey.folder / "appendonlydir")
        copy.rename(valkey.folder / "appendonlydir")
        valkey.start()
        answers = set()
        deadline = time.monotonic() + 15.0
        while not (gate.status().live and gate.view.parts[0].epoch != epoch) and time.monotonic() < deadline:
            answers.add(answer_of(gate, token))
            time.sleep(0.005)
        assert judged(gate, token) == "admitted"
        assert "refused" not in answers


def flush(valkey: Server, gate: Gate) -> None:
    """Returns once the gate is live in the new history."""
    epoch = gate.view.parts[0].epoch
    with valkey.client() as client:
        client.flushall()
    wait_until(lambda: gate.status().live and gate.view.parts[0].epoch != epoch, 15.0, "live in the next epoch")


def test_what_no_history_orders_any_more_is_refused(valkey: Server) -> None:
    """Positions begin anew with a lost history: after two of them a token that is seconds younger than a cut-off may be older
    by another clock (``MAX_SKEW_SECONDS``). It is refused, and a new one is not.
    """
    heal(valkey)
    with started(valkey.url, lease=0.2) as gate:
        for _ in range(20):  # twenty positions, of which healing writes back one
            gate.revoke(jti="another")
        gate.revoke(sub="alice", wait=True)
        flush(valkey, gate)
        time.sleep(1.1)  # past the second of the cut-off, which is ambiguous by design
        token = gate.issue("alice")
        assert judged(gate, token) == "admitted"
        flush(valkey, gate)
        assert judged(gate, token) == "refused"
        assert judged(gate, gate.issue("alice")) == "admitted"


def test_ruling_that_was_lost_is_remembered_as_long_as_a_session_lives(valkey: Server) -> None:
    """L1: the session that it ended may come back with older data, and its end was lost with the ruling."""
    heal(valkey)
    with started(valkey.url, lease=0.2, refresh_ttl=1_000_000.0) as gate:
        pair = gate.sessions.start("alice")
        gate.sessions.end(pair.session_id)
        (digest,) = gate.view.rulings
        first = Ruling.decode(gate.view.rulings[digest]).until
        flush(valkey, gate)
        second = Ruling.decode(gate.view.rulings[digest]).until
    assert first is not None and first < time.time() + 10_000
    assert second is not None and second > time.time() + 1_000_000
