"""Tokens in the shape of each identity provider's, with invented values: the one for an API, and all the others it makes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

TENANT = "7d2a6c1e-0b5f-4c33-9a51-2f6f1f0d8e11"
OTHER_TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "5f0c2b7e-9d34-4a77-8f6e-0f1f6c2b9a10"

TIMES = frozenset({"exp", "iat", "nbf", "auth_time"})


@dataclass(frozen=True)
class Shape:
    """What one provider, or one dialect of it, puts into tokens.

    Attributes:
        preset: its name.
        issuer: as configured.
        audience: as configured.
        header, claims: of the token that is to be admitted.
        scopes: that it has.
        session, token_id, client: the values of these handles, or None: there is none.
        handle: one more handle that the preset configures, name and value.
        others: tokens of the same provider that are not for us, by name: header, claims (None takes one away).
    """

    preset: str
    issuer: str
    audience: str | None
    header: dict[str, Any]
    claims: dict[str, Any]
    scopes: frozenset[str]
    session: str | None
    token_id: str | None
    client: str
    handle: tuple[str, str] | None = None
    others: dict[str, tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=dict)

    def at(self, now: float) -> Shape:
        """Issued a moment before now."""
        shift = int(now) - 10 - self.claims["iat"]
        return replace(self, claims={k: v + shift if k in TIMES else v for k, v in self.claims.items()})

    def other(self, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Another token of this login, issued at the same time."""
        header, claims = self.others[name]
        merged = {**self.claims, **claims}
        return {**self.header, **header}, {k: v for k, v in merged.items() if v is not None}


LOGOUT = {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}

KEYCLOAK = Shape(
    preset="keycloak",
    issuer="https://id.test.example/realms/shop",
    audience="account",
    header={"typ": "JWT"},
    claims={
        "exp": 1900000300,
        "iat": 1900000000,
        "jti": "onrtac:6f0d",
        "iss": "https://id.test.example/realms/shop",
        "aud": "account",
        "sub": "3e0c",
        "typ": "Bearer",
        "azp": "shop-web",
        "sid": "a81f",
        "acr": "1",
        "realm_access": {"roles": ["staff"]},
        "resource_access": {"shop-api": {"roles": ["refund"]}, "account": {"roles": ["view-profile"]}},
        "scope": "openid orders",
        "preferred_username": "alice",
    },
    scopes=frozenset({"openid", "orders"}),
    session="a81f",
    token_id="onrtac:6f0d",
    client="shop-web",
    others={
        "ID token": ({}, {"typ": "ID", "scope": None, "at_hash": "x1"}),
        "ID token without at_hash": ({}, {"typ": "ID", "scope": None}),
        "refresh token": ({}, {"typ": "Refresh"}),
        "offline token": ({}, {"typ": "Offline"}),
        "logout token": ({"typ": "logout+jwt"}, {"typ": "Logout", "aud": "account", **LOGOUT}),
        "logout token of old": ({}, {"typ": "Logout", "exp": 1900000120, **LOGOUT}),
        "token for another API": ({}, {"aud": "other-api"}),
        "token without its kind": ({}, {"typ": None}),
    },
)

AUTH0 = Shape(
    preset="auth0",
    issuer="https://shop.eu.auth0.com/",
    audience="https://api.test.example",
    header={"typ": "JWT"},
    claims={
        "iss": "https://shop.eu.auth0.com/",
        "sub": "auth0|66ab",
        "azp": "Yk3",
        "iat": 1900000000,
        "exp": 1900086400,
        "aud": ["https://api.test.example", "https://shop.eu.auth0.com/userinfo"],
        "scope": "openid orders:read",
        "permissions": ["orders:read"],
    },
    scopes=frozenset({"openid", "orders:read"}),
    session=None,
    token_id=None,
    client="Yk3",
    others={
        "ID token": ({}, {"aud": "Yk3", "azp": None, "scope": None, "sid": "s-1", "nonce": "n"}),
        "ID token for a client of the API's name": ({}, {"aud": "https://api.test.example", "azp": None, "scope": None}),
        "logout token": ({"typ": "JWT"}, {"aud": "Yk3", "sid": "s-1", **LOGOUT}),
        "token for another API": ({}, {"aud": ["https://other.example", "https://shop.eu.auth0.com/userinfo"]}),
        "request object": ({"typ": "oauth-authz-req+jwt"}, {}),
    },
)
AUTH0_9068 = replace(
    AUTH0,
    header={"typ": "at+jwt"},
    claims={
        **{name: value for name, value in AUTH0.claims.items() if name not in ("azp", "permissions")},
        "client_id": "Yk3",
        "jti": "q7T",
    },
    token_id="q7T",
    others={name: AUTH0.others[name] for name in ("logout token", "token for another API", "request object")},
)

