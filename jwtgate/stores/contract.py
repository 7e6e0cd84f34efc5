"""What every store gives: one contract, kept by one conformance suite.

A store remembers rulings and the change log, and nothing of it is decided here. Every method raises ``StoreUnavailable``
for whatever goes wrong below it; no exception of a client library leaves a store.

The contract's rules, by the letters that the rest of the package names them by:

H1  Each look-up, write and renewal compares the epoch record with the server's identity in its own atomic step. Absent or
    different: history may be lost, and that same step opens a new epoch (unhealed, unsettled, no workers registered),
    keeping whatever rulings and log end are still there. A fresh store that only this process can have written to
    (``memory://``) is born healed and settled.
H2  Each log entry carries a random link and its predecessor's; the link of the log's end is stored beside the rulings.
W1  A write, its log entries, the sessions it changes and the reading of the registered workers are one atomic step.
F2  A ``Feed`` speaks over one connection, so that registration precedes the read that it covers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from jwtgate.core.sessions.stored import MOST_LISTED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jwtgate.core.history import (
        Entry,
        Epoch,
        Facts,
        LogEnd,
        Marked,
        MarkPage,
        Renewal,
        Repair,
        Worker,
        Written,
    )
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import Guard, KeptSession, SessionChange

__all__ = ["Durability", "Feed", "Journal", "Migrating", "Restorable", "Store", "Weakness"]


UNANSWERED = "audit"
"""``Weakness.about`` where the server did not answer: it may be anything, and is to be asked again."""


@dataclass(frozen=True, slots=True)
class Weakness:
    """One thing about a store, or about the settings, that is not as it should be.

    Attributes:
        problem: one sentence: what it is, and why that matters.
        remedy: the line that mends it, ready to be copied where that can be: a command of the server, or a setting.
        severity: ``problem`` breaks the promise or the safety; ``hint`` is advice.
        about: the variable, or the server's own name for what is wrong.
    """

    problem: str
    remedy: str
    severity: Literal["problem", "hint"] = "problem"
    about: str = "JWTGATE_STORE"

    def __str__(self) -> str:
        return f"{self.problem} Remedy: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Durability:
    """What must have happened to a ruling before its receipt is given (``JWTGATE_DURABILITY``).

    Attributes:
        replicas: how many must have it.
        is_synced: the server that took it must have written it to its disk.
    """

    replicas: int = 0
    is_synced: bool = False


class Feed(Protocol):
    """A follower's own connection. Used by one thread at a time; any error closes it and raises ``StoreUnavailable``."""

    def renew(self, worker: Worker, epoch: str | None, *, healed: bool = False, settled: bool = False) -> Renewal:
        """Registers ``worker`` (its ``beat`` included) and records its acknowledgement, if ``epoch`` is the current one.

        ``acknowledged`` counts only when ``epoch`` is current (else -1 is recorded). With ``healed``/``settled`` the caller
        says that it watched epoch ``epoch`` long enough: the flag is set if that epoch is current and, for healed, no
        registered worker is healing. A lease that differs from the record's is taken over when no other worker is
        registered. A larger reach than the record's raises it.
        """
        ...

    def read(self, cursor: str, block_seconds: float, limit: int) -> tuple[Entry, ...]:
        """The entries after ``cursor``, oldest first; waits up to ``block_seconds`` for the first one.

        Trimmed entries are silently missing: the links tell (H2).
        """
        ...

    def pages(self, size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """All rulings as (digest, encoded ruling), by a scan that misses nothing present from its start to its end."""
        ...

    def repair(self, epoch: str, repairs: Sequence[Repair]) -> tuple[bytes, ...] | None:
        """Writes back, with a log entry each, in one atomic step; returns digests whose ``expected`` was outdated.

        None: ``epoch`` is no longer the current one and nothing was written.
        """
        ...

    def lose(self, epoch: str) -> None:
        """Compare-and-set: opens a new epoch if ``epoch`` is still the current one: its log was seen to fork."""
        ...

    def forget(self, worker: Worker) -> None:
        """Deregisters ``worker`` if its beat is still the same."""
        ...

    def saw(self, sids: Sequence[str]) -> None:
        """Moves ``seen_at`` of those sessions that are still live to now."""
        ...

    def close(self) -> None:
        """Closes the connection; never raises."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """A feed of a store that takes back what a journal remembers; only such a store can have one."""

    def restore_sessions(self, epoch: str, sessions: Sequence[KeptSession], *, is_last: bool) -> bool:
        """Puts back, in one atomic step, what the store lacks: absent sessions, later records of present ones, ends.

        What was ended in the store stays so; no record is replaced by one of a lower or the same turn; what is past its end
        is left out. Sealed successors are lost.

        Args:
            epoch: that must be the current one.
            sessions: any number; each step holds the store up for about 20 microseconds a session.
            is_last: all that the journal has was put back in this epoch: it becomes ``is_restored``.

        Returns: False: another epoch, and nothing was put back.
        """
        ...


class Journal(Protocol):
    """What remembers when the store does not. Thread-safe; raises ``JournalUnavailable`` for whatever goes wrong below it."""

    def record(self, rulings: Sequence[tuple[bytes, bytes]], sessions: Sequence[KeptSession]) -> None:
        """Keeps all or nothing, merged with what is there: whatever order writes arrive in, the later one stands.

        Args:
            rulings: digest and encoded ruling, as they hold in the store.
            sessions: a session without a record was ended, for good.
        """
        ...

    def check(self) -> None:
        """Asks for nothing but an answer, where the last question had none: who may wait must not write on trust."""
        ...

    def pages(self, size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """All rulings that still matter."""
        ...

    def session_pages(self, size: int) -> Iterator[Sequence[KeptSession]]:
        """All sessions, ended ones too, that are not past their end."""
        ...

    def audit(self) -> tuple[Weakness, ...]:
        """What about it would break the promise."""
        ...

    def reset_after_fork(self) -> None:
        """In a forked child: drops inherited connections and locks without touching the parent's."""
        ...

    def close(self) -> None:
        """Closes connections; the next use opens new ones. May be called twice."""
        ...


@runtime_checkable
class Migrating(Protocol):
    """A store that keeps its data in a layout of a version."""

    def migrate(self) -> tuple[int | None, int]:
        """Makes what is missing, or brings it to this version. Returns: the version before (None: nothing) and after."""
        ...


class Store(Protocol):
    """Where rulings live. Thread-safe; every method is one round trip unless it says more."""

    def look_up(self, digests: Sequence[bytes], sids: Sequence[str] = ()) -> Facts:
        """What is ruled on these handles now, and what stands under these names of sessions."""
        ...

    def sessions_of(self, user: bytes, offset: int = 0, limit: int = MOST_LISTED) -> Facts:
        """The live sessions of a user, in ``Facts.sessions``: those that end last first, always in the same order.

        Args: offset: so many are passed over. limit: at most so many, and never more than 1,000.
        """
        ...

    def write(
        self,
        changes: Sequence[Change],
        now: float,
        sessions: Sequence[SessionChange] = (),
        guard: Guard | None = None,
    ) -> Written | None:
        """Writes and logs all changes and changes all sessions, or raises and the caller must assume nothing.

        A session that is created is stamped with the epoch and with the position of the write's last entry, unless it brings
        a stamp. One that is ended leaves a mark until its ``ends_at``; ending what is not there does nothing.

        Args:
            changes: in order.
            now: the caller's wall clock, NumericDate; over 60 s from the store's raises ``StoreUnavailable``.
            sessions: each ``sid`` at most once.
            guard: what must hold.

        Returns: None: the guard does not hold, or a session to be put is not as ``expected``, and nothing was written.
        Raises: NotDurable: it is written, and fewer are known to have it than was asked for (``JWTGATE_DURABILITY``).
        """
        ...

    def mark(self, group: str, name: bytes, value: bytes, until: float, now: float) -> Marked:
        """Keeps ``value`` under ``name``, unless what is kept there is not past its end; one atomic step (H1).

        No part of the change log: nobody is told, no journal remembers it. Each call forgets a few of its group that are
        over, or followers do.

        Args:
            group: of names that have to do with each other: 1 to 32 of a-z, 0-9, - and _.
            name: 1 to 64 octets. The least of them to choose is what nobody can make come twice, such as a digest.
            value: at most 64 KiB.
            until: NumericDate, finite; it is over once the store's clock and ``now`` are both past it.
            now: as of ``write``.
        """
        ...

    def marks(self, group: str, after: str | None, limit: int) -> MarkPage:
        """Marks of a group that are not past their end, by the store's clock: those that end first come first.

        Nothing is left out that is there from the first page to the last.

        Args:
            group: as of ``mark``.
            after: as the page before told; None: from the beginning.
            limit: at most so many.
        """
        ...

    def workers(self) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
        """Epoch, end and registered workers of one atomic step: what a receipt waits on."""
        ...

    def feed(self) -> Feed:
        """A follower's connection, not yet made."""
        ...

    def forget(self, worker: Worker) -> None:
        """Deregisters ``worker`` if its beat is still the same."""
        ...

    def audit(self) -> tuple[Weakness, ...]:
        """Each thing about the server that would break the promise; several round trips."""
        ...

    def reset_after_fork(self) -> None:
        """In a forked child: drops inherited connections and locks without touching the parent's."""
        ...

    def close(self) -> None:
        """Closes connections; the next use opens new ones. May be called twice."""
        ...
