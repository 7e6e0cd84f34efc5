"""The endpoints through both shells: the same bytes, and the application keeps what is not theirs."""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from endpoints.scripted_operations import (
    CROSS_SITE,
    EVIL_ORIGIN,
    FORM,
    LAPTOP,
    REFRESH_COOKIE,
    SAME_ORIGIN,
    ScriptedOperations,
    cookie,
    endpoints_of,
    tokens,
    told,
)
from endpoints.test_clients import ESCAPED, basic
from endpoints.test_routing import BODY, HEADER, TARGET
from hypothesis import given, settings
from hypothesis import strategies as st
from shells import (
    SUBJECT,
    Answer,
    Sent,
    Sink,
    asgi_application,
    ask_asgi,
    ask_wsgi,
    environ_of,
    gate_of,
    scope_of,
    seen,
    send_wsgi,
    wsgi_application,
)
from shells import tokens as real_tokens

from jwtgate import Gate
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.asgi import _request as request_of_scope
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

CONFIGURED: dict[str, dict[str, Any]] = {
    "header": {"locations": ("header",)},
    "both": {"locations": ("header", "cookie")},
    "down": {"locations": ("header", "cookie"), "failing": frozenset({"everything"})},
}


@cache
def mounted(name: str) -> tuple[Gate, ASGIMiddleware, WSGIMiddleware]:
    """A gate whose endpoints ask scripted operations, and both shells before it."""
    gate = gate_of(locations=CONFIGURED[name]["locations"], endpoints="/auth")
    gate.plans.endpoints = endpoints_of(ScriptedOperations(**CONFIGURED[name]), has_events=True)
    return gate, ASGIMiddleware(asgi_application, gate=gate), WSGIMiddleware(wsgi_application, gate=gate)


def filled(sent: Sent) -> Sent:
    """``{name}`` is a token of the scripted operations."""
    lines = []
    for field, value in sent.headers:
        for each, token in tokens().items():
            value = value.replace(f"{{{each}}}", token)
        lines.append((field, value))
    body = sent.body
    for each, token in tokens().items():
        body = body.replace(f"{{{each}}}".encode(), token.encode())
    return Sent(sent.method, sent.target, tuple(lines), body)


def bearer(name: str) -> tuple[str, str]:
    """An ``Authorization`` line."""
    return ("authorization", f"Bearer {{{name}}}")


def row(method: str, target: str, *headers: tuple[str, str], form: bytes = b"") -> Sent:
    """A request; a form with its type and, as every client does it, its length."""
    lines = (*headers, FORM, ("content-length", str(len(filled(Sent(body=form)).body)))) if form else headers
    return Sent(method, f"/auth{target}", lines, form)


