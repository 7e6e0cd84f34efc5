"""Key pairs for tests, and hand-signed tokens that no library would make."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import get_default_algorithms

SECRET = "a secret of more than sixty-four bytes, so that it serves HS512 as well"
ALGORITHMS = get_default_algorithms()


@dataclass(frozen=True)
class Pair:
    """A key pair as PEM text, and its private object."""

    private: Any
    private_pem: str
    public_pem: str


def pair_of(private: Any) -> Pair:
    """Both halves as PEM text."""
    public = private.public_key()
    return Pair(
        private,
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )


def make_pairs() -> dict[str, Pair]:
    """One key pair of each kind, by name. RSA takes a while: once per session is enough."""
    made = {
        "rsa": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "rsa_other": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "rsa_weak": rsa.generate_private_key(public_exponent=65537, key_size=1024),
        "p256": ec.generate_private_key(ec.SECP256R1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "p521": ec.generate_private_key(ec.SECP521R1()),
        "k256": ec.generate_private_key(ec.SECP256K1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "ed448": ed448.Ed448PrivateKey.generate(),
    }
    return {name: pair_of(private) for name, private in made.items()}


def segment(octets: bytes) -> bytes:
    """base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def craft(header: object, payload: object, key: Any = SECRET, alg: str = "HS256") -> bytes:
    """Sign any octets at all as header and payload, so that only the rule under test can refuse the token."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    signing_input = b".".join(map(segment, parts))
    if isinstance(key, str):
        key = key.encode()
    return signing_input + b"." + segment(ALGORITHMS[alg].sign(signing_input, key))
