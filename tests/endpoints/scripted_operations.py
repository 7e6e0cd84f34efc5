"""A gate without a gate: ``core.operations.Operations`` over a few tokens and sessions, that writes down what it is asked.

Alice has two sessions, one of them on her phone; bob has one; carol's token has no session, and nobody's no subject.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt

from jwtgate import Gate, Settings
from jwtgate.core.effects import Pause
from jwtgate.core.http import cross_site
from jwtgate.core.http.challenge import answer
from jwtgate.core.http.exemption import Exemption, is_preflight
from jwtgate.core.http.extraction import Extraction
from jwtgate.core.lru import Admitted
from jwtgate.core.statuses.published import Published
from jwtgate.endpoints.call import Cookies, Rules
from jwtgate.endpoints.clients import Clients
from jwtgate.endpoints.routing import Endpoints
from jwtgate.errors import GrantError, InvalidToken, JWTGateError, MissingToken, Revoked, StoreUnavailable
from jwtgate.messages import Receipt, Request, Response, Session, Token, TokenPair

SECRET = "a-secret-for-tests-of-the-endpoints"
COOKIE = "__Host-access_token"
REFRESH_COOKIE = "__Secure-refresh_token"
CLIENT, CLIENT_SECRET = "rs+1", "s3cr:t&é"
ISSUER = "https://login.example"

LIST = "AbC-_123xyz.h1700000000.0"
LAPTOP, PHONE, BOBS = "laptop-sid", "phone-sid", "bobs-sid"
SESSIONS = {
    sid: Session(sid, sub, device, "192.0.2.7", None, 1000.0, 2000.5, 9000.75)
    for sid, sub, device in ((PHONE, "alice", "Téléphone"), (LAPTOP, "alice", None), (BOBS, "bob", None))
}
RECEIPT = Receipt("epoch:7", 3000.0, effective_everywhere=True, effective_by=3000.25, workers=2, waited_seconds=0.01)
LATER = Receipt("epoch:8", 3001.0, effective_everywhere=False, effective_by=3004.0, workers=1, waited_seconds=1.0)
PAIR = TokenPair("new.access.token", "jgr_new", 900, LAPTOP)
CLEARED = (f"{COOKIE}=; Max-Age=0; Path=/", f"{REFRESH_COOKIE}=; Max-Age=0; Path=/auth/refresh")


def signed(**claims: Any) -> str:
    """An access token; the scripted gate believes what it was told of, whatever the signature."""
    return jwt.encode({"exp": 2**31, "iss": ISSUER, **claims}, SECRET, algorithm="HS256")


@cache
def tokens() -> dict[str, str]:
    """Access tokens by name, and refresh tokens."""
    return {
        "alice": signed(sub="alice", sid=LAPTOP, jti="a", scope="write read", client_id=CLIENT, secret_claim="x"),
        "alice-phone": signed(sub="alice", sid=PHONE, jti="p"),
        "bob": signed(sub="bob", sid=BOBS, jti="b"),
        "carol": signed(sub="carol", jti="c", scp=["one", "two"], aud=["x", "y"], iat=5, nbf=4),
        "nobody": signed(jti="n", sid=LAPTOP),
        "foreign": signed(sub="alice", sid=LAPTOP, jti="f", iss="https://partner.example"),
        "dead": signed(sub="alice", sid=LAPTOP, jti="dead"),
        "others": signed(sub="alice", jti="o", client_id="another"),
        "r-laptop": "jgr_laptop",
        "r-phone": "jgr_phone",
        "r-unknown": "jgr_unknown",
    }


DEAD = ("dead",)
REFRESH_TOKENS = {"jgr_laptop": LAPTOP, "jgr_phone": PHONE}


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    return jwt.decode(token, options={"verify_signature": False, "verify_aud": False})


def token_of(token: str) -> Token:
    """As the gate hands it out."""
    claims = claims_of(token)
    scope = claims.get("scope", "").split() or claims.get("scp", [])
    return Token(
        claims, {}, claims.get("sub"), claims.get("iss"), claims.get("jti"), claims.get("sid"), frozenset(scope),
        claims["exp"], None,
    )  # fmt: skip


@dataclass
class ScriptedOperations:
    """Keeps ``calls`` and what it ``counted``; ``failing`` names those that find the store down."""

    locations: tuple[str, ...] = ("header", "cookie")
    csrf: str = "fetch-metadata"
    is_optional: bool = False
    exempt: tuple[str, ...] = ()
    failing: frozenset[str] = frozenset()
    receipt: Receipt = RECEIPT
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    counted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.find = Extraction(self.locations, COOKIE, 8192).find
        self.exemption = Exemption(self.exempt)

    def examine(self, request: Request, *, is_endpoint: bool = False, is_checked: bool = True) -> Any:
        if not is_endpoint and (is_preflight(request) or self.exemption.matches(request.path, request.raw_path)):
            return None
        credential = self.find(request)
        if credential is None:
            if self.is_optional:
                return None
            raise MissingToken
        if credential.source == "cookie" and self.csrf != "off":
            cross_site.check(request, mode=self.csrf, origins=frozenset())
        return (yield from self.introspect(credential.token.decode()))

    def count(self, error: JWTGateError) -> None:
        self.counted.append(error.reason)

    def introspect(self, token: str) -> Any:
        yield from self._ask("introspect")
        names = {text: name for name, text in tokens().items() if not text.startswith("jgr_")}
        if token not in names:
            raise InvalidToken("none of ours")
        if names[token] in DEAD:
            raise Revoked("dead")
        return Admitted(token_of(token), 0.0, ())

    def refresh(self, refresh_token: str, request: Request | None = None) -> Any:
        if request is not None:
            cross_site.check(request, mode=self.csrf, origins=frozenset())
        yield from self._ask("refresh", refresh_token, request is not None)
        if refresh_token not in REFRESH_TOKENS:
            raise GrantError("unknown")
        return PAIR

    def sessions_of(self, sub: str) -> Any:
        yield from self._ask("sessions_of", sub)
        return [session for session in SESSIONS.values() if session.subject == sub]

    def session_page(self, sub: str, offset: int, limit: int) -> Any:
        yield from self._ask("session_page", sub, offset, limit)
        own = [session for session in SESSIONS.values() if session.subject == sub]
        return own[offset : offset + limit], len(own) > offset + limit

    def session_named(self, sid: str) -> Any:
        yield from self._ask("session_named", sid)
        return SESSIONS.get(sid)

    def end_session(self, sid: str, *, wait: bool) -> Any:
        yield from self._ask("end_session", sid, wait)
        return self.receipt

    def end_all(self, sub: str, keep: str | None, *, wait: bool) -> Any:
        yield from self._ask("end_all", sub, keep, wait)
        return self.receipt

    def session_of(self, refresh_token: str) -> Any:
        yield from self._ask("session_of", refresh_token)
        if refresh_token not in REFRESH_TOKENS:
            raise GrantError("unknown")
        return SESSIONS[REFRESH_TOKENS[refresh_token]]

    def end_by_refresh_token(self, refresh_token: str, *, wait: bool) -> Any:
        yield from self._ask("end_by_refresh_token", refresh_token, wait)
        return LATER if refresh_token in REFRESH_TOKENS else None

    def status_list(self, name: str) -> Any:
        yield from self._ask("status_list", name)
        return Published("a.list.token", "tag", 9.0, 4) if name == LIST else None

    def revoke_token(self, token: str, *, wait: bool) -> Any:
        yield from self._ask("revoke_token", token, wait)
        if token not in tokens().values():
            raise InvalidToken("none of ours")
        return self.receipt

    def hear_logout(self, token: str) -> Any:
        yield from self._ask("hear_logout", token)
        if token not in tokens().values():
            raise InvalidToken("not one of the provider's")
        return self.receipt

    def hear_events(self, token: bytes) -> Any:
        yield from self._ask("hear_events", token)
        if token.decode("latin-1") not in tokens().values():
            raise InvalidToken("not one of the transmitter's")

    def _ask(self, name: str, *arguments: Any) -> Any:
        if name != "introspect":
            self.calls.append((name, *arguments))
        yield Pause(0.0)
        if name in self.failing or "everything" in self.failing:
            raise StoreUnavailable("down")


def clients() -> Clients:
    """One client, and one with two secrets."""
    return Clients(
        [
            f"{CLIENT}:{hashlib.sha256(CLIENT_SECRET.encode()).hexdigest()}",
            *(f"two:{hashlib.sha256(secret).hexdigest().upper()}" for secret in (b"old", b"new")),
        ]
    )


def cookies() -> Cookies:
    """Ours, read as the gate reads the access token's."""
    found = Extraction(("cookie",), COOKIE, 8192, refresh_cookie_name=REFRESH_COOKIE)

    def set_cookies(pair: TokenPair) -> tuple[str, ...]:
        return (f"{COOKIE}={pair.access_token}; HttpOnly", f"{REFRESH_COOKIE}={pair.refresh_token}; HttpOnly")

    return Cookies(found.refresh_cookie_of, set_cookies, lambda: CLEARED)


