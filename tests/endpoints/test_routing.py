"""Which requests an endpoint answers, how, and that no input of a client is ever more than refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from endpoints.scripted_operations import (
    COOKIE,
    REFRESH_COOKIE,
    ScriptedOperations,
    ask,
    bearer,
    endpoints_of,
    request_of,
    tokens,
    told,
)
from endpoints.test_clients import ESCAPED, basic
from hypothesis import given, settings
from hypothesis import strategies as st

import jwtgate.endpoints
from jwtgate.core.http.challenge import answer
from jwtgate.endpoints import refusals
from jwtgate.endpoints.clients import Clients
from jwtgate.endpoints.routing import TABLE
from jwtgate.messages import Response

METHODS = {
    "/refresh": "POST",
    "/logout": "POST",
    "/logout-all": "POST",
    "/sessions": "GET",
    "/sessions/x": "DELETE",
    "/introspect": "POST",
    "/revoke": "POST",
    "/jwks.json": "GET",
    "/backchannel-logout": "POST",
    "/events": "POST",
    "/status/x": "GET",
    "/devices": "GET",
    "/devices/end": "POST",
    "/devices/ended": "GET",
    "/devices.css": "GET",
}
FOR_CLIENTS = ("/introspect", "/revoke")
NEEDS = {**dict.fromkeys(FOR_CLIENTS, "clients"), "/events": "events", "/status/x": "lists"}
NEEDS |= dict.fromkeys((path for path in METHODS if path.startswith("/devices")), "pages")
PAGE = Response(200, (), b"")
ALL = {"has_events": True, "has_lists": True, "draw": lambda *_, **__: PAGE, "style": PAGE}


def find(method: str, path: str | None, *headers: tuple[str, str], raw_path: bytes | None = None, **more: Any) -> Any:
    """The endpoint of a request, or None."""
    return endpoints_of(ScriptedOperations(), **{**ALL, **more}).find(request_of(method, path, *headers, raw_path=raw_path))


def test_table_is_what_the_interface_lists() -> None:
    """One method a path; forms where something is posted; clients where RFC 7009 and RFC 7662 ask for them."""
    paths = {row: row.path.replace("{sid}", "x").replace("{list}", "x") for row in TABLE}
    assert {paths[row]: row.method for row in TABLE} == METHODS
    assert len(TABLE) == len(METHODS)
    for row in TABLE:
        assert (row.takes != "nothing") == (row.method == "POST")
        assert row.needs == NEEDS.get(paths[row], "nothing")


@pytest.mark.parametrize("path", METHODS)
def test_path_of_the_table_is_found_and_its_body_wanted_only_for_forms(path: str) -> None:
    """Also where the server does not tell the raw path, and where letters are escaped in it."""
    method = METHODS[path]
    for raw_path in (None, f"/auth{path}".encode(), f"/auth{path}?a=//&b=%2f".encode(), f"/%61uth{path}".encode()):
        endpoint = find(method, f"/auth{path}", raw_path=raw_path)
        assert endpoint is not None
        assert endpoint.takes_body == (method == "POST")


@pytest.mark.parametrize("path", METHODS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "post", ""])
def test_wrong_method_is_405_and_names_the_right_one(path: str, method: str) -> None:
    """RFC 9110 §15.5.6; the body is not wanted, nothing is asked of the gate, no token needed. HEAD goes with GET."""
    allowed = ("GET", "HEAD") if METHODS[path] == "GET" else (METHODS[path],)
    if method in allowed:
        return
    operations = ScriptedOperations()
    endpoint = endpoints_of(operations, **ALL).find(request_of(method, f"/auth{path}"))
    assert endpoint is not None and not endpoint.takes_body
    refused = told(endpoint.answer())
    assert (refused.status, refused.error) == (405, "method_not_allowed")
    assert refused.values("allow") == (", ".join(allowed),)
    assert refused.values("cache-control") == ("no-store",)
    assert operations.calls == []


@pytest.mark.parametrize("path", ["/sessions", "/jwks.json"])
def test_head_is_answered_as_get(path: str) -> None:
    """RFC 9110 §9.3.2: the same headers; the shell leaves the body out."""
    assert ask(ScriptedOperations(), "HEAD", path, bearer("alice")) == ask(ScriptedOperations(), "GET", path, bearer("alice"))


@pytest.mark.parametrize(
    "path",
    [
        None, "", "/", "/auth", "/auth/", "/logout", "/auth/login", "/auth/logout/", "/auth/logout.", "/auth/logout ",
        "/auth/Logout", "/AUTH/logout", "/authx/logout", "/x/auth/logout", "//auth/logout", "/auth//logout", "/auth/./logout",
        "/auth/x/../logout", "/auth\\logout", "/auth/logout;x", "/auth/logout%00", "/auth/logout\0", "/auth/ｌogout",
        "/auth/sessions/", "/auth/sessions//", "/auth/sessions/a/b", "/auth/sessions/a/", "/auth/sessions/.", "/auth/sessions/..",
        "/auth/sessions/a.", "/auth/sessions/a b ", "/auth/sessions/a\nb", "/auth/sessions/a;b", "/auth/sessions/a%2fb",
        "/auth/sessions/a\\b", "/auth/sessions/\ufffd", "/auth/sessions/\u200b", "/auth/jwks", "/auth/jwks.json/",
        "auth/logout",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_every_other_path_is_the_applications(path: str | None, method: str) -> None:
    """What is not in the table, and what two routers could read differently (threat 24)."""
    assert find(method, path) is None


@pytest.mark.parametrize(
    "raw_path",
    [b"/auth%2flogout", b"/auth%2Flogout", b"/auth/./logout", b"/auth//logout", b"/x/../auth/logout", b"/auth\\logout",
     b"/auth/logout%00", b"/auth/%2e/logout"],
)  # fmt: skip
def test_path_that_was_tidied_on_the_way_is_the_applications(raw_path: bytes) -> None:
    """An encoded slash is never an endpoint, whatever the server made of it."""
    assert find("POST", "/auth/logout", raw_path=raw_path) is None


@pytest.mark.parametrize("path", METHODS)
def test_preflights_and_handshakes_are_the_applications(path: str) -> None:
    """Fetch §4.8: CORS is the application's business. An OPTIONS that is no preflight is a wrong method."""
    preflight = ("access-control-request-method", "POST")
    assert find("OPTIONS", f"/auth{path}", preflight) is None
    assert find("OPTIONS", f"/auth{path}") is not None
    handshake = replace(request_of(METHODS[path], f"/auth{path}"), is_websocket=True)
    assert endpoints_of(ScriptedOperations()).find(handshake) is None


