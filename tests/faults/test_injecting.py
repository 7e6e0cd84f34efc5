"""A fault that wants something of a server which another has taken away waits, or is left out; never is it taken for done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from faults.faults import FAULTS, Fault, LeftOut, in_time
from faults.run import inject
from faults.stores import STORES, RedisLike

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.faults import Happening

FLUSHALL = "FLUSHALL during a partition"


class Low:
    """Draws the least of everything."""

    def uniform(self, low: float, _: float) -> float:
        """No chance."""
        return low


class Held:
    """What a fault does to a proxy."""

    is_held = False

    def hold(self) -> None:
        """From here on."""
        self.is_held = True

    def pass_on(self) -> None:
        """To here."""
        self.is_held = False


class Stage:
    """What ``inject`` and these faults need of a scene."""

    def __init__(self, store: Any = None, *, lease: float = 1.0) -> None:
        self.store, self.lease = store, lease
        self.proxy = Held()

    @property
    def now(self) -> float:
        """As a scene's."""
        return time.monotonic()

    def some_proxies(self, _: Any) -> list[Held]:
        """The one."""
        return [self.proxy]


def of(name: str, happen: Any, *, loses_history: bool = False) -> Fault:
    """A fault of a test."""
    return Fault(name, happen, "server", frozenset(), loses_history)


def happened(stage: Stage, *faults: Fault) -> Any:
    """What ``inject`` records, all beginning at once."""
    scene: Any = stage
    draw: Any = Low()
    return inject(scene, list(faults), draw)


@pytest.fixture(name="store", scope="module")
def a_store() -> Iterator[RedisLike]:
    """Durable at each write."""
    with STORES["valkey"]() as store:
        yield store


def test_fault_done_at_once_did_not_wait() -> None:
    """Nothing is said of it."""

    def at_once(scene: Any, _: Any) -> Happening:
        return (yield from in_time(scene, lambda: True))

    injection = happened(Stage(), of("one", at_once, loses_history=True))
    assert (injection.waited, injection.left_out, injection.loses_history) == ({}, {}, True)


def test_fault_left_out_is_recorded_and_others_go_on() -> None:
    """What did not happen lost no history either."""
    seen = []

    def never(scene: Any, _: Any) -> Happening:
        return (yield from in_time(scene, lambda: False))

    def other(*_: Any) -> Happening:
        yield 0.3
        seen.append("its end")
        return None

    injection = happened(Stage(lease=0.02), of("one", never, loses_history=True), of("two", other))
    assert list(injection.left_out) == ["one"]
    assert injection.names == ["one", "two"]
    assert not injection.loses_history
    assert seen == ["its end"]


def test_fault_that_fails_otherwise_fails_the_run() -> None:
    """Only what is expected is left out."""

    def broken(*_: Any) -> Happening:
        yield 0.0
        raise KeyError

    with pytest.raises(KeyError):
        happened(Stage(), of("one", broken))


@pytest.mark.server
def test_flush_waits_for_paused_server(store: RedisLike) -> None:
    """It is carried out once, when the server goes on, and not again by a question that had been left behind."""

    def paused(*_: Any) -> Happening:
        store.server.pause()
        yield 1.0
        store.server.resume()
        return None

    stage = Stage(store)
    store.admin.set("one", "there")
    injection = happened(stage, of("paused", paused), FAULTS[FLUSHALL])
    store.admin.set("two", "there")
    assert store.admin.keys() == [b"two"]
    assert injection.waited[FLUSHALL] > 0.3
    assert injection.loses_history
    assert not stage.proxy.is_held


@pytest.mark.server
def test_flush_is_left_out_where_server_stays_away(store: RedisLike) -> None:
    """Nothing is flushed, and the partition is over."""

    def away(*_: Any) -> Happening:
        store.server.kill()
        yield 1.0
        store.server.start()
        return None

    stage = Stage(store, lease=0.1)
    store.admin.set("one", "there")
    injection = happened(stage, of("away", away), FAULTS[FLUSHALL])
    assert store.admin.get("one") == b"there"
    assert list(injection.left_out) == [FLUSHALL]
    assert not injection.loses_history
    assert not stage.proxy.is_held


@pytest.mark.server
@pytest.mark.parametrize(
    ("option", "value", "normal"),
    [("min-replicas-to-write", "1", "0"), ("requirepass", "another", ""), ("maxclients", "1", "1000")],
)
def test_refused_flush_is_not_taken_for_done(store: RedisLike, option: str, value: str, normal: str) -> None:
    """Whatever the server says instead."""
    admin = store.admin
    admin.set("one", "there")
    admin.config_set(option, value)
    try:
        assert not store.flush()
        assert admin.get("one") == b"there"
    finally:
        admin.config_set(option, normal)
    assert store.flush()
    assert admin.keys() == []


def test_left_out_says_why() -> None:
    """In a sentence for the results file."""
    waiting = in_time(Stage(lease=0.0), lambda: False)  # type: ignore[arg-type]
    with pytest.raises(LeftOut, match="could not be done"):
        list(waiting)