def policy_of(**settings: Any) -> Any:
    """Of the issuer to which a gate's sessions belong; ours, unless told otherwise."""
    gate = Gate(Settings(**(settings or {"secret": SECRET, "issuer": ISSUER})))
    return None if gate.plans.standing is None else gate.plans.standing.policy


def rules_of(operations: ScriptedOperations, **more: Any) -> Rules:
    """As a gate would make them."""
    made: dict[str, Any] = {
        "policy": policy_of(),
        "find_credential": operations.find,
        "csrf": operations.csrf,
        "origins": frozenset({"https://partner.example"}),
        "clients": clients(),
        "client_id": None,
        "max_token_bytes": 8192,
        "cookies": cookies() if "cookie" in operations.locations else None,
    }
    return Rules(**{**made, **more})


def endpoints_of(operations: ScriptedOperations, **more: Any) -> Endpoints:
    """Mounted under ``/auth``."""
    return Endpoints("/auth", operations, rules_of(operations, **more))


# --- asking without a shell

FORM = ("content-type", "application/x-www-form-urlencoded")


def request_of(method: str, path: str | None, *headers: tuple[str, str], raw_path: bytes | None = None) -> Request:
    """A request; ``{name}`` in a value is a token."""
    lines = []
    for name, value in headers:
        for each, token in tokens().items():
            value = value.replace(f"{{{each}}}", token)
        lines.append((name.encode(), value.encode("latin-1")))
    return Request(method, path, raw_path, tuple(lines))