ROWS: list[tuple[str, int, Sent]] = [
    ("both", 200, row("POST", "/refresh", form=b"refresh_token={r-laptop}")),
    ("both", 200, row("POST", "/refresh", cookie("r-laptop", of=REFRESH_COOKIE), SAME_ORIGIN)),
    ("both", 403, row("POST", "/refresh", cookie("r-laptop", of=REFRESH_COOKIE), CROSS_SITE)),
    ("both", 400, row("POST", "/refresh", cookie("r-unknown", of=REFRESH_COOKIE), SAME_ORIGIN)),
    ("both", 400, row("POST", "/refresh", cookie(f"r-laptop}}; {REFRESH_COOKIE}={{r-laptop", of=REFRESH_COOKIE))),
    ("both", 400, row("POST", "/refresh")),
    ("header", 400, row("POST", "/refresh", cookie("r-laptop", of=REFRESH_COOKIE), SAME_ORIGIN)),
    ("down", 503, row("POST", "/refresh", form=b"refresh_token={r-laptop}")),
    ("both", 200, row("POST", "/backchannel-logout", form=b"logout_token={alice}&a=1&a=2")),
    ("both", 400, row("POST", "/backchannel-logout", form=b"logout_token={dead-none}")),
    ("both", 400, row("POST", "/backchannel-logout", form=b"logout_token={alice}&logout_token={alice}")),
    ("both", 400, row("POST", "/backchannel-logout")),
    ("both", 405, row("GET", "/backchannel-logout")),
    ("down", 503, row("POST", "/backchannel-logout", form=b"logout_token={alice}")),
    ("both", 415, row("POST", "/events", form=b"{alice}")),
    ("both", 405, row("GET", "/events")),
    ("both", 405, row("GET", "/refresh")),
    ("both", 405, row("HEAD", "/refresh")),
    ("both", 405, row("OPTIONS", "/refresh")),
    ("header", 200, row("POST", "/logout", bearer("alice"))),
    ("both", 200, row("POST", "/logout", bearer("alice"))),
    ("both", 200, row("POST", "/logout", cookie("alice"), SAME_ORIGIN)),
    ("both", 403, row("POST", "/logout", cookie("alice"), EVIL_ORIGIN)),
    ("both", 200, row("POST", "/logout", form=b"refresh_token={r-phone}")),
    ("both", 401, row("POST", "/logout")),
    ("both", 401, row("POST", "/logout", bearer("dead"))),
    ("both", 400, row("POST", "/logout", bearer("alice"), bearer("alice"))),
    ("down", 503, row("POST", "/logout", bearer("alice"))),
    ("both", 200, row("POST", "/logout-all", bearer("alice"), form=b"keep_current=1")),
    ("both", 400, row("POST", "/logout-all", bearer("alice"), form=b"keep_current=x")),
    ("both", 403, row("POST", "/logout-all", bearer("nobody"))),
    ("both", 200, row("GET", "/sessions", bearer("alice"))),
    ("both", 200, row("HEAD", "/sessions", bearer("alice"))),
    ("both", 401, row("GET", "/sessions")),
    ("both", 401, row("HEAD", "/sessions")),
    ("both", 405, row("POST", "/sessions", bearer("alice"))),
    ("both", 200, row("DELETE", f"/sessions/{LAPTOP}", bearer("alice"))),
    ("both", 404, row("DELETE", "/sessions/%C3%A9", bearer("alice"))),
    ("both", 404, row("DELETE", "/sessions/unknown", bearer("alice"))),
    ("both", 405, row("GET", "/sessions/unknown", bearer("alice"))),
    ("both", 200, row("POST", "/introspect", basic(ESCAPED), form=b"token={alice}")),
    ("both", 200, row("POST", "/introspect", basic(ESCAPED), form=b"token={dead}")),
    ("both", 401, row("POST", "/introspect", form=b"token={alice}")),
    ("both", 400, row("POST", "/introspect", basic(ESCAPED), basic(ESCAPED), form=b"token={alice}")),
    ("down", 503, row("POST", "/introspect", basic(ESCAPED), form=b"token={alice}")),
    ("both", 200, row("POST", "/revoke", basic(ESCAPED), form=b"token={alice}")),
    ("both", 200, row("POST", "/revoke", basic(ESCAPED), form=b"token=x")),
    ("both", 400, row("POST", "/revoke", basic(ESCAPED))),
    ("both", 200, row("GET", "/jwks.json")),
    ("both", 200, row("HEAD", "/jwks.json")),
    ("both", 415, Sent("POST", "/auth/logout", (("content-length", "3"),), b"a=1")),
    ("both", 415, Sent("POST", "/auth/logout", (("content-length", "3"), ("content-type", "text/plain")), b"a=1")),
    ("both", 401, Sent("POST", "/auth/logout", (("content-type", "text/plain"),))),
    ("both", 400, row("POST", "/logout", form=b"a=%ff")),
    ("both", 400, row("POST", "/logout", form=b"a=1&a=1")),
    ("both", 413, row("POST", "/logout", form=b"a=" + b"x" * 16384)),
    ("both", 400, Sent("POST", "/auth/logout", (FORM, ("content-length", "three")), b"a=1")),
    ("both", 400, Sent("POST", "/auth/logout", (FORM, ("content-length", "3"), ("content-length", "3")), b"a=1")),
    ("both", 400, Sent("POST", "/auth/logout", (FORM, ("content-length", "30")), b"a=1")),
]


