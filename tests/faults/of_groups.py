"""What happens to groups of servers: failover in each of its ways, and resharding.

A fault ends when somebody serves again; what was killed or stood still comes back after its recovery was measured, while the
load goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faults.faults import fault

if TYPE_CHECKING:
    import random

    from faults.faults import Happening
    from faults.scene import Scene


@fault("failover, ordered", "server", "replicas", loses_history=True)
def ordered(scene: Scene, draw: random.Random) -> Happening:
    """By an operator, with all data."""
    scene.store.failover()
    yield 0.0
    scene.later(scene.store.group.wait_until_whole)


@fault("failover, master killed", "server", "replicas", loses_history=True)
def killed(scene: Scene, draw: random.Random) -> Happening:
    """It comes back as it was, and is made a replica. The fault ends when its successor first takes writes: with Sentinels some
    3.5 s after the kill, two of them for missing it. Should they replace the successor as well (``topologies.DOWN_AFTER_MS``),
    that is not counted as part of the fault: it shows as a recovery of ten seconds and more.
    """
    old = scene.store.server
    old.kill()
    yield draw.uniform(0.0, 0.5) * scene.lease
    scene.store.wait_for_master(old)
    scene.later(old.start)
    scene.later(scene.store.group.wait_until_whole)


@fault("failover, demoted master answers", "server", "replicas", loses_history=True)
def demoted(scene: Scene, draw: random.Random) -> Happening:
    """It stood still while another was promoted, and goes on believing that it is master."""
    old = scene.store.pause_master()
    try:
        scene.store.wait_for_master(old)
        yield draw.uniform(0.0, 1.0) * scene.lease
    finally:
        scene.store.resume(old)
    yield 0.5
    scene.later(scene.store.group.wait_until_whole)


@fault("failover, newest entries lost", "server", "replicas", loses_history=True)
def lost(scene: Scene, draw: random.Random) -> Happening:
    """The replicas stood still for the last moments of the master."""
    old, replicas = scene.store.server, scene.store.replicas
    for each in replicas:
        each.pause()
    yield draw.uniform(0.2, 0.9) * scene.lease
    old.kill()
    for each in replicas:
        each.resume()
    scene.store.wait_for_master(old)
    scene.later(old.start)
    scene.later(scene.store.group.wait_until_whole)


@fault("resharding", "server", "slots", loses_history=True)
def resharded(scene: Scene, draw: random.Random) -> Happening:
    """Our slot moves to another master, key by key: ASK, then MOVED."""
    group, tag = scene.store.group, scene.store.tags[0]
    old = group.master(tag)
    to = draw.choice([each for each in group.masters() if each is not old])
    group.begin_move(tag, to)
    yield draw.uniform(0.0, 0.5) * scene.lease
    while group.move_keys(tag, to, 20):
        yield draw.uniform(0.0, 0.05) * scene.lease
    group.end_move(tag, to)
