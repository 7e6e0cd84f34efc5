"""Applications for real servers, with their metrics mounted as users do it: in each worker the same, and nothing shared."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CollectorRegistry, make_asgi_app, make_wsgi_app
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from jwtgate.asgi import JWTGateMiddleware as AsgiMiddleware
from jwtgate.metrics.prometheus import GateCollector
from jwtgate.wsgi import JWTGateMiddleware as WsgiMiddleware

registry = CollectorRegistry()
registry.register(GateCollector())


async def told_by_asgi(_request: Any) -> PlainTextResponse:
    return PlainTextResponse(str(os.getpid()))


def told_by_wsgi(_environ: Any, start_response: Any) -> list[bytes]:
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


asgi = Starlette(routes=[Route("/", told_by_asgi), Mount("/metrics", make_asgi_app(registry))])
asgi.add_middleware(AsgiMiddleware)
wsgi = WsgiMiddleware(DispatcherMiddleware(told_by_wsgi, {"/metrics": make_wsgi_app(registry)}))
