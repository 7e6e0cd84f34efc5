"""What was said to be ended stays so, whatever a journal puts back, and whoever had to ask twice."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from jwtgate import Gate
from jwtgate.core.history import NotDurable
from jwtgate.errors import GrantError, Revoked, StoreUnavailable
from jwtgate.runtime import blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers import Server

pytestmark = pytest.mark.server


def ready(gate: Gate) -> Gate:
    """A live view."""
    assert gate.ready(10.0), gate.status()
    return gate


def forget(server: Server, *gates: Gate) -> None:
    """Every process ends, and the server comes back without its data."""
    for gate in gates:
        gate.close()
    server.restart(keep_data=False)


@contextmanager
def locked(gate: Gate) -> Iterator[None]:
    """The journal answers nobody meanwhile."""
    lock = sqlite3.connect(str(gate.settings.journal).removeprefix("sqlite:///"), isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        lock.execute("ROLLBACK")
        lock.close()


def is_refreshed(gate: Gate, refresh_token: str) -> bool:
    try:
        gate.sessions.refresh(refresh_token)
    except GrantError:
        return False
    return True


def test_nothing_is_called_ended_before_the_journal_has_put_it_back(gates: Callable[..., Gate], own_server: Server) -> None:
    """A list that is still to be restored is no list: a receipt for it would be for nothing."""
    first = ready(gates())
    kept, gone = first.sessions.start("alice"), first.sessions.start("alice")
    forget(own_server, first)
    fresh = gates()
    with pytest.raises(StoreUnavailable):
        fresh.sessions.end_all("alice", keep=kept.session_id)
    ready(fresh)
    assert fresh.sessions.end_all("alice", keep=kept.session_id, wait=True).effective_everywhere
    assert not is_refreshed(fresh, gone.refresh_token)
    assert is_refreshed(fresh, kept.refresh_token)


def test_no_login_is_counted_before_the_journal_has_put_the_others_back(gates: Callable[..., Gate], own_server: Server) -> None:
    """``MAX_SESSIONS``: who is alone on a list that is still to be restored is not alone."""
    first = ready(gates(max_sessions=1))
    old = first.sessions.start("alice")
    forget(own_server, first)
    fresh = gates(max_sessions=1)
    with pytest.raises(StoreUnavailable):
        fresh.sessions.start("alice")
    ready(fresh)
    new = fresh.sessions.start("alice")
    assert not is_refreshed(fresh, old.refresh_token)
    assert is_refreshed(fresh, new.refresh_token)


@pytest.mark.parametrize("how", ["refresh token", "sid", "everywhere", "elsewhere"])
def test_end_that_was_asked_for_twice_is_known_to_the_journal(gates: Callable[..., Gate], own_server: Server, how: str) -> None:
    """The first answer is 503, and the second one must not rest on what the store alone remembers."""
    first = ready(gates())
    kept, gone = first.sessions.start("alice"), first.sessions.start("alice")

    def end() -> object:
        return {
            "refresh token": lambda: first.plans.end_by_refresh_token(gone.refresh_token, wait=True),
            "sid": lambda: first.plans.end_session(gone.session_id, wait=True),
            "everywhere": lambda: first.plans.end_all("alice", None, wait=True),
            "elsewhere": lambda: first.plans.end_all("alice", kept.session_id, wait=True),
        }[how]()

    with locked(first), pytest.raises(NotDurable):
        blocking.run(end(), first.performer)
    blocking.run(end(), first.performer)
    forget(own_server, first)
    fresh = ready(gates())
    assert not is_refreshed(fresh, gone.refresh_token)


def test_end_is_asked_for_again_in_another_process(gates: Callable[..., Gate], own_server: Server) -> None:
    """Which owes nothing, and finds that the session has ended."""
    first, second = ready(gates()), ready(gates())
    pair = first.sessions.start("alice")
    with locked(first), pytest.raises(NotDurable):
        blocking.run(first.plans.end_by_refresh_token(pair.refresh_token, wait=True), first.performer)
    receipt = blocking.run(second.plans.end_by_refresh_token(pair.refresh_token, wait=True), second.performer)
    assert receipt is not None and receipt.effective_everywhere
    assert blocking.run(second.plans.end_by_refresh_token("jgr_", wait=True), second.performer) is None
    first._owing._owed.clear()  # type: ignore[union-attr]  # as if it had been killed
    forget(own_server, first, second)
    assert not is_refreshed(ready(gates()), pair.refresh_token)


def test_login_that_was_asked_for_twice_leaves_one_session(gates: Callable[..., Gate], own_server: Server) -> None:
    """``MAX_SESSIONS``: the end of the one before is known to the journal, too."""
    first = ready(gates(max_sessions=1))
    old = first.sessions.start("alice")
    with locked(first), pytest.raises(NotDurable):
        first.sessions.start("alice")
    new = first.sessions.start("alice")
    forget(own_server, first)
    fresh = ready(gates(max_sessions=1))
    assert not is_refreshed(fresh, old.refresh_token)
    assert is_refreshed(fresh, new.refresh_token)


def test_sessions_that_fell_apart_from_their_list_have_ended(gates: Callable[..., Gate], own_server: Server) -> None:
    """A store that is made anew with another number of partitions: none lives that a list does not tell."""
    first = ready(gates())
    pairs = [first.sessions.start("alice") for _ in range(8)]
    forget(own_server, first)
    fresh = ready(gates(partitions=4))
    living = {pair.session_id for pair in pairs if is_refreshed(fresh, pair.refresh_token)}
    assert {session.sid for session in fresh.sessions.list("alice")} == living


def test_history_that_a_process_without_the_journal_healed_is_restored_by_the_next_one(
    gates: Callable[..., Gate], own_server: Server
) -> None:
    """Settings differ, as during a deployment: the one that was up first cannot know what the journal has, and is told."""
    first = ready(gates())
    token = first.issue("alice")
    assert first.revoke(token=token, wait=True).effective_everywhere
    forget(own_server, first)
    without = ready(gates(journal=None))
    for gate in (ready(gates()), without):
        with pytest.raises(Revoked):
            gate.verify(token)
