"""The application under uvicorn: Starlette, awaited. What it decides itself stands in ``application``."""

from __future__ import annotations

import hmac
from functools import reduce
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from strategies.application import furnish, is_related, login_of, me_of, operation_of, status_of, told
from strategies.database import OPERATOR

from jwtgate import Gate, token_of
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.errors import JWTGateError

gate = Gate.from_env()
furnish(gate, is_awaited=True)


async def log_in(request: Request) -> Response:
    """The application's own password check, then a session."""
    form = await request.json()
    login = login_of(form, request.client.host if request.client else None)
    if login is None:
        return JSONResponse({"error": "wrong password"}, 403)
    pair = await gate.aio.sessions.start(**login)
    if not is_related(pair.session_id, form):
        await gate.aio.sessions.end(pair.session_id)
        return JSONResponse({"error": "no such user"}, 403)
    response = JSONResponse({**pair.as_dict(), "session_id": pair.session_id})
    if "cookie" in gate.settings.locations:
        gate.set_cookies(response, pair)
    return response


async def refresh(request: Request) -> Response:
    """A new pair."""
    pair = await gate.aio.sessions.refresh((await request.json())["refresh_token"])
    return JSONResponse({**pair.as_dict(), "session_id": pair.session_id})


async def log_out_everywhere(request: Request) -> Response:
    """The user is out, on every device."""
    token = token_of(request.scope)
    assert token is not None and token.subject is not None
    return JSONResponse(told(await gate.aio.sessions.end_all(token.subject, wait=True)))


async def operate(request: Request) -> Response:
    """Whatever the operator calls on the gate of this worker."""
    if not hmac.compare_digest(request.headers.get("x-operator", ""), OPERATOR):
        return JSONResponse({"error": "not the operator"}, 403)
    path, arguments, named = operation_of(await request.json())
    return JSONResponse(told(await reduce(getattr, path, gate.aio)(*arguments, **named)))


async def me(request: Request) -> Response:
    """Protected."""
    return JSONResponse(me_of(token_of(request.scope)))


async def status(request: Request) -> Response:
    """Exempt: what this worker knows."""
    return JSONResponse(status_of(gate))


async def greet(socket: WebSocket) -> None:
    """Protected, over a WebSocket."""
    token = token_of(socket.scope)
    await socket.accept()
    await socket.send_text(str(token and token.subject))
    await socket.close()


async def refused(request: Request, error: Any) -> Response:
    """A login or refresh that is not granted, or cannot be now."""
    return JSONResponse({"error": error.error}, error.status)


app = JWTGateMiddleware(
    Starlette(
        routes=[
            Route("/login", log_in, methods=["POST"]),
            Route("/refresh", refresh, methods=["POST"]),
            Route("/log-out-everywhere", log_out_everywhere, methods=["POST"]),
            Route("/operate", operate, methods=["POST"]),
            Route("/me", me),
            Route("/account", me),
            Route("/status", status),
            WebSocketRoute("/greet", greet),
        ],
        exception_handlers={JWTGateError: refused},
    )
)
