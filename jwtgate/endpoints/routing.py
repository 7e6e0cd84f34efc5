"""All endpoints at one glance, and which one a request is for.

Only plain paths, exactly as they stand in the table, below the prefix: what two routers could read differently is never an
endpoint, and what is not in the table goes to the application through the gate, so that it may have paths of its own there.
CORS preflights (Fetch §4.8) and handshakes are the application's, too. A wrong method on a path of the table is 405.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from jwtgate.core.http.exemption import is_plain, is_preflight
from jwtgate.endpoints.answers import wrong_method
from jwtgate.endpoints.backchannel_logout import backchannel_logout
from jwtgate.endpoints.call import Call
from jwtgate.endpoints.devices import device_style, devices, end_device, ended
from jwtgate.endpoints.events import receive_events
from jwtgate.endpoints.forms import check_event_token, read_form
from jwtgate.endpoints.introspection import introspect
from jwtgate.endpoints.jwk_set import jwk_set
from jwtgate.endpoints.logout import logout, logout_all
from jwtgate.endpoints.own_sessions import end_own_session, list_own_sessions
from jwtgate.endpoints.refresh import refresh
from jwtgate.endpoints.refusals import MalformedCall, RefusedLogout
from jwtgate.endpoints.revocation import revoke
from jwtgate.endpoints.status_lists import status_list

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.effects import Plan
    from jwtgate.core.operations import Operations
    from jwtgate.endpoints.call import Rules
    from jwtgate.endpoints.forms import Form
    from jwtgate.messages import Request, Response

__all__ = ["TABLE", "Endpoint", "Endpoints", "Row"]

ANY_SID = "/sessions/{sid}"
ANY_LIST = "/status/{list}"


@dataclass(frozen=True, slots=True)
class Row:
    """One endpoint.

    Attributes:
        method: ``GET`` serves HEAD, too.
        path: below the prefix.
        plan: answers it.
        takes: what its body is; no other is read.
        needs: what must be configured, or the path is the application's: ``CLIENTS``, who then authenticate, an
            ``EVENTS_AUDIENCE``, ``STATUS_LISTS``, or ``DEVICES``.
    """

    method: str
    path: str
    plan: Callable[[Call], Plan[Response]]
    takes: Literal["nothing", "form", "open form", "event token"] = "nothing"
    needs: Literal["nothing", "clients", "events", "lists", "pages"] = "nothing"


TABLE = (
    Row("POST", "/refresh", refresh, "form"),
    Row("POST", "/logout", logout, "form"),
    Row("POST", "/logout-all", logout_all, "form"),
    Row("GET", "/sessions", list_own_sessions),
    Row("DELETE", ANY_SID, end_own_session),
    Row("POST", "/introspect", introspect, "form", needs="clients"),
    Row("POST", "/revoke", revoke, "form", needs="clients"),
    Row("GET", "/jwks.json", jwk_set),
    Row("POST", "/backchannel-logout", backchannel_logout, "open form"),
    Row("POST", "/events", receive_events, "event token", needs="events"),
    Row("GET", ANY_LIST, status_list, needs="lists"),
    Row("GET", "/devices", devices, needs="pages"),
    Row("POST", "/devices/end", end_device, "form", needs="pages"),
    Row("GET", "/devices/ended", ended, needs="pages"),
    Row("GET", "/devices.css", device_style, needs="pages"),
)
"""One method a path."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What one request has found.

    Attributes:
        takes_body: it is wanted; it is then given to ``answer``, whole.
    """

    row: Row
    request: Request = field(repr=False)
    sid: str = field(repr=False)
    operations: Operations = field(repr=False)
    rules: Rules = field(repr=False)

    @property
    def takes_body(self) -> bool:
        return self.row.takes != "nothing" and self._is_allowed

    @property
    def _is_allowed(self) -> bool:
        return self.request.method == self.row.method or (self.request.method, self.row.method) == ("HEAD", "GET")

    def answer(self, body: bytes = b"") -> Plan[Response]:
        """The whole answer; for HEAD with the body that GET would have.

        Raises: any ``JWTGateError``, to be rendered by ``core.http.challenge``.
        """
        if not self._is_allowed:
            return wrong_method("GET, HEAD" if self.row.method == "GET" else self.row.method)
        form: Form = {}
        match self.row.takes:
            case "form":
                form, body = read_form(self.request, body), b""
            case "open form":
                form, body = self._read_open_form(body), b""
            case "event token":
                check_event_token(self.request, body)
            case "nothing":
                body = b""
        return (yield from self.row.plan(Call(self.request, form, self.sid, self.operations, self.rules, body)))

    def _read_open_form(self, body: bytes) -> Form:
        """Whoever posts it speaks OpenID Connect, and is answered so."""
        try:
            return read_form(self.request, body, wanted="logout_token")
        except MalformedCall as error:
            raise RefusedLogout(str(error)) from error


class Endpoints:
    """The endpoints of one gate."""

    __slots__ = ("_operations", "_rows", "_rules", "_start")

    def __init__(self, prefix: str, operations: Operations, rules: Rules) -> None:
        """Args: prefix: such as ``/auth``. operations: the gate's plans. rules: what the operator decided."""
        self._start = prefix + "/"
        self._operations = operations
        self._rules = rules
        there = {"nothing": True, "clients": bool(rules.clients), "events": rules.has_events, "lists": rules.has_lists}
        there["pages"] = rules.draw is not None
        self._rows = {row.path: row for row in TABLE if there[row.needs]}

    def find(self, request: Request) -> Endpoint | None:
        """The endpoint that answers this request; None: it is the application's."""
        path = request.path
        if path is None or not path.startswith(self._start) or request.is_websocket or is_preflight(request):
            return None
        row, sid = self._row(path[len(self._start) - 1 :])
        if row is None or not is_plain(path, request.raw_path):
            return None
        return Endpoint(row, request, sid, self._operations, self._rules)

    def _row(self, path: str) -> tuple[Row | None, str]:
        """The row of a path below the prefix. A sid may be any text, ``{sid}`` too: it is compared with the caller's own."""
        parent, _, sid = path.rpartition("/")
        if parent == "/sessions":
            return (self._rows[ANY_SID], sid) if sid else (None, "")
        if parent == "/status" and ANY_LIST in self._rows and sid:
            return self._rows[ANY_LIST], sid
        return self._rows.get(path), ""
