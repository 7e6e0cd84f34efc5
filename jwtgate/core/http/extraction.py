"""Where the token is in a request: ``Authorization``, our cookie, a handshake's subprotocol; never what reads in two ways.

RFC 6750 §2.1 for the header, RFC 9110 §11.1 for its scheme, RFC 6265 §4.2 and §5.4 for cookies. A token that two
parties could read differently is refused, never chosen from: repeated header, repeated cookie, list, quotes, two
tokens. What is somebody else's (another scheme, another cookie, however broken) is passed over. Does not look into
the token.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jwtgate.errors import InvalidRequest, MalformedToken
from jwtgate.messages import Credential, DPoPCredential

if TYPE_CHECKING:
    from jwtgate.messages import Request

__all__ = ["CANONICAL_SCHEME", "SUBPROTOCOL_MARKER", "CookieExtraction", "Extraction", "bearer_token", "subprotocols_of"]

CANONICAL_SCHEME = b"Bearer "
"""As nearly every client writes it."""

SUBPROTOCOL_MARKER = b"bearer"
"""Of ``Sec-WebSocket-Protocol: bearer, <token>``; as it stands, since subprotocols are compared so (RFC 6455 §4.1)."""

_B64TOKEN_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
"""RFC 6750 §2.1. ``bytes.translate`` over it takes a third of the time of the same rule as a regular expression."""

# Possessive (++ and *+): hostile input is read once, never again from the next byte.
_B64TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]++=*+")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++")
_SCHEME = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++)(?: |\Z)")

_JOINED_BEARER = re.compile(rb",[ \t]*+bearer(?:[ \t,]|\Z)", re.IGNORECASE)
"""A second line that a server joined to the first (WSGI has one value per name) is still a second line."""

_JOINED_DPOP = re.compile(rb",[ \t]*+dpop(?:[ \t,]|\Z)", re.IGNORECASE)

_OWS = b" \t"
"""RFC 9110 §5.6.3. Never ``strip()`` alone: what else counts as white space differs from parser to parser."""


def bearer_token(value: bytes, max_token_bytes: int) -> bytes | None:
    """The token in one ``Authorization`` value: ``Bearer`` 1*SP b64token (RFC 6750 §2.1), scheme in any case.

    Args:
        value: the field value, whole.
        max_token_bytes: a longer token is refused unread.

    Returns:
        The token; None where the scheme is another one, which is not ours to judge.

    Raises:
        InvalidRequest: not credentials at all, or Bearer with anything but one b64token.
        MalformedToken: the token is too long.
    """
    if value[:7] != CANONICAL_SCHEME and not _is_bearer(value):
        return None
    return _b64token(value[7:].lstrip(b" "), max_token_bytes)


class CookieExtraction:
    """Finds the token in the cookie of one name."""

    __slots__ = ("_max_token_bytes", "_name", "_start")

    def __init__(self, name: str, max_token_bytes: int) -> None:
        """Fixes the name.

        Args:
            name: exact, case-sensitive (RFC 6265bis §4.1.3: ``__Host-`` promises something only as spelt).
            max_token_bytes: a longer token is refused unread.

        Raises:
            ValueError: a name that no cookie can have.
        """
        self._name = name.encode()
        if _NAME.fullmatch(self._name) is None:
            raise ValueError("cookie_name: a token of RFC 9110, section 5.6.2")
        self._start = re.compile(rb";[ \t]*+" + re.escape(self._name) + rb"[ \t]*+=")
        self._max_token_bytes = max_token_bytes

    def find(self, request: Request) -> bytes | None:
        """The token; None where there is no such cookie, or an empty one.

        Raises:
            InvalidRequest: repeated, or no b64token.
            MalformedToken: too long.
        """
        lines = [value for name, value in request.headers if name == b"cookie"]
        if not lines:
            return None
        # RFC 9113 §8.2.3: HTTP/2 may split the header; joined by "; " it is the same list.
        value = self._value(b"; ".join(lines))
        return _b64token(value, self._max_token_bytes) if value else None

    def _value(self, cookies: bytes) -> bytes | None:
        """The value of our cookie, without optional white space. Linear, whatever is sent."""
        named_at = cookies.find(self._name)
        if named_at < 0:
            return None
        pairs = b";" + cookies
        # No pair before the one that first holds the name can be ours: begin there.
        start = self._start.search(pairs, pairs.rfind(b";", 0, named_at + 1))
        if start is None:
            return None
        end = pairs.find(b";", start.end())
        if end < 0:
            return pairs[start.end() :].strip(_OWS)
        if self._start.search(pairs, end) is not None:
            # Also if equal or empty: somebody has set a cookie over ours, and the next parser may pick the other.
            raise InvalidRequest("the cookie is repeated")
        return pairs[start.end() : end].strip(_OWS)


class Extraction:
    """Finds the credential of a request in the configured places."""

    __slots__ = (
        *("_access_cookie", "_max_token_bytes", "_reads_cookie", "_reads_dpop", "_reads_header", "_reads_subprotocol"),
        "_refresh_cookie",
    )

    def __init__(
        self,
        locations: tuple[str, ...],
        cookie_name: str,
        max_token_bytes: int,
        *,
        refresh_cookie_name: str | None = None,
        reads_dpop: bool = False,
    ) -> None:
        """Fixes the places.

        Args:
            locations: any of ``"header"``, ``"cookie"``, ``"subprotocol"``. A place that is not named is never read.
            cookie_name: of the access token.
            max_token_bytes: a longer token is refused unread.
            refresh_cookie_name: of the refresh token; None: nobody asks for it.
            reads_dpop: the scheme DPoP is ours, too (RFC 9449 §7.1); else it is somebody else's.

        Raises:
            ValueError: an unknown location or none, or a name that no cookie can have.
        """
        if not locations or not {"header", "cookie", "subprotocol"}.issuperset(locations):
            raise ValueError("locations: any of header, cookie, subprotocol")
        self._access_cookie = CookieExtraction(cookie_name, max_token_bytes)
        self._refresh_cookie = None if refresh_cookie_name is None else CookieExtraction(refresh_cookie_name, max_token_bytes)
        self._max_token_bytes = max_token_bytes
        self._reads_header = "header" in locations
        self._reads_dpop = reads_dpop
        self._reads_cookie = "cookie" in locations
        self._reads_subprotocol = "subprotocol" in locations

    def find(self, request: Request) -> Credential | None:
        """The one token of the request; None where there is none.

        The same token in two places counts as the header's, then the subprotocol's: a page of another site can send a cookie,
        but neither of these without knowing the token.

        Raises:
            InvalidRequest: malformed, repeated, or two tokens that differ.
            MalformedToken: a token that is too long.
        """
        in_header = self._in_header(request) if self._reads_header else None
        in_cookie = self._access_cookie.find(request) if self._reads_cookie else None
        is_dpop = False
        if in_header is None and self._reads_dpop:
            in_header = self._by_dpop(request)
            is_dpop = in_header is not None
        if self._reads_subprotocol and request.is_websocket:
            in_subprotocol = subprotocol_token(request, self._max_token_bytes)
            if in_subprotocol is not None:
                if {in_header, in_cookie} - {None, in_subprotocol}:
                    raise InvalidRequest("two places of the handshake carry different tokens")
                if in_header is None:
                    return Credential(in_subprotocol, "subprotocol")
        if in_header is None:
            return None if in_cookie is None else Credential(in_cookie, "cookie")
        if in_cookie is not None and in_cookie != in_header:
            raise InvalidRequest("header and cookie carry different tokens")
        return DPoPCredential(in_header, "header") if is_dpop else Credential(in_header, "header")

    def refresh_cookie_of(self, request: Request) -> str | None:
        """The refresh token in its cookie, by the rules of the access token's; None where there is none.

        Always None where ``"cookie"`` is no location. What sent it is not judged here: see ``cross_site``.

        Raises:
            InvalidRequest: repeated, or nothing that a token can be.
            MalformedToken: too long.
        """
        if self._refresh_cookie is None or not self._reads_cookie:
            return None
        found = self._refresh_cookie.find(request)
        return None if found is None else found.decode("ascii")

    def _in_header(self, request: Request) -> bytes | None:
        lines = [value for name, value in request.headers if name == b"authorization"]
        if not lines:
            return None
        if len(lines) > 1:
            raise InvalidRequest("Authorization is repeated")
        return bearer_token(lines[0], self._max_token_bytes)

    def _by_dpop(self, request: Request) -> bytes | None:
        """Where ``_in_header`` has found at most one line, and no Bearer in it."""
        lines = [value for name, value in request.headers if name == b"authorization"]
        return _dpop_token(lines[0], self._max_token_bytes) if lines and self._reads_header else None


def subprotocol_token(request: Request, max_token_bytes: int) -> bytes | None:
    """The token behind the marker ``bearer`` among the subprotocols that a handshake offers (RFC 6455 §4.1).

    Browsers let a page say these, and no header. None where there is no marker.

    Raises:
        InvalidRequest: nothing behind the marker, or two markers.
        MalformedToken: too long.
    """
    offered = subprotocols_of(b",".join([value for name, value in request.headers if name == b"sec-websocket-protocol"]))
    if SUBPROTOCOL_MARKER not in offered:
        return None
    place = offered.index(SUBPROTOCOL_MARKER)
    if offered.count(SUBPROTOCOL_MARKER) > 1 or place + 1 == len(offered):
        raise InvalidRequest("the subprotocol bearer is repeated, or no token follows it")
    return _b64token(offered[place + 1], max_token_bytes)


def subprotocols_of(value: bytes) -> list[bytes]:
    """What a ``Sec-WebSocket-Protocol`` offers, in its order."""
    return [each for each in (part.strip(_OWS) for part in value.split(b",")) if each]


def _is_bearer(value: bytes) -> bool:
    """RFC 9110 §11.4: credentials begin with a scheme, and at most one of them is Bearer."""
    scheme = _SCHEME.match(value)
    if scheme is None:
        raise InvalidRequest("Authorization does not begin with a scheme")
    if scheme[1].lower() == b"bearer":
        return True
    if _JOINED_BEARER.search(value) is not None:
        raise InvalidRequest("Authorization is a list")
    return False


def _dpop_token(value: bytes, max_token_bytes: int) -> bytes | None:
    """``DPoP`` 1*SP b64token, by the rules of ``bearer_token``, which has seen to it that no Bearer stands behind it."""
    if value[:4].lower() == b"dpop" and value[4:5] in (b"", b" "):
        return _b64token(value[5:].lstrip(b" "), max_token_bytes)
    if _JOINED_DPOP.search(value) is not None:
        raise InvalidRequest("Authorization is a list")
    return None


def _b64token(value: bytes, max_token_bytes: int) -> bytes:
    if len(value) > max_token_bytes:
        raise MalformedToken("the token is longer than MAX_TOKEN_BYTES")
    if (not value or value.translate(None, _B64TOKEN_ALPHABET)) and _B64TOKEN.fullmatch(value) is None:
        raise InvalidRequest("the token is empty or holds a character that no token can have")
    return value
