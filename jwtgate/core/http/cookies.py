"""The ``Set-Cookie`` values that give a browser a pair of tokens, and those that take it away (RFC 6265bis §4.1).

Each attribute is there for a thief: HttpOnly, so that no script reads a token; Secure and the name's prefix, so that
neither plain http nor a sibling host can set one over ours; SameSite=Lax, so that forms of other sites do not send it.
Lax, not Strict, for the refresh token too: its path takes nothing but POST, for which both say the same, and an application
that refreshes by itself while it renders a page must not log out whoever follows a link to it.
Says nothing about reading cookies: that is ``extraction``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.core.sessions.refresh_tokens import RefreshToken
from jwtgate.core.tokens.parsing import parse

if TYPE_CHECKING:
    from jwtgate.messages import TokenPair

__all__ = ["CSRF_COOKIE", "MAX_COOKIE_BYTES", "CookieRules", "access_cookie", "check_size", "clear_cookies", "set_cookies"]

CSRF_COOKIE = "csrf_access_token"
"""The name that client libraries know, flask-jwt-extended's; with ``__Host-`` in front where the access token's has it."""

MAX_COOKIE_BYTES = 4096
"""Of one whole ``Set-Cookie`` value. RFC 6265bis §5.6 drops name and value above it, §6.1 promises no more for name, value
and attributes together, and browsers drop a cookie without a word: the strictest count holds everywhere."""

_HOST_PREFIX = "__Host-"
_SUBMITTABLE = re.compile(r"[A-Za-z0-9_.~-]{1,256}")
"""What ``csrf`` may be: safe as a cookie's value and as a header's, whoever reads it."""


@dataclass(frozen=True, slots=True)
class CookieRules:
    """What the operator decided about cookies; see the settings of the same names.

    Attributes:
        access_name, refresh_name: exact.
        is_secure: False for development over plain http only.
        refresh_path: the only path that is sent the refresh token.
        has_csrf: under ``double-submit`` a third cookie tells our scripts the session's value.
    """

    access_name: str
    refresh_name: str
    is_secure: bool
    refresh_path: str
    has_csrf: bool

    @property
    def csrf_name(self) -> str:
        """Browsers compare the prefix in any case (RFC 6265bis §5.7), so an access token's in any case counts."""
        return f"{_HOST_PREFIX}{CSRF_COOKIE}" if self.access_name.lower().startswith(_HOST_PREFIX.lower()) else CSRF_COOKIE


def set_cookies(rules: CookieRules, pair: TokenPair, now: float) -> tuple[str, ...]:
    """The values that store a pair.

    Each lives as long as what is in it: the access token's its token, the others the session, so that a page can still
    refresh when the access token is gone.

    Args:
        rules: of this gate.
        pair: fresh, of our own making.
        now: NumericDate; the ends in the tokens become spans, since a browser's clock may be off.

    Returns:
        One value per cookie. None for the session's value where the access token has no claim ``csrf``: unsafe requests
        are then refused until the next login.

    Raises:
        ValueError, GrantError, MalformedToken: a pair that the gate has not made.
    """
    left = max(0, int(RefreshToken.decode(pair.refresh_token).expires_at - now))
    cookies = [access_cookie(rules, pair.access_token, pair.expires_in), _refresh(rules, pair.refresh_token, left)]
    submitted = _csrf_of(pair.access_token) if rules.has_csrf else None
    if submitted is not None:
        cookies.append(_csrf(rules, submitted, left))
    return tuple(cookies)


def access_cookie(rules: CookieRules, access_token: str, seconds: int) -> str:
    """The value that stores an access token alone, where the session goes on with a new one of the same claims.

    Args: seconds: that it lives from now.
    """
    return _cookie(rules, rules.access_name, access_token, seconds)


def clear_cookies(rules: CookieRules) -> tuple[str, ...]:
    """The values that delete them: browsers want the same name and path, and for a prefixed name every rule of the prefix."""
    cookies = [access_cookie(rules, "", 0), _refresh(rules, "", 0)]
    if rules.has_csrf:
        cookies.append(_csrf(rules, "", 0))
    return tuple(cookies)


def check_size(rules: CookieRules | None, pair: TokenPair) -> None:
    """Refuses a pair that a browser might drop in silence: better no login than one that does not last a request.

    Args:
        rules: None: no cookie carries it, so any size will do.
        pair: with its tokens.

    Raises:
        ValueError: with the cookie's name, its size in bytes and the limit.
    """
    for cookie in () if rules is None else set_cookies(rules, pair, now=0.0):  # no Max-Age is longer than one counted from zero
        size = len(cookie.encode())
        if size > MAX_COOKIE_BYTES:
            name = cookie.partition("=")[0]
            raise ValueError(f"the cookie {name} is {size} bytes long, and browsers keep {MAX_COOKIE_BYTES}: fewer claims help")


def _refresh(rules: CookieRules, value: str, seconds: int) -> str:
    return _cookie(rules, rules.refresh_name, value, seconds, path=rules.refresh_path)


def _csrf(rules: CookieRules, value: str, seconds: int) -> str:
    return _cookie(rules, rules.csrf_name, value, seconds, is_readable=True)


def _cookie(rules: CookieRules, name: str, value: str, seconds: int, *, path: str = "/", is_readable: bool = False) -> str:
    """Never with Domain: a cookie that siblings are sent is theirs, too."""
    secure = "; Secure" if rules.is_secure else ""
    http_only = "" if is_readable else "; HttpOnly"
    return f"{name}={value}; Max-Age={seconds}; Path={path}{secure}{http_only}; SameSite=Lax"


def _csrf_of(access_token: str) -> str | None:
    """The claim ``csrf`` of a token that needs no verifying: it was signed a moment ago."""
    token = access_token.encode()
    value = parse(token, len(token)).claims.get("csrf")
    if value is None:
        return None
    if not isinstance(value, str) or _SUBMITTABLE.fullmatch(value) is None:
        raise ValueError("the claim csrf is not the gate's own: it cannot be a cookie's value")
    return value
