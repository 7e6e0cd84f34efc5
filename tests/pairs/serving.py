"""The servers, each one process that holds all frameworks of its protocol, and a client that reads what any of them writes."""

from __future__ import annotations

import os
import subprocess
import sys
from http.client import HTTPResponse
from typing import TYPE_CHECKING

import test_shells_served
from servers import free_port
from shells import SECRET, Answer, Sent
from test_shells_served import TESTS

if TYPE_CHECKING:
    import socket

ASGI = {
    "uvicorn-h11": "uvicorn --factory --http h11 --ws wsproto --log-level warning --port {port} {asgi}",
    "uvicorn-httptools": "uvicorn --factory --http httptools --ws wsproto --log-level warning --port {port} {asgi}",
    "hypercorn": "hypercorn --log-level warning --bind 127.0.0.1:{port} {asgi}()",
    "granian": "granian --factory --interface asgi --log-level warning --port {port} {asgi}",
    "daphne": "pairs.running daphne {port}",
}
WSGI = {
    "gunicorn-sync": "gunicorn --log-level warning --workers 1 --bind 127.0.0.1:{port} {wsgi}()",
    "gunicorn-gthread": "gunicorn --log-level warning --worker-class gthread --threads 4 --bind 127.0.0.1:{port} {wsgi}()",
    "waitress": "waitress --listen 127.0.0.1:{port} --call {wsgi}",
    "werkzeug": "pairs.running werkzeug {port}",
    "granian-wsgi": "granian --factory --interface wsgi --log-level warning --port {port} {wsgi}",
}
COMMANDS = {**ASGI, **WSGI}
"""What follows ``python -m``."""

SETTINGS = {
    "JWTGATE_SECRET": SECRET,
    "JWTGATE_MAX_TTL": "315360000",
    "JWTGATE_LOCATIONS": "header,cookie",
    "JWTGATE_ORIGINS": "https://partner.example",
    "JWTGATE_EXEMPT": "/health,/public/*,/login",
    "JWTGATE_ENDPOINTS": "/auth",
}


class Served(test_shells_served.Served):
    """One of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        places = {
            "port": self.port,
            "asgi": "pairs.asgi_applications:application",
            "wsgi": "pairs.wsgi_applications:application",
        }
        environ = {**os.environ, **SETTINGS}
        environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", *COMMANDS[name].format(**places).split()]
        self.process = subprocess.Popen(command, env=environ, start_new_session=True)

    def ask(self, sent: Sent, framework: str = "plain") -> Answer:
        """One request on a connection of its own.

        Raises: OSError, HTTPException: the server closes without an answer.
        """
        with self.connect() as connection:
            connection.sendall(_told(framework, sent).wire)
            return answer_on(connection, sent.method)


def _told(framework: str, sent: Sent) -> Sent:
    """By the header that the dispatchers look at."""
    return Sent(sent.method, sent.target, (*sent.headers, ("x-framework", framework)), sent.body)


def answer_on(connection: socket.socket, method: str) -> Answer:
    """By its length, in chunks, or until the connection ends."""
    with HTTPResponse(connection, method=method) as response:
        response.begin()
        headers = sorted((name.lower(), value) for name, value in response.getheaders())
        return Answer(response.status, tuple(headers), b"" if response.status == 101 else response.read())


def shake(served: Served, framework: str, sent: Sent, text: str) -> tuple[Answer, str]:
    """Opens a WebSocket and sends a text: the answer to the handshake, and, at status 101, the text that comes back."""
    with served.connect() as connection:
        connection.sendall(_told(framework, sent).wire)
        answer = answer_on(connection, sent.method)
        if answer.status != 101:
            return answer, ""
        data = text.encode()
        mask = b"\1\2\3\4"
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        connection.sendall(bytes([0x81, 0x80 | len(data)]) + mask + masked)
        with connection.makefile("rb") as frames:
            kind, length = frames.read(2)
            assert kind == 0x81 and length < 126, "one short text"
            return answer, frames.read(length).decode()
