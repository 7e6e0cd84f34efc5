"""``gate.sessions`` on both faces, over a store in memory: what the interface promises, and what an application may do wrong."""

from __future__ import annotations

import asyncio
import inspect
import logging
import pickle
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import jwt
import pytest
from beside import together
from django.conf import settings
from django.http import HttpResponse as DjangoResponse
from starlette.responses import JSONResponse
from werkzeug.wrappers import Response as WerkzeugResponse

from jwtgate import Gate, Session, Settings, TokenPair
from jwtgate.errors import (
    CrossSiteRequest,
    GrantError,
    InvalidToken,
    ReusedRefreshToken,
    SettingsError,
    StoreUnavailable,
    SubjectSuspended,
    UnavailableError,
)
from jwtgate.messages import Request
from jwtgate.sessions import AsyncSessions, Sessions

SECRET = "a secret of at least thirty-two bytes"


def made(**settings: Any) -> Gate:
    """A gate of its own."""
    return Gate(Settings(secret=SECRET, **settings))


@pytest.fixture(params=["blocking", "awaited"])
def call(request: pytest.FixtureRequest) -> Any:
    """Calls a method of ``gate.sessions`` or of ``gate.aio.sessions``."""

    def blocking(gate: Gate, name: str, *arguments: Any, **named: Any) -> Any:
        return getattr(gate.sessions, name)(*arguments, **named)

    def awaited(gate: Gate, name: str, *arguments: Any, **named: Any) -> Any:
        return asyncio.run(getattr(gate.aio.sessions, name)(*arguments, **named))

    return blocking if request.param == "blocking" else awaited


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = made()
    assert gate.ready()
    yield gate
    gate.close()


def test_life_of_a_login(gate: Gate, call: Any) -> None:
    """Start, refresh, list, end, end everywhere: the same on both faces."""
    pair = call(gate, "start", "alice", scope="read", claims={"roles": ["a"]}, device="phone", ip="192.0.2.1", user_agent="A/1")
    assert isinstance(pair, TokenPair)
    token = gate.verify(pair.access_token)
    assert (token.subject, token.session_id, token.scopes) == ("alice", pair.session_id, {"read"})
    fresh = call(gate, "refresh", pair.refresh_token)
    assert gate.verify(fresh.access_token).claims["roles"] == ["a"]
    gate.verify(pair.access_token)
    (session,) = call(gate, "list", "alice")
    assert isinstance(session, Session)
    assert (session.sid, session.subject, session.device, session.ip, session.user_agent) == (
        pair.session_id, "alice", "phone", "192.0.2.1", "A/1",
    )  # fmt: skip
    assert session.expires_at - session.created_at == 2592000
    receipt = call(gate, "end", pair.session_id, wait=True)
    assert receipt.effective_everywhere
    for dead in (pair, fresh):
        with pytest.raises(InvalidToken):
            gate.verify(dead.access_token)
    with pytest.raises(GrantError):
        call(gate, "refresh", fresh.refresh_token)
    kept, gone = call(gate, "start", "alice"), call(gate, "start", "alice")
    assert call(gate, "end_all", "alice", keep=kept.session_id, wait=True).effective_everywhere
    gate.verify(kept.access_token)
    with pytest.raises(InvalidToken):
        gate.verify(gone.access_token)
    call(gate, "end_all", "alice", wait=True)
    assert call(gate, "list", "alice") == []
    with pytest.raises(InvalidToken):
        gate.verify(kept.access_token)


def test_both_faces_have_the_same_names_in_the_same_order() -> None:
    """Interface §2."""

    def calls(kind: type) -> dict[str, list[str]]:
        methods = {name: value for name, value in vars(kind).items() if inspect.isfunction(value) and name[0] != "_"}
        return {name: [str(each) for each in inspect.signature(value).parameters.values()] for name, value in methods.items()}

    assert calls(Sessions) == calls(AsyncSessions)
    assert list(calls(Sessions)) == ["start", "refresh", "list", "end", "end_all"]


def test_pair_is_the_answer_of_a_token_endpoint(gate: Gate) -> None:
    """RFC 6749 §5.1."""
    pair = gate.sessions.start("alice")
    assert pair.as_dict() == {
        "access_token": pair.access_token,
        "token_type": "Bearer",
        "expires_in": 900,
        "refresh_token": pair.refresh_token,
    }
    assert pickle.loads(pickle.dumps(pair)) == pair


def test_reprs_show_nothing(gate: Gate) -> None:
    """Threat 29: they may stand in a log."""
    pair = gate.sessions.start("alice", device="phone")
    (session,) = gate.sessions.list("alice")
    shown = repr(pair) + repr(session)
    for secret in (pair.access_token, pair.refresh_token, pair.session_id, "alice", "phone"):
        assert secret not in shown