ENTRA_V1 = Shape(
    preset="entra",
    issuer=f"https://sts.windows.net/{TENANT}/",
    audience="api://shop",
    header={"typ": "JWT", "x5t": "th"},
    claims={
        "aud": "api://shop",
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": 1900000000,
        "nbf": 1900000000,
        "exp": 1900004500,
        "appid": "b6c0",
        "appidacr": "1",
        "oid": "e110",
        "scp": "orders.read",
        "sub": "Zk0",
        "tid": TENANT,
        "unique_name": "alice@shop.example",
        "uti": "Xy3",
        "ver": "1.0",
    },
    scopes=frozenset({"orders.read"}),
    session=None,
    token_id="Xy3",
    client="b6c0",
    handle=("oid", "e110"),
    others={
        "ID token": ({}, {"appid": None, "appidacr": None, "scp": None, "nonce": "n"}),
        "token for Graph": ({"nonce": "QltrBofYb5am7U"}, {}),
        "token for another API": ({}, {"aud": "00000003-0000-0000-c000-000000000000"}),
        "token of another tenant": ({}, {"iss": f"https://sts.windows.net/{OTHER_TENANT}/", "tid": OTHER_TENANT}),
        "token that names two tenants": ({}, {"tid": OTHER_TENANT}),
        "token of version 2": ({}, {"iss": f"https://login.microsoftonline.com/{TENANT}/v2.0", "ver": "2.0"}),
    },
)
ENTRA_V2 = Shape(
    preset="entra",
    issuer=f"https://login.microsoftonline.com/{TENANT}/v2.0",
    audience=CLIENT,
    header={"typ": "JWT"},
    claims={
        "aud": CLIENT,
        "iss": f"https://login.microsoftonline.com/{TENANT}/v2.0",
        "iat": 1900000000,
        "nbf": 1900000000,
        "exp": 1900004500,
        "azp": "b6c1",
        "azpacr": "1",
        "oid": "e111",
        "sub": "Zk1",
        "tid": TENANT,
        "uti": "Xy4",
        "preferred_username": "alice@shop.example",
        "roles": ["Clerk"],
        "ver": "2.0",
        "scp": "orders.read orders.write",
        "sid": "003-22",
    },
    scopes=frozenset({"orders.read", "orders.write"}),
    session="003-22",
    token_id="Xy4",
    client="b6c1",
    handle=("oid", "e111"),
    others={
        "ID token for the same application": ({}, {"azp": None, "azpacr": None, "scp": None, "nonce": "n"}),
        "token for Graph": ({"nonce": "QltrBofYb5am7U"}, {}),
        "token of another tenant": ({}, {"iss": f"https://login.microsoftonline.com/{OTHER_TENANT}/v2.0", "tid": OTHER_TENANT}),
        "token of a template": ({}, {"iss": "https://login.microsoftonline.com/{tenantid}/v2.0"}),
        "token without a tenant": ({}, {"tid": None}),
    },
)

OKTA = Shape(
    preset="okta",
    issuer="https://shop.okta.com/oauth2/default",
    audience="api://default",
    header={},
    claims={
        "ver": 1,
        "jti": "AT.h0k",
        "iss": "https://shop.okta.com/oauth2/default",
        "aud": "api://default",
        "iat": 1900000000,
        "exp": 1900003600,
        "cid": "0oa1",
        "uid": "00u2",
        "scp": ["openid", "orders.read"],
        "auth_time": 1899999990,
        "sub": "alice@shop.example",
    },
    scopes=frozenset({"openid", "orders.read"}),
    session=None,
    token_id="AT.h0k",
    client="0oa1",
    handle=("uid", "00u2"),
    others={
        "ID token": ({}, {"jti": "ID.h0k", "aud": "0oa1", "cid": None, "scp": None, "at_hash": "x1"}),
        "ID token for a client of the API's name": ({}, {"jti": "ID.h0k", "cid": None, "uid": None, "scp": None}),
        "token of the org server": ({"typ": "application/okta-internal-at+jwt"}, {"iss": "https://shop.okta.com"}),
        "token with the org server's mark": ({"typ": "application/okta-internal-at+jwt"}, {}),
        "token for another API": ({}, {"aud": "api://other"}),
    },
)

