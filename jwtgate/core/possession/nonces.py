"""Nonces of our own for DPoP proofs (RFC 9449 §8, §9): a span of time, and who can vouch for it.

Nothing is stored: every worker makes and knows the same ones from the same secret. One before and one after the current is
accepted too: the last one given, and that of a worker whose clock is a little ahead.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NONCE_SECONDS", "Nonces"]

NONCE_SECONDS = 60
"""That one is the current one."""

MAC_BYTES = 16
"""128 bits: as many as nobody guesses."""


class Nonces:
    """Under one secret. Shows none."""

    __slots__ = ("_key", "_now")

    def __init__(self, secret: bytes, now: Callable[[], float]) -> None:
        """Args: now: NumericDate. secret: shared by all workers; other uses of it learn nothing of ours."""
        self._key = hmac.digest(secret, b"jwtgate DPoP nonce", "sha256")
        self._now = now

    def current(self) -> str:
        """The one to use from now on."""
        return self._of(self._span())

    def accepts(self, nonce: object) -> bool:
        """Whether it is one of the three."""
        if not isinstance(nonce, str) or not nonce.isascii():
            return False
        span = self._span()
        return any(hmac.compare_digest(nonce, self._of(each)) for each in (span, span - 1, span + 1))

    def _span(self) -> int:
        return int(self._now() // NONCE_SECONDS)

    def _of(self, span: int) -> str:
        octets = span.to_bytes(8)
        mac = hmac.new(self._key, octets, sha256).digest()[:MAC_BYTES]
        return urlsafe_b64encode(octets + mac).rstrip(b"=").decode()
