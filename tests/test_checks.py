"""Checks as users give them: ``Gate(checks=[...])``, ``@gate.check``, the ready ones; both faces, both shells."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import time
from functools import partial
from typing import Any

import pytest
from beside import together
from shells import (
    COOKIE,
    OTHER_SECRET,
    Answer,
    Sent,
    Sink,
    asgi_application,
    ask_asgi,
    ask_wsgi,
    environ_of,
    gate_of,
    scope_of,
    send_asgi,
    send_wsgi,
    token_of_claims,
    tokens,
    wsgi_application,
)

import jwtgate.gate
from jwtgate import Gate, Request, Settings, Token, checks
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.errors import (
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidToken,
    JWTGateError,
    RefusedByCheck,
    StoreUnavailable,
    UnavailableError,
)
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

BEARER = ("authorization", "Bearer {good}")
GOOD = Sent(headers=(BEARER,))


class Shells:
    """One gate behind both shells: the same request goes through each."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.asgi = ASGIMiddleware(asgi_application, gate=gate)
        self.wsgi = WSGIMiddleware(wsgi_application, gate=gate)

    def ask(self, sent: Sent = GOOD, client: str = "127.0.0.1") -> Answer:
        answer = ask_asgi(self.asgi, sent, client=(client, 1))
        assert ask_wsgi(self.wsgi, sent, REMOTE_ADDR=client) == answer
        return answer


@pytest.fixture
def shells() -> Any:
    """Makes a live gate, both shells before it; closes it in the end."""
    gates: list[Gate] = []

    def made(name: str = "header", **more: Any) -> Shells:
        gate = gate_of(name, **more)
        gates.append(gate)
        assert gate.ready()
        return Shells(gate)

    yield made
    for gate in gates:
        gate.close()


def token(**claims: Any) -> Token:
    get = claims.get
    scopes = frozenset(get("scope", "").split())
    return Token(claims, {}, get("sub"), get("iss"), get("jti"), get("sid"), scopes, get("exp"), None)


def request(path: str | None = "/", client: str | None = None, *headers: tuple[bytes, bytes]) -> Request:
    return Request("GET", path, None, headers, client=client)


# --- how a check is given


def test_gate_check_is_a_decorator_with_and_without_parentheses(shells: Any) -> None:
    """The function stays the function."""
    gate = shells().gate
    seen: list[str] = []

    @gate.check
    def bare(token: Token, request: Request | None) -> None:
        seen.append("bare")

    @gate.check()
    def empty(token: Token, request: Request | None) -> None:
        seen.append("empty")

    @gate.check(before=True)
    def early(token: Token, request: Request | None) -> None:
        seen.append("early")

    def plain(token: Token, request: Request | None) -> None:
        seen.append("plain")

    assert gate.check(plain, before=True) is plain
    assert [bare.__name__, empty.__name__, early.__name__] == ["bare", "empty", "early"]
    gate.verify(tokens()["good"])
    assert seen == ["early", "plain", "bare", "empty"]


def test_checks_can_be_given_to_the_gate() -> None:
    """In their order, and asked from the first request on."""
    seen: list[int] = []
    gate = Gate(Settings(secret="s" * 32, lease=0.25), checks=[lambda *_: seen.append(1), lambda *_: seen.append(2)])
    gate.verify(token_of_claims("s" * 32))
    gate.close()
    assert seen == [1, 2]


@pytest.mark.parametrize(
    "wrong", [None, "name", 7, True, b"", checks.client_address, checks.user_agent_digest, lambda token: True]
)
def test_what_is_no_check_is_a_type_error(shells: Any, wrong: Any) -> None:
    """Above all None, which would otherwise be no check at all, in silence."""
    gate = shells().gate
    with pytest.raises(TypeError):
        gate.check(wrong)
    with pytest.raises(TypeError):
        gate.check()(wrong)
    with pytest.raises(TypeError):
        Gate(gate.settings, checks=[wrong])
    assert not gate.checks


def test_before_is_true_or_false(shells: Any) -> None:
    """No other word for it."""
    with pytest.raises(TypeError):
        shells().gate.check(before="yes")


