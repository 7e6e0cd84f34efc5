"""The ASGI shell: lifespan, WebSocket, frameworks, and whatever goes wrong around it."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from shell_table import BEARER, OURS
from shells import (
    HOST,
    PROOF,
    SECRET,
    SUBJECT,
    Sent,
    Sink,
    asgi_application,
    ask_asgi,
    gate_of,
    scope_of,
    seen,
    send_asgi,
    tokens,
)
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, BaseUser, requires
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import jwtgate.gate
from jwtgate import Gate
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.stores.memory import MemoryStore

GOOD = {"authorization": f"Bearer {tokens()['good']}"}
STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
LIFESPAN = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}


@pytest.fixture(scope="module")
def gate() -> Any:
    """A live gate that reads headers and cookies."""
    gate = gate_of("both")
    assert gate.ready()
    yield gate
    gate.close()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings in ``JWTGATE_*``; the gate made from them is closed and forgotten."""
    monkeypatch.setattr(jwtgate.gate, "_environment_gates", {})
    monkeypatch.setenv("JWTGATE_SECRET", SECRET)
    monkeypatch.setenv("JWTGATE_LEASE", "0.25")
    monkeypatch.setenv("JWTGATE_MAX_TTL", "315360000")
    yield monkeypatch
    for gate in jwtgate.gate._environment_gates.values():
        gate.close()


