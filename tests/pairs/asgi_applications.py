"""One small application in each ASGI framework, wrapped as its users would, and told apart by one header of the request.

Each says what it was given (``seen``), reached in its framework's own way, and echoes over a WebSocket with the subject.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Response, WebSocket
from shells import asgi_application, seen

from jwtgate import Token
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.errors import SubjectSuspended
from jwtgate.frameworks.starlette import admitted, admitted_or_anonymous, render_errors, require

METHODS = ["GET", "HEAD", "POST", "OPTIONS"]
JSON = "application/json"


def starlette() -> Any:
    """``request.user`` and the scope."""
    from starlette.applications import Starlette
    from starlette.authentication import requires
    from starlette.responses import Response
    from starlette.routing import Route, WebSocketRoute

    async def tell(request: Any) -> Response:
        return Response(seen(request.scope["jwtgate.token"], request.user.identity), media_type=JSON)

    @requires("read")
    async def read(request: Any) -> Response:
        return await tell(request)

    async def admin(request: Any) -> Response:
        await require("admin")(request)
        return await tell(request)

    async def insist(request: Any) -> Response:
        await admitted(request)
        return await tell(request)

    async def echo(websocket: Any) -> None:
        await websocket.accept()
        await websocket.send_text(f"{websocket.user.identity}: {await websocket.receive_text()}")
        await websocket.close()

    app = Starlette(
        routes=[
            Route("/read", read),
            Route("/admin", admin),
            Route("/public/insist", insist),
            Route("/login", _suspended),
            Route("/{path:path}", tell, methods=METHODS),
            WebSocketRoute("/ws", echo),
        ]
    )
    render_errors(app)
    return JWTGateMiddleware(app)


async def _suspended(_request: Any) -> None:
    raise SubjectSuspended


def fastapi() -> Any:
    """The token as a dependency."""
    app = FastAPI()
    app.add_middleware(JWTGateMiddleware)
    render_errors(app)

    @app.get("/admin")
    async def admin(token: Annotated[Token, Depends(require("admin"))]) -> Any:
        return token.subject

    @app.get("/public/insist")
    async def insist(token: Annotated[Token, Depends(admitted)]) -> Any:
        return token.subject

    @app.get("/login")
    async def suspended() -> None:
        raise SubjectSuspended

    @app.api_route("/{path:path}", methods=METHODS)
    async def tell(token: Annotated[Token | None, Depends(admitted_or_anonymous)]) -> Response:
        return Response(seen(token, "" if token is None else token.subject or ""), media_type=JSON)

    @app.websocket("/ws")
    async def echo(websocket: WebSocket, token: Annotated[Token, Depends(admitted)]) -> None:
        await websocket.accept()
        await websocket.send_text(f"{token.subject}: {await websocket.receive_text()}")
        await websocket.close()

    @app.websocket("/ws/admin")
    async def closed(websocket: WebSocket, token: Annotated[Token, Depends(require("admin"))]) -> None:
        await websocket.accept()
        await websocket.close()

    return app


def litestar() -> Any:
    """``request.scope["jwtgate.token"]``, ``request.user``."""
    from litestar import Litestar, Request, Response, WebSocket, route
    from litestar import websocket as socket

    @route(["/", "/{path:path}"], http_method=METHODS)
    async def tell(request: Request) -> Response:
        return Response(seen(request.scope["jwtgate.token"], request.user.identity), media_type=JSON, status_code=200)

    @socket("/ws")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(f"{socket.scope['jwtgate.token'].subject}: {await socket.receive_text()}")
        await socket.close()

    tell.fn.__annotations__.update(request=Request, **{"return": Response})
    echo.fn.__annotations__.update(socket=WebSocket)
    return JWTGateMiddleware(Litestar([tell, echo], openapi_config=None, logging_config=None))


def quart() -> Any:
    """``request.scope``; Quart has a place of its own for what wraps it."""
    from quart import Quart, Response, request, websocket

    app = Quart(__name__)

    @app.route("/", defaults={"path": ""}, methods=METHODS, provide_automatic_options=False)
    @app.route("/<path:path>", methods=METHODS, provide_automatic_options=False)
    async def tell(path: str) -> Response:
        token = request.scope["jwtgate.token"]
        return Response(seen(token, request.scope["user"].identity), content_type=JSON)

    @app.websocket("/ws")
    async def echo() -> None:
        await websocket.send(f"{websocket.scope['jwtgate.token'].subject}: {await websocket.receive()}")
        await websocket.close(1000)

    app.asgi_app = JWTGateMiddleware(app.asgi_app)
    return app


def falcon() -> Any:
    """``req.scope``."""
    from falcon.asgi import App

    async def tell(req: Any, resp: Any) -> None:
        resp.data = seen(req.scope["jwtgate.token"], req.scope["user"].identity)
        resp.content_type = JSON

    class Echo:
        async def on_websocket(self, req: Any, ws: Any) -> None:
            await ws.accept()
            await ws.send_text(f"{req.scope['jwtgate.token'].subject}: {await ws.receive_text()}")
            await ws.close()

    app = App()
    app.add_route("/ws", Echo())
    app.add_sink(tell, "/")
    return JWTGateMiddleware(app)


def blacksheep() -> Any:
    """``request.scope``."""
    from blacksheep import Application, Content, Request, Response, WebSocket

    app = Application()

    async def tell(request: Request) -> Response:
        token = request.scope["jwtgate.token"]
        return Response(200, None, Content(JSON.encode(), seen(token, request.scope["user"].identity)))

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(f"{websocket.scope['jwtgate.token'].subject}: {await websocket.receive_text()}")
        await websocket.close()

    tell.__annotations__.update(request=Request)
    echo.__annotations__.update(websocket=WebSocket)
    for method in METHODS:
        app.router.add(method, "*", tell)
    app.router.add_ws("/ws", echo)
    return JWTGateMiddleware(app)


def django() -> Any:
    """``request.auth`` and ``request.user``, by Django's middleware of ours."""
    from django.core.handlers.asgi import ASGIHandler
    from pairs import django_urls

    django_urls.take()
    return JWTGateMiddleware(ASGIHandler())


