"""The chat's routes behind a gate: who may talk, what may be said, and what a page of it may load."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from jwtgate import testing
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.demo.chat import Chat
from jwtgate.demo.commands import OPEN_PATHS, application_settings

NOBODY = "redis://127.0.0.1:1"


@pytest.fixture
def gate():
    with testing.gate(exempt=OPEN_PATHS, locations=("header", "subprotocol"), endpoints="/auth") as gate:
        yield gate


@pytest.fixture
def client(gate):
    app = FastAPI()
    app.include_router(Chat(NOBODY, console='http://c/?"><script>', devices="http://d/enter").router)
    with TestClient(JWTGateMiddleware(app, gate=gate), base_url="http://127.0.0.1:8000") as client:
        yield client


def log_in(client, device="Phone"):
    return client.post("/chat/login", json={"device": device})


def test_page_loads_nothing_from_elsewhere_and_nothing_inline(client):
    """CSP 3; what it links to is escaped."""
    page = client.get("/chat")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert "ws://127.0.0.1:8000" in policy
    assert "<script>" not in page.text and "http://d/enter" in page.text
    for name, kind in (("chat.css", "text/css"), ("chat.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        file = client.get(f"/chat/{name}")
        assert (file.status_code, file.headers["content-type"].partition(";")[0]) == (200, kind)
        assert file.headers["x-content-type-options"] == "nosniff"
        assert f"/chat/{name}" in page.text


def test_nothing_else_of_it_is_open(client, gate):
    """Neither a file beside them, nor the socket."""
    token = {"Authorization": f"Bearer {gate.token_for('alice')}"}
    for path in ("/chat/chat.html", "/chat/..%2fchat.py", "/chat/socket"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers=token).status_code == 404
    assert "/chat/socket" not in application_settings("FastAPI")["JWTGATE_EXEMPT"]


def test_each_login_is_a_session_of_its_own_named_for_its_device(client, gate):
    """And no cache keeps it."""
    phone, laptop = log_in(client), log_in(client, "Laptop")
    assert phone.headers["cache-control"] == "no-store"
    assert phone.json()["session_id"] != laptop.json()["session_id"]
    assert {session.device for session in gate.sessions.list("alice")} == {"Phone", "Laptop"}
    assert log_in(client, "Toaster").status_code == 422


def test_login_while_the_store_is_away_is_a_503(client, gate):
    """Not a 500, and it says when to ask again."""
    gate.faults.fail()
    answer = log_in(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("text", ["", "x" * 501])
def test_what_is_too_long_or_nothing_is_not_said(client, text):
    """The one who wrote it is told; the connection stays."""
    with client.websocket_connect("/chat/socket", ["bearer", log_in(client).json()["access_token"]]) as socket:
        heard = [socket.receive_json() for _ in range(2)]
        assert {message["kind"] for message in heard} == {"hello", "store"}
        socket.send_text(text)
        assert "at most 500 characters" in socket.receive_json()["text"]
        socket.send_bytes(b"\xff")
        assert "at most 500 characters" in socket.receive_json()["text"]


def test_relay_that_is_away_is_told_to_who_is_there_and_to_who_speaks(client):
    """Nothing is lost silently."""
    with client.websocket_connect("/chat/socket", ["bearer", log_in(client).json()["access_token"]]) as socket:
        heard = [socket.receive_json() for _ in range(2)]
        assert {"kind": "store", "is_up": False} in heard
        socket.send_text("hello?")
        assert socket.receive_json() == {"kind": "fault", "text": "Not sent: the store does not answer."}
