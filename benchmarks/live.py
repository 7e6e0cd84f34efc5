"""Rows 18 and 19: how soon the socket of whom somebody threw out is closed, and what an open one costs.

Row 18: workers with a thousand open WebSockets each, every one of a subject of its own. This process revokes one subject after
the other and notes when the close frame of his socket arrives, and when the same worker first refuses a request with his token;
one request after the other asks, so that the second may be late by as long as one takes. Both count from before the revocation
was sent. Row 19: what ``tracemalloc`` says is held for one connection, over the bare application, in a fresh process.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import subprocess
import sys
import time
import tracemalloc
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks.measuring import Line, Options, median, percentile
from benchmarks.serving import loading, serving, uvicorn
from benchmarks.tokens import SECRET, mint
from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

__all__ = ["closings", "connections"]

WORKERS = 2
SOCKETS = 1000
TIMES_BAR = 1.2
KIB_BAR = 4.0
PATIENCE_SECONDS = 5.0
HANDSHAKE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)
CLOSE_FRAME = b"\x88"


class Open(asyncio.Protocol):
    """One WebSocket, which says nothing: whatever comes after the handshake's answer is its end."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.accepted: asyncio.Future[bytes] = loop.create_future()
        self.closed: asyncio.Future[float] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        """The first bytes are the answer."""
        now = time.perf_counter()
        if not self.accepted.done():
            self.accepted.set_result(data)
        elif data[:1] == CLOSE_FRAME and not self.closed.done():
            self.closed.set_result(now)

    def connection_lost(self, _: Exception | None) -> None:
        """Without a close frame."""
        for future in (self.accepted, self.closed):
            if not future.done():
                future.set_exception(ConnectionResetError("closed without a close frame"))
                future.exception()  # noted


@dataclass(frozen=True, slots=True)
class Case:
    """One load of the workers."""

    name: str
    path: str | None


CASES = (Case("idle", None), Case("saturated", "/"))


def closings(options: Options) -> list[Line]:
    """Row 18."""
    revocations = options.pick(300, 60)
    prefix = f"live-{secrets.token_hex(4)}"
    token = mint("HS256")[0]
    with ExitStack() as stack:
        more = {"JWTGATE_PREFIX": prefix}
        command = uvicorn("talking_asgi")
        urls = [stack.enter_context(serving(command, options.url, token, **more)) for _ in range(WORKERS)]
        gate = stack.enter_context(closing(Gate(Settings(secret=SECRET, store=options.url, prefix=prefix))))
        if not gate.ready(20.0):
            raise AssertionError("the view did not become live")
        found = asyncio.run(_cases(gate, urls, revocations, token))
    return [_closing_line(case, samples) for case, samples in zip(CASES, found, strict=True)]


