"""FastAPI and Starlette: the token as a dependency, scopes, and the gate's own answers. Decides nothing.

``jwtgate.asgi.JWTGateMiddleware`` stands in front and has decided before any of this is asked: a dependency hands out what it
found, or refuses a request that it let in without a token or for other things. ``request.user``, ``request.auth`` and
Starlette's ``@requires`` work without it. In OpenAPI the dependencies are a security scheme with its scopes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from jwtgate.checks import scope
from jwtgate.errors import JWTGateError
from jwtgate.frameworks.admission import Admission, admission_of
from jwtgate.frameworks.openapi import BearerScheme, add_login, signature_under

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.security import SecurityScopes
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection

    from jwtgate.messages import Token

__all__ = ["admitted", "admitted_or_anonymous", "render_errors", "require", "show_login"]

LINE = "app.add_middleware(JWTGateMiddleware), of jwtgate.asgi"

_needed = lru_cache(maxsize=256)(scope)
"""One check for each place in the application that names scopes: a client adds none."""

POLICY_VIOLATION = 1008
"""RFC 6455 §7.4.1; what the middleware closes with, too."""


class _Admitted(BearerScheme):
    """``Annotated[Token, Depends(admitted)]``: the token; the gate's 401 where the middleware let in an anonymous request.

    ``Security(admitted, scopes=[…])`` insists on those scopes like ``require``. Without FastAPI: ``await admitted(request)``.
    """

    async def __call__(self, connection: HTTPConnection, security_scopes: SecurityScopes | None = None) -> Token:
        """Raises: MissingToken. InsufficientScope. LookupError: no middleware is in front."""
        needed = [] if security_scopes is None else security_scopes.scopes
        return _of(connection).insist([_needed(*needed)] if needed else ())


class _AdmittedOrAnonymous(BearerScheme):
    """``Annotated[Token | None, Depends(admitted_or_anonymous)]``.

    None on exempt paths and, in ``MODE=optional``, without a token. Under
    ``Security(…, scopes=[…])`` nobody is anonymous.
    """

    async def __call__(self, connection: HTTPConnection, security_scopes: SecurityScopes | None = None) -> Token | None:
        """Raises: InsufficientScope. LookupError: no middleware is in front."""
        if security_scopes is not None and security_scopes.scopes:
            return await admitted(connection, security_scopes)
        return _of(connection).token


admitted = _Admitted()
admitted_or_anonymous = _AdmittedOrAnonymous()


class _Requirement:
    """What ``require`` makes."""

    def __init__(self, *scopes: str) -> None:
        self._check = scope(*scopes)
        self.__signature__ = signature_under(admitted, scopes)

    async def __call__(self, connection: HTTPConnection, token: Token | None = None) -> Token:
        """Asked also where a test has put something else in the place of ``admitted``."""
        admission = _of(connection)
        if token is None:
            return admission.insist([self._check])
        admission.check(token, [self._check])
        return token


def require(*scopes: str) -> _Requirement:
    """``Depends(require("items:write"))``: the token, if it has all of these scopes; else the gate's 403 names them.

    Without FastAPI: ``await require("items:write")(request)``.

    Args: scopes: one scope token each (RFC 6749 §3.3), at least one.
    Raises: ValueError: no scope, or something that is none.
    """
    return _Requirement(*scopes)


def render_errors(app: Starlette) -> None:
    """Answers every ``JWTGateError`` that a handler raises as the gate itself would: a login while the store is down, say.

    Args: app: FastAPI's or Starlette's; a mounted one needs it, too, for what its handlers raise. The dependencies of this
        module do not need it.
    """
    app.add_exception_handler(JWTGateError, _render)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - Starlette takes None for a WebSocket, and does not say so


def show_login(app: FastAPI, token_url: str) -> None:
    """*Authorize* in FastAPI's ``/docs`` asks for user name and password, too (OpenAPI 3.1 §4.8.29), and logs in with them.

    Every operation is shown as asking for a token, as the middleware does; one on an exempt path takes
    ``openapi_extra={"security": []}``. The login, ``/docs`` and ``/openapi.json`` must be exempt.

    Args:
        app: FastAPI's.
        token_url: the path of your login, which takes the form fields ``username`` and ``password`` (RFC 6749 §4.3.2,
            ``OAuth2PasswordRequestForm``) and answers ``pair.as_dict()``. Without a slash at its beginning it is below the
            application's own path: for one that is mounted, or behind a proxy that cuts a prefix off.
    """
    tell = app.openapi

    def tell_login() -> dict[str, Any]:
        told = tell()
        add_login(told, token_url)
        return told

    app.openapi = tell_login  # type: ignore[method-assign] # the way FastAPI documents it


def _of(connection: HTTPConnection) -> Admission:
    """And sees to it that what is refused gets the gate's answer, in whichever application this is."""
    admission = admission_of(connection.scope, LINE)
    # The table that Starlette itself looks into, handlers of the application's own included: those stay.
    known = connection.scope.get("starlette.exception_handlers")
    if known is not None:
        known[0].setdefault(JWTGateError, _render)
    return admission


async def _render(connection: HTTPConnection, error: JWTGateError) -> Response | None:
    """None: a WebSocket, which has got its answer."""
    answer = admission_of(connection.scope, LINE).answer(error)
    body = b"" if connection.scope.get("method") == "HEAD" else answer.body
    response = Response(body, answer.status, dict(answer.headers))
    if not isinstance(connection, WebSocket):
        return response
    if connection.application_state is WebSocketState.CONNECTING and "websocket.http.response" in (
        connection.scope.get("extensions") or {}
    ):
        await connection.send_denial_response(response)
    elif connection.application_state is not WebSocketState.DISCONNECTED:
        await connection.close(POLICY_VIOLATION)
    return None
