"""Keys of our own with their times: which one signs now, which ones verify, and what a rotation makes of them.

All stand in one JWK Set (RFC 7517 §5), each with three NumericDates beside its members:

    iat   it was made and published, and verifies from then on
    nbf   it signs from then on, until a later one does
    exp   it verifies no longer; absent: nobody has said when

    iat ──published── nbf ──signs── the nbf of the next ──its tokens expire── exp

Invariant: at any time at most one signs, the latest that may; whoever has the same set and the same time names the same. A
rotation publishes the next key so long before it signs that every copy of the published set has it, and keeps the one before
until the last token that it can have signed has expired: so nobody is logged out by it.

Reads no file and no clock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, cast

from jwtgate.core.keys.material import UnusableKeyError, read_jwk, read_private_half
from jwtgate.core.rulings import MAX_SKEW_SECONDS
from jwtgate.core.tokens.parsing import LATEST_DATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jwtgate.core.keys.material import Material, PrivateKey

__all__ = [
    "MAX_AGE_SECONDS",
    "PUBLISHED_BEFORE_SECONDS",
    "OwnKey",
    "next_change",
    "read_own_keys",
    "retired",
    "rotated",
    "signing",
    "verifying",
    "write_own_keys",
]

MAX_AGE_SECONDS = 300
"""How long a copy of the published set may be used (RFC 9111 §5.2.2.1)."""

PUBLISHED_BEFORE_SECONDS = 2 * MAX_AGE_SECONDS
"""A key is published so long before it signs: a copy that is made a moment before lives once, and may be fetched late."""

MAX_KEYS = 64


@dataclass(frozen=True, slots=True)
class OwnKey:
    """One key that may sign.

    Attributes:
        kid: its Key ID, unique in the set.
        algorithm: the one that it serves.
        made_at, signs_from: NumericDate.
        verifies_until: NumericDate, or ``math.inf``.
        material: what verifies.
        private: what signs.
        jwk: the member of the set, private parts and all, without its times.
    """

    kid: str
    algorithm: str
    made_at: float
    signs_from: float
    verifies_until: float
    material: Material = field(repr=False, compare=False)
    private: PrivateKey | bytes = field(repr=False, compare=False)
    jwk: dict[str, Any] = field(repr=False, compare=False)


def read_own_keys(text: str) -> tuple[OwnKey, ...]:
    """The keys of a set. A key that cannot be used is a mistake, not to be skipped: the operator's own tools wrote it.

    Raises: UnusableKeyError: with the place of the first one, and what is allowed.
    """
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    members = cast("dict[str, Any]", document).get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or not 0 < len(cast("list[object]", members)) <= MAX_KEYS:
        raise UnusableKeyError(f"must be a JWK Set, a JSON object with an array keys of 1 to {MAX_KEYS} private keys")
    keys = tuple(_read(index, member) for index, member in enumerate(cast("list[object]", members)))
    kids = [key.kid for key in keys]
    if len(set(kids)) < len(kids):
        raise UnusableKeyError("names a kid twice; each key has one of its own")
    return keys


def _read(index: int, member: object) -> OwnKey:
    try:
        material = read_jwk(member)
        members = dict(cast("dict[str, Any]", member))
        private = read_private_half(members)
        if material.kid is None:
            raise UnusableKeyError("has no kid")
        if any("\ud800" <= each <= "\udfff" for each in material.kid):  # no header could carry it
            raise UnusableKeyError("has a kid that is no Unicode text")
        made_at, signs_from = _date(members, "iat", 0.0), _date(members, "nbf", 0.0)
        key = OwnKey(
            material.kid,
            material.fitting[0],
            made_at,
            signs_from,
            _date(members, "exp", inf),
            material,
            private,
            {name: value for name, value in members.items() if name not in ("iat", "nbf", "exp")},
        )
    except UnusableKeyError as unusable:
        raise UnusableKeyError(f"keys[{index}] {unusable}") from None
    return key


def _date(members: dict[str, Any], name: str, default: float) -> float:
    if name not in members:
        return default
    value = members[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LATEST_DATE:
        raise UnusableKeyError(f"{name} must be a NumericDate, seconds since 1970")
    return float(value)


def write_own_keys(keys: Iterable[OwnKey]) -> str:
    """The set as JSON text. It holds private keys."""
    members = [{**key.jwk, **_dates(key)} for key in keys]
    return json.dumps({"keys": members}, indent=2) + "\n"


def _dates(key: OwnKey) -> dict[str, int]:
    dates = {"iat": key.made_at, "nbf": key.signs_from, "exp": key.verifies_until}
    return {name: int(value) for name, value in dates.items() if value < inf}


def verifying(keys: Iterable[OwnKey], now: float) -> tuple[OwnKey, ...]:
    """Those that verify at ``now``, NumericDate, in the order of the set; the next one, too, which signs nothing yet."""
    return tuple(key for key in keys if now < key.verifies_until)


def signing(keys: Iterable[OwnKey], now: float) -> OwnKey | None:
    """The one that signs at ``now``: of those that may the latest; None: none may."""
    able = [key for key in verifying(keys, now) if key.signs_from <= now]
    return max(able, key=lambda key: (key.signs_from, key.kid), default=None)


def next_change(keys: Iterable[OwnKey], now: float) -> float:
    """When the set means something else than at ``now``; ``math.inf``: never."""
    times = (time for key in keys for time in (key.signs_from, key.verifies_until))
    return min((time for time in times if time > now), default=inf)


def rotated(keys: Sequence[OwnKey], new: OwnKey, now: float, *, token_seconds: float) -> tuple[OwnKey, ...]:
    """The set once ``new`` is to follow: published now, signing after ``PUBLISHED_BEFORE_SECONDS``; at once where none signs.

    Each that may sign before then verifies until its last token has expired, clocks that are off included. Those that verify no
    longer are left out.

    Args: token_seconds: the longest life of a token, leeway included.
    """
    starts = now if signing(keys, now) is None else now + PUBLISHED_BEFORE_SECONDS
    last = starts + token_seconds + MAX_SKEW_SECONDS
    kept = [replace(key, verifies_until=min(key.verifies_until, last)) for key in verifying(keys, now)]
    return (*kept, replace(new, made_at=now, signs_from=starts, verifies_until=inf))


def retired(keys: Sequence[OwnKey], kid: str, now: float) -> tuple[OwnKey, ...]:
    """The set with one key that verifies no longer. If it signed and no other one may, the next to sign does so from now on.

    It stays in the set until the next rotation, so that who has to ask again finds it.

    Raises: UnusableKeyError: there is no such key, or no other one that could sign.
    """
    if kid not in [key.kid for key in keys]:
        raise UnusableKeyError(f"holds no key with that kid; it has {', '.join(key.kid for key in keys)}")
    left = tuple(replace(key, verifies_until=min(key.verifies_until, now)) if key.kid == kid else key for key in keys)
    if not verifying(left, now):
        raise UnusableKeyError("holds no other key that could sign; rotate first")
    if signing(left, now) is None:
        first = min(verifying(left, now), key=lambda key: key.signs_from)
        left = tuple(replace(key, signs_from=now) if key is first else key for key in left)
    return left
