"""What every store keeps of sessions: one compare-and-set a change, in the same step as rulings and log (W1)."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial

import pytest
from beside import together

from jwtgate.core.history import Facts, Worker
from jwtgate.core.rulings import Change, Ruling
from jwtgate.core.sessions.stored import Guard, SessionChange, StoredSession
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import Store

A, B = (bytes([number]) * 16 for number in (1, 2))
USER, OTHER_USER = (bytes([number]) * 16 for number in (8, 9))


def new(sid: str = "one", **more: object) -> SessionChange:
    """A session to create, an hour long."""
    now = time.time()
    change = SessionChange(sid, USER, record=b"first", handles=(A, B), ends_at=now + 3600, seen_at=now)
    return replace(change, **more)  # type: ignore[arg-type]


def end(sid: str = "one", user: bytes = USER) -> SessionChange:
    """A session to end."""
    return SessionChange(sid, user)


def put(store: Store, *sessions: SessionChange, changes: tuple[Change, ...] = (), guard: Guard | None = None) -> bool:
    """Whether it was written."""
    return store.write(changes, time.time(), sessions, guard) is not None


def find(store: Store, sid: str = "one") -> StoredSession | None:
    """What a look-up gives."""
    return store.look_up((), (sid,)).sessions[0]


def listed(store: Store, user: bytes = USER) -> list[str]:
    """Names, in order."""
    return [session.sid for session in store.sessions_of(user).sessions if session is not None]


def test_created_session_is_found_as_it_was_put(store: Store) -> None:
    """Every field comes back, with a stamp of the step that made it."""
    session = new(successors=b"sealed \x00\xff", successors_seconds=30)
    written = store.write((Change(os.urandom(16), revoked=True),), time.time(), (session,))
    assert written is not None
    found = find(store)
    assert found is not None
    assert (found.sid, found.record, found.successors, found.is_ended) == ("one", b"first", b"sealed \x00\xff", False)
    assert found.stamp == f"{written.epoch.name}:{written.end.position}"
    assert found.seen_at == pytest.approx(session.seen_at, abs=1e-6)
    assert found.ends_at == pytest.approx(session.ends_at, abs=1e-6)
    assert (found.handles, found.rulings) == ((A, B), (None, None))


def test_look_up_answers_rulings_and_sessions_in_order(store: Store) -> None:
    """One step tells of handles, of sessions and of the time."""
    put(store, new("one"), new("two"), changes=(Change(A, revoked=True),))
    facts = store.look_up((B, A), ("two", "none", "one"))
    assert [ruling is not None for ruling in facts.rulings] == [False, True]
    assert [session and session.sid for session in facts.sessions] == ["two", None, "one"]
    assert facts.at == pytest.approx(time.time(), abs=5)
    assert store.look_up((A,)).sessions == ()


def test_session_comes_with_the_rulings_on_its_handles(store: Store) -> None:
    """A refresh is judged by one step."""
    put(store, new())
    written = store.write((Change(B, cuts_off=True),), time.time())
    found = find(store)
    assert written is not None and found is not None
    assert found.rulings == (None, written.rulings[0])


def test_write_without_changes_stamps_the_log_as_it_is(store: Store) -> None:
    """A login writes no entry; its position is that of the log's end."""
    store.write((Change(A, revoked=True),), time.time())
    before = store.look_up(()).end
    written = store.write((), time.time(), (new(),))
    assert written is not None
    assert written.end == before == store.look_up(()).end
    assert written.rulings == ()


def test_session_may_bring_its_stamp(store: Store) -> None:
    """That of a step in another partition, also where an expired one of the name is still kept."""
    put(store, new("one", ends_at=time.time() + 0.2))
    time.sleep(0.25)
    put(store, new("one", stamp="first:7"))
    assert _found(store).stamp == "first:7"
    put(store, new("two", stamp="first:8"))
    assert _found(store, "two").stamp == "first:8"


def test_replaced_session_keeps_its_stamp(store: Store) -> None:
    """The stamp says when the login was, however often it rotates."""
    put(store, new())
    stamp = _found(store).stamp
    store.write((Change(os.urandom(16), revoked=True),), time.time())
    later = time.time() + 7200
    assert put(store, new(record=b"second", expected=b"first", ends_at=later, handles=(B,)))
    found = _found(store)
    assert (found.record, found.stamp, found.rulings) == (b"second", stamp, (None,))
    assert found.ends_at == pytest.approx(later, abs=1e-6)


