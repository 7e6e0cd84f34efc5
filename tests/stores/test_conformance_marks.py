"""What may be used once, in every store: one atomic step decides who was first."""

from __future__ import annotations

import math
import os
import threading
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
from beside import together
from servers import WATCH

from jwtgate.errors import StoreUnavailable
from jwtgate.stores import Store, open_store
from jwtgate.stores.journaled import JournaledStore
from jwtgate.stores.opening import open_journal
from jwtgate.stores.partitioned import PartitionedStore
from jwtgate.stores.sql.purging import Purging
from jwtgate.stores.strict import StrictStore

if TYPE_CHECKING:
    from pathlib import Path

    from servers import Server

    from jwtgate.stores.sql.store import SqlStore

A, B = b"a" * 32, b"b" * 32
RACERS = 16


def mark(store: Store, name: bytes, *, group: str = "dpop", value: bytes = b"", seconds: float = 60.0) -> bool:
    """Whether it was new; kept for so long."""
    now = time.time()
    return store.mark(group, name, value, now + seconds, now).is_new


def all_marks(store: Store, group: str = "dpop", limit: int = 1000) -> list[tuple[bytes, bytes, float]]:
    """Of all pages, one after the other."""
    found: list[tuple[bytes, bytes, float]] = []
    after: str | None = None
    while True:
        page = store.marks(group, after, limit)
        assert len(page.marks) <= limit
        found += page.marks
        after = page.after
        if after is None:
            return found


def test_name_is_new_once(store: Store) -> None:
    """The second call says so, and what the first kept stays."""
    until = math.floor(time.time()) + 60.25
    assert store.mark("dpop", A, b"first", until, time.time()).is_new
    assert not store.mark("dpop", A, b"second", until + 60, time.time()).is_new
    assert all_marks(store) == [(A, b"first", until)]


def test_step_tells_epoch_and_clock(store: Store) -> None:
    """H1: the epoch that a look-up tells too; nothing was lost since it was born; the clock is the store's."""
    before = time.time()
    told = store.mark("dpop", A, b"", before + 60, before)
    assert told.epoch == store.look_up([]).epoch
    assert before - 1 <= told.at <= time.time() + 1
    assert told.since == told.epoch.birth
    assert before - 1 <= told.since <= told.at
    assert store.marks("dpop", None, 1).epoch == told.epoch


def test_first_step_of_an_empty_store_opens_the_epoch(store: Store) -> None:
    """A listing may be the first, too."""
    assert len(store.marks("dpop", None, 1).epoch.name) == 11


def test_groups_know_nothing_of_each_other(store: Store) -> None:
    """The same name is new in each."""
    assert mark(store, A, group="one", value=b"1") and mark(store, A, group="other", value=b"2")
    assert [value for _, value, _ in all_marks(store, "one")] == [b"1"]
    assert all_marks(store, "third") == []


def test_what_is_past_its_end_may_be_used_again(store: Store) -> None:
    """By the store's clock and the caller's, both."""
    assert mark(store, A, seconds=-1.0, value=b"old")
    assert mark(store, A, seconds=60.0, value=b"new")
    assert not mark(store, A)
    assert [value for _, value, _ in all_marks(store)] == [b"new"]


def test_caller_whose_clock_runs_ahead_forgets_nothing(store: Store) -> None:
    """The earlier clock decides."""
    now = time.time()
    assert store.mark("dpop", A, b"", now + 20, now).is_new
    assert not store.mark("dpop", A, b"", now + 90, now + 50).is_new
    assert store.mark("dpop", B, b"", now + 90, now + 50).is_new


@pytest.mark.parametrize("skew", [61.0, -61.0])
def test_clocks_apart_raise(store: Store, skew: float) -> None:
    """Over 60 s between the clocks: nothing is kept."""
    with pytest.raises(StoreUnavailable, match="clocks"):
        store.mark("dpop", A, b"", time.time() + 200, time.time() + skew)
    assert all_marks(store) == []
    assert mark(store, A)


@pytest.mark.parametrize("name", [b"\x00", b"\xff" * 64, b"since", b"epoch", b" ", b"a b", b"a\r\n", b"{x}"])
def test_any_name_and_value_come_back(store: Store, name: bytes) -> None:
    """No octet means anything to a store."""
    assert mark(store, name, value=name * 2)
    assert mark(store, name + b"0")
    assert not mark(store, name)
    assert {(each, value) for each, value, _ in all_marks(store)} == {(name, name * 2), (name + b"0", b"")}


def test_large_value_comes_back(store: Store) -> None:
    """64 KiB."""
    value = os.urandom(65536)
    assert mark(store, A, value=value)
    assert all_marks(store)[0][1] == value


