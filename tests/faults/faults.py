"""Everything that can happen to a store, to the network before it, and to the processes that use it.

A fault is a generator: it does something, yields how many seconds to let pass, and undoes it. What it draws comes from the
run's own seed, so a run can be repeated; times are in leases. It ends where nothing is wrong any more; what it leaves behind is for the gate.

In a mix another fault may have taken the server away. Faults of the room "server" have it to themselves; whoever else asks
something of it does so by ``in_time``: it waits, and what never could be done is left out and said so.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Generator, Iterator

    from faults.scene import Scene

    Happening = Generator[float, None, float | None]
    """What it returns, if anything: how many seconds it had to wait for what it asked."""

MANY_KEYS = 4000
PATIENCE_LEASES = 4.0
"""No fault takes a server away for longer than three leases, and a start."""

ASK_AGAIN_SECONDS = 0.05
KEYS = ("rulings", "until", "log", "workers")


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind.

    Attributes:
        name: as in the report and on the command line.
        happen: see the module.
        room: what it is done to; a mix draws at most one of each room: server, network, worker.
        needs: powers of the store.
        loses_history: whether history may be lost, so that healing is allowed to take its time.
    """

    name: str
    happen: Callable[[Scene, random.Random], Happening]
    room: str
    needs: frozenset[str]
    loses_history: bool


FAULTS: dict[str, Fault] = {}


def fault(name: str, room: str, *needs: str, loses_history: bool = False) -> Callable[[Any], Any]:
    """Puts a generator function into ``FAULTS``."""

    def register(happen: Any) -> Any:
        FAULTS[name] = Fault(name, happen, room, frozenset(needs), loses_history)
        return happen

    return register


class LeftOut(Exception):  # noqa: N818 - nothing went wrong
    """The fault did not happen: what it asks for could not be done. Everything else it did is undone."""


def in_time(scene: Scene, is_done: Callable[[], bool]) -> Happening:
    """Tries until it is done, others going on meanwhile; returns how long that took, if not done at once. Raises: LeftOut."""
    began = scene.now
    if is_done():
        return None
    while scene.now - began < PATIENCE_LEASES * scene.lease:
        yield ASK_AGAIN_SECONDS
        if is_done():
            return scene.now - began
    raise LeftOut(f"it could not be done for {scene.now - began:.1f} s")


# --- processes that use the store


@fault("worker paused", "worker")
def worker_paused(scene: Scene, draw: random.Random) -> Happening:
    """Its lease is over when it goes on."""
    names = scene.some_workers(draw)
    for name in names:
        scene.world.signal(name, signal.SIGSTOP)
    yield draw.uniform(0.2, 3.0) * scene.lease
    for name in names:
        scene.world.signal(name, signal.SIGCONT)


@fault("worker killed", "worker")
def worker_killed(scene: Scene, draw: random.Random) -> Happening:
    """W2, F1: it is waited for one reach at most; another starts from nothing."""
    name = draw.choice(scene.workers)
    scene.world.kill(name)
    yield draw.uniform(0.0, 1.0) * scene.lease
    scene.replace(name)
    scene.wait_started()
    yield 0.0


@fault("worker forks", "worker")
def worker_forks(scene: Scene, draw: random.Random) -> Happening:
    """The child has nothing of its parent's view, connections and lease."""
    for name in scene.some_workers(draw)[:2]:
        scene.world.signal(name, signal.SIGUSR1)
    yield 0.5


@fault("wall clock stepped", "worker")
def wall_clock_stepped(scene: Scene, draw: random.Random) -> Happening:
    """The order is the change log's, the lease is on the boot clock."""
    names = scene.some_workers(draw)
    for _ in range(draw.randint(1, 3)):
        for name in names:
            scene.world.step_wall(name, draw.choice((-1, 1)) * draw.uniform(2.0, 50.0))
        yield draw.uniform(0.3, 1.5) * scene.lease
    for name in names:
        scene.world.step_wall(name, 0.0)
    yield 0.05


# --- the network


@fault("slow network", "network", "proxy")
def slow_network(scene: Scene, draw: random.Random) -> Happening:
    """F3: an answer that is older than the lease grants nothing."""
    victims = scene.some_proxies(draw)
    for proxy in victims:
        proxy.delay_seconds = draw.choice((0.02, 0.06, 0.12, 0.3))
    yield draw.uniform(1.0, 3.0) * scene.lease
    for proxy in victims:
        proxy.pass_on()


