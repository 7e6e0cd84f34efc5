"""Where the primary is: found through Sentinels and in a cluster, lost, moved, and said clearly where it cannot be."""

from __future__ import annotations

import os
import socket
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
import redis
from beside import beside, hung_up
from servers import WATCH, Server, binary_of, free_port
from topologies import PATIENT, QUICK, SERVICE, ClusterGroup, SentinelGroup, wait_for

from jwtgate.core.history import Worker
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.stored import SessionChange
from jwtgate.errors import SettingsError, StoreUnavailable
from jwtgate.stores import Store, open_store
from jwtgate.stores.redis.cluster import slot_of
from jwtgate.stores.redis.dialling import GUIDE_SECONDS, TIMEOUT_SECONDS, Address, Dial, Dials, dial_settings, dials
from jwtgate.stores.redis.places import Guided
from jwtgate.stores.redis.wire import MOST_HOPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.server

A, B = b"A" * 16, b"B" * 16
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)
RULINGS = "{jwtgate:0}:rulings"


def opened(url: str, **more: Any) -> Store:
    """A store, to be closed by the caller."""
    return open_store(url, **{"prefix": "jwtgate", "watch": WATCH, **more})


@pytest.fixture(scope="module", params=["valkey", "redis"])
def cluster(request: pytest.FixtureRequest) -> Iterator[ClusterGroup]:
    """A cluster whose slots these tests move."""
    with ClusterGroup(binary_of(request.param)) as group:
        yield group


@pytest.fixture
def cluster_store(cluster: ClusterGroup) -> Iterator[Store]:
    """An empty store on it."""
    cluster.flush()
    with closing(opened(cluster.url)) as store:
        yield store


def target_of(cluster: ClusterGroup) -> Server:
    """A master that has not the slot of our keys."""
    source = cluster.master(RULINGS)
    return next(master for master in cluster.masters() if master is not source)


# URLs


def test_url_names_hosts_users_and_service() -> None:
    """Ports may be left out; Sentinels have users of their own; the password of neither shows."""
    found = dials("redis+sentinel://u:p%40w@a,b:1,[::1]:2/my%20service/3?sentinel_password=s3cr3t&tls=1&ssl_cert_reqs=none")
    assert found.hosts == (Address("a", 26379), Address("b", 1), Address("::1", 2))
    assert found.service == "my service"
    node, guide = found.node.arguments, found.guide.arguments
    assert (node["username"], node["password"], node["db"], node["ssl_cert_reqs"]) == ("u", "p@w", 3, "none")
    assert (guide.get("username"), guide["password"], guide.get("db"), guide["ssl_cert_reqs"]) == (None, "s3cr3t", None, "none")
    assert set(found.node.secrets) == set(found.guide.secrets) == {"p@w", "s3cr3t"}
    assert "s3cr3t" not in repr(found)
    assert [str(host) for host in found.hosts] == ["a:26379", "b:1", "[::1]:2"]
    assert dials("redis+cluster://h").hosts == (Address("h", 6379),)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:s3cr3t@h/m?socket_timeout=9",
        "redis+sentinel://:s3cr3t@h/m?tls=yes",
        "redis+sentinel://:s3cr3t@h:x/m",
        "redis+sentinel://:s3cr3t@,/m",
        "redis+cluster://:s3cr3t@h/3",
        "redis+cluster://:s3cr3t@h?sentinel_password=s3cr3t",
        "redis+cluster://h?ssl_s3cr3t=1&tls=1",
    ],
)
def test_unusable_url_is_the_operators_mistake(url: str) -> None:
    """Said at once, without the password."""
    with pytest.raises(SettingsError) as caught:
        opened(url)
    assert ":s3cr3t" not in str(caught.value) + repr(caught.value)


def test_slot_is_that_of_the_servers(cluster: ClusterGroup) -> None:
    """Counted as the cluster counts it."""
    with cluster.nodes[0].client() as client:
        for tag in ("jwtgate:0", "jwtgate:7", "a.b_c-d:12"):
            assert slot_of(tag) == client.execute_command("CLUSTER", "KEYSLOT", f"{{{tag}}}:rulings")


# Wrong servers, each with one clear error


def wrong(url: str) -> str:
    """What a look-up says."""
    with closing(opened(url)) as store, pytest.raises(StoreUnavailable) as caught:
        store.look_up([A])
    text = str(caught.value)
    assert "JWTGATE_STORE" in text
    return text


def test_cluster_url_on_a_single_server_is_said(server: Server) -> None:
    """And what to write instead."""
    text = wrong(f"redis+cluster://127.0.0.1:{server.port}")
    assert "no node of a cluster" in text and "redis://" in text


