"""The tables of a journal, and how their rows combine. They stand beside a store's tables and share nothing with them.

    <prefix>_journal_rulings   digest, ruling (as the store encodes it), until: when it may be forgotten, or null
    <prefix>_journal_sessions  sid, subject (digest of issuer and subject), record (empty: it was ended), stamp, handles,
                               seen_at, ends_at, turn
    <prefix>_journal_state     name, value: ``version`` of this layout

Invariant: a row only ever moves forward, whatever order the writes of several processes arrive in. Rulings merge; of two
records of a session that of the higher turn stands; an end is for good.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Double, Index, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.dialects import mysql

from jwtgate.core.rulings import Ruling, UnreadableRuling, merge
from jwtgate.core.sessions.stored import KeptSession

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

__all__ = ["VERSION", "Tables", "merged_ruling", "merged_session", "row_of", "session_of", "until_of"]

VERSION = 1
HANDLE_BYTES = 16

FAR = 1e12
"""No moment of ours is as late: a number that only another program can have written."""


class Tables:
    """Under one prefix."""

    def __init__(self, prefix: str) -> None:
        self.metadata = MetaData()
        self.rulings = Table(
            f"{prefix}_journal_rulings",
            self.metadata,
            Column("digest", _octets(HANDLE_BYTES), primary_key=True),
            Column("ruling", LargeBinary, nullable=False),
            Column("until", Double, nullable=True),
            Index(f"{prefix}_journal_rulings_until", "until"),
        )
        self.sessions = Table(
            f"{prefix}_journal_sessions",
            self.metadata,
            Column("sid", _octets(22), primary_key=True),
            Column("subject", _octets(HANDLE_BYTES), nullable=False),
            Column("record", LargeBinary, nullable=False),
            Column("stamp", String(64), nullable=False),
            Column("handles", LargeBinary, nullable=False),
            Column("seen_at", Double, nullable=False),
            Column("ends_at", Double, nullable=False),
            Column("turn", Integer, nullable=False),
            Index(f"{prefix}_journal_sessions_ends_at", "ends_at"),
        )
        self.state = Table(
            f"{prefix}_journal_state",
            self.metadata,
            Column("name", String(32), primary_key=True),
            Column("value", String(64), nullable=False),
        )


def _octets(length: int) -> LargeBinary:
    """MySQL wants a length for what it indexes, and compares texts without regard to case."""
    return LargeBinary(length).with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


def merged_ruling(known: bytes | None, told: bytes) -> bytes:
    """Both, where both can be read. No epoch is the current one here: two writes may arrive in either order."""
    if known is None or known == told:
        return told
    try:
        one = Ruling.decode(known)
    except UnreadableRuling:
        return told
    return merge(one, Ruling.decode(told)).encode()


def until_of(ruling: bytes) -> float | None:
    """When it may be forgotten."""
    return Ruling.decode(ruling).until


def merged_session(known: KeptSession | None, told: KeptSession) -> KeptSession:
    """The later of the two, and what the other alone knows: when it ends, and the stamp of its login."""
    if known is None:
        return told
    ends_at = max(known.ends_at, told.ends_at)
    if not (known.record and told.record):
        return KeptSession(told.sid, told.user, b"", ends_at=ends_at, turn=max(known.turn, told.turn))
    later = told if told.turn >= known.turn else known
    return replace(later, stamp=known.stamp or told.stamp)


def row_of(session: KeptSession) -> dict[str, Any]:
    """Its columns."""
    return {
        "sid": session.sid.encode(),
        "subject": session.user,
        "record": session.record,
        "stamp": session.stamp,
        "handles": b"".join(session.handles),
        "seen_at": session.seen_at,
        "ends_at": session.ends_at,
        "turn": session.turn,
    }


def session_of(row: RowMapping) -> KeptSession | None:
    """None: no jwtgate wrote it."""
    handles = bytes(row["handles"])
    ends_at, seen_at = float(row["ends_at"]), float(row["seen_at"])
    try:
        sid = bytes(row["sid"]).decode("ascii")
    except UnicodeDecodeError:
        return None
    if not (math.isfinite(seen_at) and abs(ends_at) < FAR) or len(handles) % HANDLE_BYTES:
        return None
    return KeptSession(
        sid=sid,
        user=bytes(row["subject"]),
        record=bytes(row["record"]),
        stamp=str(row["stamp"]),
        handles=tuple(handles[first : first + HANDLE_BYTES] for first in range(0, len(handles), HANDLE_BYTES)),
        seen_at=seen_at,
        ends_at=ends_at,
        turn=int(row["turn"]),
    )