def _held(victims: list[Any], seconds: float, *, questions: bool, answers: bool) -> Happening:
    for proxy in victims:
        proxy.hold(questions=questions, answers=answers)
    yield seconds
    for proxy in victims:
        proxy.pass_on()


@fault("hanging network", "network", "proxy")
def hanging_network(scene: Scene, draw: random.Random) -> Happening:
    """For everybody, both ways; what was held arrives late."""
    yield from _held(list(scene.proxies.values()), draw.uniform(0.3, 3.0) * scene.lease, questions=True, answers=True)


@fault("partition of some workers", "network", "proxy")
def partition(scene: Scene, draw: random.Random) -> Happening:
    """W2: revocations by the others hold after one reach, though these cannot hear of them."""
    yield from _held(scene.some_proxies(draw), draw.uniform(0.5, 3.0) * scene.lease, questions=True, answers=True)


@fault("one-way cut, questions", "network", "proxy")
def questions_cut(scene: Scene, draw: random.Random) -> Happening:
    """Nothing arrives at the store."""
    yield from _held(scene.some_proxies(draw), draw.uniform(0.5, 3.0) * scene.lease, questions=True, answers=False)


@fault("one-way cut, answers", "network", "proxy")
def answers_cut(scene: Scene, draw: random.Random) -> Happening:
    """The store goes on hearing those who cannot hear it."""
    yield from _held(scene.some_proxies(draw), draw.uniform(0.5, 3.0) * scene.lease, questions=False, answers=True)


@fault("FLUSHALL during a partition", "network", "proxy", "redis", loses_history=True)
def flushed_during_partition(scene: Scene, draw: random.Random) -> Happening:
    """L1: those who were cut off come back to a new epoch, and bring what they know."""
    victims = scene.some_proxies(draw)
    for proxy in victims:
        proxy.hold()
    try:
        yield draw.uniform(0.3, 1.5) * scene.lease
        waited = yield from in_time(scene, scene.store.flush)
        yield draw.uniform(0.3, 1.5) * scene.lease
    finally:
        for proxy in victims:
            proxy.pass_on()
    return waited


@fault("connections cut", "network", "proxy")
def connections_cut(scene: Scene, draw: random.Random) -> Happening:
    """Refused for a while, then made again and cut again."""
    victims = scene.some_proxies(draw)
    for proxy in victims:
        proxy.cut()
    yield draw.uniform(0.2, 2.0) * scene.lease
    for proxy in victims:
        proxy.pass_on()
    for _ in range(draw.randint(0, 5)):
        for proxy in victims:
            proxy.drop()
        yield draw.uniform(0.02, 0.2) * scene.lease


# --- the server process


@fault("server paused", "server", "server")
def server_paused(scene: Scene, draw: random.Random) -> Happening:
    """F3: the lease counts from when the read was sent."""
    scene.store.server.pause()
    yield draw.uniform(0.2, 3.0) * scene.lease
    scene.store.server.resume()


@fault("killed, restarted with its data", "server", "server", "one server", loses_history=True)
def restarted_with_data(scene: Scene, draw: random.Random) -> Happening:
    """H1: another run of the server is another epoch."""
    scene.store.server.kill()
    yield draw.uniform(0.05, 2.0) * scene.lease
    scene.store.server.start()


@fault("killed, restarted empty", "server", "redis", "one server", loses_history=True)
def restarted_empty(scene: Scene, draw: random.Random) -> Happening:
    """L1: the processes write back what they know."""
    server = scene.store.server
    server.kill()
    shutil.rmtree(server.folder)
    server.folder.mkdir()
    yield draw.uniform(0.05, 2.0) * scene.lease
    server.start()


@fault("restored from a backup", "server", "redis", "one server", loses_history=True)
def restored(scene: Scene, draw: random.Random) -> Happening:
    """H1, L1: the older copy carries the same epoch record, and lacks what was revoked since."""
    server = scene.store.server
    data, copy = server.folder / "appendonlydir", server.folder.with_suffix(".copy")
    shutil.copytree(data, copy, dirs_exist_ok=True)
    yield draw.uniform(0.5, 3.0) * scene.lease
    server.kill()
    shutil.rmtree(data)
    copy.rename(data)
    yield draw.uniform(0.0, 1.0) * scene.lease
    server.start()


