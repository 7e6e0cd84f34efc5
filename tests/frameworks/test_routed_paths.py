"""What the gate holds to be exempt no framework routes to anything else: where frameworks disagree, nothing is exempt."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from typing import Any

import pytest

from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.channel.parts import Parts
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

EXEMPT = ("/public/*", "/rooted/*")


def litestar() -> Any:
    """It splits the path by the root path."""
    from litestar import Litestar, get

    @get("/public/{path:path}", media_type="text/plain", sync_to_thread=False)
    def public() -> str:
        return "public"

    @get(["/ed/{path:path}", "/guarded"], media_type="text/plain", sync_to_thread=False)
    def guarded() -> str:
        return "guarded"

    public.fn.__annotations__["return"] = guarded.fn.__annotations__["return"] = str
    return Litestar([public, guarded], openapi_config=None, logging_config=None)


def quart() -> Any:
    """It cuts the root path off, also within a segment."""
    from quart import Quart

    app = Quart(__name__)

    @app.get("/public/<path:path>")
    async def public(path: str) -> str:
        return "public"

    @app.get("/ed/<path:path>")
    @app.get("/guarded", defaults={"path": ""})
    async def guarded(path: str) -> str:
        return "guarded"

    return app


def starlette() -> Any:
    """As the gate reads it."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def public(_: Any) -> Any:
        return PlainTextResponse("public")

    async def guarded(_: Any) -> Any:
        return PlainTextResponse("guarded")

    return Starlette(routes=[Route("/public/{path:path}", public), Route("/{path:path}", guarded)])


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    """With two exempt folders."""
    gate = Gate(Settings(secret="s" * 32, exempt=EXEMPT))
    yield gate
    gate.close()


def ask(app: Any, path: str, root_path: str) -> tuple[int, bytes]:
    """Without a token; the path whole, as servers give it."""
    said: list[Any] = []
    received = [{"type": "http.request", "body": b"", "more_body": False}]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": root_path,
        "headers": [(b"host", b"h")],
        "client": ("192.0.2.1", 1),
        "server": ("h", 80),
    }

    async def served() -> None:
        over = asyncio.Event()

        async def receive() -> Any:
            if received:
                return received.pop()
            await over.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            said.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                over.set()

        await app(scope, receive, send)

    asyncio.run(served())
    return said[0]["status"], b"".join(each.get("body", b"") for each in said)


@pytest.mark.parametrize("made", [litestar, quart, starlette])
def test_root_path_within_a_path_opens_nothing(gate: Gate, made: Callable[[], Any]) -> None:
    """Under ``/root`` some route ``/public/root/guarded`` to ``/guarded``, and ``/rooted/x`` to ``/ed/x``."""
    app = JWTGateMiddleware(made(), gate=gate)
    assert ask(app, "/root/public/x", "/root") == (200, b"public")
    assert ask(app, "/root/public/root/x", "/root") == (200, b"public")
    for path in ("/public/root/guarded", "/public/root", "/rooted/x", "/root/guarded", "/public/rooted/x"):
        assert ask(app, path, "/root")[0] == 401, path
    assert ask(app, "/public/x", "/") == (200, b"public")


@pytest.mark.filterwarnings("ignore")  # that FastAPI would have the server told
def test_what_fastapi_was_made_with_closes_nothing(gate: Gate) -> None:
    """Behind a proxy that takes ``/root`` off, ``/public/root.js`` is an honest path, and routed as it stands."""
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse

    app = FastAPI(root_path="/root", openapi_url=None)

    @app.get("/public/{path:path}")
    async def public(path: str) -> PlainTextResponse:
        return PlainTextResponse(path)

    @app.get("/guarded")
    async def guarded() -> PlainTextResponse:
        return PlainTextResponse("guarded")

    app.add_middleware(JWTGateMiddleware, gate=gate)
    for path in ("/public/root.js", "/public/root/x", "/root/public/x"):
        assert ask(app, path, "") == (200, path.partition("/public/")[2].encode())
    for path in ("/guarded", "/root/guarded", "/public/root/../guarded"):
        assert ask(app, path, "")[0] == 401
    assert ask(app, "/public/root/guarded", "/public/root") == (200, b"root/guarded")


@pytest.mark.filterwarnings("ignore")  # of what Pyramid imports
def test_header_by_which_pyramid_looks_elsewhere_opens_nothing(gate: Gate) -> None:
    """``X-Vhm-Root`` is put before the path of whatever is found by traversal; anybody can send it."""
    from pyramid.config import Configurator
    from pyramid.response import Response

    tree: Any = {"public": {"x": {}}, "guarded": {"public": {"x": {}}}}
    with Configurator(root_factory=lambda _: tree) as config:
        config.add_view(lambda context, request: Response("guarded" if "guarded" in request.virtual_root_path else "public"))
    app = WSGIMiddleware(config.make_wsgi_app(), gate=gate)

    def get(**more: str) -> tuple[str, bytes]:
        said: list[str] = []
        environ = {
            "REQUEST_METHOD": "GET",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/public/x",
            "QUERY_STRING": "",
            "HTTP_HOST": "h",
            "SERVER_NAME": "h",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            **more,
        }
        body = b"".join(app(environ, lambda status, *_: said.append(status)))
        return said[0], body

    assert get() == ("200 OK", b"public")
    assert get(HTTP_X_VHM_ROOT="/guarded")[0] == "401 Unauthorized"
    assert get(HTTP_X_VHM_ROOT="")[0] == "401 Unauthorized"


def test_header_by_which_pyramid_looks_elsewhere_keeps_no_stream_open() -> None:
    """Nobody has what ``LIVE`` ignores serve something else for longer than its token lives."""
    with closing(Gate(Settings(secret="s" * 32, lease=0.1, live=("/public/*=ignore",)))) as own:
        assert own.ready(30.0)
        app = WSGIMiddleware(lambda *_: iter([b"a", b"b"]), gate=own)
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/public/x", "HTTP_AUTHORIZATION": f"Bearer {own.issue('alice')}"}
        for is_sent in (False, True):
            parts: Any = app({**environ, **({"HTTP_X_VHM_ROOT": "/"} if is_sent else {})}, lambda *_: print)
            with closing(parts) if is_sent else nullcontext():
                assert isinstance(parts, Parts) is is_sent