@pytest.mark.parametrize("expected", [b"other", b"firs", b"first ", b"\x00"])
def test_session_that_is_not_as_expected_is_left_alone(store: Store, expected: bytes) -> None:
    """Compare-and-set: and nothing else of the step is written either."""
    put(store, new())
    assert not put(store, new(record=b"second", expected=expected), changes=(Change(A, revoked=True),))
    assert _found(store).record == b"first"
    assert store.look_up((A,)).rulings == (None,)
    assert store.look_up(()).end.position == 0


def test_session_is_created_once(store: Store) -> None:
    """A name that is taken cannot be taken again, nor one that was ended."""
    assert put(store, new())
    assert not put(store, new(record=b"second"))
    assert put(store, end())
    assert not put(store, new(record=b"third"))


def test_session_that_is_not_there_cannot_be_replaced(store: Store) -> None:
    """A rotation that comes after the end finds nothing to rotate."""
    assert not put(store, new(record=b"second", expected=b"first"))
    put(store, new())
    put(store, end())
    assert not put(store, new(record=b"second", expected=b"first"))
    assert listed(store) == []


def test_ended_session_leaves_a_mark(store: Store) -> None:
    """It is told from a lost one until the time it would have ended."""
    session = new(successors=b"sealed", successors_seconds=30)
    put(store, session)
    put(store, end())
    found = _found(store)
    assert found.is_ended
    assert (found.record, found.stamp, found.successors, found.handles, found.rulings) == (b"", "", b"", (), ())
    assert found.ends_at == pytest.approx(session.ends_at, abs=1e-6)
    assert put(store, end()), "ending twice is fine"
    assert _found(store).is_ended


def test_ending_what_is_not_there_does_nothing(store: Store) -> None:
    """Nobody can fill the store with ends."""
    assert put(store, end("none"))
    assert find(store, "none") is None


def test_ruling_and_end_are_one_step(store: Store) -> None:
    """W1: whoever sees the ruling sees the end."""
    put(store, new())
    written = store.write((Change(A, revoked=True),), time.time(), (end(),))
    assert written is not None
    facts = store.look_up((A,), ("one",))
    assert facts.rulings == written.rulings
    assert facts.sessions[0] is not None and facts.sessions[0].is_ended


def test_expired_session_is_gone(store: Store) -> None:
    """By the store's own clock, from the list as well."""
    put(store, new(ends_at=time.time() + 0.05), new("two"))
    time.sleep(0.1)
    assert find(store) is None
    assert listed(store) == ["two"]
    assert put(store, new()), "its name is free again"


def test_successors_are_kept_for_their_grace_only(store: Store) -> None:
    """The sealed pair goes by itself; the session stays."""
    for sid in "abcde":
        began = time.monotonic()
        put(store, new(sid, successors=b"sealed", successors_seconds=0.5))
        kept = _found(store, sid).successors
        if (seconds := time.monotonic() - began) < 0.5:
            break
    assert seconds < 0.5, f"each of them took {seconds:.2f} s"
    assert kept == b"sealed"
    time.sleep(0.6)
    assert _found(store, sid).successors == b""
    assert _found(store, sid).record == b"first"


def test_successors_are_replaced_with_the_record(store: Store) -> None:
    """What was sealed before is not left behind."""
    put(store, new(successors=b"sealed", successors_seconds=30))
    put(store, new(record=b"second", expected=b"first"))
    assert _found(store).successors == b""


def test_sessions_are_listed_by_user(store: Store) -> None:
    """Those that end last first, only live ones, only one's own."""
    now = time.time()
    ends = {"a": 100, "b": 300, "c": 200}
    put(store, *[new(sid, ends_at=now + seconds) for sid, seconds in ends.items()], new("d", user=OTHER_USER))
    put(store, end("c"))
    assert listed(store) == ["b", "a"]
    assert listed(store, OTHER_USER) == ["d"]
    assert listed(store, A) == []
    facts: Facts = store.sessions_of(USER)
    assert facts.at == pytest.approx(time.time(), abs=5)
    assert [session.record for session in facts.sessions if session] == [b"first", b"first"]


def test_sessions_are_listed_in_pages(store: Store) -> None:
    """Whatever ends at the same moment, each session stands on exactly one page, and past the last there is none."""
    now = time.time()
    ends = [now + seconds for seconds in (500, 400, 300, 300, 300, 200)]
    put(store, *[new(f"sid-{number}", ends_at=ends_at) for number, ends_at in enumerate(ends)], new("d", user=OTHER_USER))
    whole = listed(store)
    assert (whole[:2], whole[-1], len(whole)) == (["sid-0", "sid-1"], "sid-5", 6)
    pages = [store.sessions_of(USER, offset, 2) for offset in (0, 2, 4, 6, 10_000_000)]
    assert [[each.sid for each in facts.sessions if each] for facts in pages] == [whole[:2], whole[2:4], whole[4:], [], []]
    assert all(facts.epoch.name == pages[0].epoch.name for facts in pages)


