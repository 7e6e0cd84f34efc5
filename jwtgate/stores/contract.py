"""What every store gives: one contract, kept by one conformance suite.

A store remembers rulings and the change log, and nothing of it is decided here. Every method raises ``StoreUnavailable``
for whatever goes wrong below it; no exception of a client library leaves a store.

The contract's rules, by the letter of the design:

H1  Each look-up, write and renewal compares the epoch record with the server's identity in its own atomic step. Absent or
    different: history may be lost, and that same step opens a new epoch (unhealed, unsettled, no workers registered),
    keeping whatever rulings and log end are still there. A fresh store that only this process can have written to
    (``memory://``) is born healed and settled.
H2  Each log entry carries a random link and its predecessor's; the link of the log's end is stored beside the rulings.
W1  A write, its log entries and the reading of the registered workers are one atomic step.
F2  A ``Feed`` speaks over one connection, so that registration precedes the read that it covers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jwtgate.core.rulings import Change

__all__ = ["Entry", "Epoch", "Facts", "Feed", "LogEnd", "Renewal", "Repair", "Store", "Watch", "Worker", "Written"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One unbroken history of the change log.

    Attributes:
        name: 11 characters of base64url, random.
        lease_seconds: the lease in force; a process with another one does not follow (H3).
        reach_seconds: the longest that any process, of this epoch or known from an earlier one, may act on old knowledge;
            ``math.inf`` under ``ON_STORE_DOWN=admit``.
        is_healed: a process watched it for two leases and found nobody writing back (L2).
        is_settled: a process watched it for ``reach_seconds``: nobody acts on knowledge of an earlier epoch (W3).
    """

    name: str
    lease_seconds: float
    reach_seconds: float
    is_healed: bool
    is_settled: bool


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Where the log ends. ``cursor`` is what ``Feed.read`` takes; only the store reads it.

    ``position`` counts entries: each has its predecessor's plus one, also across epochs of one store.
    """

    position: int
    link: str
    cursor: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the change log: the ruling that holds on ``digest`` from here on, merged and encoded."""

    position: int
    link: str
    previous: str
    cursor: str
    digest: bytes
    ruling: bytes


@dataclass(frozen=True, slots=True)
class Facts:
    """One atomic look: the epoch, the log's end, and the encoded ruling on each digest asked for, or None, in order."""

    epoch: Epoch
    end: LogEnd
    rulings: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class Worker:
    """A registered process.

    Attributes:
        name: random, one per process and follower start.
        reach_seconds: how long it may act on old knowledge (F2).
        acknowledged: the position it has applied; -1 before it has loaded.
        beat: counts its renewals: an observer who sees it unchanged for one reach on its own clock knows it is gone.
        is_healing: it is writing back (L1).
    """

    name: str
    reach_seconds: float
    acknowledged: int
    beat: int
    is_healing: bool


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did, all of one atomic step (W1).

    Attributes:
        epoch, end: after the write; ``end.position`` is that of its last entry.
        at: the time given to the rulings: the later of the store's and the caller's clock.
        rulings: the merged, encoded ruling per change, in order; change i stands at ``end.position - len(changes) + 1 + i``.
        workers: all that were registered.
    """

    epoch: Epoch
    end: LogEnd
    at: float
    rulings: tuple[bytes, ...]
    workers: tuple[Worker, ...]


@dataclass(frozen=True, slots=True)
class Renewal:
    """The answer to a follower's renewal.

    Attributes:
        epoch, end: as of this step.
        was_registered: this worker's registration had stood, in this same epoch, since its last renewal. Where it had not,
            a read made before this step grants no lease (F2).
        workers: all that are registered now, itself included.
    """

    epoch: Epoch
    end: LogEnd
    was_registered: bool
    workers: tuple[Worker, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is asking, and what to put into an epoch record if one must be opened (H1, H3, L2, W3).

    Attributes:
        lease_seconds: the configured lease.
        reach_seconds: the longest reach this process knows of, its own included.
    """

    lease_seconds: float
    reach_seconds: float


@dataclass(frozen=True, slots=True)
class Repair:
    """One ruling to write back after lost history (L1): put ``ruling`` where the store still holds ``expected``."""

    digest: bytes
    expected: bytes | None
    ruling: bytes
    until: float | None


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

    def close(self) -> None:
        """Closes the connection; never raises."""
        ...


class Store(Protocol):
    """Where rulings live. Thread-safe; every method is one round trip unless it says more."""

    def look_up(self, digests: Sequence[bytes]) -> Facts:
        """What is ruled on these handles now."""
        ...

    def write(self, changes: Sequence[Change], now: float) -> Written:
        """Writes and logs all changes, or raises and the caller must assume nothing.

        Args:
            changes: at least one.
            now: the caller's wall clock, NumericDate; over 60 s from the store's raises ``StoreUnavailable``.
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

    def audit(self) -> tuple[str, ...]:
        """Each thing about the server that would break the promise, one sentence each."""
        ...

    def reset_after_fork(self) -> None:
        """In a forked child: drops inherited connections and locks without touching the parent's."""
        ...

    def close(self) -> None:
        """Closes connections; the next use opens new ones. May be called twice."""
        ...
