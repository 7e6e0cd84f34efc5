"""``POST /introspect``: whether a token is active, told to clients (RFC 7662).

An access token is judged by the one decision function, a refresh token by its session; ``token_type_hint`` may say what
it will (§2.1). Whatever is not active is told in one way, with nothing else (§2.2). A store that does not answer is 503: a
resource server must not take it for a logged-out user.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from jwtgate.endpoints.answers import as_json
from jwtgate.endpoints.refusals import MalformedCall
from jwtgate.errors import CredentialError, GrantError

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call
    from jwtgate.messages import Response, Token

__all__ = ["introspect"]

_CLAIMS = ("client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "cnf")
"""Those that RFC 7662 §2.2 names and a JWT may have, and what it is bound to (RFC 8705 §3.2, RFC 9449 §6.2), beside its own
name and its session's, which its issuer may put elsewhere.
What else the token says is not everybody's."""


def introspect(call: Call) -> Plan[Response]:
    """Raises: InvalidClient. MalformedCall: no ``token``. StoreUnavailable."""
    call.rules.clients.authenticate(call.request, call.form)
    token = call.form.get("token")
    if token is None:
        raise MalformedCall("no token")
    try:
        members = yield from (_of_refresh_token if call.rules.is_refresh_token(token) else _of_access_token)(call, token)
    except (CredentialError, GrantError):
        return as_json({"active": False})
    return as_json({"active": True, **members})


def _of_access_token(call: Call, token: str) -> Plan[dict[str, Any]]:
    admitted = (yield from call.operations.introspect(token)).token
    claims = admitted.claims
    members = {name: claims[name] for name in _CLAIMS if claims.get(name) is not None}
    names = {"jti": admitted.token_id, "sid": admitted.session_id}
    named = {name: value for name, value in names.items() if value is not None}
    is_dpop = isinstance(claims.get("cnf"), dict) and "jkt" in claims["cnf"]
    return {**_scope(admitted), "token_type": "DPoP" if is_dpop else "Bearer", **members, **named}


def _scope(token: Token) -> dict[str, str]:
    """A string (RFC 7662 §2.2), whatever shape the claim has: a role with a space in its name would read as two scopes."""
    scopes = [scope for scope in token.scopes if " " not in scope]
    return {"scope": " ".join(sorted(scopes))} if scopes else {}


def _of_refresh_token(call: Call, token: str) -> Plan[dict[str, Any]]:
    session = yield from call.operations.session_of(token)
    policy, client_id = call.rules.policy, call.rules.client_id
    return {
        **({} if client_id is None else {"client_id": client_id}),
        "exp": math.floor(session.expires_at),
        "sub": session.subject,
        **({} if policy is None or policy.issuer is None else {"iss": policy.issuer}),
        "sid": session.sid,
    }
