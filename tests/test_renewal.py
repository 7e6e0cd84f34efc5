"""``ROTATE_AFTER`` over both shells: the N-th response carries a new access token, and the old one is dead."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from beside import together
from shells import (
    COOKIE,
    Answer,
    Sent,
    Sink,
    asgi_application,
    ask_asgi,
    ask_wsgi,
    gate_of,
    scope_of,
    token_of_claims,
    wsgi_application,
)

from jwtgate import Gate
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.core.gate import Decision
from jwtgate.errors import InvalidToken, Revoked, StoreUnavailable
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware


@pytest.fixture
def made() -> Any:
    """Makes a live gate; closes it in the end."""
    gates: list[Gate] = []

    def make(after: int | None = 3, **more: Any) -> Gate:
        gate = gate_of("both", rotate_after=after, **more)
        gates.append(gate)
        assert gate.ready()
        return gate

    yield make
    for gate in gates:
        gate.close()


@pytest.fixture(params=["asgi", "wsgi"])
def ask(request: pytest.FixtureRequest) -> Any:
    """Sends one request through the shell under test, with the gate and perhaps another application."""

    def through(gate: Gate, sent: Sent, asgi: Any = asgi_application, wsgi: Any = wsgi_application) -> Answer:
        if request.param == "asgi":
            return ask_asgi(ASGIMiddleware(asgi, gate=gate), sent)
        return ask_wsgi(WSGIMiddleware(wsgi, gate=gate), sent)

    return through


def bearer(token: str) -> Sent:
    return Sent(headers=(("authorization", f"Bearer {token}"),))


def cookie(token: str) -> Sent:
    return Sent(headers=(("cookie", f"{COOKIE}={token}"),))


def cookies_in(answer: Answer) -> list[str]:
    return [value for name, value in answer.headers if name == "set-cookie"]


def test_nth_response_carries_the_new_token_in_a_header(made: Any, ask: Any) -> None:
    """The first ones do not; then the old one is dead, and the new one lives as long as it would have."""
    gate = made()
    old = gate.sessions.start("alice", claims={"role": "x"}, scope="read").access_token
    answers = [ask(gate, bearer(old)) for _ in range(3)]
    assert [answer.header("x-access-token") is not None for answer in answers] == [False, False, True]
    assert [answer.header("cache-control") for answer in answers] == [None, None, "no-store"]
    assert {answer.status for answer in answers} == {200}
    new = answers[-1].header("x-access-token")
    assert ask(gate, bearer(old)).status == 401
    assert ask(gate, bearer(new)).status == 200
    verified = gate.verify(new)
    assert verified.claims["role"] == "x" and verified.scopes == {"read"}
    with pytest.raises(Revoked):
        gate.verify(old)


def test_cookie_comes_back_as_a_cookie(made: Any, ask: Any) -> None:
    """With the attributes of one that a login sets."""
    gate = made(1)
    old = gate.sessions.start("alice").access_token
    answer = ask(gate, cookie(old))
    (value,) = cookies_in(answer)
    pair, *attributes = value.split("; ")
    assert answer.header("x-access-token") is None
    assert answer.header("cache-control") == "no-store"
    assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(attributes)
    assert ask(gate, cookie(old)).status == 401
    assert ask(gate, Sent(headers=(("cookie", pair),))).status == 200


def test_each_new_token_is_renewed_in_its_turn(made: Any, ask: Any) -> None:
    """A session goes on so for as long as its access token's life."""
    gate = made(2)
    token = gate.sessions.start("alice").access_token
    end = gate.verify(token).expires_at
    for _ in range(4):
        assert ask(gate, bearer(token)).header("x-access-token") is None
        token = ask(gate, bearer(token)).header("x-access-token")
    assert gate.verify(token).expires_at == end


def test_session_goes_on_and_ends_as_one(made: Any, ask: Any) -> None:
    """The refresh token knows nothing of it; ending the session kills the new access token, too."""
    gate = made(1)
    pair = gate.sessions.start("alice")
    new = ask(gate, bearer(pair.access_token)).header("x-access-token")
    fresh = gate.sessions.refresh(pair.refresh_token)
    assert gate.verify(new).session_id == gate.verify(fresh.access_token).session_id == pair.session_id
    gate.sessions.end(pair.session_id, wait=True)
    for token in (new, fresh.access_token):
        with pytest.raises(Revoked):
            gate.verify(token)


