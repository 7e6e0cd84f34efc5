"""Whether a parsed token is genuine and meets its issuer's policy, and what follows from it.

RFC 7519 §4.1, RFC 8725, RFC 9068 §4. Called in this order: ``screen`` (free, before any store call), then
``verify_signature``, then ``check_claims``. Whatever passes all three, ``jwt.decode`` admits under the same settings;
the one exception is an ``iat`` in the future under a valid stamp. The clock is an argument. Rulings are not consulted
here.
"""

from __future__ import annotations

import re
from hashlib import sha256
from types import NoneType
from typing import TYPE_CHECKING, Any

from jwtgate.core.handles import DIGEST_BYTES
from jwtgate.core.partitioning import NOT_SPREAD, SELECTOR_BYTES, SPREAD_KINDS
from jwtgate.core.providers.upstream import begun_at
from jwtgate.core.rulings import Issued
from jwtgate.core.tokens.policy import ANY_AUDIENCE, spelt_otherwise
from jwtgate.core.tokens.types import check_type
from jwtgate.errors import BadSignature, Expired, InvalidToken, MalformedToken, NotYetValid, WrongAudience, WrongIssuer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.claims import Claims
    from jwtgate.core.keys.ring import Key
    from jwtgate.core.tokens.parsing import ParsedToken
    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = [
    "check_claims",
    "claim_handles",
    "expires_from",
    "handles_of",
    "issued_of",
    "read_stamp",
    "screen",
    "select",
    "stamp_of",
    "verify_signature",
]

MAX_ELEMENTS = 16
"""Values of one configured handle claim: each is one more key of the look-up."""

_STAMP = re.compile(r"([A-Za-z0-9_-]{11}):(0|[1-9][0-9]{0,13})")
"""``jgp``. Positions stay below 10**14: the store's scripts compute in doubles and print 14 digits."""

_BUILT_IN_CLAIMS = ("sid", "sub", "client_id")


def select(parsed: ParsedToken, policies: Mapping[str | None, IssuerPolicy]) -> tuple[IssuerPolicy, Key]:
    """The configured issuer and the one key that a token claims to be from.

    Args:
        parsed: nothing in it is trusted yet.
        policies: by exact ``iss``; under None the policy for any.

    Raises:
        WrongIssuer: RFC 7519 §4.1.1, RFC 8725 §3.8: not a configured issuer.
        UnknownKey: RFC 8725 §3.1: no key of that issuer fits alg and kid.
    """
    policy = policies.get(parsed.claims.get("iss")) or policies.get(None) or spelt_otherwise(parsed.claims.get("iss"), policies)
    if policy is None:
        raise WrongIssuer("iss is not a configured issuer: JWTGATE_ISSUER counts to the last slash")
    header = parsed.header
    key = policy.keys.candidates(header["alg"], header.get("kid"))
    return policy, key if key.deriving is None else key.of_subject(parsed.claims)


def screen(parsed: ParsedToken, policies: Mapping[str | None, IssuerPolicy], now: float) -> tuple[IssuerPolicy, Key]:
    """Refuse all that can be refused without a store and without cryptography.

    Args:
        parsed: nothing in it is trusted yet, so this may refuse and never admit.
        policies: by exact ``iss``; under None the policy for any.
        now: NumericDate, seconds.

    Returns:
        The policy and the key to go on with.

    Raises:
        WrongIssuer: not a configured issuer.
        UnknownKey: no key of that issuer fits alg and kid.
        Expired: RFC 7519 §4.1.4.
        WrongType: RFC 8725 §3.11: not an access token.
        MalformedToken: the version claim is no integer, or a mapped claim of another type than what it stands for.
    """
    policy, key = select(parsed, policies)
    ends_at = expires_from(parsed.claims, policy)
    if ends_at is not None and ends_at <= now:
        raise Expired("exp is past")
    if policy.profile is None:
        check_type(parsed.header, parsed.claims, policy.typ)
    else:
        policy.profile.check(parsed, policy.typ)
    if policy.version_claim is not None and type(parsed.claims.get(policy.version_claim)) not in (int, NoneType):
        raise MalformedToken("the claim of JWTGATE_VERSION_CLAIM is not an integer")
    return policy, key


def verify_signature(parsed: ParsedToken, key: Key) -> None:
    """RFC 7515 §5.2, over the very bytes that were parsed.

    Raises:
        BadSignature: it is not the key's.
    """
    if not key.verify(parsed.signing_input, parsed.signature):
        raise BadSignature("the signature does not verify")


def expires_from(claims: Claims, policy: IssuerPolicy) -> float | None:
    """The NumericDate from which on a token is expired, leeway included; None: it has neither exp nor iat.

    RFC 7519 §4.1.4: now must be before exp. A fraction is cut off, as PyJWT does: never later than anybody else. Where
    ``REQUIRE`` allows a token without exp it ends MAX_TTL after its iat: rulings on it are not remembered longer.
    """
    exp = claims.get("exp")
    if exp is not None:
        return int(exp) + policy.leeway_seconds
    iat = claims.get("iat")
    return None if iat is None else int(iat) + policy.max_ttl_seconds + policy.leeway_seconds


