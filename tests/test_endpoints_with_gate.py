"""The endpoints over a real gate: what they say is what the gate then does, through both shells."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from endpoints.scripted_operations import FORM
from endpoints.test_clients import basic
from hypothesis import given, settings
from hypothesis import strategies as st
from keymaking import pair_of
from shells import COOKIE, Answer, Sent, asgi_application, ask_asgi, ask_wsgi, gate_of, token_of_claims, wsgi_application

from jwtgate import TokenPair
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

REFRESH_COOKIE = "__Secure-refresh_token"
SAME_ORIGIN = ("sec-fetch-site", "same-origin")
AS_CLIENT = basic("rs:its-secret")
SETTINGS: dict[str, Any] = {
    "endpoints": "/auth",
    "locations": ("header", "cookie"),
    "clients": (f"rs:{hashlib.sha256(b'its-secret').hexdigest()}",),
    "refresh_grace": 0.0,
}


class World:
    """One gate behind one shell."""

    def __init__(self, shell: str, **settings: Any) -> None:
        self.gate = gate_of(**{**SETTINGS, **settings})
        assert self.gate.ready(1.0 if "store" in settings else 5.0) or "store" in settings
        if shell == "asgi":
            app: Any = ASGIMiddleware(asgi_application, gate=self.gate)
            self.send = lambda sent: ask_asgi(app, sent)
        else:
            wsgi: Any = WSGIMiddleware(wsgi_application, gate=self.gate)
            self.send = lambda sent: ask_wsgi(wsgi, sent)

    def login(self, sub: str = "alice", **more: Any) -> TokenPair:
        return self.gate.sessions.start(sub, **more)

    def call(self, method: str, path: str, *headers: tuple[str, str], **form: str) -> Answer:
        lines = (*headers, FORM) if form else headers
        return self.send(Sent(method, f"/auth{path}", lines, urlencode(form).encode()))

    def status(self, access_token: str) -> int:
        """Of a request to the application."""
        return self.send(Sent("GET", "/", (bearer(access_token),))).status


def bearer(token: str) -> tuple[str, str]:
    """An ``Authorization`` line."""
    return ("authorization", f"Bearer {token}")


def json_of(answer: Answer) -> Any:
    """Of a 200."""
    assert answer.status == 200
    is_key_set = answer.header("content-type") == "application/jwk-set+json"
    assert answer.header("cache-control") == ("public, max-age=300" if is_key_set else "no-store")
    return json.loads(answer.body)


def cookies_of(answer: Answer) -> dict[str, str]:
    """What a browser would keep of them, by name; empty: deleted."""
    pairs = [value.partition(";")[0].partition("=") for name, value in answer.headers if name == "set-cookie"]
    return {name: value for name, _, value in pairs}


@pytest.fixture(params=["asgi", "wsgi"])
def shell(request: pytest.FixtureRequest) -> str:
    """Each of the two."""
    return request.param


@pytest.fixture
def world(shell: str) -> Any:
    """A gate of its own for each test."""
    made = World(shell)
    yield made
    made.gate.close()


def test_refresh_gives_a_pair_that_lives_and_ends_with_its_theft(world: World) -> None:
    """RFC 6749 §6 and RFC 9700 §4.14: rotation; the old token shown again ends the session."""
    pair = world.login()
    told = json_of(world.call("POST", "/refresh", grant_type="refresh_token", refresh_token=pair.refresh_token))
    assert told.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert world.status(told["access_token"]) == 200
    stolen = world.call("POST", "/refresh", refresh_token=pair.refresh_token)
    assert (stolen.status, json.loads(stolen.body)["error"]) == (400, "invalid_grant")
    assert world.status(told["access_token"]) == 401
    assert world.call("POST", "/refresh", refresh_token=told["refresh_token"]).status == 400


def test_refresh_by_cookie_rotates_the_cookies(world: World) -> None:
    """The body holds no token; the new cookies open the application; a refusal touches none."""
    pair = world.login()
    cookie = ("cookie", f"{REFRESH_COOKIE}={pair.refresh_token}")
    assert world.call("POST", "/refresh", cookie).status == 403
    answer = world.call("POST", "/refresh", cookie, SAME_ORIGIN)
    assert json_of(answer) == {"token_type": "Bearer", "expires_in": 900}
    kept = cookies_of(answer)
    assert kept.keys() == {COOKIE, REFRESH_COOKIE}
    assert world.send(Sent("GET", "/", (("cookie", f"{COOKIE}={kept[COOKIE]}"),))).status == 200
    refused = world.call("POST", "/refresh", cookie, SAME_ORIGIN)
    assert (refused.status, cookies_of(refused)) == (400, {})


def test_logout_here_leaves_the_other_device(world: World) -> None:
    """By header, by cookie, by refresh token: the session is dead when the answer is there."""
    shown = [
        lambda pair: ((bearer(pair.access_token),), {}),
        lambda pair: ((("cookie", f"{COOKIE}={pair.access_token}"), SAME_ORIGIN), {}),
        lambda pair: ((), {"refresh_token": pair.refresh_token}),
    ]
    other = world.login()
    for show in shown:
        pair = world.login()
        headers, form = show(pair)
        answer = world.call("POST", "/logout", *headers, **form)
        assert json_of(answer)["effective_everywhere"] is True
        assert set(cookies_of(answer).values()) == {""}
        assert world.status(pair.access_token) == 401
        assert world.call("POST", "/refresh", refresh_token=pair.refresh_token).status == 400
        again = world.call("POST", "/logout", *headers, **form)
        assert (again.status, cookies_of(again)) == (400 if form else 401, {})
    assert world.status(other.access_token) == 200


def test_logout_of_a_token_without_session_kills_that_token(world: World) -> None:
    """No sid: nothing but the token can be meant."""
    token, other = world.gate.issue("alice"), world.gate.issue("alice")
    assert world.call("POST", "/logout", bearer(token)).status == 200
    assert (world.status(token), world.status(other)) == (401, 200)


@pytest.mark.parametrize("sid", ["x", "a" * 2000, "é\u200b", "{}:*", "jgr_"])
def test_logout_of_a_token_with_a_sid_of_another_form_kills_what_carries_it(world: World, sid: str) -> None:
    """An application may have set it: the ruling on it holds all the same, and it breaks nothing."""
    token, twin = (token_of_claims(sub="alice", sid=sid, jti=jti) for jti in "ab")
    assert world.call("POST", "/logout", bearer(token)).status == 200
    assert (world.status(token), world.status(twin)) == (401, 401)
    assert world.call("POST", "/logout-all", bearer(world.login().access_token), keep_current="1").status == 200


def test_logout_everywhere_and_everywhere_else(world: World) -> None:
    """``keep_current``; other subjects live."""
    here, there, bob = world.login(), world.login(), world.login("bob")
    assert json_of(world.call("POST", "/logout-all", bearer(here.access_token), keep_current="true"))["workers"] == 1
    assert [world.status(pair.access_token) for pair in (here, there, bob)] == [200, 401, 200]
    answer = world.call("POST", "/logout-all", bearer(here.access_token))
    assert json_of(answer)["effective_everywhere"] is True
    assert [world.status(pair.access_token) for pair in (here, there, bob)] == [401, 401, 200]
    assert world.status(world.login().access_token) == 200, "a login right after lives"


def test_keeping_the_current_session_without_one_ends_all(world: World) -> None:
    """``keep_current`` where the token has no session of its own, or one of another form."""
    for sub, token in (("alice", world.gate.issue("alice")), ("bob", token_of_claims(sub="bob", sid="other form"))):
        pair = world.login(sub)
        assert world.call("POST", "/logout-all", bearer(token), keep_current="1").status == 200
        assert world.status(pair.access_token) == 401


def test_own_sessions_are_listed_and_ended_and_nobody_elses(world: World) -> None:
    """A sid of another subject is as unknown as any."""
    here, there, bob = world.login(device="Laptop"), world.login(device="Telefon"), world.login("bob")
    listed = json_of(world.call("GET", "/sessions", bearer(here.access_token)))["sessions"]
    assert [(each["sid"], each["device"], each["current"]) for each in listed] == [
        (there.session_id, "Telefon", False),
        (here.session_id, "Laptop", True),
    ]
    assert world.call("DELETE", f"/sessions/{bob.session_id}", bearer(here.access_token)).status == 404
    assert world.call("DELETE", f"/sessions/{there.session_id}", bearer(here.access_token)).status == 200
    assert [world.status(pair.access_token) for pair in (here, there, bob)] == [200, 401, 200]
    assert world.call("DELETE", f"/sessions/{there.session_id}", bearer(here.access_token)).status == 404


def test_clients_introspect_and_revoke(world: World) -> None:
    """RFC 7662 and RFC 7009: what is revoked is inactive, and dead at the gate."""
    pair = world.login(scope="read")

    def told(token: str) -> Any:
        return json_of(world.call("POST", "/introspect", AS_CLIENT, token=token))

    access = told(pair.access_token)
    assert access["active"] and access["scope"] == "read" and access["sid"] == pair.session_id
    assert access.keys() <= {"active", "scope", "token_type", "exp", "iat", "sub", "jti", "sid"}
    refresh = told(pair.refresh_token)
    assert refresh["active"] and refresh["sub"] == "alice"
    assert world.call("POST", "/revoke", AS_CLIENT, token=pair.access_token).body == b""
    assert told(pair.access_token) == {"active": False}
    assert told(pair.refresh_token)["active"], "the session goes on"
    fresh = json_of(world.call("POST", "/refresh", refresh_token=pair.refresh_token))
    assert told(pair.refresh_token) == {"active": False}
    assert world.call("POST", "/revoke", AS_CLIENT, token=fresh["refresh_token"]).status == 200
    assert world.status(fresh["access_token"]) == 401
    for token in ("jgr_", f"{fresh['refresh_token']}A", "a.b.c", fresh["refresh_token"], fresh["access_token"]):
        assert told(token) == {"active": False}
        assert world.call("POST", "/revoke", AS_CLIENT, token=token).status == 200
    assert world.call("POST", "/introspect", token="x").status == 401


def test_token_of_another_client_is_not_revoked(shell: str) -> None:
    """RFC 7009 §2.1: the gate's own tokens are those of ``CLIENT_ID``."""
    world = World(shell, client_id="web")
    pair = world.login()
    for token in (pair.access_token, pair.refresh_token):
        assert world.call("POST", "/revoke", AS_CLIENT, token=token).status == 400
    assert world.status(pair.access_token) == 200
    assert world.call("POST", "/refresh", refresh_token=pair.refresh_token).status == 200
    world.gate.close()