def test_single_server_url_on_a_cluster_node_is_said(cluster: ClusterGroup) -> None:
    """A node that has not our slot."""
    assert "redis+cluster://" in wrong(target_of(cluster).url)


def test_sentinel_url_on_a_data_server_is_said(server: Server) -> None:
    """It knows no SENTINEL command."""
    assert "is no Sentinel" in wrong(f"redis+sentinel://127.0.0.1:{server.port}/{SERVICE}")


def test_unknown_service_is_said(sentinel_group: SentinelGroup) -> None:
    """The name stands at the end of the URL."""
    assert "knows no such service" in wrong(sentinel_group.url.replace(SERVICE, "other"))


@pytest.mark.parametrize(("url", "what"), [("redis+sentinel://{}/m", "Sentinel"), ("redis+cluster://{}", "cluster node")])
def test_unreachable_guides_are_said_in_time(url: str, what: str) -> None:
    """From every method, and faster than two timeouts even where somebody accepts and never answers."""
    assert f"no {what} " in wrong(url.format(f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}"))
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        host = f"127.0.0.1:{deaf.getsockname()[1]}"
        store = opened(url.format(",".join([host] * 5)))
        feed = store.feed()
        steps: list[Callable[[], Any]] = [
            lambda: store.look_up([A]),
            lambda: store.write([Change(A)], time.time()),
            store.workers,
            lambda: store.forget(WORKER),
            store.audit,
            lambda: feed.renew(WORKER, None),
        ]
        for step in steps:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match=what):
                step()
            assert time.monotonic() - began < 2 * TIMEOUT_SECONDS
        store.close()


# Whose history it is


def test_return_of_a_demoted_primary_opens_an_epoch() -> None:
    """H1: it has the run_id of old, and not all that it had written: only the replid tells."""
    binary = binary_of("valkey")
    with Server(binary, *QUICK) as one, Server(binary, *QUICK, "--replicaof", f"127.0.0.1 {one.port}") as two:
        with closing(opened(one.url)) as store, one.client() as client, two.client() as other:
            wait_for(lambda: client.execute_command("WAIT", 1, 100) == 1, "the replica follows")
            before = store.write([Change(A, revoked=True)], time.time())
            wait_for(lambda: other.hexists(RULINGS, A.hex()), "the replica has it")
            other.execute_command("REPLICAOF", "NO", "ONE")
            assert store.write([Change(B, revoked=True)], time.time()).epoch == before.epoch
            run_id = client.info("server")["run_id"]
            client.execute_command("REPLICAOF", "127.0.0.1", two.port)
            wait_for(lambda: client.info("replication")["master_link_status"] == "up", "it follows")
            with pytest.raises(StoreUnavailable, match="READONLY|read only"):
                store.look_up([A])
            client.execute_command("REPLICAOF", "NO", "ONE")
            facts = store.look_up([A, B])
            assert facts.epoch.name != before.epoch.name
            assert facts.rulings == (before.rulings[0], None)
            assert client.info("server")["run_id"] == run_id


# Sentinel


def test_sentinels_have_a_password_of_their_own() -> None:
    """With it the store works; without it, or with another, the error says so and quotes none."""
    with SentinelGroup(binary_of("valkey"), sentinel_password="s3cr3t") as group:
        with closing(opened(group.url)) as store:
            assert store.look_up([A]).rulings == (None,)
        assert "NOAUTH" in wrong(group.url.partition("?")[0]) or "uthentication" in wrong(group.url.partition("?")[0])
        assert "wr0ng" not in wrong(group.url.replace("s3cr3t", "wr0ng"))


def test_dead_sentinels_hinder_nobody() -> None:
    """The others are asked; once all are gone or hang, the last known master serves on, reconnections included."""
    with SentinelGroup(binary_of("valkey"), *PATIENT) as group, closing(opened(group.url)) as store:
        group.sentinels[0].kill()
        store.write([Change(A, revoked=True)], time.time())
        group.sentinels[1].pause()
        group.sentinels[2].kill()
        feed = store.feed()
        feed.renew(WORKER, None)
        for _ in range(3):
            with group.nodes[0].client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            time.sleep(0.6)  # so long that nothing is taken for fresh
            began = time.monotonic()
            assert store.look_up([A]).rulings[0] is not None
            assert time.monotonic() - began < 2 * TIMEOUT_SECONDS
        feed.close()
        with closing(store.feed()) as another:
            another.renew(WORKER, None)
        group.sentinels[1].resume()


