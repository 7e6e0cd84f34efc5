"""What the members of an issuer's entry that speak of claims may be: which claim stands for what, which value one must have.

Normal forms are what JSON can carry, so that a checked entry can be checked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jwtgate.settings.allowed import Choice, Shape, Text, Unfit
from jwtgate.settings.vocabulary import CLAIM_NAME

__all__ = ["ADMITS", "AUDIENCE_CLAIM", "MAPPING", "REQUIRE_VALUES", "ClaimMapping", "ClaimValues"]

MOST_PLACES = 16
DEEPEST = 8
MOST_VALUES = 16

NAME = Text("a claim name", CLAIM_NAME)
AUDIENCE_CLAIM = NAME
ADMITS = Choice(("access", "id", "none"))

KINDS = ("scopes", "sid", "jti", "client_id")


@dataclass(frozen=True, slots=True)
class ClaimMapping:
    """Which claims stand for scopes, session, token id and client; for scopes all of the list, else the first that is there.

    A place is a claim's name, or a list of names for one inside others. A name is never split: it may hold dots and slashes.
    """

    shape: Shape = "text"
    allowed: str = (
        f"an object with {', '.join(KINDS)}, each a claim name or a list of places, a place being a claim name or, for a claim "
        'inside others, a list of names: ["scope", ["realm_access", "roles"]]; and version, a claim name'
    )

    def check(self, value: object) -> dict[str, Any]:
        """Each a list of lists of names, version a name."""
        members = _object(value)
        unknown = [name for name in members if name not in (*KINDS, "version")]
        if unknown:
            raise Unfit(f"has {unknown[0][:40]!r}")
        return {name: self._member(name, each) for name, each in members.items()}

    def _member(self, name: str, value: object) -> object:
        try:
            return _name(value) if name == "version" else self._places(value)
        except Unfit as unfit:
            raise Unfit(f"has {name!r}, which {unfit}") from None

    def _places(self, value: object) -> list[list[str]]:
        places = _listed(value)
        if not 0 < len(places) <= MOST_PLACES:
            raise Unfit(f"has a list of places that is empty, or of more than {MOST_PLACES}")
        return [self._place(each) for each in places]

    def _place(self, value: object) -> list[str]:
        names = _listed(value)
        if not 0 < len(names) <= DEEPEST:
            raise Unfit(f"has a place of no name, or of more than {DEEPEST}")
        return [_name(each) for each in names]


@dataclass(frozen=True, slots=True)
class ClaimValues:
    """Claims that must have a value, or one of a few."""

    shape: Shape = "text"
    allowed: str = (
        'an object of claim names, each with a text, an integer, a boolean or a list of those: {"token_use": "access"}'
    )

    def check(self, value: object) -> dict[str, list[str | int | bool]]:
        """Each a list."""
        members = _object(value)
        return {_name(name): self._values(each) for name, each in members.items()}

    @staticmethod
    def _values(value: object) -> list[str | int | bool]:
        values = _listed(value)
        if not 0 < len(values) <= MOST_VALUES or not all(isinstance(each, (str, int)) for each in values):
            raise Unfit("has a value of another kind, or none")
        return [cast("str | int | bool", each) for each in values]


def _listed(value: object) -> Sequence[object]:
    """What stands alone is a list of one."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        return cast("Sequence[object]", value)
    return [value]


def _object(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise Unfit(f"is of type {type(value).__name__}")
    members = cast("Mapping[object, object]", value)
    if not members or not all(isinstance(name, str) for name in members):
        raise Unfit("is empty, or has a name that is no text")
    return cast("Mapping[str, object]", members)


def _name(value: object) -> str:
    try:
        return NAME.check(value)
    except Unfit as unfit:
        raise Unfit(f"has a claim name that {unfit}") from None


MAPPING = ClaimMapping()
REQUIRE_VALUES = ClaimValues()
