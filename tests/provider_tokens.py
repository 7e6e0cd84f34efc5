"""Tokens of an identity provider, good and bad: what it tells us, and everything that only looks like that."""

from __future__ import annotations

from typing import Any

from keymaking import Pair, craft, make_pairs

PROVIDER, OWN, TRANSMITTER = "https://id.example/realms/shop", "https://shop.example", "https://ssf.example/"
CLIENT, RECEIVER = "shop-web", "shop-api"
LOGOUT = "http://schemas.openid.net/event/backchannel-logout"
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
SSF = "https://schemas.openid.net/secevent/ssf/event-type/"
SESSION_REVOKED, CREDENTIAL_CHANGE = CAEP + "session-revoked", CAEP + "credential-change"
NOW = 1_700_000_000

PAIRS: dict[str, Pair] = make_pairs()

LACKING: Any = object()
"""In place of a member that is to be left out."""


def whole(members: dict[str, Any]) -> dict[str, Any]:
    """Without those that are left out."""
    return {name: value for name, value in members.items() if value is not LACKING}


def token(header: dict[str, Any], claims: dict[str, Any], *, key: str = "p256", alg: str = "ES256") -> bytes:
    """Signed by the provider, unless told otherwise."""
    return craft(whole({"alg": alg, "kid": "k1", **header}), whole(claims), PAIRS[key].private if key in PAIRS else key, alg)


def logout(
    header: dict[str, Any] | None = None, *, now: float = NOW, key: str = "p256", alg: str = "ES256", **claims: Any
) -> bytes:
    """A logout token that is good, but for what is said (OpenID Connect Back-Channel Logout §2.4)."""
    made = {
        "iss": PROVIDER, "aud": CLIENT, "iat": int(now), "exp": int(now) + 120, "jti": "l1", "sub": "u1", "sid": "s1",
        "events": {LOGOUT: {}}, **claims,
    }  # fmt: skip
    return token({"typ": "logout+jwt", **(header or {})}, made, key=key, alg=alg)


def subject(sub: str = "u1", issuer: str = PROVIDER) -> dict[str, str]:
    """RFC 9493 §3.2.3."""
    return {"format": "iss_sub", "iss": issuer, "sub": sub}


def event(
    header: dict[str, Any] | None = None, *, now: float = NOW, key: str = "ed25519", alg: str = "EdDSA", **claims: Any
) -> bytes:
    """A security event token that is good, but for what is said (RFC 8417, Shared Signals Framework §4)."""
    made = {
        "iss": TRANSMITTER, "aud": RECEIVER, "iat": int(now), "jti": "e1", "txn": "7", "sub_id": subject(),
        "events": {SESSION_REVOKED: {}}, **claims,
    }  # fmt: skip
    return token({"typ": "secevent+jwt", **(header or {})}, made, key=key, alg=alg)


def access(now: float = NOW, **claims: Any) -> bytes:
    """An access token of the provider's, for our API."""
    made = {"iss": PROVIDER, "aud": RECEIVER, "iat": int(now) - 10, "exp": int(now) + 900, "jti": "a1", "sub": "u1", **claims}
    return token({"typ": "at+jwt"}, whole(made))


def issuers() -> list[dict[str, Any]]:
    """Ours, the provider, and a transmitter of events."""
    return [
        {"issuer": OWN, "private_key": PAIRS["rsa"].private_pem, "audience": RECEIVER},
        {"issuer": PROVIDER, "public_key": PAIRS["p256"].public_pem, "audience": RECEIVER, "logout_audience": CLIENT},
        {"issuer": TRANSMITTER, "public_key": PAIRS["ed25519"].public_pem, "events_audience": RECEIVER, "admits": "none"},
    ]
