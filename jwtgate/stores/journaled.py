"""A store with a journal beside it: the store serves, the journal remembers (``JWTGATE_JOURNAL``).

Invariants:
  * A write returns only once both have it. The store comes first: its atomic step orders the writes, and what it ruled holds
    whether or not the journal hears of it. A ruling that the journal lacks is ``NotDurable``: an error that says what stands.
  * Nobody holds tokens of a session, or a refresh token, that the journal does not know: those would outlive what it
    remembers. So a write that puts one is not begun while the journal is known not to answer, nor does it end others then.
  * When a session was last seen moves in the journal with its rotations alone.

Everything else is the store's own. After lost history its followers put back what the journal has (``core.following``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jwtgate.core.history import JournalUnavailable, NotDurable
from jwtgate.core.sessions.stored import MOST_LISTED, KeptSession
from jwtgate.stores.contract import Weakness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jwtgate.core.history import Epoch, Facts, LogEnd, Marked, MarkPage, Worker, Written
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import Guard, SessionChange
    from jwtgate.stores.contract import Feed, Journal, Store

__all__ = ["JournaledStore"]

END_KEPT_SECONDS = 86400.0
"""Of an end whose session the journal does not know: its login, told by another process, may come a little later."""


class JournaledStore:
    """A ``Store`` around another one."""

    def __init__(self, store: Store, journal: Journal) -> None:
        """Args: store: whose feeds are ``Restorable``."""
        self.store = store
        self.journal = journal

    def write(
        self,
        changes: Sequence[Change],
        now: float,
        sessions: Sequence[SessionChange] = (),
        guard: Guard | None = None,
    ) -> Written | None:
        """The store's step, and then the journal's.

        Raises: NotDurable: it stands in the store, and the journal lacks it. JournalUnavailable: nothing was written.
        """
        if any(each.record is not None for each in sessions):
            self.journal.check()
        try:
            written = self.store.write(changes, now, sessions, guard)
        except NotDurable as error:
            self._record(error.written, changes, sessions)
            raise
        if written is not None:
            self._record(written, changes, sessions)
        return written

    def _record(self, written: Written, changes: Sequence[Change], sessions: Sequence[SessionChange]) -> None:
        rulings = [(change.digest, text) for change, text in zip(changes, written.rulings, strict=True)]
        try:
            self.journal.record(rulings, [_kept(each, written) for each in sessions])
        except JournalUnavailable as error:
            raise NotDurable(written, f"it stands in the store, and the journal lacks it: {error}") from error

    def look_up(self, digests: Sequence[bytes], sids: Sequence[str] = ()) -> Facts:
        """The store's."""
        return self.store.look_up(digests, sids)

    def sessions_of(self, user: bytes, offset: int = 0, limit: int = MOST_LISTED) -> Facts:
        """The store's."""
        return self.store.sessions_of(user, offset, limit)

    def mark(self, group: str, name: bytes, value: bytes, until: float, now: float) -> Marked:
        """The store's alone: what may be used once is soon over."""
        return self.store.mark(group, name, value, until, now)

    def marks(self, group: str, after: str | None, limit: int) -> MarkPage:
        """The store's."""
        return self.store.marks(group, after, limit)

    def workers(self) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
        """The store's."""
        return self.store.workers()

    def feed(self) -> Feed:
        """The store's."""
        return self.store.feed()

    def forget(self, worker: Worker) -> None:
        """The store's."""
        self.store.forget(worker)

    def audit(self) -> tuple[Weakness, ...]:
        """Of both. A journal that does not answer is a weakness of its own: the store may serve all the same."""
        found = self.store.audit()
        try:
            return (*found, *(replace(each, about="JWTGATE_JOURNAL") for each in self.journal.audit()))
        except JournalUnavailable as error:
            why = str(error).rstrip(".")
            problem = f"The journal does not answer: nobody can log in, and what is revoked is not remembered ({why})."
            remedy = "JWTGATE_JOURNAL=<the URL of an SQL database that answers>"
            return (*found, Weakness(problem, remedy, about="JWTGATE_JOURNAL"))

    def reset_after_fork(self) -> None:
        """Both."""
        self.store.reset_after_fork()
        self.journal.reset_after_fork()

    def close(self) -> None:
        """Both."""
        self.store.close()
        self.journal.close()


def _kept(change: SessionChange, written: Written) -> KeptSession:
    """As the store's step made it: a login was stamped with the write's last entry."""
    if change.record is None:
        return KeptSession(change.sid, change.user, b"", ends_at=written.at + END_KEPT_SECONDS)
    return KeptSession(
        sid=change.sid,
        user=change.user,
        record=change.record,
        stamp=(change.stamp or written.stamp) if change.expected is None else "",
        handles=change.handles,
        seen_at=change.seen_at,
        ends_at=change.ends_at,
        turn=change.turn,
    )