def test_session_is_not_ended_for_another_user(store: Store) -> None:
    """The list belongs to the user; the name alone decides what ends."""
    put(store, new())
    put(store, new(record=b"second", expected=b"first", ends_at=time.time() + 9000))
    assert listed(store) == ["one"]


@pytest.mark.parametrize("revoked", [True, False, None])
def test_guard_wants_a_handle_unrevoked(store: Store, revoked: bool | None) -> None:
    """A suspended subject gets no session, in the very step that would make it; a lifted one does."""
    store.write((Change(A, revoked=revoked, cuts_off=True),), time.time())
    assert put(store, new(), guard=Guard(not_revoked=(B, A))) is (revoked is not True)
    assert (find(store) is not None) is (revoked is not True)


def test_guard_looks_before_the_changes(store: Store) -> None:
    """Of two that replace the same token one wins."""
    guard = Guard(not_revoked=(A,))
    assert put(store, changes=(Change(A, revoked=True),), guard=guard)
    assert not put(store, changes=(Change(A, revoked=True),), guard=guard)
    assert store.look_up(()).end.position == 1


def test_guard_wants_the_latest_word_to_be_the_one_that_was_seen(store: Store) -> None:
    """Suspending and lifting: what comes late, after somebody else's word, does nothing."""

    def says(revoked: bool, seen: tuple[str, int] | None) -> bool:
        return put(store, changes=(Change(A, revoked=revoked),), guard=Guard(toggled_at=((A, seen),)))

    store.write((Change(A, cuts_off=True),), time.time())
    epoch = store.look_up(()).epoch.name
    assert not says(True, (epoch, 1))
    assert says(True, None)
    assert not says(True, None)
    assert not says(False, (epoch, 1)) and not says(False, ("elsewhere", 2))
    assert says(False, (epoch, 2))
    assert not says(True, (epoch, 2))
    assert store.look_up(()).end.position == 3


def test_guard_wants_a_list_as_it_was(store: Store) -> None:
    """One login at a time: whoever has not seen the other's session must look again."""
    assert put(store, new("one"), guard=Guard(user=USER))
    assert not put(store, new("two"), guard=Guard(user=USER))
    assert not put(store, new("two"), guard=Guard(user=USER, sids=frozenset({"one", "gone"})))
    assert put(store, new("two"), end("one"), guard=Guard(user=USER, sids=frozenset({"one"})))
    assert listed(store) == ["two"]
    assert put(store, new("three"), guard=Guard(user=OTHER_USER))


def test_expired_sessions_are_not_on_the_guards_list(store: Store) -> None:
    """What is gone by its time is not waited for."""
    put(store, new(ends_at=time.time() + 0.05))
    time.sleep(0.1)
    assert put(store, new("two"), guard=Guard(user=USER))


def test_seen_sessions_are_moved_to_now(store: Store) -> None:
    """Live ones only, and nothing is made."""
    put(store, new(seen_at=1.0), new("two", seen_at=1.0), new("three", seen_at=1.0))
    put(store, end("two"))
    feed = store.feed()
    feed.renew(Worker("w", 1.0, -1, 1, is_healing=False), None)
    feed.saw(("one", "two", "none"))
    feed.close()
    assert _found(store).seen_at == pytest.approx(time.time(), abs=5)
    assert _found(store, "two").is_ended
    assert find(store, "none") is None
    assert _found(store, "three").seen_at == 1.0
    with pytest.raises(StoreUnavailable):
        feed.saw(("one",))


def test_one_of_many_rotations_wins(store: Store) -> None:
    """Of writers that expect the same record one succeeds, whoever they are."""
    put(store, new())
    won: list[bytes] = []

    def rotate(name: bytes) -> None:
        if put(store, new(record=name, expected=b"first")):
            won.append(name)

    together(*[partial(rotate, b"by %d" % number) for number in range(12)])
    assert [_found(store).record] == won


def test_many_handles_and_long_texts(store: Store) -> None:
    """What a session of many groups carries."""
    handles = tuple(os.urandom(16) for _ in range(200))
    store.write((Change(handles[150], revoked=True),), time.time())
    put(store, new(handles=handles, record=os.urandom(20_000)))
    rulings = _found(store).rulings
    assert len(rulings) == 200
    assert [index for index, ruling in enumerate(rulings) if ruling is not None] == [150]
    ruling = rulings[150]
    assert ruling is not None
    toggle = Ruling.decode(ruling).toggle
    assert toggle is not None and toggle.is_revoked


def _found(store: Store, sid: str = "one") -> StoredSession:
    found = find(store, sid)
    assert found is not None
    return found
