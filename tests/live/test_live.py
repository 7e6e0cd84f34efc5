"""WebSockets and streams end when their token does, and nothing passes over them once it has."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from jwtgate import testing
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.channel import live as live_channel
from jwtgate.channel.ending import ConnectionEnded
from jwtgate.core.followed import Followed
from jwtgate.core.history import LogEnd
from jwtgate.core.live import LiveConnection
from jwtgate.core.rulings import Ruling
from jwtgate.runtime import nonblocking

CLOSED = {"type": "websocket.close", "code": 4401, "reason": "invalid_token"}
ENDED = {"type": "http.response.body", "body": b"", "more_body": False}
TURNS = 50
"""Of the loop: more than anything here takes to be carried out."""


@pytest.fixture
def gate() -> Iterator[testing.FixtureGate]:
    """Live, on a clock that stands still."""
    with testing.gate(locations=("header", "cookie", "subprotocol"), handles=("tenant",), version_claim="ver") as gate:
        yield gate


@dataclass
class Client:
    """The server's side of one connection, and who is at the other end."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    incoming: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)

    async def receive(self) -> dict[str, Any]:
        return await self.incoming.get()

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def says(self, *texts: str) -> None:
        for text in texts:
            self.incoming.put_nowait({"type": "websocket.receive", "text": text})

    @property
    def heard(self) -> list[str]:
        """What the application has said."""
        return [message["text"] for message in self.sent if message["type"] == "websocket.send"]

    @property
    def last(self) -> dict[str, Any]:
        return self.sent[-1]


def scope_of(kind: str, token: str | None, path: str = "/", **more: Any) -> dict[str, Any]:
    headers = [(b"host", b"app.example")]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    return {
        "type": kind, "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": "GET",
        "scheme": "ws", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": headers, "client": ("127.0.0.1", 1), "server": ("app.example", 80), "subprotocols": [], **more,
    }  # fmt: skip


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Says back what it hears, until the disconnect, which it notes."""
    scope["heard"] = []
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        else:
            await send({"type": "websocket.send", "text": message["text"]})
    await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    """A look-up has its thread; five seconds are for a machine with other work."""
    for _ in range(5000):
        await settle()
        if condition():
            return
        await asyncio.sleep(0.001)


@dataclass
class Open:
    """A connection that an application serves."""

    client: Client
    task: asyncio.Task[None]

    async def talks(self) -> bool:
        """Whether what is said comes back."""
        before = len(self.client.heard)
        self.client.says("still there?")
        await until(lambda: len(self.client.heard) > before or self.task.done())
        return len(self.client.heard) == before + 1

    async def end(self) -> dict[str, Any]:
        """What the server was told last, once the application is done or the client heard the last of it."""
        await until(lambda: self.task.done() or self.client.last in (CLOSED, ENDED))
        return self.client.last


async def connect(gate: Any, token: str | None, app: Any = echo, **more: Any) -> Open:
    """Accepted, unless it is refused."""
    client = Client()
    client.incoming.put_nowait({"type": "websocket.connect"})
    scope = scope_of("websocket", token, **more)
    task = asyncio.ensure_future(JWTGateMiddleware(app, gate=gate)(scope, client.receive, client.send))
    await settle()
    return Open(client, task)


Story = Callable[[Any], Awaitable[None]]


def in_loop(story: Story) -> Callable[[Any], None]:
    """A test that is a coroutine function."""

    def run(gate: Any) -> None:
        asyncio.run(asyncio.wait_for(story(gate), 30))

    run.__doc__ = story.__doc__
    run.__name__ = story.__name__
    return run


# --- what ends them


WAYS: dict[str, Callable[[Any, Any, Any], Awaitable[object]]] = {
    "token": lambda gate, token, _: gate.aio.revoke(token=token),
    "jti": lambda gate, _, claims: gate.aio.revoke(jti=claims["jti"]),
    "sid": lambda gate, _, claims: gate.aio.revoke(sid=claims["sid"]),
    "sub": lambda gate, _, __: gate.aio.revoke(sub="alice", wait=True),
    "access only": lambda gate, _, __: gate.aio.revoke(sub="alice", access_only=True),
    "tenant": lambda gate, _, __: gate.aio.revoke(claim=("tenant", "acme")),
    "everything": lambda gate, _, __: gate.aio.revoke(everything=True),
    "suspended": lambda gate, _, __: gate.aio.suspend("alice"),
    "version": lambda gate, _, __: gate.aio.require_version("alice", 8),
    "logout": lambda gate, _, claims: gate.aio.sessions.end(claims["sid"]),
    "logout everywhere": lambda gate, _, __: gate.aio.sessions.end_all("alice", wait=True),
}


def login(gate: Any) -> tuple[str, Any]:
    pair = gate.sessions.start("alice", claims={"tenant": "acme", "ver": 7})
    return pair.access_token, gate.verify(pair.access_token).claims


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_throw_somebody_out_closes_an_idle_socket(gate: Any, way: str) -> None:
    """With 4401, and the application hears of a disconnect; that of somebody else goes on."""

    async def story() -> None:
        token, claims = login(gate)
        alices = await connect(gate, token)
        bobs = await connect(gate, gate.token_for("bob", claims={"tenant": "other", "ver": 9}))
        assert await alices.talks() and await bobs.talks()
        await WAYS[way](gate, token, claims)
        assert await alices.end() == CLOSED
        assert alices.task.done() and alices.task.exception() is None
        assert await bobs.talks() is (way != "everything")

    asyncio.run(story())


@in_loop
async def test_expiry_closes_an_idle_socket(gate: Any) -> None:
    """At its ``exp``, not a second before."""
    socket = await connect(gate, gate.token_for("alice", ttl=60))
    gate.clock.advance(59.5)
    await settle()
    assert await socket.talks()
    gate.clock.advance(0.5)
    assert await socket.end() == CLOSED


@in_loop
async def test_session_that_expires_closes_its_socket(gate: Any) -> None:
    """Nobody refreshed it."""
    socket = await connect(gate, gate.sessions.start("alice").access_token)
    gate.clock.advance(900)
    assert await socket.end() == CLOSED


@in_loop
async def test_nothing_passes_after_the_ruling_even_if_nobody_had_a_turn(gate: Any) -> None:
    """The application throws somebody out and speaks on: the message is not sent, and what comes in is not heard."""

    async def talkative(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        await receive()
        gate.revoke(sub="alice")
        with pytest.raises(OSError):
            await send({"type": "websocket.send", "text": "secret"})
        assert await receive() == {"type": "websocket.disconnect", "code": 4401, "reason": ""}

    socket = await connect(gate, gate.token_for("alice"), talkative)
    socket.client.says("go", "more")
    await settle()
    socket.task.result()
    assert socket.client.heard == [] and socket.client.last == CLOSED


@in_loop
async def test_message_of_a_client_that_was_thrown_out_is_not_heard(gate: Any) -> None:
    """It lay in the server's queue when the ruling came."""
    heard: list[str] = []

    async def listening(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] != "websocket.disconnect":
            if message["type"] == "websocket.receive":
                heard.append(message["text"])
                gate.revoke(sub="alice")

    socket = await connect(gate, gate.token_for("alice"), listening)
    socket.client.says("one", "two")
    await settle()
    assert heard == ["one"] and socket.client.last == CLOSED


