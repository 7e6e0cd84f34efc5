"""Every framework on every server: the same requests get the same answers, byte for byte, and the application its token."""

from __future__ import annotations

import signal
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import pytest
from pairs import asgi_applications, wsgi_applications
from pairs.serving import ASGI, COMMANDS, SETTINGS, Served, shake
from pairs.table import (
    CANNOT_OPEN,
    DIFFERS,
    DRESSED,
    FRAMEWORKS_OWN,
    HANDSHAKES_OWN,
    HUGE,
    INSISTING,
    INSISTING_SOCKET,
    NO_DENIAL,
    NO_SOCKETS,
    ROWS,
    SERVERS_OWN,
    SOCKETS,
    TOO_LONG,
    Row,
)
from shells import SUBJECT, Answer, Sent, asgi_application, ask_asgi, ask_wsgi, wsgi_application

from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.errors import InsufficientScope, MissingToken, SubjectSuspended
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    """Under the settings of the servers, and with what each of them has revoked."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        gate = Gate(Settings.from_env())
    assert gate.ready()
    gate.revoke(jti="revoked")
    yield gate
    gate.close()


def rendered(gate: Gate, error: Any) -> Answer:
    """As the gate gives it."""
    response = gate.answer(error)
    return Answer(response.status, tuple(sorted(response.headers)), response.body)


@pytest.fixture(scope="module")
def expected(gate: Gate) -> dict[str, Answer]:
    """Of each row, by its name: what a shell in process answers, and the gate for what is raised in a view."""
    asgi = ASGIMiddleware(asgi_application, gate=gate)
    raised = (InsufficientScope("admin"), MissingToken(), SubjectSuspended())
    return {
        **{row.name: ask_asgi(asgi, row.sent) for row in [*ROWS, *SOCKETS]},
        **{row.name: rendered(gate, error) for row, error in zip(INSISTING, raised, strict=True)},
        INSISTING_SOCKET.name: rendered(gate, raised[0]),
    }


@pytest.mark.parametrize("row", [*ROWS, *INSISTING], ids=lambda row: row.name)
def test_answers_are_as_the_table_says(row: Row, gate: Gate, expected: dict[str, Answer]) -> None:
    """And those of both shells are one."""
    assert expected[row.name].status == row.status
    if row not in INSISTING:
        assert ask_wsgi(WSGIMiddleware(wsgi_application, gate=gate), row.sent) == expected[row.name]


@pytest.fixture(params=COMMANDS)
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server that has revoked the token ``revoked``."""
    server = Served(request.param)
    try:
        server.wait()
        revoke = Sent("POST", "/revoke", (("authorization", "Bearer {revoked}"),))
        assert server.ask(revoke).status == 200
        yield server
    finally:
        assert server.stop() in {0, -signal.SIGTERM}


def comparable(answer: Answer, framework: str, more: frozenset[str] = frozenset()) -> Answer:
    """Without what the server adds, and the framework."""
    others = SERVERS_OWN | FRAMEWORKS_OWN.get(framework, set()) | more
    return Answer(answer.status, tuple(pair for pair in answer.headers if pair[0] not in others), answer.body)


def asked(served: Served, framework: str, sent: Sent) -> Answer:
    """Status 0: the server closed without a word."""
    try:
        return comparable(served.ask(sent, framework), framework)
    except (HTTPException, ConnectionError):
        return Answer(0, (), b"")


@pytest.mark.server
def test_every_framework_answers_alike(served: Served, expected: dict[str, Answer]) -> None:
    """Interface §4. One process for all: its start costs more than all its requests."""
    wrong: list[str] = []
    differing = DIFFERS[served.name]
    for framework in (asgi_applications if served.name in ASGI else wsgi_applications).FRAMEWORKS:
        for row in [*ROWS, *(INSISTING if framework in DRESSED else ())]:
            answer = asked(served, framework, row.sent)
            if row.name in differing:
                is_right = answer.status in differing[row.name]
            else:
                is_right = answer == expected[row.name] or (row.name == HUGE and answer.status in TOO_LONG)
            if not is_right:
                wrong.append(f"{served.name}, {framework}, {row.name}: {answer}")
        if served.name in ASGI:
            wrong.extend(wrong_sockets(served, framework, expected))
    assert not wrong, "\n".join(wrong)


def wrong_sockets(served: Served, framework: str, expected: dict[str, Answer]) -> list[str]:
    """A handshake is refused as a request would be, and an application that is reached knows whose it is."""
    wrong: list[str] = []
    for row in [*SOCKETS, *([INSISTING_SOCKET] if framework == "fastapi" else ())]:
        if row.status == 101 and (framework in NO_SOCKETS or (served.name, framework) in CANNOT_OPEN):
            continue
        answer, text = shake(served, framework, row.sent, "hello")
        if row.status == 101:
            is_right = (answer.status, text) == (101, f"{SUBJECT}: hello")
        elif served.name in NO_DENIAL:
            is_right = answer.status == 403
        else:
            is_right = comparable(answer, framework, HANDSHAKES_OWN) == expected[row.name]
        if not is_right:
            wrong.append(f"{served.name}, {framework}, {row.name}: {answer} {text}")
    return wrong
