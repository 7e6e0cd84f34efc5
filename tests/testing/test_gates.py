"""The gate of a test: real decisions, its own state, and in the place of the environment's."""

from __future__ import annotations

import gc
import unittest
import weakref
from typing import Any

import pytest
from keymaking import SECRET, craft
from shells import Sent, asgi_application, ask_asgi, ask_wsgi, wsgi_application

import jwtgate.gate
from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware as ASGIGate
from jwtgate.composition import Composition
from jwtgate.errors import (
    BadSignature,
    Expired,
    GrantError,
    InvalidToken,
    RefusedByCheck,
    Revoked,
    SettingsError,
    StoreUnavailable,
)
from jwtgate.messages import Session
from jwtgate.testing import FixtureGate, gate
from jwtgate.wsgi import JWTGateMiddleware as WSGIGate


def test_everything_but_clock_store_and_waiting_is_the_gate_of_production() -> None:
    """What decides is the real decision: the class replaces none of it."""
    replaced = {name for name in vars(FixtureGate) if name in {**vars(Composition), **vars(Gate)}} - {
        "__module__",
        "__doc__",
        "__annotations__",
    }
    assert replaced - {"__static_attributes__", "__firstlineno__", "__annotate_func__"} == {
        *("__init__", "_timed", "_opened", "_warn"),
        *("_Follower", "_Performer", "_Waiter"),
    }
    real = Gate(Settings(secret=SECRET))
    with gate() as fixture:
        for part in ("decision", "plans", "view", "health", "fetcher", "tally"):
            assert type(getattr(fixture, part)) is type(getattr(real, part))


def test_forged_and_foreign_tokens_are_refused() -> None:
    """The gate of a test lets nobody in: a suite that would pass with any token proves nothing."""
    with gate() as fixture:
        head, payload, _ = fixture.token_for("alice").split(".")
        with pytest.raises(BadSignature):
            fixture.verify(f"{head}.{payload}.{'A' * 43}")
        with pytest.raises(InvalidToken):
            fixture.verify(craft({"alg": "HS256"}, {"sub": "alice", "exp": 2**31}).decode())


def test_two_gates_know_nothing_of_each_other() -> None:
    """Neither rulings nor sessions nor time; their keys are the same unless they are set."""
    with gate() as one:
        token = one.token_for("alice")
        pair = one.sessions.start("alice")
        one.revoke(sub="alice")
    with gate() as other:
        assert (other.status().rulings, other.sessions.list("alice")) == (0, [])
        assert other.verify(token).subject == "alice"
        with pytest.raises(StoreUnavailable, match="may have been lost"):  # L3: it is older than this history
            other.sessions.refresh(pair.refresh_token)


def test_token_has_what_it_was_given() -> None:
    """Scopes in either form, more claims, and a life of its own."""
    with gate(access_ttl=300) as fixture:
        token = fixture.verify(fixture.token_for("alice", scopes=["a", "b"], claims={"tenant": "acme"}, ttl=60))
        assert (token.subject, token.scopes, token.claims["tenant"]) == ("alice", {"a", "b"}, "acme")
        assert token.expires_at == fixture.clock.wall() + 60
        assert fixture.verify(fixture.token_for("alice", scopes="a")).expires_at == fixture.clock.wall() + 300


def test_bearer_is_the_header_of_a_request() -> None:
    """A new token, or one that is there."""
    with gate() as fixture:
        assert fixture.bearer(token="abc") == {"Authorization": "Bearer abc"}
        [(name, value)] = fixture.bearer("alice", scopes="a").items()
        assert (name, fixture.verify(value.removeprefix("Bearer ")).scopes) == ("Authorization", {"a"})
        for wrong in ({}, {"sub": "alice", "token": "abc"}):
            with pytest.raises(TypeError, match="either a subject or token="):
                fixture.bearer(**wrong)


def test_token_under_allowlist_is_of_a_session() -> None:
    """Else it would never be admitted; its life is a setting."""
    with gate(validity="allowlist") as fixture:
        token = fixture.verify(fixture.token_for("alice", scopes="a"))
        assert [session.sid for session in fixture.sessions.list("alice")] == [token.session_id]
        with pytest.raises(ValueError, match="set access_ttl instead of ttl"):
            fixture.token_for("alice", ttl=5)


