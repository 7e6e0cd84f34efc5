"""``POST /backchannel-logout``: a session at a provider has ended (OpenID Connect Back-Channel Logout §2.5, §2.8).

200 once it is ruled so, also where no such session is known: whether there was one is nobody's business. The answer says from
when it holds everywhere, and comes in time for a provider that waits two and a half seconds. What makes a token invalid is
told to the log alone; the caller hears 400, or 503 where the store or the provider's keys are not to be had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.endpoints.answers import as_json, receipt_members
from jwtgate.endpoints.refusals import RefusedLogout
from jwtgate.errors import InvalidToken

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call
    from jwtgate.messages import Response

__all__ = ["backchannel_logout"]


def backchannel_logout(call: Call) -> Plan[Response]:
    """Raises: RefusedLogout: 400. UnavailableError: 503."""
    token = call.form.get("logout_token")
    if token is None:
        raise RefusedLogout("no logout_token")
    try:
        receipt = yield from call.operations.hear_logout(token)
    except InvalidToken as error:
        raise RefusedLogout(f"{error.reason}: {error}") from error
    return as_json({} if receipt is None else receipt_members(receipt))
