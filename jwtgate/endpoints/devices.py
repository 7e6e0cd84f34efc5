"""``/devices``: a page on which people see where they are logged in, and log out there. Plain forms; no script.

``GET /devices`` lists, ``POST /devices/end`` ends one session, or all others, and leads back; whoever ends the session of this
very browser is led to ``GET /devices/ended``, which asks nobody anything. A form cannot send ``X-CSRF-TOKEN``: under
``CSRF=double-submit`` a field carries the value, and the gate compares it as ever. Under ``CSRF=off`` these buttons keep the
rule of fetch metadata all the same.

A refusal is a page where the caller asks for one (RFC 9110 §12.5.1), with the status and the challenge that it would have had.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from jwtgate.core.acting import acting
from jwtgate.core.http import cross_site
from jwtgate.core.http.challenge import answer
from jwtgate.endpoints.forms import read_fields
from jwtgate.endpoints.refusals import MalformedCall
from jwtgate.errors import JWTGateError
from jwtgate.messages import Response

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call
    from jwtgate.messages import Request, Session, Token

__all__ = ["PAGE_SIZE", "device_style", "devices", "end_device", "ended"]

PAGE_SIZE = 50
MOST_QUERY_BYTES = 256
"""Of a page's number and a word."""

NUMBER = re.compile(r"[1-9][0-9]{0,4}")

SAID = {
    "one": "That device is logged out.",
    "others": "All other devices are logged out.",
    "gone": "That device was logged out already.",
}


def devices(call: Call) -> Plan[Response]:
    """The caller's own, newest first, this one before all. Raises: as ``token_of_subject``, where no page is wanted."""
    try:
        token, sub = yield from call.token_of_subject()
        query = _query(call.request)
        number = query.get("page", "1")
        if NUMBER.fullmatch(number) is None:
            raise MalformedCall("no such page")
        sessions, has_more = yield from call.operations.session_page(sub, (int(number) - 1) * PAGE_SIZE, PAGE_SIZE)
    except JWTGateError as error:
        return _refused(call, error, up="")
    own = [session for session in sessions if session.sid == token.session_id]
    return _draw(
        call,
        "devices.html",
        up="",
        sessions=[*own, *(session for session in sessions if session not in own)],
        own=token.session_id,
        csrf=_csrf(call, token),
        said=SAID.get(query.get("done", ""), ""),
        number=int(number),
        has_more=has_more,
    )


def end_device(call: Call) -> Plan[Response]:
    """Ends what the form names: ``sid``, or ``others``. Raises: as ``token_of_subject``, where no page is wanted."""
    try:
        call = replace(call, request=_submitting(call))
        token, sub = yield from call.token_of_subject(is_checked=False)
        if call.rules.csrf == "off" and token.source == "cookie":
            cross_site.check(call.request, mode="fetch-metadata", origins=call.rules.origins)
        if "others" in call.form:
            yield from acting(sub, call.operations.end_all(sub, token.session_id, wait=True))
            return _led_to("../devices?done=others") if token.session_id is not None else _led_out(call)
        session: Session | None = yield from call.operations.session_named(call.form.get("sid", ""))
        if session is None or session.subject != sub:  # ended meanwhile, or never the caller's
            return _led_to("../devices?done=gone")
        yield from acting(sub, call.operations.end_session(session.sid, wait=True))
    except JWTGateError as error:
        return _refused(call, error, up="../")
    return _led_out(call) if session.sid == token.session_id else _led_to("../devices?done=one")


def ended(call: Call) -> Plan[Response]:
    """After the session of this browser has ended; says nothing of anybody."""
    yield from ()
    return _draw(call, "devices_ended.html", up="../")


def device_style(call: Call) -> Plan[Response]:
    """What the page looks like."""
    yield from ()
    assert call.rules.style is not None, "as for ``draw``"
    return call.rules.style


def _draw(call: Call, template: str, status: int = 200, headers: tuple[tuple[str, str], ...] = (), **known: object) -> Response:
    draw = call.rules.draw
    assert draw is not None, "routing serves these rows only where there is one"
    return draw(template, status, headers, **known)


def _refused(call: Call, error: JWTGateError, *, up: str) -> Response:
    """Raises: ``error``, where no page is wanted."""
    if not _wants_page(call.request):
        raise error
    plain = answer(error, realm=error.realm, retry_after_seconds=None, resource_metadata=error.resource_metadata)
    kept = tuple((name, value) for name, value in plain.headers if name in ("www-authenticate", "retry-after"))
    return _draw(call, "devices_refused.html", error.status, kept, up=up, code=error.status)


def _led_to(location: str, cookies: tuple[str, ...] = ()) -> Response:
    """RFC 9110 §15.4.4; relative, so wherever the endpoints are mounted."""
    own = (("location", location), ("content-length", "0"), ("cache-control", "no-store"))
    return Response(303, (*own, *(("set-cookie", value) for value in cookies)), b"")


def _led_out(call: Call) -> Response:
    return _led_to("ended", call.rules.cleared())


def _csrf(call: Call, token: Token) -> str:
    """What the forms carry; empty: nothing."""
    value = token.claims.get("csrf")
    return value if call.rules.csrf == "double-submit" and isinstance(value, str) else ""


def _submitting(call: Call) -> Request:
    """The request as a script would have sent it: with the field's value as ``X-CSRF-TOKEN``, if it sends none itself."""
    request, value = call.request, call.form.get("csrf")
    if value is None or any(name == b"x-csrf-token" for name, _ in request.headers):
        return request
    return replace(request, headers=(*request.headers, (b"x-csrf-token", value.encode())))


def _query(request: Request) -> dict[str, str]:
    """The fields of the address. Raises: MalformedCall."""
    connection = request.connection or {}
    octets = connection.get("query_string", connection.get("QUERY_STRING", ""))
    if isinstance(octets, str):
        octets = octets.encode("latin-1", "replace")
    if len(octets) > MOST_QUERY_BYTES:
        raise MalformedCall("the query is too long")
    return read_fields(octets)


def _wants_page(request: Request) -> bool:
    """Whether HTML is named among what is accepted; anything at all is not enough."""
    connection = request.connection or {}
    lines = [value for name, value in connection.get("headers", ()) if bytes(name).lower() == b"accept"]
    if "HTTP_ACCEPT" in connection:
        lines.append(connection["HTTP_ACCEPT"].encode("latin-1", "replace"))
    return any(b"text/html" in bytes(line).lower() for line in lines)
