"""A server that refuses, is full or busy, or holds garbage: always StoreUnavailable, never a password."""

from __future__ import annotations

import contextlib
import time
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import redis
from beside import beside
from servers import WATCH, Server, free_port
from topologies import wait_for

from jwtgate.core.history import Epoch, Watch, Worker
from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

A, B = b"A" * 16, b"B" * 16
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)
RULINGS, UNTIL, LOG, WORKERS = (f"{{jwtgate:0}}:{name}" for name in ("rulings", "until", "log", "workers"))


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    """A plain client of ``server``, for looking at keys and spoiling them."""
    with server.client() as client:
        yield client


def revoke(store: Store, *digests: bytes) -> Epoch:
    """Writes a plain revocation of each; returns the epoch it was written in."""
    return store.write([Change(digest, revoked=True) for digest in digests], time.time()).epoch


def opened(server: Server, watch: Watch = WATCH) -> Store:
    """A store on ``server``, to be closed by the caller."""
    return open_store(server.url, prefix="jwtgate", watch=watch)


# What the server refuses, and garbage


@pytest.mark.parametrize("key", [RULINGS, UNTIL, LOG, WORKERS])
def test_key_of_a_wrong_type_makes_the_store_unavailable(server_store: Store, client: Any, key: str) -> None:
    """WRONGTYPE raises, and no half of the write is stored (W1)."""
    server_store.write([Change(B, until=time.time() - 10)], time.time())
    before = client.hgetall(RULINGS)
    client.delete(key)
    client.set(key, "garbage")
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        server_store.write([Change(A, revoked=True, until=4e9)], time.time())
    if key != RULINGS:
        assert client.hgetall(RULINGS) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epoch", "{"),
        ("epoch", b"\xff\xfe"),
        ("epoch", "7"),
        ("end", "x"),
        ("end", b"1 \xff 1-1"),
        ("end", "1 a b"),
        (A.hex(), "{"),
        (A.hex(), b"\xff"),
        (A.hex(), "7"),
        (A.hex(), '{"n":7}'),
    ],
)
def test_garbage_makes_the_store_unavailable(server_store: Store, client: Any, field: str, value: bytes) -> None:
    """Garbage in our hash raises nothing but StoreUnavailable."""
    server_store.look_up([])
    client.hset(RULINGS, field, value)
    with pytest.raises(StoreUnavailable):
        server_store.write([Change(A, cuts_off=True)], time.time())


def test_garbage_in_the_log_makes_the_feed_unavailable(server_store: Store, client: Any) -> None:
    """So does a foreign worker; a foreign field is passed over."""
    server_store.look_up([])
    client.xadd(LOG, {"foreign": "entry"})
    client.hset(WORKERS, "two", "garbage")
    client.hset(RULINGS, "not hex", "{}")
    steps: list[Callable[[Any], Any]] = [
        lambda feed: feed.read("0-0", 0.05, 10),
        lambda feed: feed.renew(WORKER, None),
    ]
    for step in steps:
        with pytest.raises(StoreUnavailable):
            step(server_store.feed())
    feed = server_store.feed()
    assert list(feed.pages(10)) == []
    feed.close()


def test_replica_is_refused(own_server: Server) -> None:
    """A replica may be behind: it answers neither a write nor a look-up, on an old connection or a new one."""
    own_server.start()
    store = opened(own_server)
    revoke(store, A)
    with own_server.client() as client:
        client.replicaof("127.0.0.1", free_port())
    feed = store.feed()
    steps: list[Callable[[], Any]] = [
        lambda: store.look_up([A]),
        lambda: revoke(store, A),
        store.workers,
        lambda: feed.renew(WORKER, None),
    ]
    for step in steps:
        with pytest.raises(StoreUnavailable, match="READONLY|MASTERDOWN|read only"):
            step()
    assert any("replica" in finding.problem for finding in store.audit())
    store.close()


def test_full_server_refuses_writes_and_answers_look_ups(own_server: Server) -> None:
    """OOM: a revocation that cannot be stored raises; what is revoked stays revoked."""
    own_server.start()
    store = opened(own_server)
    revoke(store, A)
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreUnavailable, match="OutOfMemory|OOM"):
            revoke(store, B)
        assert store.look_up([A]).rulings[0] is not None
        assert store.look_up([B]).rulings == (None,)
    store.close()


