"""The tables, layout version 2: what a program in another language would find.

    <prefix>_meta      one row: the version of this layout, the epoch record, where the log ends
    <prefix>_rulings   digest of a handle -> ruling as JSON, and when it may be forgotten
    <prefix>_log       the change log: position -> link, previous link, digest, ruling, when it was written
    <prefix>_workers   name -> reach, acknowledged position, beat, healing; only rows of the current epoch count
    <prefix>_sessions  sid -> the session's texts and what the store must know of it
    <prefix>_marks     group and name -> what may be used once, and until when; ``by`` is of the call that put it there
    <prefix>_boot      MySQL and MariaDB only: one row in memory, which a restart takes away

Names and texts are octets throughout: no collation takes two of them for one, none adds or drops a blank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, MetaData, SmallInteger, Table
from sqlalchemy.dialects import mysql

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

__all__ = ["FOREVER", "ON_DISK", "VERSION", "Tables", "identifier", "lock_number", "long_octets", "octets", "tables_of"]

VERSION = 2
"""Of the layout. The version that changes it adds to ``schema.STEPS`` or ``schema.MADE``."""

FOREVER = 1e300
"""A reach without bound: MySQL knows no infinity."""

DIGEST_BYTES = 512
"""Longest key; a digest of ours has 16. MySQL's indexes need a bound."""

_PLAIN = re.compile(r"[a-z][a-z0-9_]{0,39}")
_HASHED = re.compile(r".*_[0-9a-f]{16}")


def identifier(prefix: str) -> str:
    """The prefix as names of tables begin with it: itself where every database takes it as it is, else with a digest.

    No two prefixes give the same: names with a digest are never plain ones, and some databases tell no case.
    """
    if _PLAIN.fullmatch(prefix) and not _HASHED.fullmatch(prefix):
        return prefix
    readable = re.sub(r"[^a-z0-9]+", "_", prefix.lower())[:20].strip("_")
    return f"{readable or 'x'}_{sha256(prefix.encode()).hexdigest()[:16]}"


def lock_number(tables: Tables) -> int:
    """What stands for these tables where a database locks by numbers: 63 bits."""
    return int.from_bytes(sha256(tables.meta.name.encode()).digest()[:8]) >> 1


ON_DISK: dict[str, Any] = {"mysql_engine": "InnoDB", "mariadb_engine": "InnoDB"}
"""Where a server's default is an engine without transactions, nothing of what ``steps`` says would hold."""


def octets(length: int) -> TypeEngine[bytes]:
    """No collation takes two names for one; MySQL's indexes need a bound."""
    return LargeBinary(length).with_variant(mysql.VARBINARY(length), "mysql", "mariadb")


def long_octets() -> TypeEngine[bytes]:
    """Of any length up to 16 MiB."""
    return LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


@dataclass(frozen=True, slots=True)
class Tables:
    """Of one prefix."""

    metadata: MetaData
    meta: Table
    rulings: Table
    log: Table
    workers: Table
    sessions: Table
    marks: Table
    boot: Table

    def all(self) -> dict[str, Table]:
        """By their names here; ``meta`` last: whoever finds it finds the others."""
        names = [field.name for field in fields(self) if field.name not in ("metadata", "meta")]
        return {name: getattr(self, name) for name in (*names, "meta")}


def tables_of(prefix: str) -> Tables:
    """The tables under a prefix."""
    metadata, begin = MetaData(), identifier(prefix)
    return Tables(
        metadata,
        meta=_meta(metadata, begin),
        rulings=Table(
            f"{begin}_rulings",
            metadata,
            Column("digest", octets(DIGEST_BYTES), primary_key=True),
            Column("ruling", long_octets(), nullable=False),
            Column("until", Double),
            Index(f"{begin}_rulings_until", "until"),
            **ON_DISK,
        ),
        log=Table(
            f"{begin}_log",
            metadata,
            Column("position", BigInteger, primary_key=True, autoincrement=False),
            Column("link", octets(64), nullable=False),
            Column("previous", octets(64), nullable=False),
            Column("digest", octets(DIGEST_BYTES), nullable=False),
            Column("ruling", long_octets(), nullable=False),
            Column("at", Double, nullable=False),
            **ON_DISK,
        ),
        workers=Table(
            f"{begin}_workers",
            metadata,
            Column("name", octets(64), primary_key=True),
            Column("epoch", octets(64), nullable=False),
            Column("reach", Double, nullable=False),
            Column("acknowledged", BigInteger, nullable=False),
            Column("beat", BigInteger, nullable=False),
            Column("is_healing", SmallInteger, nullable=False),
            **ON_DISK,
        ),
        sessions=_sessions(metadata, begin),
        marks=_marks(metadata, begin),
        boot=Table(
            f"{begin}_boot",
            metadata,
            Column("id", SmallInteger, primary_key=True, autoincrement=False),
            Column("token", octets(64), nullable=False),
            mysql_engine="MEMORY",
            mariadb_engine="MEMORY",
        ),
    )


def _meta(metadata: MetaData, begin: str) -> Table:
    return Table(
        f"{begin}_meta",
        metadata,
        Column("id", SmallInteger, primary_key=True, autoincrement=False),
        Column("version", Integer, nullable=False),
        Column("epoch", octets(64), nullable=False),
        Column("born_at", Double, nullable=False),
        Column("identity", octets(255), nullable=False),
        Column("mark", octets(32), nullable=False),
        Column("lease", Double, nullable=False),
        Column("reach", Double, nullable=False),
        Column("is_healed", SmallInteger, nullable=False),
        Column("is_settled", SmallInteger, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("link", octets(64), nullable=False),
        **ON_DISK,
    )


def _sessions(metadata: MetaData, begin: str) -> Table:
    return Table(
        f"{begin}_sessions",
        metadata,
        Column("sid", octets(DIGEST_BYTES), primary_key=True),
        Column("user", octets(64), nullable=False),
        Column("record", long_octets(), nullable=False),
        Column("stamp", octets(64), nullable=False),
        Column("seen_at", Double, nullable=False),
        Column("ends_at", Double, nullable=False),
        Column("is_ended", SmallInteger, nullable=False),
        Column("handles", long_octets(), nullable=False),
        Column("successors", long_octets(), nullable=False),
        Column("successors_until", Double, nullable=False),
        Index(f"{begin}_sessions_user", "user", "ends_at"),
        Index(f"{begin}_sessions_ends", "ends_at"),
        **ON_DISK,
    )


def _marks(metadata: MetaData, begin: str) -> Table:
    return Table(
        f"{begin}_marks",
        metadata,
        Column("group", octets(64), primary_key=True),
        Column("name", octets(DIGEST_BYTES), primary_key=True),
        Column("value", long_octets(), nullable=False),
        Column("until", Double, nullable=False),
        Column("by", octets(16), nullable=False),
        Index(f"{begin}_marks_until", "until"),
        **ON_DISK,
    )