def test_renewed_token_is_of_the_same_live_session(made: Any, ask: Any) -> None:
    """``VALIDITY=allowlist``: it passes while the session does, and no longer."""
    gate = made(1, validity="allowlist")
    pair = gate.sessions.start("alice")
    new = ask(gate, bearer(pair.access_token)).header("x-access-token")
    assert gate.verify(new).session_id == pair.session_id
    gate.sessions.end(pair.session_id, wait=True)
    assert ask(gate, bearer(new)).status == 401


def test_no_renewal_outlives_a_log_out_that_comes_while_it_is_served(made: Any, ask: Any) -> None:
    """Threat 16: after the decision and before the renewal somebody logs out everywhere; the new token is dead with the old."""
    gate = made(1)
    old = gate.sessions.start("alice").access_token

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await gate.aio.revoke(sub="alice", access_only=True)
        await asgi_application(scope, receive, send)

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        gate.revoke(sub="alice", access_only=True)
        return wsgi_application(environ, start_response)

    new = ask(gate, bearer(old), asgi, wsgi).header("x-access-token")
    for token in (old, new):
        assert ask(gate, bearer(token)).status == 401
    assert gate.verify(gate.sessions.start("alice").access_token).subject == "alice"


def test_application_that_logs_out_or_in_is_left_alone(made: Any, ask: Any) -> None:
    """Its own cookie stands, and no second one follows; the old token was not touched."""
    gate = made(1)
    old = gate.sessions.start("alice").access_token
    mine = f"{COOKIE}=theirs; Path=/"

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": [(b"set-cookie", mine.encode())]})
        await send({"type": "http.response.body", "body": b""})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("204 No Content", [("Set-Cookie", mine)])
        return []

    assert cookies_in(ask(gate, cookie(old), asgi, wsgi)) == [mine]
    assert gate.verify(old).subject == "alice"


def test_response_that_said_it_may_be_stored_may_not(made: Any, ask: Any) -> None:
    """A shared cache would hand the token to others."""
    gate = made(1)
    old = gate.sessions.start("alice").access_token

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"cache-control", b"public, max-age=60"), (b"x-a", b"\xe9")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Cache-Control", "public, max-age=60"), ("X-A", "\xe9")])
        return []

    answer = ask(gate, bearer(old), asgi, wsgi)
    assert answer.header("cache-control") == "no-store"
    assert answer.header("x-a") == "\xe9"
    assert answer.header("x-access-token")


def test_application_may_use_the_token_until_it_answers(made: Any, ask: Any) -> None:
    """The old one dies when the response starts, not before the application runs."""
    gate = made(1)
    old = gate.sessions.start("alice").access_token
    seen: list[str | None] = []

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        seen.append((await gate.aio.verify(old)).subject)
        await asgi_application(scope, receive, send)

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        seen.append(gate.verify(old).subject)
        return wsgi_application(environ, start_response)

    assert ask(gate, bearer(old), asgi, wsgi).header("x-access-token")
    assert seen == ["alice"]


def test_application_that_fails_costs_no_token(made: Any, ask: Any) -> None:
    """No response, no new token, and the old one lives."""
    gate = made(1)
    old = gate.sessions.start("alice").access_token

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("theirs")

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        raise ValueError("theirs")

    with pytest.raises(ValueError, match="theirs"):
        ask(gate, bearer(old), asgi, wsgi)
    assert gate.verify(old).subject == "alice"


def test_response_that_is_started_again_carries_the_same_token(made: Any) -> None:
    """PEP 3333: with ``exc_info`` the second start replaces the first."""
    gate = made(1)
    old = gate.sessions.start("alice").access_token

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise ValueError("late")
        except ValueError:
            import sys

            start_response("500 Internal Server Error", [], sys.exc_info())
        return [b"x"]

    answer = ask_wsgi(WSGIMiddleware(wsgi, gate=gate), bearer(old))
    assert answer.status == 500
    assert gate.verify(answer.header("x-access-token")).subject == "alice"


def test_two_racers_do_not_fork(made: Any, ask: Any) -> None:
    """Both are served; one gets the new token."""
    gate = made(2)
    old = gate.sessions.start("alice").access_token
    ask(gate, bearer(old))
    gathered = threading.Barrier(8, timeout=20)

    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.to_thread(gathered.wait)
        await asgi_application(scope, receive, send)

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        gathered.wait()
        return wsgi_application(environ, start_response)

    answers: list[Answer] = []
    together(*[lambda: answers.append(ask(gate, bearer(old), asgi, wsgi))] * 8)
    assert [answer.status for answer in answers] == [200] * 8
    new = [token for answer in answers if (token := answer.header("x-access-token")) is not None]
    assert len(new) == 1
    assert gate.verify(new[0]).subject == "alice"


