"""Attacks on the endpoints and the shells, over HTTP as attackers and newcomers speak it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from servers import Server
from shells import COOKIE, FORMS, Sent, Sink, ask_asgi, ask_wsgi, gate_of, scope_of
from starlette import formparsers
from starlette.responses import Response as StarletteResponse
from test_endpoints_with_gate import AS_CLIENT, REFRESH_COOKIE, SAME_ORIGIN, World, bearer, cookies_of, json_of
from test_shells_served import COMMANDS, Served
from werkzeug.wrappers import Response as WerkzeugResponse

from jwtgate import Gate
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.checks import fresh_login, scope
from jwtgate.core.sessions.renewal import Renewal
from jwtgate.core.sessions.stored import MOST_LISTED

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(params=["asgi", "wsgi"])
def shell(request: pytest.FixtureRequest) -> str:
    """Each of the two."""
    return request.param


@contextlib.contextmanager
def world_of(shell: str, *checks: Any, **settings: Any) -> Any:
    """A gate of its own behind one shell, with checks of the application."""
    world = World(shell, **settings)
    for check in checks:
        world.gate.check(check)
    try:
        yield world
    finally:
        world.gate.close()


# --- the README's own application


class Login:
    """The README's login, under the settings that it shows."""

    def __init__(self, gate: Gate) -> None:
        blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        (code,) = [block for block in blocks if "/auth/login" in block]
        given = "add_middleware(JWTGateMiddleware)"
        code = code.replace(given, f"{given[:-1]}, gate=GATE)")
        assert "gate=GATE" in code
        names: dict[str, Any] = {"__name__": "app", "GATE": gate}
        exec(code, names)  # noqa: S102 - the README's own
        self.app = names["app"]

    def status(self) -> int:
        """Of a right password."""
        body = b"username=alice&password=correct+horse"
        form = ("content-type", "application/x-www-form-urlencoded")
        return asyncio.run(
            _status_of_asgi(self.app, Sent("POST", "/auth/login", (form, ("content-length", str(len(body)))), body))
        )


async def _status_of_asgi(app: Any, sent: Sent) -> int:
    """Starlette raises again what it has answered with 500, so only what was sent counts."""
    sink = Sink(sent.body)
    with contextlib.suppress(Exception):
        await app(scope_of(sent), sink.receive, sink.send)
    return int(sink.sent[0]["status"])


@FORMS
def test_login_of_a_suspended_user_is_refused_and_no_error_of_the_server() -> None:
    """Threat 2: whoever follows the README answers a suspended user's right password with a refusal, never with 500."""
    gate = gate_of(endpoints="/auth", locations=("header", "cookie"), exempt=("/auth/login",))
    assert gate.ready()
    login = Login(gate)
    assert login.status() == 200
    gate.suspend("alice", wait=True)
    assert 400 <= login.status() < 500
    gate.close()


@FORMS
def test_login_without_a_store_is_503() -> None:
    """A store failure is 503 everywhere, in the README's own login too: monitors and clients take 500 for a bug."""
    gate = gate_of(
        endpoints="/auth", locations=("header", "cookie"), exempt=("/auth/login",), store="redis://127.0.0.1:1", lease=0.2
    )
    assert Login(gate).status() == 503
    gate.close()


def test_response_that_gets_the_cookies_may_not_be_stored() -> None:
    """RFC 6749 §5.1: what carries tokens is no-store, at login as at refresh: a shared cache would log strangers in."""
    gate = gate_of(locations=("cookie",))
    assert gate.ready()
    pair = gate.sessions.start("alice")
    for response in (StarletteResponse("x"), WerkzeugResponse("x")):
        gate.set_cookies(response, pair)
        assert "no-store" in response.headers.get("cache-control", "")
    gate.close()


# --- logging out


