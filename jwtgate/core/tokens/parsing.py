"""The one parse: from a token's bytes to its header, claims and signature, strictly and at a bounded cost.

RFC 7515 §5.2, RFC 7519 §7.2, RFC 8725. Nothing here is trusted yet: no key is looked up, no time compared. Stricter
than the RFCs ask and than PyJWT is: two readers of one token must never disagree, and nothing may pass that breaks a
store or an application later (endless numbers, lone surrogates, a ``sid`` that is no string).
"""

from __future__ import annotations

import json
import re
from binascii import a2b_base64
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn

from jwtgate.claims import Claims, ClaimsList, claims_of, freeze
from jwtgate.errors import MalformedToken

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LATEST_DATE", "ParsedToken", "parse", "parse_proof"]

LATEST_DATE = 253402300799
"""NumericDate of the last second of the year 9999: ``datetime`` and ``EXPIREAT`` break beyond it."""

MAX_DEPTH = 32
"""Nesting. Real tokens stay under six; CPython's scanner recurses."""

MAX_VALUES = 1024
"""Commas, objects and arrays in one segment, about its number of values. A token of the default size holds fewer."""

MAX_MEMBERS = 256
"""Members of one object."""

MAX_INTEGER_CHARACTERS = 20
"""Every 64-bit integer fits. 4300 digits parse, and then break whatever computes with them."""

MAX_FLOAT_CHARACTERS = 40
"""``repr`` of a double needs 24."""

_BASE64URL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_TO_BASE64 = bytes.maketrans(b"-_", b"+/")
_PADDING = (b"", b"", b"==", b"=")
_CANONICAL_ENDS = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")
"""By length modulo 4: the last characters whose unused bits are zero. Any other spells the same bytes another way."""

_STRUCTURE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
"""Strings, to be skipped, and structural characters. Possessive, so that no input makes it backtrack."""

_KEY_CARRIERS = frozenset({"crit", "b64", "jwk", "jku", "x5u", "x5c"})
"""Header members that are refused whatever they say: a token never brings its own key (RFC 8725 §3.10), and no critical
extension is understood (RFC 7515 §4.1.11, RFC 7797)."""

_KEY_CARRIERS_OF_PROOFS = _KEY_CARRIERS - {"jwk"}
"""RFC 9449 §4.2: a proof brings the key with it, in one way."""

_HEADER_TEXTS = ("kid", "typ", "cty")
_NAME_CLAIMS = ("sub", "jti", "sid", "iss", "client_id")
_DATE_CLAIMS = ("exp", "nbf", "iat", "auth_time")
_SCOPE_CLAIMS = ("scope", "scp")


NO_HEADERS: Mapping[bytes, Claims] = MappingProxyType({})


@dataclass(slots=True)  # not frozen: it never leaves the decision, and freezing costs it a microsecond
class ParsedToken:
    """A token taken apart. Well formed, and nothing more: whoever holds it must still verify it.

    Attributes:
        header: the JOSE header (RFC 7515 §4); ``alg`` is a string.
        claims: the JWT Claims Set; registered claims have the types of RFC 7519 §4.1.
        signing_input: the bytes the signature is over, header.payload as they came (RFC 7515 §5.1).
        signature: decoded.
        header_segment: as it came.
    """

    header: Claims
    claims: Claims
    signing_input: bytes
    signature: bytes
    header_segment: bytes

    def __repr__(self) -> str:
        """Names nothing of the token."""
        return "<ParsedToken>"


def parse(
    token: bytes,
    max_bytes: int,
    known_headers: Mapping[bytes, Claims] = NO_HEADERS,
    forbidden: frozenset[str] = _KEY_CARRIERS,
) -> ParsedToken:
    """Take a compact JWS apart (RFC 7515 §7.1), once and strictly.

    Args:
        token: as found in the request.
        max_bytes: longer is refused unread.
        known_headers: header segments of tokens that verified, with what they say: an issuer's tokens share a few.
        forbidden: header members that are refused whatever they say.

    Returns:
        Its parts, immutable at every depth.

    Raises:
        MalformedToken: for every fault; the message names the rule, never a part of the token.
    """
    if len(token) > max_bytes:
        raise MalformedToken("longer than JWTGATE_MAX_TOKEN_BYTES")
    if token.translate(None, _BASE64URL) != b"..":
        raise MalformedToken("not three segments of base64url without padding")
    header_segment, payload_segment, signature_segment = token.translate(_TO_BASE64).split(b".")
    header = known_headers.get(header_segment)
    if header is None:
        header = _object_of(_octets_of(header_segment))
        _check_header(header, forbidden)
    claims = _object_of(_octets_of(payload_segment))
    _check_claims(claims)
    return ParsedToken(header, claims, token[: -len(signature_segment) - 1], _octets_of(signature_segment), header_segment)


