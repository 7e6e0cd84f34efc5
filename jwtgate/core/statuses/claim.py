"""Where a token says that its status stands: the claim ``status`` (draft-ietf-oauth-status-list §6.1 and §6.2).

Read strictly, and only of tokens that were verified. A reference leads nowhere but under the addresses that the operator
allows: an issuer that was broken into must not choose what this process asks inside the operator's network.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from jwtgate.errors import MalformedToken

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MOST_ENTRIES", "ListRules", "Reference", "is_plain_address", "reference_of"]

MOST_ENTRIES = 2**32
"""An index beyond is in no list that could be read."""

MOST_URI_CHARACTERS = 1024

_ADDRESS = re.compile(
    r"https?://[A-Za-z0-9.\-:\[\]]+(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]*+)*+(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/-]*+)?"
)
"""RFC 3986 without user-info, fragment and percent-encoding: two readers of it never disagree. Possessive: read once."""


class Reference(NamedTuple):
    """Which entry of which list."""

    uri: str
    idx: int


@dataclass(frozen=True, slots=True)
class ListRules:
    """Whose lists are consulted about the tokens of an issuer.

    Attributes:
        prefixes: the addresses under which a list may stand; each ends a segment of the path.
        stale_seconds: for how long a list outlives its lifetime.
    """

    prefixes: tuple[str, ...]
    stale_seconds: float

    def allow(self, uri: str) -> bool:
        """Whether a list may be fetched from there."""
        return is_plain_address(uri) and any(
            uri.startswith(prefix) and (prefix.endswith("/") or uri[len(prefix) :][:1] in {"", "/", "?"})
            for prefix in self.prefixes
        )


def is_plain_address(uri: str) -> bool:
    """Whether it is spelt in a way that everybody reads alike."""
    if len(uri) > MOST_URI_CHARACTERS or _ADDRESS.fullmatch(uri) is None:
        return False
    return {".", ".."}.isdisjoint(uri.partition("?")[0].split("/"))


def reference_of(claims: Mapping[str, Any], rules: ListRules) -> Reference | None:
    """The entry that tells a token's status; None where it has no claim ``status``.

    Raises: MalformedToken: the claim is of another shape, names another mechanism alone, or a list at a place that is not
        allowed: a status that cannot be looked at is not taken for a good one.
    """
    status = claims.get("status")
    if status is None:
        if "status" in claims:
            raise MalformedToken("status is null")
        return None
    entry = _members(_members(status).get("status_list"))
    index, uri = entry.get("idx"), entry.get("uri")
    if type(index) is not int or not 0 <= index < MOST_ENTRIES:
        raise MalformedToken("idx is no index")
    if not isinstance(uri, str) or not rules.allow(uri):
        raise MalformedToken("uri is under none of the addresses of JWTGATE_STATUS_FROM")
    return Reference(uri, index)


def _members(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise MalformedToken("status names no status_list")
    return cast("Mapping[str, Any]", value)
