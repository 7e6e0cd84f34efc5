"""``POST /revoke``: a client gives a token back (RFC 7009). The answer comes when it holds everywhere.

A token that is unknown, malformed or somebody else's altogether is fine (§2.2): the client wanted it dead, and it is no
token here. One that was issued to another client is refused (§2.1, with the code that RFC 6749 §5.2 has for it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.core.acting import acting
from jwtgate.core.tokens.parsing import parse
from jwtgate.core.tokens.policy import client_of
from jwtgate.endpoints.answers import empty
from jwtgate.endpoints.refusals import MalformedCall
from jwtgate.errors import GrantError, InvalidToken

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call
    from jwtgate.messages import Response

__all__ = ["revoke"]


def revoke(call: Call) -> Plan[Response]:
    """Raises: InvalidClient. MalformedCall: no ``token``. GrantError: another client's. StoreUnavailable: not written."""
    caller = call.rules.clients.authenticate(call.request, call.form)
    token = call.form.get("token")
    if token is None:
        raise MalformedCall("no token")
    if call.rules.is_refresh_token(token):
        # Asked before its session is: all of ours are issued to one client, and a used one still ends its session.
        _check_client(caller, call.rules.client_id)
        yield from acting(caller, call.operations.end_by_refresh_token(token, wait=True))
        return empty()
    try:
        # Not verified yet, so what it names can refuse this call and do nothing else.
        _check_client(caller, client_of(parse(token.encode(), call.rules.max_token_bytes).claims, call.rules.policies))
        yield from acting(caller, call.operations.revoke_token(token, wait=True))
    except InvalidToken:
        pass
    return empty()


def _check_client(caller: str, client_id: str | None) -> None:
    if client_id not in (None, caller):
        raise GrantError("the token was issued to another client")
