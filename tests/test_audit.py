"""Audit events: each way of changing what the store holds is told once, with who and what, and never with a token or a key."""

from __future__ import annotations

import ast
import asyncio
import contextvars
import inspect
import json
import logging
import threading
from base64 import b64encode
from contextlib import closing
from dataclasses import FrozenInstanceError, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlencode

import pytest
from cli.commanding import SECRET as CLI_SECRET
from endpoints.scripted_operations import FORM
from keymaking import SECRET
from provider_tokens import CREDENTIAL_CHANGE, LACKING, PROVIDER, TRANSMITTER, event, issuers, logout, subject
from shells import Sent, asgi_application, ask_asgi, ask_wsgi, wsgi_application

import jwtgate
from jwtgate import Gate, Settings, testing
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.audit import AuditEvent, Kind, Target
from jwtgate.cli.gates import opened, operator
from jwtgate.core.acting import acting
from jwtgate.core.effects import Write
from jwtgate.core.history import NotDurable, NotWritten
from jwtgate.core.receipts import Revoker
from jwtgate.errors import ReusedRefreshToken, Revoked, StoreUnavailable, SubjectSuspended
from jwtgate.runtime import blocking
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jwtgate.testing import FixtureGate

ALICE = "alice"
CLIENT, CLIENT_SECRET = "resource-server", "what-the-client-shows"
CLIENTS = f"{CLIENT}:{sha256(CLIENT_SECRET.encode()).hexdigest()}"
BASIC = ("authorization", f"Basic {b64encode(f'{CLIENT}:{CLIENT_SECRET}'.encode()).decode()}")


class World:
    """A gate whose events are kept."""

    def __init__(self, gate: FixtureGate) -> None:
        self.gate = gate
        self.events: list[AuditEvent] = []
        gate.audit(self.events.append)
        self.secrets: list[str] = []

    def login(self, sub: str = ALICE) -> Any:
        """A session; nothing of it is told here."""
        pair = self.gate.sessions.start(sub)
        self.secrets += [pair.access_token, pair.refresh_token]
        self.events.clear()
        return pair

    def token(self, sub: str = ALICE) -> str:
        """One of no session."""
        token = self.gate.issue(sub)
        self.secrets.append(token)
        return token

    def post(self, path: str, bearer: str | None = None, *headers: tuple[str, str], method: str = "POST", **form: str) -> None:
        """Over an endpoint, which must take it."""
        shown = () if bearer is None else (("authorization", f"Bearer {bearer}"),)
        body = urlencode(form).encode()
        lines = (*shown, *headers, FORM, ("content-length", str(len(body))))
        app = ASGIMiddleware(asgi_application, gate=self.gate)
        answer = ask_asgi(app, Sent(method, f"/auth{path}", lines, body))
        assert answer.status == 200, answer.body


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> Iterator[World]:
    """With everything that can be asked for."""
    caplog.set_level(logging.INFO, "jwtgate.audit")
    more = {"secret": SECRET, "endpoints": "/auth", "handles": ("tenant",), "version_claim": "ver", "clients": (CLIENTS,)}
    with testing.gate(**more) as gate:
        yield World(gate)


def _reuse(world: World) -> None:
    pair = world.login()
    world.secrets.append(world.gate.sessions.refresh(pair.refresh_token).refresh_token)
    world.gate.clock.advance(31)
    with pytest.raises(ReusedRefreshToken):
        world.gate.sessions.refresh(pair.refresh_token)


def _end_others(world: World) -> None:
    other, kept = world.login(), world.login()
    world.gate.sessions.end_all(ALICE, keep=kept.session_id)
    assert world.events[0].session_id == other.session_id


def _retire(world: World) -> None:
    handle = next(iter(world.gate.plans.policies.values())).keys.keys[0].handle
    blocking.run(world.gate.plans.retire((handle,), wait=False, key_id="k1"), world.gate.performer)


def _revoke_endpoint(world: World) -> None:
    token = world.token()
    world.post("/revoke", None, BASIC, token=token)


