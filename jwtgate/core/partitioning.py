"""Which partition of a store holds what. One rule, for those who write and for those who follow.

Invariant: what must change in one atomic step stands in one partition: a user's list with all sessions on it, and a session
with ``revoked`` on its ``sid``. All that a stamp is compared with stands in partition 0: every cut-off, on any handle, and
whatever else is said of a subject, a client or a configured claim.

So a digest tells its partition by its first two bytes: they are drawn from the value alone where a kind is spread (``jti``,
what stands in for it, ``sid``), and zero where it is not. A session's lineage is drawn until its name falls where its user's
list is.
"""

from __future__ import annotations

from hashlib import sha256

__all__ = [
    "NOT_SPREAD",
    "SELECTOR_BYTES",
    "SPREAD_KINDS",
    "partition_of",
    "partition_of_mark",
    "partition_of_session",
    "partition_of_user",
    "selector",
]

SELECTOR_BYTES = 2

SPREAD_KINDS = frozenset({"jti", "signing_input", "sid"})

NOT_SPREAD = bytes(SELECTOR_BYTES)


def selector(kind: str, value: str) -> bytes:
    """The first bytes of a handle's digest."""
    return sha256(value.encode()).digest()[:SELECTOR_BYTES] if kind in SPREAD_KINDS else NOT_SPREAD


def partition_of(digest: bytes, partitions: int) -> int:
    """Where the ruling on a handle stands."""
    return int.from_bytes(digest[:SELECTOR_BYTES]) % partitions


def partition_of_session(sid: str, partitions: int) -> int:
    """Where a session stands: with the ruling on its ``sid``."""
    return int.from_bytes(selector("sid", sid)) % partitions


def partition_of_mark(name: bytes, partitions: int) -> int:
    """Where a mark is kept, whatever its group."""
    return int.from_bytes(sha256(name).digest()[:SELECTOR_BYTES]) % partitions


def partition_of_user(user: bytes, partitions: int) -> int:
    """Where the list of a user's sessions stands. Args: user: 16 bytes, the digest of issuer and subject."""
    return int.from_bytes(user[SELECTOR_BYTES : 2 * SELECTOR_BYTES]) % partitions
