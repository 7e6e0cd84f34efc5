"""Stores that take back what a journal remembers: what was ended stays so, and nothing goes backwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from conftest import SERVERS, emptied
from servers import WATCH, Server

from jwtgate.core.sessions.stored import KeptSession, SessionChange, StoredSession
from jwtgate.stores import Feed, Store, open_store
from jwtgate.stores.contract import Restorable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["memory", *SERVERS])
def store(request: pytest.FixtureRequest, running_servers: dict[str, Server]) -> Iterator[Store]:
    """Of the kinds that can have a journal, and the one that tells what they mean."""
    url = "memory://" if request.param == "memory" else emptied(request.param, running_servers).url
    store = open_store(url, prefix="jwtgate", watch=WATCH)
    yield store
    store.close()


SID, OTHER = "s" * 21 + "A", "t" * 21 + "A"
USER = b"u" * 16
HANDLES = (b"1" * 16, b"2" * 16, b"3" * 16)


def kept(turn: int = 0, sid: str = SID, *, seconds: float = 60.0, stamp: str = "old:7") -> KeptSession:
    """A session as a journal has it."""
    now = time.time()
    return KeptSession(sid, USER, b"record %d" % turn, stamp, HANDLES, now - 5.0, now + seconds, turn)


def ended(sid: str = SID, *, seconds: float = 60.0) -> KeptSession:
    """Its end."""
    return KeptSession(sid, USER, b"", ends_at=time.time() + seconds)


def put(store: Store, turn: int = 0, expected: bytes | None = None, sid: str = SID) -> str:
    """Writes one; returns the epoch."""
    now = time.time()
    change = SessionChange(
        sid,
        USER,
        record=b"record %d" % turn,
        expected=expected,
        handles=HANDLES,
        ends_at=now + 60.0,
        seen_at=now,
        successors=b"sealed",
        successors_seconds=30.0,
        turn=turn,
    )
    written = store.write((), now, (change,))
    assert written is not None
    return written.epoch.name


def end(store: Store, sid: str = SID) -> None:
    """Ends one."""
    assert store.write((), time.time(), (SessionChange(sid, USER),)) is not None


def found(store: Store, sid: str = SID) -> StoredSession | None:
    """What stands under a name."""
    return store.look_up((), (sid,)).sessions[0]


def restore(feed: Feed, epoch: str, *sessions: KeptSession, is_last: bool = False) -> bool:
    """One batch."""
    assert isinstance(feed, Restorable)
    return feed.restore_sessions(epoch, sessions, is_last=is_last)


def epoch_of(store: Store) -> str:
    """The current one."""
    return store.workers()[0].name


def test_absent_session_is_back_as_it_was(store: Store, feed: Feed) -> None:
    """With its stamp, its handles, its end, when it was seen, and in its user's list."""
    session = kept(3)
    assert restore(feed, epoch_of(store), session, kept(0, OTHER, seconds=90.0))
    back = found(store)
    assert back is not None
    assert (back.record, back.stamp, back.handles, back.is_ended) == (b"record 3", "old:7", HANDLES, False)
    assert back.seen_at == pytest.approx(session.seen_at, abs=0.001) and back.ends_at == session.ends_at
    assert back.successors == b""
    assert [each.sid for each in store.sessions_of(USER).sessions if each is not None] == [OTHER, SID]


def test_restored_session_rotates_on_and_ends(store: Store, feed: Feed) -> None:
    """It is a session like any other."""
    restore(feed, epoch_of(store), kept(3))
    put(store, 4, b"record 3")
    back = found(store)
    assert back is not None and (back.record, back.stamp, back.successors) == (b"record 4", "old:7", b"sealed")
    end(store)
    back = found(store)
    assert back is not None and back.is_ended
    assert store.sessions_of(USER).sessions == ()


def test_later_record_replaces_an_earlier_one_and_no_other(store: Store, feed: Feed) -> None:
    """A store that was put back to an older state must not take a spent refresh token."""
    epoch = put(store, 2)
    for turn in (0, 1, 2):
        restore(feed, epoch, kept(turn))
        back = found(store)
        assert back is not None and (back.record, back.successors) == (b"record 2", b"sealed")
    restore(feed, epoch, kept(3, stamp=""))
    back = found(store)
    assert back is not None and (back.record, back.successors) == (b"record 3", b"")
    assert back.stamp.startswith(epoch)


def test_ended_session_never_lives_again(store: Store, feed: Feed) -> None:
    """Whatever the journal says of it."""
    epoch = put(store)
    end(store)
    restore(feed, epoch, kept(9))
    back = found(store)
    assert back is not None and back.is_ended
    assert store.sessions_of(USER).sessions == ()


def test_end_is_put_back_over_an_absent_session_and_over_a_live_one(store: Store, feed: Feed) -> None:
    """Remembered until the session's own end."""
    epoch = put(store)
    live = found(store)
    assert live is not None
    restore(feed, epoch, ended(seconds=10.0), ended(OTHER))
    for sid in (SID, OTHER):
        back = found(store, sid)
        assert back is not None and back.is_ended and back.record == b""
    back = found(store)
    assert back is not None and back.ends_at == live.ends_at
    assert store.sessions_of(USER).sessions == ()
    restore(feed, epoch, kept(5, OTHER))
    back = found(store, OTHER)
    assert back is not None and back.is_ended


def test_what_is_past_its_end_is_left_out(store: Store, feed: Feed) -> None:
    """Time has ended it."""
    restore(feed, epoch_of(store), kept(seconds=-1.0), ended(OTHER, seconds=-1.0))
    assert (found(store), found(store, OTHER)) == (None, None)


def test_another_epoch_puts_nothing_back(store: Store, feed: Feed) -> None:
    """The healer must begin anew."""
    epoch = epoch_of(store)
    assert not restore(feed, "another", kept(), is_last=True)
    assert found(store) is None
    assert not store.look_up(()).epoch.is_restored
    assert restore(feed, epoch, is_last=True)


def test_epoch_says_that_all_was_put_back_until_it_is_lost(store: Store, feed: Feed) -> None:
    """Only with the last batch; a new epoch starts without."""
    epoch = epoch_of(store)
    restore(feed, epoch, kept())
    assert not store.look_up(()).epoch.is_restored
    restore(feed, epoch, kept(0, OTHER), is_last=True)
    assert store.look_up(()).epoch.is_restored
    assert found(store, OTHER) is not None
    feed.lose(epoch)
    assert not store.look_up(()).epoch.is_restored
