"""A site behind the gate, its neighbours, and what each request looked like: real servers, for a real browser.

Browsers lead every name under ``localhost`` to the machine itself, so three hosts need no name server:
``app.localhost`` is the site, ``other.app.localhost`` a sibling of the same site, ``evil.localhost`` another site.
"""

from __future__ import annotations

import base64
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from shells import SECRET, token_of_claims
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute

from jwtgate import Gate, Settings, token_of
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.core.http.cookies import check_size, set_cookies
from jwtgate.messages import TokenPair

OWN, SIBLING, STRANGER = "app.localhost", "other.app.localhost", "evil.localhost"
SUBJECT = "alice"
ACCESS_SECONDS, SESSION_SECONDS = 900, 86_400
START_SECONDS = 10.0

PAGE = "<!doctype html><title>page</title><form method=post action=/login><button>log in</button></form>"


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for all hosts, as files."""

    certificate: str
    key: str

    @classmethod
    def made_in(cls, folder: Path) -> Self:
        """Good for a day."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "jwtgate tests")])
        hosts = x509.SubjectAlternativeName([x509.DNSName(host) for host in (OWN, SIBLING, STRANGER)])
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(hosts, critical=False)
            .sign(key, hashes.SHA256())
        )
        files = cls(str(folder / "certificate.pem"), str(folder / "key.pem"))
        Path(files.certificate).write_bytes(made.public_bytes(Encoding.PEM))
        Path(files.key).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return files


@dataclass(frozen=True)
class Visit:
    """One request as the server got it, and what became of it.

    Attributes:
        cookies: names.
        site: Sec-Fetch-Site.
        status: of the answer; 101 for a WebSocket that was accepted.
    """

    method: str
    path: str
    cookies: frozenset[str]
    site: str | None
    status: int


class Served:
    """An application on a port of its own, in a thread."""

    def __init__(self, app: Any, certificate: Certificate | None = None) -> None:
        """Args: certificate: None serves plain http."""
        self.visits: list[Visit] = []
        self.app = app
        self.scheme = "http" if certificate is None else "https"
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        files = {} if certificate is None else {"ssl_certfile": certificate.certificate, "ssl_keyfile": certificate.key}
        self.server = uvicorn.Server(
            uvicorn.Config(self._recorded, interface="asgi3", log_level="error", ws="wsproto", **files)
        )
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listening]}, daemon=True)

    def url(self, path: str = "/", host: str = OWN, scheme: str | None = None) -> str:
        """Where a browser finds it."""
        return f"{scheme or self.scheme}://{host}:{self.port}{path}"

    def last(self, path: str) -> Visit:
        """The latest visit to a path."""
        return [visit for visit in self.visits if visit.path == path][-1]

    def __enter__(self) -> Self:
        self.thread.start()
        until = time.monotonic() + START_SECONDS
        while not self.server.started:
            assert time.monotonic() < until and self.thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(START_SECONDS)
        assert not self.thread.is_alive(), "the server did not stop"
        self.listening.close()

    async def _recorded(self, scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start", "websocket.accept"}:
                headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
                names = frozenset(pair.partition("=")[0].strip() for pair in headers.get(b"cookie", "").split(";") if pair)
                method, status = scope.get("method", "GET"), message.get("status", 101)
                self.visits.append(Visit(method, scope["path"], names, headers.get(b"sec-fetch-site"), status))
            await send(message)

        await self.app(scope, receive, noted if scope["type"] != "lifespan" else send)


class Site:
    """The application behind the gate: a login page, a log-out, and a path that tells what it was given."""

    def __init__(self, csrf: str, *, is_secure: bool = True) -> None:
        """Args: csrf: the setting. is_secure: False: COOKIE_SECURE=0."""
        names = {} if is_secure else {"cookie": "access_token", "cookie_secure": False}
        self.settings = Settings(
            secret=SECRET,
            locations=("header", "cookie"),
            csrf=csrf,  # type: ignore[arg-type]
            endpoints="/auth",
            exempt=("/", "/login"),
            access_ttl=ACCESS_SECONDS,
            refresh_ttl=SESSION_SECONDS,
            lease=0.25,
            **names,  # type: ignore[arg-type]
        )
        self.gate = Gate(self.settings)
        self.rules = self.gate.plans.cookies
        self.app = JWTGateMiddleware(
            Starlette(
                routes=[
                    Route("/", page),
                    Route("/login", self.login, methods=["POST"]),
                    Route("/seen", seen, methods=["GET", "POST"]),
                    Route("/logout", self.logout, methods=["POST"]),
                    WebSocketRoute("/socket", greet),
                ]
            ),
            gate=self.gate,
        )

    def padded(self, pad: str) -> TokenPair:
        """A pair of no session, whose access token is as long as wanted."""
        now = int(time.time())
        claims = {"csrf": "x" * 22} if self.rules.has_csrf else {}
        claims |= {"pad": pad}
        access = token_of_claims(sub=SUBJECT, jti=secrets.token_hex(8), iat=now, exp=now + ACCESS_SECONDS, **claims)
        octets = secrets.token_bytes(60) + (now + SESSION_SECONDS).to_bytes(4, "big")
        refresh = "jgr_" + base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
        return TokenPair(access, refresh, ACCESS_SECONDS, "session")

    def padded_pair(self, size: int) -> TokenPair:
        """One whose access cookie, attributes and all, is exactly so many bytes long."""
        for length in range(size // 2, size):
            pair = self.padded("p" * length)
            reached = len(set_cookies(self.rules, pair, time.time())[0])
            if reached >= size:
                assert reached == size, "base64 skips this length"
                return pair
        raise AssertionError(size)

    async def login(self, request: Any) -> Response:
        """Sets the cookies; ``?bytes=`` of the longest."""
        size = request.query_params.get("bytes")
        pair = await self.gate.aio.sessions.start(SUBJECT) if size is None else self.padded_pair(int(size))
        check_size(self.rules, pair)
        response = HTMLResponse(PAGE)
        self.gate.set_cookies(response, pair)
        return response

    async def logout(self, request: Any) -> Response:
        """Clears the cookies, and leaves the session to the endpoint."""
        response = JSONResponse({})
        self.gate.clear_cookies(response)
        return response


async def page(request: Any) -> Response:
    """A page whose scripts a test writes."""
    return HTMLResponse(PAGE)


async def seen(request: Any) -> Response:
    """Who was admitted, and by what."""
    token = token_of(request.scope)
    assert token is not None
    return JSONResponse({"subject": token.subject, "source": token.source})


async def greet(socket: Any) -> None:
    """Says who it is."""
    await socket.accept()
    await socket.send_text(str(token_of(socket.scope).subject))
    await socket.close()


async def bounce(request: Any) -> Response:
    """Sends a POST on with its method and body (RFC 9110 §15.4.8)."""
    return RedirectResponse(request.query_params["to"], 307)


NEIGHBOUR = Starlette(routes=[Route("/", page), Route("/bounce", bounce, methods=["GET", "POST"])])
"""What runs on all other hosts and ports: nobody guards it."""