class Dispatcher:
    """An ASGI application that hands on by the header ``x-framework``, and lifespan to everybody."""

    def __init__(self, apps: dict[str, Any]) -> None:
        self.apps = {name.encode(): app for name, app in apps.items()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3."""
        if scope["type"] == "lifespan":
            await self.live(scope, receive, send)
            return
        await self.apps[dict(scope["headers"])[b"x-framework"]](scope, receive, send)

    async def live(self, scope: Any, receive: Any, send: Any) -> None:
        """Startup and shutdown of all; Django knows of neither, and says so by an error."""
        lives = [Life(app, scope) for app in self.apps.values()]
        for _ in range(2):
            message = await receive()
            for life in lives:
                await life.tell(message)
            await send({"type": f"{message['type']}.complete"})


class Life:
    """The lifespan of one of several applications."""

    def __init__(self, app: Any, scope: Any) -> None:
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.said: asyncio.Queue[Any] = asyncio.Queue()
        self.task = asyncio.ensure_future(app({**scope, "state": {}}, self.told.get, self.said.put))

    async def tell(self, message: Any) -> None:
        """Until it has answered, or ended."""
        await self.told.put(message)
        answer = asyncio.ensure_future(self.said.get())
        await asyncio.wait([answer, self.task], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            assert answer.result()["type"].endswith(".complete"), answer.result()
        else:
            answer.cancel()
            assert isinstance(self.task.exception(), ValueError), self.task


FRAMEWORKS = {
    "plain": lambda: JWTGateMiddleware(asgi_application),
    **{made.__name__: made for made in (starlette, fastapi, litestar, quart, falcon, blacksheep, django)},
}


def application() -> Any:
    """For a server's ``--factory``."""
    return Dispatcher({name: make() for name, make in FRAMEWORKS.items()})
