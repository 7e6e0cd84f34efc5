"""Ready checks for ``Gate(checks=[...])`` and ``gate.check``: whose device it is, how fresh the login, what scope.

Each is made once, from what the operator wants, and then asked about every request that shows a token. Each fails closed: a
claim, an address or a header that is not there refuses, and so does ``gate.verify``, where there is no request to look at,
wherever the request is what matters. A path that only looks different never escapes a check (``core.http.coverage``).
"""

from __future__ import annotations

import hmac
import math
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from jwtgate.core.effects import Check
from jwtgate.core.http.coverage import Coverage
from jwtgate.errors import InsufficientScope, InsufficientUserAuthentication

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.messages import Request, Token

__all__ = ["Check", "client_address", "fresh_login", "scope", "user_agent", "user_agent_digest"]

PlainCheck = Callable[["Token", "Request | None"], bool]
"""One that either face may ask: it never waits."""

EVERYWHERE = ("/*",)

SKEW_SECONDS = 60.0
"""An ``auth_time`` further ahead than clocks may differ is no login that has happened."""

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
"""RFC 6749 §3.3."""


def client_address(claim: str = "client_ip") -> PlainCheck:
    """The token is for one address: that of the client which logged in.

    Spellings do not matter, and an IPv4 address is the same when it is mapped into IPv6. Behind a proxy the server must be
    told to take the client's address from it (uvicorn ``--proxy-headers``, werkzeug ``ProxyFix`` around the gate);
    else every client has the proxy's.

    Args: claim: that holds the address as text; put it into ``claims`` at login.
    Raises: TypeError: claim is no name.
    """
    _insist_on_name(claim)

    def client_address(token: Token, request: Request | None) -> bool:
        bound = _address(token.claims.get(claim))
        return request is not None and bound is not None and bound == _address(request.client)

    return client_address


def user_agent(claim: str = "user_agent") -> PlainCheck:
    """The token is for one User-Agent (RFC 9110 §10.1.5); a browser that updates itself logs in again.

    A hurdle, no proof: whoever steals a token can often read that header too.

    Args: claim: that holds what ``user_agent_digest`` gave at login.
    Raises: TypeError: claim is no name.
    """
    _insist_on_name(claim)

    def user_agent(token: Token, request: Request | None) -> bool:
        bound = token.claims.get(claim)
        values = [] if request is None else [value for name, value in request.headers if name == b"user-agent"]
        if not isinstance(bound, str) or len(values) != 1:
            return False
        return hmac.compare_digest(bound.encode(), _digest(values[0]).encode())

    return user_agent


def user_agent_digest(text: str) -> str:
    """What the claim of ``user_agent`` holds: SHA-256, in base64url without padding.

    Args: text: the header's value as frameworks give it, one character a byte (PEP 3333, Starlette).
    """
    return _digest(text.encode("latin-1", "backslashreplace"))


def fresh_login(
    max_age_seconds: float, *, paths: Iterable[str] = EVERYWHERE, now: Callable[[], float] = time.time
) -> PlainCheck:
    """The user has given a password lately: ``auth_time`` (OpenID Connect Core §2) is not older than this.

    Else the answer asks for a new login (RFC 9470 §3: ``insufficient_user_authentication``, ``max_age``). A token without
    ``auth_time`` is refused in the same way: after a new login it has one.

    Args:
        max_age_seconds: above 0.
        paths: as in ``EXEMPT``: ``/a`` or ``/a/*``; here either is ``/a`` too, in any case.
        now: the clock, NumericDate.

    Raises: ValueError: no span of time, or no such paths. TypeError.
    """
    if isinstance(max_age_seconds, bool) or not isinstance(max_age_seconds, int | float):
        raise TypeError("max_age_seconds must be a number")
    if not 0 < max_age_seconds < math.inf:
        raise ValueError("max_age_seconds must be above 0 and finite")
    if not callable(now):
        raise TypeError("now must be a function that gives the time")
    coverage = _coverage(paths)

    def fresh_login(token: Token, request: Request | None) -> bool:
        if coverage.includes(request):
            logged_in_at = token.claims.get("auth_time")
            age_seconds = math.inf if logged_in_at is None else now() - logged_in_at
            if not -SKEW_SECONDS <= age_seconds <= max_age_seconds:
                raise InsufficientUserAuthentication(int(max_age_seconds))
        return True

    return fresh_login


def scope(*scopes: str, paths: Iterable[str] = EVERYWHERE) -> PlainCheck:
    """The token has all of these scopes; else 403 names them (RFC 6750 §3.1).

    Args:
        scopes: one scope token each (RFC 6749 §3.3), at least one.
        paths: as for ``fresh_login``.

    Raises: ValueError: no scope, something that is none, or no such paths. TypeError.
    """
    if not scopes or not all(isinstance(each, str) and _SCOPE_TOKEN.fullmatch(each) for each in scopes):
        raise ValueError("scope takes one or more scope tokens, each for itself: scope('read', 'write')")
    needed = frozenset(scopes)
    coverage = _coverage(paths)

    def scope(token: Token, request: Request | None) -> bool:
        if not needed <= token.scopes and coverage.includes(request):
            raise InsufficientScope(*scopes)
        return True

    return scope


def _coverage(paths: Iterable[str]) -> Coverage:
    """Raises: TypeError: one text is a sequence too, of single letters."""
    if isinstance(paths, str | bytes):
        raise TypeError("paths must be a sequence of patterns, not one text")
    given = tuple(paths)
    if not all(isinstance(each, str) for each in given):
        raise TypeError("paths must be texts")
    return Coverage(given)


def _insist_on_name(claim: str) -> None:
    if not isinstance(claim, str) or not claim:
        raise TypeError("claim must be the name of a claim; gate.check takes client_address(), not client_address")


def _address(value: object) -> IPv4Address | IPv6Address | None:
    """None: it is none. Only of a text: ``ip_address`` reads integers, too."""
    if not isinstance(value, str):
        return None
    try:
        address = ip_address(value)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _digest(value: bytes) -> str:
    return urlsafe_b64encode(sha256(value).digest()).rstrip(b"=").decode()
