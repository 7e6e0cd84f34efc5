"""What a ruling can name: ``(issuer, kind, value)``, and the digest that stands for it in the store."""

from __future__ import annotations

from hashlib import sha256

from jwtgate.core.partitioning import SELECTOR_BYTES, selector

__all__ = ["BUILT_IN_KINDS", "DIGEST_BYTES", "digest_of"]

BUILT_IN_KINDS = (
    *("jti", "sid", "sub", "client_id", "all", "signing_input", "sessions", "key", "salt"),
    *("sub_without_sid", "statement"),
)
"""``signing_input`` stands in for ``jti`` in tokens without one: SHA-256 of header.payload, hex. Never of the whole
token, since one payload can carry two valid signatures (ECDSA r, n-s). ``sessions`` is the subject of sessions: a cut-off
on it ends them, where one on ``sub`` ends access tokens only. ``key`` is the key that verified, by what it is. ``salt`` is the
subject whose own key is derived from our secret and from the number that ``min_version`` tells there.
``sub_without_sid`` is the subject of tokens that name no session, for a provider that tells of the end of one. ``statement``
is what a provider told us once, by its ``jti``."""

DIGEST_BYTES = 16


def digest_of(namespace: str, kind: str, value: str) -> bytes:
    """The 16 bytes that stand for a handle: no separators to inject, no user names in the key space.

    Two bytes that select its partition, then SHA-256 over the three parts as netstrings (``<length in bytes>:<UTF-8>,``), cut
    to 112 bits.
    """
    parts = (namespace.encode(), kind.encode(), value.encode())
    hashed = sha256(b"".join(b"%d:%b," % (len(part), part) for part in parts)).digest()
    return selector(kind, value) + hashed[: DIGEST_BYTES - SELECTOR_BYTES]