def test_sessions_and_tokens_end_on_the_frozen_clock() -> None:
    """Expiry, the refresh's grace, the session's idle time: all by one clock, without waiting."""
    with gate(access_ttl=60, refresh_ttl=1000, idle_ttl=200, refresh_grace=10) as fixture:
        pair = fixture.sessions.start("alice")
        fixture.verify(pair.access_token)
        fixture.clock.advance(59)
        fixture.verify(pair.access_token)
        fixture.clock.advance(1)
        with pytest.raises(Expired):
            fixture.verify(pair.access_token)
        second = fixture.sessions.refresh(pair.refresh_token)
        fixture.clock.advance(9)
        assert fixture.sessions.refresh(pair.refresh_token) == second
        fixture.clock.advance(200)
        with pytest.raises(GrantError):
            fixture.sessions.refresh(second.refresh_token)
        assert fixture.sessions.list("alice") == []


def test_settings_may_be_rows_or_settings_and_more_goes_before() -> None:
    """A key is set only where none is."""
    with gate({"issuer": "https://a.example", "lease": 2.0}, lease=3.0) as fixture:
        assert (fixture.settings.issuer, fixture.settings.lease) == ("https://a.example", 3.0)
    with gate(Settings(secret=SECRET, realm="ours"), mode="optional") as fixture:
        assert (fixture.settings.secret, fixture.settings.realm, fixture.settings.mode) == (SECRET, "ours", "optional")
        fixture.verify(craft({"alg": "HS256"}, {"sub": "alice", "exp": int(fixture.clock.wall()) + 60}).decode())
    with pytest.raises(SettingsError, match="JWTGATE_LEASE"), gate(lease=-1):
        pass


def test_whatever_store_the_settings_name_is_not_asked() -> None:
    """``Settings.from_env()`` of a deployment serves as it is: its server is not there, and need not be."""
    settings = Settings(
        secret=SECRET,
        store="redis://127.0.0.1:1/0",
        journal="sqlite:///nowhere/at/all.db",
        partitions=4,
        durability="replicas:2",
        strict=True,
    )
    with gate(settings) as fixture:
        assert fixture.settings.store == "memory://"
        assert fixture.revoke(sub="alice", wait=True).effective_everywhere


def test_nothing_unsafe_is_said_of_settings_and_store_of_a_test(caplog: pytest.LogCaptureFixture) -> None:
    """A memory store and no audience are what was asked for."""
    with gate() as fixture:
        fixture.verify(fixture.token_for("alice"))
    assert [record.message for record in caplog.records if "unsafe" in record.message] == []


@pytest.mark.parametrize("shell", ["asgi", "wsgi"])
def test_gate_of_a_test_is_given_to_the_middleware_like_any_other(shell: str) -> None:
    """``JWTGateMiddleware(app, gate=…)``: the application finds it, and is asked for nothing else."""
    with gate(mode="optional", exempt=["/health"]) as fixture:
        if shell == "asgi":
            answer = ask_asgi(ASGIGate(asgi_application, gate=fixture), Sent(headers=_lines(fixture.bearer("alice"))))
        else:
            answer = ask_wsgi(WSGIGate(wsgi_application, gate=fixture), Sent(headers=_lines(fixture.bearer("alice"))))
        assert answer.status == 200
        assert fixture.status().admitted == 1


def _lines(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.lower(), value) for name, value in headers.items())


# --- in the place of the environment's


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings in ``JWTGATE_*``, and no gate made from them yet."""
    monkeypatch.setattr(jwtgate.gate, "_environment_gates", {})
    monkeypatch.setenv("JWTGATE_SECRET", SECRET)
    yield
    for each in jwtgate.gate._environment_gates.values():
        each.close()


def test_from_env_gives_the_gate_of_the_test_and_afterwards_the_environments(environment: None) -> None:
    """The innermost one where several are; an exception puts things right, too."""
    real = Gate.from_env()
    with gate() as outer:
        assert Gate.from_env() is outer
        with pytest.raises(ZeroDivisionError), gate() as inner:
            assert Gate.from_env() is inner
            raise ZeroDivisionError
        assert Gate.from_env() is outer
    assert Gate.from_env() is real
    assert real.settings.secret == SECRET


def test_from_env_needs_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is read, so nothing in it is wrong."""
    monkeypatch.setenv("JWTGATE_LEASE", "soon")
    with gate() as fixture:
        assert Gate.from_env() is fixture
    with pytest.raises(SettingsError):
        Gate.from_env()


