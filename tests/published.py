"""A server that publishes a JWK Set, well or badly, and counts who asks."""

from __future__ import annotations

import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from keymaking import ALGORITHMS

DISCOVERY = "/.well-known/openid-configuration"


class Provider:
    """Signs tokens and publishes its keys.

    Attributes:
        how: what it does: answer, fail, hang, drip (the body), headers (them), html, huge, gzip, redirect, none.
        asked: times of requests for the set, monotonic.
    """

    def __init__(self) -> None:
        provider = self
        self.how = "answer"
        self.asked: list[float] = []
        self.metadata: dict[str, Any] = {}
        self.max_age: int | None = None
        self.extra: list[Any] = []
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.rotate()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer(self)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.issuer}/jwks"

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.how = "none"
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def rotate(self, *, keep: bool = True) -> str:
        """A new key, which signs from now on. Returns its kid."""
        if not keep:
            self.keys.clear()
        self.kid = f"key-{len(self.asked)}-{time.monotonic_ns()}"
        self.keys[self.kid] = ec.generate_private_key(ec.SECP256R1())
        return self.kid

    def token(self, sub: str = "alice", *, kid: str | None = None, **claims: Any) -> str:
        """By the latest key, or the one named."""
        now = int(time.time())
        key = self.keys[kid or self.kid]
        body = {"sub": sub, "iss": self.issuer, "iat": now - 10, "exp": now + 600, **claims}
        return jwt.encode(body, key, "ES256", headers={"kid": kid or self.kid})

    def forged(self, number: int) -> str:
        """Of a kid that nobody has."""
        return jwt.encode(
            {"sub": "eve", "iss": self.issuer, "exp": int(time.time()) + 600},
            self.keys[self.kid],
            "ES256",
            headers={"kid": f"unknown-{number}"},
        )

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path == DISCOVERY:
            metadata = {"issuer": self.issuer, "jwks_uri": self.url, **self.metadata}
            self._send(request, json.dumps(metadata).encode())
            return
        self.asked.append(time.monotonic())
        members = [
            {**ALGORITHMS["ES256"].to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": "ES256"}
            for kid, key in self.keys.items()
        ]
        body = json.dumps({"keys": [*self.extra, *members]}).encode()
        match self.how:
            case "answer":
                self._send(request, body)
            case "fail":
                self._send(request, b"{}", status=500)
            case "redirect":
                self._send(request, b"", status=302, location=f"{self.issuer}/elsewhere")
            case "html":
                self._send(request, b"<html>maintenance</html>")
            case "gzip":
                self._send(request, gzip.compress(body), content_encoding="gzip")
            case "huge":
                self._send(request, b'{"keys":[' + b" " * 50_000_000 + b"]}")
            case "empty":
                self._send(request, b'{"keys":[]}')
            case "hang" | "drip" | "headers":
                self._stand_still(request)

    def _send(self, request: BaseHTTPRequestHandler, body: bytes, *, status: int = 200, **headers: str) -> None:
        try:
            request.send_response(status)
            request.send_header("content-length", str(len(body)))
            if self.max_age is not None:
                request.send_header("cache-control", f"max-age={self.max_age}")
            for name, value in headers.items():
                request.send_header(name.replace("_", "-"), value)
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            """It has heard enough."""

    def _stand_still(self, request: BaseHTTPRequestHandler) -> None:
        how = self.how
        if how == "headers":
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        if how == "drip":
            request.send_response(200)
            request.send_header("content-length", "100000")
            request.end_headers()
        while self.how == how:
            try:
                if how != "hang":
                    request.wfile.write(b" " if how == "drip" else b"x: y\r\n")
            except OSError:
                return
            time.sleep(0.02)
