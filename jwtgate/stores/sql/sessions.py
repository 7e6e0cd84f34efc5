"""Sessions in their table: finding, comparing, putting, ending. Decides nothing of what a session is."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, Integer, bindparam, select, update

from jwtgate.core.sessions.stored import StoredSession

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jwtgate.core.sessions.stored import SessionChange
    from jwtgate.stores.sql.dialects import Row, Statement
    from jwtgate.stores.sql.line import Line
    from jwtgate.stores.sql.steps import Steps

__all__ = ["SessionRows", "handles_of", "is_as_expected"]

DIGEST_BYTES = 16


def handles_of(row: Row) -> tuple[bytes, ...]:
    """Digests of a session's handles."""
    octets = bytes(row.handles)
    return tuple(octets[first : first + DIGEST_BYTES] for first in range(0, len(octets), DIGEST_BYTES))


class SessionRows:
    """The steps on the table of sessions."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.table = steps.tables.sessions

    # --- reading: always before the rulings on their handles, see ``store``

    @cached_property
    def _found(self) -> Statement:
        meta, sessions = self.steps.tables.meta, self.table
        named = meta.outerjoin(sessions, sessions.c.sid.in_(bindparam("sids", expanding=True)))
        return select(meta.c.epoch.label("of_epoch"), *sessions.c).select_from(named).where(meta.c.id == 1)

    @cached_property
    def _of_user(self) -> Statement:
        meta, sessions, clock = self.steps.tables.meta, self.table, self.steps.dialect.clock()
        is_live = (sessions.c.user == bindparam("of_user")) & (sessions.c.is_ended == 0) & (sessions.c.ends_at > clock)
        return (
            select(meta.c.epoch.label("of_epoch"), *sessions.c)
            .select_from(meta.outerjoin(sessions, is_live))
            .where(meta.c.id == 1)
            .order_by(sessions.c.ends_at.desc(), sessions.c.sid.desc())
            .offset(bindparam("offset", type_=Integer))
            .limit(bindparam("limit", type_=Integer))
        )

    def named(self, line: Line, sids: Sequence[str]) -> tuple[str, list[Row]]:
        """The current epoch's name, and the rows of these sessions, live or not."""
        return _told(line.run(self._found, {"sids": [sid.encode() for sid in dict.fromkeys(sids)]}).all())

    def of_user(self, line: Line, user: bytes, offset: int, limit: int) -> tuple[str, list[Row]]:
        """The current epoch's name, empty where there are none; and the rows of the live ones, those that end last first."""
        return _told(line.run(self._of_user, {"of_user": user, "offset": offset, "limit": limit}).all())

    def stored(self, row: Row, rulings: Mapping[bytes, bytes], now: float) -> StoredSession | None:
        """What stands under a name, at this time."""
        if row.ends_at <= now:
            return None
        handles = handles_of(row)
        return StoredSession(
            sid=bytes(row.sid).decode(),
            record=bytes(row.record),
            stamp=bytes(row.stamp).decode(),
            seen_at=row.seen_at,
            ends_at=row.ends_at,
            is_ended=bool(row.is_ended),
            successors=bytes(row.successors) if now < row.successors_until else b"",
            handles=handles,
            rulings=tuple(rulings.get(handle) for handle in handles),
        )

    # --- writing: of who holds the row of ``meta`` only

    def rows_of(self, line: Line, changes: Iterable[SessionChange]) -> dict[str, Row]:
        """What stands under the names that are to change."""
        sids = [change.sid.encode() for change in changes]
        if not sids:
            return {}
        found = line.run(select(self.table).where(self.table.c.sid.in_(sids)))
        return {bytes(row.sid).decode(): row for row in found}

    def sids_of(self, line: Line, user: bytes, now: float) -> frozenset[str]:
        """Names of all live ones of a user."""
        sessions = self.table.c
        is_live = (sessions.user == user) & (sessions.is_ended == 0) & (sessions.ends_at > bindparam("now", now, Double))
        return frozenset(bytes(sid).decode() for sid in line.run(select(sessions.sid).where(is_live)).scalars())

    def change(self, line: Line, changes: Iterable[SessionChange], rows: Mapping[str, Row], stamp: str, now: float) -> None:
        """Puts and ends, once all is as expected."""
        for change in changes:
            row, own = rows.get(change.sid), (change.stamp or stamp).encode()
            is_there = row is not None and row.ends_at > now
            if change.record is None:
                if is_there:
                    self._replace(line, change.sid, _ENDED)
            elif row is None:
                fields = _fields(change, change.record, now)
                line.put(self.table.insert(), {"sid": change.sid.encode(), "stamp": own, **fields})
            elif is_there:
                self._replace(line, change.sid, _fields(change, change.record, now))
            else:
                self._replace(line, change.sid, {**_fields(change, change.record, now), "stamp": own})

    def _replace(self, line: Line, sid: str, values: dict[str, Any]) -> None:
        line.put(update(self.table).where(self.table.c.sid == sid.encode()).values(**values))

    def saw(self, line: Line, sids: Sequence[str]) -> None:
        """Moves ``seen_at`` of live ones to now."""
        sessions = self.table.c
        of_these = sessions.sid.in_([sid.encode() for sid in sids])
        now = self.steps.dialect.clock()
        line.put(update(self.table).where(of_these & (sessions.is_ended == 0)).values(seen_at=now))


def is_as_expected(change: SessionChange, row: Row | None, now: float) -> bool:
    """Whether a change may be made."""
    if change.record is None:
        return True
    if row is None or row.ends_at <= now:
        return change.expected is None
    return not row.is_ended and change.expected is not None and bytes(row.record) == change.expected


def _told(rows: Sequence[Row]) -> tuple[str, list[Row]]:
    epoch = bytes(rows[0].of_epoch).decode() if rows else ""
    return epoch, [row for row in rows if row.sid is not None]


def _fields(change: SessionChange, record: bytes, now: float) -> dict[str, Any]:
    return {
        "user": change.user,
        "record": record,
        "seen_at": change.seen_at,
        "ends_at": change.ends_at,
        "is_ended": 0,
        "handles": b"".join(change.handles),
        "successors": change.successors,
        "successors_until": now + change.successors_seconds,
    }


_ENDED = {
    "record": b"",
    "stamp": b"",
    "seen_at": 0.0,
    "is_ended": 1,
    "handles": b"",
    "successors": b"",
    "successors_until": 0.0,
}
"""What is left of a session that was ended, until its ``ends_at``: enough to tell it from a lost one."""
