"""What only a server can do to the store's history: lose it, restart, fork it. H1, H2, H3."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from beside import together
from servers import WATCH, Server

from jwtgate.core.history import Epoch, Watch, Worker
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.stored import SessionChange
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


# The keys


def test_keys_are_as_documented(server_store: Store, client: Any) -> None:
    """Programs in other languages find layout version 1."""
    written = server_store.write([Change(A, revoked=True, until=4e9)], time.time())
    server_store.feed().renew(WORKER, None)
    ruling = [1, written.epoch.name, 1, written.at]
    assert json.loads(client.hget(RULINGS, A.hex())) == {"r": ruling, "u": 4e9}
    assert client.hget(RULINGS, "end").decode() == f"1 {written.end.link} {written.end.cursor}"
    record = json.loads(client.hget(RULINGS, "epoch"))
    names = {"name", "birth", "run_id", "replid", "lease", "reach", "partitions", "healed", "settled", "restored"}
    assert set(record) == names
    assert record["run_id"] == client.info("server")["run_id"]
    assert client.zscore(UNTIL, A.hex()) == 4e9
    assert client.hgetall(WORKERS) == {b"one": b"[1.0,-1,1,0]", b"epoch": record["name"].encode()}
    ((entry_id, fields),) = client.xrange(LOG)
    assert entry_id.decode() == written.end.cursor
    assert set(fields) == {b"link", b"previous", b"digest", b"ruling"}
    assert {key.decode() for key in client.scan_iter()} == {RULINGS, UNTIL, LOG, WORKERS}


def test_list_of_sessions_lives_as_long_as_the_longest(server_store: Store, client: Any) -> None:
    """A list never goes before a session on it, nor stays for ever; one that was lost comes back with the next rotation."""
    now, user = time.time(), b"u" * 16
    key = f"{{jwtgate:0}}:u:{user.hex()}"

    def put(sid: str, seconds: float, expected: bytes | None = None) -> None:
        session = SessionChange(sid, user, record=b"text", expected=expected, ends_at=now + seconds, seen_at=now)
        assert server_store.write((), now, (session,)) is not None

    for sid, seconds in (("one", 100.0), ("two", 300.0), ("three", 200.0)):
        put(sid, seconds)
    assert client.pexpiretime(key) == pytest.approx((now + 300) * 1000, abs=2)
    put("two", 400.0, b"text")
    assert client.pexpiretime(key) == pytest.approx((now + 400) * 1000, abs=2)
    assert client.zscore(key, "two") == pytest.approx(now + 400, abs=1e-5)
    assert client.pexpiretime("{jwtgate:0}:s:two") == pytest.approx((now + 400) * 1000, abs=2)
    client.delete(key)
    put("one", 100.0, b"text")
    assert client.zrange(key, 0, -1) == [b"one"]
    assert client.pexpiretime(key) == pytest.approx((now + 100) * 1000, abs=2)


def test_prefixes_are_apart(server: Server, server_store: Store) -> None:
    """Two prefixes on one server know nothing of each other."""
    revoke(server_store, A)
    other = open_store(server.url, prefix="other", watch=WATCH)
    assert other.look_up([A]).rulings == (None,)
    other.close()


def test_log_is_trimmed_by_age(server_store: Store, client: Any) -> None:
    """Entries over two minutes old go, in whole nodes; the links tell the gap (H2)."""
    server_store.look_up([])
    for number in range(1, 301):
        client.xadd(LOG, {"link": "x", "previous": "x", "digest": A.hex(), "ruling": "{}"}, id=f"1-{number}")
    revoke(server_store, A)
    assert client.xlen(LOG) <= 101


def test_read_after_a_trim_shows_the_gap(server_store: Store, client: Any) -> None:
    """H2: what is missing is silent in the stream and loud in the links."""
    start = server_store.look_up([]).end
    revoke(server_store, *[os.urandom(16) for _ in range(5)])
    client.xtrim(LOG, maxlen=2, approximate=False)
    feed = server_store.feed()
    entries = feed.read(start.cursor, 0.05, 10)
    assert [entry.position for entry in entries] == [4, 5]
    assert entries[0].previous != start.link
    client.xtrim(LOG, maxlen=0)
    assert feed.read(start.cursor, 0, 10) == ()
    assert server_store.look_up([]).end.link != start.link
    feed.close()


def test_ids_grow_when_the_clock_steps_back(server_store: Store, client: Any) -> None:
    """An end that is ahead of the server's clock is followed by one further ahead."""
    server_store.look_up([])
    client.hset(RULINGS, "end", "5 link 9999999999999-5")
    end = server_store.write([Change(A, revoked=True)], time.time()).end
    assert end.cursor == "9999999999999-6"
    feed = server_store.feed()
    assert [entry.previous for entry in feed.read("9999999999999-5", 0, 10)] == ["link"]
    feed.close()


# H1: whose history it is


def test_racing_look_ups_open_one_epoch(server: Server) -> None:
    """Whoever comes first opens it, everybody else finds it."""
    stores = [opened(server) for _ in range(4)]
    names: list[str] = []

    def look() -> None:
        names.extend(store.look_up([A]).epoch.name for store in stores)

    together(*[look] * 8)
    assert len(names) == 32 and len(set(names)) == 1
    for store in stores:
        store.close()


