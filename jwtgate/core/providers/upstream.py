"""A session of ours that hangs on one at an identity provider: what ends that one ends it, with one ruling for both.

The application starts it after a login at the provider (OpenID Connect Core §3.1.3) and says which session or subject there.
Its record and its access tokens carry the provider's handles in the claim ``jgu``: when it began, and by kind of handle 16
bytes in base64url. So a ruling is looked up for it as for the provider's own tokens, and no name of the provider stands in
our tokens. Believed under our own key alone: whoever can sign as we do needs no such claim.
"""

from __future__ import annotations

import math
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jwtgate.core.handles import DIGEST_BYTES, digest_of
from jwtgate.errors import MalformedToken

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["CLAIM", "Link", "begun_at", "link_of", "linked_at", "subject_of", "with_links"]

CLAIM = "jgu"

KINDS = ("sid", "sub_without_sid", "sessions", "sub")
"""A cut-off on the subject's ``sessions`` ends it; one on the subject its access tokens, and ``revoked`` there suspends it."""


@dataclass(frozen=True, slots=True)
class Link:
    """To a session at a provider. ``handles``: kind to digest. ``leeway_seconds``: what its clock is forgiven."""

    handles: Mapping[str, bytes]
    leeway_seconds: float = 0.0

    @classmethod
    def to(cls, namespace: str, sid: str | None, sub: str | None, leeway_seconds: float = 0.0) -> Link:
        """Args: sid, sub: as the provider's ID token has them; at least one. Without sid, it ends with any session there."""
        named: dict[str, str] = {}
        if sid is not None:
            named["sid"] = sid
        elif sub is not None:
            named["sub_without_sid"] = sub
        if sub is not None:
            named |= {"sessions": sub, "sub": sub}
        return cls({kind: digest_of(namespace, kind, value) for kind, value in named.items()}, leeway_seconds)

    def claim(self, now: float, own_leeway_seconds: float = 0.0) -> dict[str, Any]:
        """What an access token carries.

        Args:
            now: of the login, NumericDate; whole seconds, as providers tell them.
            own_leeway_seconds: what its issuer's clock, ours, is forgiven. Where the provider's is forgiven more, the session
                counts as begun so much earlier: it dies with the tokens of the provider's that were made in its second.
        """
        now -= max(0.0, self.leeway_seconds - own_leeway_seconds)
        texts = {kind: urlsafe_b64encode(digest).rstrip(b"=").decode() for kind, digest in self.handles.items()}
        return {"at": max(0, math.floor(now)), **texts}


def link_of(claims: Mapping[str, Any]) -> Link | None:
    """The link that a token of ours carries. Raises: MalformedToken: no jwtgate wrote it."""
    claim = claims.get(CLAIM)
    if claim is None:
        return None
    try:
        began_at, texts = claim["at"], {kind: text for kind, text in claim.items() if kind != "at"}
        handles = {kind: urlsafe_b64decode(text + "==") for kind, text in texts.items()}
    except (TypeError, AttributeError, KeyError, NotBase64, ValueError):
        raise MalformedToken("jgu is none of ours") from None
    is_sound = type(began_at) is int and all(len(digest) == DIGEST_BYTES for digest in handles.values())
    if not (is_sound and handles and set(handles) <= set(KINDS)):
        raise MalformedToken("jgu is none of ours")
    return Link(handles)


def begun_at(claims: Mapping[str, Any]) -> float | None:
    """When the session began that a token of ours is of: by its link, else by its login (``auth_time``); None: it is of none.

    Not when the token was made: it may have been refreshed between the end of that session and the moment we hear of it.
    """
    claim = claims.get(CLAIM)
    if claim is not None:
        return float(claim["at"])
    return claims.get("auth_time") if "sid" in claims else None


def linked_at(claims: Mapping[str, Any]) -> float | None:
    """When a session began that hangs on one at a provider, by its claims; None: it hangs on none, or nobody can read it."""
    try:
        return None if link_of(claims) is None else begun_at(claims)
    except MalformedToken:
        return None


def subject_of(claims: Mapping[str, Any]) -> bytes | None:
    """The provider's subject, in a session's claims; None: there is none, or nobody can read it."""
    try:
        link = link_of(claims)
    except MalformedToken:
        return None
    return None if link is None else link.handles.get("sub")


def with_links(handles: Iterable[bytes], claims: Mapping[str, Any]) -> tuple[bytes, ...]:
    """Handles of a token of ours, and those of its link: each once, where the provider is our own issuer.

    Raises: MalformedToken: as ``link_of``.
    """
    link = link_of(claims)
    return tuple(handles) if link is None else tuple(dict.fromkeys((*handles, *link.handles.values())))
