"""The WSGI shell: puts the gate in front of any PEP 3333 application. Decides nothing.

The application finds the token in ``environ["jwtgate.token"]`` and the subject in ``REMOTE_USER``. Whatever an outer layer
left under these names is overwritten or removed: an identity from outside is never believed.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from jwtgate.channel.parts import Parts
from jwtgate.core.http.extraction import CANONICAL_SCHEME
from jwtgate.errors import JWTGateError
from jwtgate.gate import Gate, as_gate
from jwtgate.messages import Credential, Request, Response, Token
from jwtgate.runtime import blocking, bodies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from jwtgate.core.lru import Admitted
    from jwtgate.core.sessions.renewal import Renewed

    OptExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

__all__ = ["JWTGateMiddleware"]


HEADERS = (
    ("HTTP_AUTHORIZATION", b"authorization"),
    ("HTTP_COOKIE", b"cookie"),
    ("HTTP_HOST", b"host"),
    ("HTTP_ORIGIN", b"origin"),
    ("HTTP_SEC_FETCH_SITE", b"sec-fetch-site"),
    ("HTTP_X_CSRF_TOKEN", b"x-csrf-token"),
    ("HTTP_ACCESS_CONTROL_REQUEST_METHOD", b"access-control-request-method"),
    ("HTTP_IF_NONE_MATCH", b"if-none-match"),
    ("CONTENT_TYPE", b"content-type"),
    ("CONTENT_LENGTH", b"content-length"),
)
"""All that the core itself ever reads."""

_NOT_FOR_LOGS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters and line separators: servers write ``REMOTE_USER`` into their access logs."""


class JWTGateMiddleware:
    """``app.wsgi_app = JWTGateMiddleware(app.wsgi_app)``: configured by ``JWTGATE_*``, or by a ``Gate`` of your own."""

    def __init__(self, app: WSGIApplication, *, gate: Gate | None = None) -> None:
        """Raises: SettingsError: the environment's settings are wrong."""
        self.app = app
        self.gate = Gate.from_env() if gate is None else as_gate(gate)
        settings = self.gate.settings
        self._longest = settings.max_token_bytes + len(CANONICAL_SCHEME)
        self._is_header_only = settings.locations == ("header",)
        self._exemption = self.gate.decision.rules.exemption
        more = self.gate.decision.rules.possession.headers
        self._read = (*HEADERS, *((f"HTTP_{name.decode().upper().replace('-', '_')}", name) for name in more))
        self._below = () if settings.endpoints is None else settings.endpoints + "/"
        self._resource = self.gate.plans.resource
        self._live_by_path = self.gate.decision.rules.live_paths.names_paths
        self._looks_at_path = bool(self._below) or not self._exemption.is_empty or self._resource is not None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """PEP 3333."""
        request: Request | None = None
        value = environ.get("HTTP_AUTHORIZATION") if self._is_header_only else None
        entry = None if value is None else self._hit(environ, value)
        if entry is None:
            request = _request(environ, None if self.gate.checks else self._read)
            try:
                answered = self._tell(request, environ) or (self._serve(request, environ) if self._below else None)
                if answered is not None:
                    return _answer(environ, start_response, answered)
                entry = self._examine(request)
            except JWTGateError as error:
                self.gate.refusals.tell(error)
                return _answer(environ, start_response, self.gate.answer(error))
            if entry is not None and self.gate.plans.is_renewal_due(entry, request):
                start_response = _renewing(self.gate, entry, start_response)
            if entry is not None and entry.bond is not None:
                start_response = _with_nonce(self.gate, start_response)
        # What is read now: an application may write over its environ, and many do.
        path, raw_path = (_certain_path(environ), _raw_path(environ)) if self._live_by_path else (None, None)
        self._dress(environ, entry)
        answered_with: Any = self.app(environ, start_response)
        if entry is None or type(answered_with) is list or _is_whole(environ, answered_with):
            return answered_with  # type: ignore[no-any-return]  # whatever the application gives
        if not self.gate.decision.rules.live_paths.closes(path, raw_path):
            return answered_with  # type: ignore[no-any-return]
        return Parts(self.gate, entry, answered_with, lambda: self._credential(request, value))

    def _credential(self, request: Request | None, value: str | None) -> Credential | None:
        """Of a request that was admitted. Args: request: None: it was hit, by this very value of its header."""
        if request is not None:
            return self.gate.decision.rules.extraction.find(request)
        return Credential(str(value).encode("latin-1", "replace")[len(CANONICAL_SCHEME) :], "header")

    def _hit(self, environ: WSGIEnvironment, value: str) -> Admitted | None:
        """The way of nearly every request. Only bytes that were found well-formed once can hit; all else goes the long way."""
        if len(value) > self._longest or environ["REQUEST_METHOD"] == "OPTIONS":
            return None
        if self._looks_at_path and self._is_special(environ):
            return None
        # What PEP 3333 forbids in a value becomes "?", which no token can have.
        return self.gate.decision.hit(value.encode("latin-1", "replace"))

    def _is_special(self, environ: WSGIEnvironment) -> bool:
        """Exempt, or perhaps an endpoint's."""
        path = _path(environ)
        if self._resource is not None:
            whole_path = _whole_path(environ) if environ.get("SCRIPT_NAME") else path
            if self._resource.path in (path, whole_path):
                return True
        return (path is not None and path.startswith(self._below)) or self._exemption.matches(path, _raw_path(environ))

    def _tell(self, request: Request, environ: WSGIEnvironment) -> Response | None:
        """The resource's metadata, if it is they that are asked for."""
        if self._resource is None or not self._resource.is_at(request, _whole_path(environ)):
            return None
        return self._resource.answer(request, _text(environ, "SCRIPT_NAME") or "")

    def _serve(self, request: Request, environ: WSGIEnvironment) -> Response | None:
        """The answer of an endpoint; None: the request is the application's."""
        gate = self.gate
        if request.path is None:  # it opens nothing, so any path is certain enough
            request = replace(request, path=_path(environ))
        endpoint = None if gate.plans.endpoints is None else gate.plans.endpoints.find(request)
        if endpoint is None:
            return None
        gate.start()
        body = bodies.read(request, environ) if endpoint.takes_body else b""
        return blocking.run(endpoint.answer(body), gate.performer)

    def _examine(self, request: Request) -> Admitted | None:
        gate = self.gate
        gate.start()
        return blocking.run(gate.plans.examine(request), gate.performer)

    def _dress(self, environ: WSGIEnvironment, entry: Admitted | None) -> None:
        """``REMOTE_USER``: UTF-8 as latin-1 (PEP 3333); never with control characters."""
        environ["jwtgate.gate"] = self.gate
        if entry is None:
            environ["jwtgate.token"] = None
            environ.pop("REMOTE_USER", None)
            return
        environ["jwtgate.token"] = entry.token
        remote_user = entry.remote_user
        if remote_user is None:
            remote_user = entry.remote_user = _remote_user(entry.token)
        if remote_user:
            environ["REMOTE_USER"] = remote_user
        else:
            environ.pop("REMOTE_USER", None)


