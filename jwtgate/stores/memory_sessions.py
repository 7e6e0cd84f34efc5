"""The sessions of a store inside one process. Not thread-safe: the store calls it under its one lock."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from jwtgate.core.sessions.stored import MOST_LISTED, StoredSession

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jwtgate.core.sessions.stored import KeptSession, SessionChange

__all__ = ["SessionTable"]

SWEPT_PER_CHANGE = 4
"""More than a change adds, and bounded."""


@dataclass(slots=True)
class _Row:
    """A live session, or what is left of one that was ended: no record."""

    record: bytes
    stamp: str
    seen_at: float
    ends_at: float
    handles: tuple[bytes, ...]
    successors: bytes
    successors_until: float
    turn: int = 0


class SessionTable:
    """By ``sid``, and by user. Times are the store's."""

    def __init__(self) -> None:
        self._rows: dict[str, _Row] = {}
        self._users: dict[bytes, set[str]] = {}
        self._ends: list[tuple[float, str, bytes]] = []

    def find(self, sid: str, now: float, rulings: Mapping[bytes, bytes]) -> StoredSession | None:
        """What stands under a name."""
        row = self._rows.get(sid)
        if row is None or row.ends_at <= now:
            return None
        return StoredSession(
            sid=sid,
            record=row.record,
            stamp=row.stamp,
            seen_at=row.seen_at,
            ends_at=row.ends_at,
            is_ended=not row.record,
            successors=row.successors if now < row.successors_until else b"",
            handles=row.handles,
            rulings=tuple(rulings.get(handle) for handle in row.handles),
        )

    def of_user(
        self, user: bytes, now: float, rulings: Mapping[bytes, bytes], offset: int = 0, limit: int = MOST_LISTED
    ) -> tuple[StoredSession, ...]:
        """Live ones, those that end last first."""
        rows = ((self._rows[sid], sid) for sid in self._users.get(user, ()))
        live = sorted(((row.ends_at, sid) for row, sid in rows if row.record and row.ends_at > now), reverse=True)
        found = (self.find(sid, now, rulings) for _, sid in live[offset : offset + min(limit, MOST_LISTED)])
        return tuple(session for session in found if session is not None)

    def sids_of(self, user: bytes, now: float) -> frozenset[str]:
        """Names of the live ones."""
        return frozenset(sid for sid in self._users.get(user, ()) if self._rows[sid].ends_at > now)

    def is_as_expected(self, change: SessionChange, now: float) -> bool:
        """Whether a change may be made."""
        row = self._rows.get(change.sid)
        found = None if row is None or row.ends_at <= now else row.record
        return change.record is None or found == change.expected

    def change(self, changes: Sequence[SessionChange], stamp: str, now: float) -> None:
        """Makes them, all of one step."""
        for change in changes:
            if change.record is None:
                self._end(change)
            else:
                self._put(change, change.record, stamp, now)
        self._sweep(now)

    def _put(self, change: SessionChange, record: bytes, stamp: str, now: float) -> None:
        known = self._rows.get(change.sid) if change.expected is not None else None
        self._rows[change.sid] = _Row(
            record,
            (change.stamp or stamp) if known is None else known.stamp,
            change.seen_at,
            change.ends_at,
            change.handles,
            change.successors,
            now + change.successors_seconds,
            change.turn,
        )
        self._users.setdefault(change.user, set()).add(change.sid)
        if known is None:
            heappush(self._ends, (change.ends_at, change.sid, change.user))

    def _end(self, change: SessionChange) -> None:
        row = self._rows.get(change.sid)
        if row is not None:
            self._rows[change.sid] = _Row(b"", "", 0.0, row.ends_at, (), b"", 0.0)
        self._unlist(change.user, change.sid)

    def _unlist(self, user: bytes, sid: str) -> None:
        sids = self._users.get(user)
        if sids is not None:
            sids.discard(sid)
            if not sids:
                del self._users[user]

    def _sweep(self, now: float) -> None:
        """An end that was moved since it was noted is noted anew: one note a session, however often it moves."""
        for _ in range(SWEPT_PER_CHANGE):
            if not self._ends or self._ends[0][0] > now:
                return
            _, sid, user = heappop(self._ends)
            row = self._rows.get(sid)
            if row is not None and row.ends_at > now:
                heappush(self._ends, (row.ends_at, sid, user))
            elif row is not None:
                del self._rows[sid]
                self._unlist(user, sid)

    def restore(self, sessions: Sequence[KeptSession], now: float) -> None:
        """Puts back what is lacking."""
        for kept in sessions:
            row = self._rows.get(kept.sid)
            known = None if row is None or row.ends_at <= now else row
            if kept.ends_at <= now or (known is not None and not known.record):
                continue
            if not kept.record:
                ends_at = kept.ends_at if known is None else max(kept.ends_at, known.ends_at)
                self._rows[kept.sid] = _Row(b"", "", 0.0, ends_at, (), b"", 0.0)
                self._unlist(kept.user, kept.sid)
            elif known is None or known.turn < kept.turn:
                stamp = kept.stamp or ("" if known is None else known.stamp)
                self._rows[kept.sid] = _Row(kept.record, stamp, kept.seen_at, kept.ends_at, kept.handles, b"", 0.0, kept.turn)
                self._users.setdefault(kept.user, set()).add(kept.sid)
            else:
                continue
            heappush(self._ends, (self._rows[kept.sid].ends_at, kept.sid, kept.user))

    def saw(self, sids: Sequence[str], now: float) -> None:
        """Moves ``seen_at`` of live ones."""
        for sid in sids:
            row = self._rows.get(sid)
            if row is not None and row.record:
                row.seen_at = now