def test_built_in_callables_and_methods_are_checks(shells: Any) -> None:
    """Whatever can be called with two arguments in their place."""
    gate = shells().gate

    class Checker:
        def method(self, token: Token, request: Request | None) -> bool:
            return False

        def __call__(self, token: Token, request: Request | None, more: int = 1) -> bool:
            return False

    for check in (Checker().method, Checker(), functools.partial(Checker.method, Checker()), max):
        gate.check(check)
    with pytest.raises(RefusedByCheck):
        gate.verify(tokens()["good"])


def test_gate_of_the_environment_takes_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is the same gate for whoever asks for it next."""
    monkeypatch.setattr(jwtgate.gate, "_environment_gates", {})
    monkeypatch.setenv("JWTGATE_SECRET", "s" * 32)
    monkeypatch.setenv("JWTGATE_LEASE", "0.25")
    Gate.from_env().check(lambda token, request: False)
    application = WSGIMiddleware(wsgi_application)
    sent = Sent(headers=(("authorization", f"Bearer {token_of_claims('s' * 32)}"),))
    assert ask_wsgi(application, sent).status == 401
    application.gate.close()


def test_checks_can_be_added_by_many_threads_while_requests_pass(shells: Any) -> None:
    """None is lost, and from the moment ``check`` has returned nobody passes unasked."""
    one = shells()
    one.ask()
    asked: list[int] = []

    def add(number: int) -> None:
        one.gate.check(lambda token, request: asked.append(number))
        one.gate.verify(tokens()["good"])

    together(*[partial(add, number) for number in range(16)])
    assert set(asked) == set(range(16))
    asked.clear()
    one.ask()
    assert sorted(asked) == sorted([*range(16)] * 2)


def test_fork_keeps_the_checks(shells: Any) -> None:
    """A child starts from nothing but what the application said."""
    one = shells()
    one.gate.check(lambda token, request: False)
    one.gate.close()
    one.gate.reset_after_fork()
    assert one.gate.decision.hit(b"") is None
    assert one.ask().status == 401


# --- what both shells do with it


def test_check_given_after_the_shells_were_built_is_asked_about_remembered_tokens(shells: Any) -> None:
    """The fast way ends with the first check; every request from then on is asked about."""
    one = shells()
    assert one.ask().status == 200
    assert one.gate.status().hits == 1
    paths: list[str | None] = []
    one.gate.check(lambda token, request: paths.append(request.path))
    for path in ("/a", "/b"):
        assert one.ask(Sent(target=path, headers=(BEARER,))).status == 200
    assert paths == ["/a", "/a", "/b", "/b"]


@pytest.mark.parametrize(
    ("refuse", "error"),
    [
        (lambda *_: False, RefusedByCheck("")),
        (InsufficientScope("read", "write"), InsufficientScope("read", "write")),
        (InsufficientUserAuthentication(60), InsufficientUserAuthentication(60)),
        (StoreUnavailable("of theirs"), StoreUnavailable("")),
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_refusal_is_an_answer_of_the_interface_and_counted(shells: Any, refuse: Any, error: JWTGateError, before: bool) -> None:
    """Interface §4, byte for byte, first met and met again, from both shells."""
    one = shells()

    def check(token: Token, request: Request | None) -> bool:
        if isinstance(refuse, Exception):
            raise refuse
        return refuse()

    one.gate.check(check, before=before)
    expected = one.gate.answer(error)
    for number in (1, 2):
        answer = one.ask()
        assert answer == Answer(expected.status, tuple(sorted(expected.headers)), expected.body)
        assert one.gate.status().refused == {error.reason: 2 * number}


def test_check_sees_all_headers_and_the_client(shells: Any) -> None:
    """Names in lower case; the same from ASGI and WSGI, but for what WSGI adds and joins."""
    one = shells("both")
    seen: list[Request] = []
    one.gate.check(lambda token, request: seen.append(request))
    headers = (BEARER, ("user-agent", "Ünit"), ("x-forwarded-for", "6.6.6.6"), ("content-type", "text/plain"))
    one.ask(Sent("POST", "/a?b", headers, b"body"), client="2001:db8::1")
    asgi, wsgi = seen
    assert asgi.client == wsgi.client == "2001:db8::1"
    assert set(asgi.headers) <= set(wsgi.headers)
    assert dict(asgi.headers)[b"user-agent"] == "Ünit".encode("latin-1")
    assert {name for name, _ in wsgi.headers} - {name for name, _ in asgi.headers} == {b"content-length"}
    assert (asgi.path, asgi.raw_path, asgi.method) == (wsgi.path, wsgi.raw_path, wsgi.method)


def test_without_checks_only_what_the_gate_reads_is_taken(shells: Any) -> None:
    """No request pays for what nobody asks for."""
    from jwtgate.asgi import _request as of_scope
    from jwtgate.wsgi import _request as of_environ

    sent = Sent(headers=(BEARER, ("user-agent", "x")))
    for made in (of_scope(scope_of(sent)), of_environ(environ_of(sent))):
        assert {name for name, _ in made.headers} - {b"content-length"} == {b"authorization", b"host"}
        assert made.client is None


def test_server_without_addresses_gives_none(shells: Any) -> None:
    """A Unix socket has no peer address."""
    one = shells()
    seen: list[Any] = []
    one.gate.check(lambda token, request: seen.append(request.client))
    ask_asgi(one.asgi, GOOD, client=None)
    ask_wsgi(one.wsgi, GOOD, REMOTE_ADDR="")
    environ = environ_of(GOOD)
    environ.pop("REMOTE_ADDR", None)
    send_wsgi(one.wsgi, environ)
    assert seen == [None, None, None]


def test_header_that_a_server_gives_in_upper_case_is_read_in_lower_case(shells: Any) -> None:
    """As WSGI does, which knows no case."""
    one = shells()
    seen: list[Any] = []
    one.gate.check(lambda token, request: seen.append(dict(request.headers).get(b"x-a")))
    ask_asgi(one.asgi, GOOD, headers=[(b"Authorization", b"Bearer " + tokens()["good"].encode()), (b"X-A", b"1")])
    assert seen == [b"1"]


def test_handshake_is_asked_about_too(shells: Any) -> None:
    """One decision for HTTP and WebSocket."""
    one = shells()
    seen: list[Request] = []

    @one.gate.check
    def refuse(token: Token, request: Request | None) -> bool:
        seen.append(request)
        return False

    scope = {**scope_of(GOOD), "type": "websocket"}
    del scope["method"]
    sink = Sink(incoming=[{"type": "websocket.connect"}])
    asyncio.run(one.asgi(scope, sink.receive, sink.send))
    assert sink.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]
    assert seen[0].is_websocket and seen[0].client == "127.0.0.1"


def test_anonymous_requests_pass_unasked(shells: Any) -> None:
    """There is no token to ask about."""
    one = shells("optional")
    one.gate.check(lambda token, request: False)
    assert one.ask(Sent()).status == 200


def test_request_of_another_site_is_refused_before_anything_is_asked(shells: Any) -> None:
    """Threat 22: also under double-submit, which needs the verified token, and also where the token is remembered."""
    one = shells("both", csrf="double-submit")
    seen: list[str] = []
    one.gate.check(lambda token, request: seen.append(request.method))
    pair = one.gate.sessions.start("alice")
    cookie = ("cookie", f"{COOKIE}={pair.access_token}")
    for _ in range(2):
        assert one.ask(Sent("POST", headers=(cookie, ("sec-fetch-site", "same-origin")))).status == 403
    assert seen == []
    assert one.ask(Sent(headers=(cookie,))).status == 200
    assert seen == ["GET", "GET"]


# --- what fails, fails closed


def stop(token: Token, request: Request | None) -> bool:
    return next(iter(()))


def key_error(token: Token, request: Request | None) -> bool:
    return token.claims["absent"]


async def async_error(token: Token, request: Request | None) -> bool:
    raise ValueError


async def async_stop(token: Token, request: Request | None) -> bool:
    raise StopAsyncIteration


def group(token: Token, request: Request | None) -> bool:
    raise ExceptionGroup("several", [RefusedByCheck(""), ValueError()])


def base(token: Token, request: Request | None) -> bool:
    raise JWTGateError("says no status")


def again(token: Token, request: Request | None) -> bool:
    return again(token, request)


@pytest.mark.parametrize("check", [stop, key_error, async_error, async_stop, group, base, again])
@pytest.mark.parametrize("before", [False, True])
def test_check_that_fails_is_logged_and_answered_503(shells: Any, check: Any, before: bool, caplog: Any) -> None:
    """Threat 2: never 500; above all StopIteration is not taken for the end of the plan, which would let the request pass."""
    one = shells()
    one.gate.check(check, before=before)
    with caplog.at_level(logging.ERROR, "jwtgate"):
        answer = one.ask()
    assert answer.status == 503
    assert answer.header("retry-after") is not None
    assert one.gate.status().refused == {"unavailable": 2}
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == 2
    for record in failures:
        assert check.__name__ in record.getMessage()
        assert not any(word in record.getMessage() for word in ("alice", "good", tokens()["good"]))
        assert record.exc_info or "must be awaited" in record.getMessage()
    if check is key_error:
        assert "KeyError" in caplog.text


@pytest.mark.parametrize("said", [0, 1, "", "no", [], {}, object(), NotImplemented, 0.0])
def test_check_that_answers_otherwise_is_a_mistake_and_refuses(shells: Any, said: Any, caplog: Any) -> None:
    """False alone refuses, True and None alone let pass; for the rest nobody can know what was meant."""
    one = shells()

    @one.gate.check
    def odd(token: Token, request: Request | None) -> Any:
        return said

    with caplog.at_level(logging.ERROR, "jwtgate"):
        assert one.ask().status == 503
    assert f"odd must return True, False or None, not {type(said).__name__}" in caplog.text


def test_generators_are_no_checks(shells: Any) -> None:
    """A stray ``yield`` makes a check that never runs: refused, not admitted."""
    one = shells()

    @one.gate.check
    def stray(token: Token, request: Request | None) -> Any:
        yield False

    @one.gate.check
    async def stray_too(token: Token, request: Request | None) -> Any:
        yield False

    assert one.ask().status == 503


def test_coroutine_function_under_the_blocking_face_is_named(shells: Any, caplog: Any) -> None:
    """Refused, logged by name with the cure; no coroutine is left behind unawaited."""
    one = shells()

    @one.gate.check
    async def slow(token: Token, request: Request | None) -> bool:
        return True

    with pytest.raises(UnavailableError, match="slow must be awaited"):
        one.gate.verify(tokens()["good"])
    assert ask_wsgi(one.wsgi, GOOD).status == 503
    assert "gate.aio" in caplog.text
    assert ask_asgi(one.asgi, GOOD).status == 200


def test_awaited_future_of_a_plain_function_is_awaited(shells: Any) -> None:
    """Whatever can be awaited is: partials and callable objects of coroutine functions, too."""
    one = shells()

    async def slow(no: bool, token: Token, request: Request | None) -> bool:
        await asyncio.sleep(0)
        return no

    one.gate.check(functools.partial(slow, False))
    assert ask_asgi(one.asgi, GOOD).status == 401
    with pytest.raises(UnavailableError):
        one.gate.verify(tokens()["good"])


def test_coroutine_check_is_awaited_in_the_requests_own_task(shells: Any) -> None:
    """It may use what belongs to that loop; both ``gate.aio`` and the shell do so."""
    one = shells()
    tasks: list[Any] = []

    @one.gate.check
    async def seen(token: Token, request: Request | None) -> bool:
        await asyncio.sleep(0)
        tasks.append(asyncio.current_task())
        return True

    async def main() -> None:
        await one.gate.aio.verify(tokens()["good"])
        assert (await send_asgi(one.asgi, scope_of(GOOD))).status == 200
        assert tasks == [asyncio.current_task()] * 2

    asyncio.run(main())


def test_cancellation_of_a_waiting_check_passes_through(shells: Any, caplog: Any) -> None:
    """Threat 28: ``CancelledError`` propagates, nothing is logged as a failure, and the next request is served."""
    one = shells()
    reached = asyncio.Event()
    is_stuck = True

    @one.gate.check
    async def stuck(token: Token, request: Request | None) -> None:
        reached.set()
        if is_stuck:
            await asyncio.Event().wait()

    async def main() -> None:
        nonlocal is_stuck
        task = asyncio.create_task(send_asgi(one.asgi, scope_of(GOOD)))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        is_stuck = False
        assert (await send_asgi(one.asgi, scope_of(GOOD))).status == 200

    asyncio.run(main())
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_not_taken_for_a_failure(shells: Any, error: Any) -> None:
    """It goes on to whoever started the process."""
    gate = shells().gate

    @gate.check
    def leave(token: Token, request: Request | None) -> None:
        raise error

    with pytest.raises(error):
        gate.verify(tokens()["good"])


def test_check_may_use_the_gate(shells: Any) -> None:
    """To end what it does not like, for example: the store is free while it is asked."""
    one = shells()

    @one.gate.check
    def end(token: Token, request: Request | None) -> bool:
        one.gate.revoke(jti=token.token_id, wait=True)
        return False

    assert one.ask(Sent(headers=(("authorization", "Bearer {other}"),))).status == 401
    assert one.gate.status().refused == {"refused_by_check": 1, "revoked": 1}


def test_forged_tokens_with_a_check_before_change_nothing(shells: Any) -> None:
    """Threat 9: the victim's entry stands, and none of theirs is kept."""
    one = shells()
    one.gate.check(lambda token, request: True, before=True)
    one.ask()
    for number in range(300):
        with pytest.raises(InvalidToken):
            one.gate.verify(token_of_claims(OTHER_SECRET, sub="alice", jti="good", n=number))
    assert one.gate.status().admitted == 1
    hits = one.gate.status().hits
    assert one.ask().status == 200
    assert one.gate.status().hits == hits + 2


