"""A small client of its own that holds keys: it binds tokens to them and proves that it has them (RFC 9449 §4, RFC 7638)."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

if TYPE_CHECKING:
    from jwtgate import Gate

SECRET = "a-secret-of-the-issuer-of-bound-tokens"

URL = "https://api.example.com"
"""Under which clients reach the application."""

REQUIRED = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}


def encoded(octets: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """The way back."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def segment(value: Any) -> str:
    """Of a token: JSON, or a text that stands for it."""
    return encoded((value if isinstance(value, str) else json.dumps(value)).encode())


@cache
def private_key(algorithm: str) -> Any:
    """One for the whole run: RSA keys take long."""
    if algorithm[0] in "RP":
        return rsa.generate_private_key(65537, 2048)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    return ec.generate_private_key(curves[algorithm])


class Holder:
    """Who holds one key."""

    def __init__(self, algorithm: str = "ES256", key: Any = None) -> None:
        self.algorithm = algorithm
        self.key = private_key(algorithm) if key is None else key
        self.signing: Any = get_default_algorithms()[algorithm]
        self.private_jwk: dict[str, Any] = self.signing.to_jwk(self.key, as_dict=True)
        public = self.signing.to_jwk(self.key.public_key(), as_dict=True)
        self.jwk: dict[str, Any] = {name: public[name] for name in REQUIRED[public["kty"]]}

    @classmethod
    def other(cls) -> Holder:
        """With a key that nobody else has."""
        return cls(key=ec.generate_private_key(ec.SECP256R1()))

    @property
    def thumbprint(self) -> str:
        """RFC 7638 §3."""
        return encoded(hashlib.sha256(json.dumps(self.jwk, sort_keys=True, separators=(",", ":")).encode()).digest())

    def bound(self, secret: str = SECRET, **claims: Any) -> str:
        """A token that the issuer has bound to this key."""
        return token({"cnf": {"jkt": self.thumbprint}, **claims}, secret)

    def header(self, **more: Any) -> dict[str, Any]:
        """Of a good proof; None takes a member away."""
        return _with({"typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk}, more)

    def claims(self, shown: str, **more: Any) -> dict[str, Any]:
        """Of a good proof for ``GET /``."""
        told = {
            "jti": str(uuid.uuid4()),
            "htm": "GET",
            "htu": f"{URL}/",
            "iat": int(time.time()),
            "ath": encoded(hashlib.sha256(shown.encode()).digest()),
        }
        return _with(told, more)

    def signed(self, header: Any, claims: Any) -> str:
        """Whatever they say."""
        signing_input = f"{segment(header)}.{segment(claims)}"
        return f"{signing_input}.{encoded(self.signing.sign(signing_input.encode(), self.key))}"

    def proof(self, shown: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good one, but for what is given."""
        return self.signed(self.header(**(header or {})), self.claims(shown, **claims))

    def request(self, shown: str, **claims: Any) -> tuple[tuple[str, str], ...]:
        """The headers of a good request."""
        return (("authorization", f"DPoP {shown}"), ("dpop", self.proof(shown, **claims)))


def token(claims: dict[str, Any], secret: str = SECRET) -> str:
    """Of the issuer, who signs with a secret."""
    now = int(time.time())
    return jwt.encode({"sub": "alice", "iat": now, "exp": now + 600, "jti": str(uuid.uuid4()), **claims}, secret)


def _with(members: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**members, **more}.items() if value is not None}


def aged(gate: Gate) -> Gate:
    """As if the store in this process's memory had been there for long: nothing was shown before."""
    store: Any = gate.store
    store._epoch = replace(store._epoch, birth=time.time() - 3600)
    return gate
