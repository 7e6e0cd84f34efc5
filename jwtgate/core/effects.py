"""What a plan may ask of the world: a closed set. A plan is a generator that yields these and returns a decision.

Plans read no clock but the one they are given and do no I/O; ``jwtgate.runtime`` performs the effects, blocking or not,
and throws ``StoreUnavailable`` into the plan where a store fails, and what a check of the application refuses with. So
every rule is written once and tested without a network.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from jwtgate.core.sessions.stored import MOST_LISTED, Guard, KeptSession, SessionChange
from jwtgate.messages import Request, Session, Token

if TYPE_CHECKING:
    from jwtgate.audit import AuditEvent
    from jwtgate.core.history import Facts, Repair, Worker
    from jwtgate.core.rulings import Change

__all__ = [
    "Ask",
    "AskClaims",
    "AskSubject",
    "Check",
    "Clock",
    "Compute",
    "Effect",
    "FeedEffect",
    "Forget",
    "ListSessions",
    "LookUp",
    "Looked",
    "Lose",
    "Mark",
    "Marks",
    "NextPage",
    "OpenJournal",
    "OpenPages",
    "Pause",
    "Plan",
    "Provider",
    "Read",
    "Renew",
    "Restore",
    "RestoreSessions",
    "Roster",
    "Saw",
    "SubjectMapper",
    "Write",
]

T = TypeVar("T")

Provider = Callable[[Session], Mapping[str, Any] | Awaitable[Mapping[str, Any] | None] | None]
"""The application's answer to which claims a session has today: laid over the session's, ``scope`` included; None as a value
takes a claim away. A coroutine function is for gates used from asyncio."""

Check = Callable[[Token, Request | None], bool | Awaitable[bool | None] | None]
"""A check of the application: sees the token and the request (None from ``Gate.verify``). False, or any ``JWTGateError``
that it raises, refuses; True and None let it pass. A coroutine function is for gates used from asyncio."""


SubjectMapper = Callable[[Mapping[str, Any]], tuple[str | None, str] | Awaitable[tuple[str | None, str] | None] | None]
"""The application's answer to whom a subject identifier means (RFC 9493): a configured issuer and a subject there, or None. A
coroutine function is for gates used from asyncio."""


class Clock(Protocol):
    """The two clocks. ``boot`` goes on in suspend and never steps: leases and deadlines are on it."""

    def boot(self) -> float:
        """Seconds since some fixed past moment."""
        ...

    def wall(self) -> float:
        """NumericDate: seconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class LookUp:
    """Ask the store what is ruled on these handles, and what it holds of these sessions. Answer: ``Looked``."""

    digests: tuple[bytes, ...]
    sids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ListSessions:
    """Ask the store for the live sessions of a user (digest of issuer and subject). Answer: ``Looked``.

    Args as of ``Store.sessions_of``.
    """

    user: bytes
    offset: int = 0
    limit: int = MOST_LISTED


@dataclass(frozen=True, slots=True)
class Looked:
    """``facts``, and when the look-up was sent, on the boot clock (R2)."""

    facts: Facts
    sent_at: float


@dataclass(frozen=True, slots=True)
class Write:
    """Write rulings and sessions. Answer: ``Written``; None: the guard, or what a session was to hold, does not hold.

    ``events``: what is told of it once it is written, or nobody knows whether it is.
    """

    changes: tuple[Change, ...]
    now: float
    sessions: tuple[SessionChange, ...] = ()
    guard: Guard = Guard()
    events: tuple[AuditEvent, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Mark:
    """Keep what may be used once. Answer: ``Marked``. Args as of ``Store.mark``."""

    group: str
    name: bytes
    value: bytes
    until: float
    now: float


@dataclass(frozen=True, slots=True)
class Marks:
    """Ask for the marks of a group. Answer: ``MarkPage``. Args as of ``Store.marks``."""

    group: str
    after: str | None
    limit: int


@dataclass(frozen=True, slots=True)
class Compute:
    """Do what would hold up an event loop; it waits for nobody. Answer: what it returns."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class AskClaims:
    """Ask the application for a session's claims of today. Answer: a mapping, or None.

    Where the provider fails, ``UnavailableError`` is thrown into the plan.
    """

    provider: Provider
    session: Session


@dataclass(frozen=True, slots=True)
class AskSubject:
    """Ask the application whom a subject identifier means. Answer: issuer and subject, or None.

    Where the mapper fails, ``UnavailableError`` is thrown into the plan.
    """

    mapper: SubjectMapper
    identifier: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the application whether this request may pass. Answer: True or False.

    What the check refuses with is thrown into the plan; where it fails, ``UnavailableError`` is.
    """

    check: Check
    token: Token
    request: Request | None


@dataclass(frozen=True, slots=True)
class Roster:
    """Epoch, log end and registered workers of a partition. Answer: that tuple."""

    partition: int = 0


@dataclass(frozen=True, slots=True)
class Pause:
    """Let time pass. Answer: None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Renew:
    """Register and acknowledge on the feed. Answer: ``Renewal``."""

    worker: Worker
    epoch: str | None
    healed: bool = False
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """Read the change log on the feed. Answer: a tuple of ``Entry``."""

    cursor: str
    block_seconds: float
    limit: int


@dataclass(frozen=True, slots=True)
class OpenPages:
    """Begin a snapshot on the feed. Answer: an iterator for ``NextPage``."""

    size: int


@dataclass(frozen=True, slots=True)
class OpenJournal:
    """Begin to read the journal. Answer: an iterator for ``NextPage``; ``JournalUnavailable`` then leaves the feed as it is.

    ``of_sessions``: its pages are of ``KeptSession``, not of (digest, encoded ruling).
    """

    of_sessions: bool
    size: int


@dataclass(frozen=True, slots=True)
class NextPage:
    """Answer: the next page of (digest, encoded ruling), or of a journal's sessions; None at the end."""

    pages: Iterator[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Restore:
    """Write back what the store lacks (L1). Answer: as ``Feed.repair``."""

    epoch: str
    repairs: tuple[Repair, ...]


@dataclass(frozen=True, slots=True)
class RestoreSessions:
    """Put back sessions of the journal that the store lacks (L3). Answer: as ``Restorable.restore_sessions``."""

    epoch: str
    sessions: tuple[KeptSession, ...]
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Lose:
    """Open a new epoch if this one is still current. Answer: None."""

    epoch: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Deregister a worker whose beat has stopped. Answer: None."""

    worker: Worker


@dataclass(frozen=True, slots=True)
class Saw:
    """Tell which sessions were seen since last time. Answer: None."""

    sids: tuple[str, ...]


Effect = LookUp | ListSessions | Write | Mark | Marks | Ask | Roster | Pause | AskClaims | AskSubject | Compute
FeedEffect = Renew | Read | OpenPages | OpenJournal | NextPage | Restore | RestoreSessions | Lose | Forget | Saw | Pause

Plan = Generator[Effect, Any, T]