class Told:
    """A connection that only remembers how it was made."""

    def __init__(self, **arguments: Any) -> None:
        self.arguments = arguments

    def connect(self) -> None:
        """At once."""

    def disconnect(self) -> None:
        """Likewise."""


class Slow(Guided):
    """Guides who may all stand still."""

    is_slow = False

    def _ask(self, guide: Any, address: Address) -> Address:  # noqa: ARG002
        if self.is_slow:
            time.sleep(GUIDE_SECONDS)
            raise redis.TimeoutError
        return Address("there", 1)

    def _check(self, connection: Any) -> None:
        pass


def test_slow_guides_leave_less_time_for_the_server() -> None:
    """No request waits for more than two timeouts: what they took is taken off, from connecting and answering."""
    dial: Any = Dial(Told, {}, ())
    place = Slow(Dials(tuple(Address(host, 1) for host in "abc"), dial, dial, ""))
    quick: Any = place.connect()[0]
    assert quick.arguments["socket_timeout"] == quick.arguments["socket_connect_timeout"] == TIMEOUT_SECONDS
    place.failed(redis.ConnectionError())
    place.is_slow = True
    late: Any = place.connect()[0]
    assert late.arguments["socket_timeout"] == late.arguments["socket_connect_timeout"]
    assert GUIDE_SECONDS <= late.arguments["socket_timeout"] <= 2 * TIMEOUT_SECONDS - 3 * GUIDE_SECONDS


def test_replica_is_never_believed() -> None:
    """Sentinels that name a replica are not followed, and the error tells."""
    with SentinelGroup(binary_of("valkey")) as group, closing(opened(group.url)) as store:
        store.look_up([A])
        for sentinel in group.sentinels:
            sentinel.pause()
        master = group.nodes[0]
        with master.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", group.nodes[1].port)
        with pytest.raises(StoreUnavailable, match=r"READONLY|ReadOnlyError|ConnectionError"):
            store.look_up([A])
        for sentinel in group.sentinels:
            sentinel.resume()


def test_master_without_replicas_is_not_believed() -> None:
    """NOREPLICAS: it may have been replaced behind its back, so it answers no look-up either, and the master is sought anew."""
    with SentinelGroup(binary_of("valkey"), down_after_ms=60_000) as group, closing(opened(group.url)) as store:
        store.look_up([A])
        for replica in group.nodes[1:]:
            replica.pause()
        feed = store.feed()

        def is_refused() -> bool:
            try:
                store.look_up([A])
            except StoreUnavailable as error:
                assert "NOREPLICAS" in str(error)
                return True
            return False

        wait_for(is_refused, "the master refuses", 10.0)
        for step in (lambda: store.write([Change(A, revoked=True)], time.time()), lambda: feed.renew(WORKER, None)):
            with pytest.raises(StoreUnavailable, match="NOREPLICAS"):
                step()
        for replica in group.nodes[1:]:
            replica.resume()
        wait_for(lambda: not is_refused(), "the master is believed again", 10.0)


# Cluster


def test_store_follows_its_slot(cluster: ClusterGroup, cluster_store: Store) -> None:
    """MOVED, on the pool and on a feed: nothing is lost, and another server is another history."""
    written = cluster_store.write([Change(A, revoked=True, until=4e9)], time.time())
    feed = cluster_store.feed()
    feed.renew(WORKER, None)
    for _ in range(2):
        cluster.move_slot(RULINGS, target_of(cluster))
        renewal = feed.renew(WORKER, written.epoch.name)
        assert renewal.epoch.name != written.epoch.name
        assert not renewal.epoch.is_healed
        assert [entry.digest for entry in feed.read("0", 0, 10)] == [A]
        facts = cluster_store.look_up([A, B])
        assert (facts.rulings, facts.end) == ((written.rulings[0], None), written.end)
    feed.close()