COGNITO = Shape(
    preset="cognito",
    issuer="https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1",
    audience="4tq",
    header={},
    claims={
        "sub": "aa11",
        "cognito:groups": ["staff"],
        "iss": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1",
        "version": 2,
        "client_id": "4tq",
        "origin_jti": "0d7",
        "event_id": "77e",
        "token_use": "access",
        "scope": "openid shop/orders.read",
        "auth_time": 1900000000,
        "exp": 1900003600,
        "iat": 1900000000,
        "jti": "c33",
        "username": "alice",
    },
    scopes=frozenset({"openid", "shop/orders.read"}),
    session="0d7",
    token_id="c33",
    client="4tq",
    others={
        "ID token": ({}, {"aud": "4tq", "client_id": None, "scope": None, "token_use": "id", "cognito:username": "alice"}),
        "token for another client of the pool": ({}, {"client_id": "other"}),
        "token of no client": ({}, {"client_id": None}),
        "token of another resource": ({}, {"aud": "https://other.example"}),
        "token without its kind": ({}, {"token_use": None}),
        "token of two kinds": ({}, {"token_use": ["access"]}),
    },
)

GOOGLE = Shape(
    preset="google",
    issuer="https://accounts.google.com",
    audience="12-ab.apps.googleusercontent.com",
    header={"typ": "JWT"},
    claims={
        "iss": "https://accounts.google.com",
        "azp": "12-ab.apps.googleusercontent.com",
        "aud": "12-ab.apps.googleusercontent.com",
        "sub": "1080",
        "hd": "shop.example",
        "email": "alice@shop.example",
        "email_verified": True,
        "at_hash": "x1",
        "iat": 1900000000,
        "exp": 1900003600,
    },
    scopes=frozenset(),
    session=None,
    token_id=None,
    client="12-ab.apps.googleusercontent.com",
    others={
        "ID token for another client": ({}, {"aud": "99-zz.apps.googleusercontent.com"}),
        "ID token for nobody": ({}, {"aud": None}),
        "access token": ({"typ": "at+jwt"}, {}),
        "token with scopes": ({}, {"scope": "openid"}),
        "security event": ({"typ": "secevent+jwt"}, {"events": {}}),
        "security event without its mark": ({}, {"events": {}}),
        "logout token": ({"typ": "logout+jwt"}, LOGOUT),
        "refresh token": ({}, {"token_use": "refresh"}),
        "token that says access": ({}, {"token_use": "access"}),
        "token of RISC's spelling": ({}, {"iss": "https://accounts.google.com/"}),
    },
)

RFC9068 = Shape(
    preset="rfc9068",
    issuer="https://as.test.example",
    audience="https://api.test.example",
    header={"typ": "at+jwt"},
    claims={
        "iss": "https://as.test.example",
        "exp": 1900000900,
        "aud": "https://api.test.example",
        "sub": "alice",
        "client_id": "s6BhdRkqt3",
        "iat": 1900000000,
        "jti": "dbe39bf3",
        "scope": "openid orders",
        "sid": "s-9",
    },
    scopes=frozenset({"openid", "orders"}),
    session="s-9",
    token_id="dbe39bf3",
    client="s6BhdRkqt3",
    others={
        **{f"token without {name}": ({}, {name: None}) for name in ("iss", "exp", "aud", "sub", "client_id", "iat", "jti")},
        "token of another type": ({"typ": "JWT"}, {}),
        "ID token": ({"typ": "JWT"}, {"client_id": None, "nonce": "n"}),
        "token with a parameter in its type": ({"typ": "at+jwt;v=1"}, {}),
        "proof": ({"typ": "dpop+jwt"}, {}),
    },
)

SHAPES: dict[str, Shape] = {
    "keycloak": KEYCLOAK,
    "keycloak, RFC 9068 header": replace(KEYCLOAK, header={"typ": "at+jwt"}),
    "keycloak, bound to a proof key": replace(KEYCLOAK, claims={**KEYCLOAK.claims, "typ": "DPoP"}),
    "auth0": AUTH0,
    "auth0, RFC 9068 dialect": AUTH0_9068,
    "entra v1": ENTRA_V1,
    "entra v2": ENTRA_V2,
    "okta": OKTA,
    "cognito": COGNITO,
    "google": GOOGLE,
    "google, other spelling": replace(GOOGLE, claims={**GOOGLE.claims, "iss": "accounts.google.com"}),
    "rfc9068": RFC9068,
    "rfc9068, whole media type": replace(RFC9068, header={"typ": "application/at+jwt"}),
    "rfc9068, other case": replace(RFC9068, header={"typ": "AT+JWT"}),
}


def now_of(shape: Shape) -> Shape:
    """Issued just now, by the clock that the gate reads."""
    return shape.at(time.time())
