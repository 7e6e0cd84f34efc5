"""Reads the body of a request to an endpoint, bounded in size and in time, in both forms: ``receive`` and ``read``.

At most ``MAX_BODY_BYTES`` are taken in, and a longer one is refused unread where its length is told. The whole body has
``BODY_SECONDS`` to arrive: what comes in drips, or not at all, gets 408. Applications read their own bodies themselves.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from jwtgate.endpoints.forms import MAX_BODY_BYTES, declared_length
from jwtgate.endpoints.refusals import BodyTooLarge, BodyTooSlow, MalformedCall

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, MutableMapping

    from jwtgate.messages import Request

__all__ = ["BODY_SECONDS", "read", "receive"]

BODY_SECONDS = 5.0
"""16 KiB take a fraction of it on any line that a person would log in over; a drip holds a worker no longer."""


async def receive(request: Request, messages: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes | None:
    """The body from ASGI's ``receive``; None: the client is gone.

    Raises: BodyTooLarge. BodyTooSlow. MalformedCall: not the length that was told.
    """
    expected = declared_length(request)
    if expected == 0:
        return b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _received(messages)
    except TimeoutError:
        raise BodyTooSlow("the body did not arrive in time") from None
    if body is not None and expected not in (None, len(body)):
        raise MalformedCall("the body is not as long as was told")
    return body


async def _received(messages: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes | None:
    body = bytearray()
    while (message := await messages())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge("the body is over the limit")
        if not message.get("more_body", False):
            return bytes(body)
    return None


def read(request: Request, environ: MutableMapping[str, Any]) -> bytes:
    """The body from ``wsgi.input``. Without a length it is read only where the server ends it (``wsgi.input_terminated``).

    Time is checked between reads. A sender that stalls within one is cut off under gunicorn, whose socket is at hand (where
    that does TLS or HTTP/2 itself, without the 408); other servers block in it for as long as their own timeouts allow.

    Raises: BodyTooLarge. BodyTooSlow. MalformedCall: a bad length, or it ended early.
    """
    expected = declared_length(request)
    if expected == 0 or (expected is None and not environ.get("wsgi.input_terminated")):
        return b""
    until = time.monotonic() + BODY_SECONDS
    limit = MAX_BODY_BYTES + 1 if expected is None else expected
    connection = environ.get("gunicorn.socket")
    with _cut_off(connection):
        body = _read(_taker(environ["wsgi.input"], is_watched=connection is not None), limit, until)
    if len(body) > MAX_BODY_BYTES:
        raise BodyTooLarge("the body is over the limit")
    if expected not in (None, len(body)):
        raise MalformedCall("the body ended early")
    return body


def _taker(stream: Any, *, is_watched: bool) -> Callable[[int], bytes]:
    """Reads some of it, and waits for no more than it must.

    ``read1`` returns what is there. Where there is only ``read``, which waits for all it was asked for, it is asked for a
    byte at a time, unless another thread watches.
    """
    if is_watched:
        return stream.read  # type: ignore[no-any-return]  # PEP 3333 says what it is
    take: Callable[[int], bytes] = getattr(stream, "read1", None) or (lambda _size: stream.read(1))
    return take


def _read(take: Callable[[int], bytes], limit: int, until: float) -> bytes:
    body = bytearray()
    while len(body) < limit:
        try:
            piece = take(limit - len(body))
        except Exception as error:
            # Servers raise what they like: the client is gone, or its chunks are broken.
            if time.monotonic() >= until:
                raise BodyTooSlow("the body did not arrive in time") from error
            raise MalformedCall("the body cannot be read") from error
        if time.monotonic() >= until:
            raise BodyTooSlow("the body did not arrive in time")
        if not piece:
            break
        body += piece
    return bytes(body)


@contextmanager
def _cut_off(connection: Any) -> Generator[None]:
    """Ends the connection's reading side when the time is over, which wakes whoever waits for it.

    A timeout on the socket would not do: gunicorn reads on until it has what it was asked for, and each drip starts that
    timeout anew.
    """
    if connection is None:
        yield
        return
    watchdog = threading.Timer(BODY_SECONDS, _end_reading, (connection,))
    watchdog.daemon = True
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()


def _end_reading(connection: Any) -> None:
    """Of a duplicate, past whatever wraps the socket: shutting a TLS socket down would end its encryption, too."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        duplicate.shutdown(socket.SHUT_RD)
