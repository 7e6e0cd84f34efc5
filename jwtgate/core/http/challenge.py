"""The answer to a refused request: one per kind of error, the same bytes every time.

RFC 6750 §3 (challenge), RFC 9457 (problem details), RFC 9110 §10.2.3 (Retry-After), §11.6.1 (WWW-Authenticate). Made
from the error's *class* alone, so nothing of the request, the token or a library's text can reach the caller. Two
exceptions, which the application names: the scopes of ``InsufficientScope`` and the age of
``InsufficientUserAuthentication`` (RFC 9470 §3). Does not log or count.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus

from jwtgate.errors import InsufficientScope, InsufficientUserAuthentication, JWTGateError
from jwtgate.messages import Response

__all__ = ["Offer", "answer"]

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")
"""RFC 6749 §3.3: no space, quote or backslash."""

_NOT_IN_A_HEADER = re.compile(r"[^\x20-\x7E]")

_SHORTEST_RETRY_SECONDS = 1
"""A client told to come back at once comes back in a loop."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Where the scheme DPoP is ours, too (RFC 9449 §7.1 and §7.2).

    Attributes:
        algs: of proofs, in one text.
        is_alone: Bearer is not offered.
    """

    algs: str
    is_alone: bool


def answer(
    error: JWTGateError,
    *,
    realm: str,
    retry_after_seconds: int | None,
    resource_metadata: str = "",
    offer: Offer | None = None,
    nonce: str | None = None,
) -> Response:
    """Renders an error for the caller.

    Args:
        error: any of the gate's; only its class counts, and what the application put into it.
        realm: of the challenge.
        retry_after_seconds: for 503, which always says when; None means the shortest, one second.
        resource_metadata: URL of the resource's metadata (RFC 9728 §5.1); empty where there are none.
        offer: None: Bearer is the only scheme.
        nonce: for the next proof (RFC 9449 §9).

    Returns:
        The response, header names in lower case (ASGI wants them so, HTTP does not mind).
    """
    scopes = _scope_tokens(error.scopes) if isinstance(error, InsufficientScope) else ()
    max_age = int(error.max_age_seconds) if isinstance(error, InsufficientUserAuthentication) else 0
    kind = type(error)
    # mypy takes a class for unhashable where it sees the __hash__ of its instances.
    rendered = _rendered(kind, realm, scopes, max_age, retry_after_seconds, resource_metadata)  # type: ignore[arg-type]
    return rendered if offer is None else _offering(rendered, offer, nonce, is_dpop=error.is_dpop)


def _offering(rendered: Response, offer: Offer, nonce: str | None, *, is_dpop: bool) -> Response:
    """Whoever came with DPoP is answered in it; to all others it is offered beside Bearer."""

    def offered(name: str, value: str) -> str:
        scheme, _, parameters = value.partition(" ")
        if name != "www-authenticate" or scheme not in ("Bearer", "DPoP"):
            return value
        if is_dpop or offer.is_alone or scheme == "DPoP":
            return f'DPoP {parameters}, algs="{offer.algs}"'
        return f'{value}, DPoP algs="{offer.algs}"'

    more = () if nonce is None else (("dpop-nonce", nonce),)
    return replace(rendered, headers=(*((name, offered(name, value)) for name, value in rendered.headers), *more))


@lru_cache(maxsize=256)  # Kinds of error times gates times scopes of the application: a client adds none.
def _rendered(
    kind: type[JWTGateError],
    realm: str,
    scopes: tuple[str, ...],
    max_age: int,
    retry_after_seconds: int | None,
    resource_metadata: str,
) -> Response:
    body = _body(kind)
    headers = [
        ("content-type", "application/problem+json" if kind.form == "problem" else "application/json"),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
    ]
    if kind.form == "event":
        headers.append(("content-language", "en"))
    challenge = _challenge(kind, realm, scopes, max_age, resource_metadata)
    if challenge is not None:
        headers.append(("www-authenticate", challenge))
    if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("retry-after", str(max(retry_after_seconds or 0, _SHORTEST_RETRY_SECONDS))))
    return Response(kind.status, tuple(headers), body)


def _body(kind: type[JWTGateError]) -> bytes:
    """RFC 9457 §4.2.1: without ``type`` the title is the status code's phrase. ASCII, so no charset is in question."""
    members: dict[str, str | int] = {"error": kind.error, "error_description": kind.description}
    if kind.form == "problem":
        members = {"title": HTTPStatus(kind.status).phrase, "status": kind.status, **members}
    elif kind.form == "event":
        members = {"err": kind.error, "description": kind.description}
    return json.dumps(members, separators=(",", ":")).encode("ascii")


def _challenge(
    kind: type[JWTGateError], realm: str, scopes: tuple[str, ...], max_age: int, resource_metadata: str
) -> str | None:
    """The challenge of an error of this kind into which nobody has put anything: hence ``__new__`` alone."""
    blank = kind.__new__(kind)
    blank.realm = realm.replace("\\", "\\\\").replace('"', '\\"')
    blank.resource_metadata = resource_metadata
    if isinstance(blank, InsufficientScope):
        blank.scopes = scopes
    if isinstance(blank, InsufficientUserAuthentication):
        blank.max_age_seconds = max_age
    challenge = blank.challenge
    # RFC 6750 §3: a scope attribute names at least one scope.
    return None if challenge is None else _NOT_IN_A_HEADER.sub("", challenge).replace(', scope=""', "")


def _scope_tokens(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Those that may stand in a challenge; several in one string, as in a ``scope`` claim, are several."""
    return tuple(scope for scope in " ".join(scopes).split(" ") if _SCOPE_TOKEN.fullmatch(scope))
