"""The packages by name, and how the settings of each become ours."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jwtgate.moving import authx, flask_jwt_extended, simplejwt
from jwtgate.moving.carrying import Carried, Carrying
from jwtgate.moving.reading import read

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jwtgate.moving.rows import Row

__all__ = ["PACKAGES", "Package", "carry"]

DAY_SECONDS = 86400.0
REFRESH_TOKENS = "Their refresh tokens are refused (they are JWTs, ours are good for one use): everybody logs in once more."

BLOCK_LIST = (
    "Tokens on a block list of yours live again: gate.revoke(jti=…) each of them, or switch over when the last has ended."
)
LOADERS = "What your own functions refuse is in no setting: --from without FILE tells what becomes of each."
NOTES = (BLOCK_LIST, LOADERS, REFRESH_TOKENS)

NO_SUBJECT = (
    'Set JWTGATE_USER_FIELD = "pk" in Django\'s settings to have inactive users refused, as before.',
    "Their access tokens have no sub: with JWTGATE_USER_FIELD they are refused.",
    "Without it, until the last one has ended, gate.revoke(claim=(name, value)) ends a user's, and sub=value does not.",
)


@dataclass(frozen=True, slots=True)
class Package:
    """One of them.

    Attributes:
        title: as it calls itself.
        settings: all of them.
        names: what one writes.
        inside: the dictionary in which Django's settings have its.
        prefix: of its settings' names, where they have one.
        fill: says what becomes of a file's.
        notes: for whoever sets the lines.
    """

    title: str
    settings: tuple[Row, ...]
    names: tuple[Row, ...]
    inside: str | None
    prefix: str
    fill: Callable[[Carrying], None]
    notes: tuple[str, ...] = NOTES


def carry(package: Package, text: str, suffix: str) -> Carried:
    """Args: text, suffix: of the file, as for ``read``. Raises: Unreadable."""
    found: Mapping[str, Any] = read(text, suffix, inside=package.inside)
    carrying = Carrying(found, {row.theirs: row for row in package.settings})
    if package.inside is not None and package.inside in found and not isinstance(found[package.inside], dict):
        carrying.take(package.inside)
    package.fill(carrying)
    return carrying.finish(package.prefix)


def _fill_flask(carrying: Carrying) -> None:
    algorithm = carrying.algorithms([("JWT_ALGORITHM", "HS256"), ("JWT_DECODE_ALGORITHMS", None)])
    carrying.keys("JWT_SECRET_KEY", "JWT_PRIVATE_KEY", "JWT_PUBLIC_KEY", algorithm=algorithm, fallback="SECRET_KEY")
    carrying.lifetimes(("JWT_ACCESS_TOKEN_EXPIRES", 900.0), ("JWT_REFRESH_TOKEN_EXPIRES", 30 * DAY_SECONDS))
    _fill_claims(carrying)
    identity = carrying.take("JWT_IDENTITY_CLAIM", "sub")
    if identity not in (None, "sub"):
        carrying.put("HANDLES", str(identity), "JWT_IDENTITY_CLAIM")
    _fill_places(carrying)


def _fill_authx(carrying: Carrying) -> None:
    algorithm = carrying.algorithms([("JWT_ALGORITHM", "HS256")])
    carrying.keys("JWT_SECRET_KEY", "JWT_PRIVATE_KEY", "JWT_PUBLIC_KEY", algorithm=algorithm)
    carrying.lifetimes(("JWT_ACCESS_TOKEN_EXPIRES", 900.0), ("JWT_REFRESH_TOKEN_EXPIRES", 20 * DAY_SECONDS))
    _fill_claims(carrying)
    _fill_places(carrying)


def _fill_claims(carrying: Carrying) -> None:
    carrying.audience("JWT_DECODE_AUDIENCE", "JWT_ENCODE_AUDIENCE")
    carrying.issuer("JWT_DECODE_ISSUER", "JWT_ENCODE_ISSUER")
    carrying.leeway("JWT_DECODE_LEEWAY")


def _fill_places(carrying: Carrying) -> None:
    """Where tokens are; what guards cookies, where there are any."""
    given = carrying.take("JWT_TOKEN_LOCATION", ["headers"], matters=False)
    places: list[str] = [given] if isinstance(given, str) else list(given or ())
    ours = [our for their, our in (("headers", "header"), ("cookies", "cookie")) if their in places]
    if ours != ["header"]:
        carrying.put("LOCATIONS", ",".join(ours), "JWT_TOKEN_LOCATION")
    if {"query_string", "json"} & set(places):
        carrying.leave("JWT_TOKEN_LOCATION")
    if "cookie" not in ours:
        return
    name = carrying.take("JWT_ACCESS_COOKIE_NAME", "access_token_cookie", matters=False)
    carrying.put("COOKIE", str(name or ""), "JWT_ACCESS_COOKIE_NAME")
    if carrying.take("JWT_COOKIE_CSRF_PROTECT", True, matters=False):
        carrying.put("CSRF", "double-submit", "JWT_COOKIE_CSRF_PROTECT")


def _fill_simplejwt(carrying: Carrying) -> None:
    algorithm = carrying.algorithms([("ALGORITHM", "HS256")])
    if algorithm is None or algorithm.startswith("HS"):
        carrying.keys("SIGNING_KEY", "SIGNING_KEY", "VERIFYING_KEY", algorithm="HS256", fallback="SECRET_KEY")
    elif carrying.found.get("JWK_URL") is None:
        carrying.keys("SIGNING_KEY", "SIGNING_KEY", "VERIFYING_KEY", algorithm=algorithm)
    url = str(carrying.take("JWK_URL") or "")
    carrying.put("JWKS_URL", url, "JWK_URL", is_secret="@" in url)
    carrying.lifetimes(("ACCESS_TOKEN_LIFETIME", 300.0), ("REFRESH_TOKEN_LIFETIME", DAY_SECONDS))
    carrying.audience("AUDIENCE")
    carrying.issuer("ISSUER")
    carrying.leeway("LEEWAY")
    claim = carrying.take("USER_ID_CLAIM", "user_id")
    if claim not in (None, "sub"):
        carrying.put("HANDLES", str(claim), "USER_ID_CLAIM")
    for name, default in SIMPLEJWT_RULES.items():
        if carrying.take(name, default) != default and not any(left.name == name for left in carrying.left):
            carrying.leave(name, matters=True)


SIMPLEJWT_RULES: Mapping[str, Any] = MappingProxyType(
    {
        "TOKEN_TYPE_CLAIM": "token_type",
        "AUTH_TOKEN_CLASSES": ["rest_framework_simplejwt.tokens.AccessToken"],
        "USER_AUTHENTICATION_RULE": "rest_framework_simplejwt.authentication.default_user_authentication_rule",
        "CHECK_REVOKE_TOKEN": False,
    }
)
"""What refuses a token there, with the default: another value has to be seen to by whoever moves."""

PACKAGES: Mapping[str, Package] = MappingProxyType(
    {
        "flask-jwt-extended": Package(
            *("Flask-JWT-Extended", flask_jwt_extended.SETTINGS, flask_jwt_extended.NAMES, None, "JWT_", _fill_flask)
        ),
        "simplejwt": Package(
            *("djangorestframework-simplejwt", simplejwt.SETTINGS, simplejwt.NAMES, "SIMPLE_JWT", "", _fill_simplejwt),
            notes=(*NOTES, *NO_SUBJECT),
        ),
        "authx": Package("AuthX", authx.SETTINGS, authx.NAMES, None, "JWT_", _fill_authx),
    }
)