def test_double_submit_guards_refresh_and_logout(shell: str) -> None:
    """Under ``CSRF=double-submit`` both need the session's value, which the third cookie tells our scripts."""
    world = World(shell, csrf="double-submit")
    pair = world.login()
    cookie = ("cookie", f"{REFRESH_COOKIE}={pair.refresh_token}")
    for headers in ((), (SAME_ORIGIN,), (("x-csrf-token", "guess"),)):
        assert world.call("POST", "/refresh", cookie, *headers).status == 403
    value = world.gate.verify(pair.access_token).claims["csrf"]
    kept = cookies_of(world.call("POST", "/refresh", cookie, ("x-csrf-token", value)))
    assert len(kept) == 3 and value in kept.values()
    access = ("cookie", f"{COOKIE}={kept[COOKIE]}")
    assert world.call("POST", "/logout", access, SAME_ORIGIN).status == 403
    answer = world.call("POST", "/logout", access, ("x-csrf-token", value))
    assert (answer.status, set(cookies_of(answer).values())) == (200, {""})
    world.gate.close()


def test_gate_that_only_verifies_still_answers(shell: str) -> None:
    """Without a key to sign with there is nothing to refresh, and nothing is 500."""
    issuers = [{"issuer": f"https://{name}.example", "public_key": _public_key()} for name in "ab"]
    world = World(shell, secret=None, issuers=issuers)
    assert world.gate.settings.secret is None
    assert json_of(world.call("GET", "/jwks.json")) == {"keys": []}
    for path in ("/refresh", "/logout", "/logout-all"):
        assert world.call("POST", path, refresh_token="jgr_x").status in {400, 401, 503}
    assert json_of(world.call("POST", "/introspect", AS_CLIENT, token="jgr_x")) == {"active": False}
    assert world.call("POST", "/revoke", AS_CLIENT, token="jgr_x").status == 200
    world.gate.close()


