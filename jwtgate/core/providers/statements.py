"""What a provider tells us, signed, in a JWT that is no access token: logout tokens and security event tokens.

OpenID Connect Back-Channel Logout §2.4 and §2.6; RFC 8417 §2.2, RFC 8725 §3.11, Shared Signals Framework §4. One parse, one
choice of issuer and key, one verification, as for access tokens; what follows is of their own kind, and nothing here can
admit anybody. Cheap refusals come first, then the signature; nothing is looked up for what has not passed both.

A statement is for us if ``aud`` holds one of *our* names at that provider: never one of ``AUDIENCE``, which access tokens have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jwtgate.claims import Claims
from jwtgate.core.rulings import MARGIN_SECONDS, MAX_SKEW_SECONDS
from jwtgate.core.tokens.parsing import parse
from jwtgate.core.tokens.types import media_type_of
from jwtgate.core.tokens.verification import select, verify_signature
from jwtgate.errors import Expired, InvalidToken, MalformedToken, NotYetValid, WrongAudience, WrongIssuer, WrongType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.core.keys.ring import Key
    from jwtgate.core.tokens.parsing import ParsedToken
    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = ["BACKCHANNEL_LOGOUT", "NoAudience", "Statement", "event_token", "logout_token"]

BACKCHANNEL_LOGOUT = "http://schemas.openid.net/event/backchannel-logout"

LOGOUT_TYPES = frozenset({"logout+jwt", "jwt"})
"""§2.4: ``logout+jwt`` since the last draft; before it ``JWT``, or none."""

LOGOUT_AGE_SECONDS = 120.0
"""Of a logout token without ``exp``, as some providers still make them: §2.4 advises two minutes for one that has it."""

EVENT_AGE_SECONDS = 86400.0
"""Security event tokens have no end (Shared Signals Framework §4.1.7), and are told again until they are acknowledged."""

MAX_EVENTS = 16
"""Of one token. Each may have a subject of its own."""

ID_TOKEN_CLAIMS = frozenset({"nonce", "at_hash", "c_hash"})
"""§2.4: ``nonce`` is prohibited, so that no ID token can pass; the hashes stand in nothing else either."""


class NoAudience(WrongAudience):
    """Nobody has configured what this provider calls us."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a configured issuer has said: genuine, of its kind, for us, and not too old.

    Attributes:
        claims: with ``iss``, ``iat``, ``jti``, ``events``.
        policy: of the issuer.
        key: that verified it.
        kind: ``logout`` or ``events``.
        until: NumericDate after which it would be refused: for so long it is remembered.
    """

    claims: Claims = field(repr=False)
    policy: IssuerPolicy
    key: Key
    kind: str
    until: float

    @property
    def issued_at(self) -> float:
        """``iat``."""
        return float(self.claims["iat"])

    @property
    def events(self) -> Claims:
        """Event identifiers to payloads."""
        events: Claims = self.claims["events"]
        return events


def logout_token(token: bytes, policies: Mapping[str | None, IssuerPolicy], max_bytes: int, now: float) -> Statement:
    """A logout token that is genuine and for us (OpenID Connect Back-Channel Logout §2.6, steps 2 to 7).

    Args: token: as posted. policies: by exact ``iss``. max_bytes: longer is refused unread. now: NumericDate.
    Raises: InvalidToken and its kin; KeysUnavailable. Encrypted ones are malformed: nobody has a key for them here.
    """
    parsed, policy, key = _chosen(token, policies, max_bytes)
    claims = parsed.claims
    typ = parsed.header.get("typ")
    if typ is not None and media_type_of(typ) not in LOGOUT_TYPES:
        raise WrongType("typ is of another kind of token than a logout token")
    if not ID_TOKEN_CLAIMS.isdisjoint(claims):
        raise WrongType("a claim of ID tokens: nonce, at_hash or c_hash")
    if not isinstance(_events(claims).get(BACKCHANNEL_LOGOUT), Claims):
        raise MalformedToken("events holds no back-channel logout")
    if claims.get("sub") is None and claims.get("sid") is None:
        raise MalformedToken("neither sub nor sid")
    _check_audience(claims, policy.logout_audience, "LOGOUT_AUDIENCE")
    verify_signature(parsed, key)
    return Statement(claims, policy, key, "logout", _checked_times(claims, policy, now, LOGOUT_AGE_SECONDS))


def event_token(token: bytes, policies: Mapping[str | None, IssuerPolicy], max_bytes: int, now: float) -> Statement:
    """A security event token that is genuine and for us (RFC 8417 §2.2, Shared Signals Framework §4.1).

    Args: as ``logout_token``.
    Raises: InvalidToken and its kin; KeysUnavailable.
    """
    parsed, policy, key = _chosen(token, policies, max_bytes)
    claims = parsed.claims
    if media_type_of(parsed.header.get("typ") or "") != "secevent+jwt":
        raise WrongType("typ is not secevent+jwt")
    if "exp" in claims or "sub" in claims:
        raise WrongType("exp or sub, which no security event token has")
    events = _events(claims)
    if not 0 < len(events) <= MAX_EVENTS:
        raise MalformedToken(f"events holds none, or more than {MAX_EVENTS}")
    if not all(isinstance(payload, Claims) for payload in events.values()):
        raise MalformedToken("an event is no object")
    _check_audience(claims, policy.events_audience, "EVENTS_AUDIENCE")
    verify_signature(parsed, key)
    return Statement(claims, policy, key, "events", _checked_times(claims, policy, now, EVENT_AGE_SECONDS))


def _chosen(token: bytes, policies: Mapping[str | None, IssuerPolicy], max_bytes: int) -> tuple[ParsedToken, IssuerPolicy, Key]:
    """The parts, the issuer by its exact name, and the one key that it may be signed with."""
    parsed = parse(token, max_bytes)
    policy, key = select(parsed, policies)
    if policy.issuer is None or "iss" not in parsed.claims:
        raise WrongIssuer("iss is not a configured issuer")
    for name in ("iat", "jti"):
        if name not in parsed.claims:
            raise MalformedToken(f"{name} is missing")
    return parsed, policy, key


def _events(claims: Claims) -> Claims:
    found: Any = claims.get("events")
    if not isinstance(found, Claims):
        raise MalformedToken("events is no object")
    events: Claims = found
    return events


def _check_audience(claims: Claims, wanted: tuple[str, ...] | None, variable: str) -> None:
    if wanted is None:
        raise NoAudience(f"nobody can be told: JWTGATE_{variable} (in JWTGATE_ISSUERS {variable.lower()}) is not set")
    found: Any = claims.get("aud") or ()
    named = (found,) if isinstance(found, str) else tuple(found)
    if not any(each in named for each in wanted):
        raise WrongAudience(f"aud holds none of JWTGATE_{variable}")


def _checked_times(claims: Claims, policy: IssuerPolicy, now: float, most_age_seconds: float) -> float:
    """Until when the statement may be taken, and how long it must be remembered.

    Where there is no ``exp`` the age is bounded. A minute is forgiven to the provider's clock: what it says counts from our
    own time at the latest, so an early one does no harm, while one that is refused is not told again.

    Raises: Expired. NotYetValid. InvalidToken: it could be told again for longer than anything is remembered.
    """
    leeway, iat, exp = policy.leeway_seconds, claims["iat"], claims.get("exp")
    forgiven = max(leeway, MAX_SKEW_SECONDS)
    if max(iat, claims.get("nbf", 0)) > now + forgiven:
        raise NotYetValid("iat or nbf is in the future")
    ends_at = iat + most_age_seconds + forgiven if exp is None else int(exp) + leeway
    if ends_at <= now:
        raise Expired("it is past its exp, or too old")
    if ends_at > now + policy.max_ttl_seconds + most_age_seconds + forgiven:
        raise InvalidToken("it lives longer than JWTGATE_MAX_TTL")
    return float(ends_at + MARGIN_SECONDS)