@fault("LOADING", "server", "redis", "one server", loses_history=True)
def loading(scene: Scene, draw: random.Random) -> Happening:
    """It answers while it reads its data back, and every answer is an error."""
    server = scene.store.server
    for first in range(0, MANY_KEYS, 1000):
        scene.store.admin.mset({f"stranger-{first + number}": "x" * 50 for number in range(1000)})
    scene.store.admin.bgrewriteaof()
    scene.wait_for(lambda: not scene.store.admin.info("persistence")["aof_rewrite_in_progress"])
    microseconds = int(draw.uniform(0.5, 2.0) * 1e6 / MANY_KEYS)
    options = server.options
    server.kill()
    server.options = (
        *options,
        *("--key-load-delay", str(microseconds), "--loading-process-events-interval-bytes", "4096"),
    )
    yield 0.05
    server.start()
    server.options = options
    for first in range(0, MANY_KEYS, 1000):
        scene.store.admin.unlink(*(f"stranger-{first + number}" for number in range(1000)))


# --- what the server says


@contextlib.contextmanager
def _set(scene: Scene, **values: str) -> Iterator[None]:
    """CONFIG SET, and back."""
    admin, names = scene.store.admin, [name.replace("_", "-") for name in values]
    before: Any = {name: admin.config_get(name)[name] for name in names}
    for name, value in zip(names, values.values(), strict=True):
        admin.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            admin.config_set(name, value)


def _kill_clients(scene: Scene) -> None:
    scene.store.admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@fault("connections killed", "server", "redis")
def connections_killed(scene: Scene, draw: random.Random) -> Happening:
    """A follower's new connection registers before it reads (F2)."""
    for _ in range(draw.randint(1, 12)):
        _kill_clients(scene)
        yield draw.uniform(0.01, 0.2) * scene.lease


@fault("READONLY", "server", "redis", "one server", loses_history=True)
def read_only(scene: Scene, draw: random.Random) -> Happening:
    """It was made a replica of a host that is not there; later it is a master again, with another replication id."""
    scene.store.admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    yield draw.uniform(0.3, 2.5) * scene.lease
    scene.store.admin.execute_command("REPLICAOF", "NO", "ONE")


