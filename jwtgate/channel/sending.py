"""What the ASGI shell itself says to a server, and what it adds to what an application says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jwtgate.core.http.exemption import routed_path
from jwtgate.runtime import bodies, nonblocking

if TYPE_CHECKING:
    from jwtgate.channel.shapes import Message, Receive, Scope, Send
    from jwtgate.core.lru import Admitted
    from jwtgate.gate import Gate
    from jwtgate.messages import Request, Response

__all__ = ["refuse", "renewing", "rest_of", "say", "serve", "with_nonce"]


def renewing(gate: Gate, entry: Admitted, send: Send) -> Send:
    """Puts a new access token into the response as it starts (``ROTATE_AFTER``)."""

    async def send_renewing(message: Message) -> None:
        if message["type"] == "http.response.start":
            lines = list(message.get("headers", ()))  # any iterable, perhaps one that is read once
            message = {**message, "headers": lines}
            headers = [(bytes(n).decode("latin-1"), bytes(v).decode("latin-1")) for n, v in lines]
            renewed = await nonblocking.run(gate.plans.renew(entry, headers), gate.waiter)
            if renewed is not None:
                more = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in renewed.added_to(headers)]
                message = {**message, "headers": more}
        await send(message)

    return send_renewing


def with_nonce(gate: Gate, send: Send) -> Send:
    """Tells the client of a bound token the nonce for its next proof (RFC 9449 §8.2), unless the application tells one."""
    nonce = gate.decision.rules.possession.next_nonce
    if nonce is None:
        return send

    async def send_with_nonce(message: Message) -> None:
        if message["type"] == "http.response.start":
            lines = list(message.get("headers", ()))
            own = [] if any(bytes(name).lower() == b"dpop-nonce" for name, _ in lines) else [(b"dpop-nonce", nonce.encode())]
            message = {**message, "headers": [*lines, *own]}
        await send(message)

    return send_with_nonce


async def refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """An HTTP answer; for a WebSocket the denial response where the server has it, else close 1008 before accept."""
    prefix, body = "http.response", response.body
    if scope["type"] == "websocket":
        if (await receive())["type"] == "websocket.disconnect":
            return
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        prefix = "websocket.http.response"
    elif scope["method"] == "HEAD":
        body = b""
    await say(prefix, response, body, send)


async def say(prefix: str, response: Response, body: bytes, send: Send) -> None:
    """One whole answer. Args: prefix: of the messages' types."""
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": f"{prefix}.start", "status": response.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})


async def serve(gate: Gate, scope: Scope, request: Request, receive: Receive, send: Send) -> bool:
    """Answers for an endpoint; False: the request is the application's. A client that is gone gets no answer.

    An endpoint opens nothing: it is at the path under any root path, be that certain or not.
    """
    if request.path is None:
        request = replace(request, path=routed_path(scope["path"], scope.get("root_path", "")))
    endpoint = None if gate.plans.endpoints is None else gate.plans.endpoints.find(request)
    if endpoint is None:
        return False
    body = await bodies.receive(request, receive) if endpoint.takes_body else b""
    if body is not None:
        response = await nonblocking.run(endpoint.answer(body), gate.waiter)
        await say("http.response", response, b"" if request.method == "HEAD" else response.body, send)
    return True


def rest_of(scope: Scope, start: Message) -> tuple[Message, ...]:
    """What ends a response in parts before its time, which began with ``start``; nothing: it has said how long its body is."""
    if scope["method"] != "HEAD" and any(bytes(name).lower() == b"content-length" for name, _ in start.get("headers", ())):
        return ()
    body: Message = {"type": "http.response.body", "body": b"", "more_body": False}
    trailers: Message = {"type": "http.response.trailers", "headers": [], "more_trailers": False}
    return (body, trailers) if start.get("trailers") else (body,)
