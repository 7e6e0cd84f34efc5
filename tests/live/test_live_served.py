"""Real servers close what is open when its token dies, and tell their application."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from live.multiplexing import Multiplexed
from live.talking import Talker
from servers import Server, free_port, valkey_binary

from jwtgate import Gate, Settings

pytestmark = pytest.mark.server

HERE = Path(__file__).parent
SERVERS: dict[str, tuple[str, ...]] = {
    "uvicorn": ("uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning", "talking_app:app"),
    "hypercorn": ("hypercorn", "--bind", "127.0.0.1:{port}", "talking_app:app"),
    "granian": ("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}", "talking_app:app"),
    "daphne": ("daphne", "-b", "127.0.0.1", "-p", "{port}", "talking_app:app"),
}
SECONDS = 3.0
"""What is refused within milliseconds is closed by then, also on a machine with other work."""


@dataclass
class Served:
    """One server process, and a gate of another process on the same store."""

    name: str
    port: int
    gate: Gate
    process: subprocess.Popen[bytes]
    talkers: list[Talker] = field(default_factory=list)

    def call(self, *arguments: Any) -> Talker:
        """A WebSocket of this test."""
        talker = Talker.call(self.port, "/chat", *arguments)
        self.talkers.append(talker)
        return talker

    def get(self, path: str, token: str) -> bytes:
        """The body of an answer that is whole."""
        with self.ask(path, token) as line:
            return read_all(line).partition(b"\r\n\r\n")[2]

    def ask(self, path: str, token: str) -> socket.socket:
        """Sends a request."""
        line = socket.create_connection(("127.0.0.1", self.port), 10)
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        line.sendall(head.encode())
        return line


def read_all(line: socket.socket) -> bytes:
    received = b""
    while part := line.recv(65536):
        received += part
    return received


@pytest.fixture(scope="module")
def valkey() -> Iterator[Server]:
    server = Server(valkey_binary()).start()
    yield server
    server.close()


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest, valkey: Server) -> Iterator[Served]:
    """Each server once."""
    port, secret = free_port(), secrets.token_urlsafe(32)
    own = {"secret": secret, "store": valkey.url, "prefix": f"live-{request.param}", "locations": "header,subprotocol"}
    environment = {f"JWTGATE_{name.upper()}": value for name, value in own.items()}
    environment |= {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    command = [part.format(port=port) for part in SERVERS[request.param]]
    process = subprocess.Popen([sys.executable, "-m", *command], env={**os.environ, **environment}, cwd=HERE)
    gate = Gate(Settings(**{**own, "locations": ("header", "subprotocol")}))
    try:
        assert gate.ready(20)
        wait_for(port, process)
        yield Served(request.param, port, gate, process)
    finally:
        gate.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def hung_up(served: Served) -> Iterator[None]:
    """No test leaves a connection behind."""
    yield
    while served.talkers:
        served.talkers.pop().leave()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the server does not listen")


def eventually(condition: Any, seconds: float = SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


_numbers = count()


def test_socket_of_whom_another_process_throws_out_is_closed_and_no_other(served: Served) -> None:
    """With 4401; the application hears a disconnect with that code, on whatever server."""
    name = f"alice{next(_numbers)}"  # the application remembers all of them, also those of a first time
    alice, bob = served.gate.issue(name), served.gate.issue("bob")
    alices = [served.call(alice), served.call(None, ("bearer", alice))]
    bobs = served.call(bob)
    assert alices[1].accepted is not None and alices[1].accepted.subprotocol == "bearer"
    assert [talker.answer("hello") for talker in (*alices, bobs)] == [f"{name}: hello", f"{name}: hello", "bob: hello"]
    assert served.gate.revoke(sub=name, wait=True).effective_everywhere
    assert [talker.wait_closed(SECONDS) for talker in alices] == [4401, 4401]
    assert bobs.answer("still there") == "bob: still there"
    assert eventually(lambda: served.get("/", bob).decode().count(f"{name} 4401") == 2)
    assert served.call(alice).accepted is None


def test_stream_of_whom_another_process_throws_out_ends(served: Served) -> None:
    """The response is whole, and the application hears a disconnect."""
    name = f"carol{next(_numbers)}"
    carol, bob = served.gate.issue(name), served.gate.issue("bob")
    with served.ask("/events", carol) as line, served.ask("/events", bob) as other:
        received = b""
        while b"data: 1" not in received:
            received += line.recv(65536)
        served.gate.revoke(sub=name)
        line.settimeout(SECONDS)
        assert read_all(line).endswith(b"0\r\n\r\n")
        assert eventually(lambda: f"{name} stream" in served.get("/", bob).decode())
        other.settimeout(0.1)
        with pytest.raises(TimeoutError):
            while True:
                assert other.recv(65536)


def test_socket_closes_when_its_token_expires(served: Served) -> None:
    """By itself."""
    talker = served.call(served.gate.issue("dora", ttl=2))
    assert talker.answer("hello") == "dora: hello"
    assert talker.wait_closed(2 + SECONDS) == 4401


def test_handshake_without_a_good_token_is_refused(served: Served) -> None:
    """With the gate's 401 where the server has the extension for it, else with the 403 that it makes of a close."""
    assert served.call().refused in {401, 403}


@pytest.mark.parametrize("served", ["hypercorn"], indirect=True)
def test_of_many_streams_on_one_connection_only_those_of_the_dead_token_end(served: Served) -> None:
    """HTTP/2, and WebSockets over it (RFC 8441): none is reset, and the connection goes on for the others."""
    dead, living = served.gate.issue("eric"), served.gate.issue("fay")
    with Multiplexed(served.port) as line:
        sockets = {token: [line.open("/chat", token, is_socket=True) for _ in range(3)] for token in (dead, living)}
        streams = {token: [line.open("/events", token) for _ in range(3)] for token in (dead, living)}
        assert line.hear(lambda: all(each in line.status for each in (*sockets[dead], *sockets[living])), 5)
        for each in (*sockets[dead], *sockets[living]):
            line.say(each, "hello")
        assert line.hear(lambda: all(line.received.values()), 5) and set(line.status.values()) == {"200"}
        served.gate.revoke(sub="eric")
        assert line.hear(lambda: line.ended.keys() >= {*sockets[dead], *streams[dead]}, SECONDS)
        assert line.closed == dict.fromkeys(sockets[dead], 4401)
        assert line.ended == dict.fromkeys((*sockets[dead], *streams[dead]), False)
        line.say(sockets[living][0], "still there")
        assert line.hear(lambda: b"still there" in line.received[sockets[living][0]], SECONDS)
