"""FastAPI, Flask and Django on real servers: the same answers from the middleware and from what stands in the application."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from shells import Answer, Sent, gate_of
from test_shells_served import Served, comparable

from jwtgate.errors import InsufficientScope, InvalidToken, JWTGateError, MissingToken, SubjectSuspended

pytestmark = pytest.mark.server

GOOD = (("authorization", "Bearer {good}"),)


SERVERS = [
    ("uvicorn", "_fastapi"),
    ("gunicorn-gthread", "_flask"),
    ("uvicorn", "_django"),
    ("gunicorn-gthread", "_django"),
]


@pytest.fixture(scope="module", params=SERVERS, ids="".join)
def served(request: pytest.FixtureRequest) -> Any:
    """One process of each."""
    server = Served(*request.param)
    try:
        yield server.wait()
    finally:
        assert server.stop() in {0, -signal.SIGTERM}


def gates_answer(error: JWTGateError) -> Answer:
    """As any gate with this realm gives it."""
    rendered = gate_of().answer(error)
    return Answer(rendered.status, tuple(sorted(rendered.headers)), rendered.body)


def test_admitted_request_is_served(served: Served) -> None:
    """With its token."""
    answer = served.ask(Sent(target="/me", headers=GOOD))
    assert answer.status == 200
    told = json.loads(answer.body)
    assert (told if isinstance(told, str) else told["name"]) == "alice"


@pytest.mark.parametrize(
    ("target", "headers", "error"),
    [
        ("/me", (), MissingToken()),
        ("/public/admin", GOOD, MissingToken()),
        ("/me", (("authorization", "Bearer {expired}"),), InvalidToken()),
        ("/admin", GOOD, InsufficientScope("admin")),
        ("/login", GOOD, SubjectSuspended()),
    ],
)
def test_refusals_are_the_gates_own(served: Served, target: str, headers: Any, error: JWTGateError) -> None:
    """By the middleware (an absent or bad token) and within the application (an exempt path, a scope, an error)."""
    assert comparable(served.ask(Sent(target=target, headers=headers))) == gates_answer(error)


@pytest.mark.parametrize("served", SERVERS[:1], indirect=True, ids="".join)
def test_handshake_is_denied_with_the_gates_answer(served: Served) -> None:
    """Over a socket, before the WebSocket opens."""
    handshake = (
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    )
    answer = served.ask(Sent(target="/ws", headers=(*handshake, *GOOD)))
    assert comparable(answer) == gates_answer(InsufficientScope("admin"))
    assert comparable(served.ask(Sent(target="/ws", headers=handshake))) == gates_answer(MissingToken())
