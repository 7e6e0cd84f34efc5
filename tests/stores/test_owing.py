"""What a journal could not be told is told before anything else is, and until then nobody hears that it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import jwtgate.stores.owing as owing_module
from jwtgate.core.history import JournalUnavailable
from jwtgate.stores.owing import OwingJournal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jwtgate.core.sessions.stored import KeptSession
    from jwtgate.stores.contract import Weakness


class ListedJournal:
    """A journal that lists what it is told. ``is_down``: answers nothing."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.is_down = False
        self.calls: list[str] = []

    def record(self, rulings: Sequence[tuple[bytes, bytes]], sessions: Sequence[KeptSession]) -> None:  # noqa: ARG002
        if self.is_down:
            raise JournalUnavailable("a simulation")
        self.told += [digest for digest, _ in rulings]

    def check(self) -> None:
        self.calls.append("check")

    def pages(self, size: int):
        yield [(b"page", b"%d" % size)]

    def session_pages(self, size: int):
        yield from ()

    def audit(self) -> tuple[Weakness, ...]:
        return ()

    def reset_after_fork(self) -> None:
        self.calls.append("reset_after_fork")

    def close(self) -> None:
        self.calls.append("close")


def owed(*digests: bytes) -> tuple[ListedJournal, OwingJournal]:
    """A journal that answers again, and could not be told these."""
    journal = ListedJournal()
    owing = OwingJournal(journal)
    journal.is_down = True
    for digest in digests:
        with pytest.raises(JournalUnavailable):
            owing.record([(digest, b"{}")], ())
    journal.is_down = False
    return journal, owing


def test_what_is_owed_is_written_first_and_once() -> None:
    """Also before a write that has nothing to tell: all but one were ended, and it was asked for again."""
    journal, owing = owed(b"a", b"b")
    owing.record((), ())
    owing.record([(b"c", b"{}")], ())
    assert journal.told == [b"a", b"b", b"c"]


def test_nothing_succeeds_while_something_is_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    """In slices: nobody's write waits for all of them, and no login is begun."""
    monkeypatch.setattr(owing_module, "PAID_AT_ONCE", 2)
    journal, owing = owed(b"a", b"b", b"c", b"d", b"e")
    with pytest.raises(JournalUnavailable, match="catching up"):
        owing.record([(b"f", b"{}")], ())
    with pytest.raises(JournalUnavailable, match="catching up"):
        owing.check()
    owing.check()
    assert journal.told == [b"a", b"b", b"c", b"d", b"e", b"f"]


def test_debts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are given up."""
    monkeypatch.setattr(owing_module, "MOST_OWED", 2)
    journal, owing = owed(b"a", b"b", b"c")
    owing.check()
    assert journal.told == [b"b", b"c"]


def test_end_of_the_process_pays_and_a_fork_does_not() -> None:
    """A child owes nothing."""
    journal, owing = owed(b"a")
    owing.close()
    assert journal.told == [b"a"] and journal.calls == ["close"]
    journal, owing = owed(b"a")
    owing.reset_after_fork()
    owing.close()
    assert journal.told == [] and journal.calls == ["reset_after_fork", "close"]


def test_end_of_the_process_does_not_fail() -> None:
    """Whatever the journal does."""
    journal, owing = owed(b"a")
    journal.is_down = True
    owing.close()
    assert journal.calls == ["close"]


def test_everything_else_is_the_journals() -> None:
    """What it has, and what is weak about it."""
    _, owing = owed()
    assert [*owing.pages(3), *owing.session_pages(3)] == [[(b"page", b"3")]]
    assert owing.audit() == ()
