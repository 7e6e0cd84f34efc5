"""Callers beyond the connections that a store may have: each is served in its turn."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
from beside import beside
from servers import WATCH

from jwtgate.stores import open_store
from jwtgate.stores.redis.dialling import dial_settings
from jwtgate.stores.redis.places import Fixed
from jwtgate.stores.redis.wire import Line, Lines
from jwtgate.stores.sql.dialects import MAX_LINES
from jwtgate.stores.sql.store import SqlStore
from jwtgate.stores.turns import Turns

if TYPE_CHECKING:
    from pathlib import Path

LONG_SECONDS = 60.0


def wait_for(turns: Turns, count: int) -> None:
    """Until so many wait."""
    until = time.monotonic() + LONG_SECONDS
    while len(turns._waiting) < count:  # noqa: SLF001
        assert time.monotonic() < until
        time.sleep(0.001)


def test_who_waited_longest_is_served_first() -> None:
    """Also where the one that gave back asks again at once."""
    turns, served = Turns(1), list[int]()
    assert turns.take(0)

    def wait(number: int) -> None:
        assert turns.take(LONG_SECONDS)
        served.append(number)

    with ExitStack() as stack:
        threads = []
        for number in range(3):
            threads += stack.enter_context(beside(partial(wait, number)))
            wait_for(turns, number + 1)
        for number, thread in enumerate(threads):
            turns.give()
            assert not turns.take(0), "passed by those who wait"
            thread.join(LONG_SECONDS)
            assert served == list(range(number + 1))


def test_waiting_in_vain_takes_nothing() -> None:
    """Who gave up is not served later, and what is given back is there for the next."""
    turns = Turns(2)
    assert turns.take(0) and turns.take(0)
    assert not turns.take(0.01)
    turns.give()
    assert turns.take(0)
    assert not turns.take(0)


def test_fewer_turns_hold_once_those_taken_are_given_back() -> None:
    """What is given back beyond the limit goes to nobody; more turns go to those who wait, in their order."""
    turns, served = Turns(3), list[int]()
    assert all(turns.take(0) for _ in range(3))
    turns.limit(1)

    def wait(number: int) -> None:
        assert turns.take(LONG_SECONDS)
        served.append(number)

    with ExitStack() as stack:
        threads = []
        for number in range(3):
            threads += stack.enter_context(beside(partial(wait, number)))
            wait_for(turns, number + 1)
        turns.give()
        turns.give()
        assert not served
        turns.give()
        threads[0].join(LONG_SECONDS)
        assert served == [0]
        turns.limit(3)
        for thread in threads:
            thread.join(LONG_SECONDS)
    assert sorted(served) == [0, 1, 2]
    assert not turns.take(0)


class Killed(BaseException):
    """As of a greenlet that is killed while it waits."""


class KilledTurn:
    """A turn whose wait is broken off. Before that its turn may come."""

    def __init__(self, turns: Turns, *, is_given: bool) -> None:
        self._turns, self._is_given, self._calls = turns, is_given, 0

    def acquire(self, timeout: float = -1) -> bool:
        """The first one makes the lock, the second one waits."""
        self._calls += 1
        if self._calls > 1:
            assert timeout == LONG_SECONDS
            if self._is_given:
                self._turns.give()
            raise Killed
        return True

    def release(self) -> None:
        """Its turn has come."""


@pytest.mark.parametrize("is_given", [True, False])
def test_killed_wait_loses_no_turn(monkeypatch: pytest.MonkeyPatch, is_given: bool) -> None:  # noqa: FBT001
    """Whether the turn came before or not, there are as many as ever afterwards."""
    turns = Turns(1)
    assert turns.take(0)
    with monkeypatch.context() as patched:
        patched.setattr("jwtgate.stores.turns.threading.Lock", lambda: KilledTurn(turns, is_given=is_given))
        with pytest.raises(Killed):
            turns.take(LONG_SECONDS)
    if not is_given:
        turns.give()
    assert turns.take(0)
    assert not turns.take(0)


def test_caller_killed_before_its_first_question_keeps_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a pool would have one connection less for good."""
    lines = Lines(Fixed(dial_settings("redis://127.0.0.1:1")), most=1)

    def killed(_: Line) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Line, "is_stale", killed)
        with pytest.raises(Killed):
            lines.ask((b"PING",), bytes)
    assert lines._turns.take(0)  # noqa: SLF001


def test_who_gives_back_a_connection_gets_it_after_who_waited(tmp_path: Path) -> None:
    """As often as it asks again at once."""
    store = open_store(f"sqlite:///{tmp_path}/store.db", prefix="jwtgate", watch=WATCH)
    assert isinstance(store, SqlStore)
    lines, is_over, served = store._lines, threading.Event(), list[str]()  # noqa: SLF001
    goes_on = threading.Event()

    def hold() -> None:
        lines.ask(lambda _: is_over.wait(LONG_SECONDS), seconds=LONG_SECONDS)

    def take_often() -> None:
        lines.ask(lambda _: goes_on.wait(LONG_SECONDS), seconds=LONG_SECONDS)
        for _ in range(100):
            lines.ask(lambda _: served.append("again"), seconds=LONG_SECONDS)

    def wait() -> None:
        lines.ask(lambda _: served.append("waited"), seconds=LONG_SECONDS)

    with closing(store), beside(*[hold] * (MAX_LINES - 1), end=is_over.set), beside(take_often, end=goes_on.set):
        until = time.monotonic() + LONG_SECONDS
        while lines._turns._left:  # noqa: SLF001
            assert time.monotonic() < until
            time.sleep(0.001)
        with beside(wait):
            wait_for(lines._turns, 1)  # noqa: SLF001
            goes_on.set()
    assert served == ["waited", *["again"] * 100]