@pytest.mark.parametrize(("name", "status", "sent"), ROWS, ids=[f"{n}: {s.method} {s.target} {c}" for n, c, s in ROWS])
def test_both_shells_give_the_same_answer(name: str, status: int, sent: Sent) -> None:
    """One implementation: the bytes are those that the endpoint itself gives; HEAD has no body."""
    gate, asgi, wsgi = mounted(name)
    sent = filled(sent)
    answer = ask_asgi(asgi, sent)
    assert answer == ask_wsgi(wsgi, sent)
    assert answer.status == status
    is_key_set = sent.target == "/auth/jwks.json" and status == 200
    assert answer.header("cache-control") == ("public, max-age=300" if is_key_set else "no-store")
    endpoint = gate.plans.endpoints.find(request_of_scope(scope_of(sent)))
    if not any(field == "content-length" for field, _ in sent.headers):
        expected = told(endpoint.answer(sent.body))
        body = b"" if sent.method == "HEAD" else expected.body
        assert answer == Answer(expected.status, tuple(sorted(expected.headers)), body)


APPLICATIONS = [
    ("GET", "/auth/login"), ("POST", "/auth/login"), ("POST", "/auth"), ("POST", "/auth/"), ("POST", "/authx/logout"),
    ("POST", "/auth%2Flogout"), ("POST", "/auth/x/../logout"), ("POST", "//auth/logout"), ("POST", "/auth/logout/"),
    ("GET", "/auth/sessions/a/b"), ("POST", "/logout"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target"), APPLICATIONS)
@pytest.mark.parametrize("name", ["header", "both"])
def test_every_other_path_goes_through_the_gate(name: str, method: str, target: str) -> None:
    """The application may have its own ``/auth/login``; the gate decides about it as about any other, met again, too."""
    _, asgi, wsgi = mounted(name)
    origin = ("sec-fetch-site", "same-origin")
    for _ in range(2):
        for headers, status in (((), 401), ((("authorization", "Bearer {good}"), origin), 200)):
            sent = Sent(method, target, headers)
            answer = ask_asgi(asgi, sent)
            assert answer == ask_wsgi(wsgi, sent)
            assert answer.status == status


def test_preflights_and_handshakes_go_to_the_application() -> None:
    """Fetch §4.8: anonymous, as everywhere; a handshake needs a token, as everywhere."""
    _, asgi, wsgi = mounted("both")
    preflight = Sent("OPTIONS", "/auth/logout", (("access-control-request-method", "POST"),))
    assert ask_asgi(asgi, preflight).body == ask_wsgi(wsgi, preflight).body == seen(None, "")
    handshake = Sent("GET", "/auth/sessions", (("upgrade", "websocket"),))
    assert ask_asgi(asgi, handshake) == ask_wsgi(wsgi, handshake)
    assert ask_asgi(asgi, handshake).status == 401
    sink = Sink(incoming=[{"type": "websocket.connect"}])
    asyncio.run(asgi({**scope_of(handshake), "type": "websocket"}, sink.receive, sink.send))
    assert sink.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


def test_admitted_token_still_hits_beside_endpoints() -> None:
    """A path that is no endpoint's is decided from memory, and an endpoint's is never taken for one."""
    gate, asgi, wsgi = mounted("header")
    assert gate.ready()
    sent = Sent("GET", "/", (("authorization", "Bearer {good}"),))
    ask_asgi(asgi, sent)
    hits = gate.status().hits
    assert ask_asgi(asgi, sent).status == ask_wsgi(wsgi, sent).status == 200
    assert gate.status().hits == hits + 2
    on_endpoint = Sent("GET", "/auth/sessions", sent.headers)
    assert ask_asgi(asgi, on_endpoint) == ask_wsgi(wsgi, on_endpoint)
    assert ask_asgi(asgi, on_endpoint).status == 401, "the scripted operations know no such token"
    assert gate.status().hits == hits + 2


def test_mount_point_of_the_application_counts() -> None:
    """Endpoints stand below the path that the application routes on (interface §1)."""
    _, asgi, wsgi = mounted("both")
    sent = Sent("GET", "/app/auth/jwks.json")
    assert ask_asgi(asgi, sent).status == ask_wsgi(wsgi, sent).status == 401
    assert ask_asgi(asgi, sent, root_path="/app").status == 200
    assert ask_wsgi(wsgi, sent, SCRIPT_NAME="/app", PATH_INFO="/auth/jwks.json", RAW_URI=None).status == 200


@pytest.mark.parametrize(("target", "root_path"), [("/x/auth/sessions", "/x"), ("/auth/sessions", "/sessions")])
def test_endpoint_is_there_where_no_path_is_certain(target: str, root_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens nothing: daphne's root path, one within the path, and Pyramid's header keep nobody from logging out."""
    _, asgi, wsgi = mounted("both")
    expected = ask_asgi(asgi, Sent("PUT", "/auth/sessions"))
    assert expected.status == 405
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", SimpleNamespace(running=True))
    assert ask_asgi(asgi, Sent("PUT", target), root_path=root_path) == expected
    assert ask_wsgi(wsgi, Sent("PUT", "/auth/sessions", (("x-vhm-root", "/"),))) == expected
    assert ask_asgi(asgi, Sent("PUT", "/x/auth/session"), root_path="/x").status == 401


def test_without_the_setting_there_is_no_endpoint() -> None:
    """``ENDPOINTS`` unset: every path is the application's."""
    gate = gate_of()
    for ask, shell in (
        (ask_asgi, ASGIMiddleware(asgi_application, gate=gate)),
        (ask_wsgi, WSGIMiddleware(wsgi_application, gate=gate)),
    ):
        sent = Sent("POST", "/auth/logout", (("authorization", "Bearer {good}"),))
        assert ask(shell, sent).body == seen(replace(gate.verify(real_tokens()["good"]), source="header"), SUBJECT)


def test_body_that_is_not_wanted_is_not_read() -> None:
    """A GET with a body, a wrong method, and a length of nothing."""
    _, asgi, wsgi = mounted("both")

    class Unread:
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("read")

    for sent in (Sent("GET", "/auth/jwks.json", body=b"x"), Sent("PUT", "/auth/logout", body=b"x")):
        sink = Sink(sent.body)
        asyncio.run(asgi(scope_of(sent), sink.receive, sink.send))
        assert sink.received == 0
        assert send_wsgi(wsgi, environ_of(sent, **{"wsgi.input": Unread()})) == sink.answer


def test_client_that_is_gone_gets_no_answer() -> None:
    """ASGI: nothing is sent and nothing raised; nothing was ended."""
    gate, asgi, _ = mounted("both")
    sent = filled(Sent("POST", "/auth/logout", (bearer("alice"), FORM)))
    sink = Sink(incoming=[{"type": "http.request", "body": b"x=", "more_body": True}, {"type": "http.disconnect"}])
    asyncio.run(asgi(scope_of(sent), sink.receive, sink.send))
    assert sink.sent == []
    assert gate.plans.endpoints is not None


def test_refusals_are_logged_without_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    """Threat 29: the precise reason, and no token, secret or field."""
    caplog.set_level(logging.DEBUG)
    shown = []
    for name, _, sent in ROWS:
        gate, asgi, wsgi = mounted(name)
        ask_asgi(asgi, filled(sent))
        ask_wsgi(wsgi, filled(sent))
        shown.append(repr(gate.plans.endpoints.find(request_of_scope(scope_of(filled(sent))))))
    lines = [caplog.handler.format(record) for record in caplog.records] + shown
    for reason in (
        "malformed_call",
        "body_too_large",
        "no_such_session",
        "wrong_media_type",
        "invalid_client",
        "invalid_grant",
    ):
        assert any(f"refused: {reason}" in line for line in lines), reason
    for line in lines:
        for secret in (*tokens().values(), "s3cr", ESCAPED):
            assert secret not in line


@settings(max_examples=150)
@given(
    st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "X"]),
    TARGET,
    st.lists(HEADER, max_size=4, unique_by=lambda pair: pair[0]),
    BODY,
)
def test_any_bytes_get_the_same_answer_from_both_shells(
    method: str, target: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    """Threats 2 and 19: whatever a client sends, one answer of the interface."""
    _, asgi, wsgi = mounted("both")
    lines = tuple((name, value.replace("\r", "").replace("\n", "")) for name, value in headers if name != "content-length")
    sent = filled(Sent(method, f"/auth{target}".replace("{", "").replace("}", ""), lines, body))
    answer = ask_asgi(asgi, sent)
    assert answer == ask_wsgi(wsgi, sent)
    assert answer.status in {200, 400, 401, 403, 404, 405, 413, 415}
