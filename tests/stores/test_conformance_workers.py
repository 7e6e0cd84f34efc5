"""The contract of registrations, held by every store: F2, W1, H3, L2, W3."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest

from jwtgate.core.history import Worker
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.stored import SessionChange
from jwtgate.stores import Feed, Store

WORKER = Worker("one", 1.0, -1, 1, is_healing=False)
OTHER = Worker("two", 1.0, -1, 1, is_healing=False)


def test_registration_stands_from_the_first_renewal(feed: Feed) -> None:
    """F2: the first renewal registers, the next ones find it standing."""
    assert [feed.renew(replace(WORKER, beat=beat), None).was_registered for beat in range(3)] == [False, True, True]


def test_forgotten_worker_was_not_registered(store: Store, feed: Feed) -> None:
    """F2: after somebody deregistered it, a read made before its renewal grants nothing."""
    feed.renew(WORKER, None)
    store.forget(WORKER)
    assert not feed.renew(WORKER, None).was_registered


def test_worker_of_an_earlier_epoch_was_not_registered(feed: Feed) -> None:
    """F2: registrations end with their epoch."""
    epoch = feed.renew(WORKER, None).epoch.name
    feed.lose(epoch)
    renewal = feed.renew(WORKER, epoch)
    assert not renewal.was_registered
    assert renewal.epoch.name != epoch
    assert feed.renew(WORKER, epoch).was_registered


def test_only_the_same_beat_is_forgotten(store: Store, feed: Feed) -> None:
    """W2: who renewed meanwhile stays, whoever asks."""
    feed.renew(replace(WORKER, beat=2), None)
    store.forget(WORKER)
    feed.forget(WORKER)
    feed.forget(OTHER)
    assert len(store.workers()[2]) == 1
    feed.forget(replace(WORKER, beat=2))
    assert store.workers()[2] == ()


def test_acknowledgement_counts_only_for_the_current_epoch(feed: Feed) -> None:
    """Another epoch's position says nothing: -1 is recorded."""
    worker = replace(WORKER, acknowledged=5)
    epoch = feed.renew(worker, None).epoch.name
    for name, acknowledged in ((None, -1), (epoch, 5), ("another", -1)):
        assert feed.renew(worker, name).workers[0].acknowledged == acknowledged


def test_workers_are_told_as_they_are(store: Store, feed: Feed) -> None:
    """Each field comes back, to the write (W1), the renewal and the listing alike."""
    epoch = feed.renew(OTHER, None).epoch.name
    worker = Worker("one", 61.5, 2**40, 2**33, is_healing=True)
    forever = replace(OTHER, reach_seconds=math.inf, acknowledged=0)
    feed.renew(forever, epoch)
    told = feed.renew(worker, epoch).workers
    assert set(told) == {worker, forever}
    assert set(store.workers()[2]) == set(told)
    assert set(store.write([Change(b"x")], time.time()).workers) == set(told)


def test_write_tells_workers_unless_it_only_puts_sessions(store: Store, feed: Feed) -> None:
    """W1: whoever must hear of a ruling or of an end is told in its step, also where it turns out that there is nothing."""
    feed.renew(WORKER, None)
    now = time.time()
    put = SessionChange("one", b"u" * 16, record=b"first", ends_at=now + 60, seen_at=now)
    ruled = (Change(b"x", revoked=True),)
    written = [
        store.write((), now, (put,)),
        store.write(ruled, now, (replace(put, sid="two"),)),
        store.write((), now, (replace(put, sid="three"), SessionChange("one", put.user))),
        store.write((), now, (SessionChange("two", put.user),)),
        store.write(ruled, now),
        store.write((), now),
    ]
    assert [each and [worker.name for worker in each.workers] for each in written] == [[], *[["one"]] * 5]


def test_epoch_is_not_healed_while_a_worker_heals(feed: Feed) -> None:
    """L2: the flag is set only by who knows the epoch, and only when nobody writes back."""
    feed.lose(feed.renew(WORKER, None).epoch.name)
    epoch = feed.renew(replace(OTHER, is_healing=True), None).epoch
    assert not epoch.is_healed
    assert not feed.renew(WORKER, epoch.name, healed=True).epoch.is_healed
    assert not feed.renew(OTHER, epoch.name).epoch.is_healed
    assert not feed.renew(WORKER, "another", healed=True).epoch.is_healed
    assert not feed.renew(WORKER, None, healed=True).epoch.is_healed
    assert feed.renew(WORKER, epoch.name, healed=True).epoch.is_healed
    assert feed.renew(replace(WORKER, is_healing=True), epoch.name).epoch.is_healed


def test_epoch_settles_when_told(store: Store, feed: Feed) -> None:
    """W3: by who watched this epoch; it stays settled."""
    feed.lose(feed.renew(WORKER, None).epoch.name)
    epoch = feed.renew(WORKER, "another", settled=True).epoch
    assert not epoch.is_settled
    assert feed.renew(WORKER, epoch.name, settled=True).epoch.is_settled
    assert store.look_up([]).epoch.is_settled
    assert not store.look_up([]).epoch.is_healed


@pytest.mark.parametrize("reach", [5.0, math.inf])
def test_larger_reach_raises_the_records(store: Store, feed: Feed, reach: float) -> None:
    """W3: the epoch remembers the longest reach, also over the next epochs."""
    feed.renew(replace(WORKER, reach_seconds=reach), None)
    feed.renew(WORKER, None)
    assert store.look_up([]).epoch.reach_seconds == reach
    feed.lose(store.look_up([]).epoch.name)
    assert store.look_up([]).epoch.reach_seconds == reach
