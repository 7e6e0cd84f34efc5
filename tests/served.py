"""What real servers load for tests: the applications of ``shells`` behind gates configured by ``JWTGATE_*``."""

from __future__ import annotations

from typing import Annotated, Any

from endpoints.scripted_operations import ScriptedOperations, endpoints_of
from fastapi import Depends, FastAPI, WebSocket
from flask import Flask, jsonify
from shells import asgi_application, wsgi_application

from jwtgate import Gate, Settings, Token
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.errors import SubjectSuspended
from jwtgate.frameworks.flask import JWTGate, current_token, token_required
from jwtgate.frameworks.starlette import admitted, render_errors, require
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware


def asgi() -> Any:
    """For uvicorn's ``--factory``."""
    return ASGIMiddleware(asgi_application)


def wsgi() -> Any:
    """For gunicorn's ``served:wsgi()``."""
    return WSGIMiddleware(wsgi_application)


def asgi_endpoints() -> Any:
    """With endpoints over scripted operations."""
    return ASGIMiddleware(asgi_application, gate=_with_endpoints())


def wsgi_endpoints() -> Any:
    """The same in WSGI."""
    return WSGIMiddleware(wsgi_application, gate=_with_endpoints())


def asgi_fastapi() -> Any:
    """FastAPI with the token as a dependency."""
    app = FastAPI()
    app.add_middleware(ASGIMiddleware)
    render_errors(app)

    @app.get("/health")
    def health() -> Any:
        return "up"

    @app.get("/me")
    @app.get("/public/admin")
    def me(token: Annotated[Token, Depends(admitted)]) -> Any:
        return token.subject

    @app.get("/admin")
    def admin(token: Annotated[Token, Depends(require("admin"))]) -> Any:
        return token.subject

    @app.websocket("/ws")
    async def ws(websocket: WebSocket, token: Annotated[Token, Depends(require("admin"))]) -> None:
        await websocket.accept()
        await websocket.close()

    app.get("/login")(_suspended)
    return app


def _suspended() -> None:
    raise SubjectSuspended


def wsgi_flask() -> Any:
    """Flask with the same views."""
    app = Flask(__name__)
    JWTGate(app)

    @app.get("/health")
    def health() -> Any:
        return jsonify("up")

    @app.get("/me")
    @app.get("/public/admin")
    @token_required
    def me() -> Any:
        return jsonify(current_token.subject)

    @app.get("/admin")
    @token_required(scopes="admin")
    def admin() -> Any:
        return jsonify(current_token.subject)

    app.get("/login")(_suspended)
    return app


def asgi_django() -> Any:
    """Django by the shell of ASGI; the project is configured where it is wanted."""
    from django.core.handlers.asgi import ASGIHandler
    from frameworks import django_project  # noqa: F401

    return ASGIMiddleware(ASGIHandler())


def wsgi_django() -> Any:
    """And by that of WSGI."""
    from django.core.handlers.wsgi import WSGIHandler
    from frameworks import django_project  # noqa: F401

    return WSGIMiddleware(WSGIHandler())


def _with_endpoints() -> Gate:
    settings = {name: getattr(found, name) for found in (Settings.from_env(),) for name in ("secret", "locations", "exempt")}
    gate = Gate(Settings(**settings, endpoints="/auth"))
    gate.plans.endpoints = endpoints_of(ScriptedOperations(), has_events=True)
    return gate