def test_asked_elsewhere_while_the_slot_moves(cluster: ClusterGroup, cluster_store: Store) -> None:
    """ASK: with all keys gone the new node answers, with some gone nobody does; what would touch other keys has to wait."""
    user, sid = b"u" * 16, "sid-one"
    session = SessionChange(sid, user, record=b"text", ends_at=time.time() + 60, seen_at=time.time())
    written = cluster_store.write([Change(A, revoked=True, until=4e9)], time.time(), (session,))
    feed = cluster_store.feed()
    feed.renew(WORKER, None)
    target = target_of(cluster)
    cluster.begin_move(RULINGS, target)
    assert cluster_store.look_up([A]).rulings == written.rulings
    is_left = True
    while is_left:
        with suppress(StoreUnavailable):
            assert cluster_store.look_up([A]).rulings == written.rulings
        with suppress(StoreUnavailable):
            assert cluster_store.look_up([A], [sid]).sessions[0] is not None, "a session that moves was called absent"
        is_left = cluster.move_keys(RULINGS, target, 1)
    facts = cluster_store.look_up([A])
    assert facts.rulings == written.rulings
    assert facts.epoch.name != written.epoch.name
    assert feed.renew(WORKER, None).epoch.name == facts.epoch.name
    assert [entry.digest for entry in feed.read("0", 0, 10)] == [A]
    assert cluster_store.write([Change(B, revoked=True)], time.time()).epoch.name == facts.epoch.name
    for step in (
        lambda: cluster_store.look_up([A], [sid]),
        lambda: cluster_store.sessions_of(user),
        lambda: cluster_store.write((), time.time(), (SessionChange("sid-two", user, record=b"x", ends_at=4e9, seen_at=1.0),)),
    ):
        with pytest.raises(StoreUnavailable, match="AskError"):
            step()
    cluster.end_move(RULINGS, target)
    assert cluster_store.look_up([A], [sid]).sessions[0] is not None
    assert cluster_store.look_up([A, B]).epoch.name == facts.epoch.name
    feed.close()


def test_nodes_that_send_in_circles_are_left() -> None:
    """A bounded number of hops, then StoreUnavailable."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def speak() -> None:
            while True:
                try:
                    line, _ = listener.accept()
                except OSError:
                    return
                with line:
                    while data := line.recv(65536):
                        if b"SLOTS" in data:
                            line.sendall(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % port)
                        else:
                            asked.append(data)
                            line.sendall(b"-MOVED 1 127.0.0.1:%d\r\n" % port)

        with beside(speak, end=hung_up(listener)), closing(opened(f"redis+cluster://127.0.0.1:{port}")) as store:
            with pytest.raises(StoreUnavailable, match="Moved"):
                store.look_up([A])
    assert len(asked) == 1 + MOST_HOPS


def test_nodes_that_were_not_named_are_found(cluster: ClusterGroup, cluster_store: Store) -> None:
    """Every answer tells of all nodes: the ones named may go."""
    cluster_store.look_up([A])
    named = cluster.nodes[:2]
    alive = [node for node in cluster.nodes if node not in named]
    assert {guide.port for guide in cluster_store._place._guides} == {node.port for node in cluster.nodes}
    only = opened(f"redis+cluster://127.0.0.1:{alive[-1].port}")
    assert only.look_up([A]).epoch.name == cluster_store.look_up([A]).epoch.name
    only.close()


def test_partitions_stand_on_slots_of_their_own(cluster: ClusterGroup, cluster_store: Store) -> None:
    """Each is a store for itself, wherever its slot is."""
    stores = [cluster_store, *(opened(cluster.url, share=(number, 6)) for number in range(1, 6))]
    for store in stores:
        store.write([Change(A, revoked=True)], time.time())
    assert len({store.look_up([]).epoch.name for store in stores}) == 6
    assert len({cluster.master(f"{{jwtgate:{number}}}:log").port for number in range(6)}) > 1
    for store in stores[1:]:
        store.close()


def test_forked_child_finds_the_primary_by_itself(cluster: ClusterGroup, cluster_store: Store) -> None:
    """Threat 28: with locks and connections of its own."""
    cluster_store.write([Change(A, revoked=True)], time.time())
    cluster_store._place._lock.acquire()
    child = os.fork()
    if child == 0:
        try:
            cluster_store.reset_after_fork()
            found = cluster_store.look_up([A]).rulings[0] is not None
            cluster_store.close()
            os._exit(0 if found else 1)
        finally:
            os._exit(2)
    cluster_store._place._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cluster_store.look_up([A]).rulings[0] is not None


@pytest.mark.parametrize(
    "url", ["redis://h/0?nope=1", "rediss://h?socket_timeout=x", "unix:///s?ssl=1", "redis://h?protocol=9"]
)
def test_options_that_a_url_does_not_take_are_named(url: str) -> None:
    """With the variable, whatever redis-py would have made of them."""
    option = url.partition("?")[2].partition("=")[0]
    with pytest.raises(SettingsError, match=rf"^JWTGATE_STORE: .* not: {option}\.$"):
        dial_settings(url)


@pytest.mark.parametrize(
    "url", ["redis+sentinel://h/s?nope=1", "redis+cluster://h?nope=1", "redis+cluster://h?tls=2", "redis+cluster://h/1"]
)
def test_mistakes_in_the_url_of_several_servers_name_the_variable(url: str) -> None:
    """As those of one server."""
    with pytest.raises(SettingsError, match=r"^JWTGATE_STORE: "):
        dials(url)
