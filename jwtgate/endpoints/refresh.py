"""``POST /refresh``: a new pair for a refresh token, from the form or from our cookie (RFC 6749 §6, RFC 9700 §4.14).

What came as a cookie goes back as cookies, and the body then holds no token: HttpOnly is there so that scripts never see
one. A refusal sets and clears nothing: the loser of a race must not take the winner's cookies away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.endpoints.answers import as_json
from jwtgate.endpoints.refusals import MalformedCall, UnsupportedGrantType

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call, Cookies
    from jwtgate.messages import Response

__all__ = ["refresh"]


def refresh(call: Call) -> Plan[Response]:
    """Rotation. Raises: MalformedCall. UnsupportedGrantType. CrossSiteRequest. GrantError. StoreUnavailable."""
    if call.form.get("grant_type", "refresh_token") != "refresh_token":
        raise UnsupportedGrantType("grant_type is not refresh_token")
    in_form, cookies = call.form.get("refresh_token"), call.rules.cookies
    in_cookie = None if cookies is None else cookies.find_refresh_token(call.request)
    if cookies is not None and in_cookie is not None:
        return (yield from _by_cookie(call, cookies, in_cookie, in_form))
    if in_form is None:
        raise MalformedCall("no refresh token")
    pair = yield from call.operations.refresh(in_form)
    return as_json(pair.as_dict())


def _by_cookie(call: Call, cookies: Cookies, in_cookie: str, in_form: str | None) -> Plan[Response]:
    """Also where the form repeats it: a form must not switch the CSRF rule off, nor leave the old cookie behind.

    The rule is kept by the operation, which is told of the request.
    """
    if in_form not in (None, in_cookie):
        raise MalformedCall("cookie and form carry different refresh tokens")
    pair = yield from call.operations.refresh(in_cookie, call.request)
    return as_json({"token_type": pair.token_type, "expires_in": pair.expires_in}, cookies.set(pair))
