"""The contract of ``jwtgate.stores.contract``, held by every store."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace

import pytest
from beside import together
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jwtgate.core.history import Worker
from jwtgate.core.rulings import VERSION_LIMIT, Change, Ruling, supersede
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import Store

A, B, C = (bytes([number]) * 16 for number in (1, 2, 3))
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)
OTHER = Worker("two", 1.0, -1, 1, is_healing=False)


def revoke(store: Store, *digests: bytes) -> int:
    """Writes a plain revocation of each; returns the position of the last."""
    return store.write([Change(digest, revoked=True) for digest in digests], time.time()).end.position


def epoch_of(store: Store) -> str:
    """The current epoch's name."""
    return store.look_up([]).epoch.name


# Look-up and write


def test_nothing_is_ruled_in_an_empty_store(store: Store) -> None:
    """A look-up answers with one None per digest and position 0."""
    facts = store.look_up([A, B])
    assert facts.rulings == (None, None)
    assert facts.end.position == 0
    assert len(facts.epoch.name) == 11


def test_epoch_stays_the_same(store: Store) -> None:
    """Looking, writing and listing are of one epoch while nothing happens to the server (H1)."""
    names = {epoch_of(store), store.write([Change(A)], time.time()).epoch.name, store.workers()[0].name}
    assert names == {epoch_of(store)}


def test_look_up_answers_in_order(store: Store) -> None:
    """Each digest's ruling stands at its own place, also when asked twice and among many."""
    revoke(store, A, C)
    one, two, three, again = store.look_up([A, B, C, A]).rulings
    assert one is not None and three is not None
    assert (two, again) == (None, one)
    assert Ruling.decode(one) != Ruling.decode(three)
    many = [os.urandom(16) for _ in range(2500)]
    assert store.look_up([*many, C]).rulings == (*[None] * 2500, three)


@pytest.mark.parametrize("digest", [b"epoch", b"end", b"", b"\r\n$-1\r\n", b"\x00" * 16, b"\xff" * 16, b"{x}" * 100])
def test_any_digest_is_only_itself(store: Store, digest: bytes) -> None:
    """No bytes of a digest reach another field or the protocol."""
    revoke(store, digest)
    facts = store.look_up([digest, A])
    assert facts.rulings[0] is not None and facts.rulings[1] is None
    assert facts.end.position == 1


def test_write_tells_positions_and_rulings(store: Store) -> None:
    """Change i stands at end - len + 1 + i, and ``at`` is the later clock (W1)."""
    now = time.time() + 30
    written = store.write([Change(A, revoked=True), Change(B, cuts_off=True)], now)
    epoch = written.epoch.name
    assert (written.at, written.end.position) == (now, 2)
    assert [Ruling.decode(text) for text in written.rulings] == [
        supersede(None, Change(A, revoked=True), epoch, 1, now),
        supersede(None, Change(B, cuts_off=True), epoch, 2, now),
    ]
    assert store.look_up([A, B]).rulings == written.rulings
    assert store.look_up([]).end == written.end


def test_slow_caller_gets_the_stores_time(store: Store) -> None:
    """A cut-off never lies before the store's clock."""
    before = time.time()
    assert store.write([Change(A)], before - 50).at >= before - 0.01


@pytest.mark.parametrize("skew", [66.0, -61.0, math.inf, math.nan])
def test_clocks_apart_raise(store: Store, skew: float) -> None:
    """Over 60 s between the clocks raises, names them and writes nothing. A slow machine takes some of those ahead away."""
    with pytest.raises(StoreUnavailable, match="clocks"):
        store.write([Change(A, revoked=True)], time.time() + skew)
    assert store.look_up([A]).rulings == (None,)
    assert store.look_up([]).end.position == 0


def test_positions_are_atomic(store: Store) -> None:
    """Concurrent writers get every position once, and each batch stands together (W1)."""
    spans: list[int] = []

    def write_many() -> None:
        spans.extend(revoke(store, A, B, C) for _ in range(20))

    together(*[write_many] * 4)
    assert sorted(spans) == list(range(3, 243, 3))


def changes() -> st.SearchStrategy[list[list[Change]]]:
    """Writes of a few changes each, on three digests. Ends lie ahead: an expired ruling may be swept between."""
    until = st.floats(min_value=4e9, max_value=1e13) | st.integers(4 * 10**9, 10**12).map(float) | st.none()
    change = st.builds(
        Change,
        st.sampled_from([A, B, C]),
        st.sampled_from([None, True, False]),
        st.booleans(),
        st.none() | st.integers(0, VERSION_LIMIT - 1),
        until,
        st.none() | st.floats(1e9, 4e9) | st.integers(0, 2 * 10**9).map(float),
    )
    return st.lists(st.lists(change, min_size=1, max_size=5), min_size=1, max_size=5)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes(), st.lists(st.floats(-59, 59), min_size=5, max_size=5), st.binary(min_size=15, max_size=15))
def test_stores_supersede_as_the_core_does(store: Store, writes: list[list[Change]], skews: list[float], salt: bytes) -> None:
    """Any sequence of changes leaves what ``rulings.supersede`` says, to the last digit."""
    fresh = {digest: digest[:1] + salt for digest in (A, B, C)}
    known = {digest: store_ruling(store, digest) for digest in fresh.values()}
    for batch, skew in zip(writes, skews, strict=False):
        salted = [replace(change, digest=fresh[change.digest]) for change in batch]
        written = store.write(salted, time.time() + skew)
        first = written.end.position - len(batch) + 1
        for position, (change, text) in enumerate(zip(salted, written.rulings, strict=True), first):
            expected = supersede(known[change.digest], change, written.epoch.name, position, written.at)
            known[change.digest] = expected
            assert Ruling.decode(text) == expected
            assert text == expected.encode()
    assert {digest: store_ruling(store, digest) for digest in known} == known


def store_ruling(store: Store, digest: bytes) -> Ruling | None:
    """The ruling that a look-up gives."""
    text = store.look_up([digest]).rulings[0]
    return None if text is None else Ruling.decode(text)


def test_expired_rulings_are_swept(store: Store) -> None:
    """Writes forget what is past its end, a few at a time, and nothing else."""
    past = time.time() - 10
    expired = [os.urandom(16) for _ in range(20)]
    store.write([Change(digest, revoked=True, until=past) for digest in expired], time.time())
    store.write([Change(A, revoked=True, until=past)], time.time())
    store.write([Change(A, revoked=True), Change(B, revoked=True, until=time.time() + 100)], time.time())
    assert store.look_up(expired).rulings == (None,) * 20
    assert None not in store.look_up([A, B]).rulings


def test_swept_ruling_leaves_nothing_behind(store: Store) -> None:
    """A ruling past its end is no part of what is written over it."""
    store.write([Change(A, revoked=True, until=time.time() - 10)], time.time())
    written = store.write([Change(A, min_version=3)], time.time())
    assert Ruling.decode(written.rulings[0]) == Ruling(min_version=3)
    assert store.look_up([A]).rulings == written.rulings


def test_extended_ruling_is_not_swept(store: Store) -> None:
    """A later end replaces the earlier one, also for the sweep; None means for ever."""
    soon = time.time() + 0.05
    store.write([Change(digest, revoked=True, until=soon) for digest in (A, B, C)], time.time())
    store.write([Change(A, until=soon + 100), Change(B, until=None)], time.time())
    time.sleep(0.1)
    revoke(store, b"x")
    revoke(store, b"x")
    rulings = store.look_up([A, B, C]).rulings
    assert [text is None for text in rulings] == [False, False, True]
