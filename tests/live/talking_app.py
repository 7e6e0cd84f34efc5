"""What the servers of the tests load: an echo over WebSocket and a stream of events, behind a gate of ``JWTGATE_*``."""

from __future__ import annotations

import asyncio
from typing import Any

from jwtgate.asgi import JWTGateMiddleware

seen: list[str] = []
"""How connections ended, as the application was told."""


async def talk(scope: Any, receive: Any, send: Any) -> None:
    """The application."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})
            else:
                await send({"type": "websocket.send", "text": f"{scope['user'].identity}: {message['text']}"})
        seen.append(f"{scope['user'].identity} {message.get('code')}")
    else:
        await stream(scope, receive, send)


async def stream(scope: Any, receive: Any, send: Any) -> None:
    """``/events``: one event, then silence until the client is gone; else how connections ended."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    if scope["path"] != "/events":
        await send({"type": "http.response.body", "body": "\n".join(seen).encode()})
        return
    await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        await asyncio.sleep(0)
    seen.append(f"{scope['user'].identity} stream")


app = JWTGateMiddleware(talk)
