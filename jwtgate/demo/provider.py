"""A small OpenID provider of this demo: what of OpenID Connect the show needs, and nothing to be used elsewhere.

Discovery, a JWK Set with the next key in it before it signs, the authorization code flow with PKCE behind a login form, access
tokens by RFC 9068, and logout, which it tells the application (OpenID Connect Back-Channel Logout 1.0). ``DEMO_ISSUER`` is
where it listens, ``DEMO_LOGOUT_URI`` where its logouts go. Everybody's password is his name.
"""

from __future__ import annotations

import hmac
import html
import json
import os
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from jwtgate.demo.commands import API, CLIENT

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["CALLBACK", "Provider", "application"]

CALLBACK = "http://127.0.0.1:1/callback"
"""Where the one client awaits codes: nobody listens there, the show looks at the redirect."""

USERS = frozenset(("alice", "bob"))
TTL_SECONDS = 3600
LOGOUT_TTL_SECONDS = 120
LOGOUT_SECONDS = 2.5
"""As other providers give an application to answer a logout."""

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

FORM = """<!doctype html><title>Sign in</title><h1>Sign in</h1>{}
<form method="post"><input name="user" placeholder="alice or bob"><input name="password" type="password"
placeholder="the same again"><button>Sign in</button></form>"""


class SigningKey:
    """One ES256 key."""

    def __init__(self) -> None:
        self.kid = secrets.token_urlsafe(6)
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, Any]:
        """Its public half (RFC 7517 §4)."""
        members = jwt.get_algorithm_by_name("ES256").to_jwk(self._key.public_key(), as_dict=True)
        return {**members, "kid": self.kid, "use": "sig", "alg": "ES256"}

    def sign(self, claims: dict[str, Any], typ: str) -> str:
        """A JWT."""
        return jwt.encode(claims, self._key, "ES256", headers={"kid": self.kid, "typ": typ})

    def read(self, token: str) -> dict[str, Any]:
        """The claims. Raises: jwt.InvalidTokenError."""
        claims: dict[str, Any] = jwt.decode(token, self._key.public_key(), ["ES256"], audience=CLIENT)
        return claims


@dataclass(frozen=True, slots=True)
class Login:
    """A session of one browser."""

    sid: str
    user: str


@dataclass(frozen=True, slots=True)
class Code:
    """What a code stands for, until it is used."""

    login: Login
    challenge: str
    nonce: str | None


