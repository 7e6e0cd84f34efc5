"""The short run: every fault once, on one set of processes that lives through all of them.

The long one is ``python tests/faults --long``. Each test injects a fault, waits until all are live again, and judges every
request from its beginning on against every revocation there ever was: whoever lives through it is the denylist's replica.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest
from faults.run import FAULTS, LIVE_SECONDS, MIX, inject, pick, run
from faults.scene import Scene
from faults.stores import STORES, RedisLike

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.server, pytest.mark.faults]

LEASE = 0.4
CALM_SECONDS = 0.2
ROUNDS = 10
NOISE_SECONDS = 1.5
"""For a machine that does something else; the long run measures recovery without it."""


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Everybody behind a proxy; started once: every fault leaves it live."""
    store = STORES["valkey"]()
    with store, Scene(store, lease=LEASE, is_proxied=True, ripe=0.8) as scene:
        yield scene
        scene.world.stop()


APT = [name for name, fault in FAULTS.items() if fault.needs <= RedisLike.powers]


@pytest.mark.parametrize("name", [*APT, MIX])
def test_promise_holds_through(scene: Scene, name: str) -> None:
    """No admission after a receipt, no error, nobody waits long, nobody is refused for nothing, and all recover."""
    draw = random.Random(f"short {name}")
    faults = pick(scene.store, name, draw)
    since = scene.world.mark()
    time.sleep(CALM_SECONDS)
    injection = inject(scene, faults, draw)
    scene.world.wait_live(injection.ended, LIVE_SECONDS)
    time.sleep(CALM_SECONDS)
    scene.world.wait_live(scene.now)
    patience = 2 * scene.store.timeout_seconds + NOISE_SECONDS
    for _ in range(ROUNDS):
        scene.world.sweep()
        troubled = [*scene.troubled, (injection.began, scene.now)]
        found = scene.world.check(since=since, loses_history=True, troubled=troubled, patience=patience)
        if found.tested_kills:
            break
        time.sleep(CALM_SECONDS)  # the fault kept all revocations away
    scene.troubled = troubled
    assert found.violations == [], "\n".join(found.violations[:5])
    assert found.tested_kills > 0
    admitting = {each.process for each in scene.world.decisions(injection.ended) if each.verdict == "admitted"}
    assert set(scene.workers) <= admitting, f"only {admitting} admit again"


@pytest.mark.parametrize(
    ("cripple", "fault", "letters"),
    [
        ("trust for ever", "partition of some workers", "ab"),
        ("stop following", "wall clock stepped", "ab"),
        ("take twice", "NOSCRIPT", "g"),
    ],
)
def test_suite_catches_a_gate_that_is_broken(cripple: str, fault: str, letters: str) -> None:
    """A suite that cannot fail proves nothing: one worker of four is crippled."""
    row = run("valkey", fault, 3, 5.0, cripple=cripple)
    assert any(text[1] in letters for text in row.violations), row.violations
