"""Which URI a request is for, and whether a proof names it: ``htu`` (RFC 9449 §4.3, check 9).

Compared in the normal form of RFC 3986 §6.2.2 and §6.2.3: case of scheme and host, default port, empty path, escapes of
unreserved characters. Dot segments are taken out of what the proof says alone: a request whose path has any is for a URI that
two parties could read differently, so no proof is for it. Neither is one that a server hands on unread, such as an absolute
form. What follows the path plays no part.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["normal_uri", "request_uri", "whole_path"]

MAX_URI_CHARACTERS = 8192

_URI = re.compile(
    r"(?i:(https?))://((?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})++|\[[0-9A-Fa-f:.]++\])(?::([0-9]{0,5}))?(/[!-~]*+)?"
)
"""RFC 3986 §3, as much of it as an http URI needs (RFC 9110 §4.2): no user information."""

_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*+")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_WSGI = frozenset({"SCRIPT_NAME", "PATH_INFO"})
"""Asked for first: an environ may hold the process's own environment besides, with any names."""

_DEFAULT_PORTS = {"http": "80", "https": "443"}


@lru_cache(maxsize=512)  # clients call the same paths; a stranger can at most make it compute again
def normal_uri(htu: str) -> str | None:
    """The normal form of what a proof says; None: no http URI."""
    bare = htu.partition("#")[0].partition("?")[0]
    match = _URI.fullmatch(bare) if len(bare) <= MAX_URI_CHARACTERS else None
    path = None if match is None else _normal_path(match[4] or "/")
    if match is None or path is None:
        return None
    scheme, port = match[1].lower(), match[3]
    shown = "" if not port or port == _DEFAULT_PORTS[scheme] else f":{port}"
    return f"{scheme}://{_unescaped(match[2]).lower()}{shown}{_without_dots(path)}"


def request_uri(base: str, raw_path: bytes | None, path: str | None) -> str | None:
    """The normal form of a request's own URI; None: it has none that everybody would read alike.

    Args:
        base: the configured public URL, in normal form, without a slash at its end.
        raw_path: as on the request line, where the server tells it.
        path: decoded and whole, else.
    """
    if raw_path is None:
        if path is None:
            return None
        raw_path = b"".join(_escaped(octet) for octet in path.encode("utf-8", "surrogatepass"))
    if len(raw_path) > MAX_URI_CHARACTERS:
        return None
    text = _NOT_ASCII.sub(lambda match: b"%%%02X" % match[0][0], raw_path.partition(b"?")[0]).decode("ascii")
    normal = _normal_path(text)
    return None if normal is None or _without_dots(normal) != normal else base + normal


def whole_path(path: str | None, connection: Mapping[str, Any] | None) -> str | None:
    """The decoded path with the place where the application is mounted; None: it is not valid UTF-8.

    Args:
        path: that the application routes on; None: it is not certain.
        connection: the ASGI scope, whose path is whole; or the WSGI environ, which holds its beginning apart (PEP 3333).
    """
    if connection is None:
        return path
    if not _WSGI & connection.keys():
        return connection.get("path", path)  # type: ignore[no-any-return]  # by ASGI a text
    whole = "".join(str(connection.get(key, "")) for key in ("SCRIPT_NAME", "PATH_INFO"))
    try:
        return whole.encode("latin-1").decode()
    except UnicodeError:
        return None


def _normal_path(path: str) -> str | None:
    return _unescaped(path) if _PATH.fullmatch(path) else None


def _unescaped(text: str) -> str:
    """RFC 3986 §6.2.2.1 and §6.2.2.2."""
    return _ESCAPE.sub(_normal_escape, text)


def _normal_escape(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else match[0].upper()


def _without_dots(path: str) -> str:
    """RFC 3986 §5.2.4."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _escaped(octet: int) -> bytes:
    character = chr(octet)
    return character.encode() if character in _UNRESERVED or character in "/!$&'()*+,;=:@" else b"%%%02X" % octet