# --- the ready ones


@pytest.mark.parametrize(
    ("bound", "client", "passes"),
    [
        ("1.2.3.4", "1.2.3.4", True), ("1.2.3.4", "1.2.3.5", False), ("1.2.3.4", "::ffff:1.2.3.4", True),
        ("::ffff:102:304", "1.2.3.4", True), ("2001:db8::1", "2001:DB8:0:0::1", True), ("2001:db8::1", "2001:db8::2", False),
        ("1.2.3.4", "1.2.3.4 ", False), ("1.2.3.4", "", False), ("1.2.3.4", None, False), ("unix:", "unix:", False),
        ("", "", False), (None, None, False), (None, "1.2.3.4", False), (16909060, "1.2.3.4", False), (["1.2.3.4"], "1.2.3.4", False),
        (True, "0.0.0.1", False), ("1.2.3.4/32", "1.2.3.4", False), ("01.2.3.4", "1.2.3.4", False), ("localhost", "localhost", False),
        ("x" * 8000, "1.2.3.4", False),
    ],
)  # fmt: skip
def test_client_address_compares_addresses_not_texts(bound: Any, client: str | None, passes: bool) -> None:
    """Only one that is there on both sides, and is an address, is the same."""
    claims = {} if bound is None else {"ip": bound}
    assert checks.client_address("ip")(token(**claims), request(client=client)) is passes
    assert checks.client_address("ip")(token(**claims), None) is False


