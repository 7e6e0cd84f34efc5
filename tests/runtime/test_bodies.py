"""Bodies of requests to endpoints: bounded in size and in time, from ASGI and from WSGI."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
from typing import Any, Self

import pytest
from endpoints.scripted_operations import request_of

from jwtgate.endpoints.forms import MAX_BODY_BYTES
from jwtgate.endpoints.refusals import BodyTooLarge, BodyTooSlow, CallError, MalformedCall
from jwtgate.runtime import bodies

LIMIT_SECONDS = 0.2
WHOLE_SECONDS = 100 * LIMIT_SECONDS / 4
"""What a hundred bytes take that come in good time each."""


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five seconds are for servers."""
    monkeypatch.setattr(bodies, "BODY_SECONDS", LIMIT_SECONDS)


def length(value: object) -> Any:
    """A request that says so of its body; None: it says nothing."""
    return request_of("POST", "/", *(() if value is None else (("content-length", str(value)),)))


def chunk(body: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    """An ASGI message."""
    return {"type": "http.request", "body": body, "more_body": more}


def received(value: object, *messages: dict[str, Any], pause: float = 0.0) -> bytes | None:
    """The body that comes in these messages, each after a pause; then nothing comes any more."""

    async def receive() -> bytes | None:
        left = list(messages)

        async def next_message() -> dict[str, Any]:
            await asyncio.sleep(pause if left else 3600)
            return left.pop(0)

        return await bodies.receive(length(value), next_message)

    return asyncio.run(receive())


class Reader:
    """A stream with ``read`` alone, which waits for all it is asked for, as PEP 3333 lets it; a byte a pause."""

    def __init__(self, body: bytes, pause: float = 0.0) -> None:
        self.body, self.pause, self.at = body, pause, 0

    def read(self, size: int = -1) -> bytes:
        piece = self.body[self.at : self.at + size]
        self.at += len(piece)
        if self.pause:
            time.sleep(self.pause * len(piece))
        return piece


def read(value: object, stream: Any, **environ: Any) -> bytes:
    """The body of a WSGI request."""
    return bodies.read(length(value), {"wsgi.input": stream, **environ})


TERMINATED = {"wsgi.input_terminated": True}


@pytest.mark.parametrize("body", [b"", b"a=1", b"x" * MAX_BODY_BYTES])
def test_body_arrives_whole(body: bytes) -> None:
    """With its length or without, in one piece or in many."""
    assert received(len(body), chunk(body)) == received(None, chunk(body)) == body
    pieces = [chunk(body[at : at + 1000], more=True) for at in range(0, len(body), 1000)]
    assert received(None, *pieces, {"type": "http.request"}) == body
    for stream in (io.BytesIO, Reader):
        assert read(len(body), stream(body + b"the next request")) == body
        assert read(None, stream(body), **TERMINATED) == body


def test_without_length_and_end_there_is_no_body() -> None:
    """PEP 3333: reading past the end might wait for ever."""
    assert read(None, Reader(b"x", 3600)) == b""
    assert read(0, Reader(b"x", 3600), **TERMINATED) == b""
    assert read("", Reader(b"x", 3600)) == b""
    assert received(0) == b""


@pytest.mark.parametrize(("value", "kind"), [("x", MalformedCall), (-1, MalformedCall), (MAX_BODY_BYTES + 1, BodyTooLarge)])
def test_bad_or_large_length_is_refused_unread(value: object, kind: type[CallError]) -> None:
    """Nothing is waited for."""
    with pytest.raises(kind):
        received(value)
    with pytest.raises(kind):
        read(value, Reader(b"x", 3600))


def test_body_that_grows_over_the_limit_is_refused() -> None:
    """No more than the limit is kept, however it comes."""
    with pytest.raises(BodyTooLarge):
        received(None, *[chunk(b"x" * 1000, more=True)] * 100)
    for stream in (io.BytesIO, Reader):
        rest = stream(b"x" * 100_000)
        with pytest.raises(BodyTooLarge):
            read(None, rest, **TERMINATED)
        assert len(rest.read(100_000)) == 100_000 - MAX_BODY_BYTES - 1


def test_body_of_another_length_than_was_told_is_malformed() -> None:
    """A truncated form must not be acted upon."""
    with pytest.raises(MalformedCall):
        received(3, chunk(b"xx"))
    for stream in (io.BytesIO, Reader):
        with pytest.raises(MalformedCall):
            read(3, stream(b"xx"))


@pytest.mark.usefixtures("short_limit")
def test_client_that_is_gone_has_no_body() -> None:
    """ASGI says so; in WSGI the stream raises what the server likes, or ends."""
    assert received(None, chunk(b"x", more=True), {"type": "http.disconnect"}) is None

    class Gone(Exception):
        """What some server raises."""

    class Broken:
        def __init__(self, pause: float) -> None:
            self.pause = pause

        def read(self, size: int) -> bytes:
            time.sleep(self.pause)
            raise Gone("with a secret")

    with pytest.raises(MalformedCall):
        read(3, Broken(0))
    with pytest.raises(BodyTooSlow):
        read(3, Broken(LIMIT_SECONDS))


@pytest.mark.usefixtures("short_limit")
def test_drip_is_cut_off() -> None:
    """Each byte comes in good time, and all of them do not."""
    began = time.monotonic()
    with pytest.raises(BodyTooSlow):
        received(None, *[chunk(b"x", more=True)] * 100, pause=LIMIT_SECONDS / 4)
    with pytest.raises(BodyTooSlow):
        read(100, Reader(b"x" * 100, LIMIT_SECONDS / 4))
    assert time.monotonic() - began < WHOLE_SECONDS / 2


@pytest.mark.usefixtures("short_limit")
def test_stall_is_cut_off_where_there_is_a_way() -> None:
    """ASGI has one everywhere."""
    with pytest.raises(BodyTooSlow):
        received(None, chunk(b"x", more=True))


class Drip:
    """A client on a socket, and gunicorn's way of reading from it: on and on until all is there."""

    def __init__(self, pause: float | None) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.pause = pause
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.thread.join()
        self.ours.close()
        self.theirs.close()

    def _send(self) -> None:
        while self.pause is not None and not self.is_over.wait(self.pause):
            try:
                self.theirs.sendall(b"x")
            except OSError:
                return

    def read(self, size: int) -> bytes:
        body = b""
        while len(body) < size and (piece := self.ours.recv(size - len(body))):
            body += piece
        return body


@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize("pause", [None, LIMIT_SECONDS / 4])
def test_sender_that_stalls_or_drips_is_cut_off_by_its_socket(pause: float | None) -> None:
    """Under gunicorn: only the reading side ends, so that the answer can still be written."""
    with Drip(pause) as drip:
        began = time.monotonic()
        with pytest.raises(BodyTooSlow):
            read(100, drip, **{"gunicorn.socket": drip.ours})
        assert LIMIT_SECONDS <= time.monotonic() - began < WHOLE_SECONDS / 2
        drip.ours.sendall(b"answer")
        assert drip.theirs.recv(6) == b"answer"


@pytest.mark.usefixtures("short_limit")
def test_connection_outlives_a_body_that_came_in_time() -> None:
    """The watchdog is called off, and no thread is left."""
    with Drip(None) as drip:
        drip.theirs.sendall(b"x" * 100)
        assert read(100, drip, **{"gunicorn.socket": drip.ours}) == b"x" * 100
        time.sleep(LIMIT_SECONDS * 1.5)
        drip.theirs.sendall(b"y")
        assert drip.ours.recv(1) == b"y"
        assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_socket_that_is_gone_ends_nothing_else() -> None:
    """The watchdog may bark after the connection was closed."""
    with Drip(None) as drip:
        drip.ours.close()
        bodies._end_reading(drip.ours)
