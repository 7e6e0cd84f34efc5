"""The promise under faults: paused workers, lost and rewritten history, a network that hangs, delays and cuts.

Each test injects one fault into running processes, ends it, waits until all are live again, and judges every request
from its beginning on against every revocation there ever was. The processes that live through it are the denylist's
replicas, so whatever was revoked before stays revoked.
"""

from __future__ import annotations

import shutil
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis
from processes.gates import answer_of, heal, made, started
from processes.proxy import Proxy
from processes.world import World
from servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

LEASE = 0.5
CALM_SECONDS = 0.4
LOG = "{jwtgate:0}:log"


@dataclass
class Scene:
    """Two workers reach the store directly, two and nobody else through the proxy."""

    world: World
    server: Server
    proxy: Proxy

    @contextmanager
    def fault(self) -> Iterator[redis.Redis]:
        """Calm, the fault, recovery, calm; then the judgement."""
        since = self.world.mark()
        time.sleep(CALM_SECONDS)
        with self.server.client() as client:
            yield client
        ended = time.monotonic()
        self.world.wait_live(ended)
        time.sleep(CALM_SECONDS)
        self.world.wait_live(time.monotonic())
        self.world.sweep()
        found = self.world.check(since=since, loses_history=True)
        assert found.violations == [], "\n".join(found.violations[:5])
        assert found.tested_kills > 5
        admitting = {each.process for each in self.world.decisions(ended) if each.verdict == "admitted"}
        assert len(admitting) == 4, f"only {admitting} admit again"


@pytest.fixture(scope="module")
def scene(module_valkey: Server) -> Iterator[Scene]:
    """Started once: every test leaves it live."""
    with Proxy(module_valkey.port) as proxy, World(lease=LEASE, rate=40.0) as world:
        for index, (face, url) in enumerate(
            [("asgi", module_valkey.url), ("wsgi", module_valkey.url), ("asgi", proxy.url), ("wsgi", proxy.url)]
        ):
            world.start_worker(f"worker-{index}", face, url)
        world.start_revokers(2, module_valkey.url)
        world.go()
        yield Scene(world, module_valkey, proxy)
        world.stop()


def test_worker_paused_for_three_leases_asks_before_it_admits(scene: Scene) -> None:
    """Design §6: its lease is over when it goes on."""
    with scene.fault():
        for name in ("worker-0", "worker-1"):
            scene.world.signal(name, signal.SIGSTOP)
            time.sleep(3 * LEASE)
            scene.world.signal(name, signal.SIGCONT)


def test_restart_of_the_store_with_its_data_loses_nothing(scene: Scene) -> None:
    """H1: another run of the server is another epoch."""
    with scene.fault():
        scene.server.kill()
        time.sleep(0.3)
        scene.server.start()


def test_restart_of_the_store_without_its_data_loses_nothing(scene: Scene) -> None:
    """L1: the processes write back what they know."""
    with scene.fault():
        scene.server.kill()
        shutil.rmtree(scene.server.folder)
        scene.server.folder.mkdir()
        scene.server.start()


def test_restart_of_the_store_with_a_lost_tail_loses_nothing(scene: Scene) -> None:
    """H1, L1: the older copy carries the same epoch record, and lacks what was revoked since."""
    copy = scene.server.folder.with_suffix(".copy")
    try:
        with scene.fault():
            shutil.copytree(scene.server.folder / "appendonlydir", copy)
            time.sleep(CALM_SECONDS)
            scene.server.kill()
            shutil.rmtree(scene.server.folder / "appendonlydir")
            shutil.copytree(copy, scene.server.folder / "appendonlydir")
            scene.server.start()
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def test_flushed_store_loses_nothing(scene: Scene) -> None:
    """H1, H2: a blocked read sleeps through a FLUSHALL, the epoch does not."""
    with scene.fault() as client:
        client.flushall()


def test_store_flushed_again_while_it_heals_loses_nothing(scene: Scene) -> None:
    """L1: the epoch is checked at each batch."""
    with scene.fault() as client:
        for _ in range(4):
            client.flushall()
            time.sleep(0.7 * LEASE)


def test_trimmed_log_shows_as_a_gap(scene: Scene) -> None:
    """H2: XREAD skips trimmed entries silently; the links do not."""
    with scene.fault() as client:
        for _ in range(20):
            client.xtrim(LOG, maxlen=0, approximate=False)
            time.sleep(0.03)


def test_deleted_log_shows_as_a_gap(scene: Scene) -> None:
    """H2: the link of the log's end stands beside the rulings."""
    with scene.fault() as client:
        for _ in range(10):
            client.delete(LOG)
            time.sleep(0.05)


