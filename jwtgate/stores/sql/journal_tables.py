"""The tables of a journal, layout version 1, and how their rows combine. They may stand beside a store's tables.

    <prefix>_ruling_journal   digest, ruling (as the store encodes it), until: when it may be forgotten, or null
    <prefix>_session_journal  sid, user (digest of issuer and subject), record (empty: it was ended), stamp, handles, seen_at,
                              ends_at, turn
    <prefix>_journal          one row: the version of this layout

Invariant: a row only ever moves forward, whatever order the writes of several processes arrive in. Rulings merge; of two
records of a session that of the higher turn stands; an end is for good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, SmallInteger, Table

from jwtgate.core.rulings import Ruling, UnreadableRuling, merge
from jwtgate.core.sessions.stored import KeptSession
from jwtgate.stores.sql.tables import ON_DISK, identifier, long_octets, octets

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = [
    "VERSION",
    "JournalTables",
    "journal_tables_of",
    "merged_ruling",
    "merged_session",
    "row_of_ruling",
    "row_of_session",
    "session_of",
]

VERSION = 1
HANDLE_BYTES = 16
KEY_BYTES = 64
"""Longest key: a digest of ours has 16, a name 22."""

FAR = 1e12
"""No moment of ours is as late: a number that only another program can have written."""


@dataclass(frozen=True, slots=True)
class JournalTables:
    """Of one prefix."""

    rulings: Table
    sessions: Table
    version: Table

    def all(self) -> tuple[Table, ...]:
        """``version`` last: whoever finds its row finds the others."""
        return (self.rulings, self.sessions, self.version)


def journal_tables_of(prefix: str) -> JournalTables:
    """The tables under a prefix."""
    metadata, begin = MetaData(), identifier(prefix)
    return JournalTables(
        Table(
            f"{begin}_ruling_journal",
            metadata,
            Column("digest", octets(KEY_BYTES), primary_key=True),
            Column("ruling", long_octets(), nullable=False),
            Column("until", Double),
            Index(f"{begin}_ruling_journal_ends", "until"),
            **ON_DISK,
        ),
        Table(
            f"{begin}_session_journal",
            metadata,
            Column("sid", octets(KEY_BYTES), primary_key=True),
            Column("user", octets(KEY_BYTES), nullable=False),
            Column("record", long_octets(), nullable=False),
            Column("stamp", octets(KEY_BYTES), nullable=False),
            Column("handles", long_octets(), nullable=False),
            Column("seen_at", Double, nullable=False),
            Column("ends_at", Double, nullable=False),
            Column("turn", BigInteger, nullable=False),
            Index(f"{begin}_session_journal_ends", "ends_at"),
            **ON_DISK,
        ),
        Table(
            f"{begin}_journal",
            metadata,
            Column("id", SmallInteger, primary_key=True, autoincrement=False),
            Column("version", Integer, nullable=False),
            **ON_DISK,
        ),
    )


def merged_ruling(known: bytes | None, told: bytes) -> bytes:
    """Both, where both can be read. No epoch is the current one here: two writes may arrive in either order."""
    if known is None or known == told:
        return told
    try:
        one = Ruling.decode(known)
    except UnreadableRuling:
        return told
    return merge(one, Ruling.decode(told)).encode()


def merged_session(known: KeptSession | None, told: KeptSession) -> KeptSession:
    """The later of the two, and what the other alone knows: when it ends, and the stamp of its login."""
    if known is None:
        return told
    if not (known.record and told.record):
        return KeptSession(told.sid, told.user, b"", ends_at=max(known.ends_at, told.ends_at))
    later = told if told.turn >= known.turn else known
    return replace(later, stamp=known.stamp or told.stamp)


def row_of_ruling(digest: bytes, ruling: bytes) -> dict[str, Any]:
    """Its columns."""
    return {"digest": digest, "ruling": ruling, "until": Ruling.decode(ruling).until}


def row_of_session(session: KeptSession) -> dict[str, Any]:
    """Its columns."""
    return {
        "sid": session.sid.encode(),
        "user": session.user,
        "record": session.record,
        "stamp": session.stamp.encode(),
        "handles": b"".join(session.handles),
        "seen_at": session.seen_at,
        "ends_at": session.ends_at,
        "turn": session.turn,
    }


def session_of(row: Mapping[Any, Any]) -> KeptSession | None:
    """None: no jwtgate wrote it."""
    handles = bytes(row["handles"])
    ends_at, seen_at = float(row["ends_at"]), float(row["seen_at"])
    if not (math.isfinite(seen_at) and abs(ends_at) < FAR) or len(handles) % HANDLE_BYTES:
        return None
    try:
        sid, stamp = bytes(row["sid"]).decode("ascii"), bytes(row["stamp"]).decode("ascii")
    except UnicodeDecodeError:
        return None
    return KeptSession(
        sid=sid,
        user=bytes(row["user"]),
        record=bytes(row["record"]),
        stamp=stamp,
        handles=tuple(handles[first : first + HANDLE_BYTES] for first in range(0, len(handles), HANDLE_BYTES)),
        seen_at=seen_at,
        ends_at=ends_at,
        turn=int(row["turn"]),
    )
