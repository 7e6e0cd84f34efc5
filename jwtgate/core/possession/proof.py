"""A DPoP proof: whether it shows, for this very request, that its sender holds a key (RFC 9449 §4.3).

The twelve checks, in the order of their cost; that it was not shown before is asked of the store afterwards, so that nobody
buys a round trip with a proof that is none. What we are stricter in: one spelling of everything, as for tokens.

The ``htm`` of a WebSocket's handshake is GET (RFC 6455 §4.1), whatever carries it: over HTTP/2 and HTTP/3 the method is CONNECT
(RFC 8441 §4, RFC 9220), but proxies translate one into the other, and ASGI tells no method of a handshake.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING

from jwtgate.core.keys.material import ALGORITHMS, UnusableKeyError, public_jwk_of, read_jwk, thumbprint_of
from jwtgate.core.possession.errors import InvalidProof, NonceNeeded
from jwtgate.core.possession.target_uri import normal_uri
from jwtgate.core.tokens.parsing import parse_proof
from jwtgate.errors import MalformedToken

if TYPE_CHECKING:
    from jwtgate.claims import Claims
    from jwtgate.core.keys.material import PublicKey
    from jwtgate.core.possession.nonces import Nonces
    from jwtgate.core.tokens.parsing import ParsedToken

__all__ = ["AHEAD_SECONDS", "Expected", "Proof", "ProofRules", "verified_proof"]

AHEAD_SECONDS = 5.0
"""How far a client's clock may be ahead. Not more: after lost history no proof is taken that can have been shown before it."""

MAX_PROOF_BYTES = 8192
"""With an RSA key of 4096 bits one has 2.4 kB."""

MAX_JTI_CHARACTERS = 1024
"""A UUID has 36. It is hashed before it goes anywhere."""

PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""RFC 7518 §6.2.2, §6.3.2, §6.4.1, RFC 8037 §2: whoever shows one has no key any more."""


@dataclass(frozen=True, slots=True)
class ProofRules:
    """What the operator decided; see the settings of the same names.

    Attributes:
        algorithms: the allow-list, asymmetric ones only.
        window_seconds: how old a proof may be.
        nonces: None: none is asked for.
    """

    algorithms: tuple[str, ...]
    window_seconds: float
    nonces: Nonces | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What a proof must be for.

    Attributes:
        method: of the request; see the module for WebSockets.
        uri: in normal form.
        token: that is shown with it.
        thumbprint: of the key that the token is bound to.
        now: NumericDate.
    """

    method: str
    uri: str
    token: bytes
    thumbprint: str
    now: float


@dataclass(frozen=True, slots=True)
class Proof:
    """One that was verified in all but its being shown once.

    Attributes:
        name: stands for it among all that are remembered.
        made_at: ``iat``.
    """

    name: bytes
    made_at: float


def verified_proof(lines: list[bytes], expected: Expected, rules: ProofRules) -> Proof:
    """Checks 1 to 12.

    Args: lines: the values of all ``DPoP`` header fields.
    Raises: InvalidProof. NonceNeeded: all is well but the nonce.
    """
    if len(lines) != 1:
        raise InvalidProof("not exactly one DPoP header field")  # 1
    try:
        parsed = parse_proof(lines[0].strip(b" \t"), MAX_PROOF_BYTES)  # 2, 3
    except MalformedToken as error:
        raise InvalidProof(f"not well formed: {error}") from None
    _check_header(parsed.header, rules)
    _check_claims(parsed.claims, expected, rules)
    key = _key_of(parsed.header)
    members = public_jwk_of(key)
    if any(parsed.header["jwk"].get(name) != value for name, value in members.items()):
        raise InvalidProof("jwk spells its key in another way than RFC 7518 does")  # or its thumbprint would be in doubt
    thumbprint = thumbprint_of(members)
    if not hmac.compare_digest(thumbprint, expected.thumbprint):
        raise InvalidProof("its key is not the token's")  # 12
    _verify_signature(parsed, key)
    if rules.nonces is not None and not rules.nonces.accepts(parsed.claims.get("nonce")):
        raise NonceNeeded("no nonce of ours, or one that is over")  # 10
    name = sha256(f"{thumbprint} {parsed.claims['jti']}".encode()).digest()
    return Proof(name, parsed.claims["iat"])


def _check_header(header: Claims, rules: ProofRules) -> None:
    if header.get("typ") != "dpop+jwt":
        raise InvalidProof("typ is not dpop+jwt")  # 4
    if header["alg"] not in rules.algorithms:
        raise InvalidProof("alg is none of JWTGATE_DPOP_ALGORITHMS")  # 5
    if not PRIVATE_MEMBERS.isdisjoint(header["jwk"]):
        raise InvalidProof("jwk holds a private or a symmetric key")  # 7


def _check_claims(claims: Claims, expected: Expected, rules: ProofRules) -> None:
    texts = [claims.get(name) for name in ("jti", "htm", "htu", "ath")]
    if not all(type(text) is str for text in texts) or "iat" not in claims:
        raise InvalidProof("jti, htm, htu, ath or iat is missing or of a wrong type")  # 3
    jti, method, uri, token_hash = map(str, texts)
    if len(jti) > MAX_JTI_CHARACTERS:
        raise InvalidProof("jti is too long")
    if method != expected.method:
        raise InvalidProof("htm is not the method")  # 8
    if normal_uri(uri) != expected.uri:
        raise InvalidProof("htu is not the request's URI under JWTGATE_PUBLIC_URL")  # 9
    if not expected.now - rules.window_seconds <= claims["iat"] <= expected.now + AHEAD_SECONDS:
        raise InvalidProof("iat is not within JWTGATE_DPOP_WINDOW")  # 11
    if claims.get("exp", inf) <= expected.now or claims.get("nbf", 0) > expected.now + AHEAD_SECONDS:
        raise InvalidProof("its own exp or nbf does not let it pass now")  # RFC 7519 §4.1.4, §4.1.5
    wanted = urlsafe_b64encode(sha256(expected.token).digest()).rstrip(b"=")
    if not hmac.compare_digest(token_hash.encode(), wanted):
        raise InvalidProof("ath is not the hash of the token")  # 12


def _key_of(header: Claims) -> PublicKey:
    try:
        material = read_jwk(dict(header["jwk"]))
    except UnusableKeyError as error:
        raise InvalidProof(f"jwk cannot be used: {error}") from None
    if isinstance(material.key, bytes) or header["alg"] not in material.fitting:
        raise InvalidProof("jwk does not fit alg")  # 5
    return material.key


def _verify_signature(parsed: ParsedToken, key: PublicKey) -> None:
    if not ALGORITHMS[parsed.header["alg"]].verify(parsed.signing_input, key, parsed.signature):
        raise InvalidProof("the signature does not verify")  # 6
