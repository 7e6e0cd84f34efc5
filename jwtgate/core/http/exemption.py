"""Which requests need no token: exempt paths and CORS preflights.

An exemption opens a door, so it is given only for a path that every router, proxy and file system reads in the same way
(RFC 3986 §5.2.4 and §6.2.2 are where they differ). In doubt a path is not exempt, and the request needs a token.
Does not look at the host, the query or any header but the preflight's.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.messages import Request

__all__ = ["Exemption", "certain_path", "is_plain", "is_preflight", "patterns_of", "routed_path"]

_ODD_PATH = re.compile(r"//|[\\%;\ufffd]|[. ](?:/|\Z)|/ |\A(?!/)")
"""Empty segment; backslash; a second layer of percent-encoding; path parameters (``/a/..;/b``); U+FFFD, which servers put
for what is not UTF-8; segments that end in a dot or a space (dot segments, and names from which Windows cuts the end), or
begin with a space, which some trim; not absolute."""

_ODD_RAW_PATH = re.compile(rb"%(?:00|2[ef]|5c)|[\\\x80-\xff]|(?<!:)//|/\.\.?(?:[/;]|\Z)", re.IGNORECASE)
"""What decoding, or a server that tidies paths, hides: encoded NUL, dot, slash, backslash; dot and empty segments; bytes that
no URI has, which servers decode each in its own way (RFC 3986 §2).
``://`` is the absolute form of a request target (RFC 9112 §3.2.2)."""


class Exemption:
    """The paths that need no token.

    Attributes:
        is_empty: no path is exempt; callers may skip the question.
    """

    __slots__ = ("_paths", "_prefixes", "is_empty")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        """Fixes the patterns.

        Args:
            patterns: ``/a`` is that path alone; ``/a/*`` is ``/a/`` and everything below, not ``/a``.

        Raises:
            ValueError: a pattern of another form, or one that could never match.
        """
        self._paths, self._prefixes = patterns_of(patterns)
        self.is_empty = not patterns

    def matches(self, path: str | None, raw_path: bytes | None) -> bool:
        """Whether a request needs no token.

        Args:
            path: the path the application routes on, decoded; None where it is not valid UTF-8.
            raw_path: the path as sent, where the server tells it; a query is cut off.
        """
        if self.is_empty or path is None:
            return False
        if path not in self._paths and not path.startswith(self._prefixes):
            return False
        return is_plain(path, raw_path)


def patterns_of(patterns: Iterable[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """Whole paths, and the beginnings of paths with the slash they end in.

    Raises:
        ValueError: a pattern of another form, or one that no plain path could match.
    """
    paths: set[str] = set()
    prefixes: list[str] = []
    for pattern in patterns:
        path = pattern[:-1] if pattern.endswith("/*") else pattern
        if "*" in path or not is_plain(path):
            raise ValueError(f"not /path or /path/*, plain and decoded: {pattern!r}")
        if path is pattern:
            paths.add(path)
        else:
            prefixes.append(path)
    return frozenset(paths), tuple(prefixes)


def routed_path(path: str, root_path: str) -> str:
    """The path less ``root_path``, where that ends at a segment boundary: what Starlette's router looks at."""
    rest = path.removeprefix(root_path)
    return rest if not rest or rest[0] == "/" else path


def certain_path(path: str, root_path: str) -> str | None:
    """``routed_path``; None: not every router looks at the same one.

    Litestar cuts ``root_path`` out wherever it stands, Quart and BlackSheep within a segment too: ``/public/root/admin`` is
    ``/admin`` to some. Where it is all slashes that makes no difference.
    """
    if not root_path or root_path not in path or not root_path.strip("/"):
        return routed_path(path, root_path)
    is_cut = path.startswith(root_path) and path[len(root_path) :][:1] in ("", "/")
    return routed_path(path, root_path) if is_cut else None


def is_preflight(request: Request) -> bool:
    """Fetch §4.8: the browser asks before it sends, and never with credentials. A handshake is never one."""
    if request.method != "OPTIONS" or request.is_websocket:
        return False
    return any(name == b"access-control-request-method" for name, _ in request.headers)


def is_plain(path: str, raw_path: bytes | None = None) -> bool:
    """Whether everybody reads the path alike.

    Not printable: controls, invisible and bidirectional characters, lone surrogates. Not in NFKC: look-alikes that a
    later layer may turn into a dot or a slash.
    """
    if _ODD_PATH.search(path) is not None or not path.isprintable():
        return False
    if raw_path is not None and _ODD_RAW_PATH.search(raw_path.partition(b"?")[0]) is not None:
        return False
    return path.isascii() or unicodedata.is_normalized("NFKC", path)
