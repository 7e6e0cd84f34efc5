"""When the store counts as down: after a failed look-up, or a follower that failed; not where others only keep it from writing."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from jwtgate import Gate, Settings
from jwtgate.core.history import StoreBusy
from jwtgate.errors import Revoked, StoreUnavailable
from jwtgate.runtime.health import ATTEMPT_SECONDS, PROBE_SECONDS, Health
from jwtgate.stores.sql.tables import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEASE = 0.5


class Hands:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def boot(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hands:
    """Set by the test."""
    return Hands()


@pytest.fixture
def health(clock: Hands) -> Health:
    """Of a store that answers."""
    return Health(clock, LEASE)


def is_asked(health: Health) -> bool:
    """Whether a look-up may go out now."""
    try:
        health.check()
    except StoreUnavailable:
        return False
    return True


def test_failed_look_up_spares_all_others_the_timeout(health: Health) -> None:
    """Also where it found the store busy: it waited for a whole timeout, and so would the next."""
    for error in (StoreUnavailable("gone"), StoreBusy("busy")):
        health.answered(is_healed=True, of_follower=0)
        assert is_asked(health)
        health.failed(error)
        assert health.is_down() and not is_asked(health)


def test_follower_that_finds_others_writing_keeps_nobody_from_looking(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    """It says so once, and once more after it was through in between."""
    health.answered(is_healed=True, of_follower=0)
    with caplog.at_level(logging.INFO, "jwtgate"):
        for _ in range(3):
            health.failed(StoreBusy("locked"), of_follower=0)
            assert health.state == "up" and is_asked(health)
        health.answered(is_healed=True, of_follower=0)
        health.failed(StoreBusy("locked"), of_follower=0)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


def test_busy_follower_closes_no_circuit(health: Health, clock: Hands) -> None:
    """What a look-up has opened stays so; without a follower that is through, one look-up in a while tries."""
    health.answered(is_healed=True, of_follower=0)
    health.failed(StoreUnavailable("gone"))
    health.failed(StoreBusy("locked"), of_follower=0)
    assert not is_asked(health)
    clock.now += LEASE + 0.01
    assert [is_asked(health), is_asked(health)] == [True, False]
    clock.now += PROBE_SECONDS
    assert is_asked(health)


def test_follower_that_hangs_in_the_store_longer_than_a_lease_is_at_work(health: Health, clock: Hands) -> None:
    """No request after the first waits for a store that hangs; once nobody follows, some try."""
    health.answered(is_healed=True, of_follower=0)
    clock.now += 2 * LEASE
    health.failed(StoreUnavailable("no answer"))
    asked = []
    for _ in range(3):
        clock.now += 2 * LEASE
        asked.append(is_asked(health))
        health.failed(StoreUnavailable("no answer"), of_follower=0)
    assert asked == [False] * 3
    clock.now += LEASE + ATTEMPT_SECONDS + 0.01
    assert is_asked(health)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """On a database in a file."""
    url = f"sqlite:///{tmp_path}/store.db"
    with closing(Gate(Settings(secret="of-a-test-kT0Zb8yqW3vXrLm5Jd7uHf2", store=url, lease=LEASE))) as gate:
        assert gate.ready(15.0)
        yield gate


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Somebody else's long transaction."""
    with closing(sqlite3.connect(folder / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_locked_database_is_asked_by_requests(gate: Gate, tmp_path: Path) -> None:
    """No lease can be renewed, and every request is answered all the same."""
    alive, dead = gate.issue("alice"), gate.issue("bob")
    gate.revoke(token=dead, wait=True)
    with locked(tmp_path):
        began, verdicts = time.monotonic(), set[str]()
        while time.monotonic() < began + LEASE + 1.5:  # a lease, and the patience of who waits for the lock
            verdicts.add(gate.verify(alive).subject or "")
            with pytest.raises(Revoked):
                gate.verify(dead)
            threading.Event().wait(0.01)
        assert verdicts == {"alice"} and not gate.status().live and gate.status().store == "up"
    assert gate.ready(10.0)
    assert gate.revoke(token=alive, wait=True).effective_everywhere


def test_locked_database_holds_no_event_loop(gate: Gate, tmp_path: Path) -> None:
    """Who writes waits for the lock on a thread, and everything else goes on."""

    async def revoke_and_count() -> tuple[StoreUnavailable, int]:
        revoking, ticks = asyncio.ensure_future(gate.aio.revoke(sub="alice")), 0
        while not revoking.done():
            ticks += (await gate.aio.verify(token)).subject == "bob"
            await asyncio.sleep(0.01)
        error = revoking.exception()
        assert isinstance(error, StoreUnavailable)
        return error, ticks

    token = gate.issue("bob")
    with locked(tmp_path):
        error, ticks = asyncio.run(revoke_and_count())
    assert isinstance(error, StoreBusy) and ticks > 1, "a loop that stands still has one"


def test_process_of_an_older_layout_is_unavailable_and_says_why(
    gate: Gate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A rolling upgrade: as soon as a newer process has brought the tables to its layout, this one admits nobody: 503, one line
    in the log, and an error for who writes; what it knows to be revoked stays so."""
    alive, dead = gate.issue("alice"), gate.issue("bob")
    gate.verify(alive)
    gate.revoke(token=dead, wait=True)
    with closing(sqlite3.connect(tmp_path / "store.db")) as newer, newer:
        newer.execute("UPDATE jwtgate_meta SET version = version + 1")
    until = time.monotonic() + 10.0
    while gate.status().store == "up" or gate.status().live:
        assert time.monotonic() < until
        threading.Event().wait(0.02)
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            gate.verify(alive)
        with pytest.raises(Revoked):
            gate.verify(dead)
    for write in (lambda: gate.revoke(sub="alice"), lambda: gate.issue("carol"), lambda: gate.sessions.start("dave")):
        with pytest.raises(StoreUnavailable):
            write()
    [told] = [text for record in caplog.records if "JWTGATE_STORE" in (text := record.getMessage())]
    assert f"layout version {VERSION + 1}; this version of jwtgate knows {VERSION}: upgrade it" in told
