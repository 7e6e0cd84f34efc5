"""``JWTGATE_DURABILITY``: what WAIT and WAITAOF answer goes into receipts, and a short count is told with the ruling standing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from beside import beside
from conftest import emptied_url
from processes.gates import heal, started
from servers import WATCH, Server, binary_of
from topologies import wait_for

from jwtgate.core.history import NotDurable
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.stored import SessionChange
from jwtgate.errors import Revoked, StoreUnavailable
from jwtgate.stores import Store, open_store
from jwtgate.stores.contract import Durability

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jwtgate import Gate

pytestmark = pytest.mark.server

A = b"A" * 16
PRIMARY = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")


def opened(server: Server, durability: Durability) -> Store:
    """A store on ``server``, to be closed by the caller."""
    return open_store(server.url, prefix="jwtgate", watch=WATCH, durability=durability)


def revoke(store: Store) -> tuple[int | None, int | None]:
    """The counts of a plain revocation."""
    written = store.write([Change(A, revoked=True)], time.time())
    return written.replicas, written.fsyncs


@pytest.fixture(params=["valkey", "redis"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    """A primary and its one replica, which follows."""
    binary = binary_of(request.param)
    with Server(binary, *PRIMARY) as primary, Server(binary, "--replicaof", f"127.0.0.1 {primary.port}") as replica:
        with primary.client() as client:
            wait_for(lambda: client.execute_command("WAIT", 1, 100) == 1, "the replica follows")
        yield primary, replica


def test_replicas_are_counted(pair: tuple[Server, Server]) -> None:
    """Asked for one, one has it; without rulings nobody waits; unasked, nobody counts."""
    primary, replica = pair
    store, plain = opened(primary, Durability(replicas=1)), opened(primary, Durability())
    assert revoke(store) == (1, None)
    with replica.client() as client:
        assert client.hexists("{jwtgate:0}:rulings", A.hex())
    assert revoke(plain) == (None, None)
    replica.pause()
    began = time.monotonic()
    session = SessionChange("one", b"u" * 16, record=b"text", ends_at=time.time() + 60, seen_at=time.time())
    assert store.write((), time.time(), (session,)).replicas is None
    assert time.monotonic() - began < 0.9
    for each in (store, plain):
        each.close()


def test_paused_replica_is_missed_in_time_and_the_ruling_stands(pair: tuple[Server, Server]) -> None:
    """One had it, two were asked for, or none: the error says so, after about a second."""
    primary, replica = pair
    heal(primary)
    with started(primary.url, durability="replicas:1", lease=1.0) as gate:
        token, other = gate.issue("alice"), gate.issue("bob")
        gate.verify(token)
        assert gate.revoke(token=other, wait=True).replicas == 1
        replica.pause()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"stands, but JWTGATE_DURABILITY asks for 1 replicas to have it, and 0 had"):
            gate.revoke(token=token)
        assert time.monotonic() - began < 2.0
        with pytest.raises(Revoked):
            gate.verify(token)
        assert gate.status().store == "up"
        replica.resume()
    two = opened(primary, Durability(replicas=2))
    with pytest.raises(NotDurable, match="2 replicas to have it, and 1 had it") as caught:
        revoke(two)
    assert caught.value.written.end.position > 0
    assert two.look_up([A]).rulings == caught.value.written.rulings
    two.close()


def test_no_look_up_waits_behind_writes_that_wait(pair: tuple[Server, Server]) -> None:
    """Twenty revocations that wait for a paused replica, on one event loop: meanwhile the store is asked as fast as ever."""
    primary, replica = pair
    heal(primary)

    async def tell(gate: Gate) -> tuple[float, list[Any]]:
        tokens = [await gate.aio.issue(f"user-{number}") for number in range(60)]
        revocations = [asyncio.ensure_future(gate.aio.revoke(token=token)) for token in tokens[:20]]
        await asyncio.sleep(0.1)
        slowest = 0.0
        for token in tokens[20:]:
            began = time.monotonic()
            await gate.aio.issue("bob")
            await gate.aio.verify(token)
            slowest = max(slowest, time.monotonic() - began)
        return slowest, await asyncio.gather(*revocations, return_exceptions=True)

    with started(primary.url, durability="replicas:1", lease=1.0) as gate:
        replica.pause()
        slowest, outcomes = asyncio.run(tell(gate))
        replica.resume()
    assert slowest < 0.9, f"one took {slowest:.2f} s"
    assert all(isinstance(outcome, NotDurable) for outcome in outcomes)


def test_lost_connection_after_the_write_is_told(pair: tuple[Server, Server]) -> None:
    """The server is gone before it could count: the ruling may well stand, and this process knows it."""
    primary, replica = pair
    store = opened(primary, Durability(replicas=1))
    store.look_up([])
    replica.pause()
    with primary.client() as client:

        def end() -> None:
            wait_for(lambda: client.info("clients")["blocked_clients"] == 1, "WAIT has come")
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

        with beside(end), pytest.raises(NotDurable, match="the ruling stands.* nobody knows") as caught:
            revoke(store)
    assert caught.value.written.rulings[0]
    assert store.look_up([A]).rulings == caught.value.written.rulings
    store.close()


@pytest.mark.parametrize("every", ["always", "everysec"])
def test_disk_is_waited_for(every: str) -> None:
    """WAITAOF, within the second that everysec takes."""
    with Server(binary_of("valkey"), "--appendonly", "yes", "--appendfsync", every) as server:
        store = opened(server, Durability(is_synced=True))
        for _ in range(3):
            assert revoke(store) == (None, 1)
        store.close()


def test_server_without_append_only_file_says_so() -> None:
    """The remedy is in the error; the ruling stands."""
    with Server(binary_of("valkey")) as server:
        store = opened(server, Durability(is_synced=True))
        with pytest.raises(NotDurable, match="ruling stands.*CONFIG SET appendonly yes"):
            revoke(store)
        assert store.look_up([A]).rulings[0] is not None
        store.close()


def test_old_server_is_named_as_too_old() -> None:
    """Redis 7.0 has no WAITAOF."""
    with Server(binary_of("redis"), "--appendonly", "yes") as server:
        with server.client() as client:
            if not client.info("server")["redis_version"].startswith("7.0"):
                pytest.skip("OLD REDIS NOT TESTED: redis-server is 7.2 or later")
        store = opened(server, Durability(is_synced=True))
        with pytest.raises(NotDurable, match=r"ruling stands.*Redis 7\.2"):
            revoke(store)
        store.close()


@pytest.mark.parametrize("name", ["sentinel", "cluster"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_replicas_of_groups_are_counted(request: pytest.FixtureRequest, name: str, partitions: int) -> None:
    """On the connection to whichever server the keys stand at; of several partitions the least count is told."""
    url = emptied_url(name, request)
    with started(url, durability="replicas:1", partitions=partitions, lease=0.3) as gate:
        receipt = gate.revoke(sub="alice", wait=True)
        assert receipt.effective_everywhere and (receipt.replicas or 0) >= 1
