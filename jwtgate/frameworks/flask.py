"""Flask: one line that puts the gate in front, the token of the current request, views that insist on more. Decides nothing.

``jwtgate.wsgi.JWTGateMiddleware`` has decided before Flask sees a request: what is here hands out what it found, or refuses a
request that it let in without a token, or for other things. Reads no key of ``app.config``: settings are the gate's own.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

try:
    from flask import Response, current_app, request
except ImportError as missing:
    raise ImportError("jwtgate.frameworks.flask needs flask: pip install 'jwtgate[flask]'") from missing

from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from jwtgate.checks import fresh_login, scope
from jwtgate.errors import JWTGateError, MissingToken
from jwtgate.frameworks.admission import Admission, admission_of
from jwtgate.wsgi import JWTGateMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flask import Flask

    from jwtgate.checks import PlainCheck
    from jwtgate.gate import Gate
    from jwtgate.messages import Token

__all__ = ["JWTGate", "current_token", "token_required"]

V = TypeVar("V", bound="Callable[..., Any]")

LINE = "JWTGate(app), of jwtgate.frameworks.flask"

EXTENSION = "jwtgate"
"""In ``app.extensions``."""

GUARD = "_jwtgate_admitted_view"
"""Attribute of a view that ``token_required`` was put on: what should be served in its place."""

logger = logging.getLogger("jwtgate")


class JWTGate:
    """``JWTGate(app)``: configured by ``JWTGATE_*``, or by a ``Gate`` of your own. In a factory: ``init_app``.

    Every ``JWTGateError`` that a view raises is answered as the gate itself would: a login while the store is down, say.
    """

    def __init__(self, app: Flask | None = None, *, gate: Gate | None = None) -> None:
        """Raises: SettingsError: with ``app``, the environment's settings are wrong."""
        self._gate = gate
        if app is not None:
            self.init_app(app)

    @property
    def gate(self) -> Gate:
        """For logins and revocations. Raises: RuntimeError: no application has it yet."""
        if self._gate is None:
            raise RuntimeError("there is no gate before init_app(app)")
        return self._gate

    def init_app(self, app: Flask) -> None:
        """Puts the gate in front; several applications share it.

        Raises: SettingsError: the environment's settings are wrong. RuntimeError: the application has one already.
        """
        if EXTENSION in app.extensions or isinstance(app.wsgi_app, JWTGateMiddleware):
            raise RuntimeError("this application has its gate: two in a row would decide twice")
        shell = JWTGateMiddleware(app.wsgi_app, gate=self._gate)
        self._gate = shell.gate
        app.extensions[EXTENSION] = self
        app.wsgi_app = shell  # type: ignore[method-assign] # the way Flask documents it
        app.register_error_handler(JWTGateError, _render)
        unordered = [app]

        def before_the_first() -> None:
            if unordered:
                _serve_guarded(app)
                unordered.clear()

        app.before_request(before_the_first)


def _serve_guarded(app: Flask) -> None:
    """A view that was registered before ``token_required`` was put on it is guarded all the same, as its source reads."""
    served = list(app.view_functions.values())
    for endpoint, view in list(app.view_functions.items()):
        guards = list(_guards_of(view))
        if guards and not any(guard in served for guard in guards):
            app.view_functions[endpoint] = guards[-1]
            logger.warning(
                "@token_required stands above the route of %r, where Flask does not see it: it is served guarded; put it below",
                endpoint,
            )


def _guards_of(view: Any) -> Iterator[Any]:
    """What ``token_required`` made of it, and of that again; not of another view: decorators copy attributes."""
    while (guard := getattr(view, GUARD, None)) is not None and guard.__wrapped__ is view:
        yield guard
        view = guard


@overload
def token_required(view: V, /) -> V: ...


@overload
def token_required(
    *, scopes: str | Iterable[str] = (), fresh: float | None = None, optional: bool = False
) -> Callable[[V], V]: ...


def token_required(
    view: Any = None, /, *, scopes: str | Iterable[str] = (), fresh: float | None = None, optional: bool = False
) -> Any:
    """A view, plain or async, for requests with a token: on exempt paths and in ``MODE=optional`` not all have one.

    Nearest to the function, below ``@app.route``; in ``decorators`` of class-based views. Above the route it works, and a line
    is logged, where ``JWTGate(app)`` is in front.

    Args:
        view: where it stands without parentheses.
        scopes: that the token must have, all of them: a sequence, or one text with spaces. Else 403 names them (RFC 6750 §3.1).
        fresh: seconds since the user gave a password, by ``auth_time``; else 401 asks for a new login (RFC 9470 §3).
        optional: an anonymous request passes; a token must have all the rest.

    Raises: ValueError, TypeError: no view, no scopes, or no span of time.
    """
    if view is not None and not callable(view):
        raise TypeError(
            f"token_required takes its rules by name, for example scopes='read', and was given {type(view).__name__}"
        )
    checks = _checks(scopes, fresh)

    def required(view: V) -> V:
        @wraps(view)
        def admitted_view(*args: Any, **kwargs: Any) -> Any:
            _insist(checks, optional=optional)
            return current_app.ensure_sync(view)(*args, **kwargs)

        with suppress(AttributeError):  # methods have none
            setattr(view, GUARD, admitted_view)
        return cast("V", admitted_view)

    return required if view is None else required(view)


def _checks(scopes: str | Iterable[str], fresh: float | None) -> list[PlainCheck]:
    """A login does not mend a scope that is missing, so that is said first."""
    needed = scopes.split(" ") if isinstance(scopes, str) else tuple(scopes)
    return [*([scope(*needed)] if needed else []), *([] if fresh is None else [fresh_login(fresh, now=_now)])]


def _now() -> float:
    """By the clock of the gate in front, which tests may stop."""
    return _admission().gate.clock.wall()


def _insist(checks: list[PlainCheck], *, optional: bool) -> None:
    """Raises: JWTGateError: the gate's, which it answers. HTTPException: that answer, where nobody else would give it."""
    admission = _admission()
    if optional and admission.token is None:
        return
    try:
        admission.insist(checks)
    except JWTGateError as error:
        if EXTENSION in current_app.extensions:
            raise
        raise HTTPException(response=_render(error)) from error  # only the middleware is in front


def _admission() -> Admission:
    return admission_of(request.environ, LINE)


def _render(error: JWTGateError) -> Response:
    answer = _admission().answer(error)
    return Response(answer.body, answer.status, list(answer.headers))


class _Anonymous(MissingToken, RuntimeError):
    """A local proxy takes the second for "there is none": it is False then, and has no attributes."""


def _current() -> Token:
    token = _admission().token
    if token is None:
        raise _Anonymous("the request is anonymous, and what it asks for is not")
    return token


current_token = cast("Token", LocalProxy(_current))
"""The token of this request; False if it is anonymous: ask ``if current_token``, never ``is None``.

Whoever reads a claim of an anonymous request has the gate's 401 sent.
"""
