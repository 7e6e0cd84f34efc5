"""A server's start and end (ASGI lifespan): the application starts behind a live view, and a gate of ours ends with it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from jwtgate.errors import SettingsError

if TYPE_CHECKING:
    from jwtgate.channel.shapes import ASGIApp, Message, Receive, Scope, Send
    from jwtgate.gate import Gate

__all__ = ["live_through", "mistake_of_loop"]

logger = logging.getLogger("jwtgate")

LEASES_AT_STARTUP = 3
"""``lifespan.startup`` waits so long for a live view: a first start on an empty store takes two."""

LAST_MESSAGES = frozenset({"lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"})
"""What an application says when it serves nothing any more."""


NOT_ASYNCIO = SettingsError(
    "the ASGI shell runs on asyncio (or uvloop) alone, and this server runs on another loop, such as trio"
)


def mistake_of_loop() -> SettingsError | None:
    """On another loop than asyncio's nothing can be waited for, so nothing may pass either."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return NOT_ASYNCIO
    return None


async def live_through(app: ASGIApp, gate: Gate, scope: Scope, receive: Receive, send: Send, *, is_ours: bool) -> None:
    """Waits for a live view before the application starts; closes, after it, a gate of ours, taken from the environment.

    An application that does not speak lifespan is called all the same, after the wait: the server hears it from itself. Nothing
    is awaited once the last message is sent: hypercorn cancels whoever is still there then.
    """
    waiting = [await receive()]
    is_ending = is_closed = False
    await _begin(gate)

    async def receive_waiting() -> Message:
        nonlocal is_ending
        message = waiting.pop() if waiting else await receive()
        is_ending = is_ending or message["type"] == "lifespan.shutdown"
        return message

    async def send_closed(message: Message) -> None:
        nonlocal is_closed
        if message["type"] in LAST_MESSAGES and is_ours:
            await gate.aio.close()
            is_closed = True
        await send(message)

    try:
        await app(scope, receive_waiting, send_closed)
    finally:
        if is_ending and is_ours and not is_closed:
            await gate.aio.close()


async def _begin(gate: Gate) -> None:
    if not await gate.aio.ready(LEASES_AT_STARTUP * gate.settings.lease):
        logger.warning("the view is not live yet: until it is, every request asks the store")
