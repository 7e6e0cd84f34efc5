"""The scripted store is no fantasy: whatever is asked of it, it answers as the package's own store in memory does."""

from __future__ import annotations

import time
from dataclasses import replace

from core.scripted import ScriptedServer, ScriptedStore, Time
from hypothesis import given, settings
from hypothesis import strategies as st

from jwtgate.core.history import Repair, Watch, Worker
from jwtgate.core.rulings import Change, Ruling
from jwtgate.stores.memory import MemoryStore

WATCH = Watch(1.0, 2.0)
AHEAD = 30.0
"""The caller's clock leads, so that its time is the one given, to the digit, by both stores."""

DIGESTS = st.sampled_from([b"a" * 16, b"b" * 16, b"c" * 16])
CHANGES = st.builds(
    Change,
    digest=DIGESTS,
    revoked=st.none() | st.booleans(),
    cuts_off=st.booleans(),
    min_version=st.none() | st.integers(0, 5),
    until=st.none() | st.sampled_from([1.0, 4e9, 5e9]),
    cut_at=st.none() | st.sampled_from([1.0, 5.5, 9e9]),
)
WORKERS = st.builds(
    Worker,
    name=st.sampled_from(["one", "two", "three"]),
    reach_seconds=st.sampled_from([1.0, 4.0]),
    acknowledged=st.integers(-1, 9),
    beat=st.integers(0, 2),
    is_healing=st.booleans(),
)
STEPS = st.one_of(
    st.tuples(st.just("write"), st.lists(CHANGES, min_size=1, max_size=3)),
    st.tuples(st.just("renew"), WORKERS, st.booleans(), st.booleans(), st.booleans()),
    st.tuples(st.just("forget"), WORKERS),
    st.tuples(st.just("repair"), st.booleans(), DIGESTS, st.booleans()),
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("read"), st.integers(0, 9), st.integers(1, 4)),
)


class Side:
    """One of the two stores, with its epochs numbered in the order in which they were first seen."""

    def __init__(self, store):
        self.store = store
        self.feed = store.feed()
        self.epochs: list[str] = []
        self.entries = {0: self.store.workers()[1].cursor}
        self.epoch()

    def number(self, name):
        if name not in self.epochs:
            self.epochs.append(name)
        return self.epochs.index(name)

    def epoch(self):
        epoch = self.store.workers()[0]
        return replace(epoch, name=self.number(epoch.name))

    def ruling(self, text):
        if text is None:
            return None
        ruling = Ruling.decode(text)
        toggle, cut = ruling.toggle, ruling.not_before
        return replace(
            ruling,
            toggle=None if toggle is None else toggle._replace(epoch=self.number(toggle.epoch)),
            not_before=None if cut is None else cut._replace(epoch=self.number(cut.epoch)),
        )

    def name(self, is_current):
        return self.epochs[-1] if is_current else "another"

    def take(self, step, now):
        match step:
            case ("write", changes):
                told = self.store.write(changes, now + AHEAD)
                return told.end.position, told.at, [self.ruling(text) for text in told.rulings], set(told.workers)
            case ("renew", worker, is_current, healed, settled):
                told = self.feed.renew(worker, self.name(is_current), healed=healed, settled=settled)
                return told.end.position, told.was_registered, set(told.workers), replace(told.epoch, name="")
            case ("forget", worker):
                return self.store.forget(worker)
            case ("repair", is_current, digest, is_expected):
                expected = self.store.look_up([digest]).rulings[0] if is_expected else b"{}"
                return self.feed.repair(self.name(is_current), [Repair(digest, expected, b'{"v":3}', None)])
            case ("lose", is_current):
                return self.feed.lose(self.name(is_current))
            case ("read", after, limit):
                entries = self.feed.read(self.entries.get(after, self.entries[0]), 0.0, limit)
                return [(entry.position, entry.digest, self.ruling(entry.ruling)) for entry in entries]

    def state(self):
        epoch, end, workers = self.store.workers()
        self.entries[end.position] = end.cursor
        rulings = {digest: self.ruling(text) for page in self.feed.pages(2) for digest, text in page}
        return self.epoch(), end.position, set(workers), rulings


@settings(max_examples=150)
@given(st.lists(STEPS, max_size=12))
def test_scripted_store_agrees_with_memory_store(steps) -> None:
    """On any sequence of calls both answer the same and end in the same state, link by link."""
    real = Side(MemoryStore(watch=WATCH))
    clock = Time()
    server = ScriptedServer(clock, is_own=True)
    server.skew = time.time()
    scripted = Side(ScriptedStore(server, WATCH))
    for step in steps:
        now = time.time()
        assert scripted.take(step, now) == real.take(step, now), step
        assert scripted.state() == real.state(), step
    for side in (real, scripted):
        link = None
        for entry in side.feed.read(side.entries[0], 0.0, 100):
            assert link in (None, entry.previous)
            link = entry.link
