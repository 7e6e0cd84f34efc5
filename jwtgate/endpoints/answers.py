"""The answers of endpoints that are no refusals, and 405. Each made here forbids caching (RFC 6749 §5.1, RFC 9111 §5.2.2.5)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jwtgate.core.http.challenge import answer
from jwtgate.endpoints.refusals import WrongMethod
from jwtgate.messages import Response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jwtgate.messages import Receipt, Request

__all__ = ["accepted", "as_json", "empty", "is_known", "receipt_members", "wrong_method"]


def as_json(members: Mapping[str, Any], cookies: Iterable[str] = (), *, media_type: str = "application/json") -> Response:
    """200 with these members, ASCII whatever they hold. ``cookies``: values of ``Set-Cookie``, one line each."""
    body = json.dumps(members, separators=(",", ":")).encode("ascii")
    return Response(200, (("content-type", media_type), *_headers(body), *(("set-cookie", value) for value in cookies)), body)


def empty() -> Response:
    """200 with nothing (RFC 7009 §2.2)."""
    return Response(200, _headers(b""), b"")


def accepted() -> Response:
    """202 with nothing (RFC 8935 §2.2)."""
    return Response(202, _headers(b""), b"")


def wrong_method(allowed: str) -> Response:
    """405, which names the methods that are allowed (RFC 9110 §15.5.6)."""
    refusal = answer(WrongMethod(), realm="", retry_after_seconds=None)
    return replace(refusal, headers=(*refusal.headers, ("allow", allowed)))


def _headers(body: bytes) -> tuple[tuple[str, str], ...]:
    return (("content-length", str(len(body))), ("cache-control", "no-store"))


def is_known(request: Request, tag: str) -> bool:
    """Whether the caller has what bears this entity tag, quotes and all (RFC 9110 §13.1.2): 304 will do."""
    lines = [value.decode("latin-1") for name, value in request.headers if name == b"if-none-match"]
    return any(each.strip().removeprefix("W/") in (tag, "*") for line in lines for each in line.split(","))


def receipt_members(*receipts: Receipt) -> dict[str, Any]:
    """What the receipts can prove together: everywhere where all are, by the latest moment, through the fewest workers."""
    ends = [receipt.effective_by for receipt in receipts]
    known = [end for end in ends if end is not None]
    return {
        "effective_everywhere": all(receipt.effective_everywhere for receipt in receipts),
        "effective_by": max(known) if len(known) == len(ends) else None,
        "workers": min(receipt.workers for receipt in receipts),
    }
