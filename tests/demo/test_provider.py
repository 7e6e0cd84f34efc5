"""The demo's provider is small, and does what it does as the specifications say."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from beside import beside
from starlette.applications import Starlette
from starlette.testclient import TestClient

from jwtgate.demo.commands import API, CLIENT
from jwtgate.demo.provider import CALLBACK, Provider

ISSUER = "http://127.0.0.1:1234"
VERIFIER = "v" * 43


class Application(HTTPServer):
    """Hears a logout token, and gives a receipt."""

    def __init__(self):
        application = self
        self.heard = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                application.heard.append(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b'{"effective_everywhere": true}')

            def log_message(self, *_):
                """Nothing."""

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def application():
    with Application() as server:
        with beside(partial(server.serve_forever, 0.05), end=server.shutdown):
            yield server


@pytest.fixture
def provider(application):
    return Provider(ISSUER, f"http://127.0.0.1:{application.server_port}/auth/backchannel-logout")


@pytest.fixture
def browser(provider):
    with TestClient(Starlette(routes=provider.routes), base_url=ISSUER, follow_redirects=False) as client:
        yield client


def asked(**changed):
    challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    return {"client_id": CLIENT, "redirect_uri": CALLBACK, "state": "s", "code_challenge": challenge, **changed}


def code_of(response):
    assert response.status_code == 303
    back = parse_qs(urlsplit(response.headers["location"]).query)
    assert (back["state"], back["iss"]) == (["s"], [ISSUER])
    return back["code"][0]


def signed_in(browser, user="alice"):
    form = {"user": user, "password": user}
    code = code_of(browser.post("/authorize", params=asked(), data=form))
    answer = browser.post("/token", data={"code": code, "code_verifier": VERIFIER})
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def keys_of(browser):
    return {key["kid"]: jwt.PyJWK(key) for key in browser.get("/jwks").json()["keys"]}


def claims_of(browser, token, audience):
    header = jwt.get_unverified_header(token)
    return header, jwt.decode(token, keys_of(browser)[header["kid"]], ["ES256"], audience=audience, issuer=ISSUER)


def test_login_gives_an_access_token_and_an_id_token(browser):
    """RFC 9068 §2, OpenID Connect Core 1.0 §2; the session is named in both."""
    answer = signed_in(browser)
    header, access = claims_of(browser, answer["access_token"], API)
    assert header["typ"] == "at+jwt"
    assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} <= set(access)
    _, ident = claims_of(browser, answer["id_token"], CLIENT)
    assert (access["sub"], access["sid"]) == (ident["sub"], ident["sid"])
    assert access["sub"] == "alice"


def test_one_login_is_good_for_further_codes(browser):
    """Single sign-on: the form is shown once."""
    assert browser.get("/authorize", params=asked()).text.count("<form") == 1
    signed_in(browser)
    assert code_of(browser.get("/authorize", params=asked()))


@pytest.mark.parametrize("changed", [{"client_id": "other"}, {"redirect_uri": "http://evil.example"}, {"code_challenge": ""}])
def test_request_of_another_client_or_without_pkce_is_refused(browser, changed):
    """RFC 6749 §4.1.2.1: and nobody is redirected."""
    assert browser.get("/authorize", params=asked(**changed)).status_code == 400


def test_wrong_password_and_wrong_verifier_and_used_code_give_nothing(browser):
    """RFC 7636 §4.6, RFC 6749 §4.1.2."""
    assert browser.post("/authorize", params=asked(), data={"user": "alice", "password": "bob"}).status_code == 401
    code = code_of(browser.post("/authorize", params=asked(), data={"user": "bob", "password": "bob"}))
    for verifier in ("w" * 43, VERIFIER):
        assert browser.post("/token", data={"code": code, "code_verifier": verifier}).json() == {"error": "invalid_grant"}


def test_next_key_is_published_before_it_signs_and_the_old_one_after(browser):
    """OpenID Connect Core 1.0 §10.1.1."""
    old = signed_in(browser)["access_token"]
    published = set(keys_of(browser))
    kid = browser.post("/rotate").json()["kid"]
    assert kid in published
    header, _ = claims_of(browser, signed_in(browser)["access_token"], API)
    assert header["kid"] == kid
    assert claims_of(browser, old, API)


def test_logout_is_told_to_the_application_and_ends_the_login(browser, application):
    """OpenID Connect Back-Channel Logout 1.0 §2.4 and §2.5; what the application answers is told to whoever logs out."""
    answer = signed_in(browser)
    told = browser.post("/logout", data={"id_token_hint": answer["id_token"]}).json()
    assert told == {"application": 200, "answer": {"effective_everywhere": True}}
    header, logout = claims_of(browser, application.heard[0]["logout_token"][0], CLIENT)
    assert header["typ"] == "logout+jwt" and "nonce" not in logout
    assert list(logout["events"]) == ["http://schemas.openid.net/event/backchannel-logout"]
    _, access = claims_of(browser, answer["access_token"], API)
    assert (logout["sub"], logout["sid"]) == (access["sub"], access["sid"])
    assert "<form" in browser.get("/authorize", params=asked()).text


@pytest.mark.parametrize("hint", ["", "x.y.z", jwt.encode({"sid": "s"}, "k" * 32, "HS256", headers={"kid": "unknown"})])
def test_logout_needs_an_id_token_of_the_provider(browser, application, hint):
    """Else anybody could log anybody out."""
    assert browser.post("/logout", data={"id_token_hint": hint}).status_code == 400
    assert application.heard == []


def test_application_that_is_away_is_told_of(browser, provider):
    """The provider's answer says that nobody heard."""
    provider.logout_uri = "http://127.0.0.1:1/nobody"
    told = browser.post("/logout", data={"id_token_hint": signed_in(browser)["id_token"]}).json()
    assert told["application"] == 0
    assert json.dumps(told["answer"])
