"""The certificate with which the client of this very connection has shown that it holds a key (RFC 8705 §3, RFC 9440).

From the server itself (the TLS extension of ASGI, ``SSL_CLIENT_CERT`` of WSGI), or from the header of a proxy that is trusted
by its address. A header is read in one way only: repeated, joined or otherwise ambiguous it names no certificate. Only its
SHA-256 matters: whose certificate it is, and whether anybody vouches for it, was decided when the token was bound to it.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from binascii import Error as NotBase64
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from jwtgate.core.possession.errors import WrongHolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jwtgate.messages import Request

__all__ = ["Certificates", "Network"]

Network = IPv4Network | IPv6Network

MAX_BYTES = 16384
"""Of a header's value or a PEM text: real ones have 1 to 10 kB."""

_PEM = re.compile(rb"\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_STRUCTURED = re.compile(rb":([A-Za-z0-9+/]+={0,2}):")
"""RFC 8941 §3.3.5: a Byte Sequence."""

_FORWARDED_PART = re.compile(rb'([A-Za-z]+)=(?:"([^"\\]*)"|([^;,"]*))(?:;|\Z)')
_HASH = re.compile(rb"[0-9a-fA-F]{64}")

NEVER_REPLACE = ("gunicorn/", "Werkzeug/", "gevent/")
"""WSGI servers that take no address out of ``X-Forwarded-For``: a client beside its proxy has the same address as that."""

TELL_NAMES_APART = ("gunicorn/", "Werkzeug/", "gevent/", "waitress", "Apache/")
"""WSGI servers that leave out headers with ``_`` in their names (the last is mod_wsgi): they would have that of another."""

RFC_9440 = b"client-cert"
ENVOY = b"x-forwarded-client-cert"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where they are told.

    Attributes:
        header: in lower case; None: by the server itself.
        proxies: who is believed, if it is a header.
    """

    header: bytes | None = None
    proxies: tuple[Network, ...] = ()

    def thumbprint(self, request: Request) -> str | None:
        """``x5t#S256`` of the certificate of this connection (RFC 8705 §3.1); None: there is none that is known.

        Raises: WrongHolder: nobody can know who wrote it.
        """
        connection = request.connection
        if connection is None:
            return None
        digest = self._told_by_server(connection) if self.header is None else self._told_by_proxy(request, connection)
        return None if digest is None else urlsafe_b64encode(digest).rstrip(b"=").decode()

    def _told_by_server(self, connection: Mapping[str, Any]) -> bytes | None:
        """Names that begin with ``HTTP_`` are the client's own words, and are not looked at."""
        pem = connection.get("SSL_CLIENT_CERT")
        if pem is None:
            extensions: Mapping[str, Any] = connection.get("extensions") or {}
            tls: Mapping[str, Any] = extensions.get("tls") or {}
            chain: Iterable[Any] = tls.get("client_cert_chain") or ()
            pem = next(iter(chain), None)
        return _of_pem(pem.encode("latin-1", "replace")) if isinstance(pem, str) else None

    def _told_by_proxy(self, request: Request, connection: Mapping[str, Any]) -> bytes | None:
        lines = [value for name, value in request.headers if name == self.header]
        if lines and b"-" in (self.header or b"") and _mixes_names(connection):
            raise WrongHolder(
                "this server may not tell - from _ in the names of headers, so clients could write that of JWTGATE_CLIENT_CERT:"
                " have the proxy use a name without a hyphen"
            )
        if len(lines) != 1 or len(lines[0]) > MAX_BYTES or not self._is_trusted(connection):
            return None
        if self.header == RFC_9440:
            match = _STRUCTURED.fullmatch(lines[0].strip(b" "))
            return None if match is None else _of_base64(match[1])
        if self.header == ENVOY:
            return _forwarded(lines[0].strip(b" "))
        return _of_escaped_pem(lines[0])

    def _is_trusted(self, connection: Mapping[str, Any]) -> bool:
        """By the connection's peer as the server tells it, never by what a header says of it."""
        told = _peer(connection)
        try:
            address = ip_address(told) if isinstance(told, str) else None
        except ValueError:
            return False
        if address is None:
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address
        return any(mapped in network for network in self.proxies)


def _peer(connection: Mapping[str, Any]) -> object:
    """None: nobody knows. Where a header has taken the peer's place its port is 0 or in a header; WSGI has no such sign."""
    if "REMOTE_ADDR" in connection:
        told = (connection.get("werkzeug.proxy_fix.orig") or connection).get("REMOTE_ADDR")
        if str(connection.get("SERVER_SOFTWARE", "")).startswith(NEVER_REPLACE):
            return told
        forwarded = (str(connection.get(key, "")) for key in ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED"))
        return None if any(_names(line, str(told)) for line in forwarded) else told
    client = connection.get("client")
    if not client:
        return None
    host, port = str(client[0]), (*client, None)[1]
    headers = [(name, bytes(value).decode("utf-8", "replace")) for name, value in connection.get("headers", ())]
    if any(name == b"x-forwarded-for" and _names(value, host, has_port=True) for name, value in headers):
        return None
    if any(_names(value, host) for _, value in headers) and any(_is_number(value, port) for _, value in headers):
        return None  # daphne takes the two from headers of any names
    return host if port else None


def _mixes_names(connection: Mapping[str, Any]) -> bool:
    """Whether ``Client_Cert`` of a client, which proxies let pass, is ``Client-Cert`` too, or stands in its place.

    RFC 3875 §4.1.18 makes one name of them, and uWSGI, granian, hypercorn, uvicorn and wsgiref do; ASGI does not.
    """
    return "REMOTE_ADDR" in connection and not str(connection.get("SERVER_SOFTWARE", "")).startswith(TELL_NAMES_APART)


def _names(line: str, host: str, *, has_port: bool = False) -> bool:
    """Whether an element of a list of addresses is this one, alone or with a port."""
    for each in re.split("[,;]", line):
        address = re.sub(r"(?i)\Afor=", "", each.strip()).strip('"').removeprefix("[")
        if address.startswith((f"{host}:", f"{host}]:")) or (not has_port and address.removesuffix("]") == host):
            return True
    return False


def _is_number(value: str, number: object) -> bool:
    """As servers read one."""
    try:
        return int(value) == number
    except ValueError:
        return False


def _of_pem(text: bytes) -> bytes | None:
    """Of the first in it, the leaf (RFC 8446 §4.4.2)."""
    match = _PEM.match(text) if len(text) <= MAX_BYTES else None
    return None if match is None else _of_base64(b"".join(match[1].split()))


def _of_escaped_pem(value: bytes) -> bytes | None:
    return None if b"," in value else _of_pem(unquote_to_bytes(value))


def _of_base64(text: bytes) -> bytes | None:
    """RFC 4648 §3.5 and §4, in its one spelling: the library takes any padding where none is due."""
    try:
        octets = a2b_base64(text, strict_mode=True)
    except NotBase64:
        return None
    return sha256(octets).digest() if b2a_base64(octets, newline=False) == text else None


def _forwarded(value: bytes) -> bytes | None:
    """Envoy's: one element of ``Key=value;…``. Several hops are a list, of which nobody can say which is the client's."""
    parts: dict[bytes, bytes] = {}
    place = 0
    while place < len(value):
        match = _FORWARDED_PART.match(value, place)
        if match is None:
            return None
        name = match[1].lower()
        if name in parts and name in (b"cert", b"hash"):
            return None
        parts[name] = match[2] or match[3] or b""
        place = match.end()
    if b"cert" in parts:
        return _of_escaped_pem(parts[b"cert"])
    hashed = parts.get(b"hash", b"")
    return bytes.fromhex(hashed.decode()) if _HASH.fullmatch(hashed) else None