def _is_whole(environ: WSGIEnvironment, answered_with: Iterable[bytes]) -> bool:
    """Whether a response has one part at most, or is a file: the server's business. Of others servers ask no length."""
    file_wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(file_wrapper, type) and isinstance(answered_with, file_wrapper):
        return True
    return isinstance(answered_with, tuple) or (isinstance(answered_with, Sized) and len(answered_with) <= 1)


def _remote_user(token: Token) -> str:
    """Empty: there is none to give."""
    subject = token.subject or ""
    return "" if _NOT_FOR_LOGS.search(subject) is not None else subject.encode().decode("latin-1")


def _path(environ: WSGIEnvironment) -> str | None:
    return _text(environ, "PATH_INFO")


def _certain_path(environ: WSGIEnvironment) -> str | None:
    """None, too, where a header has Pyramid look elsewhere for what it serves (traversal)."""
    return None if "HTTP_X_VHM_ROOT" in environ else _path(environ)


def _whole_path(environ: WSGIEnvironment) -> str | None:
    """With the place where the application is mounted."""
    root, path = _text(environ, "SCRIPT_NAME"), _path(environ)
    return None if root is None or path is None else root + path


def _text(environ: WSGIEnvironment, key: str) -> str | None:
    try:
        return str(environ.get(key, "")).encode("latin-1").decode()
    except UnicodeError:
        return None


def _raw_path(environ: WSGIEnvironment) -> bytes | None:
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if not isinstance(raw, str):
        return None
    return raw.partition("?")[0].encode("utf-8", "replace")


def _request(environ: WSGIEnvironment, read: tuple[tuple[str, bytes], ...] | None = HEADERS) -> Request:
    """Args: read: which headers; None: checks of the application look at it, so they get all there is."""
    names = _all_headers(environ) if read is None else read
    headers = tuple((name, str(environ[key]).encode("latin-1", "replace")) for key, name in names if key in environ)
    client = environ.get("REMOTE_ADDR") if read is None else None
    # A handshake reaches a WSGI application as a request like any other.
    is_websocket = "websocket" in environ.get("HTTP_UPGRADE", "").lower()
    method = environ["REQUEST_METHOD"]
    return Request(method, _certain_path(environ), _raw_path(environ), headers, is_websocket, client or None, environ)


def _all_headers(environ: WSGIEnvironment) -> list[tuple[str, bytes]]:
    """RFC 3875 §4.1.18. The two without ``HTTP_`` may be there and empty where none was sent (PEP 3333)."""
    found = [(key, key[5:]) for key in environ if key.startswith("HTTP_")]
    found += [(key, key) for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(key)]
    return [(key, name.replace("_", "-").lower().encode("latin-1", "replace")) for key, name in found]


def _renewing(gate: Gate, entry: Admitted, start_response: StartResponse) -> StartResponse:
    """Puts a new access token into the response as it starts (``ROTATE_AFTER``).

    An application that fails on the way starts it again (PEP 3333, ``exc_info``): that one carries the same token.
    """
    made: list[Renewed | None] = []

    def start_renewing(status: str, headers: list[tuple[str, str]], *exc_info: OptExcInfo | None) -> Callable[[bytes], object]:
        if not any(made):
            made[:] = [blocking.run(gate.plans.renew(entry, headers), gate.performer)]
        renewed = made[0]
        return start_response(status, headers if renewed is None else renewed.added_to(headers), *exc_info)

    return start_renewing


def _with_nonce(gate: Gate, start_response: StartResponse) -> StartResponse:
    """Tells the client of a bound token the nonce for its next proof (RFC 9449 §8.2), unless the application tells one."""
    nonce = gate.decision.rules.possession.next_nonce
    if nonce is None:
        return start_response

    def start_with_nonce(
        status: str, headers: list[tuple[str, str]], *exc_info: OptExcInfo | None
    ) -> Callable[[bytes], object]:
        own = [] if any(name.lower() == "dpop-nonce" for name, _ in headers) else [("DPoP-Nonce", nonce)]
        return start_response(status, [*headers, *own], *exc_info)

    return start_with_nonce


def _answer(environ: WSGIEnvironment, start_response: StartResponse, response: Response) -> Iterable[bytes]:
    start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.body]