@fault("MISCONF", "server", "redis", "one server")
def misconf(scene: Scene, draw: random.Random) -> Happening:
    """Its snapshots fail, so it takes no writes."""
    obstacle = scene.store.server.folder / "dump.rdb"
    shutil.rmtree(obstacle, ignore_errors=True)
    obstacle.unlink(missing_ok=True)
    (obstacle / "in the way").mkdir(parents=True)
    admin = scene.store.admin
    with _set(scene, save="3600 1000000", stop_writes_on_bgsave_error="yes"):
        admin.bgsave()
        scene.wait_for(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
        yield draw.uniform(0.3, 2.5) * scene.lease
    shutil.rmtree(obstacle)
    admin.bgsave()


@fault("OOM", "server", "redis")
def out_of_memory(scene: Scene, draw: random.Random) -> Happening:
    """Nothing is evicted, nothing is written."""
    with _set(scene, maxmemory_policy="noeviction", maxmemory="1"):
        yield draw.uniform(0.3, 2.5) * scene.lease


@fault("NOREPLICAS", "server", "redis", "one server")
def no_replicas(scene: Scene, draw: random.Random) -> Happening:
    """It wants more replicas than it has."""
    with _set(scene, min_replicas_to_write="1"):
        yield draw.uniform(0.3, 2.5) * scene.lease


@fault("BUSY", "server", "redis", "one server")
def busy(scene: Scene, draw: random.Random) -> Happening:
    """Somebody's script does not end: silence first, then BUSY, until it is killed."""

    def loop() -> None:
        with contextlib.suppress(redis.RedisError), scene.store.server.client() as client:
            client.eval("while true do end", 0)

    with _set(scene, busy_reply_threshold=str(draw.choice((50, 300, 1000)))):
        thread = threading.Thread(target=loop)
        thread.start()
        yield draw.uniform(0.3, 2.5) * scene.lease
        with contextlib.suppress(redis.RedisError):
            scene.store.admin.script_kill()
        scene.wait_for(lambda: _killed(scene, thread))


def _killed(scene: Scene, thread: threading.Thread) -> bool:
    if thread.is_alive():
        with contextlib.suppress(redis.RedisError):
            scene.store.admin.script_kill()
    return not thread.is_alive()


@fault("NOSCRIPT", "server", "redis")
def no_script(scene: Scene, draw: random.Random) -> Happening:
    """Scripts are forgotten, again and again."""
    for _ in range(draw.randint(1, 20)):
        scene.store.admin.script_flush()
        yield draw.uniform(0.01, 0.1) * scene.lease


@fault("maxclients", "server", "redis", "one server")
def max_clients(scene: Scene, draw: random.Random) -> Happening:
    """Those who were cut off are not let in again; sometimes one or two are."""
    with _set(scene, maxclients=str(draw.randint(1, 4))):
        _kill_clients(scene)
        yield draw.uniform(0.3, 2.5) * scene.lease


@fault("password wanted", "server", "redis", "one server")
def password_wanted(scene: Scene, draw: random.Random) -> Happening:
    """The password was changed: connections that stand go on, new ones are refused."""
    with _set(scene, requirepass="another"):
        if draw.random() < 0.7:
            _kill_clients(scene)
        yield draw.uniform(0.3, 2.5) * scene.lease


@fault("rights lost", "server", "redis", loses_history=True)
def rights_lost(scene: Scene, draw: random.Random) -> Happening:
    """In the middle of a connection the user may no longer do what it did. A script refused half-way leaves half a step, and that
    shows as rewritten history.
    """
    lost = draw.choice(("-evalsha", "-info", "-hset", "-xadd", "-xread", "resetkeys"))
    admin = scene.store.server.client(single_connection_client=True)
    try:
        admin.execute_command("ACL", "SETUSER", "keeper", "on", ">kept", "~*", "&*", "+@all")
        admin.execute_command("AUTH", "keeper", "kept")
        admin.execute_command("ACL", "SETUSER", "default", lost)
        yield draw.uniform(0.3, 2.5) * scene.lease
        admin.execute_command("ACL", "SETUSER", "default", "+@all", "~*")
    finally:
        admin.close()


# --- what becomes of the data


@fault("FLUSHALL", "server", "redis", loses_history=True)
def flushed(scene: Scene, draw: random.Random) -> Happening:
    """H1, H2: a blocked read sleeps through it, the epoch does not."""
    scene.store.admin.flushall()
    yield 0.0


@fault("FLUSHALL while healing", "server", "redis", loses_history=True)
def flushed_again(scene: Scene, draw: random.Random) -> Happening:
    """L1: the epoch is checked at each batch."""
    for _ in range(draw.randint(2, 5)):
        scene.store.admin.flushall()
        yield draw.uniform(0.05, 1.5) * scene.lease


@fault("eviction", "server", "redis", loses_history=True)
def evicted(scene: Scene, draw: random.Random) -> Happening:
    """Any of our keys may go, one by one."""
    with _set(scene, maxmemory_policy="allkeys-random", maxmemory_samples="1", maxmemory="0"):
        for _ in range(draw.randint(1, 4)):
            used: Any = scene.store.admin.info("memory")["used_memory"]
            scene.store.admin.config_set("maxmemory", int(used) - 20_000)
            with contextlib.suppress(redis.RedisError):
                scene.store.admin.set("stranger", "x" * 1000)
            scene.store.admin.config_set("maxmemory", 0)
            yield draw.uniform(0.1, 0.8) * scene.lease


@fault("log trimmed", "server", "redis")
def trimmed(scene: Scene, draw: random.Random) -> Happening:
    """H2: XREAD skips trimmed entries silently; the links do not."""
    for _ in range(draw.randint(1, 20)):
        for tag in scene.store.tags:
            scene.store.admin.xtrim(f"{tag}:log", maxlen=0, approximate=False)
        yield draw.uniform(0.02, 0.1) * scene.lease


@fault("one key deleted", "server", "redis", loses_history=True)
def deleted(scene: Scene, draw: random.Random) -> Happening:
    """Log, rulings, ends or workers: what is left must not be taken for the whole."""
    for _ in range(draw.randint(1, 3)):
        scene.store.admin.delete(f"{draw.choice(scene.store.tags)}:{draw.choice(KEYS)}")
        yield draw.uniform(0.05, 1.0) * scene.lease


@fault("WRONGTYPE", "server", "redis", loses_history=True)
def wrong_type(scene: Scene, draw: random.Random) -> Happening:
    """Somebody else's value stands where ours should, until it is deleted."""
    key = f"{draw.choice(scene.store.tags)}:{draw.choice(KEYS)}"
    if draw.random() < 0.5:
        scene.store.admin.set(key, "mine now")
    else:
        scene.store.admin.pipeline().delete(key).lpush(key, "mine now").execute()  # nobody makes it anew in between
    yield draw.uniform(0.3, 2.0) * scene.lease
    scene.store.admin.delete(key)