@in_loop
async def test_a_socket_that_was_not_accepted_yet_is_closed(gate: Any) -> None:
    """The server makes a 403 of it."""

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    socket = await connect(gate, gate.token_for("alice"), slow)
    gate.revoke(sub="alice")
    await settle()
    assert socket.client.sent == [CLOSED]


@in_loop
async def test_a_thousand_sockets_end_at_once_and_nothing_is_left(gate: Any) -> None:
    """Every one, and the lists are empty."""
    tokens = [gate.token_for(f"user-{number}") for number in range(50)]
    sockets = [await connect(gate, token) for token in tokens for _ in range(20)]
    assert len(gate.view.live) == 1000
    gate.revoke(everything=True)
    for _ in range(200):
        await settle()
    assert all(socket.client.last == CLOSED and socket.task.done() for socket in sockets)
    assert len(gate.view.live) == 0 and not gate.view.live._index
    assert gate.tally.ended == {"revoked": 1000}


@in_loop
async def test_client_that_leaves_is_forgotten(gate: Any) -> None:
    """And what is ruled later concerns nobody."""
    socket = await connect(gate, gate.token_for("alice"))
    socket.client.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await socket.task
    assert len(gate.view.live) == 0 and not gate.view.live._index
    gate.revoke(sub="alice")
    await settle()
    assert socket.client.last["type"] == "websocket.accept"


@in_loop
async def test_application_that_is_cancelled_by_its_server_is_cancelled(gate: Any) -> None:
    """That is no disconnect of ours."""
    socket = await connect(gate, gate.token_for("alice"))
    socket.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await socket.task
    assert len(gate.view.live) == 0