def _public_key() -> str:
    return pair_of(ed25519.Ed25519PrivateKey.generate()).public_pem


NAME = st.one_of(st.text(min_size=1, max_size=40), st.sampled_from(["alice", "a" * 500]))
CLAIMS = st.fixed_dictionaries(
    {},
    optional={"sub": NAME, "sid": NAME, "jti": NAME, "client_id": NAME, "scope": NAME, "iss": NAME, "iat": st.integers(0, 9)},
)
CALLS = st.sampled_from(
    [("POST", "/logout"), ("POST", "/logout-all"), ("GET", "/sessions"), ("DELETE", "/sessions/x"), ("POST", "/revoke"),
     ("POST", "/introspect"), ("POST", "/refresh")]
)  # fmt: skip


@cache
def lasting_world() -> World:
    """One for all examples."""
    return World("wsgi")


@settings(max_examples=200)
@given(CLAIMS, CALLS, NAME)
def test_any_claims_and_any_tokens_get_an_answer(claims: dict[str, Any], call: tuple[str, str], text: str) -> None:
    """Threats 2 and 7: whatever an issuer wrote into a token, or a client into a field, nothing raises."""
    world = lasting_world()
    token = token_of_claims(**claims)
    shown = (AS_CLIENT,) if call[1] in ("/revoke", "/introspect") else (bearer(token),)
    for field in (token, text, f"jgr_{text}", f"jgr_{'A' * 86}"):
        form = {"token": field, "refresh_token": field} if call[0] == "POST" else {}
        answer = world.call(*call, *shown, **form)
        assert answer.status in {200, 400, 401, 403, 404}
        assert answer.header("cache-control") == "no-store"


