"""Connections of the demo: each goes to one known worker, and never silently to another."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import pytest
from beside import beside

from jwtgate.demo import lines
from jwtgate.demo.lines import Line, Worker, open_lines
from jwtgate.demo.servers import App


class Handler(BaseHTTPRequestHandler):
    """Plays a server with as many workers as it is told, a connection each in turn."""

    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.pid = 100 + next(self.server.connections) % self.server.workers

    def do_GET(self):
        body = str(self.pid).encode()
        self.send_response(200 if self.path == "/worker" else self.server.statuses.pop(0))
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/last":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.connections, server.workers, server.statuses = count(), 2, []
        with beside(partial(server.serve_forever, 0.01), end=server.shutdown):
            yield server


def app_at(server):
    return App("FastAPI", server.server_address[1], None)


def test_every_worker_gets_its_lines(server):
    found = open_lines([app_at(server)], 2, 3)
    assert list(found) == [Worker("FastAPI", 100), Worker("FastAPI", 101)]
    for worker, opened in found.items():
        assert [line.worker for line in opened] == [worker] * 3
        for line in opened:
            line.close()


def test_worker_that_accepts_nothing_is_told(server, monkeypatch):
    monkeypatch.setattr(lines, "OPENING_SECONDS", 0.2)
    with pytest.raises(TimeoutError, match="2 of 3 workers"):
        open_lines([app_at(server)], 3, 1)


def test_closed_line_is_an_error_and_no_new_connection(server):
    with closing(Line(app_at(server))) as line:
        server.statuses = [401]
        assert line.ask("token", "/last").is_refused
        with pytest.raises(HTTPException):
            line.ask("token")


def test_503_is_asked_again_until_the_gate_is_sure(server):
    with closing(Line(app_at(server))) as line:
        server.statuses = [503, 503, 200]
        assert line.ask_until_sure("token").is_admitted
