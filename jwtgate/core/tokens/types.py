"""Whether a JWT is an access token at all (RFC 8725 §3.11 and §3.12, RFC 9068 §2.1).

Refresh, id, logout and proof tokens are signed by the same issuers with the same keys. Where no ``TYP`` is configured
they are told by the marks that their issuers put on them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jwtgate.claims import ClaimsList
from jwtgate.errors import WrongType

if TYPE_CHECKING:
    from jwtgate.claims import Claims

__all__ = ["STATUS_LIST_TYPE", "check_id_token", "check_type", "media_type_of"]

STATUS_LIST_TYPE = "statuslist+jwt"
"""draft-ietf-oauth-status-list §5.1. Anybody may fetch one, it has a subject, and the keys of access tokens sign it."""

OTHER_TYPES = frozenset({"logout+jwt", "dpop+jwt", "secevent+jwt", "refresh+jwt", STATUS_LIST_TYPE})
"""OpenID Connect Back-Channel Logout §2.4, RFC 9449 §4.2, RFC 8417 §2.3, and what issuers of JWT refresh tokens use."""

OTHER_CLAIMS = frozenset({"events", "at_hash", "c_hash", "status_list"})
"""``events`` makes a security event or logout token (RFC 8417 §2.2), the hashes an id token (OpenID Connect Core
§3.3.2.11), ``status_list`` a list of the status of others."""

ACCESS_TOKEN_CLAIMS = frozenset({"scope", "scp", "client_id"})
"""RFC 9068 §2.2: whom a token lets do what; an ID token lets nobody do anything."""

TYPE_CLAIMS = ("type", "token_type", "token_use", "typ")
"""Where issuers say it instead: Keycloak typ, Cognito token_use, flask-jwt-extended type, simplejwt token_type."""

ID_TOKEN_HASHES = frozenset({"at_hash", "c_hash"})
"""What an ID token says of the tokens that came with it."""

ID_TOKEN_CLAIMS = ("sub", "aud", "iat")
"""OpenID Connect Core §2 requires them, beside iss and exp."""

_ID_TOKEN_NAMES = frozenset({"id", "idtoken", "idjwt", "tokenid", "oidcidtoken", "openididtoken"})
_COMMON_TYPES = frozenset({"JWT", "at+jwt", "application/at+jwt"})
_NOISE = re.compile(r"[^a-z0-9]")


def media_type_of(typ: str) -> str:
    """RFC 7515 §4.1.9: compared without case, ``application/`` may be left out."""
    return typ.lower().removeprefix("application/")


def check_type(header: Claims, claims: Claims, typ: str | None) -> None:
    """Refuse what is no access token.

    Args:
        header: the JOSE header.
        claims: the JWT Claims Set.
        typ: the only ``typ`` allowed; None: any that no mark says is something else.

    Raises:
        WrongType: RFC 8725 §3.11.
    """
    found = header.get("typ")
    if typ is not None:
        wanted = media_type_of(typ)
        if found is None or media_type_of(found) != wanted:
            raise WrongType("typ is not JWTGATE_TYP")
        if wanted != "jwt":
            return
    elif found is not None and found not in _COMMON_TYPES and _names_other(found):
        raise WrongType("typ is of another kind of token")
    if not OTHER_CLAIMS.isdisjoint(claims):
        raise WrongType("a claim of id, logout, security event or status list tokens: at_hash, c_hash, events or status_list")
    for name in TYPE_CLAIMS:
        if name in claims and _says_other(claims[name]):
            raise WrongType(f"{name} says refresh, id or logout")


def check_id_token(header: Claims, claims: Claims, typ: str | None) -> None:
    """Refuse what is no ID token, where those are what is admitted (OpenID Connect Core §2).

    Args: as for ``check_type``.
    Raises: WrongType: RFC 8725 §3.11.
    """
    found = header.get("typ", "JWT" if typ is None else "")
    if media_type_of(found) != media_type_of(typ or "JWT"):
        raise WrongType("typ is not that of an ID token")
    if any(claims.get(name) is None for name in ID_TOKEN_CLAIMS):
        raise WrongType("an ID token has sub, aud and iat")
    if not ACCESS_TOKEN_CLAIMS.isdisjoint(claims) or not OTHER_CLAIMS.isdisjoint(claims.keys() - ID_TOKEN_HASHES):
        raise WrongType("a claim of access, logout or security event tokens")
    for name in TYPE_CLAIMS:
        if name in claims and not _says_id(claims[name]):
            raise WrongType(f"{name} says that it is no ID token")


def _says_id(value: object) -> bool:
    return isinstance(value, str) and _NOISE.sub("", re.split(r"[:/#]", value.lower())[-1]) in _ID_TOKEN_NAMES


def _names_other(typ: str) -> bool:
    return media_type_of(typ).partition(";")[0].strip() in OTHER_TYPES or _says_other(typ)


def _says_other(value: object) -> bool:
    """Spellings differ: ``refresh``, ``RefreshToken``, ``id_token``, ``ID``, RFC 8693's URNs, lists of those."""
    if isinstance(value, ClaimsList):
        return any(isinstance(each, str) and _says_other(each) for each in value)
    if not isinstance(value, str):
        return False
    said = _NOISE.sub("", re.split(r"[:/#]", value.lower())[-1])
    return "refresh" in said or "logout" in said or said in _ID_TOKEN_NAMES
