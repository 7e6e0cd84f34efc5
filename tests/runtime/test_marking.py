"""Marks as effects: one call of the store each, through the circuit, on both faces."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from core.scripted import ScriptedClock, Time
from servers import WATCH

from jwtgate.core.effects import Mark, Marks, Plan
from jwtgate.errors import StoreUnavailable
from jwtgate.runtime import blocking, nonblocking
from jwtgate.runtime.blocking import Performer
from jwtgate.runtime.clock import SystemClock
from jwtgate.runtime.health import Health
from jwtgate.runtime.nonblocking import Waiter
from jwtgate.stores.memory import MemoryStore

if TYPE_CHECKING:
    from jwtgate.core.history import Marked, MarkPage


class Failing(MemoryStore):
    """Counts calls about marks, and answers none."""

    calls = 0
    is_failing = True

    def mark(self, *given: Any) -> Marked:
        """Not while it fails."""
        self.calls += 1
        if self.is_failing:
            raise StoreUnavailable("the store does not answer")
        return super().mark(*given)

    marks: Any = mark


def performer_on(store: MemoryStore) -> Performer:
    """Without a follower."""
    clock = SystemClock()
    return Performer(store, (store,), clock, Health(clock, 1.0))


def used_once(name: bytes) -> Plan[tuple[Marked, MarkPage]]:
    """Marks it, and tells what is marked."""
    now = time.time()
    marked = yield Mark("dpop", name, b"value", now + 60, now)
    page = yield Marks("dpop", None, 10)
    return marked, page


def test_both_faces_perform_the_same() -> None:
    """What one has marked is not new to the other."""
    performer = performer_on(MemoryStore(watch=WATCH))
    waiter = Waiter(performer)
    first, _ = blocking.run(used_once(b"a"), performer)
    second, page = asyncio.run(nonblocking.run(used_once(b"a"), waiter))
    waiter.close()
    assert (first.is_new, second.is_new) == (True, False)
    assert [(name, value) for name, value, _ in page.marks] == [(b"a", b"value")]


def test_failed_mark_holds_up_no_other_and_no_look_up() -> None:
    """A full server refuses marks and answers the rest: it is not down. One mark in a while tries."""
    true = Time()
    clock = ScriptedClock(true)
    store = Failing(watch=WATCH)
    performer = Performer(store, (store,), clock, Health(clock, 1.0))
    for now, calls in ((0.0, 1), (0.1, 1), (0.24, 1), (0.3, 2), (0.4, 2), (9.0, 3)):
        true.now = now
        with pytest.raises(StoreUnavailable):
            performer.perform(Mark("dpop", b"a", b"", 1.0, 1.0))
        assert store.calls == calls
        assert performer.health.state == "up"
        assert performer.look_up((b"h" * 16,)).facts.rulings == (None,)
    store.is_failing, true.now, now = False, 9.5, time.time()
    for name in (b"a", b"b"):
        assert performer.perform(Mark("dpop", name, b"", now + 60, now)).is_new


def test_failed_page_opens_the_circuit() -> None:
    """But for one that probes, no request waits for a store that has just not answered; marks neither."""
    store = Failing(watch=WATCH)
    performer = performer_on(store)
    for effect in (*[Marks("dpop", None, 10)] * 4, Mark("dpop", b"a", b"", 1.0, 1.0)):
        with pytest.raises(StoreUnavailable):
            performer.perform(effect)
    assert store.calls == 2, "the first, and one that probes"
    assert performer.health.state == "down"
