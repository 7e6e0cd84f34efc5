"""Connections whose other end is known.

Workers of one server share a listening socket, and a refusal does not say which of them gave it. So each connection is
opened, asked once for the worker behind it, and kept: whatever comes back on it came from that process.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.demo.servers import App

__all__ = ["Answer", "Line", "Worker", "open_lines"]

TIMEOUT_SECONDS = 5.0
OPENING_SECONDS = 10.0
OPENING_PAUSE_SECONDS = 0.02
UNSURE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, order=True)
class Worker:
    """One worker process of one application."""

    app: str
    pid: int

    def __str__(self) -> str:
        return f"{self.app} {self.pid}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request met.

    Attributes:
        began_at: before its first byte was sent; monotonic seconds, as ``ended_at``.
        ended_at: after its last byte was read.
    """

    began_at: float
    ended_at: float
    status: int
    retry_after: str | None
    body: bytes

    @property
    def is_admitted(self) -> bool:
        """The application answered."""
        return self.status == http.HTTPStatus.OK

    @property
    def is_refused(self) -> bool:
        """The gate knows that the token is dead."""
        return self.status == http.HTTPStatus.UNAUTHORIZED

    @property
    def is_unsure(self) -> bool:
        """The gate cannot know, and says so."""
        return self.status == http.HTTPStatus.SERVICE_UNAVAILABLE


class Line:
    """One keep-alive connection to one worker. For one thread at a time."""

    def __init__(self, app: App) -> None:
        """Raises: OSError, HTTPException: nobody there."""
        self._connection = http.client.HTTPConnection("127.0.0.1", app.port, timeout=TIMEOUT_SECONDS)
        self._connection.connect()
        # A connection opened anew might end at another worker: better an error.
        self._connection.auto_open = False
        self.worker = Worker(app.name, int(self.ask(None, "/worker").body))

    def ask(
        self, token: str | None, path: str = "/", posted: dict[str, Any] | None = None, *, method: str | None = None
    ) -> Answer:
        """Args: posted: sent as JSON, by POST. Raises: OSError, HTTPException: the connection is broken."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        body = None
        if posted is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(posted)
        began_at = time.monotonic()
        self._connection.request(method or ("GET" if posted is None else "POST"), path, body, headers)
        self._acknowledge_at_once()
        response = self._connection.getresponse()
        content = response.read()
        return Answer(began_at, time.monotonic(), response.status, response.getheader("Retry-After"), content)

    def ask_until_sure(self, token: str) -> Answer:
        """503 is not the last word: it says that one may ask again."""
        deadline = time.monotonic() + UNSURE_SECONDS
        while (answer := self.ask(token)).is_unsure and time.monotonic() < deadline:
            time.sleep(0.05)
        return answer

    def _acknowledge_at_once(self) -> None:
        """Workers of uvicorn send head and body apart, the body only once the head is acknowledged: 40 ms later by default."""
        if hasattr(socket, "TCP_QUICKACK"):  # Linux; it does not last, so it is set for each answer
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def close(self) -> None:
        """May be called twice."""
        self._connection.close()


def open_lines(apps: Iterable[App], workers: int, count: int) -> dict[Worker, list[Line]]:
    """``count`` connections to each of the ``workers`` of each application.

    Raises: TimeoutError: a worker never accepted a connection.
    """
    with ExitStack() as undo:
        lines: dict[Worker, list[Line]] = {}
        for app in apps:
            lines |= _lines_to(app, workers, count, undo)
        undo.pop_all()
    return dict(sorted(lines.items()))


def _lines_to(app: App, workers: int, count: int, undo: ExitStack) -> dict[Worker, list[Line]]:
    """Superfluous connections stay open until the end: a worker that has many accepts less."""
    found: dict[Worker, list[Line]] = {}
    deadline = time.monotonic() + OPENING_SECONDS
    with ExitStack() as superfluous:
        while len(found) < workers or any(len(lines) < count for lines in found.values()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{app.name}: {len(found)} of {workers} workers answered, or too few connections each")
            line = Line(app)
            lines = found.setdefault(line.worker, [])
            if len(lines) < count:
                lines.append(line)
                undo.callback(line.close)
            else:
                superfluous.callback(line.close)
                time.sleep(OPENING_PAUSE_SECONDS)
    return found
