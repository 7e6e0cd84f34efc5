"""Failover, demotion and resharding under real gates: nothing revoked is admitted, and they recover by themselves."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any, Protocol, Self

import pytest
from beside import beside
from processes.gates import answer_of, heal, judged, started
from processes.world import wait_until
from servers import WATCH, Server, binary_of
from topologies import PATIENT, ClusterGroup, SentinelGroup, wait_for

from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import open_store
from jwtgate.stores.redis.dialling import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jwtgate import Gate

pytestmark = pytest.mark.server

LEASE = 0.5
KEY = "{jwtgate:0}:rulings"
RECOVERY_SECONDS = 2.0
NOISE_SECONDS = 3.0
"""For a machine that does something else at the same time."""

A = b"A" * 16


class Topology(Protocol):
    """What both groups do, said the same way."""

    url: str

    def master(self) -> Server: ...
    def replicas(self) -> list[Server]: ...
    def wait_for_another(self, old: Server) -> Server: ...
    def wait_until_whole(self) -> None: ...
    def hide(self, server: Server) -> None: ...
    def close(self) -> None: ...


class Sentinels(SentinelGroup):
    """As ``Topology``."""

    def replicas(self) -> list[Server]:
        master = self.master()
        return [node for node in self.nodes if node is not master]

    def wait_for_another(self, old: Server) -> Server:
        return self.wait_for_master(other_than=old)

    def hide(self, server: Server) -> None:
        """Nothing to hide it from."""


class Cluster:
    """As ``Topology``: the nodes of our slot."""

    def __init__(self, binary: str) -> None:
        self.group = ClusterGroup(binary)
        self.url = self.group.url

    def start(self) -> Self:
        self.group.start()
        return self

    def master(self) -> Server:
        return self.group.master(KEY)

    def replicas(self) -> list[Server]:
        return [self.group.replica(self.master())]

    def wait_for_another(self, old: Server) -> Server:
        return self.group.wait_for_master(KEY, other_than=old)

    def wait_until_whole(self) -> None:
        self.group.wait_until_whole()

    def hide(self, server: Server) -> None:
        """Spares the questions of the test itself a stopped node."""
        self.group.ignore(server)

    def close(self) -> None:
        self.group.close()


KINDS = [(topology, kind) for topology in (Sentinels, Cluster) for kind in ("valkey", "redis")]


@pytest.fixture(params=KINDS, ids=lambda kind: f"{kind[0].__name__}-{kind[1]}".lower())
def topology(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each of the two on each server, its history healed."""
    make, kind = request.param
    with closing(make(binary_of(kind))) as group:
        group.start()
        heal(group)
        yield group


class Traffic:
    """Two gates, a thread that revokes, and one that shows each gate everything that is certainly revoked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.stopping = threading.Event()
        self.dead: list[str] = []
        self.wrong: list[str] = []
        self.live = ""
        self.slowest = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.gates: list[Gate] = [stack.enter_context(started(self.url, lease=LEASE)) for _ in range(2)]
            self.live = self.gates[0].issue("alive", ttl=300)
            stack.enter_context(beside(self._revoke, self._show, end=self.stopping.set))
            self.revoke_more(5)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self.stack.__exit__(*raised)

    def _revoke(self) -> None:
        number = 0
        while not self.stopping.wait(0.02):
            number += 1
            gate, other = self.gates[number % 2], self.gates[(number + 1) % 2]
            try:
                token = gate.issue(f"user-{number}", ttl=300)
                for each in self.gates:
                    answer_of(each, token)
                receipt = gate.revoke(token=token, wait=True)
            except StoreUnavailable:
                continue
            if receipt.effective_everywhere:
                if answer_of(other, token) == "admitted":
                    self.wrong.append(f"user-{number} at once")
                self.dead.append(token)

    def _show(self) -> None:
        while not self.stopping.wait(0.002):
            for token in self.dead[-20:]:
                for gate in self.gates:
                    began = time.monotonic()
                    if answer_of(gate, token) == "admitted":
                        self.wrong.append("later")
                    self.slowest = max(self.slowest, time.monotonic() - began)

    def revoke_more(self, count: int = 5) -> None:
        """Until so many more are revoked for certain."""
        wanted = len(self.dead) + count
        wait_until(lambda: len(self.dead) >= wanted, 30.0, "revocations go on")

    def is_live(self) -> bool:
        """Whether every gate is, and admits what is not revoked."""
        return all(gate.status().live and answer_of(gate, self.live) == "admitted" for gate in self.gates)

    def goes_on(self, seconds: float) -> bool:
        """Whether for so long, once all were live, no gate's store was down and no lease over: on a busy machine not always."""
        wait_until(self.is_live, 30.0, "all gates are live")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not (all(gate.status().store == "up" for gate in self.gates) and self.is_live()):
                return False
        return True

    def recover(self, seconds: float) -> None:
        """Within that time every gate is live; all that was ever revoked is refused."""
        began = time.monotonic()
        wait_until(self.is_live, 30.0, "all gates are live")
        took = time.monotonic() - began
        assert took < seconds + NOISE_SECONDS, f"recovery took {took:.2f} s"
        self.revoke_more()
        for gate in self.gates:
            assert {answer_of(gate, token) for token in self.dead} == {"refused"}
        assert not self.wrong
        assert self.slowest < 2 * TIMEOUT_SECONDS + NOISE_SECONDS, f"one took {self.slowest:.2f} s"


