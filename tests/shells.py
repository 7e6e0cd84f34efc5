"""For tests of the shells. Both in process: one request in, one answer out, and an application that tells what it was given."""

from __future__ import annotations

import asyncio
import io
import json
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

import jwt
import pytest
from starlette import formparsers

from jwtgate import Gate, Settings, Token

FORMS = pytest.mark.skipif(
    formparsers.parse_options_header is None,
    reason="NOT TESTED: this Starlette takes the package multipart, which Litestar brings, for python-multipart",
)
"""Of tests that send forms to Starlette."""

SECRET = "a-secret-for-tests-of-the-shells-0"
OTHER_SECRET = "another-secret-that-nobody-trusts-1"
COOKIE = "__Host-access_token"
HOST = "app.example"
SUBJECT = "alice"
PROOF = "random-text-of-the-session"
"""What ``good`` says in its claim ``csrf``."""

FAR = 2**31
"""An exp that stays ahead; ``MAX_TTL`` is set so."""

BASE = {"secret": SECRET, "max_ttl": 315360000.0, "lease": 0.25}
"""A short lease: closing a gate waits for a third of it."""

CONFIGURED: dict[str, dict[str, Any]] = {
    "header": {},
    "cookie": {"locations": ("cookie",), "origins": ("https://partner.example",)},
    "double-submit": {
        "locations": ("header", "cookie"),
        "csrf": "double-submit",
        "origins": ("https://partner.example",),
    },
    "both": {"locations": ("header", "cookie"), "origins": ("https://partner.example",)},
    "optional": {"locations": ("header", "cookie"), "mode": "optional"},
    "exempt": {"exempt": ("/health", "/public/*")},
}
"""The settings that requests of the table are sent under, by name."""


def gate_of(name: str = "header", **more: Any) -> Gate:
    """A new gate, under ``CONFIGURED`` and more."""
    return Gate(Settings(**{**BASE, **CONFIGURED[name], **more}))


# --- tokens


def token_of_claims(secret: str = SECRET, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """Signed with HS256; ``exp`` is an hour away unless given."""
    claims.setdefault("exp", int(time.time()) + 3600)
    return jwt.encode(claims, secret, algorithm="HS256", headers=header)


@cache
def tokens() -> dict[str, str]:
    """One of each kind, the same for the whole run; and ``proof``."""
    good = token_of_claims(sub=SUBJECT, jti="good", scope="read write", csrf=PROOF)
    head, payload, signature = good.split(".")
    return {
        "good": good,
        "proof": PROOF,
        "other": token_of_claims(sub="bob", jti="other"),
        "nobody": token_of_claims(jti="nobody"),
        "revoked": token_of_claims(sub="carol", jti="revoked", csrf=PROOF),
        "expired": token_of_claims(sub=SUBJECT, exp=int(time.time()) - 10, csrf=PROOF),
        "unproved": token_of_claims(sub=SUBJECT, jti="unproved", csrf=[PROOF]),
        "early": token_of_claims(sub=SUBJECT, nbf=int(time.time()) + 3600, exp=int(time.time()) + 7200),
        "forged": token_of_claims(OTHER_SECRET, sub=SUBJECT, jti="good", csrf=PROOF),
        "unsigned": jwt.encode({"sub": SUBJECT, "exp": FAR}, None, algorithm="none"),
        "refresh": token_of_claims(sub=SUBJECT, typ="refresh"),
        "tampered": f"{head}.{payload}.{signature[:-4]}AAAA",
        "padded": f"{good}=",
        "named": token_of_claims(OTHER_SECRET, sub=SUBJECT, header={"kid": 'k\r\nSet-Cookie: a="é"'}),
        "bad-sub": token_of_claims(OTHER_SECRET, sub="\r\nX: y", jti="x"),
        "long": "a" * 8193,
        "longer": "a.b.c" * 200_000,
    }


def filled(text: str) -> bytes:
    """The text with ``{name}`` replaced by tokens, as bytes on the wire."""
    for name, token in tokens().items():
        text = text.replace(f"{{{name}}}", token)
    return text.encode("latin-1")


# --- requests and answers


@dataclass(frozen=True)
class Sent:
    """One request; the target and the values are text with ``{token}`` names in it, one character a byte."""

    method: str = "GET"
    target: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def lines(self) -> list[tuple[str, bytes]]:
        """Header lines, with Host unless the request has its own."""
        own = [] if any(name == "host" for name, _ in self.headers) else [("host", HOST)]
        return [(name, filled(value)) for name, value in [*own, *self.headers]]

    @property
    def wire(self) -> bytes:
        """For a real server."""
        lines = b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in self.lines)
        length = b"Content-Length: %d\r\n" % len(self.body) if self.body else b""
        return b"%b %b HTTP/1.1\r\n%b%b\r\n%b" % (self.method.encode(), filled(self.target), lines, length, self.body)


