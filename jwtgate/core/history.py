"""The words of the protocol as frozen data: epoch, log end, entry, worker, and what a store answers.

An epoch is one unbroken history of the change log; a position in the log is the logical clock. Each log entry carries a
random link and its predecessor's (H2), so that a hole or a rewritten history shows. No rule lives here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from jwtgate.core.sessions.stored import StoredSession

__all__ = [
    "Entry",
    "Epoch",
    "Facts",
    "JournalUnavailable",
    "LogEnd",
    "MarkPage",
    "Marked",
    "NotDurable",
    "NotWritten",
    "Renewal",
    "Repair",
    "StoreBusy",
    "Watch",
    "Worker",
    "Written",
]


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
        birth: NumericDate by the store's clock.
        is_restored: what a journal remembers was put back in it, all of it: a session that is absent has ended, and is not a
            lost one (L3). Never without a journal.
    """

    name: str
    lease_seconds: float
    reach_seconds: float
    is_healed: bool
    is_settled: bool
    birth: float = field(default=0.0, compare=False)
    is_restored: bool = False


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
    """One atomic look; of a store with several partitions one look at each that was asked.

    Attributes:
        epoch, end: as of this step; of partition 0.
        rulings: the encoded ruling on each digest asked for, or None, in order.
        sessions: what stands under each ``sid`` asked for, or None, in order; or all live sessions of a user.
        at: the store's clock, NumericDate. One clock judges the times of all sessions.
        others: of each other partition that was asked, its number, epoch and end.
        homes: of each session asked for, the epoch of the partition that holds it; empty where all are held by partition 0.
    """

    epoch: Epoch
    end: LogEnd
    rulings: tuple[bytes | None, ...]
    sessions: tuple[StoredSession | None, ...] = ()
    at: float = 0.0
    others: tuple[tuple[int, Epoch, LogEnd], ...] = ()
    homes: tuple[Epoch, ...] = ()

    def home(self, place: int = 0) -> Epoch:
        """The epoch of the history in which a session that was asked for stands, or is missing."""
        return self.homes[place] if self.homes else self.epoch


@dataclass(frozen=True, slots=True)
class Marked:
    """What came of a mark, all of one atomic step.

    Attributes:
        is_new: nothing was kept under this name.
        epoch: of the partition that keeps it.
        at: the store's clock, NumericDate.
        since: by the same clock: what was marked before may be lost.
    """

    is_new: bool
    epoch: Epoch
    at: float
    since: float


@dataclass(frozen=True, slots=True)
class MarkPage:
    """Some marks of a group.

    Attributes:
        epoch: of the partition that keeps them.
        marks: name, value and until of each; may be empty.
        after: where the next page begins; None: this was the last.
    """

    epoch: Epoch
    marks: tuple[tuple[bytes, bytes, float], ...]
    after: str | None


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
        workers: all that were registered; none where all that was done is to put sessions: nobody must hear it.
        replicas: how many had it before the answer; None: nobody asked (``JWTGATE_DURABILITY``).
        fsyncs: how many servers had it on disk before the answer; None: nobody asked.
        partition: whose step this was.
        others: the steps of further partitions, where the changes spread.
        stamped: the stamp of a session that was put here, where it is not of this partition.
    """

    epoch: Epoch
    end: LogEnd
    at: float
    rulings: tuple[bytes, ...]
    workers: tuple[Worker, ...]
    replicas: int | None = None
    fsyncs: int | None = None
    partition: int = 0
    others: tuple[Written, ...] = ()
    stamped: str = ""

    @property
    def parts(self) -> tuple[Written, ...]:
        """All steps, each of one partition."""
        return (self, *self.others)

    @property
    def stamp(self) -> str:
        """``"<epoch>:<position>"`` for what was made in this step: it orders, where clocks cannot."""
        return self.stamped or f"{self.epoch.name}:{self.end.position}"


class NotDurable(StoreUnavailable):
    """A write stands, but fewer replicas or disks than ``JWTGATE_DURABILITY`` asks for are known to have it, or the journal
    lacks it.

    Attributes:
        written: what was written: this process knows it from here on.
    """

    def __init__(self, written: Written, text: str) -> None:
        super().__init__(text)
        self.written = written


class NotWritten(StoreUnavailable):
    """Nothing was written, for certain: no connection could be had, or all of it was refused. Any other failure of a write
    leaves that open."""


class StoreBusy(NotWritten):
    """In good order something took too long, such as waiting for a lock, or no writes are taken, such as for a full disk.
    Who only looks may well be answered."""


class JournalUnavailable(StoreUnavailable):
    """The journal does not answer; the store may."""


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
    """What a call puts into an epoch record if it must open one (H1, H3, W3).

    Attributes:
        lease_seconds: the configured lease.
        reach_seconds: of this process.
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
