"""``GET /status/{list}``: whether our tokens still live, for everybody to read (draft-ietf-oauth-status-list §8.1).

It says nothing of anybody: entries are drawn at random, and which token has which only its holder can tell. A browser may read
it from any page. What cannot be known is 503 and what is unknown 404, without a list: whoever consumes one refuses then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.endpoints.answers import is_known
from jwtgate.endpoints.refusals import NoSuchList
from jwtgate.messages import Response

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call

__all__ = ["status_list"]

MEDIA_TYPE = "application/statuslist+jwt"


def status_list(call: Call) -> Plan[Response]:
    """Raises: NoSuchList. StoreUnavailable."""
    published = yield from call.operations.status_list(call.sid)
    if published is None:
        raise NoSuchList("no status list of that name")
    tag = f'"{published.tag}"'
    lasting = ("cache-control", f"public, max-age={published.max_age_seconds}")
    fresh = (lasting, ("etag", tag), ("access-control-allow-origin", "*"))
    if is_known(call.request, tag):
        return Response(304, fresh, b"")
    body = published.token.encode()
    return Response(200, (("content-type", MEDIA_TYPE), ("content-length", str(len(body))), *fresh), body)
