"""What only the store inside one process does."""

from __future__ import annotations

import time

import pytest

from jwtgate.core.history import Watch, Worker
from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.memory import MemoryStore

A, B = b"A" * 16, b"B" * 16
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)


@pytest.fixture
def memory() -> MemoryStore:
    """An empty one."""
    return MemoryStore(watch=Watch(1.0, 1.0))


def test_history_of_one_process_is_born_healed(memory: MemoryStore) -> None:
    """H1: only this process can have written to it."""
    epoch = memory.look_up([]).epoch
    assert (epoch.is_healed, epoch.is_settled) == (True, True)
    assert epoch.name != MemoryStore(watch=Watch(1.0, 1.0)).look_up([]).epoch.name


def test_child_keeps_rulings_under_an_epoch_of_its_own(memory: MemoryStore) -> None:
    """After a fork: the same rulings and position, another epoch, nobody registered, fresh locks."""
    memory.feed().renew(WORKER, None)
    before = memory.write([Change(A, revoked=True)], time.time())
    memory.reset_after_fork()
    facts = memory.look_up([A])
    assert facts.rulings == before.rulings
    assert facts.end == before.end
    assert facts.epoch.name != before.epoch.name
    assert (facts.epoch.is_healed, facts.epoch.is_settled) == (True, True)
    assert memory.workers()[2] == ()
    assert memory.write([Change(B)], time.time()).end.position == 2


def test_read_after_a_trim_shows_the_gap(memory: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """H2: old entries are gone, and the links tell."""
    start = memory.look_up([]).end
    memory.write([Change(A), Change(B)], time.time())
    monkeypatch.setattr("jwtgate.stores.memory.KEPT_SECONDS", 0.0)
    time.sleep(0.002)
    memory.write([Change(A)], time.time())
    (entry,) = memory.feed().read(start.cursor, 0, 10)
    assert entry.position == 3
    assert entry.previous != start.link


def test_foreign_cursor_is_refused(memory: MemoryStore) -> None:
    """Only the store reads cursors; another's is no reason for another exception."""
    with pytest.raises(StoreUnavailable):
        memory.feed().read("1-1", 0, 10)
