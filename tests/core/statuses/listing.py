"""Status List Tokens for tests, good and bad, and the policy of the issuer that signs them."""

from __future__ import annotations

from typing import Any

import jwt
from core.scripted import START

from jwtgate.core.statuses.status_list import StatusList
from jwtgate.settings import Settings

SECRET = "the-issuers-secret-of-thirty-two-bytes"
OTHER = "another-issuers-secret-of-thirty-two-b"
ISSUER = "https://id.example"
URI = f"{ISSUER}/status/1"


def policy_of(**settings: Any) -> Any:
    """Of an issuer whose lists are consulted."""
    given = {"secret": SECRET, "issuer": ISSUER, "status_from": ["issuer"], "leeway": 0.0, **settings}
    return Settings(**given).policies[given["issuer"]]


def listed(*dead: int, size: int = 64, bits: int = 1, value: int = 1) -> dict[str, Any]:
    """The claim, with some entries that are not valid."""
    return StatusList.of(size, ((index, value) for index in dead), bits).encode()


def list_token(
    *dead: int, secret: str = SECRET, typ: str | None = "statuslist+jwt", alg: str = "HS256", size: int = 64, **claims: Any
) -> bytes:
    """Signed by the issuer; a claim that is None is left out."""
    body = {
        "sub": URI,
        "iat": int(START),
        "exp": int(START) + 600,
        "ttl": 60,
        "status_list": listed(*dead, size=size),
        **claims,
    }
    told = {name: value for name, value in body.items() if value is not None}
    return jwt.encode(told, secret, alg, headers={"typ": typ}).encode()


def token(index: int = 7, *, uri: str = URI, secret: str = SECRET, **claims: Any) -> bytes:
    """An access token whose status stands in the list."""
    status = {"status_list": {"idx": index, "uri": uri}}
    body = {
        "iss": ISSUER,
        "sub": "alice",
        "jti": f"t{index}",
        "iat": START - 60,
        "exp": START + 6000,
        "status": status,
        **claims,
    }
    told = {name: value for name, value in body.items() if value is not None}
    return jwt.encode(told, secret, "HS256").encode()
