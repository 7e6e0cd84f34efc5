"""``POST /logout``, here, and ``POST /logout-all``, everywhere or everywhere else. The answer comes when it holds.

The session of the access token that the call shows, of the refresh token in its form, or of both. Everything shown is
judged before anything is ended, and what a repeated call could no longer name is ended last: after a 503 the same call
can be made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.core.acting import acting
from jwtgate.core.http import cross_site
from jwtgate.endpoints.answers import as_json, receipt_members
from jwtgate.endpoints.refusals import MalformedCall
from jwtgate.errors import CrossSiteRequest, GrantError, InvalidToken, MissingToken

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call
    from jwtgate.messages import Receipt, Response, Token

__all__ = ["logout", "logout_all"]

_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}


def logout(call: Call) -> Plan[Response]:
    """Ends the sessions that are shown.

    Raises:
        MissingToken: nothing is shown.
        InvalidToken and its kin: the access token is dead, and nothing else is shown.
        GrantError: the refresh token is of no known session, and nothing else is shown.
        StoreUnavailable: not written, or not confirmed.
    """
    refresh_token = call.form.get("refresh_token")
    try:
        token = yield from call.token(is_checked=False)
    except InvalidToken:
        if refresh_token is None:
            raise
        token = None
    if token is None and refresh_token is None:
        raise MissingToken("neither an access token nor a refresh token")
    receipts: list[Receipt | None] = []
    if refresh_token is not None:
        receipts.append((yield from call.operations.end_by_refresh_token(refresh_token, wait=True)))
    if token is not None:
        receipts.append((yield from _end(call, token)))
    written = [receipt for receipt in receipts if receipt is not None]
    if not written:
        raise GrantError("a refresh token of no known session")
    cookies = call.rules.cleared() if token is not None or _may_be_our_page(call) else ()
    return as_json(receipt_members(*written), cookies)


def _end(call: Call, token: Token) -> Plan[Receipt]:
    """The token's session; the token alone where it has none that is ours to end."""
    if token.session_id is not None and call.rules.is_own(token):
        return (yield from acting(token.subject, call.operations.end_session(token.session_id, wait=True)))
    shown = call.rules.find_credential(call.request)
    text = "" if shown is None else shown.token.decode("latin-1")
    return (yield from acting(token.subject, call.operations.revoke_token(text, wait=True)))


def _may_be_our_page(call: Call) -> bool:
    """False where a page of another site posts a refresh token of its own, to take our visitor's cookies away.

    Browsers name the Origin of every POST (Fetch §3.2): what names none is no browser.
    """
    if call.rules.csrf == "off" or not {b"origin", b"sec-fetch-site"}.intersection(name for name, _ in call.request.headers):
        return True
    try:
        cross_site.check(call.request, mode="fetch-metadata", origins=call.rules.origins)
    except CrossSiteRequest:
        return False
    return True


def logout_all(call: Call) -> Plan[Response]:
    """Ends all sessions of the token's subject, but the token's own with ``keep_current``.

    Raises: MalformedCall. MissingToken: 401. InsufficientScope: 403, a token that names no subject of ours.
    """
    wanted = _BOOLEANS.get(call.form.get("keep_current", "0"))
    if wanted is None:
        raise MalformedCall("keep_current is neither true nor false")
    token, sub = yield from call.token_of_subject(is_checked=False)
    keep = token.session_id if wanted else None
    receipt = yield from acting(sub, call.operations.end_all(sub, keep, wait=True))
    return as_json(receipt_members(receipt), call.rules.cleared() if keep is None else ())
