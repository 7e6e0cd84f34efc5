"""Marks as effects: one call of the store each, through the circuit, on both faces."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
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
    """Counts calls, and answers none."""

    calls = 0

    def mark(self, *_: Any, **__: Any) -> Marked:
        """Never."""
        self.calls += 1
        raise StoreUnavailable("the store does not answer")

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


def test_failed_mark_opens_the_circuit() -> None:
    """But for one that probes, no request waits for a store that has just not answered."""
    store = Failing(watch=WATCH)
    performer = performer_on(store)
    for effect in (Mark("dpop", b"a", b"", 1.0, 1.0), *[Marks("dpop", None, 10)] * 4):
        with pytest.raises(StoreUnavailable):
            performer.perform(effect)
    assert store.calls == 2, "the first, and one that probes"
    assert performer.health.state == "down"
