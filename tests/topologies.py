"""Real groups of servers for tests: one primary watched by Sentinels, and a cluster. Each server is a child process.

``SentinelGroup`` and ``ClusterGroup`` start in a few seconds and end with ``close``; all that can go wrong with them is a
method. "Master" is what the servers call a primary.
"""

from __future__ import annotations

import time
from binascii import crc_hqx
from typing import TYPE_CHECKING, Any, Self, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import Server, closed_on_failure, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["PATIENT", "QUICK", "SERVICE", "ClusterGroup", "SentinelGroup", "SentinelServer", "slot_of", "wait_for"]

T = TypeVar("T")

SERVICE = "main"
PATIENCE_SECONDS = 45.0
"""A Sentinel that did not get to run for two seconds trusts nothing for thirty (TILT), and replaces nobody meanwhile; by then
the replicas of a dead primary have been without one for too long to be elected. So a group in TILT is not whole.
"""

SLOTS = 16384

QUICK = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
"""A replica follows at once, and a dead primary is noticed."""

PATIENT = ("--min-replicas-max-lag", "10")
"""For groups that are to go on whatever the machine does: replicas of a starved one are late by more than a second."""


DOWN_AFTER_MS = 2000
"""More than the second that a Sentinel lets pass between two attempts to connect, by as much as a starved machine may be late.

It counts the silence of a new master from the moment it hears of it, and may have to wait out that second before it can speak
to it at all. With 1000 two of them now and then take it for dead within that second and replace it. Then there are two masters
without a replica, neither takes writes (NOREPLICAS), and the first is told to follow only ten seconds later.
"""


