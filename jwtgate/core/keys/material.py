"""From PEM and JWK text to keys that may be used, or one sentence on why not.

RFC 7517, RFC 7518 §3 and §6, RFC 8037. Weak keys, keys for another use and keys that contradict themselves are refused
here, when they are loaded, so that no token ever meets them. Reads no file, and its sentences hold no key material.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from jwt.algorithms import Algorithm, ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms
from jwt.exceptions import PyJWTError
from jwt.utils import base64url_encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ALGORITHMS",
    "HMAC_BYTES",
    "Material",
    "PrivateKey",
    "PublicKey",
    "UnusableKeyError",
    "material_of",
    "private_key_of",
    "public_jwk_of",
    "public_key_of",
    "published_jwk_of",
    "read_jwk",
    "read_private_half",
    "read_secret",
    "thumbprint_of",
]

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey
PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey

HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""RFC 7518 §3.2: a secret is at least as long as the hash."""

RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
EC_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

RSA_MIN_BITS = 2048
"""RFC 7518 §3.3 and §3.5."""

RSA_MAX_BITS = 8192
"""Every verification costs the square of it, for a forged token too."""

PUBLIC_MEMBERS = frozenset({"kty", "n", "e", "crv", "x", "y", "k"})
"""All that verifies (RFC 7518 §6): of a private RSA key without its primes they would be sought, for half a minute."""

RSA_MAX_EXPONENT_BITS = 64
"""OpenSSL fails at the verification, not at the load, beyond it."""

_NAMES = (*HMAC_BYTES, *RSA_ALGORITHMS, *EC_ALGORITHMS.values(), "EdDSA")

ALGORITHMS: Mapping[str, Algorithm] = {name: get_default_algorithms()[name] for name in _NAMES}
"""What can be configured (RFC 7518 §3.1, RFC 8037 §3.1), with PyJWT's object for each."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")
_JWK_READERS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "oct": HMACAlgorithm.from_jwk,
    "RSA": RSAAlgorithm.from_jwk,
    "EC": ECAlgorithm.from_jwk,
    "OKP": OKPAlgorithm.from_jwk,
}
_FOREIGN_FAULTS = (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError, OverflowError)
"""What the libraries raise on a JWK whose members have any JSON type."""


class UnusableKeyError(Exception):
    """The key cannot be used; the message says why and what is allowed, and may be shown to the operator."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """One key that verifies.

    Attributes:
        key: what PyJWT's Algorithm takes: a public key, or the octets of a secret.
        fitting: the algorithms it can serve, its default first.
        kid: as the JWK says, or None.
        identity: equal for the same key under two names.
    """

    key: PublicKey | bytes
    fitting: tuple[str, ...]
    kid: str | None
    identity: bytes

    def __repr__(self) -> str:
        """Shows no key."""
        return f"<Material {'/'.join(self.fitting)}>"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the identity, lower-case hex."""
        return sha256(self.identity).hexdigest()


def material_of(key: PublicKey, kid: str | None = None) -> Material:
    """What a public key can serve.

    Raises:
        UnusableKeyError: RFC 7518 §3.3: under 2048 bits; or a curve that JWS has no algorithm for.
    """
    identity = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Material(key, _fitting(key), kid, identity)


def _fitting(key: object) -> tuple[str, ...]:
    if isinstance(key, RSAPublicKey):
        if not RSA_MIN_BITS <= key.key_size <= RSA_MAX_BITS:
            raise UnusableKeyError(f"an RSA key must have {RSA_MIN_BITS} to {RSA_MAX_BITS} bits")
        if key.public_numbers().e.bit_length() > RSA_MAX_EXPONENT_BITS:
            raise UnusableKeyError(f"an RSA exponent must have at most {RSA_MAX_EXPONENT_BITS} bits")
        return RSA_ALGORITHMS
    if isinstance(key, EllipticCurvePublicKey) and key.curve.name in EC_ALGORITHMS:
        return (EC_ALGORITHMS[key.curve.name],)
    if isinstance(key, Ed25519PublicKey):
        return ("EdDSA",)
    raise UnusableKeyError("allowed are RSA keys, the curves P-256, P-384 and P-521, and Ed25519")


def read_secret(secret: str | bytes, kid: str | None = None) -> Material:
    """An HMAC secret, which must not be the public half of anything.

    Raises:
        UnusableKeyError: shorter than SHA-256's 32 bytes (RFC 7518 §3.2); or PEM, SSH, DER or JWK text, with which
            anyone who knows the public key could sign (RFC 8725 §2.1).
    """
    try:
        octets = HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except (PyJWTError, ValueError):
        octets = None
    if octets is None:
        raise UnusableKeyError("an HMAC secret is random text, not the text of a key pair, certificate or JWK")
    fitting = tuple(name for name, size in HMAC_BYTES.items() if len(octets) >= size)
    if not fitting:
        raise UnusableKeyError("an HMAC secret must be at least 32 bytes long for HS256, 48 for HS384, 64 for HS512")
    return Material(octets, fitting, kid, sha256(octets).digest())


def public_key_of(pem: str) -> PublicKey:
    """The key in PEM text, of a public key or a certificate; literal ``\\n`` is accepted for a line's end.

    Raises:
        UnusableKeyError: it is something else.
    """
    if "PRIVATE KEY-----" in pem:
        raise UnusableKeyError("holds a private key; it must be the PEM text of a public key or certificate")
    octets = _lines_of(pem)
    key: object
    try:
        if b"-----BEGIN CERTIFICATE-----" in octets:
            key = x509.load_pem_x509_certificate(octets).public_key()
        else:
            key = load_pem_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if key is None:
        raise UnusableKeyError("must be the PEM text of a public key or certificate")
    _fitting(key)
    return cast("PublicKey", key)