def test_killed_connections_are_made_again(scene: Scene) -> None:
    """A follower's new connection registers before it reads (F2)."""
    with scene.fault() as client:
        for _ in range(10):
            client.client_kill_filter(_type="normal", skipme=True)
            time.sleep(0.1)


def test_store_that_pauses_is_not_trusted_from_memory(scene: Scene) -> None:
    """F3: the lease counts from the moment the read was sent."""
    with scene.fault() as client:
        client.execute_command("CLIENT", "PAUSE", 1200, "ALL")
        time.sleep(1.2)


def test_stopped_store_is_not_trusted_from_memory(scene: Scene) -> None:
    """The same for a whole process that stands still, with its clock going on."""
    with scene.fault():
        scene.server.pause()
        time.sleep(1.2)
        scene.server.resume()


@pytest.mark.parametrize("direction", ["both", "questions", "answers"])
def test_partitioned_workers_stop_before_receipts_hold(scene: Scene, direction: str) -> None:
    """W2: the others' revocations hold after one reach, though two workers cannot hear of them. What was held arrives late."""
    with scene.fault():
        scene.proxy.hold(questions=direction != "answers", answers=direction != "questions")
        time.sleep(3 * LEASE)
        scene.proxy.pass_on()


@pytest.mark.parametrize("seconds", [0.03, 0.12, 0.3])
def test_slow_network_only_slows(scene: Scene, seconds: float) -> None:
    """F3: an answer that is older than the lease grants nothing."""
    with scene.fault():
        scene.proxy.delay_seconds = seconds
        time.sleep(3 * LEASE)
        scene.proxy.pass_on()


def test_cut_connections_are_made_again(scene: Scene) -> None:
    """Cut off for two leases, then cut once and again."""
    with scene.fault():
        scene.proxy.cut()
        time.sleep(2 * LEASE)
        scene.proxy.pass_on()
        for _ in range(5):
            scene.proxy.drop()
            time.sleep(0.1)


def test_history_lost_during_a_partition_is_not_forgotten(scene: Scene) -> None:
    """L1: those who were cut off come back to a new epoch, and bring what they know."""
    with scene.fault() as client:
        scene.proxy.hold()
        time.sleep(LEASE)
        client.flushall()
        time.sleep(LEASE)
        scene.proxy.pass_on()


def test_worker_that_dies_is_waited_for_one_reach_at_most(scene: Scene) -> None:
    """W2, F1: killed without a word, and replaced by one that starts from nothing."""
    with scene.fault():
        process = scene.world.processes["worker-1"]
        process.kill()
        process.wait(5.0)
        scene.world.start_worker("worker-1", "wsgi", scene.server.url)


def test_receipt_waits_for_workers_whose_registration_was_lost(valkey: Server) -> None:
    """threats.md 17: an evicted or deleted list of workers never means that there are none."""
    heal(valkey)
    with Proxy(valkey.port) as proxy, started(valkey.url, lease=2.0) as here:
        away = made(proxy.url, lease=2.0)
        assert away.ready(15.0)
        token = here.issue("alice")
        away.verify(token)
        proxy.hold()
        with valkey.client() as client:
            client.delete("{jwtgate:0}:workers")
        receipt = here.revoke(token=token, wait=True)
        verdict = answer_of(away, token)
        proxy.pass_on()
        away.close()
    assert receipt.effective_everywhere is False or verdict != "admitted"


def test_lift_that_the_store_lost_is_not_answered_with_401(valkey: Server) -> None:
    """Design §6: 503, never 401, for the store's fault: an older copy says suspended, this process knows better."""
    heal(valkey)
    copy = valkey.folder.with_suffix(".copy")
    with started(valkey.url, lease=1.0) as gate:
        token, epoch = gate.issue("alice"), gate.view.parts[0].epoch
        gate.suspend("alice", wait=True)
        shutil.copytree(valkey.folder / "appendonlydir", copy)
        gate.reinstate("alice", wait=True)
        assert answer_of(gate, token) == "admitted"
        valkey.kill()
        shutil.rmtree(valkey.folder / "appendonlydir")
        copy.rename(valkey.folder / "appendonlydir")
        valkey.start()
        answers = set()
        deadline = time.monotonic() + 15.0
        while not (gate.status().live and gate.view.parts[0].epoch != epoch) and time.monotonic() < deadline:
            answers.add(answer_of(gate, token))
            time.sleep(0.005)
        assert answer_of(gate, token) == "admitted"
        assert "refused" not in answers