def parse_proof(proof: bytes, max_bytes: int) -> ParsedToken:
    """A DPoP proof, by the same rules but one: its header holds ``jwk``, an object (RFC 9449 §4.2).

    Raises: MalformedToken: as ``parse``; or there is no such ``jwk``.
    """
    parsed = parse(proof, max_bytes, NO_HEADERS, _KEY_CARRIERS_OF_PROOFS)
    if type(parsed.header.get("jwk")) is not Claims:
        raise MalformedToken("header: jwk is not an object")
    return parsed


def _octets_of(segment: bytes) -> bytes:
    """Decode, refusing every second spelling of the same octets (RFC 4648 §3.5)."""
    rest = len(segment) & 3
    if rest and (rest == 1 or segment[-1] not in _CANONICAL_ENDS[rest]):
        raise MalformedToken("a segment is not canonical base64url")
    return a2b_base64(segment + _PADDING[rest])


def _object_of(octets: bytes) -> Claims:
    """Read one JSON object (RFC 8259), frozen, of bounded depth and size."""
    arrays = octets.count(b"[")
    if arrays + octets.count(b"{") > MAX_DEPTH or octets.count(b",") > MAX_VALUES - MAX_DEPTH:
        _measure(octets)
    found = _read(octets, _DECODER_WITH_ARRAYS if arrays else _DECODER)
    if found is None:
        raise MalformedToken("a segment is not one JSON object in UTF-8")
    if b"\\u" in octets and _has_lone_surrogate(found):
        raise MalformedToken("half of a surrogate pair")
    return found


def _read(octets: bytes, decoder: json.JSONDecoder) -> Claims | None:
    """None for what is no JSON object: the library's error quotes the token, so it may not even become a context."""
    found: Claims
    try:
        text = octets.decode()
        found, end = decoder.raw_decode(text)
    except ValueError:
        return None
    return found if type(found) is Claims and not text[end:].strip(" \t\r\n") else None


def _measure(octets: bytes) -> None:
    """The exact check, for the few tokens that the cheap count suspects: brackets in strings do not nest."""
    depth = values = 0
    for match in _STRUCTURE.finditer(octets):
        mark = match[0]
        values += mark in b"[{,"
        depth += (mark in b"[{") - (mark in b"]}")
        if depth > MAX_DEPTH or values > MAX_VALUES:
            raise MalformedToken("nested too deep or too many values")


def _has_lone_surrogate(found: Claims) -> bool:
    """Half of a surrogate pair has no UTF-8 form: it would break every ``.encode()`` after us."""
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _members(pairs: list[tuple[str, Any]]) -> Claims:
    made = claims_of(pairs)
    if len(made) != len(pairs):
        raise MalformedToken("duplicate members")
    if len(pairs) > MAX_MEMBERS:
        raise MalformedToken("too many members")
    return made


def _members_with_arrays(pairs: list[tuple[str, Any]]) -> Claims:
    return _members([(name, freeze(value)) if type(value) is list else (name, value) for name, value in pairs])


def _integer(text: str) -> int:
    if len(text) > MAX_INTEGER_CHARACTERS:
        raise MalformedToken("a number too long")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if len(text) > MAX_FLOAT_CHARACTERS or not isfinite(value):
        raise MalformedToken("a number too long or not finite")
    return value


def _constant(_text: str) -> NoReturn:
    raise MalformedToken("NaN or Infinity")


_DECODER = json.JSONDecoder(object_pairs_hook=_members, parse_int=_integer, parse_float=_float, parse_constant=_constant)
_DECODER_WITH_ARRAYS = json.JSONDecoder(
    object_pairs_hook=_members_with_arrays, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _check_header(header: Claims, forbidden: frozenset[str]) -> None:
    """RFC 7515 §4.1: ``alg`` is there, the texts are texts, and nothing asks for a key or an extension of its own."""
    if type(header.get("alg")) is not str:
        raise MalformedToken("header: alg is not a string")
    for name in _HEADER_TEXTS:
        if type(header.get(name, "")) is not str:
            raise MalformedToken(f"header: {name} is not a string")
    if not forbidden.isdisjoint(header):
        raise MalformedToken("header: a member that is never allowed: crit, b64, jwk, jku, x5u or x5c")


def _check_claims(claims: Claims) -> None:
    """RFC 7519 §4.1: registered claims have their types. PyJWT takes strings and booleans as dates, and empty names."""
    get = claims.get
    for name in _NAME_CLAIMS:
        value = get(name, "-")
        if type(value) is not str or not value:
            raise MalformedToken(f"{name} is not a non-empty string")
    for name in _DATE_CLAIMS:
        value = get(name, 0)
        if (type(value) is not int and type(value) is not float) or not 0 <= value <= LATEST_DATE:
            raise MalformedToken(f"{name} is not a number of seconds within the years 1970 to 9999")
    audience = get("aud", "-")
    if not _is_text_or_texts(audience) or not audience or not all(audience):
        raise MalformedToken("aud is not a non-empty string or list of those")
    for name in _SCOPE_CLAIMS:
        if not _is_text_or_texts(get(name, "")):
            raise MalformedToken(f"{name} is not a string or a list of strings")


def _is_text_or_texts(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, ClaimsList) and all(type(each) is str for each in value))
