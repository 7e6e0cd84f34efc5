"""Refresh tokens: what they look like, and how the successor of a spent one is kept for those who race for it.

RFC 6749 §1.5, RFC 9700 §4.14. ``jgr_`` (so that secret scanners find it), then base64url of 64 bytes:

    lineage 16 | secret 32 | epoch 8 | generation 4 | expires 4

``lineage`` stays the same through the life of a session, and the ``sid`` is a digest of it: so whoever shows the right
lineage has once held a token of this session, and nobody who merely knows a ``sid`` can pretend to. ``secret`` is new at each
rotation. The store holds digests of both, and no more state however often a lineage rotates. The last three are hints that
nobody has to believe: they only tell a session that the store has lost from one that never was (L3, ``standing``).

The pair that replaced a token is sealed under a key derived from that token's secret (RFC 5869), so the store alone cannot
read it. Draws nothing: randomness is an argument.
"""

from __future__ import annotations

import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest as hmac_digest
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from jwtgate.errors import GrantError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PREFIX", "RefreshToken", "is_session_id", "seal", "unseal"]

PREFIX = "jgr_"
LINEAGE_BYTES, SECRET_BYTES, NONCE_BYTES = 16, 32, 12
LATEST = 2**32 - 1
_HINTS = struct.Struct(">8sII")
_FORM = re.compile(r"jgr_[A-Za-z0-9_-]{85}[AQgw]")
"""The last of 86 characters holds two bits; any other spells the same bytes another way."""
_SID = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]")
_EXPAND_INFO = b"jwtgate: the successor of a refresh token\x01"
"""RFC 5869 §2.3, the one block that 32 bytes need. The secret is uniform, so there is nothing to extract first."""


def is_session_id(sid: object) -> bool:
    """Whether a ``sid`` has the form of ours. No stranger's text becomes a name in the store."""
    return isinstance(sid, str) and _SID.fullmatch(sid) is not None


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """One refresh token, taken apart.

    Attributes:
        lineage, secret: 16 and 32 random bytes.
        epoch: name of the epoch in which it was made, as far as it fits; a hint.
        generation: counts the rotations of its lineage from 0; a hint.
        expires_at: NumericDate, whole seconds, of when the session ends if this token is not used; a hint.
    """

    lineage: bytes
    secret: bytes
    epoch: str
    generation: int
    expires_at: int

    def __repr__(self) -> str:
        """Shows nothing of it."""
        return "<RefreshToken>"

    @classmethod
    def first(cls, draw: Callable[[int], bytes], expires_at: float) -> RefreshToken:
        """That of a new session, whose epoch is not known yet."""
        return cls(draw(LINEAGE_BYTES), draw(SECRET_BYTES), "", 0, min(int(expires_at), LATEST))

    def next(self, draw: Callable[[int], bytes], epoch: str, generation: int, expires_at: float) -> RefreshToken:
        """A successor: of the same lineage, with a secret of its own."""
        return RefreshToken(self.lineage, draw(SECRET_BYTES), epoch, generation, min(int(expires_at), LATEST))

    @classmethod
    def decode(cls, text: str) -> RefreshToken:
        """Takes a token apart. Raises: GrantError: it is none of ours."""
        if _FORM.fullmatch(text) is None:
            raise GrantError("not a refresh token")
        octets = urlsafe_b64decode(text[len(PREFIX) :] + "==")
        epoch, generation, expires_at = _HINTS.unpack(octets[LINEAGE_BYTES + SECRET_BYTES :])
        secret = octets[LINEAGE_BYTES : LINEAGE_BYTES + SECRET_BYTES]
        return cls(octets[:LINEAGE_BYTES], secret, _text(epoch), generation, expires_at)

    def encode(self) -> str:
        """What the client gets."""
        hints = _HINTS.pack(_epoch_octets(self.epoch), self.generation, self.expires_at)
        return PREFIX + _text(self.lineage + self.secret + hints)

    def is_of(self, epoch: str) -> bool:
        """Whether it says that it was made in this epoch."""
        return _epoch_octets(self.epoch) == _epoch_octets(epoch)

    @property
    def sid(self) -> str:
        """The session that it belongs to, if it exists: 22 characters of base64url."""
        return _text(sha256(self.lineage).digest()[:16])

    @property
    def digest(self) -> str:
        """What the store keeps of the secret: SHA-256, base64url."""
        return _text(sha256(self.secret).digest())


def seal(token: RefreshToken, plaintext: bytes, nonce: bytes) -> str:
    """Encrypts and authenticates (AES-256-GCM) under a key that only the holder of ``token`` can derive.

    Args: nonce: 12 random bytes; two racers seal under one key.
    """
    return _text(nonce + AESGCM(_key(token)).encrypt(nonce, plaintext, token.sid.encode()))


def unseal(token: RefreshToken, sealed: str) -> bytes | None:
    """What was sealed for the holder of ``token``; None where it was not, or not for this session."""
    try:
        octets = urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        return AESGCM(_key(token)).decrypt(octets[:NONCE_BYTES], octets[NONCE_BYTES:], token.sid.encode())
    except (InvalidTag, ValueError):
        return None


def _key(token: RefreshToken) -> bytes:
    return hmac_digest(token.secret, _EXPAND_INFO, "sha256")


def _epoch_octets(epoch: str) -> bytes:
    return urlsafe_b64decode(epoch + "=" * (-len(epoch) % 4))[:8].ljust(8, b"\0")


def _text(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()
