"""A client of HTTP/2 with prior knowledge (RFC 9113 §3.3), as far as tests of servers need one; WebSockets by RFC 8441."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

__all__ = ["Multiplexed"]


class Multiplexed:
    """One connection of many streams, each known by its number.

    Attributes:
        status, received, closed: of each stream.
        ended: the streams that ended, and whether by a reset.
    """

    def __init__(self, port: int) -> None:
        self.line = socket.create_connection(("127.0.0.1", port), 5)
        self.protocol = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.protocol.initiate_connection()
        self.sockets: dict[int, Connection] = {}
        self.status: dict[int, str] = {}
        self.received: dict[int, bytes] = {}
        self.closed: dict[int, int] = {}
        self.ended: dict[int, bool] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.line.close()

    def open(self, path: str, token: str, *, is_socket: bool = False) -> int:
        """A request, or the handshake of a WebSocket."""
        number = self.protocol.get_next_available_stream_id()
        kind = [(":method", "CONNECT"), (":protocol", "websocket")] if is_socket else [(":method", "GET")]
        head = [*kind, (":scheme", "http"), (":authority", "app"), (":path", path), ("authorization", f"Bearer {token}")]
        self.protocol.send_headers(number, [*head, ("sec-websocket-version", "13")], end_stream=not is_socket)
        if is_socket:
            self.sockets[number] = Connection(ConnectionType.CLIENT)
        self.received[number] = b""
        return number

    def say(self, number: int, text: str) -> None:
        """One message of a WebSocket."""
        self.protocol.send_data(number, self.sockets[number].send(TextMessage(text)))

    def hear(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Until it holds. False: it did not in that time."""
        deadline = time.monotonic() + seconds
        while True:
            self.line.sendall(self.protocol.data_to_send())
            if condition():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.line.settimeout(left)
            try:
                received = self.line.recv(65536)
            except TimeoutError:
                continue
            if not received:
                return False
            for event in self.protocol.receive_data(received):
                self._take(event)

    def _take(self, event: Any) -> None:
        match event:
            case ResponseReceived():
                self.status[event.stream_id] = dict(event.headers)[":status"]
            case DataReceived():
                self.protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                self.received[event.stream_id] += event.data
                if event.stream_id in self.sockets:
                    self._take_frames(event.stream_id, event.data)
            case StreamEnded() | StreamReset():
                self.ended[event.stream_id] = isinstance(event, StreamReset)

    def _take_frames(self, number: int, octets: bytes) -> None:
        self.sockets[number].receive_data(octets)
        for event in self.sockets[number].events():
            if isinstance(event, CloseConnection):
                self.closed[number] = int(event.code)
