"""Sessions seen: listed once per telling, in batches, and never a burden to a request."""

from __future__ import annotations

from typing import Any

from core.sessions.session_world import World

from jwtgate.core.lru import Admitted
from jwtgate.core.sessions.seen import SeenSessions
from jwtgate.messages import Token


def entry(sid: str | None) -> Admitted:
    """An admitted token of a session."""
    token = Token({}, {}, "alice", None, "j", sid, frozenset(), 1.0, "header")
    return Admitted(token, 1.0, (), is_seen=False)


def every(sid: str) -> bool:
    """Of a store with one partition."""
    return True


def test_token_is_listed_until_it_was_told() -> None:
    """Then its next hit lists it again."""
    seen = SeenSessions(10)
    shown = entry("one")
    seen.note(shown)
    assert shown.is_seen
    assert seen.take(10, every) == ("one",)
    assert not shown.is_seen
    assert seen.take(10, every) == ()


def test_session_with_several_tokens_is_told_once() -> None:
    """In the order in which they were seen."""
    seen = SeenSessions(10)
    for sid in ("one", "two", "one", None):
        seen.note(entry(sid))
    assert seen.take(10, every) == ("one", "two")


def test_batches_leave_the_rest_for_the_next() -> None:
    """So many names at once, and no more."""
    seen = SeenSessions(10)
    for number in range(5):
        seen.note(entry(str(number)))
    assert seen.take(2, every) == ("0", "1")
    assert len(seen) == 3
    assert seen.take(10, every) == ("2", "3", "4")


def test_list_is_bounded() -> None:
    """Nobody fills the memory by being seen."""
    seen = SeenSessions(3)
    for number in range(100):
        seen.note(entry(str(number)))
    assert len(seen) == 3


def test_store_moves_what_was_seen() -> None:
    """``last_seen_at`` follows, for live sessions alone."""
    world = World()
    pair = world.start()
    ended = world.start()
    world.end(ended.session_id)
    world.time.now += 100
    told: Any = (pair.session_id, ended.session_id, "x" * 22)
    world.store.saw(told)
    (session,) = world.list()
    assert session.last_seen_at == session.created_at + 100
