"""``/.well-known/oauth-protected-resource``: what a client must know of the resource behind the gate (RFC 9728).

Told to anybody, token or not, at the root of the host, wherever the application is mounted: §3.1 puts it between host and
path of the resource. All of it is configured; nothing comes from the request, whose ``Host`` anybody can choose (§7.3). CORS
preflights and handshakes are the application's, as on every path.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jwtgate.core.http.exemption import is_plain, is_preflight
from jwtgate.endpoints.answers import wrong_method
from jwtgate.messages import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.messages import Request

__all__ = ["ProtectedResource"]

WELL_KNOWN = "/.well-known/oauth-protected-resource"

MAX_AGE_SECONDS = 3600
"""It changes with the settings alone; an hour later every client has heard (RFC 9111 §5.2.2.1)."""


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """One resource and its metadata.

    Attributes:
        resource: its identifier, an absolute URL, told letter by letter (§3.3: a client compares it).
        members: of the metadata beside ``resource`` and ``jwks_uri``; those that are None or have no elements are left out
            (§2), but for ``bearer_methods_supported``, where ``[]`` says none.
        jwks_path: below the application, of the keys under which our own tokens verify; None: there is none.
        url: of the metadata.
        path: of the same.
    """

    resource: str
    members: Mapping[str, Any]
    jwks_path: str | None
    url: str = field(init=False)
    path: str = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.resource)
        # §3.1: a slash that ends the host is no path.
        path = WELL_KNOWN + (parts.path if parts.path != "/" else "")
        object.__setattr__(self, "path", path)
        object.__setattr__(self, "url", f"{self._origin}{path}")

    @property
    def _origin(self) -> str:
        parts = urlsplit(self.resource)
        return f"{parts.scheme}://{parts.netloc}"

    def is_at(self, request: Request, whole_path: str | None) -> bool:
        """Whether a request is for the metadata.

        Args:
            request: its path is that below the application's root.
            whole_path: with the root. Servers differ in whether a root that they were told stands in every path.
        """
        if self.path not in (request.path, whole_path) or request.is_websocket or is_preflight(request):
            return False
        return is_plain(self.path, request.raw_path)

    def answer(self, request: Request, root_path: str) -> Response:
        """200 for GET and HEAD, with the body in both cases; else 405 (RFC 9110 §15.5.6)."""
        if request.method not in ("GET", "HEAD"):
            return wrong_method("GET, HEAD")
        body = json.dumps(self._document(root_path), separators=(",", ":")).encode("ascii")
        headers = (
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("cache-control", f"public, max-age={MAX_AGE_SECONDS}"),
            # Public, the same for everybody, and without credentials: a page of any origin may be the client that asks.
            ("access-control-allow-origin", "*"),
        )
        return Response(200, headers, body)

    def _document(self, root_path: str) -> dict[str, Any]:
        document = {"resource": self.resource, "jwks_uri": self._jwks_uri(root_path), **self.members}
        return {
            name: value
            for name, value in document.items()
            if value is not None and (value or not isinstance(value, (list, tuple)) or name == "bearer_methods_supported")
        }

    def _jwks_uri(self, root_path: str) -> str | None:
        """The root is believed where the resource lies under it: a proxy's header may have set it."""
        if self.jwks_path is None:
            return None
        is_above = f"{urlsplit(self.resource).path}/".startswith(f"{root_path}/")
        return f"{self._origin}{root_path if is_above else ''}{self.jwks_path}"
