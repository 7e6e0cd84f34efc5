"""The contract of the shells on real servers: the answers that come over a socket are those of the table."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from servers import free_port
from shell_table import BEARER, ROWS
from shells import SECRET, Answer, Sent, asgi_application, ask_asgi, ask_wsgi, gate_of, wsgi_application

from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

pytestmark = pytest.mark.server

TESTS = Path(__file__).parent
START_SECONDS = 30.0
SERVED = {"locations": ("header", "cookie"), "origins": ("https://partner.example",), "exempt": ("/health", "/public/*")}
"""One set of settings for all rows: what a row's outcome is under them, the shell in process says."""

COMMANDS: dict[str, tuple[str, ...]] = {
    "uvicorn": ("-m", "uvicorn", "--factory", "served:asgi", "--log-level", "warning", "--port"),
    "gunicorn-sync": ("-m", "gunicorn", "--workers", "1", "--bind"),
    "gunicorn-gthread": ("-m", "gunicorn", "--workers", "1", "--threads", "4", "--worker-class", "gthread", "--bind"),
}


class Served:
    """One server process and connections to it. ``which``: of the applications in ``served``."""

    def __init__(self, name: str, which: str = "") -> None:
        self.name = name
        self.port = free_port()
        arguments = [*(each.replace("served:asgi", f"served:asgi{which}") for each in COMMANDS[name]), str(self.port)]
        if name != "uvicorn":
            arguments = [*arguments[:-1], f"127.0.0.1:{self.port}", f"served:wsgi{which}()"]
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]),
            "JWTGATE_SECRET": SECRET,
            "JWTGATE_MAX_TTL": "315360000",
            **{f"JWTGATE_{field.upper()}": ",".join(value) for field, value in SERVED.items()},
        }
        self.process = subprocess.Popen([sys.executable, *arguments], env=environ, start_new_session=True)

    def wait(self) -> Served:
        """Until it answers."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                if self.ask(Sent(target="/health")).status == 200:
                    return self
            except OSError:
                pass
            assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}"
            assert time.monotonic() < until, f"{self.name} does not answer"
            time.sleep(0.05)

    def ask(self, sent: Sent) -> Answer:
        """One request on a connection of its own."""
        with self.connect() as connection:
            return exchange(connection, sent)

    def connect(self) -> socket.socket:
        """A new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def exchange(connection: socket.socket, sent: Sent) -> Answer:
    """Sends one request and reads one answer, by its Content-Length."""
    connection.sendall(sent.wire)
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            raise OSError("closed before an answer")
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = 0 if sent.method == "HEAD" else int(dict(headers)["content-length"])
    while len(body) < length:
        body += connection.recv(65536)
    assert len(body) == length, "more was sent than was promised"
    return Answer(int(status.split(" ")[1]), tuple(sorted(headers)), body)


@pytest.fixture(scope="module", params=COMMANDS)
def served(request: pytest.FixtureRequest) -> Any:
    """A server that has revoked the token ``revoked``."""
    server = Served(request.param)
    try:
        server.wait()
        revoke = Sent("POST", "/revoke", (("authorization", "Bearer {revoked}"),))
        assert server.ask(revoke).status == 200
        assert server.ask(revoke).status == 401
        yield server
    finally:
        assert server.stop() in {0, -signal.SIGTERM}


@pytest.fixture(scope="module")
def in_process() -> Any:
    """Both shells under the same settings."""
    gate = gate_of(**SERVED)
    assert gate.ready()
    gate.revoke(jti="revoked")
    yield {
        "asgi": lambda sent: ask_asgi(ASGIMiddleware(asgi_application, gate=gate), sent),
        "wsgi": lambda sent: ask_wsgi(WSGIMiddleware(wsgi_application, gate=gate), sent),
    }
    gate.close()


GATES_OWN = {"content-type", "content-length", "cache-control", "www-authenticate", "retry-after"}


def comparable(answer: Answer) -> Answer:
    """Without what the server adds."""
    return Answer(answer.status, tuple(pair for pair in answer.headers if pair[0] in GATES_OWN), answer.body)


SAMPLE = [row for row in ROWS if row.on_servers and row.settings != "optional"]


def test_answers_over_a_socket_are_those_of_the_table(served: Served, in_process: Any) -> None:
    """Threat 19: repeated Authorization, HEAD, odd methods and bytes: the same on every server, as far as it passes them on."""
    ask = in_process["asgi" if served.name == "uvicorn" else "wsgi"]
    wrong: list[str] = []
    for row in SAMPLE:
        answer = comparable(served.ask(row.sent))
        if answer != comparable(ask(row.sent)):
            wrong.append(f"{row}: {answer}")
    assert not wrong, "\n".join(wrong)


def test_connection_lives_on_after_the_refusal_of_a_body(served: Served) -> None:
    """A refused POST leaves no part of its body to be read as the next request."""
    refused = Sent("POST", "/echo", body=b"GET /health HTTP/1.1\r\nHost: smuggled\r\n\r\n" * 50)
    admitted = Sent("POST", "/echo", (BEARER,), b"y" * 5000)
    with served.connect() as connection:
        assert exchange(connection, refused).status == 401
        try:
            answer = exchange(connection, admitted)
        except OSError:
            pass  # a server may close instead (RFC 9112 §9.6), and the sync worker always does
        else:
            assert (answer.status, answer.body) == (200, admitted.body)
    assert served.ask(admitted).body == admitted.body


def test_identity_from_outside_is_not_believed_over_a_socket(served: Served) -> None:
    """Threat 23: no header of a client becomes an identity, however it is spelt."""
    for name in ("Remote-User", "remote_user", "REMOTE-USER", "X-Remote-User", "jwtgate.token"):
        answer = served.ask(Sent(target="/health", headers=((name, "root"),)))
        assert answer.status in {200, 400}
        assert b"root" not in answer.body


def test_server_without_settings_does_not_serve() -> None:
    """Interface §4: the text of every mistake on standard error, no secret in it, and no port open."""
    environ = {
        "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
        "JWTGATE_SECRET": "too-short",
        "JWTGATE_LEASE": "x",
    }
    for arguments in ([*COMMANDS["uvicorn"], "0"], [*COMMANDS["gunicorn-sync"], "127.0.0.1:0", "served:wsgi()"]):
        ended = subprocess.run([sys.executable, *arguments], env=environ, capture_output=True, timeout=60, check=False)
        assert ended.returncode != 0
        said = ended.stderr.decode() + ended.stdout.decode()
        assert "JWTGATE_SECRET" in said and "JWTGATE_LEASE" in said
        assert "too-short" not in said
