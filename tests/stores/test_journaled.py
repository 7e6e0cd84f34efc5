"""A store with a journal: both have what was written, in this order, and an error says which of them lacks it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from servers import WATCH

from jwtgate.core.history import JournalUnavailable, NotDurable
from jwtgate.core.rulings import Change, Ruling
from jwtgate.core.sessions.stored import Guard, KeptSession, SessionChange
from jwtgate.stores import open_store
from jwtgate.stores.contract import Weakness
from jwtgate.stores.journaled import END_KEPT_SECONDS, JournaledStore

if TYPE_CHECKING:
    from collections.abc import Sequence

A = b"a" * 16
SID = "s" * 21 + "A"
USER = b"u" * 16


class ListedJournal:
    """A journal that lists what it is told. ``is_down``: answers nothing."""

    def __init__(self) -> None:
        self.rulings: list[tuple[bytes, bytes]] = []
        self.sessions: list[KeptSession] = []
        self.is_down = False
        self.calls: list[str] = []

    def _answer(self) -> None:
        if self.is_down:
            raise JournalUnavailable("a simulation")

    def record(self, rulings: Sequence[tuple[bytes, bytes]], sessions: Sequence[KeptSession]) -> None:
        self._answer()
        self.rulings += rulings
        self.sessions += sessions

    def check(self) -> None:
        self._answer()

    def pages(self, size: int):
        yield from ()

    def session_pages(self, size: int):
        yield from ()

    def audit(self) -> tuple[Weakness, ...]:
        return (Weakness("of the journal", "none"),)

    def reset_after_fork(self) -> None:
        self.calls.append("reset_after_fork")

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def journal() -> ListedJournal:
    """An empty one."""
    return ListedJournal()


@pytest.fixture
def store(journal: ListedJournal) -> JournaledStore:
    """A store in this process with it."""
    return JournaledStore(open_store("memory://", prefix="jwtgate", watch=WATCH), journal)


def put(turn: int = 0, expected: bytes | None = None) -> SessionChange:
    """A session's change."""
    now = time.time()
    return SessionChange(
        SID, USER, record=b"record %d" % turn, expected=expected, ends_at=now + 60, seen_at=now, turn=turn, handles=(A,)
    )


def test_rulings_are_recorded_as_they_hold_in_the_store(store: JournaledStore, journal: ListedJournal) -> None:
    """Merged with what was there."""
    store.write([Change(A, revoked=True, until=5e9)], time.time())
    written = store.write([Change(A, cuts_off=True, until=4e9)], time.time())
    assert written is not None
    assert journal.rulings[1:] == [(A, written.rulings[0])]
    ruling = Ruling.decode(journal.rulings[1][1])
    assert ruling.toggle is not None and ruling.not_before is not None and ruling.until == 5e9


def test_sessions_are_recorded_with_the_stamp_of_their_login(store: JournaledStore, journal: ListedJournal) -> None:
    """A rotation does not know it, and an end needs none."""
    written = store.write([Change(A, revoked=True)], time.time(), [put()])
    store.write((), time.time(), [put(1, b"record 0")])
    store.write((), time.time(), [SessionChange(SID, USER)])
    assert written is not None
    login, rotation, end = journal.sessions
    stored = store.look_up((), (SID,)).sessions[0]
    assert stored is not None and stored.is_ended
    assert (login.stamp, login.record, login.turn) == (f"{written.epoch.name}:{written.end.position}", b"record 0", 0)
    assert (rotation.stamp, rotation.record, rotation.turn, rotation.handles) == ("", b"record 1", 1, (A,))
    assert end.record == b"" and end.ends_at >= time.time() + END_KEPT_SECONDS - 60


def test_what_the_store_did_not_write_is_not_recorded(store: JournaledStore, journal: ListedJournal) -> None:
    """A guard that does not hold, an expectation that does not."""
    store.write([Change(A, revoked=True)], time.time())
    assert store.write((), time.time(), [put()], Guard(not_revoked=(A,))) is None
    assert store.write((), time.time(), [put(1, b"another")]) is None
    assert len(journal.rulings) == 1 and journal.sessions == []


def test_ruling_stands_where_the_journal_fails_and_the_error_says_so(store: JournaledStore, journal: ListedJournal) -> None:
    """W5: never a silent success; whoever catches it knows what holds."""
    journal.is_down = True
    with pytest.raises(NotDurable, match="stands in the store, and the journal lacks it") as caught:
        store.write([Change(A, revoked=True)], time.time())
    assert store.look_up([A]).rulings == caught.value.written.rulings


def test_no_login_and_no_rotation_is_begun_while_the_journal_is_down(store: JournaledStore, journal: ListedJournal) -> None:
    """The client may ask again for as long as it lasts: nothing has changed."""
    store.write((), time.time(), [put()])
    journal.is_down = True
    with pytest.raises(JournalUnavailable):
        store.write((), time.time(), [put(1, b"record 0")])
    stored = store.look_up((), (SID,)).sessions[0]
    assert stored is not None and stored.record == b"record 0"


def test_logout_is_written_while_the_journal_is_down(store: JournaledStore, journal: ListedJournal) -> None:
    """Nothing that takes a right away waits for a journal."""
    store.write((), time.time(), [put()])
    journal.is_down = True
    with pytest.raises(NotDurable):
        store.write((), time.time(), [SessionChange(SID, USER)])
    stored = store.look_up((), (SID,)).sessions[0]
    assert stored is not None and stored.is_ended


def test_write_that_is_unconfirmed_for_another_reason_is_recorded_too(
    store: JournaledStore, journal: ListedJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands; so the journal must have it, and the caller hears of the reason."""
    inner = store.store.write

    def write(*arguments: object) -> None:
        written = inner(*arguments)  # type: ignore[arg-type]
        assert written is not None
        raise NotDurable(written, "too few replicas")

    monkeypatch.setattr(store.store, "write", write)
    with pytest.raises(NotDurable, match="too few replicas"):
        store.write([Change(A, revoked=True)], time.time())
    assert [digest for digest, _ in journal.rulings] == [A]


def test_everything_else_is_the_stores(store: JournaledStore, journal: ListedJournal) -> None:
    """And what concerns both is done to both."""
    store.write((), time.time(), [put()])
    assert [each.sid for each in store.sessions_of(USER).sessions if each is not None] == [SID]
    assert store.workers() == store.store.workers()
    assert [each.problem for each in store.audit()][-1] == "of the journal"
    store.feed().close()
    store.reset_after_fork()
    store.close()
    assert journal.calls == ["reset_after_fork", "close"]


def test_journal_that_does_not_answer_is_a_weakness(store: JournaledStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no reason not to audit the store: it may serve all the same."""

    def audit() -> tuple[Weakness, ...]:
        raise JournalUnavailable("a simulation")

    monkeypatch.setattr(store.journal, "audit", audit)
    assert "a simulation" in store.audit()[-1].problem


def test_login_that_cannot_be_ends_no_other_session(store: JournaledStore, journal: ListedJournal) -> None:
    """``MAX_SESSIONS``: the oldest makes room for a new one, and there will be none."""
    store.write((), time.time(), [put()])
    journal.is_down = True
    change = Change(A, revoked=True)
    with pytest.raises(JournalUnavailable):
        store.write((change,), time.time(), [SessionChange(SID, USER), replace(put(), sid="t" * 21 + "A")])
    assert store.look_up([A]).rulings == (None,)
    stored = store.look_up((), (SID,)).sessions[0]
    assert stored is not None and not stored.is_ended