@dataclass(frozen=True)
class Answer:
    """What came back; header names in lower case, sorted."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The one value of that name; None where there is none."""
        values = [value for each, value in self.headers if each == name]
        assert len(values) < 2, f"{name} is repeated"
        return values[0] if values else None


# --- the application behind the gate


def seen(token: Token | None, identity: str) -> bytes:
    """What the application was given, as bytes."""
    told: dict[str, Any] = {"identity": identity, "token": None}
    if token is not None:
        told["token"] = {"claims": token.claims, "source": token.source, "scopes": sorted(token.scopes)}
    return json.dumps(told, sort_keys=True).encode()


async def asgi_application(scope: Any, receive: Any, send: Any) -> None:
    """Tells what it sees; POST /revoke revokes the token it was asked with; other bodies are echoed by POST /echo."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    token = scope["jwtgate.token"]
    body = seen(token, scope["user"].identity)
    if scope["path"] == "/revoke":
        await scope["jwtgate.gate"].aio.revoke(jti=token.token_id, wait=True)
    if scope["path"] == "/echo":
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        body += message["body"]
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def wsgi_application(environ: Any, start_response: Any) -> list[bytes]:
    """The same in WSGI."""
    token = environ["jwtgate.token"]
    body = seen(token, environ.get("REMOTE_USER", "").encode("latin-1").decode())
    if environ["PATH_INFO"] == "/revoke":
        environ["jwtgate.gate"].revoke(jti=token.token_id, wait=True)
    if environ["PATH_INFO"] == "/echo":
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


# --- sending


def scope_of(sent: Sent, **more: Any) -> dict[str, Any]:
    """The HTTP scope that a server makes of the request."""
    raw_path, _, query = filled(sent.target).partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": sent.method,
        "scheme": "http",
        "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.encode(), value) for name, value in sent.lines],
        "client": ("127.0.0.1", 1),
        "server": (HOST, 80),
        **more,
    }


def environ_of(sent: Sent, **more: Any) -> dict[str, Any]:
    """The environ that a server makes of the request: repeated lines are joined (PEP 3333, RFC 3875 §4.1.18)."""
    raw_path, _, query = filled(sent.target).partition(b"?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": sent.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "RAW_URI": filled(sent.target).decode("latin-1"),
        "CONTENT_LENGTH": str(len(sent.body)),
        "wsgi.input": io.BytesIO(sent.body),
    }
    joined: dict[str, list[str]] = {}
    for name, value in sent.lines:
        joined.setdefault("HTTP_" + name.upper().replace("-", "_"), []).append(value.decode("latin-1"))
    environ.update({name: ",".join(values) for name, values in joined.items()})
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):  # RFC 3875 §4.1.2 and §4.1.3: without HTTP_
        if f"HTTP_{name}" in environ:
            environ[name] = environ.pop(f"HTTP_{name}")
    setup_testing_defaults(environ)
    return {**environ, **more}


@dataclass
class Sink:
    """An ASGI server's side of one request: hands out the body, keeps what is sent."""

    body: bytes = b""
    incoming: list[dict[str, Any]] = field(default_factory=list)
    sent: list[dict[str, Any]] = field(default_factory=list)
    received: int = 0

    async def receive(self) -> dict[str, Any]:
        """The next message of ``incoming``, else the body."""
        self.received += 1
        if self.incoming:
            return self.incoming.pop(0)
        return {"type": "http.request", "body": self.body, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        """Keeps it."""
        self.sent.append(message)

    @property
    def answer(self) -> Answer:
        """The response as the client gets it."""
        start, *rest = self.sent
        headers = sorted((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"])
        return Answer(start["status"], tuple(headers), b"".join(message.get("body", b"") for message in rest))


async def send_asgi(app: Any, scope: dict[str, Any], body: bytes = b"") -> Answer:
    """One HTTP request within a running loop."""
    sink = Sink(body)
    await app(scope, sink.receive, sink.send)
    return sink.answer


def ask_asgi(app: Any, sent: Sent, **more: Any) -> Answer:
    """One HTTP request."""
    return asyncio.run(send_asgi(app, scope_of(sent, **more), sent.body))


def ask_wsgi(app: Any, sent: Sent, **more: Any) -> Answer:
    """One HTTP request, with all that PEP 3333 asks of a server."""
    return send_wsgi(app, environ_of(sent, **more))


def send_wsgi(app: Any, environ: dict[str, Any]) -> Answer:
    """One HTTP request."""
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        started[:] = [(status, headers)]
        return lambda data: None

    parts = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    (status, headers) = started[0]
    return Answer(int(status[:3]), tuple(sorted((name.lower(), value) for name, value in headers)), body)