def test_killed_master_is_replaced_and_nothing_is_forgotten(topology: Any) -> None:
    """H1, L1: another server, another epoch, healed by those who know; the old one comes back as a replica."""
    with Traffic(topology.url) as traffic:
        epoch = traffic.gates[0].store.workers()[0].name
        old = topology.master()
        old.kill()
        topology.wait_for_another(old)
        traffic.recover(RECOVERY_SECONDS + 2 * LEASE)
        assert traffic.gates[0].store.workers()[0].name != epoch
        old.start()
        topology.wait_until_whole()
        traffic.recover(RECOVERY_SECONDS)


def test_demoted_master_that_answers_again_is_not_believed(topology: Any) -> None:
    """It was stopped, replaced and goes on: no gate, and no connection that is left to it, takes its word for anything."""
    with Traffic(topology.url) as traffic, closing(open_store(topology.url, prefix="jwtgate", watch=WATCH)) as idle:
        old = topology.master()
        idle.look_up([A])
        topology.hide(old)
        old.pause()
        topology.wait_for_another(old)
        traffic.recover(RECOVERY_SECONDS + 2 * LEASE)
        traffic.gates[0].store.write([Change(A, revoked=True, until=time.time() + 600)], time.time())
        old.resume()
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            try:
                assert idle.look_up([A]).rulings[0] is not None, "a demoted master was believed"
            except StoreUnavailable:
                continue
        topology.wait_until_whole()
        traffic.recover(RECOVERY_SECONDS)


def test_promoted_replica_that_lacks_the_newest_rulings_gets_them_back(topology: Any) -> None:
    """L1: lost by the store, written back by the process that knows them, and refused by all."""
    with ExitStack() as stack:
        gates = [stack.enter_context(started(topology.url, lease=LEASE)) for _ in range(2)]
        token = gates[0].issue("alice", ttl=300)
        assert [judged(gate, token) for gate in gates] == ["admitted"] * 2
        master, replicas = topology.master(), topology.replicas()
        for replica in replicas:
            topology.hide(replica)
            replica.pause()
        with master.client() as client:
            client.config_set("min-replicas-to-write", 0)
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        receipt = gates[0].revoke(token=token, wait=True)
        assert receipt.effective_everywhere
        master.kill()
        for replica in replicas:
            replica.resume()
            with replica.client() as client:
                wait_for(lambda client=client: client.info("replication"), "it is back")
        new = topology.wait_for_another(master)
        wait_until(lambda: all(gate.status().live for gate in gates), 30.0, "all gates are live")
        assert [answer_of(gate, token) for gate in gates] == ["refused"] * 2
        fresh = stack.enter_context(started(topology.url, lease=LEASE))
        assert judged(fresh, token) == "refused"
        with new.client() as client:
            assert client.hlen(KEY) == 3


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_master_that_is_cut_off_serves_nobody_once_it_is_replaced(kind: str) -> None:
    """Gates hold connections to it, and it is alive: without its replicas it refuses before there is another (NOREPLICAS)."""
    with Sentinels(binary_of(kind), down_after_ms=4000) as group:
        heal(group.with_user())
        with Traffic(group.url_of_a_user) as traffic:
            old = group.cut_off_master()
            group.wait_for_another(old)
            with started(group.url_of_a_user, lease=LEASE) as newcomer:
                for _ in range(5):
                    token = newcomer.issue("bob", ttl=300)
                    for gate in traffic.gates:
                        answer_of(gate, token)
                    if newcomer.revoke(token=token, wait=True).effective_everywhere:
                        assert "admitted" not in [answer_of(gate, token) for gate in traffic.gates]
                        traffic.dead.append(token)
            traffic.recover(RECOVERY_SECONDS + 2 * LEASE)
            group.reconnect(old)
            group.wait_until_whole()
            traffic.recover(RECOVERY_SECONDS)


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_slot_moves_under_traffic(kind: str) -> None:
    """Resharding there and back: each time another server and so another epoch, and never a wrong answer."""
    with closing(Cluster(binary_of(kind))) as cluster:
        heal(cluster.start())
        group = cluster.group
        with Traffic(cluster.url) as traffic:
            for _ in range(2):
                target = next(master for master in group.masters() if master is not group.master(KEY))
                group.move_slot(KEY, target)
                traffic.recover(RECOVERY_SECONDS + 2 * LEASE)
            group.failover(KEY)
            traffic.recover(RECOVERY_SECONDS + 2 * LEASE)


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_gates_go_on_without_sentinels(how: str) -> None:
    """They are guides, no judges: as long as the master lives nobody notices."""
    with Sentinels(binary_of("valkey"), *PATIENT) as group:
        heal(group)
        with Traffic(group.url) as traffic:
            for sentinel in group.sentinels:
                getattr(sentinel, how)()
            assert any(traffic.goes_on(2.0) for _ in range(5)), "who needs them stands still in each of the rounds"
            traffic.revoke_more()
            with group.nodes[0].client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            traffic.recover(RECOVERY_SECONDS)