def test_revocation_of_a_session_ends_it(gate: Gate) -> None:
    """``revoke(sid=…)`` and ``sessions.end`` are one thing, and so are ``revoke(sub=…)`` and ``end_all``."""
    one, two = gate.sessions.start("alice"), gate.sessions.start("alice")
    gate.revoke(sid=one.session_id)
    assert [session.sid for session in gate.sessions.list("alice")] == [two.session_id]
    gate.revoke(sub="alice")
    assert gate.sessions.list("alice") == []
    for pair in (one, two):
        with pytest.raises(GrantError):
            gate.sessions.refresh(pair.refresh_token)


def test_revocation_of_a_token_leaves_its_session(gate: Gate) -> None:
    """Interface §2: it names the jti, never the session."""
    pair = gate.sessions.start("alice")
    gate.revoke(token=pair.access_token)
    with pytest.raises(InvalidToken):
        gate.verify(pair.access_token)
    assert gate.verify(gate.sessions.refresh(pair.refresh_token).access_token)


def test_login_right_after_logging_out_everywhere_lives(gate: Gate) -> None:
    """Threat 16: in the same second."""
    for _ in range(20):
        old = gate.sessions.start("alice")
        gate.revoke(sub="alice")
        new = gate.sessions.start("alice")
        with pytest.raises(InvalidToken):
            gate.verify(old.access_token)
        assert gate.verify(new.access_token)


def test_suspended_subject_cannot_log_in(gate: Gate, call: Any) -> None:
    """Until it is reinstated."""
    pair = call(gate, "start", "alice")
    gate.suspend("alice")
    with pytest.raises(SubjectSuspended):
        call(gate, "start", "alice")
    with pytest.raises(SubjectSuspended):
        call(gate, "refresh", pair.refresh_token)
    gate.reinstate("alice")
    assert call(gate, "start", "alice")


