"""From a parsed token to the ``Token`` that the application receives, or that one of its checks is shown.

What verified tokens have in common they share: names of claims, sets of scopes. Of a token that has not been verified
nothing is kept. Refuses nothing: that is ``verification``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from jwtgate.claims import claims_of
from jwtgate.messages import Token

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.claims import Claims
    from jwtgate.core.tokens.parsing import ParsedToken
    from jwtgate.core.tokens.profile import Profile
    from jwtgate.messages import Source

__all__ = ["to_token", "to_unverified_token"]

MAX_SHARED_NAMES = 1024
_SHARED: dict[str, str] = {}

_NO_SCOPE = frozenset({""})


def to_token(parsed: ParsedToken, source: Source | None, profile: Profile | None = None) -> Token:
    """What the application receives; call it only once everything has been checked.

    Args:
        parsed: verified.
        source: where the token was found; None from ``Gate.verify``.
        profile: of its issuer.
    """
    claims = parsed.claims
    known = _SHARED.get
    shared = claims_of([(known(name) or _shared(name), value) for name, value in claims.items()])
    return _token(parsed, shared, _scopes_of(claims, profile, _shared_scopes), source, profile)


def to_unverified_token(parsed: ParsedToken, source: Source | None, profile: Profile | None = None) -> Token:
    """What a check is shown before anything has been verified: made for it, and gone with it."""
    return _token(parsed, parsed.claims, _scopes_of(parsed.claims, profile, _scopes), source, profile)


def _token(
    parsed: ParsedToken, claims: Claims, scopes: frozenset[str], source: Source | None, profile: Profile | None
) -> Token:
    get = claims.get
    named = get if profile is None else profile.named(claims).get
    return Token(
        claims=claims,
        header=parsed.header,
        subject=get("sub"),
        issuer=get("iss"),
        token_id=named("jti"),
        session_id=named("sid"),
        scopes=scopes,
        expires_at=get("exp"),
        source=source,
    )


def _scopes_of(claims: Claims, profile: Profile | None, split: Callable[[str], frozenset[str]]) -> frozenset[str]:
    if profile is not None and profile.scopes:
        return profile.scopes_of(claims)
    scope: str | list[str] = claims.get("scope") or claims.get("scp") or ""
    return split(scope) if isinstance(scope, str) else _listed(scope)


def _listed(scopes: list[str]) -> frozenset[str]:
    """Some issuers send a list."""
    return frozenset(scopes) - _NO_SCOPE


def _scopes(scope: str) -> frozenset[str]:
    """RFC 6749 §3.3: separated by spaces, and by nothing else."""
    return frozenset(scope.split(" ")) - _NO_SCOPE


_shared_scopes = lru_cache(maxsize=1024)(_scopes)
"""Kept, since the tokens of one issuer share a few."""


def _shared(name: str) -> str:
    """One text for a claim's name in all admitted tokens."""
    if len(_SHARED) >= MAX_SHARED_NAMES:
        _SHARED.clear()
    return _SHARED.setdefault(name, name)
