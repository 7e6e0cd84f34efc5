"""Which client calls an endpoint for clients: HTTP Basic, or ``client_id`` and ``client_secret`` in the form, never both.

RFC 6749 §2.3 and §2.3.1: in Basic both are form-urlencoded first, so that any character may be in them. Only digests of
secrets are known here. An unknown id takes the same comparison as a wrong secret.
"""

from __future__ import annotations

from binascii import Error as NotBase64
from binascii import a2b_base64
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from jwtgate.endpoints.forms import unescaped
from jwtgate.endpoints.refusals import MalformedCall
from jwtgate.errors import InvalidClient

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.endpoints.forms import Form
    from jwtgate.messages import Request

__all__ = ["Clients"]

MAX_CREDENTIALS_BYTES = 4096
"""Of the ``Authorization`` value: an id of 128 characters and any sane secret, escaped twice over."""

_NOBODY = (bytes(32),)
"""The digest of no secret that anybody knows."""


class Clients:
    """Who may call. Shows no digest."""

    __slots__ = ("_digests",)

    def __init__(self, entries: Iterable[str]) -> None:
        """Args: entries: ``client_id:SHA-256 in hex`` each; an id may have several secrets, so that one can be changed."""
        self._digests: dict[str, tuple[bytes, ...]] = {}
        for entry in entries:
            client_id, _, digest = entry.rpartition(":")
            self._digests[client_id] = (*self._digests.get(client_id, ()), bytes.fromhex(digest))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._digests)

    def authenticate(self, request: Request, form: Form) -> str:
        """The id of the client that calls.

        Raises:
            MalformedCall: credentials in two places, or a repeated ``Authorization``.
            InvalidClient: none, or not of a configured client.
        """
        lines = [value for name, value in request.headers if name == b"authorization"]
        in_form = (form.get("client_id"), form.get("client_secret"))
        # A comma is in no Basic credentials: two lines that a server has joined (RFC 3875 §4.1.18).
        if len(lines) > 1 or any(b"," in line for line in lines):
            raise MalformedCall("Authorization is repeated")
        if lines and any(in_form):
            raise MalformedCall("client credentials in two places")
        client_id, secret = _basic(lines[0]) if lines else in_form
        if client_id is None or secret is None:
            raise InvalidClient("no client credentials")
        digest = sha256(secret.encode()).digest()
        known = self._digests.get(client_id, _NOBODY)
        # All of them, with no early end: the time tells nothing of which.
        if not sum(compare_digest(digest, each) for each in known):
            raise InvalidClient("unknown client or wrong secret")
        return client_id


def _basic(authorization: bytes) -> tuple[str, str]:
    """RFC 7617 §2, RFC 6749 §2.3.1. Raises: InvalidClient: anything but that."""
    scheme, _, encoded = authorization[:MAX_CREDENTIALS_BYTES].partition(b" ")
    if len(authorization) > MAX_CREDENTIALS_BYTES or scheme.lower() != b"basic":
        raise InvalidClient("Authorization is not Basic, or too long")
    try:
        client_id, colon, secret = a2b_base64(encoded.strip(b" "), strict_mode=True).partition(b":")
        if colon:
            return unescaped(client_id), unescaped(secret)
    except (NotBase64, MalformedCall):
        pass
    raise InvalidClient("Basic credentials that cannot be read")