@pytest.mark.parametrize("endpoint", ["/revoke", "/logout"])
def test_refresh_token_of_a_suspended_subject_can_be_given_back(shell: str, endpoint: str) -> None:
    """Threat 14: a token that /revoke or /logout took (200) is dead for good, also when the suspension is lifted later."""
    with world_of(shell) as world:
        pair = world.login()
        world.gate.suspend("alice", wait=True)
        if endpoint == "/revoke":
            answer = world.call("POST", endpoint, AS_CLIENT, token=pair.refresh_token)
        else:
            answer = world.call("POST", endpoint, refresh_token=pair.refresh_token)
        assert answer.status == 200
        world.gate.reinstate("alice", wait=True)
        assert world.call("POST", "/refresh", refresh_token=pair.refresh_token).status == 400


def test_exempt_endpoints_hide_no_path_from_the_checks(shell: str) -> None:
    """A check of other paths must not forbid logging out because EXEMPT covers the endpoints, too."""
    with world_of(shell, scope("admin", paths=["/admin/*"]), exempt=("/auth/*",)) as world:
        pair = world.login(scope="read")
        assert world.status(pair.access_token) == 200
        assert world.call("GET", "/sessions", bearer(pair.access_token)).status == 200
        assert world.call("POST", "/logout", bearer(pair.access_token)).status == 200


def test_exempt_endpoints_tell_own_checks_the_path(shell: str) -> None:
    """A check of the application that looks at the path is asked with the path, whatever is exempt."""
    seen: list[Any] = []
    with world_of(shell, lambda _token, request: seen.append(request.path), exempt=("/auth/*",)) as world:
        assert world.call("GET", "/sessions", bearer(world.login().access_token)).status == 200
        assert seen == ["/auth/sessions"]


def test_stale_login_can_still_log_out(shell: str) -> None:
    """A rule on how fresh a login must be never keeps a user from ending the session: the README's fresh_login does."""
    with world_of(shell, fresh_login(300, now=lambda: time.time() + 301)) as world:
        pair = world.login()
        assert world.status(pair.access_token) == 401
        assert world.call("POST", "/logout", bearer(pair.access_token)).status == 200


def test_browser_logs_out_when_its_access_cookie_has_ended(shell: str) -> None:
    """The refresh cookie goes to the refresh path alone, so a page that comes back late refreshes first: then all is over."""
    with world_of(shell) as world:
        pair = world.login()
        shown = ("cookie", f"{REFRESH_COOKIE}={pair.refresh_token}")
        assert world.call("POST", "/logout", SAME_ORIGIN).status == 401
        fresh = cookies_of(world.call("POST", "/refresh", shown, SAME_ORIGIN))
        kept = ("cookie", f"{COOKIE}={fresh[COOKIE]}")
        assert world.call("POST", "/logout", kept, SAME_ORIGIN).status == 200
        for token in (pair.refresh_token, fresh[REFRESH_COOKIE]):
            assert world.call("POST", "/refresh", ("cookie", f"{REFRESH_COOKIE}={token}"), SAME_ORIGIN).status == 400


def test_dead_access_token_hides_no_refresh_token(shell: str) -> None:
    """Who shows both and logs out is logged out, however long the access token has been dead."""
    with world_of(shell) as world:
        pair = world.login()
        world.gate.revoke(token=pair.access_token, wait=True)
        answer = world.call("POST", "/logout", bearer(pair.access_token), refresh_token=pair.refresh_token)
        assert answer.status == 200
        assert world.call("POST", "/refresh", refresh_token=pair.refresh_token).status == 400


def test_own_session_can_be_ended_however_many_there_are(shell: str) -> None:
    """Filling the list with younger sessions hides none from its owner: DELETE ends it, also the one that calls."""
    with world_of(shell) as world:
        oldest = world.login()
        for _ in range(MOST_LISTED):
            world.gate.sessions.start("alice")
        answer = world.call("DELETE", f"/sessions/{oldest.session_id}", bearer(oldest.access_token))
        assert answer.status == 200
        assert world.status(oldest.access_token) == 401