class Provider:
    """Everything it knows, in memory."""

    def __init__(self, issuer: str, logout_uri: str) -> None:
        self.issuer = issuer
        self.logout_uri = logout_uri
        self.keys = [SigningKey(), SigningKey()]
        """Oldest first. The last is published and does not sign yet; the one before it signs."""

        self.logins: dict[str, Login] = {}
        self.codes: dict[str, Code] = {}
        self._client = httpx.Client(trust_env=False, timeout=LOGOUT_SECONDS)

    def claims(self, audience: str, seconds: int, **more: Any) -> dict[str, Any]:
        """Of a token that is issued now."""
        now = int(time.time())
        members = {"iss": self.issuer, "aud": audience, "iat": now, "exp": now + seconds, "jti": secrets.token_urlsafe(12)}
        return {**members, **{name: value for name, value in more.items() if value is not None}}

    def sign(self, claims: dict[str, Any], typ: str) -> str:
        """With the key that signs now."""
        return self.keys[-2].sign(claims, typ)

    def rotate(self) -> str:
        """The next key signs from now on, and the one after it is published. Returns the kid."""
        self.keys.append(SigningKey())
        return self.keys[-2].kid

    # --- endpoints

    async def metadata(self, _: Request) -> Response:
        """OpenID Connect Discovery 1.0 §4."""
        paths = {"authorization": "/authorize", "token": "/token", "end_session": "/logout"}
        members = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks", "response_types_supported": ["code"]}
        return JSONResponse({**members, **{f"{name}_endpoint": f"{self.issuer}{path}" for name, path in paths.items()}})

    async def jwk_set(self, _: Request) -> Response:
        """RFC 7517 §5."""
        return JSONResponse({"keys": [key.jwk for key in self.keys]}, headers={"Cache-Control": "max-age=300"})

    async def authorize(self, request: Request) -> Response:
        """RFC 6749 §4.1.1 with RFC 7636: a code for whoever is logged in, the form for whoever is not."""
        query = request.query_params
        if query.get("client_id") != CLIENT or query.get("redirect_uri") != CALLBACK or not query.get("code_challenge"):
            return JSONResponse({"error": "invalid_request"}, 400)
        login = self.logins.get(request.cookies.get("login", ""))
        response: Response = HTMLResponse(FORM.format(""))
        if request.method == "POST":
            form = await _form(request)
            user, password = form.get("user", ""), form.get("password", "")
            if user not in USERS or not hmac.compare_digest(password.encode(), user.encode()):
                return HTMLResponse(FORM.format(f"<p>{html.escape(user)}: wrong password"), 401)
            login = Login(secrets.token_urlsafe(12), user)
        if login is not None:
            code, cookie = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
            self.codes[code] = Code(login, query["code_challenge"], query.get("nonce"))
            self.logins[cookie] = login
            back = {"code": code, "state": query.get("state", ""), "iss": self.issuer}
            response = RedirectResponse(f"{CALLBACK}?{urlencode(back)}", 303)
            response.set_cookie("login", cookie, httponly=True, samesite="lax")
        return response

    async def token(self, request: Request) -> Response:
        """RFC 6749 §4.1.3, RFC 7636 §4.6: a code is good once, for whoever asked for it."""
        form = await _form(request)
        code = self.codes.pop(form.get("code", ""), None)
        digest = sha256(form.get("code_verifier", "").encode()).digest()
        if code is None or urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        who = {"sub": code.login.user, "sid": code.login.sid}
        access = self.claims(API, TTL_SECONDS, client_id=CLIENT, scope="orders", **who)
        ident = self.claims(CLIENT, TTL_SECONDS, nonce=code.nonce, **who)
        tokens = {"access_token": self.sign(access, "at+jwt"), "id_token": self.sign(ident, "JWT")}
        return JSONResponse(
            {**tokens, "token_type": "Bearer", "expires_in": TTL_SECONDS}, headers={"Cache-Control": "no-store"}
        )

    async def log_out(self, request: Request) -> Response:
        """RP-Initiated Logout 1.0: the session is over here, and answered once the application has heard of it."""
        try:
            claims = self._read((await _form(request)).get("id_token_hint", ""))
        except jwt.InvalidTokenError:
            return JSONResponse({"error": "invalid_request"}, 400)
        sid = str(claims["sid"])
        self.logins = {cookie: login for cookie, login in self.logins.items() if login.sid != sid}
        events = {LOGOUT_EVENT: dict[str, str]()}
        told = self.claims(CLIENT, LOGOUT_TTL_SECONDS, sub=claims["sub"], sid=sid, events=events)
        status, answer = await run_in_threadpool(self._tell, self.sign(told, "logout+jwt"))
        return JSONResponse({"application": status, "answer": answer})

    def _read(self, id_token: str) -> dict[str, Any]:
        """The claims of an ID token of ours. Raises: jwt.InvalidTokenError."""
        kid = jwt.get_unverified_header(id_token).get("kid")
        for key in self.keys:
            if key.kid == kid:
                return key.read(id_token)
        raise jwt.InvalidTokenError

    def _tell(self, logout_token: str) -> tuple[int, Any]:
        """Back-Channel Logout 1.0 §2.5. Returns what the application answered; 0: nothing."""
        try:
            response = self._client.post(self.logout_uri, data={"logout_token": logout_token})
            return response.status_code, json.loads(response.content or b"{}")
        except (httpx.HTTPError, ValueError) as error:
            return 0, type(error).__name__

    async def turn(self, _: Request) -> Response:
        """For the show alone: rotates."""
        return JSONResponse({"kid": self.rotate()})

    @property
    def routes(self) -> list[Route]:
        """Where all this is."""
        return [
            Route("/.well-known/openid-configuration", self.metadata),
            Route("/jwks", self.jwk_set),
            Route("/authorize", self.authorize, methods=["GET", "POST"]),
            Route("/token", self.token, methods=["POST"]),
            Route("/logout", self.log_out, methods=["POST"]),
            Route("/rotate", self.turn, methods=["POST"]),
        ]


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode()))


def application() -> Starlette:
    """For uvicorn's ``--factory``."""
    return Starlette(routes=Provider(os.environ["DEMO_ISSUER"], os.environ["DEMO_LOGOUT_URI"]).routes)