def _revoke_endpoint_refresh(world: World) -> None:
    pair = world.login()
    world.post("/revoke", None, BASIC, token=pair.refresh_token)


WAYS: dict[str, tuple[Callable[[World], object], dict[str, Any]]] = {
    "login": (lambda world: world.gate.sessions.start(ALICE), {"kind": "login", "target": "sid", "subject": ALICE}),
    "logout here": (
        lambda world: world.gate.sessions.end(world.login().session_id),
        {"kind": "logout", "target": "sid", "subject": ALICE},
    ),
    "logout of a session that nobody knows": (
        lambda world: world.gate.sessions.end("nobody-knows"),
        {"kind": "logout", "target": "sid", "session_id": "nobody-knows", "subject": None},
    ),
    "logout everywhere": (
        lambda world: world.gate.sessions.end_all(ALICE),
        {"kind": "logout", "target": "sub", "subject": ALICE, "session_id": None},
    ),
    "logout everywhere else": (_end_others, {"kind": "logout", "target": "sid", "subject": ALICE}),
    "theft": (_reuse, {"kind": "refresh_token_reuse", "target": "sid", "subject": ALICE}),
    "revoke token": (
        lambda world: world.gate.revoke(token=world.token()),
        {"kind": "revocation", "target": "token", "subject": ALICE},
    ),
    "revoke jti": (lambda world: world.gate.revoke(jti="7"), {"kind": "revocation", "target": "jti", "token_id": "7"}),
    "revoke sid": (
        lambda world: world.gate.revoke(sid=world.login().session_id),
        {"kind": "revocation", "target": "sid", "subject": ALICE},
    ),
    "revoke sub": (lambda world: world.gate.revoke(sub=ALICE), {"kind": "revocation", "target": "sub", "subject": ALICE}),
    "revoke access": (
        lambda world: world.gate.revoke(sub=ALICE, access_only=True),
        {"kind": "revocation", "target": "access_tokens", "subject": ALICE},
    ),
    "revoke claim": (
        lambda world: world.gate.revoke(claim=("tenant", "acme")),
        {"kind": "revocation", "target": "claim", "claim": ("tenant", "acme")},
    ),
    "revoke everything": (lambda world: world.gate.revoke(everything=True), {"kind": "revocation", "target": "everything"}),
    "suspend": (lambda world: world.gate.suspend(ALICE), {"kind": "suspension", "target": "sub", "subject": ALICE}),
    "reinstate": (lambda world: world.gate.reinstate(ALICE), {"kind": "reinstatement", "target": "sub", "subject": ALICE}),
    "version": (
        lambda world: world.gate.require_version(ALICE, 3),
        {"kind": "version_requirement", "target": "sub", "subject": ALICE, "version": 3},
    ),
    "retire": (_retire, {"kind": "key_retirement", "target": "key", "key_id": "k1"}),
    "POST /logout": (
        lambda world: world.post("/logout", world.login().access_token),
        {"kind": "logout", "target": "sid", "subject": ALICE, "actor": ALICE},
    ),
    "POST /logout of no session": (
        lambda world: world.post("/logout", world.token()),
        {"kind": "revocation", "target": "token", "subject": ALICE, "actor": ALICE},
    ),
    "POST /logout by refresh token": (
        lambda world: world.post("/logout", refresh_token=world.login().refresh_token),
        {"kind": "logout", "target": "sid", "subject": ALICE, "actor": None},
    ),
    "POST /logout-all": (
        lambda world: world.post("/logout-all", world.login().access_token),
        {"kind": "logout", "target": "sub", "subject": ALICE, "actor": ALICE},
    ),
    "DELETE /sessions": (
        lambda world: world.post(f"/sessions/{(pair := world.login()).session_id}", pair.access_token, method="DELETE"),
        {"kind": "logout", "target": "sid", "subject": ALICE, "actor": ALICE},
    ),
    "POST /revoke": (_revoke_endpoint, {"kind": "revocation", "target": "token", "subject": ALICE, "actor": CLIENT}),
    "POST /revoke of a refresh token": (
        _revoke_endpoint_refresh,
        {"kind": "logout", "target": "sid", "subject": ALICE, "actor": CLIENT},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_is_told_once_with_who_and_what(world: World, caplog: pytest.LogCaptureFixture, way: str) -> None:
    """To the callable and to the logger alike, with the position of the ruling; and no token, secret or line break in it."""
    ask, expected = WAYS[way]
    ask(world)
    (told,) = world.events
    assert {name: getattr(told, name) for name in expected} == expected
    assert told.outcome == "done"
    assert told.at == pytest.approx(world.gate.clock.wall(), abs=1)
    assert told.position is not None and told.position.startswith(world.gate.status().position.partition(":")[0])  # type: ignore[union-attr]
    record = [each for each in caplog.records if each.name == "jwtgate.audit"][-1]
    assert record.audit == told.as_dict()  # type: ignore[attr-defined]
    assert record.getMessage() == str(told)
    whole = json.dumps(record.audit) + caplog.text + repr(told)  # type: ignore[attr-defined]
    assert not [secret for secret in (*world.secrets, SECRET, CLIENT_SECRET) if secret in whole]


def test_session_that_makes_room_is_told_beside_the_login() -> None:
    """``MAX_SESSIONS``: the oldest was evicted by somebody's login, in the same step."""
    with testing.gate(max_sessions=1) as gate:
        world = World(gate)
        first = world.login()
        second = gate.sessions.start(ALICE)
    assert [(told.kind, told.session_id) for told in world.events] == [
        ("session_evicted", first.session_id),
        ("login", second.session_id),
    ]
    assert len({told.position for told in world.events}) == 1


def test_key_of_a_subject_that_is_renewed_is_told() -> None:
    """``DERIVED_KEYS``."""
    with testing.gate(derived_keys=True) as gate:
        world = World(gate)
        gate.renew_key(ALICE)
    assert [(told.kind, told.target, told.subject) for told in world.events] == [("key_renewal", "sub", ALICE)]


PROVIDERS: dict[str, tuple[str, Callable[[float], bytes], dict[str, Any]]] = {
    "logout of a session": (
        "/backchannel-logout",
        lambda now: logout(now=now),
        {
            "kind": "provider_logout",
            "target": "sid",
            "session_id": "s1",
            "subject": "u1",
            "issuer": PROVIDER,
            "actor": PROVIDER,
        },
    ),
    "logout of a subject": (
        "/backchannel-logout",
        lambda now: logout(now=now, sid=LACKING),
        {"kind": "provider_logout", "target": "sub", "session_id": None, "subject": "u1", "actor": PROVIDER},
    ),
    "session revoked": (
        "/events",
        lambda now: event(now=now),
        {"kind": "security_event", "target": "sub", "subject": "u1", "issuer": PROVIDER, "actor": TRANSMITTER},
    ),
    "password changed": (
        "/events",
        lambda now: event(
            now=now, events={CREDENTIAL_CHANGE: {"credential_type": "password", "change_type": "update", "subject": subject()}}
        ),
        {"kind": "security_event", "target": "sub", "subject": "u1", "actor": TRANSMITTER},
    ),
    "one token": (
        "/events",
        lambda now: event(now=now, sub_id={"format": "jwt_id", "iss": PROVIDER, "jti": "a1"}),
        {"kind": "security_event", "target": "jti", "token_id": "a1", "issuer": PROVIDER, "actor": TRANSMITTER},
    ),
}


@pytest.mark.parametrize("shell", ["asgi", "wsgi"])
@pytest.mark.parametrize("way", PROVIDERS)
def test_what_a_provider_tells_is_told_once(shell: str, way: str) -> None:
    """Heard a second time it changes nothing, so nothing is told."""
    path, made, expected = PROVIDERS[way]
    with testing.gate(issuers=issuers(), endpoints="/auth") as gate:
        world = World(gate)
        token = made(gate.clock.wall())
        body = urlencode({"logout_token": token}).encode() if path == "/backchannel-logout" else token
        kind = FORM if path == "/backchannel-logout" else ("content-type", "application/secevent+jwt")
        sent = Sent("POST", f"/auth{path}", (kind, ("content-length", str(len(body)))), body)
        for _ in range(2):
            if shell == "asgi":
                answer = ask_asgi(ASGIMiddleware(asgi_application, gate=gate), sent)
            else:
                answer = ask_wsgi(WSGIMiddleware(wsgi_application, gate=gate), sent)
            assert answer.status in {200, 202}, answer.body
    (told,) = world.events
    assert {name: getattr(told, name) for name in expected} == expected
    assert token.decode() not in repr(told)


def test_command_line_is_told_where_somebody_keeps_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """It speaks to the store by the same gate."""
    caplog.set_level(logging.INFO, "jwtgate")
    monkeypatch.setenv("JWTGATE_SECRET", CLI_SECRET)
    monkeypatch.setenv("JWTGATE_STORE", f"sqlite:///{tmp_path / 'store.db'}")
    monkeypatch.setenv("JWTGATE_LEASE", "0.25")
    with opened("revoke") as gate:
        gate.once_healed(lambda: gate.revoke(jti="7"))
    (record,) = [each for each in caplog.records if each.name == "jwtgate.audit"]
    assert (record.audit["token_id"], record.audit["actor"]) == ("7", operator())
    assert logging.getLogger("jwtgate.audit").level == logging.NOTSET


# --- how it ends


def test_what_the_store_did_not_answer_is_unknown(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """W5: it raises, and it may stand all the same."""
    world.gate.faults.fail()
    with pytest.raises(StoreUnavailable):
        world.gate.suspend(ALICE)
    (told,) = world.events
    assert (told.kind, told.outcome, told.position) == ("suspension", "unknown", None)
    assert told.at == world.gate.clock.wall()
    assert caplog.records[-1].levelno == logging.INFO
    assert not world.gate.tally.changes


def test_what_was_not_written_is_not_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection, no change: nothing about anybody is to be looked into."""

    def refuse(*_: Any) -> None:
        raise NotWritten("connection refused")

    monkeypatch.setattr(world.gate.store, "write", refuse)
    with pytest.raises(NotWritten):
        world.gate.suspend(ALICE)
    assert world.events == []


def test_what_stands_less_firmly_than_was_asked_for_is_unconfirmed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """``JWTGATE_DURABILITY``, or a journal that does not answer: it is there, with its position."""
    write = world.gate.store.write

    def weak(*given: Any) -> None:
        written = write(*given)
        assert written is not None
        raise NotDurable(written, "fewer replicas")

    monkeypatch.setattr(world.gate.store, "write", weak)
    with pytest.raises(NotDurable):
        world.gate.revoke(sub=ALICE)
    (told,) = world.events
    assert told.outcome == "unconfirmed" and told.position is not None
    assert world.gate.tally.changes == {("revocation", "sub"): 1}


def test_what_was_not_written_is_not_told(world: World) -> None:
    """A login that a suspension forbids, a target that is none, a refresh token that is nobody's."""
    world.gate.suspend(ALICE)
    world.events.clear()
    with pytest.raises(SubjectSuspended):
        world.gate.sessions.start(ALICE)
    with pytest.raises(ValueError, match="sub must be"):
        world.gate.suspend("")
    assert world.events == []


def test_a_refresh_is_counted_and_not_told(world: World) -> None:
    """A rotation ends nothing that anybody wanted."""
    pair = world.login()
    world.gate.sessions.refresh(pair.refresh_token)
    assert world.events == []
    assert world.gate.tally.refreshes == 1


def test_filter_of_the_audit_logger_may_fail(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What is stored is stored: nobody is told that it failed, and who was given as auditor hears of it."""

    def fail(_record: logging.LogRecord) -> bool:
        raise ZeroDivisionError

    logger = logging.getLogger("jwtgate.audit")
    logger.addFilter(fail)
    try:
        with caplog.at_level(logging.INFO, "jwtgate.audit"):
            world.gate.revoke(sub=ALICE)
    finally:
        logger.removeFilter(fail)
    assert [event.kind for event in world.events] == ["revocation"]


def test_what_the_application_gave_may_fail(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What happened has happened: the outcome is the same, others are told, and the log says so without a claim."""

    @world.gate.audit
    def broken(_event: AuditEvent) -> None:
        raise RuntimeError("the queue is full")

    later: list[AuditEvent] = []
    world.gate.audit(later.append)
    assert world.gate.revoke(sub=ALICE).position
    assert later == world.events
    assert "what happened has happened" in caplog.text


def test_what_the_application_gave_may_act(world: World) -> None:
    """It may answer theft with the end of all that the subject has."""

    @world.gate.audit
    def end_all(event: AuditEvent) -> None:
        if event.kind == "refresh_token_reuse" and event.subject is not None:
            world.gate.sessions.end_all(event.subject)

    other = world.login()
    _reuse(world)
    assert [told.kind for told in world.events] == ["refresh_token_reuse", "logout"]
    with pytest.raises(Revoked):
        world.gate.verify(other.access_token)


@pytest.mark.parametrize("given", [None, 7, "text"])
def test_what_cannot_be_called_is_refused(given: Any) -> None:
    """At the start, not at the first theft."""
    with testing.gate() as gate, pytest.raises(TypeError, match="audit is a function"):
        gate.audit(given)


def test_what_must_be_awaited_is_refused() -> None:
    """Nobody would await it: it is called in a thread, where it may wait."""

    async def later(_event: AuditEvent) -> None:
        raise AssertionError("never called")

    class Later:
        async def __call__(self, _event: AuditEvent) -> None:
            raise AssertionError("never called")

    with testing.gate() as gate:
        for given in (later, Later()):
            with pytest.raises(TypeError, match="plain function"):
                gate.audit(given)


def test_gate_takes_it_when_it_is_made() -> None:
    """``Gate(settings, audit=…)``."""
    events: list[AuditEvent] = []
    with closing(Gate(Settings(secret=SECRET, lease=0.25), audit=events.append)) as gate:
        gate.revoke(jti="7")
    assert [told.token_id for told in events] == ["7"]


def test_events_survive_a_fork() -> None:
    """A forked child composes anew what it works with, and not what the application gave."""
    with testing.gate() as gate:
        world = World(gate)
        gate.reset_after_fork()
        gate.revoke(jti="7")
    assert [told.token_id for told in world.events] == ["7"]


def test_fixture_gate_takes_over_what_the_application_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does its checks."""
    events: list[AuditEvent] = []
    monkeypatch.setenv("JWTGATE_SECRET", SECRET)
    with closing(Gate.from_env()) as own:
        own.audit(events.append)
        with testing.gate() as gate:
            gate.revoke(jti="7")
        own.onlookers.auditors.clear()
    assert [told.token_id for told in events] == ["7"]


request_id = contextvars.ContextVar("request_id", default="none")


def test_awaited_calls_are_told_beside_the_loop_in_their_own_context() -> None:
    """So it may wait, and what filters of the log look for is there."""
    found: list[tuple[str, bool]] = []

    async def asked(gate: Gate) -> None:
        request_id.set("r-17")
        await gate.aio.revoke(jti="7")

    with testing.gate() as gate:
        gate.audit(lambda _: found.append((request_id.get(), threading.current_thread() is threading.main_thread())))
        asyncio.run(asked(gate))
    assert found == [("r-17", False)]


# --- what cannot be smuggled in

HOSTILE = {
    "line break": 'alice\nrevocation done: target="everything"',
    "carriage return": "a\r\nINFO root: b",
    "escape": "\x1b[2J\x1b]0;owned\x07",
    "separators": "a\u2028b\u2029c\x85d",
    "quotes": 'a" actor="root',
    "percent": "%s %(name)s {0}",
    "bidi": "\u202egnp.exe",
    "long": "x" * 8192,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_subject_stays_one_value_of_one_line(world: World, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """No control character and nothing but ASCII in the line; whole and as it is in the event."""
    sub = HOSTILE[name]
    world.gate.suspend(sub)
    (told,) = world.events
    line = caplog.records[-1].getMessage()
    assert told.subject == sub
    assert line.isascii() and line.isprintable() and len(line) < 600
    assert line.count(" subject=") == 1
    assert json.loads(line.partition(" subject=")[2].partition(" position=")[0].removesuffix("...")) == sub[:256]
    assert json.loads(json.dumps(told.as_dict()))["subject"] == sub


def test_lone_surrogate_reaches_no_event(world: World) -> None:
    """Threat 7: nothing that UTF-8 cannot carry is written, so nothing is told of it; and a line would bear it."""
    with pytest.raises(ValueError, match="UTF-8"):
        world.gate.suspend("a\ud800")
    assert world.events == []
    assert str(AuditEvent("suspension", "sub", subject="a\ud800")).isascii()


def test_hostile_claim_stays_one_value(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Name and value of a revocation by claim, too."""
    world.gate.revoke(claim=("tenant", "a\nb"))
    assert 'claim="tenant=a\\nb"' in caplog.records[-1].getMessage()


def test_event_is_frozen() -> None:
    """Several are told of it."""
    told = AuditEvent("login", "sid")
    with pytest.raises(FrozenInstanceError):
        told.subject = "mallory"  # type: ignore[misc]
    assert replace(told, subject="a").subject == "a"


# --- who acts


def test_actor_is_named_in_writes_and_nothing_else_changes() -> None:
    """Answers and errors pass through, and a plan that is given up is closed."""
    ended: list[str] = []

    def plan() -> Any:
        try:
            answer = yield Write((), 0.0, events=(AuditEvent("logout", "sid"),))
            try:
                yield Write((), 1.0)
            except StoreUnavailable as error:
                return answer, str(error)
        finally:
            ended.append("closed")

    acted = acting("root", plan())
    assert next(acted).events[0].actor == "root"
    assert acted.send("written").events == ()
    with pytest.raises(StopIteration) as stopped:
        acted.throw(StoreUnavailable("down"))
    assert stopped.value.value == ("written", "down")
    given_up = acting("root", plan())
    next(given_up)
    given_up.close()
    assert ended == ["closed", "closed"]


def test_write_that_history_lost_is_told_as_repeated() -> None:
    """W3: who counts must not count it twice, and the position of the first is worth nothing."""
    settings = Settings(secret=SECRET, lease=0.25)
    events: list[AuditEvent] = []
    with closing(Gate(settings, audit=events.append)) as gate:
        assert gate.ready()
        write = gate.store.write

        def losing(*given: Any) -> Any:
            written = write(*given)
            if len(events) == 0:
                gate.store.feed().lose(gate.store.workers()[0].name)
            return written

        gate.store.write = losing  # type: ignore[method-assign]
        receipt = gate.revoke(jti="7", wait=True)
    assert [told.outcome for told in events] == ["done", "repeated"]
    assert events[1].position == receipt.position
    assert events[0].position != receipt.position


# --- nothing is left out

ELSEWHERE = {"session_evicted", "key_renewal"}
"""Kinds that have a test of their own above."""

UNTOLD = {
    "core/sessions/rotation.py": "a refresh ends nothing that anybody wanted",
    "core/sessions/renewal.py": "nor does an access token that gives way to its successor (ROTATE_AFTER)",
}
"""Where something is written and nothing told, with the reason."""


def test_each_kind_and_target_has_its_way_here() -> None:
    """The two closed sets, whole."""
    expected = [row for _, row in WAYS.values()] + [row for _, _, row in PROVIDERS.values()]
    assert {row["kind"] for row in expected} | ELSEWHERE == set(get_args(Kind))
    assert {row["target"] for row in expected} == set(get_args(Target))


def test_every_write_of_the_core_is_told_or_says_why_not() -> None:
    """Whoever adds a way of revoking must name its event: the revoker asks for one, and nobody else writes."""
    root = Path(jwtgate.__file__).parent
    untold = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Write":
                names = {keyword.arg for keyword in node.keywords}
                if len(node.args) < 5 and "events" not in names:
                    untold.add(str(path.relative_to(root)))
    assert untold == set(UNTOLD)
    parameter = inspect.signature(Revoker.revoke).parameters["events"]
    assert parameter.default is inspect.Parameter.empty
