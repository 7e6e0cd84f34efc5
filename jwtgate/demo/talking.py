"""WebSockets of the chat as its devices hold them: by wsproto over plain sockets, all read in one thread."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import CloseConnection, Message, RejectConnection, Request, TextMessage

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from wsproto.events import Event

__all__ = ["Talker", "listening"]

TIMEOUT_SECONDS = 5.0
TURN_SECONDS = 0.02


class Talker:
    """One connection.

    Attributes:
        heard: what came, in order; the first says which worker it is.
        code: with which it was closed; None: it is open.
        closed_at: monotonic seconds.
    """

    def __init__(self, port: int, token: str) -> None:
        """Raises: OSError: refused, or nobody there."""
        self.heard: list[dict[str, Any]] = []
        self.code: int | None = None
        self.closed_at = 0.0
        self._part = ""
        self._line = socket.create_connection(("127.0.0.1", port), TIMEOUT_SECONDS)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        try:
            self._send(Request(host=f"127.0.0.1:{port}", target="/chat/socket", subprotocols=["bearer", token]))
            while not self.heard:
                self.hear()
        except OSError:
            self.close()
            raise

    @property
    def worker(self) -> int:
        """The process at the other end."""
        return int(self.heard[0]["worker"])

    def fileno(self) -> int:
        """For ``select``."""
        return self._line.fileno()

    def say(self, text: str) -> None:
        """One message."""
        self._send(Message(text))

    def has_heard(self, text: str) -> bool:
        """Whether somebody said so."""
        return any(message.get("text") == text for message in tuple(self.heard))

    def hear(self) -> None:
        """Waits for whatever comes next. Raises: OSError: refused, or nothing came."""
        received = self._line.recv(65536)
        now = time.monotonic()
        self._protocol.receive_data(received or None)
        for event in self._protocol.events():
            match event:
                case RejectConnection():
                    raise ConnectionRefusedError(f"the chat refused a WebSocket with {event.status_code}")
                case TextMessage():
                    self._part += event.data
                    if event.message_finished:
                        self.heard.append(json.loads(self._part))
                        self._part = ""
                case CloseConnection():
                    self.closed_at, self.code = now, int(event.code)
                case _:
                    pass
        if self.code is not None and len(self.heard) == 0:
            raise ConnectionRefusedError(f"the chat closed a WebSocket with {self.code} before it said anything")

    def _send(self, event: Event) -> None:
        self._line.sendall(self._protocol.send(event))

    def close(self) -> None:
        """Without a word; may be called twice."""
        self._line.close()


@contextmanager
def listening(talkers: Sequence[Talker]) -> Generator[None]:
    """Whatever comes to any of them is noted as it comes."""
    is_over = threading.Event()
    thread = threading.Thread(target=_listen, args=(talkers, is_over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _listen(talkers: Sequence[Talker], is_over: threading.Event) -> None:
    while not is_over.is_set():
        for talker in select.select([talker for talker in talkers if talker.code is None], [], [], TURN_SECONDS)[0]:
            talker.hear()
