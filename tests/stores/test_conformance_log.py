"""The contract of the log, the scan, writing back and loss, held by every store: H2, L1, W1."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest
from beside import beside

from jwtgate.core.history import Repair, Worker
from jwtgate.core.rulings import Change, Ruling
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import Feed, Store
from jwtgate.stores.sql import SqlStore

A, B, C = (bytes([number]) * 16 for number in (1, 2, 3))
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)
OTHER = Worker("two", 1.0, -1, 1, is_healing=False)


def revoke(store: Store, *digests: bytes) -> int:
    """Writes a plain revocation of each; returns the position of the last."""
    return store.write([Change(digest, revoked=True) for digest in digests], time.time()).end.position


def epoch_of(store: Store) -> str:
    """The current epoch's name."""
    return store.look_up([]).epoch.name


# The log


def test_links_chain(store: Store, feed: Feed) -> None:
    """Each entry names its predecessor's link, and the last one's is the end's (H2)."""
    start = store.look_up([]).end
    revoke(store, A, B)
    end = store.write([Change(A, revoked=False)], time.time()).end
    entries = feed.read(start.cursor, 0, 100)
    assert [entry.position for entry in entries] == [1, 2, 3]
    assert [entry.previous for entry in entries] == [start.link, *[entry.link for entry in entries[:-1]]]
    assert (entries[-1].link, entries[-1].cursor) == (end.link, end.cursor)
    assert len({entry.link for entry in entries}) == 3
    assert [entry.digest for entry in entries] == [A, B, A]
    assert entries[-1].ruling == store.look_up([A]).rulings[0]


def test_read_goes_on_from_a_cursor(store: Store, feed: Feed) -> None:
    """At most ``limit`` entries, after the cursor, oldest first."""
    start = store.look_up([]).end
    revoke(store, *[os.urandom(16) for _ in range(7)])
    first = feed.read(start.cursor, 0.05, 3)
    rest = feed.read(first[-1].cursor, 0.05, 100)
    assert [entry.position for entry in (*first, *rest)] == list(range(1, 8))
    assert feed.read(rest[-1].cursor, 0, 100) == ()


def test_read_waits_for_nothing_in_vain(store: Store, feed: Feed) -> None:
    """A read that finds nothing returns nothing, after the time it was given."""
    began = time.monotonic()
    assert feed.read(store.look_up([]).end.cursor, 0.1, 10) == ()
    assert 0.09 <= time.monotonic() - began < 1.0


def test_read_wakes_on_a_write(store: Store, feed: Feed) -> None:
    """A blocked read returns as soon as something is written."""
    end = store.look_up([]).end
    with beside(lambda: time.sleep(0.05) or revoke(store, A)):
        began = time.monotonic()
        entries = feed.read(end.cursor, 5.0, 10)
        assert time.monotonic() - began < 2.0
    assert [entry.digest for entry in entries] == [A]


def test_long_log_is_read_in_batches(store: Store, feed: Feed) -> None:
    """A thousand entries come as one unbroken chain."""
    end = store.look_up([]).end
    revoke(store, *[os.urandom(16) for _ in range(1000)])
    entries = feed.read(end.cursor, 0.05, 1000)
    assert [entry.position for entry in entries] == list(range(1, 1001))
    assert [entry.previous for entry in entries[1:]] == [entry.link for entry in entries[:-1]]


def test_pages_hold_every_ruling(store: Store, feed: Feed) -> None:
    """The scan shows each ruling as a look-up does, and no record of the store's own."""
    digests = [os.urandom(16) for _ in range(700)]
    revoke(store, *digests)
    found = dict(pair for page in feed.pages(100) for pair in page)
    assert found == dict(zip(digests, store.look_up(digests).rulings, strict=True))


def test_pages_of_an_empty_store(store: Store, feed: Feed) -> None:
    """No ruling, no page with anything in it."""
    store.look_up([])
    assert [pair for page in feed.pages(10) for pair in page] == []


# Writing back


def test_repair_writes_where_the_expected_still_holds(store: Store, feed: Feed) -> None:
    """L1: what is as expected is replaced and logged; what is not is named and left."""
    written = store.write([Change(A, revoked=True), Change(B, revoked=True)], time.time())
    ruling = Ruling(min_version=3).encode()
    repairs = [
        Repair(A, written.rulings[0], ruling, None),
        Repair(B, None, ruling, None),
        Repair(C, None, ruling, time.time() + 100),
    ]
    assert feed.repair(written.epoch.name, repairs) == (B,)
    assert store.look_up([A, B, C]).rulings == (ruling, written.rulings[1], ruling)
    entries = feed.read(written.end.cursor, 0, 10)
    assert [(entry.digest, entry.ruling) for entry in entries] == [(A, ruling), (C, ruling)]
    assert (entries[0].previous, entries[1].previous) == (written.end.link, entries[0].link)
    assert store.look_up([]).end.link == entries[1].link


def test_repair_under_another_epoch_writes_nothing(store: Store, feed: Feed) -> None:
    """None, and the store as it was."""
    epoch = epoch_of(store)
    feed.lose(epoch)
    assert feed.repair(epoch, [Repair(A, None, Ruling().encode(), None)]) is None
    assert store.look_up([A]).rulings == (None,)


def test_repaired_ruling_is_swept_at_its_end(store: Store, feed: Feed) -> None:
    """A ruling that came back is forgotten like any other."""
    feed.repair(epoch_of(store), [Repair(A, None, Ruling().encode(), time.time() - 5)])
    revoke(store, B)
    assert store.look_up([A]).rulings == (None,)


def test_unreadable_ruling_stops_the_whole_write(store: Store, feed: Feed) -> None:
    """Garbage under one digest raises, and nothing of that write is stored (W1)."""
    feed.repair(epoch_of(store), [Repair(B, None, b"garbage", None)])
    with pytest.raises(StoreUnavailable):
        revoke(store, A, B)
    facts = store.look_up([A, B])
    assert (facts.rulings, facts.end.position) == ((None, b"garbage"), 1)


def test_lost_epoch_is_replaced_once(store: Store, feed: Feed) -> None:
    """Compare-and-set: a new, unhealed epoch without workers; rulings and position stay; the old name does nothing."""
    feed.renew(replace(WORKER, reach_seconds=7.0), None)
    position = revoke(store, A)
    old = epoch_of(store)
    feed.lose(old)
    epoch, end, workers = store.workers()
    assert (epoch.name != old, epoch.is_healed, epoch.is_settled, workers) == (True, False, False, ())
    assert (end.position, epoch.reach_seconds) == (position, 7.0)
    feed.lose(old)
    facts = store.look_up([A])
    assert facts.epoch == epoch and facts.rulings[0] is not None
    assert revoke(store, B) == position + 1


def test_closed_feed_stays_closed(store: Store, feed: Feed) -> None:
    """F2: a feed does not quietly become another connection."""
    feed.renew(WORKER, None)
    feed.close()
    feed.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        feed.renew(WORKER, None)


def test_closed_store_opens_again(store: Store) -> None:
    """``close`` may come twice and is not the end."""
    revoke(store, A)
    store.close()
    store.close()
    assert store.look_up([A]).rulings[0] is not None


def test_audit_says_sentences(store: Store) -> None:
    """Each finding is one sentence with what mends it; only a store that keeps everything on disk may have none."""
    findings = store.audit()
    assert findings or isinstance(store, SqlStore)
    assert all(finding.problem.endswith(".") and finding.remedy for finding in findings)
