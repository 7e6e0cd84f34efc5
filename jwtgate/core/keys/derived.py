"""A key for each subject, derived from our secret (``DERIVED_KEYS``): the secret itself signs no token.

HKDF (RFC 5869) with a number for salt, which stands in the token as ``jgs`` and is kept per subject as a ruling: the
``min_version`` of the handle ``salt``. Another number is another key, so that of one subject can be changed, and nobody who
knows one of them can make tokens of another subject or under the next.

Invariant: a subject's key is retired as any key is, by ``revoked`` on its own handle ``key``, in the same step that gives the
subject its next number. So it kills at once, also what is remembered, and no token needs a look-up to be verified.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from jwtgate.core.handles import digest_of
from jwtgate.core.rulings import VERSION_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cryptography.hazmat.primitives.hashes import HashAlgorithm

__all__ = ["SALT_CLAIM", "derived_key", "key_handle", "salt_handle", "salt_in"]

SALT_CLAIM = "jgs"

_HASHES: Mapping[str, type[HashAlgorithm]] = {"HS256": SHA256, "HS384": SHA384, "HS512": SHA512}


def derived_key(secret: bytes, algorithm: str, sub: str, salt: int) -> bytes:
    """The HMAC key of one subject, as long as the hash (RFC 7518 §3.2).

    Args: secret: our own. algorithm: it is for. sub: the subject. salt: its number.
    """
    kind = _HASHES[algorithm]()
    info = b"jwtgate subject key " + algorithm.encode() + b" " + sub.encode()
    return HKDF(kind, kind.digest_size, salt=b"%d" % salt, info=info).derive(secret)


def salt_handle(namespace: str, sub: str) -> bytes:
    """The digest of the handle under which a subject's number is kept."""
    return digest_of(namespace, "salt", sub)


def key_handle(namespace: str, key: bytes) -> bytes:
    """The digest of the handle of a derived key: of what it is, as that of any key."""
    return digest_of(namespace, "key", sha256(key).hexdigest())


def salt_in(claims: Mapping[str, Any]) -> int | None:
    """The number that a token says it was signed under; None where it says none that can be."""
    salt = claims.get(SALT_CLAIM)
    return salt if type(salt) is int and 0 <= salt < VERSION_LIMIT else None