def live(app: Any, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs the lifespan with these messages; what was sent."""
    sink = Sink(incoming=list(messages))
    asyncio.run(app(dict(LIFESPAN), sink.receive, sink.send))
    return sink.sent


# --- lifespan


def test_startup_waits_for_a_live_view_and_shutdown_closes_the_environments_gate(environment: Any) -> None:
    """Interface §2: when the application starts the view is live; after shutdown the follower is gone."""
    status: list[bool] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        status.append(app.gate.status().live)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        status.append(app.gate.status().live)
        await send({"type": "lifespan.shutdown.complete"})

    app = JWTGateMiddleware(application)
    assert [message["type"] for message in live(app, STARTUP, SHUTDOWN)] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert status == [True, True]
    assert not app.gate.follower.is_started


def test_nothing_is_waited_for_once_the_shutdown_is_complete(environment: Any) -> None:
    """Hypercorn cancels whoever is still there then, and reports it as a fault of the process."""

    async def story() -> None:
        app, incoming = JWTGateMiddleware(asgi_application), [SHUTDOWN, STARTUP]

        async def receive() -> Any:
            return incoming.pop()

        async def send(message: Any) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                assert not app.gate.follower.is_started
                asyncio.get_running_loop().call_soon(task.cancel)

        task = asyncio.ensure_future(app(dict(LIFESPAN), receive, send))
        await asyncio.wait({task})
        assert not task.cancelled()

    asyncio.run(story())


def test_shutdown_leaves_a_gate_of_the_users_own(gate: Gate) -> None:
    """Who made it closes it."""
    live(JWTGateMiddleware(asgi_application, gate=gate), STARTUP, SHUTDOWN)
    assert gate.follower.is_started


def test_closed_gate_starts_again_with_the_next_request(environment: Any) -> None:
    """A second lifespan, or a request after the first, finds a working gate."""
    app = JWTGateMiddleware(asgi_application)
    for _ in range(2):
        live(app, STARTUP, SHUTDOWN)
        assert ask_asgi(app, Sent(headers=(BEARER,))).status == 200
    assert app.gate.follower.is_started


def test_startup_waits_three_leases_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that is not there delays the start, and does not prevent it."""
    gate = gate_of(store="redis://127.0.0.1:1/0", lease=0.1)
    began = time.monotonic()
    sent = live(JWTGateMiddleware(asgi_application, gate=gate), STARTUP, SHUTDOWN)
    assert 0.3 <= time.monotonic() - began < 3
    assert sent[0]["type"] == "lifespan.startup.complete"
    gate.close()


def test_wrong_settings_fail_the_startup_with_their_text(environment: Any) -> None:
    """Interface §4: all mistakes in one text, without the secret."""
    environment.setenv("JWTGATE_SECRET", "short-secret")
    environment.setenv("JWTGATE_LEASE", "never")
    (message,) = live(JWTGateMiddleware(asgi_application), STARTUP)
    assert message["type"] == "lifespan.startup.failed"
    assert "JWTGATE_SECRET" in message["message"] and "JWTGATE_LEASE" in message["message"]
    assert "short-secret" not in message["message"]


@pytest.mark.parametrize(
    "sent", [Sent(), Sent(headers=(BEARER,)), Sent("OPTIONS", headers=(("access-control-request-method", "PUT"),))]
)
def test_wrong_settings_without_lifespan_refuse_every_request(environment: Any, sent: Sent) -> None:
    """Interface §4: 503, preflights too; the caller learns nothing of the settings."""
    environment.delenv("JWTGATE_SECRET")
    answer = ask_asgi(JWTGateMiddleware(asgi_application), sent)
    assert answer.status == 503
    assert answer.header("retry-after") == "1"
    assert answer.header("www-authenticate") is None
    assert b"SECRET" not in answer.body


def off_asyncio(app: Any, scope: dict[str, Any], sink: Sink) -> None:
    """As another loop, such as trio's, drives it; nothing is waited for."""
    with pytest.raises(StopIteration):
        app(scope, sink.receive, sink.send).send(None)


def test_startup_on_another_loop_than_asyncio_fails_with_the_reason(gate: Gate) -> None:
    """A server on trio does not start; nothing could be waited for there."""
    sink = Sink(incoming=[dict(STARTUP)])
    off_asyncio(JWTGateMiddleware(asgi_application, gate=gate), dict(LIFESPAN), sink)
    assert sink.sent[0]["type"] == "lifespan.startup.failed"
    assert "asyncio" in sink.sent[0]["message"]


def test_requests_on_another_loop_than_asyncio_are_refused(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """Without lifespan: 503 for every one, and one line that says why."""
    app = JWTGateMiddleware(asgi_application, gate=gate)
    for _ in range(2):
        sink = Sink()
        off_asyncio(app, scope_of(Sent(headers=(BEARER,))), sink)
        assert sink.answer.status == 503
    assert sum("asyncio" in record.getMessage() for record in caplog.records) == 1


def test_application_without_lifespan_raises_as_it_would_alone(environment: Any) -> None:
    """The server hears it from the application; the gate is live by then, and stays so."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http", "no lifespan here"
        await asgi_application(scope, receive, send)

    app = JWTGateMiddleware(application)
    with pytest.raises(AssertionError, match="no lifespan here"):
        live(app, STARTUP)
    assert app.gate.status().live
    assert ask_asgi(app, Sent(headers=(BEARER,))).status == 200


def test_failed_startup_of_the_application_is_passed_on_and_closes(environment: Any) -> None:
    """Nothing is served any more: nothing is left running."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    app = JWTGateMiddleware(application)
    assert live(app, STARTUP) == [{"type": "lifespan.startup.failed", "message": "no database"}]
    assert not app.gate.follower.is_started


def test_shutdown_that_raises_closes_the_environments_gate(environment: Any) -> None:
    """The application's own failure passes, and leaks no thread (threat 28)."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        raise OSError("at shutdown")

    app = JWTGateMiddleware(application)
    with pytest.raises(OSError, match="at shutdown"):
        live(app, STARTUP, SHUTDOWN)
    assert not app.gate.follower.is_started


def test_lifespan_state_reaches_the_requests(gate: Gate) -> None:
    """ASGI's ``state`` is handed on, the very same."""
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await asgi_application(scope, receive, send)

    state = {"database": object()}
    ask_asgi(JWTGateMiddleware(application, gate=gate), Sent(headers=(BEARER,)), state=state)
    assert scopes[0]["state"] is state


# --- WebSocket


def handshake(sent: Sent, **more: Any) -> dict[str, Any]:
    """The scope of a handshake."""
    scope = scope_of(sent, type="websocket", scheme="ws", subprotocols=[], **more)
    del scope["method"]
    return scope


def shake(app: Any, scope: dict[str, Any], *incoming: dict[str, Any]) -> list[dict[str, Any]]:
    """Runs a handshake; what was sent."""
    sink = Sink(incoming=[{"type": "websocket.connect"}, *incoming])
    asyncio.run(app(scope, sink.receive, sink.send))
    return sink.sent


async def socket_application(scope: Any, receive: Any, send: Any) -> None:
    """Accepts, tells what it sees, closes."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": seen(scope["jwtgate.token"], scope["user"].identity).decode()})
    await send({"type": "websocket.close", "code": 1000})


def test_websocket_without_token_is_closed_before_accept(gate: Gate) -> None:
    """Interface §4: close code 1008, and never an accept."""
    sent = shake(JWTGateMiddleware(socket_application, gate=gate), handshake(Sent()))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


def test_websocket_is_refused_by_the_http_answer_where_the_server_can(gate: Gate) -> None:
    """The denial response is the very answer that HTTP gets."""
    scope = handshake(Sent(), extensions={"websocket.http.response": {}})
    sent = shake(JWTGateMiddleware(socket_application, gate=gate), scope)
    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert Sink(sent=sent).answer == ask_asgi(JWTGateMiddleware(asgi_application, gate=gate), Sent())


def test_websocket_that_left_already_is_not_answered(gate: Gate) -> None:
    """Servers raise at messages to a client that is gone."""
    sink = Sink(incoming=[{"type": "websocket.disconnect", "code": 1006}])
    asyncio.run(JWTGateMiddleware(socket_application, gate=gate)(handshake(Sent()), sink.receive, sink.send))
    assert sink.sent == []


def test_websocket_with_a_token_is_accepted_by_the_application(gate: Gate) -> None:
    """The handshake reaches the application untouched, with the token in the scope."""
    sent = shake(JWTGateMiddleware(socket_application, gate=gate), handshake(Sent(headers=(BEARER,))))
    assert sent[0]["type"] == "websocket.accept"
    assert json.loads(sent[1]["text"])["identity"] == SUBJECT


@pytest.mark.parametrize(
    ("headers", "is_accepted"),
    [
        ((OURS,), False),
        ((OURS, ("sec-fetch-site", "same-origin")), False),
        ((OURS, ("origin", "https://evil.example")), False),
        ((OURS, ("origin", "null")), False),
        ((OURS, ("origin", "https://app.example")), True),
        ((OURS, ("origin", "https://partner.example")), True),
        ((BEARER, ("origin", "https://evil.example")), True),
    ],
)
def test_websocket_by_cookie_passes_only_from_an_allowed_origin(
    gate: Gate, headers: tuple[tuple[str, str], ...], is_accepted: bool
) -> None:
    """Threat 22: browsers open WebSockets to anybody, with cookies (RFC 6455 §10.2)."""
    sent = shake(JWTGateMiddleware(socket_application, gate=gate), handshake(Sent(headers=headers)))
    assert (sent[0]["type"] == "websocket.accept") is is_accepted


@pytest.mark.parametrize(("origin", "is_accepted"), [(HOST, True), ("partner.example", True), ("evil.example", False)])
def test_websocket_by_cookie_goes_by_origin_under_double_submit(origin: str, is_accepted: bool) -> None:
    """No page can give a handshake a header, so the value neither opens it nor is asked for."""
    app = JWTGateMiddleware(socket_application, gate=gate_of("double-submit"))
    for headers in ((OURS,), (OURS, ("x-csrf-token", PROOF))):
        sent = shake(app, handshake(Sent(headers=(*headers, ("origin", f"https://{origin}")))))
        assert (sent[0]["type"] == "websocket.accept") is is_accepted


def test_websocket_is_never_a_preflight(gate: Gate) -> None:
    """A header of the client's does not open the door."""
    scope = handshake(Sent(headers=(("access-control-request-method", "GET"),)))
    assert shake(JWTGateMiddleware(socket_application, gate=gate), scope)[0]["type"] == "websocket.close"
    assert (
        shake(JWTGateMiddleware(socket_application, gate=gate), {**scope, "method": "OPTIONS"})[0]["type"] == "websocket.close"
    )


def test_websocket_under_wrong_settings_is_refused(environment: Any) -> None:
    """Nothing is let in by a gate that cannot judge."""
    environment.delenv("JWTGATE_SECRET")
    sent = shake(JWTGateMiddleware(socket_application), handshake(Sent(headers=(BEARER,))))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


def test_protocol_that_the_gate_does_not_know_never_reaches_the_application(gate: Gate) -> None:
    """Threat 1: no way in but the one decision. ASGI: an application raises at a scope it does not understand."""
    app = JWTGateMiddleware(asgi_application, gate=gate)
    with pytest.raises(NotImplementedError, match="webtransport"):
        ask_asgi(app, Sent(headers=(BEARER,)), type="webtransport")


# --- what is passed through


@pytest.mark.parametrize(
    "sent", [Sent(headers=(BEARER,)), Sent("OPTIONS", headers=(("access-control-request-method", "PUT"),))]
)
def test_scope_of_the_caller_is_not_changed(gate: Gate, sent: Sent) -> None:
    """ASGI: middleware hands on a copy; what stands above the gate keeps its own scope."""
    scope = scope_of(sent, user="outer")
    before = copy.deepcopy(scope)
    for _ in range(2):
        asyncio.run(send_asgi(JWTGateMiddleware(asgi_application, gate=gate), scope))
        assert scope == before


@pytest.mark.parametrize("error", [ValueError("theirs"), asyncio.CancelledError(), KeyboardInterrupt()])
def test_exception_of_the_application_passes_untouched(gate: Gate, error: BaseException) -> None:
    """Threat 28: the very object, neither wrapped nor answered; our own kind, too."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise error

    async def ask() -> None:
        with pytest.raises(type(error)) as caught:
            await send_asgi(JWTGateMiddleware(application, gate=gate), scope_of(Sent(headers=(BEARER,))))
        assert caught.value is error

    asyncio.run(ask())


def test_refusal_raised_by_the_application_is_not_answered_by_the_gate(gate: Gate) -> None:
    """A handler that calls ``gate.verify`` judges what comes of it."""
    from jwtgate.errors import Expired

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await scope["jwtgate.gate"].aio.verify(tokens()["expired"])

    with pytest.raises(Expired):
        ask_asgi(JWTGateMiddleware(application, gate=gate), Sent(headers=(BEARER,)))


def test_cancelled_request_is_cancelled_while_the_store_is_asked() -> None:
    """Threats 13 and 28: the cancellation comes through at once; the next request is answered; no task is left."""
    import threading

    gate = gate_of()
    let_go = threading.Event()
    asked = threading.Event()
    look_up = gate.store.look_up

    def slow(digests: Any, sids: Any = ()) -> Any:
        asked.set()
        let_go.wait(5)
        return look_up(digests, sids)

    gate.store.look_up = slow  # type: ignore[method-assign]
    gate.start = lambda: None  # type: ignore[method-assign] # without a follower every miss asks the store
    app = JWTGateMiddleware(asgi_application, gate=gate)

    async def run() -> None:
        task = asyncio.create_task(send_asgi(app, scope_of(Sent(headers=(BEARER,)))))
        await asyncio.to_thread(asked.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        let_go.set()
        assert (await send_asgi(app, scope_of(Sent(headers=(BEARER,))))).status == 200
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(run())
    gate.close()


def test_two_event_loops_use_one_gate(gate: Gate) -> None:
    """Threat 28: loops in two threads at once, no deadlock, the right answers."""
    from concurrent.futures import ThreadPoolExecutor

    app = JWTGateMiddleware(asgi_application, gate=gate)

    async def many() -> set[int]:
        scopes = [scope_of(Sent(headers=(BEARER,) if turn % 2 else ())) for turn in range(40)]
        return {answer.status for answer in await asyncio.gather(*(send_asgi(app, scope) for scope in scopes))}

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: asyncio.run(many()), range(4))) == [{200, 401}] * 4


def test_bodies_are_streamed_untouched(gate: Gate) -> None:
    """``receive`` is the server's own, ``send`` hands each message on as it is: nothing is read ahead, kept or copied."""
    handed: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        handed.extend((receive, send))
        await asgi_application(scope, receive, send)

    sink = Sink()
    receive, send = sink.receive, sink.send
    asyncio.run(JWTGateMiddleware(application, gate=gate)(scope_of(Sent(headers=(BEARER,))), receive, send))
    assert handed[0] == receive
    sink.sent.clear()
    messages = [{"type": "http.response.body", "body": b"x"}, {"type": "http.response.trailers", "headers": []}]
    for message in messages:
        asyncio.run(handed[1](message))
    assert all(sent is message for sent, message in zip(sink.sent, messages, strict=True))
    refused = Sink(b"x" * 100)
    asyncio.run(JWTGateMiddleware(application, gate=gate)(scope_of(Sent("POST")), refused.receive, refused.send))
    assert refused.received == 0, "the body of a refused request is not read"


def test_split_cookie_header_is_one_list() -> None:
    """RFC 9113 §8.2.3: HTTP/2 may send each cookie in a line of its own."""
    gate = gate_of("cookie")
    app = JWTGateMiddleware(asgi_application, gate=gate)
    assert ask_asgi(app, Sent(headers=(("cookie", "a=1"), OURS, ("cookie", "b")))).status == 200
    assert ask_asgi(app, Sent(headers=(OURS, ("cookie", "a=1"), OURS))).status == 400
    gate.close()


@pytest.mark.parametrize(
    ("path", "root_path", "is_exempt"),
    [
        ("/health", "", True),
        ("/v1/health", "/v1", True),
        ("/v1/health", "", False),
        ("/v1health", "/v1", False),
        ("/health", "/v1", True),
        ("/v1/health/health", "/v1/health", True),
        ("/health/x", "/health", False),
    ],
)
def test_exempt_path_is_the_one_the_application_routes_on(path: str, root_path: str, is_exempt: bool) -> None:
    """Interface §1: ``path`` less ``root_path`` at a segment boundary, on the hot path as on the long one."""
    gate = gate_of("exempt")
    app = JWTGateMiddleware(asgi_application, gate=gate)
    scope = {"path": path, "raw_path": None, "root_path": root_path}
    assert ask_asgi(app, Sent(), **scope).status == (200 if is_exempt else 401)
    for _ in range(2):
        answer = ask_asgi(app, Sent(headers=(BEARER,)), **scope)
        assert (json.loads(answer.body)["token"] is None) is is_exempt
    gate.close()


# --- frameworks


@requires("read")
async def read(request: Any) -> JSONResponse:
    """Needs a scope that ``good`` has."""
    return JSONResponse({"user": request.user.display_name, "scopes": request.auth.scopes})


@requires("admin", status_code=404)
async def administer(request: Any) -> None:
    """Needs a scope that nobody has."""


async def claims(request: Any) -> JSONResponse:
    """The claims, as they are."""
    return JSONResponse(request.scope["jwtgate.token"].claims)


async def stream(request: Any) -> StreamingResponse:
    """Two pieces, then the end."""

    async def pieces() -> Any:
        yield b"one"
        yield b"two"

    return StreamingResponse(pieces())


@requires("read")
async def talk(websocket: Any) -> None:
    """Greets whoever connects."""
    await websocket.accept()
    await websocket.send_text(websocket.user.identity)
    await websocket.close()


ROUTES = [
    Route("/read", read),
    Route("/admin", administer),
    Route("/claims", claims),
    Route("/stream", stream),
    WebSocketRoute("/talk", talk),
]


def test_starlette_finds_its_user_and_scopes(gate: Gate) -> None:
    """Interface §1: ``request.user``, ``request.auth`` and ``@requires``, over HTTP and WebSocket."""
    with TestClient(JWTGateMiddleware(Starlette(routes=ROUTES), gate=gate), headers=GOOD) as client:
        assert client.get("/read").json() == {"user": SUBJECT, "scopes": ["read", "write"]}
        assert client.get("/admin").status_code == 404
        assert client.get("/claims").json()["sub"] == SUBJECT
        assert client.get("/stream").content == b"onetwo"
        with client.websocket_connect("/talk") as socket:
            assert socket.receive_text() == SUBJECT
        client.headers.clear()
        assert client.get("/read").status_code == 401
        with pytest.raises(Exception) as caught, client.websocket_connect("/talk"):
            pass
        assert isinstance(caught.value, WebSocketDisconnect) or caught.value.status_code == 401  # type: ignore[attr-defined]


def test_anonymous_request_has_starlettes_shapes() -> None:
    """``is_authenticated`` False, empty names, no scopes; a token without ``sub`` is authenticated, with identity ``""``."""
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    gate = gate_of("optional")
    app = JWTGateMiddleware(application, gate=gate)
    for headers in ((), (("authorization", "Bearer {nobody}"),), (BEARER,)):
        sink = Sink()
        asyncio.run(app(scope_of(Sent(headers=headers)), sink.receive, sink.send))
    gate.close()
    assert [(each["user"].is_authenticated, each["user"].identity, each["auth"].scopes) for each in scopes] == [
        (False, "", []),
        (True, "", []),
        (True, SUBJECT, ["read", "write"]),
    ]
    for each in scopes:
        assert isinstance(each["user"], BaseUser) and isinstance(each["auth"], AuthCredentials)
        assert each["user"].display_name == each["user"].identity


def test_one_request_cannot_change_what_another_sees(gate: Gate) -> None:
    """Threat 12: user, credentials and scopes are shared by all requests with the token, and immutable."""
    scopes: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        scope["jwtgate.token"] = scope["user"] = None

    app = JWTGateMiddleware(application, gate=gate)
    for _ in range(3):
        sink = Sink()
        asyncio.run(app(scope_of(Sent(headers=(BEARER,))), sink.receive, sink.send))
    auth = scopes[0]["auth"]
    user = _user_of(gate)
    for change in (
        lambda: setattr(user, "is_admin", True),
        lambda: setattr(user, "_identity", "root"),
        lambda: delattr(user, "_identity"),
        lambda: setattr(auth, "scopes", ["admin"]),
        lambda: delattr(auth, "scopes"),
        lambda: auth.scopes.append("admin"),
        lambda: auth.scopes.__setitem__(0, "admin"),
        lambda: auth.scopes.__iadd__(["admin"]),
    ):
        with pytest.raises(TypeError):
            change()
    assert auth.scopes == ["read", "write"]
    assert _user_of(gate).identity == SUBJECT


def _user_of(gate: Gate) -> Any:
    users: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        users.append(scope["user"])

    sink = Sink()
    asyncio.run(JWTGateMiddleware(application, gate=gate)(scope_of(Sent(headers=(BEARER,))), sink.receive, sink.send))
    return users[0]


def test_fastapi_adds_the_middleware(environment: Any) -> None:
    """Interface §1: ``app.add_middleware(JWTGateMiddleware)``; claims can be returned as they are."""
    app = FastAPI()
    app.add_middleware(JWTGateMiddleware)

    @app.get("/me")
    async def me(request: Request) -> Any:
        token = request.scope["jwtgate.token"]
        return {"claims": token.claims, "user": request.user.identity, "live": (await token_gate(request).status()).live}

    def token_gate(request: Request) -> Any:
        return request.scope["jwtgate.gate"].aio

    with TestClient(app) as client:
        assert client.get("/me").status_code == 401
        for _ in range(2):
            told = client.get("/me", headers=GOOD).json()
            assert told["claims"] | {"exp": 0} == {
                "sub": SUBJECT,
                "jti": "good",
                "scope": "read write",
                "csrf": PROOF,
                "exp": 0,
            }
            assert told["user"] == SUBJECT and told["live"]
        assert client.get("/nowhere", headers=GOOD).status_code == 404


def test_fastapi_with_wrong_settings_does_not_start(environment: Any) -> None:
    """The lifespan fails with the text, before the first request."""
    environment.delenv("JWTGATE_SECRET")
    app = FastAPI()
    app.add_middleware(JWTGateMiddleware)
    assert [message["type"] for message in live(app, STARTUP)] == ["lifespan.startup.failed"]


def test_mounted_application_is_exempt_by_its_own_paths() -> None:
    """The gate inside a mount sees the path that the mounted application routes on."""

    async def health(request: Any) -> PlainTextResponse:
        return PlainTextResponse("up")

    gate = gate_of("exempt")
    inner = JWTGateMiddleware(Starlette(routes=[Route("/health", health), Route("/x", health)]), gate=gate)
    client = TestClient(Starlette(routes=[Mount("/api", inner), Route("/health", health)]))
    assert client.get("/api/health").text == "up"
    assert client.get("/api/x").status_code == 401
    assert client.get("/api/x", headers=GOOD).text == "up"
    gate.close()


def test_uvicorn_takes_it_for_asgi_3(gate: Gate) -> None:
    """Interface detection: an instance whose ``__call__`` is a coroutine function."""
    config = uvicorn.Config(JWTGateMiddleware(asgi_application, gate=gate), interface="auto", log_config=None)
    config.load()
    assert config.interface == "asgi3"


def test_store_that_fails_gives_503(gate: Gate) -> None:
    """Interface §4: the store's fault is never the client's: no challenge, and when to come back."""
    gate = gate_of()
    gate.start = lambda: None  # type: ignore[method-assign]
    assert isinstance(gate.store, MemoryStore)

    def fails(digests: Any, sids: Any = ()) -> Any:
        from jwtgate.errors import StoreUnavailable

        raise StoreUnavailable("gone")

    gate.store.look_up = fails  # type: ignore[method-assign]
    answer = ask_asgi(JWTGateMiddleware(asgi_application, gate=gate), Sent(headers=(BEARER,)))
    assert (answer.status, answer.header("retry-after"), answer.header("www-authenticate")) == (503, "1", None)
    gate.close()