def private_key_of(pem: str) -> PrivateKey:
    """The private key in PEM text; literal ``\\n`` is accepted for a line's end.

    Raises:
        UnusableKeyError: it is encrypted, or something else.
    """
    is_encrypted = "ENCRYPTED" in pem
    key = None
    try:
        key = load_pem_private_key(_lines_of(pem), password=None)
    except TypeError:
        is_encrypted = True
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if key is None and is_encrypted:
        raise UnusableKeyError("is encrypted; it must be the PEM text of a private key without a passphrase")
    if key is None:
        raise UnusableKeyError("must be the PEM text of a private key without a passphrase")
    _fitting(key.public_key())
    return cast("PrivateKey", key)


def _lines_of(pem: str) -> bytes:
    return pem.replace("\\n", "\n").strip().encode(errors="replace")


def read_jwk(jwk: object) -> Material:
    """One member of a JWK Set (RFC 7517 §4), fit to verify. Of a private key the public half is taken.

    Raises:
        UnusableKeyError: not a key that verifies, weak, or at odds with its own ``alg``.
    """
    if not isinstance(jwk, dict):
        raise UnusableKeyError("not a JSON object")
    members = cast("dict[str, Any]", jwk)
    kid, alg = members.get("kid"), members.get("alg")
    if not isinstance(kid, str | None) or not isinstance(alg, str | None):
        raise UnusableKeyError("kid and alg must be strings")
    _check_purpose(members)
    key = _jwk_key_of(members)
    material = read_secret(key, kid) if isinstance(key, bytes) else material_of(key, kid)
    if alg is None:
        return material
    if alg not in material.fitting:
        raise UnusableKeyError("its alg does not fit the key, or the key is too short for it")
    return Material(material.key, (alg,), kid, material.identity)


def _check_purpose(members: Mapping[str, Any]) -> None:
    """RFC 7517 §4.2 and §4.3. A private key that may only sign still tells which public key verifies."""
    if members.get("use", "sig") != "sig":
        raise UnusableKeyError("its use is not sig")
    operations = members.get("key_ops")
    if operations is None:
        return
    wanted = ("verify", "sign") if "d" in members else ("verify",)
    if not isinstance(operations, list) or not any(each in wanted for each in cast("list[object]", operations)):
        raise UnusableKeyError("its key_ops do not hold verify")


def read_private_half(members: dict[str, Any]) -> PrivateKey | bytes:
    """What signs, of a JWK that ``read_jwk`` takes: a private key, or the octets of a secret.

    Raises:
        UnusableKeyError: it is a public key.
    """
    key = _read_by_kty(members)
    if isinstance(key, (RSAPrivateKey, EllipticCurvePrivateKey, Ed25519PrivateKey, bytes)):
        return key
    raise UnusableKeyError("is a public key; it must be a private one, or oct")


def _jwk_key_of(members: dict[str, Any]) -> PublicKey | bytes:
    key = _read_by_kty({name: value for name, value in members.items() if name in PUBLIC_MEMBERS})
    if isinstance(key, (RSAPublicKey, EllipticCurvePublicKey, Ed25519PublicKey, bytes)):
        return key
    raise UnusableKeyError("its members do not make a key of RSA, P-256, P-384, P-521, Ed25519 or oct")


def _read_by_kty(members: dict[str, Any]) -> object:
    """By PyJWT; None: the members do not fit the kty."""
    kty = members.get("kty")
    reader = _JWK_READERS.get(kty) if isinstance(kty, str) else None
    if reader is None:
        raise UnusableKeyError("its kty is none of RSA, EC, OKP, oct")
    if kty == "RSA" and len(str(members.get("n"))) > RSA_MAX_BITS // 4:
        raise UnusableKeyError(f"an RSA key must have {RSA_MIN_BITS} to {RSA_MAX_BITS} bits")
    if kty == "oct" and not _BASE64URL.fullmatch(str(members.get("k"))):
        raise UnusableKeyError("its k is not base64url")
    try:
        return reader(members)
    except _FOREIGN_FAULTS:
        return None


def public_jwk_of(key: PublicKey) -> dict[str, str]:
    """The required members of the key's JWK (RFC 7518 §6, RFC 8037 §2), in the order of RFC 7638 §3.3."""
    if isinstance(key, RSAPublicKey):
        jwk = RSAAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, EllipticCurvePublicKey):
        jwk = ECAlgorithm.to_jwk(key, as_dict=True)
    else:
        jwk = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {name: str(jwk[name]) for name in sorted(jwk) if name != "key_ops"}


def published_jwk_of(key: PublicKey, kid: str, alg: str) -> dict[str, str]:
    """What a JWK Set says of a key that verifies signatures (RFC 7517 §4)."""
    return {**public_jwk_of(key), "kid": kid, "alg": alg, "use": "sig"}


def thumbprint_of(key: PublicKey | dict[str, str]) -> str:
    """RFC 7638 §3: SHA-256 over the required members, base64url. Of a key, or of what ``public_jwk_of`` gives."""
    text = json.dumps(key if isinstance(key, dict) else public_jwk_of(key), separators=(",", ":"))
    return base64url_encode(sha256(text.encode()).digest()).decode()
