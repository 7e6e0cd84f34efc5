"""What the audit says of Sentinels, clusters and durability: each weakness with its remedy, and silence where all is well."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from servers import WATCH, Server, binary_of
from topologies import SERVICE, ClusterGroup, SentinelGroup, wait_for

from jwtgate.stores import open_store
from jwtgate.stores.contract import Durability

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

PERSISTENT = ("--appendonly", "yes")


def audited(url: str, durability: Durability = Durability()) -> list[str]:
    """Every weakness, as it is printed."""
    with closing(open_store(url, prefix="jwtgate", watch=WATCH, durability=durability)) as store:
        return [str(each) for each in store.audit()]


@contextmanager
def configured(*servers: Server, **settings: Any) -> Iterator[None]:
    """The settings for as long as the block lasts."""
    with ExitStack() as stack:
        for server in servers:
            client = stack.enter_context(server.client(decode_responses=True))
            for name, value in settings.items():
                name = name.replace("_", "-")
                (before,) = client.config_get(name).values()
                client.config_set(name, value)
                stack.callback(client.config_set, name, before)
        yield


@pytest.fixture(scope="module", params=["valkey", "redis"])
def sentinels(request: pytest.FixtureRequest) -> Iterator[SentinelGroup]:
    """As they should be."""
    with SentinelGroup(binary_of(request.param), *PERSISTENT, down_after_ms=4000) as group:
        yield group


@pytest.fixture(scope="module", params=["valkey", "redis"])
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterGroup]:
    """As it should be."""
    with ClusterGroup(binary_of(request.param), *PERSISTENT) as group:
        yield group


def test_sound_sentinels_and_clusters_are_not_complained_of(sentinels: SentinelGroup, cluster: ClusterGroup) -> None:
    """Two replicas, three Sentinels, quorum 2; three masters, a replica each."""
    assert audited(sentinels.url, Durability(replicas=2)) == []
    assert audited(cluster.url, Durability(replicas=1)) == []


def test_master_that_would_go_on_alone_is_told(sentinels: SentinelGroup) -> None:
    """min-replicas-to-write 0, or a lag that is longer than the Sentinels' patience."""
    with configured(*sentinels.nodes, min_replicas_to_write=0):
        (said,) = audited(sentinels.url)
        assert "min-replicas-to-write is 0" in said and "CONFIG SET min-replicas-to-write 1" in said
    for lag, needed in ((2, 5000), (10, 13000)):
        with configured(*sentinels.nodes, min_replicas_max_lag=lag):
            (said,) = audited(sentinels.url)
            assert f"min-replicas-max-lag is {lag} s" in said
            assert f"SENTINEL SET {SERVICE} down-after-milliseconds {needed}" in said


def test_quorum_of_one_is_told(sentinels: SentinelGroup) -> None:
    """One Sentinel alone would start a failover."""

    def set_quorum(quorum: int) -> None:
        for sentinel in sentinels.sentinels:
            with sentinel.client() as client:
                client.execute_command("SENTINEL", "SET", SERVICE, "quorum", quorum)

    set_quorum(1)
    try:
        (said,) = audited(sentinels.url)
    finally:
        set_quorum(2)
    assert "quorum is 1" in said and f"SENTINEL SET {SERVICE} quorum 2" in said


def test_few_sentinels_are_told(sentinels: SentinelGroup) -> None:
    """Where the one that answers knows no other, it may be alone."""
    alone = sentinels.sentinels[0]
    host = f"127.0.0.1:{alone.port}"
    for other in sentinels.sentinels[1:]:
        other.pause()
    try:
        with alone.client() as client:
            client.execute_command("SENTINEL", "RESET", SERVICE)
        said = audited(f"redis+sentinel://{host}/{SERVICE}")
    finally:
        for other in sentinels.sentinels[1:]:
            other.resume()
    assert any("1 Sentinels know each other" in each and "three Sentinels" in each for each in said)
    wait_for(sentinels.is_whole, "they know each other again")


def test_cluster_that_answers_when_it_is_down_is_told(cluster: ClusterGroup) -> None:
    """And lags that are longer than its patience."""
    with configured(*cluster.nodes, cluster_allow_reads_when_down="yes"):
        (said,) = audited(cluster.url)
        assert "CONFIG SET cluster-allow-reads-when-down no" in said
    with configured(*cluster.nodes, min_replicas_to_write=1, min_replicas_max_lag=2):
        (said,) = audited(cluster.url)
        assert "min-replicas-max-lag is 2 s" in said and "cluster-node-timeout 5000" in said


def test_master_without_replica_is_told(cluster: ClusterGroup) -> None:
    """Of our slot; of others it is no concern."""
    replica = cluster.replica(cluster.master("{jwtgate:0}:log"))
    replica.stop()
    try:
        wait_for(lambda: any("no replica" in each for each in audited(cluster.url)), "the master misses its replica")
    finally:
        replica.start()
        cluster.wait_until_whole()


def test_durability_that_cannot_be_had_is_told(server: Server) -> None:
    """No replica, no append-only file: every revocation would fail."""
    with configured(server, save="900 1"):
        (said,) = [each for each in audited(server.url, Durability(replicas=1)) if "JWTGATE_DURABILITY" in each]
        assert "asks for 1 replicas, and 0 follow" in said and "JWTGATE_DURABILITY=0" in said
        said = audited(server.url, Durability(is_synced=True))
        assert any("CONFIG SET appendonly yes" in each for each in said)
        with server.client(decode_responses=True) as client:
            is_old = client.info("server")["redis_version"].startswith("7.0")
        assert is_old == any("Redis 7.2 or later" in each for each in said)


def test_replicas_that_are_too_few_are_told(sentinels: SentinelGroup) -> None:
    """With as many as there are in the remedy."""
    (said,) = audited(sentinels.url, Durability(replicas=3))
    assert "asks for 3 replicas, and 2 follow" in said and "JWTGATE_DURABILITY=replicas:2" in said


def test_cluster_node_behind_a_plain_url_is_told(cluster: ClusterGroup) -> None:
    """It works until the slot moves."""
    assert any("JWTGATE_STORE=redis+cluster://" in each for each in audited(cluster.master("{jwtgate:0}:log").url))