@pytest.mark.parametrize("shell", ["asgi", "wsgi"])
def test_application_that_was_built_before_uses_the_gate_of_the_test(environment: None, shell: str) -> None:
    """A module's application has its gate since it was imported; in each test it has that of the test."""
    if shell == "asgi":
        application: Any = ASGIGate(asgi_application)
        ask: Any = ask_asgi
    else:
        application, ask = WSGIGate(wsgi_application), ask_wsgi

    def status(headers: dict[str, str]) -> int:
        return int(ask(application, Sent(headers=_lines(headers))).status)

    for _ in range(2):
        with gate() as fixture:
            headers = fixture.bearer("alice")
            assert [status(headers), status(headers), fixture.status().hits] == [200, 200, 1]
            fixture.revoke(sub="alice")
            assert status(headers) == 401
            with fixture.faults.fail():
                assert status(fixture.bearer(token=headers["Authorization"][7:])) == 401
    real = Gate.from_env()
    assert status(headers) == 401, "afterwards it is the environment's again, whose secret is another"
    assert status({"Authorization": f"Bearer {real.issue('alice')}"}) == 200


def test_gate_of_an_earlier_test_is_that_of_the_test_that_runs() -> None:
    """A module that is imported in a test builds its application then, and is not imported again."""
    with gate() as first:
        held = Gate.from_env()
    with gate() as second:
        assert held is first
        assert held is not second
        token = held.issue("alice")
        second.revoke(sub="alice")
        with pytest.raises(Revoked):
            held.verify(token)
    with gate() as third:
        assert third.verify(token)
        assert held.verify(token)
        held.revoke(sub="alice")
        with pytest.raises(Revoked):
            third.verify(token)


def test_what_an_application_gave_its_gate_to_be_asked_is_asked_in_tests(environment: None) -> None:
    """Checks, claims and subjects of a module that took its gate when it was imported; those of a test end with it."""
    real = Gate.from_env()
    real.check(lambda token, request: token.subject != "mallory")
    real.check(lambda token, request: token.subject != "trudy", before=True)

    @real.claims
    def claims(session: Session) -> dict[str, str]:
        return {"tenant": "acme"}

    real.subjects(lambda identifier: None)
    with gate() as fixture:
        fixture.check(lambda token, request: token.subject != "bob")
        fixture.verify(fixture.token_for("alice"))
        for refused in ("mallory", "trudy", "bob"):
            with pytest.raises(RefusedByCheck):
                fixture.verify(fixture.token_for(refused))
        pair = fixture.sessions.refresh(fixture.sessions.start("alice").refresh_token)
        assert fixture.verify(pair.access_token).claims["tenant"] == "acme"
    with gate() as fixture:
        fixture.verify(fixture.token_for("bob"))
        with pytest.raises(RefusedByCheck):
            fixture.verify(fixture.token_for("mallory"))
    assert (len(real.checks.before), len(real.checks.after)) == (1, 1)


def test_gate_of_a_test_is_forgotten() -> None:
    """Ten thousand tests are ten thousand gates, and not in memory at once."""
    with gate() as fixture:
        fixture.verify(fixture.token_for("alice"))
        gone = weakref.ref(fixture)
    del fixture
    gc.collect()
    assert gone() is None


class TestOfUnittest(unittest.TestCase):
    """Those who write ``unittest`` have the same, as a context manager."""

    def setUp(self) -> None:
        self.gate = self.enterContext(gate(endpoints="/auth"))

    def test_token_expires_and_store_fails(self) -> None:
        """No fixture is needed."""
        token = self.gate.token_for("alice", ttl=60)
        with self.gate.faults.fail(), self.assertRaises(StoreUnavailable):
            self.gate.verify(token)
        self.assertEqual(self.gate.verify(token).subject, "alice")
        self.gate.clock.advance(60)
        with self.assertRaises(Expired):
            self.gate.verify(token)
