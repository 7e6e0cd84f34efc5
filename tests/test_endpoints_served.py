"""The endpoints on real servers: the answers of the table, and bodies that come late, long, in drips, or not at all."""

from __future__ import annotations

import signal
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from shells import Answer, Sent, ask_asgi, ask_wsgi
from test_endpoints_in_shells import ROWS, filled, mounted
from test_shells_served import COMMANDS, GATES_OWN, Served

from jwtgate.runtime.bodies import BODY_SECONDS

pytestmark = pytest.mark.server

HEAD = b"POST /auth/logout HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
SOON_SECONDS = 2.0


@pytest.fixture(scope="module", params=COMMANDS)
def served(request: pytest.FixtureRequest) -> Any:
    """A server with endpoints over scripted operations."""
    server = Served(request.param, "_endpoints")
    try:
        yield server.wait()
    finally:
        assert server.stop() in {0, -signal.SIGTERM}


def comparable(answer: Answer) -> Answer:
    """Without what the server adds."""
    own = {*GATES_OWN, "set-cookie", "allow"}
    return Answer(answer.status, tuple(pair for pair in answer.headers if pair[0] in own), answer.body)


def test_answers_over_a_socket_are_those_of_the_table(served: Served) -> None:
    """As far as the server passes on what it gets: odd lengths are its own business."""
    _, asgi, wsgi = mounted("both")
    wrong = []
    for name, _, sent in ROWS:
        if name != "both" or sum(field in ("content-length", "authorization") for field, _ in sent.headers) > 2:
            continue
        lines = tuple(pair for pair in sent.headers if pair[0] != "content-length")
        whole = filled(Sent(sent.method, sent.target, lines, sent.body))
        length = (("content-length", str(len(whole.body))),) if whole.body else ()
        in_process = Sent(sent.method, sent.target, (*whole.headers, *length), whole.body)
        answer = comparable(served.ask(whole))
        if answer != comparable(
            (ask_asgi if served.name == "uvicorn" else ask_wsgi)(asgi if served.name == "uvicorn" else wsgi, in_process)
        ):
            wrong.append(f"{sent}: {answer}")
    assert not wrong, "\n".join(wrong)


def status_of(connection: socket.socket) -> int:
    """Of the answer; 0: closed without one."""
    received = b""
    while b"\r\n" not in received:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            return 0
        if not piece:
            return 0
        received += piece
    return int(received.split(b" ")[1])


def sent_slowly(served: Served, start: bytes, drop: bytes, pause: float) -> tuple[int, float]:
    """The status of a request whose body comes in drops, and how long it took; without drops it never comes."""
    with served.connect() as connection:
        connection.sendall(HEAD + start)
        connection.settimeout(pause)
        began = time.monotonic()
        while True:
            try:
                return status_of(connection), time.monotonic() - began
            except TimeoutError:
                assert time.monotonic() - began < 4 * BODY_SECONDS, "never answered"
                try:
                    connection.sendall(drop)
                except OSError:
                    connection.settimeout(1)


SLOW = {
    "drip": (b"Content-Length: 1000\r\n\r\n", b"x"),
    "stall": (b"Content-Length: 1000\r\n\r\nrefresh_token=", b""),
    "chunked drip": (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


def test_slow_body_is_cut_off(served: Served) -> None:
    """In drips or stalled, 408 comes after five seconds, and the server goes on."""
    one_at_a_time = 1 if served.name == "gunicorn-sync" else len(SLOW)
    with ThreadPoolExecutor(one_at_a_time) as pool:
        found = list(pool.map(lambda slow: sent_slowly(served, *slow, 0.25), SLOW.values()))
    for name, (status, seconds) in zip(SLOW, found, strict=True):
        assert status == 408, name
        assert BODY_SECONDS - 0.1 <= seconds < BODY_SECONDS + SOON_SECONDS, f"{name} took {seconds:.2f} s"
    assert served.ask(Sent("GET", "/auth/jwks.json")).status == 200


def test_large_body_is_refused_unread(served: Served) -> None:
    """By its length at once; by what has come where there is none."""
    chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"
    for start in (b"Content-Length: 1000000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17):
        status, seconds = sent_slowly(served, start, b"", 0.25)
        assert status == 413
        assert seconds < SOON_SECONDS, f"it took {seconds:.2f} s"
    assert served.ask(Sent("GET", "/auth/jwks.json")).status == 200


@pytest.mark.parametrize("is_reset", [True, False])
def test_client_that_goes_away_ends_quietly(served: Served, is_reset: bool) -> None:
    """In the middle of its body, by a close or a reset: nothing hangs, and what came is not acted upon."""
    for start in (b"Content-Length: 30\r\n\r\nrefresh_token=jgr_phone", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"):
        connection = served.connect()
        connection.sendall(HEAD + start)
        time.sleep(0.1)
        if is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(SOON_SECONDS)
            assert status_of(connection) in {0, 400}
        connection.close()
        began = time.monotonic()
        assert served.ask(Sent("GET", "/auth/jwks.json")).status == 200
        assert time.monotonic() - began < SOON_SECONDS


@pytest.mark.parametrize("tail", [b"1\r\nx", b"zz\r\n", b"1;=\r\n", b"0\r\nbad trailer\r\n\r\n", b"\r\n" * 3])
def test_broken_chunks_are_no_error_of_ours(served: Served, tail: bytes) -> None:
    """Whatever a server raises while it reads: 400, its own answer or a close, never 500."""
    with served.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + tail)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(SOON_SECONDS)
        assert status_of(connection) in {0, 400}
    assert served.ask(Sent("GET", "/auth/jwks.json")).status == 200


def test_body_in_time_is_taken(served: Served) -> None:
    """In two pieces, and with the connection kept: the next request finds it whole."""
    with served.connect() as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"Content-Length: 23\r\n\r\nrefresh_token=")
            time.sleep(0.3)
            connection.sendall(b"jgr_phone")
            status = status_of(connection)
            if status == 0 and served.name == "gunicorn-sync":
                return  # it keeps no connection
            assert status == 200
