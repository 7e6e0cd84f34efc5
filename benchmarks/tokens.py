"""Keys and tokens, made anew for each run. Every token has eight claims, as an access token of RFC 9068 does."""

from __future__ import annotations

import json
import secrets
import time
from base64 import urlsafe_b64encode
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["SECRET", "PublishedKey", "forge", "mint", "settings_for", "signing_settings_for", "verifying_key"]

SECRET = secrets.token_urlsafe(48)


@cache
def _private_key() -> RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def verifying_key(algorithm: str) -> Any:
    """What ``jwt.decode`` takes; the RSA key is loaded already, as a careful caller does."""
    return SECRET if algorithm == "HS256" else _private_key().public_key()


def settings_for(algorithm: str) -> dict[str, str]:
    """What ``Settings`` takes."""
    if algorithm == "HS256":
        return {"secret": SECRET}
    return {"public_key": _private_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()}


def signing_settings_for(algorithm: str) -> dict[str, str]:
    """What ``Settings`` takes to issue with: HS256, RS256 or ES256."""
    if algorithm == "HS256":
        return {"secret": SECRET}
    key = _private_key() if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
    return {"private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()}


def mint(algorithm: str, count: int = 1, *, secret: str = SECRET) -> list[str]:
    """Distinct tokens, by PyJWT, valid for an hour. Args: secret: for HS256, another than the run's."""
    key: Any = secret if algorithm == "HS256" else _private_key()
    return [jwt.encode(_claims(), key, algorithm, headers={"typ": "at+jwt"}) for _ in range(count)]


class PublishedKey:
    """An issuer's one key, ES256, as a JWK Set publishes it, and tokens of it and of kids that nobody has."""

    issuer = "https://issuer.example"

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        members = jwt.get_algorithm_by_name("ES256").to_jwk(self._key.public_key(), as_dict=True)
        self.kid = secrets.token_urlsafe(8)
        self.jwk_set = json.dumps({"keys": [{**members, "kid": self.kid, "alg": "ES256", "use": "sig"}]})

    def token(self, seconds: int = 3600) -> str:
        """Of the key, that expires so far ahead."""
        claims = _claims()
        claims["exp"] = claims["iat"] + seconds
        return jwt.encode(claims, self._key, "ES256", headers={"kid": self.kid, "typ": "at+jwt"})

    def tokens(self, count: int) -> list[str]:
        """Distinct ones."""
        return [self.token() for _ in range(count)]

    def unknown(self) -> Iterator[str]:
        """Well formed in every part, each of a kid of its own."""
        payload, signature = _segment(json.dumps(_claims()).encode()), _segment(secrets.token_bytes(64))
        for number in count():
            header = json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": f"{self.kid}-{number}"})
            yield f"{_segment(header.encode())}.{payload}.{signature}"


def forge(count: int) -> list[str]:
    """Distinct tokens that are well formed in every part, with a signature that nobody made."""
    header = _segment(b'{"alg":"HS256","typ":"at+jwt"}')
    return [f"{header}.{_segment(json.dumps(_claims()).encode())}.{_segment(secrets.token_bytes(32))}" for _ in range(count)]


def _segment(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def _claims() -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": "https://issuer.example",
        "sub": f"user-{secrets.token_hex(4)}",
        "client_id": "web",
        "iat": now,
        "exp": now + 3600,
        "jti": secrets.token_urlsafe(16),
        "sid": secrets.token_urlsafe(16),
        "scope": "read write profile",
    }