def wait_for(is_true: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Until it is, and what it said then; what a server that is not there yet answers counts as no."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if said := is_true():
                return said
        except (redis.RedisError, OSError):
            pass
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def slot_of(key: str) -> int:
    """The hash slot of a key: CRC16 (XMODEM) of its hash tag, where it has one."""
    tag = key.partition("{")[2].partition("}")[0] if "}" in key.partition("{")[2] else ""
    return crc_hqx((tag or key).encode(), 0) % SLOTS


def _client(server: Server, **options: Any) -> redis.Redis:
    """Short of patience, and asks once: some of these servers stand still."""
    once: Any = Retry(NoBackoff(), 0)
    return redis.Redis(port=server.port, socket_timeout=1, decode_responses=True, retry=once, **options)


def _ask(server: Server, *command: str | int, **options: Any) -> Any:
    with _client(server, **options) as client:
        return client.execute_command(*command)


def _replication(server: Server) -> dict[str, Any]:
    with _client(server) as client:
        return client.info("replication")  # type: ignore[return-value]


def _good_replicas(master: Server) -> int:
    """Those that min-replicas-to-write counts; where that is 0 nobody counts, and all that are connected do."""
    there = _replication(master)
    return int(there.get("min_slaves_good_slaves", there["connected_slaves"]))


class SentinelServer(Server):
    """One Sentinel. It rewrites its configuration itself, so a restart finds what it had learnt."""

    def __init__(self, binary: str, master: Server, *, password: str | None = None, down_after_ms: int = DOWN_AFTER_MS) -> None:
        super().__init__(binary)
        self.password = password
        lines = [
            *(f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}"),
            f"sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 3000",
            f"sentinel parallel-syncs {SERVICE} 2",
            *(() if password is None else (f"requirepass {password}", f"sentinel sentinel-pass {password}")),
        ]
        self.configuration = self.folder / "sentinel.conf"
        self.configuration.write_text("\n".join(lines) + "\n")

    def _command(self) -> list[str]:
        return [self.binary, str(self.configuration), "--sentinel"]


class SentinelGroup:
    """One master, two replicas, three Sentinels, quorum 2.

    Attributes:
        nodes: the three data servers; the first one starts as master.
        sentinels: the three Sentinels.
    """

    def __init__(
        self, binary: str, *options: str, sentinel_password: str | None = None, down_after_ms: int = DOWN_AFTER_MS
    ) -> None:
        """Args: options: of each data server, after those of the group. Does not start anything."""
        writable = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1")
        first = Server(binary, *QUICK, *writable, *options)
        following = ("--replicaof", f"127.0.0.1 {first.port}")
        self.nodes = [first, *(Server(binary, *QUICK, *writable, *options, *following) for _ in range(2))]
        self.sentinels = [
            SentinelServer(binary, first, password=sentinel_password, down_after_ms=down_after_ms) for _ in range(3)
        ]
        self.sentinel_password = sentinel_password

    @property
    def url(self) -> str:
        """Of a store on this group."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        password = "" if self.sentinel_password is None else f"?sentinel_password={self.sentinel_password}"
        return f"redis+sentinel://{hosts}/{SERVICE}{password}"

    def start(self) -> Self:
        """Returns once the Sentinels know each other and the replicas, and writes are accepted."""
        for server in (*self.nodes, *self.sentinels):
            server.start()
        wait_for(self.is_whole, "Sentinels and replicas know each other")
        return self

    def is_whole(self) -> bool:
        """Whether every server is up and in its place: nothing is left to be repaired."""
        master = self.master()
        others = [node for node in self.nodes if node is not master]
        followed = all(
            (there := _replication(node))["role"] == "slave"
            and there["master_link_status"] == "up"
            and there["master_port"] == master.port
            for node in others
        )
        return (
            followed and _good_replicas(master) == 2 and all(self._is_informed(sentinel, master) for sentinel in self.sentinels)
        )

    def _is_informed(self, sentinel: Server, master: Server) -> bool:
        with _client(sentinel, **self._password()) as client:
            state: Any = client.sentinel_master(SERVICE)
            own: Any = client.info("sentinel")
        known = (state["port"], state["num-slaves"], state["num-other-sentinels"])
        return known == (master.port, 2, 2) and not (state["is_sdown"] or state["is_odown"] or own["sentinel_tilt"])

    def _password(self) -> dict[str, Any]:
        return {} if self.sentinel_password is None else {"password": self.sentinel_password}

    def named(self) -> Server:
        """The node that the Sentinels name now: the first one that answers."""
        for sentinel in self.sentinels:
            try:
                _, port = _ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE, **self._password())
            except (redis.RedisError, OSError):
                continue
            return next(node for node in self.nodes if node.port == int(port))
        raise redis.ConnectionError("no Sentinel answers")

    def master(self) -> Server:
        """The node that the Sentinels name and that says so itself. Raises: redis.ConnectionError: there is none."""
        node = self.named()
        if _replication(node)["role"] != "master":
            raise redis.ConnectionError("the named node is not master")
        return node

    def wait_for_master(self, *, other_than: Server | None = None, seconds: float = PATIENCE_SECONDS) -> Server:
        """The first master that takes writes, by what the Sentinels and it itself say."""
        return wait_for(lambda: self._serving(other_than), "a new master takes writes", seconds)

    def _serving(self, other_than: Server | None) -> Server | None:
        master = self.master()
        return master if master is not other_than and _good_replicas(master) >= 1 else None

    def followed(self, node: Server) -> Server | None:
        """Whom it is a replica of, and in touch with. None: nobody."""
        there = _replication(node)
        if there["role"] != "slave" or there["master_link_status"] != "up":
            return None
        return next(each for each in self.nodes if each.port == there["master_port"])

    def wait_until_whole(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Until a node that came back follows again."""
        wait_for(self.is_whole, "the group is whole", seconds)

    def failover(self) -> Server:
        """Has the Sentinels move the service to a replica, with all its data; returns the new master."""
        old = self.master()
        wait_for(lambda: self._begin_failover(), "a Sentinel begins a failover")
        return self.wait_for_master(other_than=old)

    def _begin_failover(self) -> bool:
        return _ask(self.sentinels[0], "SENTINEL", "FAILOVER", SERVICE, **self._password()) in (True, "OK")

    def cut_off_master(self) -> Server:
        """The master goes on serving, but neither replicas nor Sentinels get through to it: a partition. Needs ``with_user``.

        They speak as the default user, which ends here. A store on ``url_of_a_user`` still gets through. Returns who it is.
        """
        master = self.master()
        with _client(master, username="gate", password="pw") as client:
            client.execute_command("ACL", "SETUSER", "default", "off")
            client.execute_command("CLIENT", "KILL", "USER", "default")
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        return master

    def reconnect(self, master: Server) -> None:
        """Ends ``cut_off_master``."""
        with _client(master, username="gate", password="pw") as client:
            client.execute_command("ACL", "SETUSER", "default", "on")

    @property
    def url_of_a_user(self) -> str:
        """Of a store whose user is not the one that replicas and Sentinels speak as; ``with_user`` has made it."""
        return self.url.replace("://", "://gate:pw@")

    def with_user(self) -> Self:
        """Makes that user on every data server."""
        for node in self.nodes:
            _ask(node, "ACL", "SETUSER", "gate", "on", ">pw", "~*", "&*", "+@all")
        return self

    def flush(self) -> None:
        """Empties it."""
        _ask(self.master(), "FLUSHALL")

    def kill_master(self) -> Server:
        """SIGKILL; returns who it was."""
        master = self.master()
        master.kill()
        return master

    def pause_master(self) -> Server:
        """SIGSTOP; returns who it is. ``resume`` it afterwards: it comes back believing it is master."""
        master = self.master()
        master.pause()
        return master

    def close(self) -> None:
        """Ends everything. May be called twice."""
        for server in (*self.sentinels, *self.nodes):
            server.close()

    def __enter__(self) -> Self:
        with closed_on_failure(self.close):
            return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


class ClusterGroup:
    """Three masters with a third of the slots each, and one replica each.

    Attributes:
        nodes: six servers; the first three start as masters, node i + 3 as the replica of node i.
    """

    def __init__(self, binary: str, *options: str, node_timeout_ms: int = 1000) -> None:
        """Args: options: of each server, after those of the group. Does not start anything."""
        clustered = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
        lively = ("--cluster-node-timeout", str(node_timeout_ms), "--cluster-replica-validity-factor", "0")
        self.bus_ports = {}
        self.nodes: list[Server] = []
        for _ in range(6):
            bus = free_port()
            node = Server(binary, *QUICK, *clustered, *lively, "--cluster-port", str(bus), *options)
            self.bus_ports[node.port] = bus
            self.nodes.append(node)

    @property
    def url(self) -> str:
        """Of a store on this group; names two of its nodes, the others are to be found."""
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[1].port}"

    def start(self) -> Self:
        """Returns once all nodes agree and the replicas follow."""
        for node in self.nodes:
            node.start()
        masters, replicas = self.nodes[:3], self.nodes[3:]
        bounds = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
        for index, node in enumerate(masters):
            _ask(node, "CLUSTER", "ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
        for index, node in enumerate(self.nodes):
            _ask(node, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            _ask(self.nodes[0], "CLUSTER", "MEET", "127.0.0.1", node.port, self.bus_ports[node.port])
        wait_for(lambda: all(self._knows(node, 6) for node in self.nodes), "all nodes have met")
        for master, replica in zip(masters, replicas, strict=True):
            _ask(replica, "CLUSTER", "REPLICATE", self.id_of(master))
        self.wait_until_whole()
        return self

    @staticmethod
    def _knows(node: Server, count: int) -> bool:
        lines = [line.split(" ") for line in _ask(node, "CLUSTER", "NODES").splitlines()]
        return len(lines) == count and all("handshake" not in line[2] and "noaddr" not in line[2] for line in lines)

    @staticmethod
    def id_of(node: Server) -> str:
        """Its name in the cluster."""
        return str(_ask(node, "CLUSTER", "MYID"))

    def is_whole(self) -> bool:
        """Whether every node is up, agrees, and each master has its replica."""
        owners = {tuple(sorted(self._owners(node).items())) for node in self.nodes}
        replications = [_replication(node) for node in self.nodes]
        replicas = [there for there in replications if there["role"] == "slave"]
        return (
            len(owners) == 1
            and len(replicas) == 3
            and all(there["master_link_status"] == "up" for there in replicas)
            and all(there["connected_slaves"] == 1 for there in replications if there["role"] == "master")
            and all("cluster_state:ok" in _ask(node, "CLUSTER", "INFO") for node in self.nodes)
            and all("fail" not in _ask(node, "CLUSTER", "NODES") for node in self.nodes)
        )

    def wait_until_whole(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Until a node that came back follows again."""
        wait_for(self.is_whole, "the cluster is whole", seconds)

    @staticmethod
    def _owners(node: Server) -> dict[tuple[int, int], int]:
        """Ranges of slots to the port of their master, as this node has it."""
        return {(first, last): master[1] for first, last, master, *_ in _ask(node, "CLUSTER", "SLOTS")}

    def _alive(self) -> Iterable[Server]:
        return (node for node in self.nodes if node.process is not None and node not in self._paused)

    _paused: tuple[Server, ...] = ()

    def master(self, key_or_slot: str | int) -> Server:
        """Who has the slot, in the eyes of most nodes that answer. Raises: redis.ConnectionError: nobody."""
        slot = slot_of(key_or_slot) if isinstance(key_or_slot, str) else key_or_slot
        votes: dict[int, int] = {}
        for node in self._alive():
            try:
                owners = self._owners(node)
            except (redis.RedisError, OSError):
                continue
            for (first, last), port in owners.items():
                if first <= slot <= last:
                    votes[port] = votes.get(port, 0) + 1
        if not votes:
            raise redis.ConnectionError("nobody has the slot")
        port = max(votes, key=lambda port: votes[port])
        return next(node for node in self.nodes if node.port == port)

    def masters(self) -> list[Server]:
        """Those with slots."""
        return list(dict.fromkeys(self.master(slot) for slot in (0, SLOTS // 2, SLOTS - 1)))

    def replica(self, master: Server) -> Server:
        """One that follows ``master`` now."""
        for node in self._alive():
            there = _replication(node)
            if there["role"] == "slave" and there["master_port"] == master.port:
                return node
        raise redis.ConnectionError("nobody follows it")

    def kill_master(self, key_or_slot: str | int) -> Server:
        """SIGKILL to the master of the slot; returns who it was."""
        master = self.master(key_or_slot)
        master.kill()
        return master

    def pause_master(self, key_or_slot: str | int) -> Server:
        """SIGSTOP to the master of the slot; returns who it is. End it with ``resume``."""
        master = self.master(key_or_slot)
        self.ignore(master)
        master.pause()
        return master

    def ignore(self, node: Server) -> None:
        """From here on it is not asked who has which slot, until ``resume``."""
        self._paused = (*self._paused, node)

    def resume(self, node: Server) -> None:
        """Ends ``pause_master``."""
        self._paused = tuple(each for each in self._paused if each is not node)
        node.resume()

    def wait_for_master(self, key_or_slot: str | int, *, other_than: Server | None = None) -> Server:
        """The first master of the slot that serves."""
        return wait_for(lambda: self._serving(key_or_slot, other_than), "a new master serves the slot")

    def _serving(self, key_or_slot: str | int, other_than: Server | None) -> Server | None:
        master = self.master(key_or_slot)
        state = _ask(master, "CLUSTER", "INFO")
        is_one = master is not other_than and "cluster_state:ok" in state and _replication(master)["role"] == "master"
        return master if is_one else None

    def failover(self, key_or_slot: str | int, *, how: str = "") -> Server:
        """Makes the slot's replica its master, with all data unless ``how`` is FORCE or TAKEOVER; returns it."""
        old = self.master(key_or_slot)
        replica = self.replica(old)
        _ask(replica, "CLUSTER", "FAILOVER", *([how] if how else []))
        wait_for(lambda: self.master(key_or_slot) is replica, "the replica is master")
        return self.wait_for_master(key_or_slot, other_than=old)

    # --- resharding, in its three steps

    def begin_move(self, key_or_slot: str | int, to: Server) -> None:
        """From here on the old master answers ASK for keys that it has no more."""
        slot, source = self._slot_and_master(key_or_slot)
        _ask(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        _ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(to))

    def move_keys(self, key_or_slot: str | int, to: Server, count: int = 1000) -> int:
        """MIGRATEs up to ``count`` keys; returns how many are left."""
        slot, source = self._slot_and_master(key_or_slot)
        with source.client() as client:
            keys = client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, count)
            if keys:
                client.execute_command("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
            return int(client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot))

    def end_move(self, key_or_slot: str | int, to: Server) -> None:
        """Tells everybody; from here on the old master answers MOVED."""
        slot, source = self._slot_and_master(key_or_slot)
        first = [to, source]
        for node in (*first, *(node for node in self.nodes[:] if node not in first)):
            if _replication(node)["role"] == "master":
                _ask(node, "CLUSTER", "SETSLOT", slot, "NODE", self.id_of(to))
        wait_for(lambda: all(self.master_in(node, slot) is to for node in self._alive()), "everybody knows of the move")

    def move_slot(self, key_or_slot: str | int, to: Server) -> None:
        """A real resharding of one slot, key by key."""
        self.begin_move(key_or_slot, to)
        while self.move_keys(key_or_slot, to, 1):
            pass
        self.end_move(key_or_slot, to)

    def master_in(self, node: Server, slot: int) -> Server | None:
        """Who has the slot in the eyes of ``node``."""
        for (first, last), port in self._owners(node).items():
            if first <= slot <= last:
                return next(each for each in self.nodes if each.port == port)
        return None

    def _slot_and_master(self, key_or_slot: str | int) -> tuple[int, Server]:
        slot = slot_of(key_or_slot) if isinstance(key_or_slot, str) else key_or_slot
        return slot, self.master(slot)

    def flush(self) -> None:
        """Empties every master."""
        for master in self.masters():
            _ask(master, "FLUSHALL")

    def close(self) -> None:
        """Ends everything. May be called twice."""
        for node in self.nodes:
            node.close()

    def __enter__(self) -> Self:
        with closed_on_failure(self.close):
            return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