def test_without_clients_their_endpoints_are_not_there() -> None:
    """The path goes to the application, as any other."""
    for path in METHODS:
        assert (find("POST", f"/auth{path}", clients=Clients(())) is None) == (path in FOR_CLIENTS)


@pytest.mark.parametrize("kind", [getattr(refusals, name) for name in refusals.__all__ if name != "CallError"])
def test_refusals_have_answers_of_their_own(kind: type[refusals.CallError]) -> None:
    """Fixed words, no challenge, never stored, never a 500."""
    rendered = answer(kind("why"), realm="r", retry_after_seconds=None)
    assert 400 <= rendered.status < 500
    assert b"why" not in rendered.body and kind.error.encode() in rendered.body
    assert [name for name, _ in rendered.headers] == ["content-type", "content-length", "cache-control"]
    assert len({each.reason for each in refusals.CallError.__subclasses__()}) == len(refusals.CallError.__subclasses__())


def test_endpoints_admit_by_operations_alone() -> None:
    """Threat 1: no module of the room verifies a signature or looks at a ruling itself."""
    for path in Path(next(iter(jwtgate.endpoints.__path__))).glob("*.py"):
        assert not re.search(r"core\.(gate|verification|rulings|view|lru) import", path.read_text().split("TYPE_CHECKING:")[0])


# --- any input at all

WIRE = st.text(st.characters(max_codepoint=255), max_size=60)
NAMES = st.sampled_from([f"{{{name}}}" for name in tokens()])
TOKEN = st.one_of(NAMES, WIRE)
HEADER = st.one_of(
    st.tuples(st.just("authorization"), st.one_of(WIRE, st.builds("Bearer {}".format, TOKEN), st.just(basic(ESCAPED)[1]))),
    st.tuples(st.just("cookie"), st.builds("{}={}".format, st.sampled_from([COOKIE, REFRESH_COOKIE, "x"]), TOKEN)),
    st.tuples(st.sampled_from(["content-type", "content-length", "origin", "host", "sec-fetch-site"]), WIRE),
    st.just(("content-type", "application/x-www-form-urlencoded")),
    st.just(("sec-fetch-site", "same-origin")),
)
FIELD = st.sampled_from(["token", "refresh_token", "grant_type", "keep_current", "client_id", "client_secret", "x"])
BODY = st.one_of(
    st.binary(max_size=200), st.lists(st.builds("{}={}".format, FIELD, TOKEN), max_size=4).map("&".join).map(str.encode)
)
TARGET = st.one_of(st.sampled_from(sorted(METHODS)), st.builds("/sessions/{}".format, WIRE), st.builds("/{}".format, WIRE))
STATUSES = {200, 400, 401, 403, 404, 405, 413, 415, 503}
SECRETS = ("secret_claim", "jgr_laptop", "jgr_phone", *(token for token in tokens().values() if token.count(".") == 2))


@settings(max_examples=600)
@given(
    st.sampled_from(["GET", "HEAD", "POST", "DELETE", "OPTIONS", "X"]),
    TARGET,
    st.lists(HEADER, max_size=4),
    BODY,
    st.sampled_from([(), ("everything",), ("end_session",)]),
    st.sampled_from(["fetch-metadata", "off"]),
)
def test_any_input_gets_an_answer_of_the_interface(
    method: str, target: str, headers: list[tuple[str, str]], body: bytes, failing: tuple[str, ...], csrf: str
) -> None:
    """Threats 2, 3 and 29: never an exception, nothing of the request in the answer; only public keys may be kept."""
    operations = ScriptedOperations(failing=frozenset(failing), csrf=csrf)
    endpoint = endpoints_of(operations).find(request_of(method, f"/auth{target}", *headers))
    if endpoint is None:
        return
    for name, token in tokens().items():
        body = body.replace(f"{{{name}}}".encode(), token.encode())
    given_answer = told(endpoint.answer(body))
    assert given_answer.status in STATUSES
    is_key_set = target == "/jwks.json" and given_answer.status in (200, 304)
    assert given_answer.values("cache-control") == ("public, max-age=300" if is_key_set else "no-store",)
    assert given_answer.status == 304 or given_answer.values("content-length") == (str(len(given_answer.body)),)
    for secret in SECRETS:
        assert secret.encode() not in given_answer.body
    if given_answer.status != 200:
        assert given_answer.cookies == ()
    if "everything" in failing:
        assert given_answer.status != 200 or target in ("/jwks.json", *FOR_CLIENTS)
