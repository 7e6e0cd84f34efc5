"""What a store keeps of a session, and how a plan asks for a change of it. Frozen data; no rule lives here but a guard's.

A session in a store is a text of the core's (``record``), which the store compares and replaces and never reads, beside the
few things that the store itself must know: when it ends, whose it is, which handles a ruling on it may have, when it was
last seen. So a change is one compare-and-set, and every rule about sessions stands in ``core.sessions``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.rulings import Ruling, Toggle

__all__ = ["MOST_LISTED", "SUBJECT_PLACE", "Guard", "KeptSession", "SessionChange", "StoredSession"]

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
        turn: how often the record has been replaced: of two records of one session that of the higher turn is the later one,
            in whatever order they arrive where they are kept.
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
    turn: int = 0


@dataclass(frozen=True, slots=True)
class KeptSession:
    """One session as a journal keeps it, and puts it back.

    Attributes:
        sid, user, handles, seen_at, ends_at, turn: as in ``SessionChange``.
        record: the core's text; empty: it was ended before its time.
        stamp: that of its login; empty where the journal has not seen the login.
    """

    sid: str
    user: bytes
    record: bytes = field(repr=False)
    stamp: str = ""
    handles: tuple[bytes, ...] = ()
    seen_at: float = 0.0
    ends_at: float = 0.0
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Guard:
    """What must hold in the very step of a write, or nothing is written.

    Attributes:
        not_revoked: handles on which no ``revoked`` may stand.
        user: whose list of sessions must still be ``sids``; None: it is not looked at.
        sids: all live sessions of that user, in any order.
        toggled_at: handles that the write changes, each with epoch and position of what must still be the latest ``revoked`` or
            lift on it; None: there is none.
    """

    not_revoked: tuple[bytes, ...] = ()
    user: bytes | None = None
    sids: frozenset[str] = frozenset()
    toggled_at: tuple[tuple[bytes, tuple[str, int] | None], ...] = ()

    def holds(self, ruling_on: Callable[[bytes], Ruling | None]) -> bool:
        """As far as it is about rulings. ``write.lua`` does the same.

        Args: ruling_on: what stands on a handle before the write.
        """

        def toggle_on(digest: bytes) -> Toggle | None:
            ruling = ruling_on(digest)
            return None if ruling is None else ruling.toggle

        if any(toggle is not None and toggle.is_revoked for toggle in map(toggle_on, self.not_revoked)):
            return False
        seen = ((toggle_on(digest), place) for digest, place in self.toggled_at)
        return all((None if toggle is None else toggle.place) == place for toggle, place in seen)
