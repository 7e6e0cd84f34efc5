"""A journal that is told later what it could not be told: whoever asks again must not rest on what the store alone knows.

An end that stands in the store and not in the journal is no longer on any list, so a second call finds nothing to end. What a
write owes is therefore written before the next one, and until then none succeeds. It is owed by this process: it dies with it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from jwtgate.core.history import JournalUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jwtgate.core.sessions.stored import KeptSession
    from jwtgate.stores.contract import Journal, Weakness

__all__ = ["OwingJournal"]

MOST_OWED = 10_000
"""Writes that failed; some megabytes. The oldest are given up first: their callers were told that the journal lacks them."""

PAID_AT_ONCE = 200
"""Writes in one transaction: well under a timeout. Nobody's write waits for more than that."""

Debt = tuple[tuple[tuple[bytes, bytes], ...], tuple["KeptSession", ...]]


class OwingJournal:
    """A ``Journal`` around another one."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._owed: list[Debt] = []

    def record(self, rulings: Sequence[tuple[bytes, bytes]], sessions: Sequence[KeptSession]) -> None:
        """What is owed, oldest first, and then this. What is paid twice changes nothing."""
        try:
            self._pay()
            self.journal.record(rulings, sessions)
        except JournalUnavailable:
            if rulings or sessions:
                with self._lock:
                    self._owed = [*self._owed, (tuple(rulings), tuple(sessions))][-MOST_OWED:]
            raise

    def _pay(self) -> None:
        """Raises: JournalUnavailable: something is owed still."""
        with self._lock:
            due = self._owed[:PAID_AT_ONCE]
        if not due:
            return
        self.journal.record([ruling for rulings, _ in due for ruling in rulings], [each for _, kept in due for each in kept])
        paid = {id(debt) for debt in due}
        with self._lock:
            self._owed = [debt for debt in self._owed if id(debt) not in paid]
            is_behind = bool(self._owed)
        if is_behind:
            raise JournalUnavailable("the journal is catching up")

    def check(self) -> None:
        """Also that nothing is owed."""
        self.journal.check()
        self._pay()

    def pages(self, size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """The journal's."""
        return self.journal.pages(size)

    def session_pages(self, size: int) -> Iterator[Sequence[KeptSession]]:
        """The journal's."""
        return self.journal.session_pages(size)

    def audit(self) -> tuple[Weakness, ...]:
        """The journal's."""
        return self.journal.audit()

    def reset_after_fork(self) -> None:
        """The parent owes what it owes."""
        self._begin()
        self.journal.reset_after_fork()

    def close(self) -> None:
        """Pays what it can."""
        with suppress(JournalUnavailable):
            self._pay()
        self.journal.close()
