"""A journal in SQL: rows only move forward, whatever order several processes write in, and are forgotten in time."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from beside import together
from servers import free_port
from sqlalchemy import create_engine, text

from jwtgate.core.history import JournalUnavailable
from jwtgate.core.rulings import CutOff, Ruling, Toggle
from jwtgate.core.sessions.stored import KeptSession
from jwtgate.stores import open_journal
from jwtgate.stores.sql.journal import SqlJournal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B = b"a" * 16, b"b" * 16
USER = b"u" * 16
SID, OTHER = "s" * 21 + "A", "S" * 21 + "A"
HANDLES = (b"1" * 16, b"2" * 16, b"3" * 16)
LATER = time.time() + 3600.0


@pytest.fixture
def url(database_url: str) -> str:
    """An empty database of each kind."""
    return database_url


@pytest.fixture
def journal(url: str, unhurried_sql: None) -> Iterator[SqlJournal]:  # noqa: ARG001
    """A journal of one process."""
    journal = opened(url)
    yield journal
    journal.close()


def opened(url: str, prefix: str = "jwtgate") -> SqlJournal:
    """As each process does."""
    journal = open_journal(url, prefix=prefix)
    assert isinstance(journal, SqlJournal)
    return journal


def revoked(position: int, at: float = 1000.0, *, until: float | None = None, lifted: bool = False) -> bytes:
    """A ruling of the epoch e."""
    return Ruling(Toggle(not lifted, "e", position, at), until=until).encode()


def session(turn: int, sid: str = SID, *, stamp: str = "", ends_at: float = LATER) -> KeptSession:
    """A session's record after so many rotations."""
    return KeptSession(sid, USER, b"record %d" % turn, stamp, HANDLES, 1000.0 + turn, ends_at, turn)


def ended(sid: str = SID, ends_at: float = LATER) -> KeptSession:
    """Its end."""
    return KeptSession(sid, USER, b"", ends_at=ends_at)


def rulings_of(journal: SqlJournal, size: int = 2) -> dict[bytes, bytes]:
    """All of them."""
    return {digest: ruling for page in journal.pages(size) for digest, ruling in page}


def sessions_of(journal: SqlJournal, size: int = 2) -> dict[str, KeptSession]:
    """All of them."""
    return {each.sid: each for page in journal.session_pages(size) for each in page}


def test_what_was_recorded_is_told_in_pages(journal: SqlJournal) -> None:
    """Each row once, however large the pages are."""
    rulings = [(bytes([number]) * 16, revoked(number)) for number in range(7)]
    kept = [session(0, f"{number:021d}A", stamp="e:1") for number in range(7)]
    journal.record(rulings, kept)
    for size in (1, 2, 7, 100):
        assert [each for page in journal.pages(size) for each in page] == rulings
        assert [each for page in journal.session_pages(size) for each in page] == kept


def test_an_empty_journal_has_no_pages(journal: SqlJournal) -> None:
    """And its tables are there after the first question."""
    assert (rulings_of(journal), sessions_of(journal)) == ({}, {})


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_later_ruling_stands_in_whatever_order_they_arrive(journal: SqlJournal, order: tuple[int, int]) -> None:
    """Two processes: the first to write in the store need not be the first to write here."""
    told = [revoked(1), revoked(2, lifted=True)]
    for place in order:
        journal.record([(A, told[place])], [])
    assert Ruling.decode(rulings_of(journal)[A]).toggle == Toggle(False, "e", 2, 1000.0)


def test_parts_of_rulings_combine_by_the_strictest(journal: SqlJournal) -> None:
    """As two histories do."""
    journal.record([(A, Ruling(not_before=CutOff("e", 3, 10.0), until=50.0 + LATER, cut_at=7.0).encode())], [])
    journal.record([(A, Ruling(not_before=CutOff("e", 1, 5.0), min_version=4, until=LATER, cut_at=9.0).encode())], [])
    journal.record([(A, Ruling(until=LATER, cut_at=8.0).encode())], [])
    assert Ruling.decode(rulings_of(journal)[A]) == Ruling(None, CutOff("e", 3, 10.0), 4, 50.0 + LATER, 9.0)


