"""Logout tokens and security events over a real gate, through both shells: every answer, and what it then does."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from endpoints.scripted_operations import FORM
from provider_tokens import (
    CREDENTIAL_CHANGE,
    LACKING,
    PAIRS,
    PROVIDER,
    RECEIVER,
    SESSION_REVOKED,
    SSF,
    TRANSMITTER,
    access,
    event,
    issuers,
    logout,
    subject,
)
from shells import Answer, Sent, asgi_application, ask_asgi, ask_wsgi, wsgi_application

from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.errors import GrantError, StoreUnavailable
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

AGREED = "Bearer what-was-agreed-on"
EVENT = ("content-type", "application/secevent+jwt")


class World:
    """One gate behind one shell."""

    def __init__(self, shell: str, **settings: Any) -> None:
        given = {"issuers": issuers(), "endpoints": "/auth", "lease": 0.25, **settings}
        self.gate = Gate(Settings(**given))
        assert self.gate.ready()
        if shell == "asgi":
            app: Any = ASGIMiddleware(asgi_application, gate=self.gate)
            self.send = lambda sent: ask_asgi(app, sent)
        else:
            wsgi: Any = WSGIMiddleware(wsgi_application, gate=self.gate)
            self.send = lambda sent: ask_wsgi(wsgi, sent)

    def post(self, path: str, body: bytes, *headers: tuple[str, str], method: str = "POST") -> Answer:
        length = (("content-length", str(len(body))),) if body else ()
        return self.send(Sent(method, f"/auth{path}", (*headers, *length), body))

    def logout(self, token: bytes, **more: str) -> Answer:
        return self.post("/backchannel-logout", urlencode({"logout_token": token, **more}).encode(), FORM)

    def tell(self, token: bytes, *headers: tuple[str, str]) -> Answer:
        return self.post("/events", token, EVENT, *headers)

    def status(self, token: bytes | str) -> int:
        text = token if isinstance(token, str) else token.decode()
        return self.send(Sent("GET", "/", (("authorization", f"Bearer {text}"),))).status


@pytest.fixture(params=["asgi", "wsgi"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Each shell."""
    made = World(request.param)
    with closing(made.gate):
        yield made


def members(answer: Answer) -> Any:
    """Of a JSON body; every answer forbids storing."""
    assert answer.header("cache-control") == "no-store"
    return json.loads(answer.body) if answer.body else None


def test_logout_at_the_provider_refuses_its_tokens(world: World) -> None:
    """200 with what the receipt proves; remembered tokens are gone, other sessions stay, later ones begin."""
    now = time.time()
    dead, live = access(now, sid="s1"), access(now, sid="s2")
    assert [world.status(token) for token in (dead, live, dead)] == [200, 200, 200]
    answer = world.logout(logout(now=now))
    told = members(answer)
    assert answer.status == 200 and answer.header("content-type") == "application/json"
    assert told["effective_everywhere"] is True and told["workers"] == 1
    assert [world.status(token) for token in (dead, live)] == [401, 200]


def test_told_twice_is_200_twice(world: World) -> None:
    """And the second time does nothing."""
    token = logout(now=time.time())
    assert world.logout(token).status == 200
    end = world.gate.store.workers()[1]
    again = world.logout(token)
    assert (again.status, members(again)) == (200, {})
    assert world.gate.store.workers()[1] == end


def test_unknown_session_is_200(world: World) -> None:
    """OpenID Connect Back-Channel Logout §2.8."""
    assert world.logout(logout(now=time.time(), sid="never", sub="nobody")).status == 200


def test_other_parameters_are_ignored(world: World) -> None:
    """§2.5: repeated, empty or unreadable ones, too; but there is one logout_token."""
    token = logout(now=time.time()).decode()
    odd = f"state=x&state=y&%ff=%ff&=&a&client_id=q%zz&logout%5Ftoken={quote(token)}&z=%00"
    assert world.post("/backchannel-logout", odd.encode(), FORM).status == 200
    assert world.status(access(time.time(), sid="s1")) == 401


