"""What a store keeps of a session, and how a plan asks for a change of it. Frozen data; no rule lives here.

A session in a store is a text of the core's (``record``), which the store compares and replaces and never reads, beside the
few things that the store itself must know: when it ends, whose it is, which handles a ruling on it may have, when it was
last seen. So a change is one compare-and-set, and every rule about sessions stands in ``core.sessions.login``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["MOST_LISTED", "SUBJECT_PLACE", "Guard", "SessionChange", "StoredSession"]

MOST_LISTED = 1000
"""Sessions of one user that one look tells: more would block a server for everybody."""


SUBJECT_PLACE = 2
"""Of the subject among a session's handles: sid, the subject's sessions, the subject, the others of its access tokens."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """What one atomic step found under a ``sid``.

    Attributes:
        sid: its name.
        record: the core's text; empty once it has ended.
        stamp: ``"<epoch>:<position>"`` of the step that created it; empty once it has ended.
        seen_at: NumericDate, when a request or a refresh was last seen.
        ends_at: NumericDate, by the store's clock, from which it is gone.
        is_ended: it was ended before its time; remembered until ``ends_at``, so that it is not taken for a lost one.
        successors: the core's second text, kept only for the grace that it was written with; empty when there is none.
        handles: digests of its handles, in the order they were given.
        rulings: the encoded ruling on each of them, or None.
    """

    sid: str
    record: bytes = field(repr=False)
    stamp: str
    seen_at: float
    ends_at: float
    is_ended: bool
    successors: bytes = field(repr=False)
    handles: tuple[bytes, ...]
    rulings: tuple[bytes | None, ...]


@dataclass(frozen=True, slots=True)
class SessionChange:
    """One session to create, to replace, or to end.

    Attributes:
        sid: its name.
        user: digest of issuer and subject, 16 bytes: what sessions are listed by.
        record: the new text; None ends the session, whatever it holds.
        expected: what the store must still hold: None that there is no such session yet. Not looked at when ending.
        handles: digests of the handles whose rulings concern it.
        ends_at: NumericDate from which it is gone.
        seen_at: NumericDate, now.
        successors: the second text; it replaces the one before.
        successors_seconds: how long to keep it; 0: none is kept.
        stamp: of a session that is created, where it is not that of the step itself.
    """

    sid: str
    user: bytes
    record: bytes | None = field(default=None, repr=False)
    expected: bytes | None = field(default=None, repr=False)
    handles: tuple[bytes, ...] = ()
    ends_at: float = 0.0
    seen_at: float = 0.0
    successors: bytes = field(default=b"", repr=False)
    successors_seconds: float = 0.0
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Guard:
    """What must hold in the very step of a write, or nothing is written.

    Attributes:
        not_revoked: handles on which no ``revoked`` may stand.
        user: whose list of sessions must still be ``sids``; None: it is not looked at.
        sids: all live sessions of that user, in any order.
    """

    not_revoked: tuple[bytes, ...] = ()
    user: bytes | None = None
    sids: frozenset[str] = frozenset()
