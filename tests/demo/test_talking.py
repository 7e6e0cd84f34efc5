"""WebSockets of the demo's own devices: what they note of a server that talks, refuses, or closes."""

from __future__ import annotations

import socket
import time
from contextlib import closing, contextmanager

import pytest
from beside import beside, hung_up
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Message, RejectConnection

from jwtgate.demo.talking import Talker, listening

HELLO = Message('{"kind": "hello", "worker": 7}')


@contextmanager
def served(*answers):
    """A server for one client: the first answer is to its handshake, the others follow; then it waits for the client to leave."""
    offered = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            line, protocol = listener.accept()[0], WSConnection(ConnectionType.SERVER)
            with line:
                while not offered:
                    protocol.receive_data(line.recv(65536))
                    offered.extend(protocol.events())
                line.sendall(b"".join(protocol.send(answer) for answer in answers))
                while line.recv(65536):
                    pass

        with beside(serve, end=hung_up(listener)):
            yield listener.getsockname()[1], offered


def test_token_is_offered_behind_the_marker_and_the_worker_is_known():
    """``Sec-WebSocket-Protocol: bearer, <token>``."""
    with (
        served(AcceptConnection(subprotocol="bearer"), HELLO) as (port, offered),
        closing(Talker(port, "the-token")) as talker,
    ):
        assert talker.worker == 7
        assert offered[0].subprotocols == ["bearer", "the-token"]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ((RejectConnection(status_code=401),), "refused a WebSocket with 401"),
        ((AcceptConnection(subprotocol="bearer"), CloseConnection(4401)), "closed a WebSocket with 4401"),
    ],
)
def test_refusal_is_an_error_and_never_waited_for(answers, words):
    """The show breaks off, and says why."""
    with served(*answers) as (port, _), pytest.raises(ConnectionRefusedError, match=words):
        Talker(port, "t")


def test_close_is_noted_with_its_code_and_its_time():
    """Whatever came before it was heard."""
    close = CloseConnection(4401, "invalid_token")
    parts = Message('{"text": "he', message_finished=False), Message('llo"}')
    began_at = time.monotonic()
    with (
        served(AcceptConnection(subprotocol="bearer"), HELLO, *parts, close) as (port, _),
        closing(Talker(port, "t")) as talker,
        listening([talker]),
    ):
        while talker.code is None:
            assert time.monotonic() < began_at + 60.0
            time.sleep(0.001)
        assert talker.code == 4401
        assert began_at < talker.closed_at < time.monotonic()
        assert talker.has_heard("hello")