def test_log_hears_nothing(store: Store) -> None:
    """Marks are no rulings: no position moves, and none is on a snapshot."""
    end = store.look_up([]).end
    mark(store, A[:16])
    assert store.look_up([A[:16]]).rulings == (None,)
    assert store.look_up([]).end == end
    with closing(store.feed()) as feed:
        assert [ruling for page in feed.pages(100) for ruling in page] == []


def test_pages_come_in_the_order_of_ends(store: Store) -> None:
    """Each mark once, also of those that end together; what is over is left out."""
    start = math.floor(time.time()) + 60.0
    wanted = [(bytes([number]) * 8, b"v", start + number // 5) for number in range(23)]
    for name, value, until in reversed(wanted):
        assert store.mark("many", name, value, until, time.time()).is_new
    mark(store, A, group="many", seconds=-0.5)
    for limit in (1, 4, 23, 24, 100):
        assert all_marks(store, "many", limit) == wanted


def test_pages_hold_what_is_added_meanwhile_behind(store: Store) -> None:
    """What is there from the first page to the last is never left out."""
    start = time.time() + 100
    names = [bytes([number]) * 8 for number in range(10)]
    for place, name in enumerate(names):
        store.mark("many", name, b"", start + place, time.time())
    first = store.marks("many", None, 3)
    assert first.after is not None
    store.mark("many", A, b"", start - 50, time.time())
    store.mark("many", B, b"", start + 50, time.time())
    rest = store.marks("many", first.after, 100)
    assert [name for name, _, _ in (*first.marks, *rest.marks)] == [*names, B]


def test_foreign_cursor_is_refused(store: Store) -> None:
    """As every error of a store."""
    with pytest.raises(StoreUnavailable):
        store.marks("dpop", "nonsense", 10)


def test_one_of_sixteen_racers_is_first(store: Store) -> None:
    """For each of several names, also for one that is past its end: threads that come together."""
    barrier = threading.Barrier(RACERS)
    names = [bytes([number]) * 16 for number in range(6)]
    for name in names[::2]:
        mark(store, name, seconds=-1.0)
    first: list[tuple[bytes, int]] = []

    def race(number: int) -> None:
        for name in names:
            barrier.wait()
            if mark(store, name, value=str(number).encode()):
                first.append((name, number))

    together(*[partial(race, number) for number in range(RACERS)])
    assert [name for name, _ in first] == names
    kept = {name: int(value) for name, value, _ in all_marks(store)}
    assert kept == dict(first)


# Stores around stores


def test_journal_is_not_told(tmp_path: Path) -> None:
    """It remembers what must outlive a store, and this is soon over."""
    store = JournaledStore(
        open_store("memory://", prefix="jwtgate", watch=WATCH), open_journal(f"sqlite:///{tmp_path}/j.db", prefix="jwtgate")
    )
    with closing(store):
        assert mark(store, A) and not mark(store, A)
        assert [name for name, _, _ in all_marks(store)] == [A]
        assert [page for page in store.journal.pages(10) if page] == []


def test_store_that_is_not_known_to_be_safe_marks_nothing(tmp_path: Path) -> None:
    """JWTGATE_STRICT: memory:// has a weakness that only a file has not."""
    with closing(StrictStore(open_store("memory://", prefix="jwtgate", watch=WATCH))) as store:
        with pytest.raises(StoreUnavailable, match="STRICT"):
            mark(store, A)
        with pytest.raises(StoreUnavailable, match="STRICT"):
            store.marks("dpop", None, 1)
    with closing(StrictStore(open_store(f"sqlite:///{tmp_path}/s.db", prefix="jwtgate", watch=WATCH))) as store:
        assert mark(store, A)
        assert [name for name, _, _ in all_marks(store)] == [A]


def parts_of(url: str) -> PartitionedStore:
    """Four partitions."""
    shares = [open_store(url, prefix="jwtgate", watch=WATCH, share=(index, 4)) for index in range(4)]
    return PartitionedStore(tuple(shares))


@pytest.mark.server
def test_partitions_share_the_marks(server: Server) -> None:
    """Each name has one place; pages go through all of them."""
    with closing(parts_of(server.url)) as store, closing(parts_of(server.url)) as other:
        names = [os.urandom(16) for _ in range(40)]
        assert all(mark(store, name) for name in names)
        assert not any(mark(other, name) for name in names)
        assert sorted(name for name, _, _ in all_marks(other, limit=7)) == sorted(names)
        assert sum(len(part.marks("dpop", None, 100).marks) > 0 for part in store.parts) == 4
        for cursor in ("4:", "x:", "-1:", "1:nonsense"):
            with pytest.raises(StoreUnavailable):
                store.marks("dpop", cursor, 1)


# What a Redis can lose, or keep


@pytest.mark.server
@pytest.mark.parametrize("lost", ["m:dpop", "e:dpop"])
def test_lost_key_is_said(server: Server, server_store: Store, lost: str) -> None:
    """One of the two keys evicted or deleted: since then nothing is known, though the epoch is the same."""
    first = server_store.mark("dpop", A, b"", time.time() + 60, time.time())
    with server.client() as client:
        client.delete(f"{{jwtgate:0}}:{lost}")
    told = server_store.mark("dpop", A, b"", time.time() + 60, time.time())
    assert told.is_new and told.epoch == first.epoch
    assert first.since <= first.at < told.since <= told.at
    assert server_store.mark("dpop", A, b"", time.time() + 60, time.time()).since == told.since


@pytest.mark.server
def test_flush_is_said(server: Server, server_store: Store) -> None:
    """H1."""
    first = server_store.mark("dpop", A, b"", time.time() + 60, time.time())
    with server.client() as client:
        client.flushall()
    told = server_store.mark("dpop", A, b"", time.time() + 60, time.time())
    assert told.epoch.name != first.epoch.name and told.since == told.epoch.birth > first.at


@pytest.mark.server
def test_marks_that_are_over_leave_the_server(server: Server, server_store: Store) -> None:
    """A few with each call; no key has a time to live, which an evicting policy would take first."""
    for number in range(40):
        mark(server_store, bytes([number]) * 16, seconds=-5.0)
    with server.client() as client:
        assert client.zcard("{jwtgate:0}:e:dpop") <= 17
        mark(server_store, A)
        mark(server_store, B)
        assert client.zcard("{jwtgate:0}:e:dpop") == 2
        assert sorted(client.hkeys("{jwtgate:0}:m:dpop")) == sorted([A.hex().encode(), B.hex().encode(), b"since"])
        assert [client.ttl(f"{{jwtgate:0}}:{key}") for key in ("m:dpop", "e:dpop")] == [-1, -1]


@pytest.mark.server
@pytest.mark.parametrize("key", ["m:dpop", "e:dpop"])
def test_key_of_a_wrong_type_is_an_error(server: Server, server_store: Store, key: str) -> None:
    """Before anything was written."""
    with server.client() as client:
        client.set(f"{{jwtgate:0}}:{key}", "x")
        with pytest.raises(StoreUnavailable):
            mark(server_store, A)
        client.delete(f"{{jwtgate:0}}:{key}")
    assert mark(server_store, A)


def test_marks_that_are_over_leave_a_database(sql_store: SqlStore) -> None:
    """With a follower's purge, behind a margin for clocks that run ahead."""
    now = time.time()
    for number in range(5):
        sql_store.mark("dpop", bytes([number]) * 16, b"", now - 120, now)
    sql_store.mark("dpop", A, b"", now - 10, now)
    steps = sql_store._steps  # noqa: SLF001
    sql_store._lines.ask(Purging(steps).purge)  # noqa: SLF001
    count = sql_store._lines.ask(lambda line: len(line.run(steps.tables.marks.select()).all()))  # noqa: SLF001
    assert count == 1


def test_marks_that_come_faster_than_a_purge_takes_them_leave_all_the_same(sql_store: Store) -> None:
    """A purge that left some is followed by the next in a moment: however many are made, they do not pile up."""
    from jwtgate.stores.sql.purging import PURGE_AGAIN_SECONDS, ROWS_PER_PURGE, Purging
    from jwtgate.stores.sql.store import SqlStore

    now = time.time()
    assert isinstance(sql_store, SqlStore)
    steps = sql_store._steps  # noqa: SLF001
    sql_store.look_up([])
    rows = [
        {"group": b"dpop", "name": b"%d" % number, "value": b"", "until": now - 1000 + number / 100, "by": b""}
        for number in range(ROWS_PER_PURGE + 1)
    ]
    sql_store._lines.ask(lambda line: line.run(steps.tables.marks.insert(), rows), seconds=5)  # noqa: SLF001
    purging = Purging(steps)
    left = []
    for _ in range(2):
        sql_store._lines.ask(purging.purge, seconds=5)  # noqa: SLF001
        left.append(sql_store._lines.ask(lambda line: len(line.run(steps.tables.marks.select()).all())))  # noqa: SLF001
        soon = purging._next - time.monotonic() <= PURGE_AGAIN_SECONDS  # noqa: SLF001
        left.append(soon)
    assert left == [1, True, 0, False]
