"""The tokens of the show, made where the applications' secret is known."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

import jwt

from jwtgate.gate import Gate
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Mint", "token_id_of"]

TTL_SECONDS = 86400


class Mint:
    """Issues tokens for the applications that run under the same settings."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Args: environment: ``JWTGATE_*``."""
        self._secret = environment["JWTGATE_SECRET"]
        self._gate = Gate(Settings.from_env(environment))

    @property
    def lease_seconds(self) -> float:
        """How long a worker may trust its memory."""
        return self._gate.settings.lease

    def issue(self, subject: str, *, scope: str | None = None) -> str:
        """A token that belongs to no session."""
        return self._gate.issue(subject, scope=scope, ttl=TTL_SECONDS)

    def sign(self, subject: str, session_id: str) -> str:
        """A token of a session, as another issuer with the same key would make it: by PyJWT alone."""
        now = int(time.time())
        claims = {"sub": subject, "sid": session_id, "jti": secrets.token_urlsafe(16), "iat": now, "exp": now + TTL_SECONDS}
        return jwt.encode(claims, self._secret, "HS256")

    def close(self) -> None:
        """May be called twice."""
        self._gate.close()


def token_id_of(token: str) -> str:
    """The jti, unverified: of a token made here."""
    return str(jwt.decode(token, options={"verify_signature": False})["jti"])
