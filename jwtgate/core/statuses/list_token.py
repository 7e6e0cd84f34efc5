"""Whether what came from a list's address is that list: a Status List Token (draft-ietf-oauth-status-list §5.1 and §8.3).

It is signed by the issuer of the tokens that it speaks of, with one of the very keys that verify those. ``sub`` is its
address, so that one list never stands in for another. ``ttl`` says when to ask again, ``exp`` until when it may be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jwtgate.core.judgement import is_dead
from jwtgate.core.rulings import MAX_SKEW_SECONDS, Issued
from jwtgate.core.statuses.held import FetchedList
from jwtgate.core.statuses.status_list import StatusList, UnreadableList
from jwtgate.core.tokens.parsing import parse
from jwtgate.core.tokens.policy import ANY_AUDIENCE
from jwtgate.core.tokens.types import STATUS_LIST_TYPE, media_type_of
from jwtgate.errors import InvalidToken, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = ["LIMIT_BYTES", "read_list_token"]

LIMIT_BYTES = 4 * 1024 * 1024
"""Of a Status List Token: the largest list that is read, if it cannot be compressed, in base64url twice."""


def read_list_token(
    text: bytes, uri: str, policy: IssuerPolicy, now: float, ruled: Callable[[bytes], bytes | None] = lambda _: None
) -> FetchedList:
    """Everything of §8.3 but the entry itself.

    Args:
        text: as it came.
        uri: from where.
        policy: of the issuer of the tokens that name it.
        now: NumericDate.
        ruled: the ruling that is known on a handle: a key that was retired vouches for nothing.

    Raises: UnreadableList: it says no more than which rule was broken.
    """
    try:
        parsed = parse(text, LIMIT_BYTES)
        header, claims = parsed.header, parsed.claims
        if media_type_of(header.get("typ", "")) != STATUS_LIST_TYPE:
            raise UnreadableList("its typ is not statuslist+jwt")
        key = policy.keys.candidates(header["alg"], header.get("kid"))
        if key.deriving is not None:
            raise UnreadableList("its key signs nothing itself (JWTGATE_DERIVED_KEYS)")
        if not key.verify(parsed.signing_input, parsed.signature):
            raise UnreadableList("its signature does not verify")
        if is_dead(policy, Issued(None, claims.get("iat")), (ruled(key.handle),), ""):
            raise UnreadableList("its key is retired")
    except (InvalidToken, UnavailableError) as error:
        raise UnreadableList(f"it is none of the issuer's: {error}") from None
    _check_claims(claims, uri, policy, now)
    exp = claims.get("exp")
    ttl = claims.get("ttl")
    ends_at = None if exp is None else int(exp) + policy.leeway_seconds
    return FetchedList(StatusList.decode(claims.get("status_list")), claims["iat"], ttl, ends_at)


def _check_claims(claims: Mapping[str, Any], uri: str, policy: IssuerPolicy, now: float) -> None:
    """RFC 7519 §4.1; the clock of the publisher may be off by as much as those of our own processes."""
    if claims.get("sub") != uri:
        raise UnreadableList("its sub is not its address")
    spellings = (policy.issuer, *(() if policy.profile is None else policy.profile.spellings))
    if policy.issuer is not None and claims.get("iss", policy.issuer) not in spellings:
        raise UnreadableList("its iss is another issuer")
    audience = claims.get("aud")
    named = (audience,) if isinstance(audience, str) else audience or ()
    if named and policy.audience != ANY_AUDIENCE and not any(each in named for each in policy.audience or ()):
        raise UnreadableList("it is for another audience")
    if claims.get("iat") is None:
        raise UnreadableList("it has no iat")
    skew = max(policy.leeway_seconds, MAX_SKEW_SECONDS)
    if claims["iat"] > now + skew or claims.get("nbf", 0) > now + skew:
        raise UnreadableList("it is of the future")
    exp, ttl = claims.get("exp"), claims.get("ttl")
    if exp is not None and int(exp) + policy.leeway_seconds <= now:
        raise UnreadableList("its exp is past")
    if ttl is not None and (isinstance(ttl, bool) or not isinstance(ttl, int | float) or ttl <= 0):
        raise UnreadableList("its ttl is no positive number")
