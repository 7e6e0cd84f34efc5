"""How the tokens of one issuer differ from what RFC 7519 and RFC 9068 would have them be: data, and how they are read by it.

An issuer without a profile is read as ever, and pays nothing for the others. Invariants: a profile only ever refuses more,
but for what it is there for: an ID token's own marks where ID tokens are admitted, a client in the place of a missing ``aud``,
a second spelling of ``iss``. What it maps has its type, and is bounded, or the token is malformed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jwtgate.claims import Claims, ClaimsList
from jwtgate.core.tokens.types import check_id_token, check_type, media_type_of
from jwtgate.errors import MalformedToken, WrongType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.core.tokens.parsing import ParsedToken

__all__ = ["MAPPED_NAMES", "Place", "Profile"]

Place = tuple[str, ...]
"""The name of a claim; or the names on the way to one that stands inside others, outermost first. Never split."""

MAPPED_NAMES = ("jti", "sid", "client_id")
"""Kinds of handle whose value another claim may hold. ``sub`` is not among them: a subject is what ``sub`` says."""

MAX_SCOPES = 1024
"""In all places together; ``core.tokens.parsing`` bounds lists to about as many values, and no text."""

NO_SCOPE = frozenset({""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the tokens of one issuer are like.

    Attributes:
        scopes: where scopes stand, all of which count; empty: ``scope`` or ``scp``, as ever.
        names: kind of handle to the places of its value, of which the first that a token has counts.
        audience_claim: compared with the audience where a token has no ``aud``, or None.
        values: claims that must have one of a few values.
        one_of: of each of these lists of claims a token must have one.
        types: media types that a header's ``typ`` may be, ``""`` standing for none; None: ``typ`` decides alone.
        foreign_header: header members that no token for us has.
        admits: access tokens, or ID tokens; or none, of an issuer that only tells of events.
        spellings: of ``iss`` beside the issuer itself.
    """

    scopes: tuple[Place, ...] = ()
    names: tuple[tuple[str, tuple[Place, ...]], ...] = ()
    audience_claim: str | None = None
    values: tuple[tuple[str, tuple[str | int | bool, ...]], ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()
    types: frozenset[str] | None = None
    foreign_header: frozenset[str] = frozenset()
    admits: Literal["access", "id", "none"] = "access"
    spellings: frozenset[str] = frozenset()

    def check(self, parsed: ParsedToken, typ: str | None) -> None:
        """Refuse what is no token of this issuer for us, before anything costs anything.

        Args: parsed: nothing in it is trusted yet. typ: as for ``check_type``.
        Raises: WrongType: RFC 8725 §3.11. MalformedToken: what is mapped has another type.
        """
        header, claims = parsed.header, parsed.claims
        if self.admits == "none":
            raise WrongType("no token of this issuer is admitted: it tells of events alone")
        if not self.foreign_header.isdisjoint(header):
            raise WrongType("a member of the header is only in tokens of this issuer for another API")
        if self.types is not None and media_type_of(header.get("typ", "")) not in self.types:
            raise WrongType("typ is none that the issuer's tokens of this kind have")
        (check_id_token if self.admits == "id" else check_type)(header, claims, typ)
        for name, allowed in self.values:
            if not _is_one_of(claims.get(name), allowed):
                raise WrongType(f"{name} does not say what it must say")
        for names in self.one_of:
            if all(claims.get(name) is None for name in names):
                raise WrongType(f"has none of {', '.join(names)}, which the issuer's tokens of this kind have")
        if self.scopes:
            self.scopes_of(claims)

    def named(self, claims: Claims) -> Mapping[str, Any]:
        """The claims, with those that are mapped under their registered names. Raises: MalformedToken."""
        if not self.names:
            return claims
        read: dict[str, Any] = dict(claims)
        for kind, places in self.names:
            read[kind] = next((value for place in places if (value := _text_at(claims, place)) is not None), None)
        return read

    def audience_of(self, claims: Claims) -> str | None:
        """What stands for ``aud`` in a token that has none."""
        found = None if self.audience_claim is None else claims.get(self.audience_claim)
        return found if type(found) is str else None

    def scopes_of(self, claims: Claims) -> frozenset[str]:
        """Those of all places. Only where ``scopes`` names some. Raises: MalformedToken."""
        found: frozenset[str] = frozenset()
        for place in self.scopes:
            found |= _scopes_at(claims, place)
        if len(found) > MAX_SCOPES:
            raise MalformedToken(f"more than {MAX_SCOPES} scopes")
        return found - NO_SCOPE


def _is_one_of(value: object, allowed: tuple[str | int | bool, ...]) -> bool:
    """Of the same type, too: 1 is not True, and no list is any of its elements."""
    return any(type(value) is type(each) and value == each for each in allowed)


_ABSENT = object()


def _at(claims: Claims, place: Place) -> object:
    """What stands there. Raises: MalformedToken: something on the way is no object."""
    found: object = claims
    for name in place:
        if not isinstance(found, Claims):
            raise MalformedToken("a claim that others are mapped from is no object")
        if name not in found:
            return _ABSENT
        found = found[name]
    return found


def _text_at(claims: Claims, place: Place) -> str | None:
    found = _at(claims, place)
    if found is _ABSENT:
        return None
    if type(found) is not str or not found:
        raise MalformedToken("a mapped claim is not a non-empty string")
    return found


def _scopes_at(claims: Claims, place: Place) -> frozenset[str]:
    """RFC 6749 §3.3: a text is separated by spaces. An element of a list, a role's name say, is one scope as it stands."""
    found = _at(claims, place)
    if found is _ABSENT:
        return frozenset()
    if isinstance(found, str):
        return frozenset(found.split(" "))
    if isinstance(found, ClaimsList) and all(type(each) is str for each in found):
        return frozenset(found)
    raise MalformedToken("a claim that scopes are mapped from is not a string or a list of strings")