BAD_FORMS = {
    "nothing": b"",
    "no token": b"a=b",
    "empty token": b"logout_token=",
    "two tokens": b"logout_token=a.b.c&logout_token=a.b.c",
    "two tokens, one escaped": b"logout_token=a.b.c&logout%5Ftoken=a.b.c",
    "one of them empty": b"logout_token=&logout_token=a.b.c",
    "broken escape": b"logout_token=%zz",
    "NUL": b"logout_token=a%00b",
    "not UTF-8": b"logout_token=%ff",
    "no JWT": b"logout_token=a.b.c",
    "other name": b"LOGOUT_TOKEN=a.b.c",
}


@pytest.mark.parametrize("name", BAD_FORMS)
def test_bad_form_is_400_in_the_words_of_oauth(world: World, name: str) -> None:
    """§2.8 and RFC 6749 §5.2."""
    answer = world.post("/backchannel-logout", BAD_FORMS[name], FORM)
    assert answer.status == 400 and answer.header("content-type") == "application/json"
    assert set(members(answer)) == {"error", "error_description"} and members(answer)["error"] == "invalid_request"


def test_every_refusal_is_the_same_answer(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Threat 3: the caller learns nothing of the reason; the log has it, and no claim (threat 29)."""
    caplog.set_level(logging.DEBUG, "jwtgate")
    now = time.time()
    bad = [
        logout(now=now, aud="x"),
        logout(now=now, iss="https://evil.example"),
        logout(now=now, key="p384", alg="ES384"),
        logout({"kid": 'k\r\nX: "é"'}, now=now, key="p384", alg="ES384"),
        logout(now=now, nonce="n"),
        logout(now=now - 10**6),
        access(now),
        b"x" * 9000,
    ]
    assert len({world.logout(token) for token in bad}) == 1
    for reason in ("wrong_audience", "wrong_issuer", "unknown_key", "wrong_type", "expired", "malformed"):
        assert reason in caplog.text
    for secret in ("u1", "s1", "l1", "evil", "shop-web", "X:"):
        assert secret not in caplog.text


@pytest.mark.parametrize("path", ["/backchannel-logout", "/events"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_405(world: World, path: str, method: str) -> None:
    """RFC 9110 §15.5.6."""
    answer = world.post(path, b"", method=method)
    assert (answer.status, answer.header("allow"), answer.header("cache-control")) == (405, "POST", "no-store")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/backchannel-logout", "application/json"),
        ("/backchannel-logout", "application/logout+jwt"),
        ("/backchannel-logout", "multipart/form-data; boundary=x"),
        ("/backchannel-logout", None),
        ("/events", "application/x-www-form-urlencoded"),
        ("/events", "application/jwt"),
        ("/events", "application/json"),
        ("/events", "application/secevent+jwt; charset=utf-8"),
        ("/events", None),
    ],
)
def test_other_media_types_are_415(world: World, path: str, kind: str | None) -> None:
    """RFC 9110 §15.5.16, RFC 8935 §2.1."""
    headers = () if kind is None else (("content-type", kind),)
    answer = world.post(path, b"logout_token=x", *headers)
    assert (answer.status, answer.header("cache-control")) == (415, "no-store")


@pytest.mark.parametrize(("path", "kind"), [("/backchannel-logout", FORM), ("/events", EVENT)])
def test_body_over_the_bound_is_413(world: World, path: str, kind: tuple[str, str]) -> None:
    """Unread, where its length is told (threat 4)."""
    answer = world.post(path, b"logout_token=" + b"x" * 20_000, kind)
    assert (answer.status, answer.header("cache-control")) == (413, "no-store")


@pytest.mark.parametrize("path", ["/backchannel-logout", "/events"])
def test_store_down_is_503(world: World, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider may tell again: nothing is remembered as done."""

    def fail(*_: Any) -> Any:
        raise StoreUnavailable("down")

    now = time.time()
    with monkeypatch.context() as patched:
        patched.setattr(world.gate.store, "write", fail)
        answer = world.logout(logout(now=now)) if path == "/backchannel-logout" else world.tell(event(now=now))
        assert (answer.status, answer.header("cache-control")) == (503, "no-store")
        assert answer.header("retry-after") is not None
    assert world.status(access(now)) == 200
    again = world.logout(logout(now=now)) if path == "/backchannel-logout" else world.tell(event(now=now))
    assert again.status in {200, 202} and world.status(access(now)) == 401


@pytest.mark.parametrize("shell", ["asgi", "wsgi"])
def test_logout_that_nobody_configured_is_400_and_one_warning(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    """The variable is named, once. Where no issuer tells events their path is the application's."""
    entries = [
        {name: value for name, value in entry.items() if "_audience" not in name and name != "admits"} for entry in issuers()
    ]
    world = World(shell, issuers=entries)
    with closing(world.gate):
        for _ in range(3):
            assert world.logout(logout(now=time.time())).status == 400
            assert world.tell(event(now=time.time())).status == 401
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert sum("JWTGATE_LOGOUT_AUDIENCE" in line for line in warnings) == 1


def test_no_access_token_is_asked_for(world: World) -> None:
    """The statement is the credential: what else the request shows is not read."""
    now = time.time()
    dead = ("authorization", "Bearer dead.dead.dead")
    body = urlencode({"logout_token": logout(now=now)}).encode()
    assert world.post("/backchannel-logout", body, FORM, dead).status == 200
    assert world.tell(event(now=now), dead).status == 202


# --- sessions of ours


def test_linked_session_ends_with_the_providers(world: World) -> None:
    """Its access tokens, its refresh, its place in the list; both faces start one."""
    sessions = world.gate.sessions
    pair = sessions.start("alice", upstream=(PROVIDER, "s1", "u1"))
    other = asyncio.run(world.gate.aio.sessions.start("alice", upstream=(PROVIDER, "s2", "u1")))
    plain = sessions.start("alice")
    pair = sessions.refresh(pair.refresh_token)
    assert [world.status(each.access_token) for each in (pair, other, plain)] == [200, 200, 200]
    assert world.logout(logout(now=time.time())).status == 200
    assert [world.status(each.access_token) for each in (pair, other, plain)] == [401, 200, 200]
    with pytest.raises(GrantError):
        sessions.refresh(pair.refresh_token)
    assert {each.sid for each in sessions.list("alice")} == {other.session_id, plain.session_id}
    assert world.logout(logout(now=time.time() + 1, jti="l2", sid=LACKING)).status == 200
    assert [world.status(each.access_token) for each in (other, plain)] == [401, 200]
    with pytest.raises(GrantError):
        sessions.start("alice", upstream=(PROVIDER, "s1", None))


def test_linked_session_fits_into_a_cookie() -> None:
    """The digests of its link cost 120 bytes or so."""
    with closing(Gate(Settings(issuers=issuers(), locations=["cookie"]))) as gate:
        plain, linked = gate.sessions.start("alice"), gate.sessions.start("alice", upstream=(PROVIDER, "s" * 200, "u" * 200))
        assert len(linked.access_token) - len(plain.access_token) < 200


def test_replaced_access_token_keeps_its_link() -> None:
    """ROTATE_AFTER: the new one dies with the session at the provider as the old one would have."""
    world = World("asgi", rotate_after=1)
    with closing(world.gate):
        pair = world.gate.sessions.start("alice", upstream=(PROVIDER, "s1", "u1"))
        answer = world.send(Sent("GET", "/", (("authorization", f"Bearer {pair.access_token}"),)))
        fresh = answer.header("x-access-token")
        assert fresh is not None and world.gate.verify(fresh).claims["jgu"]["sid"]
        assert world.logout(logout(now=time.time())).status == 200
        assert world.status(fresh) == 401


# --- events

VERIFICATION = {SSF + "verification": {"state": "x"}}


def test_event_is_202_with_nothing(world: World) -> None:
    """RFC 8935 §2.2, also told again; what it names is refused."""
    now = time.time()
    token = event(now=now)
    assert world.status(access(now)) == 200
    for _ in range(2):
        answer = world.tell(token)
        assert (answer.status, answer.body, answer.header("cache-control")) == (202, b"", "no-store")
    assert world.status(access(now)) == 401


def test_changed_password_ends_linked_sessions(world: World) -> None:
    """CAEP 1.0 §3.3."""
    pair = world.gate.sessions.start("alice", upstream=(PROVIDER, "s1", "u1"))
    payload = {"credential_type": "password", "change_type": "update"}
    assert world.tell(event(now=time.time() + 1, events={CREDENTIAL_CHANGE: payload})).status == 202
    assert world.status(pair.access_token) == 401


def test_verification_and_unknown_events_are_202(world: World) -> None:
    """Shared Signals Framework §8.1.4."""
    stream = {"format": "opaque", "id": "stream"}
    assert world.tell(event(now=time.time(), sub_id=stream, events=VERIFICATION)).status == 202
    assert world.tell(event(now=time.time(), jti="e2", sub_id=LACKING, events={"urn:x": {}})).status == 202


CODES: list[tuple[str, dict[str, Any]]] = [
    ("invalid_request", {"exp": 2**31}),
    ("invalid_request", {"events": {}}),
    ("invalid_request", {"sub_id": {"format": "iss_sub"}}),
    ("invalid_request", {"events": {CREDENTIAL_CHANGE: {}}}),
    ("invalid_request", {"header": {"typ": "JWT"}}),
    ("invalid_key", {"key": "p256", "alg": "ES256"}),
    ("invalid_key", {"forged": True}),
    ("invalid_issuer", {"iss": "https://evil.example"}),
    ("invalid_audience", {"aud": "another"}),
    ("invalid_audience", {"iss": PROVIDER, "key": "p256", "alg": "ES256"}),
]


@pytest.mark.parametrize(("code", "how"), CODES)
def test_refused_event_has_a_registered_code(world: World, code: str, how: dict[str, Any]) -> None:
    """RFC 8935 §2.3 and §2.4."""
    how = dict(how)
    forged, header = how.pop("forged", False), how.pop("header", None)
    token = event(header, now=time.time(), **how)
    if forged:
        token = token.rpartition(b".")[0] + b"." + event(jti="x").rpartition(b".")[2]
    answer = world.tell(token)
    assert answer.status == 400 and answer.header("content-type") == "application/json"
    assert answer.header("content-language") == "en"
    assert set(members(answer)) == {"err", "description"} and members(answer)["err"] == code


@pytest.mark.parametrize("shell", ["asgi", "wsgi"])
def test_transmitter_shows_what_was_agreed_on(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    """Whole and exactly; before its token is looked at."""
    caplog.set_level(logging.DEBUG, "jwtgate")
    world = World(shell, events_authorization=AGREED)
    with closing(world.gate):
        token = event(now=time.time())
        wrong = [(), (("authorization", "Bearer x"),), (("authorization", AGREED + "x"),), (("authorization", AGREED[:-1]),),
                 (("authorization", AGREED.upper()),), (("authorization", AGREED), ("authorization", AGREED))]  # fmt: skip
        for headers in wrong:
            answer = world.tell(token, *headers)
            assert answer.status == 401 and answer.header("www-authenticate") == 'Bearer realm="jwtgate"'
            assert members(answer)["err"] == "authentication_failed"
        assert world.status(access(time.time())) == 200
        assert world.tell(token, ("authorization", AGREED)).status == 202
        assert world.status(access(time.time())) == 401
        assert world.logout(logout(now=time.time())).status == 200  # of its own provider, which agreed on nothing
    assert "agreed-on" not in caplog.text


def test_application_tells_whom_an_address_means(world: World) -> None:
    """A plain function serves both shells; it sees the identifier and nothing else."""
    seen: list[Any] = []

    @world.gate.subjects
    def mapper(identifier: Any) -> tuple[str, str] | None:
        seen.append(identifier)
        return (PROVIDER, "u1") if identifier["email"] == "alice@shop.example" else None

    now = time.time()
    for number, (email, status) in enumerate([("bob@shop.example", 200), ("alice@shop.example", 401)]):
        who = {"format": "email", "email": email}
        assert world.tell(event(now=now, jti=f"e{number}", sub_id=who)).status == 202
        assert world.status(access(now)) == status and seen[-1] == who
    assert callable(mapper)


def test_coroutine_function_may_tell_it_to_the_asgi_shell(caplog: pytest.LogCaptureFixture) -> None:
    """The WSGI shell cannot wait for one: 503, and a line that says so."""
    for shell, status in (("asgi", 202), ("wsgi", 503)):
        world = World(shell)
        with closing(world.gate):

            @world.gate.subjects
            async def mapper(_: Any) -> tuple[str, str]:
                await asyncio.sleep(0)
                return PROVIDER, "u1"

            assert world.tell(event(now=time.time(), sub_id={"format": "email", "email": "x"})).status == status
            assert world.status(access(time.time())) == (401 if status == 202 else 200)
    assert "must be awaited" in caplog.text


@pytest.mark.parametrize(
    "wrong", [7, "u1", (PROVIDER,), (PROVIDER, ""), (PROVIDER, None), ["a", "b"], ("https://x.example", "u")]
)
def test_mapper_that_answers_nonsense_is_503(world: World, wrong: Any) -> None:
    """Nobody knows whom to log out: told again it may work."""
    world.gate.subjects(lambda _: wrong)
    assert world.tell(event(now=time.time(), sub_id={"format": "email", "email": "x"})).status == 503


def test_mapper_that_fails_is_503(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Logged with its traceback; never 500 (threat 2)."""

    def mapper(_: Any) -> Any:
        raise KeyError("customers")

    world.gate.subjects(mapper)
    assert world.tell(event(now=time.time(), sub_id={"format": "email", "email": "x"})).status == 503
    assert "mapper of subjects" in caplog.text


@pytest.mark.parametrize("wrong", [None, 7, lambda: None, lambda a, b: None])
def test_mapper_that_cannot_be_called_is_a_type_error(world: World, wrong: Any) -> None:
    """At once, not at the first event."""
    with pytest.raises(TypeError):
        world.gate.subjects(wrong)


# --- nothing told is admitted, and nothing admitted is told


def test_neither_is_the_other(world: World) -> None:
    """Threats 1, 5 and 6: each kind of token at each door but its own."""
    now = time.time()
    own = world.gate.sessions.start("u1").access_token.encode()
    identity = access(now, aud="shop-web", nonce="n")
    for token in (logout(now=now), logout({"typ": "JWT"}, now=now), logout({"typ": LACKING}, now=now, aud="shop-api"), event(now=now),
                  event(now=now, iss=PROVIDER, key="p256", alg="ES256", aud="shop-api")):  # fmt: skip
        assert world.status(token) == 401
    for token in (own, identity, access(now), access(now, aud="shop-web"), event(now=now), event(now=now, aud="shop-web")):
        assert world.logout(token).status == 400
    for token in (own, identity, access(now), logout(now=now), logout({"typ": "secevent+jwt"}, now=now)):
        assert world.tell(token).status == 400
    assert [world.status(token) for token in (access(now), own)] == [200, 200]


def test_transmitter_speaks_of_configured_issuers_alone(world: World) -> None:
    """It may end sessions of the provider's, which is what it is configured for; nobody's it invents."""
    now = time.time()
    assert world.tell(event(now=now, sub_id=subject(issuer="https://evil.example"))).status == 202
    assert world.tell(event(now=now, jti="e2", sub_id=subject(issuer=TRANSMITTER))).status == 202
    assert world.status(access(now)) == 200
    assert world.tell(event(now=now, jti="e3", events={SESSION_REVOKED: {}})).status == 202
    assert world.status(access(now)) == 401


def test_our_own_key_makes_no_logout_token(world: World) -> None:
    """An entry without names for us tells nothing, whoever signs."""
    token = logout(now=time.time(), iss="https://shop.example", key="rsa", alg="RS256")
    assert world.logout(token).status == 400
    assert PAIRS["rsa"].private is not None


@contextmanager
def worlds(url: str, other: dict[str, Any]) -> Iterator[tuple[World, World]]:
    """One that hears, and another with one issuer, over one store."""
    hearing, verifying = World("wsgi", store=url), World("asgi", store=url, endpoints=None, issuers=None, **other)
    with closing(hearing.gate), closing(verifying.gate):
        yield hearing, verifying


def test_logout_reaches_processes_that_hear_no_provider(tmp_path: Path) -> None:
    """One service takes logout tokens, another only verifies, over one store: a receipt speaks of both."""
    url, now = f"sqlite:///{tmp_path}/store.db", time.time()
    api = {"issuer": PROVIDER, "public_key": PAIRS["p256"].public_pem, "audience": RECEIVER}
    with worlds(url, api) as (hearing, other):
        tokens = [access(now, sid=sid, jti=f"j{sid}") for sid in ("s1", LACKING, "s2")]
        assert [other.status(token) for token in tokens] == [200] * 3
        told = members(hearing.logout(logout(now=now)))
        assert told["effective_everywhere"] and told["workers"] == 2
        assert [other.status(token) for token in tokens] == [401, 401, 200]
        assert [hearing.status(token) for token in tokens] == [401, 401, 200]