def test_busy_server_makes_the_store_unavailable(own_server: Server) -> None:
    """A script of somebody else that never ends is BUSY or a timeout, both ours."""
    own_server.options = ("--lua-time-limit", "10")
    own_server.start()
    store = opened(own_server)
    store.look_up([])

    def block() -> None:
        with own_server.client(socket_timeout=60) as client, pytest.raises(Exception, match="(?i)kill"):
            client.eval("while true do end", 0)

    def is_busy() -> bool:
        with own_server.client() as client:
            try:
                return not client.ping()
            except redis.ResponseError:  # BUSY
                return True

    def kill() -> None:
        with own_server.client() as client, contextlib.suppress(redis.RedisError):
            client.script_kill()

    with beside(block, end=kill):
        wait_for(is_busy, "the script runs")
        with pytest.raises(StoreUnavailable):
            store.look_up([])
    store.look_up([])
    store.close()


# Passwords and users


@pytest.mark.parametrize("options", [("--requirepass", "right"), ("--rename-command", "AUTH", "")])
def test_wrong_password_is_refused_and_never_shown(own_server: Server, options: tuple[str, ...]) -> None:
    """Threat 29: not in str, repr, the chain of causes or the store; some servers quote a command they do not know."""
    own_server.options = options
    own_server.start()
    store = open_store(own_server.url.replace("//", "//:s3cr3t-w0rd@"), prefix="jwtgate", watch=WATCH)
    with pytest.raises(StoreUnavailable) as caught:
        store.look_up([A])
    shown = [repr(store), repr(vars(store)), *traceback.format_exception(caught.value)]
    link: BaseException | None = caught.value
    while link is not None:
        shown += [str(link), repr(link), repr(link.args)]
        link = link.__cause__ or link.__context__
    assert "s3cr3t" not in "".join(shown)
    store.close()


def test_missing_password_is_refused(own_server: Server) -> None:
    """NOAUTH."""
    own_server.options = ("--requirepass", "right")
    own_server.start()
    store = opened(own_server)
    with pytest.raises(StoreUnavailable):
        store.look_up([A])
    store.close()


def test_acl_user_needs_only_our_keys(own_server: Server) -> None:
    """An ACL user with our prefix and our commands can do everything; one without INFO is told so."""
    own_server.start()
    with own_server.client() as client:
        allowed = "+evalsha +eval +info +time +hscan +xread +xadd +zcard +zadd +zrem +zrangebyscore +@hash +del"
        client.execute_command("ACL", "SETUSER", "gate", "on", ">p@ss/w:rd", "~{jwtgate:*", *allowed.split())
    url = own_server.url.replace("//", "//gate:p%40ss%2Fw%3Ard@")
    store = open_store(url, prefix="jwtgate", watch=WATCH)
    feed = store.feed()
    epoch = feed.renew(WORKER, None).epoch.name
    revoke(store, A, B)
    store.write([Change(A, until=4e9)], time.time())
    assert feed.repair(epoch, []) == ()
    assert len(feed.read("0-0", 0, 10)) == 3
    assert len([pair for page in feed.pages(10) for pair in page]) == 2
    feed.lose(epoch)
    feed.close()
    assert any("CONFIG is not permitted" in finding.problem for finding in store.audit())
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "gate", "-info")
    with pytest.raises(StoreUnavailable):
        store.look_up([])
    assert any("+info" in finding.remedy.split() for finding in store.audit())
    store.close()


def test_audit_names_what_breaks_the_promise(own_server: Server) -> None:
    """An evicting policy and missing persistence are said, and nothing of a good server."""
    own_server.start()
    store = opened(own_server)
    with own_server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        findings = store.audit()
        assert any("maxmemory-policy is allkeys-lru" in finding.problem for finding in findings)
        assert any("persisted" in finding.problem for finding in findings)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendonly", "yes")
    assert store.audit() == ()
    store.close()
