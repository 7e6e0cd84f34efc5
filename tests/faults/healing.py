"""How 200,000 rulings that the store lost come back from 8 workers, and who has to wait for it meanwhile."""

from __future__ import annotations

import json
import time
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

from faults.stores import STORES
from processes.checker import check
from processes.gates import heal, started
from processes.revoker import payload_of
from processes.world import World, wait_until

from jwtgate.core.history import Watch
from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import open_store

if TYPE_CHECKING:
    from jwtgate.stores.contract import Store

RULINGS = 200_000
WORKERS = 8
BATCH = 200
TOKENS = 40
RATE = 40.0
"""Requests a second of each worker, so that one that has to wait shows."""

PATIENCE_SECONDS = 180.0
LEASE = 1.0
BYSTANDER = "worker-bystander"


def measure() -> dict[str, Any]:
    """The application's keys are deleted; a bystander uses the same server under another prefix."""
    store = STORES["valkey"]()
    with store, World(lease=LEASE, rate=1.0, workers={"rate": RATE}) as world:
        heal(store.server)
        ruled = open_store(store.url, prefix="jwtgate", watch=Watch(LEASE, LEASE))
        store.admin.config_set("appendfsync", "everysec")
        _fill(ruled)
        _issue(store.url, world)
        for index in range(WORKERS):
            world.start_worker(f"worker-{index}", ("asgi", "wsgi")[index % 2], store.url)
        other = {**world.settings, "store": store.url, "prefix": "other"}
        world.start_worker(BYSTANDER, "wsgi", store.url, settings=other)
        world.wait_live(0.0, PATIENCE_SECONDS)
        time.sleep(3.0)
        lost = world.mark()
        keys: Any = store.admin.keys("{jwtgate:0}:*")
        store.admin.unlink(*keys)
        wait_until(lambda: _is_healed(ruled), PATIENCE_SECONDS, "healed")
        healed = time.monotonic()
        world.wait_live(healed, PATIENCE_SECONDS)
        live = time.monotonic()
        time.sleep(1.0)
        back = int(store.admin.hlen("{jwtgate:0}:rulings")) - 2
        world.stop()
        ruled.close()
        return {
            "measured": f"{RULINGS:,} rulings healed by {WORKERS} workers",
            "results": _results(world, lost, healed, live, back),
        }


def _results(world: World, lost: float, healed: float, live: float, back: int) -> dict[str, str]:
    decisions = [each for each in world.decisions(lost) if each.start < live]
    own = [each for each in decisions if each.process != BYSTANDER]
    others = [each for each in decisions if each.process == BYSTANDER]
    absences = world.absences()
    said = [line for line in world.statuses()[BYSTANDER] if lost < line["at"] < live]
    return {
        "healed after": f"{healed - lost:.1f} s",
        "all live after": f"{live - lost:.1f} s",
        "rulings back": f"{back:,} of {RULINGS:,}",
        "slowest request of the application's (503 until healed)": f"{check(own, [], absences=absences).slowest * 1000:.0f} ms of {len(own):,}",
        "slowest request of the bystander's": f"{check(others, [], absences=absences).slowest * 1000:.0f} ms of {len(others):,}",
        "503 of the bystander's": str(sum(each.verdict == "unavailable" for each in others)),
        "bystander without a lease (looks of 30 ms)": f"{sum(not line['live'] for line in said)} of {len(said)}",
    }


def _fill(store: Store) -> None:
    until = time.time() + 3600
    for _ in range(RULINGS // BATCH):
        changes = [Change(token_bytes(16), revoked=True, until=until) for _ in range(BATCH)]
        while True:
            try:
                store.write(changes, time.time())
            except StoreUnavailable:
                continue
            break


def _issue(url: str, world: World) -> None:
    with started(url, lease=LEASE, view_limit=0) as gate, (world.folder / "tokens").open("a") as lines:
        for number in range(TOKENS):
            token = gate.issue("alice", claims={"tid": f"token-{number}"})
            shape = {
                "id": payload_of(token)["tid"],
                "token": token,
                "handles": {},
                "ver": 1,
                "iat": 0,
                "began": 0.0,
                "ended": 0.0,
            }
            lines.write(json.dumps(shape) + "\n")


def _is_healed(store: Store) -> bool:
    return store.workers()[0].is_healed