def check_claims(parsed: ParsedToken, policy: IssuerPolicy, now: float, key: Key) -> None:
    """The claims of a genuine token against its issuer's policy.

    Args:
        parsed: its signature has been verified.
        policy: of its issuer.
        now: NumericDate, seconds.
        key: that verified it: under a stamp of ours no clock takes part, and a future iat is no fault.

    Raises:
        MalformedToken: a required claim is missing, or both exp and iat.
        Expired: RFC 7519 §4.1.4.
        NotYetValid: RFC 7519 §4.1.5, and §4.1.6 for an iat in the future.
        InvalidToken: it expires further ahead than JWTGATE_MAX_TTL.
        WrongAudience: RFC 7519 §4.1.3, RFC 8725 §3.9.
    """
    claims = parsed.claims
    for name in policy.require:
        if claims.get(name) is None:
            raise MalformedToken(f"{name} is missing, which JWTGATE_REQUIRE or the preset wants")
    latest = now + policy.leeway_seconds
    ends_at = expires_from(claims, policy)
    if ends_at is None:
        raise MalformedToken("neither exp nor iat: no ruling on it could ever be forgotten")
    if ends_at <= now:
        raise Expired("exp is past")
    exp, iat = claims.get("exp", 0), claims.get("iat")
    if exp > latest + policy.max_ttl_seconds or (
        iat is not None and exp - iat > policy.max_ttl_seconds + policy.leeway_seconds
    ):
        raise InvalidToken("it lives longer than JWTGATE_MAX_TTL, and so longer than rulings on it are remembered")
    if claims.get("nbf", 0) > latest:
        raise NotYetValid("nbf is in the future, by more than JWTGATE_LEEWAY")
    if claims.get("iat", 0) > latest and stamp_of(parsed, key) is None:
        raise NotYetValid("iat is in the future, by more than JWTGATE_LEEWAY")
    audience = claims.get("aud")
    if audience is None and policy.profile is not None:
        audience = policy.profile.audience_of(claims)
    _check_audience(audience, policy.audience)


def _check_audience(found: str | list[str] | None, wanted: tuple[str, ...] | None) -> None:
    if wanted == ANY_AUDIENCE:
        return
    if wanted is None:
        if found is not None:
            raise WrongAudience("the token has aud, and JWTGATE_AUDIENCE is not set")
        return
    named = (found,) if isinstance(found, str) else found or ()
    if not any(each in named for each in wanted):
        raise WrongAudience("aud holds none of JWTGATE_AUDIENCE")


def stamp_of(parsed: ParsedToken, key: Key) -> tuple[str, int] | None:
    """Epoch and log position at which a token of ours was issued, from ``jgp``; None where it cannot be believed.

    Anyone else's key could claim any position, so only our own is believed, and only once the signature has verified.
    """
    return read_stamp(parsed.claims.get("jgp")) if key.is_own else None


def read_stamp(stamp: object) -> tuple[str, int] | None:
    """Epoch and position; None where it is no stamp."""
    match = _STAMP.fullmatch(stamp) if isinstance(stamp, str) else None
    return None if match is None else (match[1], int(match[2]))


def issued_of(parsed: ParsedToken, key: Key, policy: IssuerPolicy) -> Issued:
    """When a token was issued, for rulings to compare with. A version that is no integer counts as none."""
    claims = parsed.claims
    version = claims.get(policy.version_claim) if policy.version_claim is not None else None
    began_at = begun_at(claims) if key.is_own else None
    return Issued(stamp_of(parsed, key), claims.get("iat"), version if type(version) is int else None, began_at)


def handles_of(parsed: ParsedToken, policy: IssuerPolicy) -> tuple[bytes, ...]:
    """The digests of every handle by which a ruling may name this token; exactly those of ``digest_of``.

    The jti, or what stands in for it: the digest of the signing input, since one payload can carry two signatures.

    Raises:
        MalformedToken: a configured claim that is no string, integer or list of up to 16 of those; a mapped claim that is
            no string.
    """
    profile = policy.profile
    claims: Mapping[str, Any] = parsed.claims if profile is None else profile.named(parsed.claims)
    prefixes = policy.prefixes
    jti = claims.get("jti")
    if jti is None:
        handles = [_digest(prefixes, "signing_input", sha256(parsed.signing_input).hexdigest())]
    else:
        handles = [_digest(prefixes, "jti", jti)]
    handles += claim_handles(claims, policy)
    return tuple(dict.fromkeys(handles) if policy.handle_claims else handles)  # a list may name a value twice


def claim_handles(claims: Mapping[str, Any], policy: IssuerPolicy) -> list[bytes]:
    """Those of a Claims Set but the token's own: of its session, subject and client, of everything, of configured claims.

    Raises: MalformedToken: as ``handles_of``.
    """
    prefixes = policy.prefixes
    handles = [_digest(prefixes, kind, claims[kind]) for kind in _BUILT_IN_CLAIMS if claims.get(kind) is not None]
    handles.append(policy.everything)
    if policy.marks_sessionless and claims.get("sid") is None and claims.get("sub") is not None:
        handles.append(_digest(prefixes, "sub_without_sid", claims["sub"]))
    for kind in policy.handle_claims:
        value = claims.get(kind)
        if value is not None:
            handles += [_digest(prefixes, kind, each) for each in _values_of(value)]
    return handles


def _digest(prefixes: Mapping[str, bytes], kind: str, value: str) -> bytes:
    """The same as ``handles.digest_of``, from what the policy knows."""
    part = value.encode()
    hashed = sha256(b"%b%d:%b," % (prefixes[kind], len(part), part)).digest()
    start = sha256(part).digest()[:SELECTOR_BYTES] if kind in SPREAD_KINDS else NOT_SPREAD
    return start + hashed[: DIGEST_BYTES - SELECTOR_BYTES]


def _values_of(value: object) -> list[str]:
    values: list[Any] = value if isinstance(value, list) else [value]  # pyright: ignore[reportUnknownVariableType] - of JSON
    if len(values) > MAX_ELEMENTS:
        raise MalformedToken(f"a claim of JWTGATE_HANDLES holds more than {MAX_ELEMENTS} values")
    if not all(type(each) is str or type(each) is int for each in values):
        raise MalformedToken("a claim of JWTGATE_HANDLES is not a string, an integer or a list of those")
    return [str(each) for each in values]
