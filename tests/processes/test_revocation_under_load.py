"""Four processes under load, two that revoke in every way: the promise holds for every single request."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from processes.world import World, wait_until

if TYPE_CHECKING:
    from servers import Server

pytestmark = pytest.mark.server

SECONDS = 10.0


def test_no_request_passes_after_its_receipt_in_any_process(valkey: Server) -> None:
    """100 revocations a second of every kind, with and without ``wait``; nobody sees an error or a 503."""
    with World(lease=1.0, rate=100.0) as world:
        for index in range(4):
            world.start_worker(f"worker-{index}", ("asgi", "wsgi")[index % 2], valkey.url)
        world.start_revokers(2, valkey.url)
        world.go()
        live_since = time.monotonic()
        time.sleep(SECONDS)
        wait_until(lambda: len(world.calls()) > 600, 60.0, "revocations go on")
        world.sweep()
        world.stop()
        found = world.check()
        assert found.violations == [], "\n".join(found.violations[:5])
        calls = world.calls()
        failed = [call for call in calls if "error" in call or "returned" not in call]
        assert failed == [], f"{len(failed)} of {len(calls)} calls failed: {failed[:3]}"
        assert {call["kind"] for call in calls} == {
            *("jti", "sid", "sub", "tenant", "client_id", "token", "suspend", "reinstate", "version", "everything"),
        }
        waited = [call for call in calls if call["wait"]]
        assert len(waited) > 100
        assert all(call["everywhere"] for call in waited)
        assert all(call["effective_by"] <= call["wall"] + world.lease for call in calls)
        assert found.tested_kills > 200
        decisions = world.decisions(live_since)
        unavailable = [each for each in decisions if each.verdict == "unavailable"]
        assert unavailable == [], f"{len(unavailable)} of {len(decisions)} calls failed"
