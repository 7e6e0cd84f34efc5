"""Applications for real servers. The gate, of ``JWTGATE_*``, is used while this is imported: in the master, before its forks."""

from __future__ import annotations

import json
import os
from typing import Any

from jwtgate import Gate
from jwtgate.asgi import JWTGateMiddleware as AsgiMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WsgiMiddleware

gate = Gate.from_env()

if "PRELOADED_TOKEN" in os.environ:
    assert gate.ready(10.0)
    gate.verify(os.environ["PRELOADED_TOKEN"])
    LOADED_BY = os.getpid()
    LOADED_AS = gate.follower.worker_name()


def told() -> bytes:
    """Who answers."""
    answer = {"pid": os.getpid(), "worker": gate.follower.worker_name(), "live": gate.status().live}
    if "PRELOADED_TOKEN" in os.environ:
        answer |= {"loaded_by": LOADED_BY, "loaded_as": LOADED_AS}
    return json.dumps(answer).encode()


def served_by_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [told()]


async def served_by_asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": told()})


wsgi = WsgiMiddleware(served_by_wsgi)
asgi = AsgiMiddleware(served_by_asgi)