@dataclass(frozen=True)
class Told:
    """An answer, taken apart."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return self.json["error"]

    def values(self, name: str) -> tuple[str, ...]:
        return tuple(value for each, value in self.headers if each == name)

    @property
    def cookies(self) -> tuple[str, ...]:
        return self.values("set-cookie")


def run(plan: Any) -> Any:
    """Drives a plan whose effects need no answer."""
    try:
        while True:
            next(plan)
    except StopIteration as decided:
        return decided.value


def told(plan: Any) -> Told:
    """The answer, rendered as the shells do."""
    try:
        response: Response = run(plan)
    except JWTGateError as error:
        response = answer(error, realm="jwtgate", retry_after_seconds=1)
    return Told(response.status, response.headers, response.body)


def ask(operations: ScriptedOperations, method: str, path: str, *headers: tuple[str, str], form: str = "", **more: Any) -> Told:
    """One request to an endpoint that must be there; ``{name}`` in the form is a token, too."""
    for name, token in tokens().items():
        form = form.replace(f"{{{name}}}", token)
    lines = (*headers, FORM) if form else headers
    endpoint = endpoints_of(operations, **more).find(request_of(method, f"/auth{path}", *lines))
    assert endpoint is not None
    return told(endpoint.answer(form.encode()))


def bearer(name: str) -> tuple[str, str]:
    """An ``Authorization`` line."""
    return ("authorization", f"Bearer {{{name}}}")


def cookie(name: str, *, of: str = COOKIE) -> tuple[str, str]:
    """A ``Cookie`` line."""
    return ("cookie", f"{of}={{{name}}}")


SAME_ORIGIN = ("sec-fetch-site", "same-origin")
CROSS_SITE = ("sec-fetch-site", "cross-site")
EVIL_ORIGIN = ("origin", "https://evil.example")
