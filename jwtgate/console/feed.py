"""The change log as it grows, newest first: a page, and for who has scripts a stream of what is added (HTML §9.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jwtgate.pages import SECURITY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jwtgate.channel.shapes import Message
    from jwtgate.console.lookout import Lookout, Seen
    from jwtgate.console.visiting import Visit
    from jwtgate.messages import Response


__all__ = ["feed", "stream"]

SHOWN = 200
MOST_DIGITS = 16
LOOK_SECONDS = 0.25
PING_SECONDS = 15.0
"""So that proxies and the server notice who is gone."""

FIRST_SECONDS = 1.0
"""A page waits so long for the first look at the log."""


async def feed(visit: Visit, lookout: Lookout) -> Response:
    """The page."""
    lookout.ask()
    for _ in range(int(FIRST_SECONDS / 0.02)):
        if lookout.has_caught_up or lookout.is_away:
            break
        await asyncio.sleep(0.02)
    seen = list(lookout.events)[-SHOWN:][::-1]
    return visit.page("feed", seen=seen, last=seen[0].serial if seen else 0, is_away=lookout.is_away, parts=len(lookout.parts))


async def stream(
    visit: Visit,
    lookout: Lookout,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Rows as they come, until the client is gone or the operator's token has expired."""
    headers = (("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no"), *SECURITY)
    lines = [(name.encode(), value.encode()) for name, value in headers]
    await send({"type": "http.response.start", "status": 200, "headers": lines})
    serial = _begin(visit)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        silent = 0.0
        while not gone.done() and not _has_expired(visit):
            lookout.ask()
            fresh = lookout.after(serial)
            silent = 0.0 if fresh else silent + LOOK_SECONDS
            if fresh or silent >= PING_SECONDS:
                serial, silent = fresh[-1].serial if fresh else serial, 0.0
                await send({"type": "http.response.body", "body": _rows(visit, lookout, fresh), "more_body": True})
            await asyncio.wait({gone}, timeout=LOOK_SECONDS)
        if not gone.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()


def _rows(visit: Visit, lookout: Lookout, fresh: list[Seen]) -> bytes:
    """One event of the stream: all new rows, as the page has them; a comment where there are none."""
    if not fresh:
        return b": still here\n\n"
    return b"id: %d\n%b\n" % (fresh[-1].serial, b"".join(_row(visit, lookout, seen) for seen in reversed(fresh)))


def _row(visit: Visit, lookout: Lookout, seen: Seen) -> bytes:
    """Drawn once for all that look: two hundred tabs would hold up the loop for seconds each time many rulings came."""
    drawn = lookout.drawn.get(seen.serial)
    if drawn is None:
        page = visit.page("feed_rows", seen=[seen], parts=len(lookout.parts)).body
        drawn = lookout.draw(seen, b"".join(b"data: " + line + b"\n" for line in page.splitlines() if line.strip()))
    return drawn


def _begin(visit: Visit) -> int:
    """Where to go on, for whoever comes again after what he saw last; what is no number is the beginning."""
    after = visit.query.get("after", "")
    return int(after) if after.isascii() and after.isdecimal() and len(after) < MOST_DIGITS else 0


async def _gone(receive: Callable[[], Awaitable[Message]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _has_expired(visit: Visit) -> bool:
    ends_at = visit.operator.expires_at
    return ends_at is not None and visit.gate.clock.wall() >= ends_at
