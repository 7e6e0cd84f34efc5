"""A chat over WebSocket, and its page, on which two devices of alice's log in by themselves.

What an application writes: a login, and a socket that is open as long as its client wants. That the gate closes it when its
session ends takes no line here.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import suppress
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from jwtgate import token_of
from jwtgate.demo.relay import Away, Relay
from jwtgate.errors import StoreUnavailable
from jwtgate.pages import SECURITY, Static

if TYPE_CHECKING:
    from jwtgate import Gate

__all__ = ["Chat"]

MOST_CHARACTERS = 500
READY_SECONDS = 30.0
HERE = Path(__file__).parent / "static"


class Login(BaseModel):
    """Whoever asks is alice: this is a demonstration."""

    device: Literal["Phone", "Laptop"]


class Chat:
    """Routes for a FastAPI application behind the gate."""

    def __init__(self, store: str, *, console: str, devices: str) -> None:
        """Args: store: whose server relays. console, devices: addresses that the page links to."""
        self.relay = Relay(store)
        page = Template((HERE / "chat.html").read_text("utf-8"))
        self.page = page.substitute(console=escape(console), devices=escape(devices))
        self.router = router = APIRouter(prefix="/chat")
        router.add_api_route("", self.show, methods=["GET"], include_in_schema=False)
        router.add_api_route("/{name}", give, methods=["GET"], include_in_schema=False)
        router.add_api_route("/login", log_in, methods=["POST"], response_model=None)
        router.add_api_websocket_route("/socket", self.talk)

    @classmethod
    def from_env(cls) -> Chat:
        """As the demo configures it."""
        told = os.environ
        return cls(told["JWTGATE_STORE"], console=told.get("DEMO_CONSOLE", ""), devices=told.get("DEMO_DEVICES", ""))

    async def show(self, request: Request) -> Response:
        """The page."""
        host, port = request.scope["server"]
        socket = f"ws://{host}:{port}"  # not every browser takes 'self' for a WebSocket's, too (CSP 3 §6.7.2.8)
        own = {
            "content-security-policy": (
                f"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self' {socket}; "
                "form-action 'none'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
            ),
            "cache-control": "no-store",
        }
        return Response(self.page, media_type="text/html", headers={**dict(SECURITY), **own})

    async def talk(self, socket: WebSocket) -> None:
        """Behind the gate: there is a token, and in it the device as the login named it."""
        token, gate = token_of(socket.scope), socket.scope["jwtgate.gate"]
        speaker = {"from": token and token.claims.get("device"), "by": secrets.token_hex(8)}
        await socket.accept()
        async with self.relay.joined(lambda: gate.aio.ready(READY_SECONDS)) as heard:
            heard.put_nowait({"kind": "hello", "worker": os.getpid(), "you": speaker["by"]})
            telling = asyncio.create_task(_tell(socket, heard))
            try:
                while (message := await socket.receive())["type"] == "websocket.receive":
                    fault = await self._say(speaker, message.get("text"))
                    if fault is not None and not heard.full():
                        heard.put_nowait({"kind": "fault", "text": fault})
            finally:
                telling.cancel()

    async def _say(self, speaker: dict[str, Any], text: str | None) -> str | None:
        """What was wrong with it."""
        if text is None or not 0 < len(text) <= MOST_CHARACTERS:
            return f"Not sent: a message has at most {MOST_CHARACTERS} characters."
        try:
            await self.relay.say({"kind": "message", **speaker, "text": text})
        except Away:
            return "Not sent: the store does not answer."
        return None


async def _tell(socket: WebSocket, heard: asyncio.Queue[dict[str, Any]]) -> None:
    """Until the socket is closed, by whomever."""
    with suppress(WebSocketDisconnect):
        while True:
            await socket.send_json(await heard.get())


async def log_in(request: Request, login: Login) -> Response:
    """A session of its own for each device. After the password check, if there were one."""
    gate: Gate = request.scope["jwtgate.gate"]
    try:
        pair = await gate.aio.sessions.start(
            "alice",
            claims={"device": login.device},
            device=login.device,
            ip=request.client and request.client.host,
            user_agent=request.headers.get("user-agent", "")[:300],
        )
    except StoreUnavailable:
        return JSONResponse({"error": "temporarily_unavailable"}, 503, {"retry-after": "1"})
    return JSONResponse({**pair.as_dict(), "session_id": pair.session_id}, headers={"cache-control": "no-store"})


async def give(name: str) -> Response:
    """The page's style, its script, its icon."""
    known = {"chat.css": "text/css", "chat.js": "text/javascript"}
    if name in known:
        headers = {**dict(SECURITY), "cache-control": "no-cache"}
        return Response((HERE / name).read_bytes(), media_type=known[name], headers=headers)
    if name == "icon.svg":
        icon = Static.load(name).response
        return Response(icon.body, headers=dict(icon.headers))
    return Response(status_code=404)