def test_two_rulings_on_one_handle_in_one_write_both_count(journal: SqlJournal) -> None:
    """The list that a write brings may name a handle twice."""
    journal.record([(A, revoked(1)), (A, revoked(2, lifted=True))], [])
    assert Ruling.decode(rulings_of(journal)[A]).toggle == Toggle(False, "e", 2, 1000.0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
def test_the_record_of_the_highest_turn_stands_and_keeps_the_stamp_of_the_login(
    journal: SqlJournal, order: tuple[int, ...]
) -> None:
    """A spent refresh token does not live again because its rotation was told first."""
    told = [session(0, stamp="e:1"), session(1), session(2)]
    for place in order:
        journal.record([], [told[place]])
    assert sessions_of(journal)[SID] == session(2, stamp="e:1")


@pytest.mark.parametrize("is_end_first", [True, False])
def test_an_end_is_for_good(journal: SqlJournal, *, is_end_first: bool) -> None:
    """A login that is told after its logout does not come back; the mark stays as long as the session would have."""
    told = [ended(ends_at=LATER - 10), session(0, stamp="e:1")]
    for each in told if is_end_first else reversed(told):
        journal.record([], [each])
    journal.record([], [session(5, ends_at=LATER + 5)])
    found = sessions_of(journal)[SID]
    assert found.record == b"" and found.handles == () and found.ends_at == LATER + 5


def test_names_are_told_apart_by_case(journal: SqlJournal) -> None:
    """Some databases compare texts without regard to it."""
    journal.record([], [session(0, SID), session(3, OTHER)])
    assert {sid: each.turn for sid, each in sessions_of(journal).items()} == {SID: 0, OTHER: 3}


def test_what_has_expired_is_not_told_and_is_purged(journal: SqlJournal, url: str) -> None:
    """Live rows and those without an end stay."""
    now = time.time()
    long_ago = now - 1000.0
    journal.record([(A, revoked(1, until=long_ago)), (B, revoked(2, until=LATER)), (b"c" * 16, revoked(3))], [])
    journal.record([], [session(0, SID, ends_at=long_ago), session(0, OTHER)])
    assert set(rulings_of(journal)) == {B, b"c" * 16}
    assert set(sessions_of(journal)) == {OTHER}
    assert journal.purge(now) == 2
    assert rows(url, "ruling") == 2 and rows(url, "session") == 1
    assert journal.purge(now) == 0


def test_a_purge_goes_in_slices(journal: SqlJournal, url: str) -> None:
    """So that nobody waits long for it."""
    journal.record([(number.to_bytes(16, "big"), revoked(1, until=1.0)) for number in range(1201)], [])
    assert journal.purge(time.time()) == 1201
    assert rows(url, "ruling") == 0


def test_purging_is_done_beside_a_write_now_and_then(journal: SqlJournal, url: str) -> None:
    """In a thread of its own: no request waits for it."""
    journal.record([(A, revoked(1, until=1.0))], [])
    journal._purged_at = float("-inf")
    journal.record([(B, revoked(2))], [])
    for thread in threading.enumerate():
        if thread.name == "jwtgate-journal-purge":
            thread.join(10)
    assert rows(url, "ruling") == 1
    assert journal._purged_at > 0


def insist(journal: SqlJournal, rulings: list[tuple[bytes, bytes]], sessions: list[KeptSession]) -> None:
    """As a caller who is told that the journal was busy: once more does no harm."""
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        with suppress(JournalUnavailable):
            journal.record(rulings, sessions)
            return
    journal.record(rulings, sessions)


def test_four_writers_at_once_lose_nothing(url: str) -> None:
    """Each with a journal of its own on the same rows: as many processes."""
    errors: list[Exception] = []

    def write(number: int) -> None:
        journal = opened(url)
        try:
            for turn in range(number, 80, 4):
                insist(journal, [(A, revoked(turn)), (turn.to_bytes(16, "big"), revoked(turn))], [session(turn)])
        except Exception as error:  # asserted below
            errors.append(error)
        finally:
            journal.close()

    together(*[partial(write, number) for number in range(4)])
    assert errors == []
    journal = opened(url)
    found = rulings_of(journal, 50)
    assert len(found) == 81
    assert Ruling.decode(found[A]).toggle == Toggle(True, "e", 79, 1000.0)
    assert sessions_of(journal)[SID].turn == 79
    journal.close()


def test_prefixes_are_apart(journal: SqlJournal, url: str) -> None:
    """Two applications in one database."""
    other = opened(url, "other")
    journal.record([(A, revoked(1))], [])
    assert rulings_of(other) == {}
    other.close()


def test_a_database_that_does_not_answer_is_said_without_its_password(tmp_path: Path) -> None:
    """One error of ours, whatever the driver raises."""
    journal = opened(f"sqlite:///{tmp_path}/no/such/folder.sqlite")
    with pytest.raises(JournalUnavailable, match="JWTGATE_JOURNAL"):
        journal.record([(A, revoked(1))], [])
    with pytest.raises(JournalUnavailable):
        journal.check()
    journal.close()
    journal = opened(f"postgresql+psycopg://user:s3cr3t@127.0.0.1:{free_port()}/database")
    with pytest.raises(JournalUnavailable, match=r"^the journal \(JWTGATE_JOURNAL\) failed") as caught:
        journal.record([(A, revoked(1))], [])
    assert "s3cr3t" not in str(caught.value)
    journal.close()


def test_check_asks_only_after_a_failure(journal: SqlJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question before each login would cost each a round trip."""
    journal.record([(A, revoked(1))], [])
    asked: list[object] = []
    ask = journal._ask
    monkeypatch.setattr(journal, "_ask", lambda work: asked.append(work) or ask(work))
    journal.check()
    assert asked == []
    journal._has_failed = True
    journal.check()
    journal.check()
    assert len(asked) == 1


def test_tables_of_a_newer_version_are_refused(journal: SqlJournal, url: str) -> None:
    """Nothing is written into what this version does not know."""
    journal.record([(A, revoked(1))], [])
    execute(url, "UPDATE jwtgate_journal SET version = 2")
    newer = opened(url)
    with pytest.raises(JournalUnavailable, match="version 2"):
        newer.record([(B, revoked(1))], [])
    newer.close()


def test_rows_of_others_are_passed_over(journal: SqlJournal, url: str) -> None:
    """A row that no jwtgate wrote disturbs no other one."""
    journal.record([], [session(0)])
    user = '"user"' if "mysql" not in url and "mariadb" not in url else "`user`"
    for sid, handles, ends_at in ((b"\xff", b"", 9e9), (b"A", b"", 9e99), (b"B", b"\0\x11", 9e9)):
        execute(
            url,
            f"INSERT INTO jwtgate_session_journal (sid, {user}, record, stamp, handles, seen_at, ends_at, turn)"
            " VALUES (:sid, :sid, :sid, :stamp, :handles, 0, :ends_at, 0)",
            {"sid": sid, "stamp": b"", "handles": handles, "ends_at": ends_at},
        )
    assert set(sessions_of(journal)) == {SID}


def execute(url: str, statement: str, values: dict[str, object] | None = None) -> list[tuple[object, ...]]:
    """By another program."""
    engine = create_engine(url)
    with engine.begin() as connection:
        result = connection.execute(text(statement), values or {})
        found = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return found


def rows(url: str, table: str) -> object:
    """How many."""
    return execute(url, f"SELECT count(*) FROM jwtgate_{table}_journal")[0][0]