def test_theft_is_an_event(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """Told with its class, and nothing of the token; counted; and the reason is stable."""
    strict = made(refresh_grace=0.0)
    pair = strict.sessions.start("alice")
    fresh = strict.sessions.refresh(pair.refresh_token)
    with caplog.at_level(logging.INFO, "jwtgate"), pytest.raises(ReusedRefreshToken) as caught:
        strict.sessions.refresh(pair.refresh_token)
    assert caught.value.lineage == "recent predecessor"
    assert (caught.value.status, caught.value.error) == (400, "invalid_grant")
    told = [record for record in caplog.records if record.levelno >= logging.WARNING and "recent predecessor" in record.message]
    assert len(told) == 1
    own = " ".join(record.getMessage() for record in caplog.records if record.name == "jwtgate")  # the audit log says who
    for secret in (pair.refresh_token[4:30], pair.session_id, "alice"):
        assert secret not in own
    assert strict.status().refused == {"reused_refresh_token": 1}
    with caplog.at_level(logging.INFO, "jwtgate"), pytest.raises(GrantError):
        strict.sessions.refresh(fresh.refresh_token)
    assert any("unknown" in record.message for record in caplog.records)
    strict.close()


def test_racing_threads_get_one_pair(gate: Gate) -> None:
    """Eight at once, many times."""
    pair = gate.sessions.start("alice")
    for _ in range(20):
        pairs: list[TokenPair] = []
        shown = pair.refresh_token

        def race(shown: str = shown, pairs: list[TokenPair] = pairs) -> None:
            pairs.append(gate.sessions.refresh(shown))

        together(*[race] * 8)
        assert len(pairs) == 8 and len(set(pairs)) == 1
        pair = pairs[0]
    assert len(gate.sessions.list("alice")) == 1


def test_last_seen_follows_requests_without_a_round_trip(gate: Gate) -> None:
    """Told in batches by the follower; at the latest when the gate closes."""
    pair = gate.sessions.start("alice")
    (before,) = gate.sessions.list("alice")
    time.sleep(0.05)
    look_ups = gate.status().look_ups
    for _ in range(50):
        gate.verify(pair.access_token)
    assert gate.status().look_ups == look_ups
    gate.close()
    (after,) = gate.sessions.list("alice")
    assert after.last_seen_at >= before.last_seen_at + 0.05


def test_allowlist_admits_sessions_only() -> None:
    """A token of no session is refused, however well it is signed."""
    gate = made(validity="allowlist")
    assert gate.ready()
    pair = gate.sessions.start("alice")
    assert gate.verify(pair.access_token).subject == "alice"
    with pytest.raises(InvalidToken):
        gate.verify(gate.issue("alice"))
    gate.sessions.end(pair.session_id, wait=True)
    with pytest.raises(InvalidToken):
        gate.verify(pair.access_token)
    gate.close()


# Settings


def test_lives_are_those_of_the_settings() -> None:
    """ACCESS_TTL, REFRESH_TTL, IDLE_TTL, CLIENT_ID."""
    gate = made(access_ttl=60, refresh_ttl=3600, idle_ttl=1800, client_id="app")
    pair = gate.sessions.start("alice")
    assert pair.expires_in == 60
    assert jwt.decode(pair.access_token, SECRET, ["HS256"])["client_id"] == "app"
    (session,) = gate.sessions.list("alice")
    assert session.expires_at - session.created_at == pytest.approx(1800)
    gate.close()


def test_one_login_at_a_time(call: Any) -> None:
    """MAX_SESSIONS=1."""
    gate = made(max_sessions=1)
    first, second = call(gate, "start", "alice"), call(gate, "start", "alice")
    with pytest.raises(InvalidToken):
        gate.verify(first.access_token)
    assert gate.verify(second.access_token)
    gate.close()


def test_pair_that_no_cookie_holds_fails_with_its_size(call: Any) -> None:
    """At issue time, where a cookie carries it; elsewhere any size will do."""
    gate = made(locations=["header", "cookie"])
    with pytest.raises(ValueError, match="4096"):
        call(gate, "start", "alice", claims={"pad": "x" * 3500})
    assert call(gate, "list", "alice") == []
    gate.close()
    other = made()
    assert call(other, "start", "alice", claims={"pad": "x" * 3500})
    other.close()


def test_gate_that_cannot_sign_has_no_logins(call: Any) -> None:
    """SettingsError names what is missing."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from keymaking import pair_of

    gate = Gate(Settings(public_key=pair_of(ec.generate_private_key(ec.SECP256R1())).public_pem))
    with pytest.raises(SettingsError, match="JWTGATE_SECRET"):
        call(gate, "start", "alice")
    assert call(gate, "end", "anything").position, "a logout needs no key"
    gate.close()


# Cookies on responses


def test_cookies_are_set_and_cleared_in_django() -> None:
    """Its responses hold cookies by name, and write what the others write; what cannot hold any is refused."""
    settings.configured or settings.configure()
    gate, ours = made(locations=["cookie"], endpoints="/auth", csrf="double-submit"), DjangoResponse()
    ours.set_cookie("mine", "1")
    for change in (partial(gate.set_cookies, pair=gate.sessions.start("alice")), gate.clear_cookies):
        change(ours)
        change(theirs := WerkzeugResponse())
        wanted = theirs.headers.getlist("set-cookie")
        found = [cookie.OutputString() for cookie in ours.cookies.values()]
        assert [parts_of(cookie) for cookie in found] == [["mine=1", "path=/"], *map(parts_of, wanted)]
        assert len(wanted) == 3
        assert ours.headers["Cache-Control"] == "no-store"
        with pytest.raises(TypeError, match="Django"):
            change(object())
    gate.close()


def parts_of(cookie: str) -> list[str]:
    """In no order, since each writer has its own."""
    first, *rest = cookie.split("; ")
    return [first.replace('""', ""), *sorted(part.lower() for part in rest)]


@pytest.mark.parametrize("response", [JSONResponse({}), WerkzeugResponse()], ids=["starlette", "werkzeug"])
def test_cookies_are_set_and_cleared(response: Any) -> None:
    """On the responses of either framework, beside what the application set."""
    gate = made(locations=["cookie"], endpoints="/auth", csrf="double-submit")
    response.set_cookie("mine", "1")
    pair = gate.sessions.start("alice")
    gate.set_cookies(response, pair)
    cookies = response.headers.getlist("set-cookie")
    assert len(cookies) == 4
    assert any(
        cookie.startswith(f"__Host-access_token={pair.access_token}; Max-Age=900; Path=/; Secure; HttpOnly")
        for cookie in cookies
    )
    assert any("Path=/auth/refresh" in cookie and "__Secure-refresh_token=jgr_" in cookie for cookie in cookies)
    assert any(cookie.startswith("__Host-csrf_access_token=") and "HttpOnly" not in cookie for cookie in cookies)
    gate.clear_cookies(response)
    assert sum("Max-Age=0" in cookie for cookie in response.headers.getlist("set-cookie")) == 3
    gate.close()


@pytest.mark.parametrize("response", [None, object(), "text", [], {"headers": {}}])
def test_other_responses_are_refused_clearly(response: Any) -> None:
    """TypeError names what is wanted; nothing is set half."""
    gate = made()
    with pytest.raises(TypeError, match="Starlette"):
        gate.clear_cookies(response)
    gate.close()


# Claims of today


def test_provider_is_asked_at_each_refresh(gate: Gate, call: Any) -> None:
    """A decorator; what it says lies over the session's claims."""
    roles = {"alice": ["user"]}

    @gate.claims
    def claims(session: Session) -> dict[str, Any]:
        return {"roles": roles[session.subject]}

    pair = call(gate, "start", "alice", claims={"roles": roles["alice"]})
    roles["alice"] = ["admin"]
    gate.revoke(sub="alice", access_only=True)
    with pytest.raises(InvalidToken):
        gate.verify(pair.access_token)
    assert gate.verify(call(gate, "refresh", pair.refresh_token).access_token).claims["roles"] == ["admin"]
    assert claims is not None


def test_provider_may_be_awaited(gate: Gate) -> None:
    """From asyncio; the blocking face says that it cannot."""

    @gate.claims
    async def claims(session: Session) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"roles": ["admin"]}

    pair = gate.sessions.start("alice")
    fresh = asyncio.run(gate.aio.sessions.refresh(pair.refresh_token))
    assert gate.verify(fresh.access_token).claims["roles"] == ["admin"]
    with pytest.raises(UnavailableError, match="await"):
        gate.sessions.refresh(fresh.refresh_token)
    assert claims is not None