@in_loop
async def test_application_that_cannot_stop_talking_ends_quietly(gate: Any) -> None:
    """What it is told is an ``OSError``; where it lets that out, the server is not told of a fault."""

    async def broadcasting(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            await send({"type": "websocket.send", "text": "tick"})
            await asyncio.sleep(0)

    socket = await connect(gate, gate.token_for("alice"), broadcasting)
    assert len(socket.client.heard) > 10
    gate.revoke(sub="alice")
    said = len(socket.client.heard)
    await settle()
    assert socket.task.done() and socket.task.exception() is None
    assert len(socket.client.heard) == said and socket.client.last == CLOSED


@in_loop
async def test_every_task_that_listens_hears_of_the_end(gate: Any) -> None:
    """An application may have several; and whoever was cancelled for it is not cancelled any more."""
    heard: list[Any] = []

    async def listening(scope: Any, receive: Any, send: Any) -> None:
        async def listen() -> None:
            heard.append(await receive())
            task = asyncio.current_task()
            assert task is not None and task.cancelling() == 0

        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.gather(listen(), listen(), listen())

    socket = await connect(gate, gate.token_for("alice"), listening)
    socket.client.says("one of them")
    await settle()
    gate.revoke(sub="alice")
    await until(socket.task.done)
    socket.task.result()
    assert [message["type"] for message in heard] == ["websocket.receive", *2 * ["websocket.disconnect"]]


@in_loop
async def test_application_hears_our_close_code_whatever_the_server_says(gate: Any) -> None:
    """A server that hears the client's close first tells it in a code of its own; whoever listens is told of ours."""
    codes: list[int] = []

    async def listening(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        codes.append((await receive())["code"])

    class Prompt(Client):
        async def send(self, message: dict[str, Any]) -> None:
            await super().send(message)
            if message["type"] == "websocket.close":
                self.incoming.put_nowait({"type": "websocket.disconnect", "code": 1005})
                await settle()

    client = Prompt()
    client.incoming.put_nowait({"type": "websocket.connect"})
    scope = scope_of("websocket", gate.token_for("alice"))
    task = asyncio.ensure_future(JWTGateMiddleware(listening, gate=gate)(scope, client.receive, client.send))
    await settle()
    gate.revoke(sub="alice")
    await until(task.done)
    assert codes == [4401]


def test_server_that_says_nothing_while_somebody_listens_says_the_close_at_once(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener is told, and the close frame waits for no farewell."""
    monkeypatch.setattr(live_channel, "FAREWELL_SECONDS", 60.0)
    line = asyncio.Lock()

    class Exclusive(Client):
        async def receive(self) -> dict[str, Any]:
            async with line:
                return await super().receive()

        async def send(self, message: dict[str, Any]) -> None:
            async with line:
                await super().send(message)

    async def story() -> None:
        client = Exclusive()
        client.incoming.put_nowait({"type": "websocket.connect"})
        scope = scope_of("websocket", gate.token_for("alice"))
        task = asyncio.ensure_future(JWTGateMiddleware(echo, gate=gate)(scope, client.receive, client.send))
        await settle()
        gate.revoke(sub="alice")
        assert await Open(client, task).end() == CLOSED

    asyncio.run(story())


# --- a session that goes on


@in_loop
async def test_rotation_keeps_the_socket(gate: Any) -> None:
    """The access token that it was opened with has expired; the session has a newer one."""
    pair = gate.sessions.start("alice")
    socket = await connect(gate, pair.access_token)
    for _ in range(4):
        gate.clock.advance(600)
        pair = gate.sessions.refresh(pair.refresh_token)
        await settle()
        assert await socket.talks()
    gate.clock.advance(899)
    await settle()
    assert await socket.talks()
    gate.clock.advance(1)
    assert await socket.end() == CLOSED


@pytest.mark.parametrize(
    "way", ["sid", "sub", "access only", "tenant", "suspended", "logout", "logout everywhere", "everything"]
)
def test_socket_of_a_session_that_went_on_ends_with_it(gate: Any, way: str) -> None:
    """Whatever is ruled on the old token's handles counts, though it has expired."""

    async def story() -> None:
        pair = gate.sessions.start("alice", claims={"tenant": "acme"})
        claims = gate.verify(pair.access_token).claims
        socket = await connect(gate, pair.access_token)
        gate.clock.advance(600)
        gate.sessions.refresh(pair.refresh_token)
        gate.clock.advance(400)
        assert await socket.talks()
        await WAYS[way](gate, pair.access_token, claims)
        assert await socket.end() == CLOSED

    asyncio.run(story())


def test_token_that_is_replaced_keeps_its_socket_and_its_session_ends_it() -> None:
    """``ROTATE_AFTER``: each response of a request brings another token, and the old ``jti`` is dead."""

    async def story(gate: Any) -> None:
        token = gate.sessions.start("alice").access_token
        socket = await connect(gate, token)
        client = Client()
        middleware = JWTGateMiddleware(plain, gate=gate)
        await middleware(scope_of("http", token), client.receive, client.send)
        renewed = dict(client.sent[0]["headers"])[b"x-access-token"].decode()
        await settle()
        client = Client()
        await middleware(scope_of("http", token), client.receive, client.send)
        assert client.sent[0]["status"] == 401
        assert await socket.talks()
        gate.sessions.end(gate.verify(renewed).session_id)
        assert await socket.end() == CLOSED

    with testing.gate(rotate_after=1) as gate:
        asyncio.run(story(gate))


async def replaced(gate: Any, token: str) -> str:
    """Makes a request whose response brings another token (``ROTATE_AFTER=1``)."""
    client = Client()
    await JWTGateMiddleware(plain, gate=gate)(scope_of("http", token), client.receive, client.send)
    return dict(client.sent[0]["headers"])[b"x-access-token"].decode()


@pytest.mark.parametrize("is_replaced", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_replacing_tokens_shields_no_socket_from_a_ruling(way: str, is_replaced: bool) -> None:
    """``ROTATE_AFTER``: only what took the token's place is forgiven, and what is ruled on the token itself is not."""

    async def story(gate: Any) -> None:
        token, claims = login(gate)
        socket = await connect(gate, token)
        if is_replaced:
            await replaced(gate, token)
            await settle()
        assert await socket.talks()
        await WAYS[way](gate, token, claims)
        assert await socket.end() == CLOSED

    with testing.gate(rotate_after=1, handles=("tenant",), version_claim="ver") as gate:
        asyncio.run(story(gate))


def test_replaced_token_that_expires_keeps_its_socket_while_its_session_is_renewed() -> None:
    """``ROTATE_AFTER`` and a refresh, one after the other."""

    async def story(gate: Any) -> None:
        pair = gate.sessions.start("alice")
        socket = await connect(gate, pair.access_token)
        await replaced(gate, pair.access_token)
        gate.clock.advance(600)
        gate.sessions.refresh(pair.refresh_token)
        gate.clock.advance(400)
        assert await socket.talks()
        gate.clock.advance(500)
        assert await socket.end() == CLOSED

    with testing.gate(rotate_after=1) as gate:
        asyncio.run(story(gate))


def test_ruling_that_is_known_closes_a_socket_while_the_store_is_away() -> None:
    """R1, though a session might go on and nobody can be asked."""

    async def story(gate: Any) -> None:
        socket = await connect(gate, login(gate)[0])
        gate.follower.lapse()
        written: list[Any] = []
        learn = gate.view.learn

        def learn_while_away(*told: Any) -> None:
            gate.faults.fail()
            written.append(learn(*told))

        gate.view.learn = learn_while_away
        gate.suspend("alice")
        assert written and await socket.end() == CLOSED

    with testing.gate(rotate_after=1, handles=("tenant",), version_claim="ver") as gate:
        asyncio.run(story(gate))


# --- a store that is away


@in_loop
async def test_outage_keeps_what_is_silent_and_lets_nothing_pass(gate: Any) -> None:
    """A lease after the store went nobody can know; 1013 says so, and no 4401."""
    silent, talking = [await connect(gate, gate.token_for(name)) for name in ("alice", "bob")]
    with gate.faults.fail():
        talking.client.says("hello?")
        await settle()
        assert talking.client.last == {"type": "websocket.close", "code": 1013, "reason": "temporarily_unavailable"}
        assert talking.client.heard == []
    await settle()
    assert await silent.talks()


@in_loop
async def test_ruling_during_an_outage_closes_once_it_is_heard_of(gate: Any) -> None:
    """Somebody else revoked while this process was cut off."""
    socket = await connect(gate, gate.token_for("alice"))
    gate.follower.lapse()
    gate.revoke(sub="alice")
    assert await socket.end() == CLOSED


@in_loop
async def test_what_the_store_would_not_say_of_a_ruling_it_is_asked_again(gate: Any) -> None:
    """The view is trusted the next moment, and nothing is ruled on again that would wake it."""
    socket = await connect(gate, gate.token_for("alice"))
    gate.follower.lapse()
    gate.store.is_failing = True
    gate.view.forget_admitted()
    followed, ruling = Followed(gate.view), Ruling(cut_at=2e9, until=2e9).encode()
    await until(lambda: gate.health.is_down() and not gate.lines.own()._tasks)
    gate.view.rulings[gate.decision.rules.policies[None].everything] = ruling
    gate.store.is_failing = False
    assert socket.client.last["type"] == "websocket.accept"
    followed.grant(gate.clock.boot())
    assert await socket.end() == CLOSED


@in_loop
async def test_message_after_the_gate_was_closed_has_it_follow_again(gate: Any) -> None:
    """As any next use of it: else nobody would hear of what is ruled on who is silent from then on."""
    silent, talking = [await connect(gate, gate.token_for(name)) for name in ("alice", "bob")]
    gate.close()
    assert not gate.follower.is_started
    assert await talking.talks() and gate.follower.is_started
    gate.revoke(sub="alice")
    assert await silent.end() == CLOSED


def test_grace_carries_messages_too() -> None:
    """``ON_STORE_DOWN=cached``: what was admitted goes on for ``GRACE`` seconds."""

    async def story(gate: Any) -> None:
        socket = await connect(gate, gate.token_for("alice"))
        with gate.faults.fail():
            assert await socket.talks()
            gate.clock.advance(31)
            socket.client.says("hello?")
            await settle()
            assert socket.client.last["code"] == 1013

    with testing.gate(on_store_down="cached", grace=30) as gate:
        asyncio.run(story(gate))


# --- streams


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"whole"})


def ticking(parts: asyncio.Event, seen: list[BaseException]) -> Any:
    """Server-sent events, one each time that ``parts`` is set."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
                await parts.wait()
                parts.clear()
        except BaseException as error:
            seen.append(error)
            raise

    return app


async def endless(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"1", "more_body": True})
    await asyncio.Event().wait()


async def stream(gate: Any, token: str | None, app: Any, **more: Any) -> Open:
    client = Client()
    task = asyncio.ensure_future(
        JWTGateMiddleware(app, gate=gate)(scope_of("http", token, **more), client.receive, client.send)
    )
    await settle()
    return Open(client, task)


@in_loop
async def test_idle_stream_ends_and_its_application_hears_of_it(gate: Any) -> None:
    """The response is whole to the client; the next part finds a connection that is gone."""
    parts, seen = asyncio.Event(), []
    response = await stream(gate, gate.token_for("alice"), ticking(parts, seen))
    assert response.client.last["more_body"]
    gate.revoke(sub="alice")
    assert await response.end() == ENDED
    parts.set()
    await settle()
    assert [type(error) for error in seen] == [ConnectionEnded] and isinstance(seen[0], OSError)
    assert response.task.done() and response.task.exception() is None
    assert response.client.last == ENDED and len(gate.view.live) == 0


@in_loop
async def test_part_that_comes_after_the_ruling_is_not_sent(gate: Any) -> None:
    """Though nobody had a turn to end the stream."""
    parts, seen = asyncio.Event(), []
    response = await stream(gate, gate.token_for("alice"), ticking(parts, seen))
    sent = len(response.client.sent)
    parts.set()
    gate.revoke(sub="alice")
    await settle()
    assert response.client.sent[sent:] == [ENDED]


@in_loop
async def test_hit_streams_as_well(gate: Any) -> None:
    """The second request of a token goes the short way, and its stream ends like any other."""
    with testing.gate() as own:
        token = own.token_for("alice")
        client = Client()
        await JWTGateMiddleware(plain, gate=own)(scope_of("http", token), client.receive, client.send)
        before = own.tally.hits
        response = await stream(own, token, ticking(asyncio.Event(), []))
        assert own.tally.hits > before
        own.revoke(sub="alice")
        assert await response.end() == ENDED
        response.task.cancel()


@in_loop
async def test_whole_response_is_left_alone(gate: Any) -> None:
    """Nothing is listed for it, also while the request is under way."""
    client = Client()
    listed: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gate.revoke(sub="alice")
        listed.append(len(gate.view.live))
        await send({"type": "http.response.body", "body": b"whole"})

    await JWTGateMiddleware(app, gate=gate)(scope_of("http", gate.token_for("alice")), client.receive, client.send)
    assert listed == [0] and client.last == {"type": "http.response.body", "body": b"whole"}


@pytest.mark.parametrize("left", [None, "Bearer {bob}"])
def test_stream_whose_application_takes_the_token_out_of_the_headers_ends(gate: Any, left: str | None) -> None:
    """They are the server's; whose token there is then was never admitted to it."""

    async def story() -> None:
        bob, parts, seen = gate.token_for("bob"), asyncio.Event(), []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope["headers"].pop()
            if left is not None:
                scope["headers"].append((b"authorization", left.format(bob=bob).encode()))
            await ticking(parts, seen)(scope, receive, send)

        response = await stream(gate, gate.token_for("alice"), app)
        assert await response.end() == ENDED
        assert [message["type"] for message in response.client.sent] == ["http.response.start", "http.response.body"]

    asyncio.run(story())


@in_loop
async def test_response_whose_length_was_said_is_broken_off_and_never_ended_as_if_it_were_whole(gate: Any) -> None:
    """A server that is told of the end of one that is too short raises, and some lose the connection from their sight."""
    for method, ends in (("GET", False), ("HEAD", True)):
        parts, seen = asyncio.Event(), []

        async def app(scope: Any, receive: Any, send: Any, parts: Any = parts, seen: Any = seen) -> None:
            async def measured(message: Any) -> None:
                more = {"headers": [(b"Content-Length", b"99")]} if message["type"] == "http.response.start" else {}
                await send({**message, **more})

            await ticking(parts, seen)(scope, receive, measured)

        response = await stream(gate, gate.token_for("alice"), app, method=method)
        sent = len(response.client.sent)
        gate.revoke(sub="alice")
        await settle()
        assert response.client.sent[sent:] == ([ENDED] if ends else [])
        parts.set()
        await settle()
        assert response.task.done() and response.task.exception() is None
        assert [type(error) for error in seen] == [ConnectionEnded]
        assert response.client.sent[sent:] == ([ENDED] if ends else []) and len(gate.view.live) == 0


@in_loop
async def test_response_that_promised_trailers_is_ended_by_some(gate: Any) -> None:
    """Else the server waits for them: neither the client nor the application hears of the end (ASGI, HTTP Trailers)."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def promising(message: Any) -> None:
            await send({**message, "trailers": True} if message["type"] == "http.response.start" else message)

        await endless(scope, receive, promising)

    response = await stream(gate, gate.token_for("alice"), app)
    gate.revoke(sub="alice")
    await settle()
    trailers = {"type": "http.response.trailers", "headers": [], "more_trailers": False}
    assert response.client.sent[-2:] == [ENDED, trailers]
    response.task.cancel()


@in_loop
async def test_stream_that_ends_by_itself_is_forgotten(gate: Any) -> None:
    """Also one whose application fails."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"1", "more_body": True})
        assert len(gate.view.live) == 1
        raise RuntimeError("a fault of the application")

    response = await stream(gate, gate.token_for("alice"), app)
    with pytest.raises(RuntimeError, match="a fault of the application"):
        await response.task
    assert len(gate.view.live) == 0


@in_loop
async def test_server_is_told_of_no_fault_where_an_application_says_the_end_in_other_words(gate: Any) -> None:
    """In a group of a task group, or as the disconnect of a framework; a fault of its own is one."""

    class ClientDisconnect(Exception):
        """As Starlette's."""

    def saying(words: Callable[[Exception], Exception]) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept"})
            else:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                while True:
                    await send({"type": "http.response.body", "body": b"1", "more_body": True})
                    await asyncio.sleep(0)
            except OSError as error:
                raise words(error)  # noqa: B904 - as many do

        return app

    def group(error: Exception) -> Exception:
        return ExceptionGroup("unhandled errors in a TaskGroup", [error, ExceptionGroup("inner", [error])])

    told: tuple[tuple[Any, type[Exception] | None], ...] = (
        (group, None),
        (lambda _: ClientDisconnect(), None),
        (lambda error: ExceptionGroup("a fault beside it", [error, KeyError("a")]), ExceptionGroup),
        (lambda _: KeyError("a"), KeyError),
    )
    for words, fault in told:
        for opened in (connect, stream):
            response = await opened(gate, gate.token_for("alice"), saying(words))
            gate.revoke(sub="alice")
            await until(response.task.done)
            raised = response.task.exception()
            assert raised is None if fault is None else isinstance(raised, fault)


# --- clients that do not read


@dataclass
class Full(Client):
    """A server whose buffer is full once the application has said a message: whoever says more waits."""

    words: type[Exception] | None = None
    space: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, message: dict[str, Any]) -> None:
        if self.sent and self.last.get("more_body", self.last["type"] == "websocket.send"):
            await self.space.wait()
            if self.words is not None and message["type"] != "websocket.close":
                raise self.words("after the close")
        await super().send(message)


async def pushing(gate: Any, client: Full, scope: Any, seen: list[BaseException]) -> Open:
    """An application that says more than its client reads."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            message = {"type": "websocket.send", "text": "x"}
        else:
            length = [(b"content-length", b"9")] if scope["path"] == "/measured" else []
            await send({"type": "http.response.start", "status": 200, "headers": length})
            message = {"type": "http.response.body", "body": b"x", "more_body": True}
        try:
            while True:
                await send(message)
        except BaseException as error:
            seen.append(error)
            raise

    client.incoming.put_nowait({"type": "websocket.connect"})
    task = asyncio.ensure_future(JWTGateMiddleware(app, gate=gate)(scope, client.receive, client.send))
    await settle()
    return Open(client, task)


@pytest.mark.parametrize(("kind", "path"), [("websocket", "/"), ("http", "/"), ("http", "/measured")])
def test_client_that_reads_nothing_keeps_no_application(
    gate: Any, monkeypatch: pytest.MonkeyPatch, kind: str, path: str
) -> None:
    """It waits in ``send``, for as long as a client likes that was thrown out; nor does the goodbye wait so long."""
    monkeypatch.setattr(live_channel, "FAREWELL_SECONDS", 0.01)

    async def story() -> None:
        seen: list[BaseException] = []
        open_ = await pushing(gate, Full(), scope_of(kind, gate.token_for("alice"), path), seen)
        assert not open_.task.done()
        gate.revoke(sub="alice")
        await until(open_.task.done)
        open_.task.result()
        assert [type(error) for error in seen] == [ConnectionEnded]
        await settle()
        assert len(gate.view.live) == 0 and len(asyncio.all_tasks()) == 1

    asyncio.run(story())


@in_loop
async def test_server_that_refuses_what_waited_behind_the_close_is_of_the_end(gate: Any) -> None:
    """Uvicorn has a ``RuntimeError`` for it, which is no fault of the application."""
    client, seen = Full(words=RuntimeError), []
    open_ = await pushing(gate, client, scope_of("websocket", gate.token_for("alice")), seen)
    gate.revoke(sub="alice")
    await settle()
    client.space.set()
    await until(open_.task.done)
    open_.task.result()
    assert [type(error) for error in seen] == [ConnectionEnded] and client.last == CLOSED


@in_loop
async def test_application_that_is_cancelled_while_it_sends_is_cancelled(gate: Any) -> None:
    """By itself or by its server, also where its connection ends at that very moment."""
    seen: list[BaseException] = []
    open_ = await pushing(gate, Full(), scope_of("websocket", gate.token_for("alice")), seen)
    gate.revoke(sub="alice")
    open_.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await open_.task
    assert [type(error) for error in seen] == [asyncio.CancelledError]


@pytest.mark.parametrize("path", ["/", "/measured"])
@pytest.mark.parametrize("words", [None, RuntimeError])
def test_server_that_takes_being_told_for_its_own_leaves_nothing_of_it(
    gate: Any, path: str, words: type[Exception] | None
) -> None:
    """Its task counts as cancelled no longer: else whatever limits the application's time would fail in other words."""

    class Deaf(Client):
        async def send(self, message: dict[str, Any]) -> None:
            try:
                await asyncio.sleep(60 if self.sent and message.get("body") else 0)
            except asyncio.CancelledError:
                if words is not None:
                    raise words from None
            await super().send(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        length = [(b"content-length", b"9")] if path == "/measured" else []
        await send({"type": "http.response.start", "status": 200, "headers": length})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        finally:
            scope["left"].append(asyncio.current_task().cancelling())  # type: ignore[union-attr]

    async def story() -> None:
        client, scope = Deaf(), scope_of("http", gate.token_for("alice"), path, left=[])
        task = asyncio.ensure_future(JWTGateMiddleware(app, gate=gate)(scope, client.receive, client.send))
        await settle()
        gate.revoke(sub="alice")
        await until(task.done)
        assert scope["left"] == [0]
        task.exception()

    asyncio.run(story())


@pytest.mark.parametrize("is_first", [True, False])
def test_time_limit_that_ends_with_the_connection_is_told_as_such(gate: Any, is_first: bool) -> None:  # noqa: FBT001
    """Whichever of the two comes first."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60) as limit:
                scope["limit"].append(limit)
                await receive()
        scope["left"].append(asyncio.current_task().cancelling())  # type: ignore[union-attr]

    async def story() -> None:
        scope: dict[str, Any] = scope_of("websocket", gate.token_for("alice"), limit=[], left=[])
        client = Client()
        client.incoming.put_nowait({"type": "websocket.connect"})
        task = asyncio.ensure_future(JWTGateMiddleware(app, gate=gate)(scope, client.receive, client.send))
        await until(lambda: bool(scope["limit"]))
        await settle()
        (connection,) = [live.wake.__self__ for live in gate.view.live._all]
        ends = [lambda: scope["limit"][0]._on_timeout(), lambda: (connection._forget(), connection._tell_waiting())]
        for end in ends if is_first else reversed(ends):
            end()
        await task
        assert scope["left"] == [0]

    asyncio.run(story())


@in_loop
async def test_fault_of_a_server_is_told_as_it_is(gate: Any) -> None:
    """While nobody has ended anything."""
    client, seen = Full(words=RuntimeError), []
    open_ = await pushing(gate, client, scope_of("websocket", gate.token_for("alice")), seen)
    client.space.set()
    await until(open_.task.done)
    with pytest.raises(RuntimeError, match="after the close"):
        open_.task.result()


# --- LIVE and WS_CLOSE


@pytest.mark.parametrize(
    ("live", "path", "closes"),
    [
        (("close",), "/feed/a", True),
        (("ignore",), "/feed/a", False),
        (("/feed/*=ignore",), "/feed/a", False),
        (("/feed/*=ignore",), "/other", True),
        (("ignore", "/feed/*=close"), "/feed/a", True),
        (("ignore", "/feed/*=close"), "/other", False),
        (("ignore", "/feed/*=close"), "/feed//a", True),
        (("/feed/*=ignore",), "/feed/../other", True),
        (("/feed/*=ignore", "/feed/a=close"), "/feed/a", True),
        (("/feed/*=ignore", "/feed/a=close"), "/feed/a/", True),
        (("ignore", "/feed/*=close"), "/feed", True),
        (("/feed=ignore",), "/feed/", True),
    ],
)
def test_live_says_by_path_what_ends(live: tuple[str, ...], path: str, closes: bool) -> None:
    """A path that not everybody reads alike ends, in doubt; and so does one that differs from a named one by its last slash."""

    async def story(gate: Any) -> None:
        socket = await connect(gate, gate.token_for("alice"), path=path)
        response = await stream(gate, gate.token_for("alice"), ticking(asyncio.Event(), []), path=path)
        gate.revoke(sub="alice")
        await settle()
        assert (socket.client.last["type"] == "websocket.close") is closes
        assert (response.client.last == ENDED) is closes
        for each in (socket, response):
            each.task.cancel()

    with testing.gate(live=live, ws_close=3000) as gate:
        asyncio.run(story(gate))


def test_close_code_is_the_operators() -> None:
    """``WS_CLOSE``."""

    async def story(gate: Any) -> None:
        socket = await connect(gate, gate.token_for("alice"))
        gate.revoke(sub="alice")
        await settle()
        assert socket.client.last["code"] == 3000

    with testing.gate(ws_close=3000) as gate:
        asyncio.run(story(gate))


@in_loop
async def test_anonymous_connection_has_no_token_to_die(gate: Any) -> None:
    """Nothing is listed for it."""
    with testing.gate(mode="optional") as own:
        socket = await connect(own, None)
        own.revoke(everything=True)
        await settle()
        assert await socket.talks()
        socket.task.cancel()


# --- tokens among the subprotocols


def offering(*subprotocols: str) -> dict[str, Any]:
    """What a browser makes of ``new WebSocket(url, [...])``."""
    line = (b"sec-websocket-protocol", ", ".join(subprotocols).encode())
    return {"headers": [(b"host", b"app.example"), line], "subprotocols": list(subprotocols)}


async def accepted_as(gate: Any, offered: list[str], chosen: str | None = None, shown: list[Any] | None = None) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if shown is not None:
            shown.append(scope)
        await receive()
        await send({"type": "websocket.accept", **({} if chosen is None else {"subprotocol": chosen})})
        await receive()

    socket = await connect(gate, None, app, **offering(*offered))
    socket.task.cancel()
    return socket.client.last


@in_loop
async def test_token_comes_among_the_subprotocols_and_only_the_marker_goes_back(gate: Any) -> None:
    """The application sees no token there, and cannot echo one."""
    token, shown = gate.token_for("alice"), []
    accept = await accepted_as(gate, ["bearer", token], shown=shown)
    assert accept == {"type": "websocket.accept", "subprotocol": "bearer"}
    (scope,) = shown
    assert scope["jwtgate.token"].source == "subprotocol" and scope["user"].identity == "alice"
    assert scope["subprotocols"] == ["bearer"]
    assert token.encode() not in b" ".join(value for _, value in scope["headers"])
    assert (await accepted_as(gate, ["bearer", token, "chat"], chosen="chat"))["subprotocol"] == "chat"
    assert (await accepted_as(gate, ["chat", "bearer", token], chosen=token))["subprotocol"] == "bearer"


@in_loop
async def test_ruling_closes_a_socket_whose_token_came_so(gate: Any) -> None:
    """As any other."""
    socket = await connect(gate, None, **offering("bearer", gate.token_for("alice")))
    assert socket.client.last == {"type": "websocket.accept", "subprotocol": "bearer"}
    gate.revoke(sub="alice")
    assert await socket.end() == CLOSED


@pytest.mark.parametrize(
    "offered",
    [
        ["bearer"], ["chat", "bearer"], ["bearer", "{alice}", "bearer", "{alice}"], ["{alice}"], ["Bearer", "{alice}"],
        ["{alice}", "bearer"], ["bearer", "chat", "{alice}"], ["bearer", "a" * 9000], ["bearer", "a.b.c"],
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(gate: Any, offered: list[str]) -> None:
    """Before accept, and whatever it was in the log it is a refusal."""

    async def story() -> None:
        token = gate.token_for("alice")
        answer = await accepted_as(gate, [each.replace("{alice}", token) for each in offered])
        assert answer == {"type": "websocket.close", "code": 1008, "reason": ""}

    asyncio.run(story())


@pytest.mark.parametrize("offered", [["bearer"], ["chat", "bearer"], ["bearer", "a.b.c"], ["bearer", "x", "bearer"]])
def test_whatever_is_offered_on_an_exempt_path_is_no_fault(offered: list[str]) -> None:
    """Nobody has looked at it there; what may be a token is kept from the application all the same."""

    async def story(gate: Any) -> None:
        shown: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            shown.append(scope["subprotocols"])

        socket = await connect(gate, None, app, path="/open", **offering(*offered))
        assert socket.task.done() and socket.task.exception() is None
        assert not {"a.b.c", "x"}.intersection(*shown)

    with testing.gate(locations=("subprotocol",), exempt=("/open",)) as gate:
        asyncio.run(story(gate))


@in_loop
async def test_two_tokens_that_differ_are_refused(gate: Any) -> None:
    """The same one twice is the header's."""
    alice, bob = gate.token_for("alice"), gate.token_for("bob")
    for header, subprotocol, is_good in ((alice, bob, False), (alice, alice, True)):
        offered = offering("bearer", subprotocol)
        offered["headers"].append((b"authorization", f"Bearer {header}".encode()))
        shown: list[Any] = []

        async def app(scope: Any, receive: Any, send: Any, shown: list[Any] = shown) -> None:
            shown.append(scope["jwtgate.token"].source)

        await connect(gate, None, app, **offered)
        assert shown == (["header"] if is_good else [])


@in_loop
async def test_request_without_a_handshake_offers_nothing(gate: Any) -> None:
    """The header means nothing there."""
    client = Client()
    scope = scope_of("http", None, headers=offering("bearer", gate.token_for("alice"))["headers"])
    await JWTGateMiddleware(plain, gate=gate)(scope, client.receive, client.send)
    assert client.sent[0]["status"] == 401


# --- what is left behind


def test_nothing_of_a_connection_waits_for_the_collector(gate: Any) -> None:
    """Neither one that ended by itself, nor one that was ended, and no loop once it is over."""
    left: list[Any] = []

    def living() -> list[str]:
        kinds = (LiveConnection, Client, ConnectionEnded)
        return [type(each).__name__ for each in gc.get_objects() if type(each) in kinds]

    async def story() -> None:
        left.append(weakref.ref(asyncio.get_running_loop()))
        sessions = [gate.sessions.start("alice").access_token for _ in range(2)]
        sockets = [await connect(gate, token) for token in sessions]
        response = await stream(gate, gate.token_for("bob"), endless)
        assert living().count("LiveConnection") == 3
        sockets[0].client.incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await settle()
        gate.clock.advance(1000)
        assert await sockets[1].end() == CLOSED and await response.end() == ENDED
        response.task.cancel()
        await settle()

    gc.collect()
    gc.disable()
    try:
        asyncio.run(story())
        assert living() == []
    finally:
        gc.enable()
    gc.collect()
    assert left[0]() is None


def test_connection_of_a_loop_that_was_given_up_stops_nobody(gate: Any) -> None:
    """The collector ends it, and comes while a ruling is applied."""

    def give_up() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # which says that a task was destroyed
        loop.run_until_complete(stream(gate, gate.token_for("alice"), endless))
        loop.close()

    gc.collect()
    gc.disable()
    try:
        give_up()
        with gate.view.lock:
            gc.collect()
    finally:
        gc.enable()
    gate.revoke(sub="alice")
    gate.follower.catch_up()
    assert len(gate.view.live) == 0 and not gate.view.live._index


@in_loop
async def test_however_often_it_is_doubted_a_connection_is_looked_at_once(gate: Any) -> None:
    """Else rulings that kill nobody would have the loop look again and again at everybody."""
    socket = await connect(gate, gate.token_for("alice", claims={"ver": 9}))
    for _ in range(100):
        gate.require_version("alice", 9)
    assert len(gate.lines.own()._waiting) == 1
    assert await socket.talks()


# --- races


def test_whoever_is_woken_finds_the_ruling(gate: Any) -> None:
    """A decision that begins as soon as it is told could else vouch for what was just ruled on, and nobody would tell again."""
    token = gate.token_for("alice")
    entry = asyncio.run(nonblocking.run(gate.decision.decide(token.encode(), "header"), gate.waiter))
    known: list[bool] = []
    live = LiveConnection(token.encode(), "header", entry, lambda: known.append(any(gate.view.known(live.handles).rulings)))
    gate.view.live.watch(live)
    gate.revoke(sub="alice")
    assert known and all(known)


def test_reload_wakes_everybody_once_it_is_installed(gate: Any) -> None:
    """The same for what only the snapshot says."""
    token = gate.token_for("alice")
    entry = asyncio.run(nonblocking.run(gate.decision.decide(token.encode(), "header"), gate.waiter))
    known: list[bool] = []
    live = LiveConnection(token.encode(), "header", entry, lambda: known.append(any(gate.view.known(live.handles).rulings)))
    gate.view.live.watch(live)
    followed, ruling = Followed(gate.view), Ruling(cut_at=2e9, until=2e9).encode()
    followed.load({live.handles[-1]: ruling}, followed.epoch or "", followed.end or LogEnd(0, "", ""))
    assert known == [True]


def test_ruling_during_a_decision_makes_it_void(gate: Any) -> None:
    """The verdict was of a moment before."""
    token = gate.token_for("alice")
    entry = asyncio.run(nonblocking.run(gate.decision.decide(token.encode(), "header"), gate.waiter))
    live = LiveConnection(token.encode(), "header", entry, lambda: None)
    gate.view.live.watch(live)
    assert not gate.view.live.vouch(live, entry, entry.deadline, live.doubts - 1)
    assert not gate.decision.vouches(live)
    asyncio.run(nonblocking.run(gate.decision.again(live), gate.waiter))
    assert gate.decision.vouches(live)
    gate.view.live.doubt(live.handles[0])
    assert not gate.decision.vouches(live)