def test_store_that_fails_meanwhile_leaves_a_token_that_works(made: Any, ask: Any, monkeypatch: Any, caplog: Any) -> None:
    """Nobody knows whether the old one was revoked, so the response carries the new one: two for a while, never none."""
    gate = made(1)
    old = gate.sessions.start("alice").access_token

    def down(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("down")

    with monkeypatch.context() as patched:
        patched.setattr(gate.store, "write", down)
        answer = ask(gate, bearer(old))
    new = answer.header("x-access-token")
    assert answer.status == 200 and new is not None and new != old
    for token in (new, old):
        assert gate.verify(token)
    assert ask(gate, bearer(old)).header("x-access-token"), "asked again, it is revoked as ever"
    with pytest.raises(InvalidToken):
        gate.verify(old)
    assert gate.verify(new)
    assert old not in caplog.text


def test_tokens_of_no_session_are_never_renewed(made: Any, ask: Any) -> None:
    """``issue``, and whoever else signs."""
    gate = made(1)
    for token in (gate.issue("alice"), token_of_claims(sub="alice", jti="7", sid="s")):
        for _ in range(3):
            assert ask(gate, bearer(token)).header("x-access-token") is None


def test_refused_and_anonymous_requests_are_not_counted(made: Any, ask: Any) -> None:
    """Served is what was admitted, by the checks, too."""
    gate = made(2)
    is_strict = True
    gate.check(lambda token, request: not is_strict)
    old = gate.sessions.start("alice").access_token
    for _ in range(3):
        assert ask(gate, bearer(old)).status == 401
    is_strict = False
    assert ask(gate, bearer(old)).header("x-access-token") is None
    assert ask(gate, bearer(old)).header("x-access-token")


def test_handshakes_renew_nothing(made: Any) -> None:
    """Nor are they counted."""
    gate = made(1)
    old = gate.sessions.start("alice").access_token

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept", "headers": []})

    scope = {**scope_of(bearer(old)), "type": "websocket"}
    sink = Sink(incoming=[{"type": "websocket.connect"}])
    asyncio.run(ASGIMiddleware(application, gate=gate)(scope, sink.receive, sink.send))
    assert sink.sent == [{"type": "websocket.accept", "headers": []}]
    assert gate.verify(old).subject == "alice"


def test_verify_counts_nothing(made: Any) -> None:
    """There is no response to carry anything."""
    gate = made(1)
    old = gate.sessions.start("alice").access_token
    for _ in range(3):
        gate.verify(old)
    assert gate.verify(old).subject == "alice"


def test_hot_path_is_the_classes_own_unless_requests_are_counted(made: Any) -> None:
    """Without ``ROTATE_AFTER`` and checks nothing stands in its way; with it every request goes the long one."""
    plain, counting = made(None), made(5)
    assert "hit" not in vars(plain.decision)
    assert plain.decision.hit.__func__ is Decision.hit
    assert not plain.plans.is_renewal_due(None, None)  # type: ignore[arg-type]
    old = counting.sessions.start("alice").access_token
    ask_wsgi(WSGIMiddleware(wsgi_application, gate=counting), bearer(old))
    assert counting.decision.hit(b"Bearer " + old.encode()) is None


@pytest.mark.server
def test_two_processes_do_not_fork(own_server: Any, made: Any, ask: Any) -> None:
    """Each has counted to N with the same token; the store lets one of them renew it, and the old one dies in both."""
    own_server.start()
    gates = [made(1, store=own_server.url) for _ in range(2)]
    for _ in range(10):
        old = gates[0].sessions.start("alice").access_token
        gathered = threading.Barrier(2, timeout=20)
        answers: list[Answer] = []

        async def asgi(scope: Any, receive: Any, send: Any, gathered: Any = gathered) -> None:
            await asyncio.to_thread(gathered.wait)
            await asgi_application(scope, receive, send)

        def wsgi(environ: Any, start_response: Any, gathered: Any = gathered) -> list[bytes]:
            gathered.wait()
            return wsgi_application(environ, start_response)

        together(
            *[lambda gate=gate, old=old, answers=answers: answers.append(ask(gate, bearer(old), asgi, wsgi)) for gate in gates]
        )
        assert [answer.status for answer in answers] == [200, 200]
        new = [token for answer in answers if (token := answer.header("x-access-token")) is not None]
        assert len(new) == 1
        for gate in gates:
            assert gate.verify(new[0]).subject == "alice"
