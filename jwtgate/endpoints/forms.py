"""The form in a request's body: ``application/x-www-form-urlencoded``, read strictly and at a bounded cost.

RFC 6749 §3.1 and appendix B, WHATWG URL §5.1. A field that is repeated is refused, never chosen from; a field without a
value counts as left out (RFC 6749 §3.1). The query is never read: tokens in it would stand in access logs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from jwtgate.endpoints.refusals import BodyTooLarge, MalformedCall, NotAnEventToken, WrongMediaType

if TYPE_CHECKING:
    from jwtgate.messages import Request

__all__ = ["MAX_BODY_BYTES", "Form", "check_event_token", "declared_length", "read_fields", "read_form", "unescaped"]

MAX_BODY_BYTES = 16_384
"""A token of the default limit fits with all that may stand beside it; more is no form of ours."""

_MEDIA_TYPE = b"application/x-www-form-urlencoded"
_PARAMETERS = re.compile(rb'(?:;[ \t]*+(?:charset="?utf-8"?)?+[ \t]*+)*+', re.IGNORECASE)
"""Another charset would be another text. Possessive: hostile input is read once."""

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

Form = dict[str, str]


def declared_length(request: Request) -> int | None:
    """The length that the request gives its body (RFC 9110 §8.6); None where it gives none.

    Raises:
        MalformedCall: no number, or more than one.
        BodyTooLarge: it need not be read.
    """
    lines = [value for name, value in request.headers if name == b"content-length" and value]
    if not lines:
        return None
    if len(lines) > 1 or not lines[0].isdigit():
        raise MalformedCall("Content-Length is not one number")
    digits = lines[0].lstrip(b"0") or b"0"
    if len(digits) > len(str(MAX_BODY_BYTES)) or int(digits) > MAX_BODY_BYTES:
        raise BodyTooLarge("Content-Length is over the limit")
    return int(digits)


def read_form(request: Request, body: bytes, *, wanted: str | None = None) -> Form:
    """The fields of the body by name, those without a value left out. An empty body is an empty form.

    Args:
        request: with its headers.
        body: whole.
        wanted: the one field that matters; all others are ignored, whatever they hold.

    Raises:
        BodyTooLarge: over ``MAX_BODY_BYTES``.
        WrongMediaType: there is a body, and it is said to be something else or nothing.
        MalformedCall: a repeated field, a broken escape, NUL, or bytes that are not UTF-8.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge("the body is over the limit")
    if not body:
        return {}
    _check_media_type([value for name, value in request.headers if name == b"content-type" and value])
    return read_fields(body, wanted=wanted)


def read_fields(octets: bytes, *, wanted: str | None = None) -> Form:
    """The fields of a form or of an address's query. Args: wanted: as for ``read_form``. Raises: MalformedCall."""
    form: Form = {}
    for pair in octets.split(b"&"):
        if not pair:
            continue
        name, _, value = pair.partition(b"=")
        if wanted is not None and unquote_to_bytes(name.replace(b"+", b" ")) != wanted.encode():
            continue
        field = unescaped(name)
        if field in form:
            raise MalformedCall("a field is repeated")
        form[field] = unescaped(value)
    return {field: value for field, value in form.items() if value}


def check_event_token(request: Request, body: bytes) -> None:
    """A body that is one security event token (RFC 8935 §2.1).

    Raises: BodyTooLarge. NotAnEventToken: it is said to be something else or nothing.
    """
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge("the body is over the limit")
    lines = [value for name, value in request.headers if name == b"content-type" and value]
    if len(lines) != 1 or lines[0].strip(b" \t").lower() != b"application/secevent+jwt":
        raise NotAnEventToken("the body is no security event token")


def unescaped(value: bytes) -> str:
    """One name or value: ``+`` is a space, ``%XX`` an octet of UTF-8.

    Raises: MalformedCall: a broken escape, NUL, or not UTF-8.
    """
    if _BROKEN_ESCAPE.search(value) is not None:
        raise MalformedCall("a broken percent escape")
    octets = unquote_to_bytes(value.replace(b"+", b" "))
    if b"\0" in octets:
        raise MalformedCall("NUL")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise MalformedCall("not UTF-8") from None


def _check_media_type(lines: list[bytes]) -> None:
    media_type, semicolon, parameters = (lines[0] if len(lines) == 1 else b"").partition(b";")
    is_form = media_type.strip(b" \t").lower() == _MEDIA_TYPE
    if not is_form or _PARAMETERS.fullmatch(semicolon + parameters) is None:
        raise WrongMediaType("the body is no form")