def test_store_that_is_down_is_503_at_every_endpoint_that_asks(shell: str) -> None:
    """Never 200, 400 or 401; public keys need no store."""
    world = World(shell, store="redis://127.0.0.1:1/0", lease=0.2)
    token = bearer(token_of_claims(sub="alice", jti="a"))
    refresh_token = "jgr_" + "A" * 86
    for answer in (
        world.call("POST", "/refresh", refresh_token=refresh_token),
        world.call("POST", "/logout", token),
        world.call("POST", "/logout", refresh_token=refresh_token),
        world.call("POST", "/logout-all", token),
        world.call("GET", "/sessions", token),
        world.call("DELETE", "/sessions/x", token),
        world.call("POST", "/introspect", AS_CLIENT, token=token[1].removeprefix("Bearer ")),
        world.call("POST", "/introspect", AS_CLIENT, token=refresh_token),
        world.call("POST", "/revoke", AS_CLIENT, token=token[1].removeprefix("Bearer ")),
        world.call("POST", "/revoke", AS_CLIENT, token=refresh_token),
    ):
        assert (answer.status, cookies_of(answer)) == (503, {})
        assert answer.header("retry-after") == "1"
    assert json_of(world.call("GET", "/jwks.json")) == {"keys": []}
    world.gate.close()
