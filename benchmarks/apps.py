"""What the server processes of rows 4 to 7 serve. Each name is a factory; the gate is configured by ``JWTGATE_*``."""

from __future__ import annotations

import os
import time
from typing import Any

from benchmarks import peers
from benchmarks.stamps import stamp_applications
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

BURN_SECONDS = 0.002


def bare_asgi() -> Any:
    """A pure ASGI application."""
    return peers.bare_asgi


def gated_asgi() -> Any:
    """The same behind the gate."""
    return ASGIMiddleware(peers.bare_asgi)


def talking_asgi() -> Any:
    """The same, and a WebSocket that listens, behind the gate."""

    async def talk(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await peers.bare_asgi(scope, receive, send)
            return
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})

    return ASGIMiddleware(talk)


def bare_starlette() -> Any:
    """A Starlette application with one route."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def ok(_request: Any) -> PlainTextResponse:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route("/", ok)])


def gated_starlette() -> Any:
    """The same behind the gate."""
    app = bare_starlette()
    app.add_middleware(ASGIMiddleware)
    return app


def checked_starlette() -> Any:
    """The same behind AuthenticationMiddleware, PyJWT and Redis."""
    return peers.starlette(os.environ["JWTGATE_STORE"], app=bare_starlette(), secret=os.environ["JWTGATE_SECRET"])[1]


def bare_flask() -> Any:
    """A Flask application with one route."""
    return peers.flask_jwt_extended(os.environ["JWTGATE_STORE"], secret=os.environ["JWTGATE_SECRET"])[0]


def gated_flask() -> Any:
    """The same behind the gate, live before the first request."""
    app = bare_flask()
    app.wsgi_app = WSGIMiddleware(app.wsgi_app)
    app.wsgi_app.gate.ready(10.0)
    return app


def checked_flask() -> Any:
    """The same behind Flask-JWT-Extended and Redis."""
    return peers.flask_jwt_extended(os.environ["JWTGATE_STORE"], secret=os.environ["JWTGATE_SECRET"])[1]


def stamped_asgi() -> Any:
    """The gated pure ASGI application, which stamps when a ruling was applied; ``/burn`` computes for 2 ms."""
    stamp_applications()
    return ASGIMiddleware(_burning_asgi)


def stamped_flask() -> Any:
    """The gated Flask application, stamping too."""
    stamp_applications()
    return gated_flask()


async def _burning_asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/burn":
        _burn()
    await peers.bare_asgi(scope, receive, send)


def _burn() -> None:
    until = time.thread_time() + BURN_SECONDS
    while time.thread_time() < until:
        sum(range(100))
