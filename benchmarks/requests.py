"""One prepared request in both shapes, with ten headers, and its way through an application in this process.

No server and no socket: what is left is the application and what stands in front of it. Each call gets a copy of the scope
or environ, as from a server; the base gets one too.
"""

from __future__ import annotations

import io
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["asgi_sample", "environ_with", "scope_with", "wsgi_sample"]

HEADERS = (
    ("host", "api.example.com"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"),
    ("accept", "application/json"),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br"),
    ("referer", "https://app.example.com/orders"),
    ("x-request-id", "5f1c7a52-6d0f-4e25-9a53-0c1b2c3d4e5f"),
    ("authorization", ""),
    ("cookie", "theme=dark; consent=1"),
    ("connection", "keep-alive"),
)


def scope_with(token: str) -> dict[str, Any]:
    """An ASGI HTTP scope as uvicorn makes it."""
    headers = [(name.encode(), (value or f"Bearer {token}").encode()) for name, value in HEADERS]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": headers,
        "state": {},
    }


def environ_with(token: str) -> dict[str, Any]:
    """A WSGI environ as gunicorn makes it."""
    environ: dict[str, Any] = {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "RAW_URI": "/",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
    }
    for name, value in HEADERS:
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value or f"Bearer {token}"
    return environ


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


def asgi_sample(loop: asyncio.AbstractEventLoop, app: Any, scopes: list[dict[str, Any]]) -> Callable[[], float]:
    """A sample: seconds per call over the scopes, one after the other. A refused request raises."""

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise AssertionError(f"{app!r} answered {message}")

    async def all_of_them() -> float:
        began = perf_counter()
        for scope in scopes:
            await app(scope.copy(), _receive, send)
        return (perf_counter() - began) / len(scopes)

    return lambda: loop.run_until_complete(all_of_them())


def wsgi_sample(app: Any, environs: list[dict[str, Any]]) -> Callable[[], float]:
    """As ``asgi_sample``."""

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        if not status.startswith("200"):
            raise AssertionError(f"{app!r} answered {status}")

    def sample() -> float:
        began = perf_counter()
        for environ in environs:
            body = app(environ.copy(), start_response)
            b"".join(body)
            if hasattr(body, "close"):
                body.close()
        return (perf_counter() - began) / len(environs)

    return sample
