"""A server that publishes status lists of an issuer, well or badly, and counts who asks."""

from __future__ import annotations

import time
import zlib
from base64 import urlsafe_b64encode
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
from published import Provider

from jwtgate.core.statuses.status_list import StatusList

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

__all__ = ["ListServer", "bomb"]

SIZE = 1024


@cache
def bomb() -> dict[str, Any]:
    """128 MiB of zeros in 130 KB."""
    octets = zlib.compress(bytes(2**27), 1)
    return {"bits": 1, "lst": urlsafe_b64encode(octets).decode().rstrip("=")}


class ListServer(Provider):
    """The lists of an issuer whose keys another server publishes.

    Attributes:
        dead: entries that are not valid, in every list.
        claims: laid over those of the list token; None leaves one out.
        typ: of its header.
        signer: whose latest key signs.
        content_type: of the answer.
        paths: of the requests.
        hung: paths whose headers never end.
    """

    def __init__(self, signer: Provider) -> None:
        super().__init__()
        self.signer = signer
        self.dead: set[int] = set()
        self.claims: dict[str, Any] = {}
        self.typ = "statuslist+jwt"
        self.content_type = "application/statuslist+jwt"
        self.ttl: float = 1
        self.paths: list[str] = []
        self.hung: set[str] = set()

    def uri(self, number: int = 1) -> str:
        return f"{self.issuer}/status/{number}"

    def token(self, index: int = 7, *, number: int = 1, **claims: Any) -> str:  # type: ignore[override]
        """An access token of the issuer whose status stands here."""
        status = {"status_list": {"idx": index, "uri": self.uri(number)}}
        return self.signer.token(**{"status": status, "jti": f"{index}-{number}", **claims})

    def list_token(self, path: str, **more: Any) -> bytes:
        values = ((index, 1) for index in self.dead)
        claims = {
            "sub": f"{self.issuer}{path}",
            "iat": int(time.time()),
            "exp": int(time.time()) + 600,
            "ttl": self.ttl,
            "status_list": StatusList.of(SIZE, values, 1).encode(),
            **self.claims,
            **more,
        }
        told = {name: value for name, value in claims.items() if value is not None}
        key, kid = self.signer.keys[self.signer.kid], self.signer.kid
        return jwt.encode(told, key, "ES256", headers={"kid": kid, "typ": self.typ}).encode()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked.append(time.monotonic())
        self.paths.append(request.path)
        if request.path in self.hung:
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while request.path in self.hung:
            try:
                request.wfile.write(b"x: y\r\n")
            except OSError:
                return
            time.sleep(0.02)
        kind = {"content_type": self.content_type}
        match self.how:
            case "answer":
                self._send(request, self.list_token(request.path), **kind)
            case "fail":
                self._send(request, b"{}", status=500)
            case "none-such":
                self._send(request, b"{}", status=404)
            case "redirect":
                self._send(request, b"", status=302, location=f"{self.issuer}/status/1")
            case "html":
                self._send(request, b"<html>maintenance</html>", **kind)
            case "gzip":
                self._send(request, self.list_token(request.path), content_encoding="gzip", **kind)
            case "huge":
                self._send(request, b"e" * 50_000_000, **kind)
            case "bomb":
                self._send(request, self.list_token(request.path, status_list=bomb()), **kind)
            case "hang" | "drip" | "headers":
                self._stand_still(request)