async def _cases(gate: Gate, urls: list[str], revocations: int, token: str) -> list[list[tuple[float, float]]]:
    sockets = {url: await _open_all(gate, url) for url in urls}
    found: list[list[tuple[float, float]]] = []
    for case in CASES:
        samples: list[tuple[float, float]] = []
        for url in urls:
            load: AbstractContextManager[None] = nullcontext() if case.path is None else loading(url + case.path, token, 60)
            with load:
                for _ in range(revocations // len(urls)):
                    samples.append(await _throw_out(gate, url, *sockets[url].pop()))
                    await asyncio.sleep(0.005)
        found.append(samples)
    return found


async def _open_all(gate: Gate, url: str) -> list[tuple[str, str, Open]]:
    opened: list[tuple[str, str, Open]] = []
    loop, address = asyncio.get_running_loop(), urlsplit(url)
    for number in range(SOCKETS):
        subject = f"user-{address.port}-{number}"
        token = await gate.aio.issue(subject)
        transport, protocol = await loop.create_connection(Open, address.hostname, address.port)
        lines = f"GET /chat HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n{HANDSHAKE}\r\n\r\n"
        transport.write(lines.encode())
        if not (await asyncio.wait_for(protocol.accepted, PATIENCE_SECONDS)).startswith(b"HTTP/1.1 101"):
            raise AssertionError("a WebSocket was refused")
        opened.append((subject, token, protocol))
    return opened


async def _throw_out(gate: Gate, url: str, subject: str, token: str, socket: Open) -> tuple[float, float]:
    """Milliseconds until the close frame, and until the first request that was refused."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    asking = f"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()

    async def refused() -> float:
        while True:
            writer.write(asking)
            head = await reader.readuntil(b"\r\n\r\n")
            now = time.perf_counter()
            if b" 401 " in head.split(b"\r\n")[0]:
                return now
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))

    asked = asyncio.ensure_future(refused())
    await asyncio.sleep(0.005)
    began = time.perf_counter()
    await gate.aio.revoke(sub=subject, access_only=True)
    closed = await asyncio.wait_for(socket.closed, PATIENCE_SECONDS)
    refused_at = await asyncio.wait_for(asked, PATIENCE_SECONDS)
    writer.close()
    return (closed - began) * 1e3, (refused_at - began) * 1e3


def _closing_line(case: Case, samples: list[tuple[float, float]]) -> Line:
    closed, refused = [sample[0] for sample in samples], [sample[1] for sample in samples]
    times = {percent: percentile(closed, percent) / percentile(refused, percent) for percent in (50, 99)}
    return Line(
        f"18 revoked -> socket closed, {SOCKETS:,} open per worker, {case.name}",
        f"p50 {median(closed):.2f} ms; p99 {percentile(closed, 99):.2f} ms",
        f"refused p50 {median(refused):.2f} ms; p99 {percentile(refused, 99):.2f} ms",
        "; ".join(f"p{percent} {value:.2f}x" for percent, value in times.items()),
        f"<= {TIMES_BAR}x of a request refused",
        all(value <= TIMES_BAR for value in times.values()),
        {"p50 ms": median(closed), "p99 ms": percentile(closed, 99), **{f"times p{key}": each for key, each in times.items()}},
    )


# --- memory


def connections(options: Options) -> list[Line]:
    """Row 19."""
    count = options.pick(10_000, 2_000)
    bare, ignored, live = (_held_by(what, count) for what in ("bare", "ignore", "close"))
    each, more = (live - bare) / count / 1024, (live - ignored) / count / 1024
    return [
        Line(
            f"19 memory, one of {count:,} live connections",
            f"{each:.2f} KiB",
            f"of it for its end {more:.2f} KiB, for its admission {each - more:.2f} KiB",
            "",
            f"<= {KIB_BAR:g} KiB",
            each <= KIB_BAR,
            {"KiB": each, "KiB for its end": more},
        )
    ]


def _held_by(what: str, count: int) -> int:
    surroundings = {**os.environ, "JWTGATE_SECRET": SECRET, "JWTGATE_LEASE": "30"}
    command = [sys.executable, "-m", "benchmarks.live", what, str(count)]
    return int(subprocess.run(command, capture_output=True, env=surroundings, text=True, check=True).stdout)


async def _listening(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


async def _hold(what: str, count: int) -> int:
    """Bytes, of so many connections that nothing passes over."""
    app: Any = _listening
    gate = Gate(Settings.from_env({**os.environ, "JWTGATE_LIVE": "close" if what == "bare" else what}))
    if not await gate.aio.ready(90):
        raise AssertionError("the view did not become live")
    if what != "bare":
        app = JWTGateMiddleware(_listening, gate=gate)
    tokens = [await gate.aio.issue(f"user-{number}", scope="read write") for number in range(count)]
    gc.collect()
    tracemalloc.start()
    tasks = [asyncio.ensure_future(_serve(app, token)) for token in tokens]
    while len(gate.view.live) < (count if what == "close" else 0):
        await asyncio.sleep(0.01)
    await asyncio.sleep(1.0)
    gc.collect()
    held = tracemalloc.get_traced_memory()[0]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await gate.aio.close()
    return held


async def _serve(app: Any, token: str) -> None:
    """What a server does for one connection."""
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming.put_nowait({"type": "websocket.connect"})

    async def send(_: Any) -> None:
        pass

    headers = [(b"host", b"app.example"), (b"authorization", f"Bearer {token}".encode())]
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": "/chat",
        "raw_path": b"/chat",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("app.example", 80),
        "subprotocols": [],
        "state": {},
        "extensions": {},
    }
    await app(scope, incoming.get, send)


if __name__ == "__main__":
    print(asyncio.run(_hold(sys.argv[1], int(sys.argv[2]))))