# --- introspection


def test_check_of_some_paths_leaves_tokens_active(shell: str) -> None:
    """RFC 7662: what the gate admits everywhere but below /admin is no inactive token."""
    with world_of(shell, scope("admin", paths=["/admin/*"])) as world:
        pair = world.login(scope="read")
        assert world.status(pair.access_token) == 200
        assert json_of(world.call("POST", "/introspect", AS_CLIENT, token=pair.access_token))["active"] is True


def test_refresh_token_within_its_grace_is_told_as_it_is_treated(shell: str) -> None:
    """What /refresh still takes for REFRESH_GRACE seconds, /introspect does not call inactive."""
    with world_of(shell, refresh_grace=30.0) as world:
        pair = world.login()
        for _ in range(2):
            assert world.call("POST", "/refresh", refresh_token=pair.refresh_token).status == 200
        assert json_of(world.call("POST", "/introspect", AS_CLIENT, token=pair.refresh_token))["active"] is True


# --- ROTATE_AFTER


def test_response_keeps_its_headers_where_no_token_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """ASGI's headers are any iterable: reading them for a renewal that does not come must not lose the application's."""

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        lines = ((b"content-type", b"text/plain"), (b"x-frame-options", b"DENY"))
        await send({"type": "http.response.start", "status": 200, "headers": (line for line in lines)})
        await send({"type": "http.response.body", "body": b"x"})

    monkeypatch.setattr(Renewal, "_renewed", lambda *_: iter(()))
    gate = gate_of(rotate_after=1)
    assert gate.ready()
    token = gate.sessions.start("alice").access_token
    answer = ask_asgi(ASGIMiddleware(application, gate=gate), Sent("GET", "/", (bearer(token),)))
    assert answer.header("x-frame-options") == "DENY"
    gate.close()


@pytest.mark.server
def test_renewal_that_the_store_finishes_late_throws_nobody_out(own_server: Server) -> None:
    """Never none from one: where the answer to the write is lost, a token that works is left, the old one or the new."""
    own_server.start()
    with world_of("asgi", store=own_server.url, rotate_after=1, lease=1.0) as world:
        assert world.gate.ready(5.0)
        pair = world.login()
        world.gate.verify(pair.access_token)
        own_server.pause()
        answer = world.send(Sent("GET", "/", (bearer(pair.access_token),)))
        own_server.resume()
        assert answer.status == 200
        time.sleep(1.5)  # the store has done what it was asked, and everybody knows
        assert world.gate.ready(5.0)
        assert world.status(answer.header("x-access-token") or pair.access_token) == 200


# --- kept connections


@pytest.mark.server
@pytest.mark.parametrize("name", COMMANDS)
def test_refused_body_at_an_endpoint_is_no_next_request(name: str) -> None:
    """Whatever stands in a body that an endpoint refuses or does not want, one request gets one answer (RFC 9112 §11.2)."""
    inner = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    served = Served(name, "_endpoints")
    try:
        served.wait()
        for start in (b"POST /auth/logout", b"PUT /auth/logout", b"GET /auth/jwks.json", b"DELETE /auth/sessions/x"):
            for body in (inner * 3, inner * 2000):
                head = start + b" HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
                for wire in (
                    head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
                    head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
                ):
                    assert len(statuses(served, wire)) == 1, (start, len(body))
    finally:
        assert served.stop() in {0, -signal.SIGTERM}


def statuses(served: Served, wire: bytes) -> list[bytes]:
    """Of all answers on one connection, until it has been quiet for a moment."""
    received = b""
    with served.connect() as connection:
        connection.settimeout(5)
        with contextlib.suppress(OSError):
            connection.sendall(wire)
        with contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                received += piece
                connection.settimeout(0.2)
    return re.findall(rb"HTTP/1\.1 (\d+)", received)