def test_user_agent_is_compared_with_its_digest() -> None:
    """Exactly one header, exactly its bytes."""
    check = checks.user_agent()
    bound = token(user_agent=checks.user_agent_digest("Ünit/1"))
    sent = (b"user-agent", "Ünit/1".encode("latin-1"))
    assert check(bound, request("/", None, sent))
    assert not check(bound, request("/", None, sent, sent))
    assert not check(bound, request("/", None, (b"user-agent", b"unit/1")))
    assert not check(bound, request())
    assert not check(bound, None)
    for wrong in ({}, {"user_agent": "Ünit/1"}, {"user_agent": 7}, {"user_agent": "é€"}, {"user_agent": ""}):
        assert not check(token(**wrong), request("/", None, sent))


def test_user_agent_digest_is_base64url_of_sha256() -> None:
    """43 characters without padding, whatever the text is."""
    assert checks.user_agent_digest("") == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
    assert all(len(checks.user_agent_digest(text)) == 43 for text in ("Ü", "€", "\ud800", "x" * 9999))


@pytest.mark.parametrize(
    ("auth_time", "passes"),
    [(1000, True), (941, True), (940, True), (939.9, False), (1060, True), (1061, False), (None, False)],
)
def test_fresh_login_compares_auth_time(auth_time: float | None, passes: bool) -> None:
    """RFC 9470 §3: older than max_age, missing, or of a time that has not come yet asks for a new login."""
    check = checks.fresh_login(60, now=lambda: 1000.0)
    claims = {} if auth_time is None else {"auth_time": auth_time}
    if passes:
        assert check(token(**claims), None) and check(token(**claims), request())
        return
    for each in (None, request()):
        with pytest.raises(InsufficientUserAuthentication) as refused:
            check(token(**claims), each)
        assert refused.value.max_age_seconds == 60


