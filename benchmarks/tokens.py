"""Keys and tokens, made anew for each run. Every token has eight claims, as an access token of RFC 9068 does."""

from __future__ import annotations

import json
import secrets
import time
from base64 import urlsafe_b64encode
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["SECRET", "forge", "mint", "settings_for", "signing_settings_for", "verifying_key"]

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