def test_plain_provider_does_not_hold_up_the_loop(gate: Gate) -> None:
    """It may wait for a database."""
    threads: list[int] = []

    @gate.claims
    def claims(session: Session) -> None:
        threads.append(threading.get_ident())

    pair = gate.sessions.start("alice")
    asyncio.run(gate.aio.sessions.refresh(pair.refresh_token))
    assert threads[0] != threading.get_ident()
    assert claims is not None


@pytest.mark.parametrize("error", [KeyError("alice"), StopIteration(), ValueError("alice"), RuntimeError("alice")])
def test_provider_that_fails_is_503_and_costs_nothing(gate: Gate, call: Any, error: Exception) -> None:
    """Logged with its traceback; the refresh token is still good."""

    def fails(session: Session) -> Any:
        raise error

    pair = call(gate, "start", "alice")
    gate.claims(fails)
    with pytest.raises(UnavailableError) as caught:
        call(gate, "refresh", pair.refresh_token)
    assert not isinstance(caught.value, StoreUnavailable)
    gate.claims(lambda session: None)
    assert call(gate, "refresh", pair.refresh_token)


@pytest.mark.parametrize(
    "told", [5, "roles", ["roles"], {"sub": "bob"}, {"exp": 5}, {"a": object()}, {5: 6}, {"scope": "\x00"}]
)
def test_claims_that_cannot_be_are_503_and_cost_nothing(
    gate: Gate, call: Any, told: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No client can do anything about them."""
    pair = call(gate, "start", "alice")
    gate.claims(lambda session: told)
    with caplog.at_level(logging.ERROR, "jwtgate"), pytest.raises(UnavailableError):
        call(gate, "refresh", pair.refresh_token)
    assert caplog.records
    gate.claims(lambda session: None)
    assert call(gate, "refresh", pair.refresh_token)


@pytest.mark.parametrize("provider", [None, 5, lambda: None, lambda one, two: None])
def test_what_is_no_provider_is_told(gate: Gate, provider: Any) -> None:
    """Where it is given, not at the first refresh."""
    with pytest.raises(TypeError, match="session"):
        gate.claims(provider)


# The refresh cookie's own rules


def request(*headers: tuple[bytes, bytes]) -> Request:
    return Request("POST", "/auth/refresh", b"/auth/refresh", ((b"host", b"app.example"), *headers))


def test_refresh_by_cookie_wants_the_sessions_value() -> None:
    """Double-submit is bound to the session, which the refresh token leads to: nothing changes before."""
    gate = made(locations=["cookie"], csrf="double-submit")
    pair = gate.sessions.start("alice")
    value = jwt.decode(pair.access_token, SECRET, ["HS256"])["csrf"].encode()
    from jwtgate.runtime.blocking import run

    for sent in ((), ((b"x-csrf-token", b"wrong"),), ((b"x-csrf-token", value), (b"x-csrf-token", value))):
        with pytest.raises(CrossSiteRequest):
            run(gate.plans.refresh(pair.refresh_token, request(*sent)), gate.performer)
    fresh = run(gate.plans.refresh(pair.refresh_token, request((b"x-csrf-token", value))), gate.performer)
    assert gate.sessions.refresh(fresh.refresh_token)
    gate.close()


def test_refresh_by_cookie_wants_our_own_page() -> None:
    """Fetch metadata, for the refresh cookie as for the other."""
    gate = made(locations=["cookie"])
    pair = gate.sessions.start("alice")
    from jwtgate.runtime.blocking import run

    for sent in ((), ((b"sec-fetch-site", b"cross-site"),), ((b"origin", b"https://evil.example"),)):
        with pytest.raises(CrossSiteRequest):
            run(gate.plans.refresh(pair.refresh_token, request(*sent)), gate.performer)
    assert run(gate.plans.refresh(pair.refresh_token, request((b"sec-fetch-site", b"same-origin"))), gate.performer)
    gate.close()