@pytest.mark.parametrize(
    "make", [lambda paths: checks.fresh_login(60, paths=paths), lambda paths: checks.scope("a", paths=paths)]
)
def test_paths_bound_a_ready_check(make: Any) -> None:
    """Only there it is asked; in doubt there it is."""
    check = make(["/admin/*"])
    assert check(token(), request("/public")) is True
    for path in ("/admin/x", "/ADMIN/x", "/x/../admin", "//admin/x", None):
        with pytest.raises((InsufficientUserAuthentication, InsufficientScope)):
            check(token(), request(path))
    with pytest.raises((InsufficientUserAuthentication, InsufficientScope)):
        check(token(), None)


def test_scope_needs_all_and_names_them() -> None:
    """RFC 6750 §3.1."""
    check = checks.scope("read", "write")
    assert check(token(scope="write x read"), request())
    with pytest.raises(InsufficientScope) as refused:
        check(token(scope="read"), request())
    assert refused.value.scopes == ("read", "write")


@pytest.mark.parametrize(
    ("error", "make"),
    [
        (TypeError, lambda: checks.client_address("")),
        (TypeError, lambda: checks.client_address(None)),
        (TypeError, lambda: checks.user_agent(7)),
        (TypeError, lambda: checks.fresh_login("60")),
        (TypeError, lambda: checks.fresh_login(True)),
        (ValueError, lambda: checks.fresh_login(0)),
        (ValueError, lambda: checks.fresh_login(-1)),
        (ValueError, lambda: checks.fresh_login(float("nan"))),
        (ValueError, lambda: checks.fresh_login(float("inf"))),
        (TypeError, lambda: checks.fresh_login(60, now=5)),
        (TypeError, lambda: checks.fresh_login(60, paths="/admin/*")),
        (TypeError, lambda: checks.fresh_login(60, paths=[b"/a"])),
        (ValueError, lambda: checks.fresh_login(60, paths=[])),
        (ValueError, lambda: checks.fresh_login(60, paths=["admin"])),
        (ValueError, lambda: checks.scope()),
        (ValueError, lambda: checks.scope("a b")),
        (ValueError, lambda: checks.scope("")),
        (ValueError, lambda: checks.scope(["a"])),
        (ValueError, lambda: checks.scope("a", 'b"')),
    ],
)
def test_wrong_arguments_of_ready_checks_are_named(error: type[Exception], make: Any) -> None:
    """When it is made, not at the first request."""
    with pytest.raises(error):
        make()


def test_ready_checks_guard_both_shells(shells: Any) -> None:
    """Bound to address and User-Agent, fresh for some paths: the whole way, from the wire to the answer."""
    one = shells("both")
    for check in (checks.client_address(), checks.user_agent(), checks.fresh_login(60, paths=["/pay/*"])):
        one.gate.check(check)
    claims = {"client_ip": "10.0.0.1", "user_agent": checks.user_agent_digest("unit"), "auth_time": int(time.time()) - 3600}
    cookie = ("cookie", f"{COOKIE}={token_of_claims(**claims)}")
    sent = Sent(headers=(cookie, ("user-agent", "unit")))
    assert one.ask(sent, client="10.0.0.1").status == 200
    assert one.ask(sent, client="10.0.0.2").status == 401
    assert one.ask(Sent(headers=(cookie, ("user-agent", "other"))), client="10.0.0.1").status == 401
    for target in ("/pay/now", "/pay", "/PAY/now", "//pay/now", "/x/..%2fpay/now"):
        answer = one.ask(Sent(target=target, headers=sent.headers), client="10.0.0.1")
        assert answer.status == 401
        assert json.loads(answer.body)["error"] == "insufficient_user_authentication"
        assert answer.header("www-authenticate").endswith('max_age="60"')
