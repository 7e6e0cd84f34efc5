"""Whether a request that carries our cookie was made by a page of ours.

Fetch Metadata §2.2 (``Sec-Fetch-Site``), RFC 6454 §7 (``Origin``), RFC 6455 §10.2 (handshakes), RFC 9110 §9.2.1 (safe
methods). Only for a credential whose source is the cookie: other sites cannot make a browser send a header. Trusts no
header that a proxy adds (``X-Forwarded-*``, ``Forwarded``), since a client can add it too.

``double-submit`` asks for proof instead: ``X-CSRF-TOKEN`` holds the claim ``csrf`` of the very token in the cookie, which
only pages that can read our cookies know. The cookie beside it is never read here: a sibling host can set one, but not sign.
"""

from __future__ import annotations

import re
from hmac import compare_digest
from typing import TYPE_CHECKING, Literal

from jwtgate.errors import CrossSiteRequest

if TYPE_CHECKING:
    from jwtgate.messages import Request

__all__ = ["check", "check_double_submit", "normalised_origin"]

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Exact case, RFC 9110 §9.1. TRACE is safe on paper only: it would send the cookie back."""

_OWN_SITE = ([b"same-origin"], [b"none"])
"""``none``: the user did it (address bar, bookmark). ``same-site`` is not enough: a sibling host is not ours."""

_ORIGIN = re.compile(rb"([a-z][a-z0-9+.\-]*+)://([a-z0-9._\-]++|\[[0-9a-f:.]++\])(?::([1-9][0-9]{0,4}))?")
_DEFAULT_PORTS = {"http": b"80", "https": b"443"}


def check(request: Request, *, mode: Literal["fetch-metadata", "double-submit", "off"], origins: frozenset[str]) -> None:
    """Refuses what a page of another site may have sent, before anything is known of the token.

    Safe methods pass, handshakes excepted: a browser opens a WebSocket to any host, with cookies, and lets the page
    read the answers. Browsers name the Origin of every handshake (RFC 6455 §4.1): without one nothing vouches for it.

    Args:
        request: one whose credential came from the cookie.
        mode: ``"off"`` lets everything pass. ``"double-submit"`` judges handshakes by the same rule, since no page can give
            them a header; of others it asks that there is a value at all, which ``check_double_submit`` then compares.
        origins: allowed besides the request's own host, each as ``normalised_origin`` writes it.

    Raises:
        CrossSiteRequest: made by another site, or not known to be made by ours.
    """
    if mode == "off" or (request.method in _SAFE_METHODS and not request.is_websocket):
        return
    if mode == "double-submit" and not request.is_websocket:
        _submitted(request)
        return
    sites = _values(request, b"sec-fetch-site")
    if sites in _OWN_SITE and not request.is_websocket:
        return
    origin = _origin_of(request)
    if origin is None:
        raise CrossSiteRequest("neither Sec-Fetch-Site nor a usable Origin vouches for it")
    if origin in origins:
        return
    if (sites and sites not in _OWN_SITE) or not _is_own_host(origin, _values(request, b"host")):
        raise CrossSiteRequest("the Origin is not an allowed one")


def check_double_submit(request: Request, expected: object) -> None:
    """Refuses an unsafe request whose ``X-CSRF-TOKEN`` is not the value of its session. Handshakes are for ``check``.

    Complete by itself. That ``check`` comes first spares the decision, and another site, which can send no such header,
    learns nothing of the cookie's token.

    Args:
        request: one whose credential came from the cookie.
        expected: the claim ``csrf`` of the token, verified; None: it has none, and nothing is its value.

    Raises:
        CrossSiteRequest: no value or several, or another one.
    """
    if request.method in _SAFE_METHODS or request.is_websocket:
        return
    submitted = _submitted(request)
    if not isinstance(expected, str):
        raise CrossSiteRequest("the token has no csrf claim to compare X-CSRF-TOKEN with")
    if not compare_digest(submitted, expected.encode()):  # in constant time: the value is a secret
        raise CrossSiteRequest("X-CSRF-TOKEN is not the session's")


def _submitted(request: Request) -> bytes:
    """The one ``X-CSRF-TOKEN``. A list is refused, since it may be two lines that a server has joined."""
    sent = _values(request, b"x-csrf-token")
    if len(sent) != 1 or not sent[0] or b"," in sent[0]:
        raise CrossSiteRequest("not exactly one X-CSRF-TOKEN")
    return sent[0]


def normalised_origin(value: bytes) -> str | None:
    """An origin as browsers serialise it (RFC 6454 §6.2): ``scheme://host[:port]``, lower-case, no default port.

    Returns:
        None where it is not exactly one such origin: ``null``, a list, a path, user information.
    """
    parts = _ORIGIN.fullmatch(value.lower())
    if parts is None:
        return None
    scheme, host, port = parts[1].decode("ascii"), parts[2].decode("ascii"), parts[3]
    if port is None or port == _DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{port.decode('ascii')}"


def _origin_of(request: Request) -> str | None:
    sent = _values(request, b"origin")
    return normalised_origin(sent[0]) if len(sent) == 1 else None


def _is_own_host(origin: str, hosts: list[bytes]) -> bool:
    """Whether the origin is the request's own: its host and port are those of the one ``Host`` line.

    The request's scheme is not asked for: behind a proxy that ends TLS only a header would know it.
    """
    scheme, _, _ = origin.partition(":")
    if len(hosts) != 1 or scheme not in _DEFAULT_PORTS:
        return False
    return origin == normalised_origin(scheme.encode("ascii") + b"://" + hosts[0])


def _values(request: Request, wanted: bytes) -> list[bytes]:
    return [value for name, value in request.headers if name == wanted]
