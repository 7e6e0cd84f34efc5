"""A WebSocket client over a plain socket, as far as tests of servers need one."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Self

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, RejectConnection, RejectData, Request, TextMessage
from wsproto.utilities import RemoteProtocolError

__all__ = ["Talker"]


@dataclass
class Talker:
    """One connection.

    Attributes:
        accepted: what the server accepted with; None: it refused.
        refused: its status then.
        closed: the close code, once it has closed.
        heard: text that came.
    """

    line: socket.socket
    protocol: WSConnection
    accepted: AcceptConnection | None = None
    refused: int | None = None
    closed: int | None = None
    heard: list[str] = field(default_factory=list)

    @classmethod
    def call(cls, port: int, target: str, token: str | None = None, subprotocols: tuple[str, ...] = ()) -> Self:
        """Opens one, or is refused."""
        talker = cls(socket.create_connection(("127.0.0.1", port), 5), WSConnection(ConnectionType.CLIENT))
        headers = [] if token is None else [(b"authorization", f"Bearer {token}".encode())]
        request = Request(host=f"127.0.0.1:{port}", target=target, extra_headers=headers, subprotocols=list(subprotocols))
        talker.line.sendall(talker.protocol.send(request))
        while talker.accepted is None and talker.refused is None and talker.closed is None:
            talker.hear(5)
        return talker

    def say(self, text: str) -> None:
        """One message."""
        self.line.sendall(self.protocol.send(Message(text)))

    def hear(self, seconds: float) -> bool:
        """Waits so long for anything. False: nothing came."""
        self.line.settimeout(seconds)
        try:
            received = self.line.recv(65536)
        except TimeoutError:
            return False
        except ConnectionError:
            received = b""
        try:
            self.protocol.receive_data(received or None)
        except RemoteProtocolError:
            self.closed = 1006
        for event in self.protocol.events():
            match event:
                case AcceptConnection():
                    self.accepted = event
                case RejectConnection():
                    self.refused = event.status_code
                case RejectData():
                    pass
                case TextMessage():
                    self.heard.append(event.data)
                case CloseConnection():
                    self.closed = self.closed or int(event.code)
        if not received and self.closed is None:
            self.closed = 1006
        return True

    def answer(self, text: str) -> str | None:
        """What comes back for a message; None: the connection is closed."""
        before = len(self.heard)
        try:
            self.say(text)
        except ConnectionError:
            self.closed = self.closed or 1006
        while len(self.heard) == before and self.closed is None and self.hear(5):
            pass
        return self.heard[-1] if len(self.heard) > before else None

    def wait_closed(self, seconds: float) -> int | None:
        """The close code; None: it stayed open so long."""
        while self.closed is None and self.hear(seconds):
            pass
        return self.closed

    def leave(self) -> None:
        """Without a word."""
        self.line.close()