@pytest.mark.parametrize("loss", ["flushall", "flushdb", "rulings"])
def test_lost_rulings_open_an_epoch(server_store: Store, client: Any, loss: str) -> None:
    """FLUSHALL, or the loss of our hash: a new epoch, unhealed, with a log that begins anew."""
    server_store.feed().renew(WORKER, None)
    epoch = revoke(server_store, A)
    end = server_store.look_up([]).end
    if loss == "rulings":
        client.delete(RULINGS)
    else:
        client.execute_command(loss)
    facts = server_store.look_up([A])
    assert facts.epoch.name != epoch.name
    assert (facts.epoch.is_healed, facts.epoch.is_settled) == (False, False)
    assert (facts.rulings, facts.end.position) == ((None,), 0)
    assert facts.end.link != end.link
    assert server_store.workers()[2] == ()
    assert client.exists(LOG) == 0
    assert revoke(server_store, A).name == facts.epoch.name


def test_lost_end_opens_an_epoch(server_store: Store, client: Any) -> None:
    """Without its end the log's order is unknown."""
    epoch = revoke(server_store, A)
    client.hdel(RULINGS, "end")
    facts = server_store.look_up([A])
    assert facts.epoch.name != epoch.name
    assert facts.rulings[0] is not None


def test_lost_workers_open_an_epoch(server_store: Store, client: Any) -> None:
    """W1: a lost list is never taken for an empty one: who was registered may still act, so nothing is settled."""
    feed = server_store.feed()
    epoch = feed.renew(WORKER, None).epoch.name
    client.delete(WORKERS)
    found = server_store.write([Change(A, revoked=True)], time.time()).epoch
    assert found.name != epoch
    assert not found.is_healed
    assert not found.is_settled
    assert not feed.renew(WORKER, epoch).was_registered
    feed.close()


@pytest.mark.parametrize("ending", [Server.stop, Server.kill])
def test_restart_opens_an_epoch_and_keeps_rulings(own_server: Server, ending: Callable[[Server], None]) -> None:
    """H1: after a restart the tail may be lost: another run_id, another epoch; what is there stays."""
    own_server.options = ("--appendonly", "yes", "--appendfsync", "always")
    own_server.start()
    store, wider = opened(own_server), opened(own_server, Watch(2.0, 9.0))
    wider.feed().renew(replace(WORKER, reach_seconds=30.0), None)
    epoch = revoke(store, A, B)
    before = store.look_up([A, B])
    ending(own_server)
    own_server.start()
    after = wider.look_up([A, B])
    assert after.epoch == Epoch(after.epoch.name, 2.0, 30.0, is_healed=False, is_settled=False)
    assert after.epoch.name != epoch.name
    assert (after.rulings, after.end) == (before.rulings, before.end)
    assert store.workers()[2] == ()
    assert store.write([Change(A, revoked=False)], time.time()).end.position == 3
    wider.close()
    store.close()


@pytest.mark.parametrize("field", ["run_id", "replid"])
def test_changed_identity_opens_an_epoch(server_store: Store, client: Any, field: str) -> None:
    """H1: a failover shows in master_replid or run_id, whatever else the record says."""
    epoch = revoke(server_store, A)
    record = client.hget(RULINGS, "epoch")
    client.hset(RULINGS, "epoch", record.replace(json.loads(record)[field].encode(), b"f" * 40))
    facts = server_store.look_up([A])
    assert facts.epoch.name != epoch.name
    assert facts.rulings[0] is not None


def test_record_with_blanks_is_the_same_record(server_store: Store, client: Any) -> None:
    """Another program may write JSON in another style; only the values are compared."""
    epoch = revoke(server_store, A)
    client.hset(RULINGS, "epoch", json.dumps(json.loads(client.hget(RULINGS, "epoch")), indent=2))
    assert server_store.look_up([A]).epoch == epoch


def test_every_step_compares_the_identity(server_store: Store, client: Any) -> None:
    """H1: look-up, write, listing, renewal, repair and loss each notice a lost history by themselves."""
    feed = server_store.feed()
    steps: list[Callable[[], Any]] = [
        lambda: server_store.look_up([]),
        lambda: revoke(server_store, A),
        server_store.workers,
        lambda: feed.renew(WORKER, None),
        lambda: feed.repair("another", []),
        lambda: feed.lose("another"),
    ]
    for step in steps:
        client.flushall()
        step()
        assert client.hexists(RULINGS, "epoch")
    feed.close()


# H3 and W3: what the record says of others


def test_lease_is_taken_over_only_alone(server: Server) -> None:
    """H3: another lease waits until nobody else is registered."""
    one, two = opened(server, Watch(1.0, 1.0)), opened(server, Watch(5.0, 5.0))
    first, second = one.feed(), two.feed()
    assert first.renew(WORKER, None).epoch.lease_seconds == 1.0
    other = replace(WORKER, name="two")
    assert second.renew(other, None).epoch.lease_seconds == 1.0
    first.forget(WORKER)
    assert second.renew(other, None).epoch.lease_seconds == 5.0
    assert one.look_up([]).epoch.lease_seconds == 5.0
    for thing in (first, second, one, two):
        thing.close()


def test_watch_raises_the_reach(server: Server) -> None:
    """W3: a process that knows of a longer reach tells the record."""
    one, two = opened(server), opened(server, Watch(1.0, 60.0))
    assert one.look_up([]).epoch.reach_seconds == 1.0
    feed = two.feed()
    assert feed.renew(WORKER, None).epoch.reach_seconds == 60.0
    for thing in (feed, one, two):
        thing.close()
