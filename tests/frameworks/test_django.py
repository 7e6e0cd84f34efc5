"""Django and Django REST framework behind both shells: users without a database and with one, and the gate's answers."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import RequestFactory, override_settings
from frameworks import django_project
from frameworks.django_project import User
from shells import Answer, Sent, Sink, ask_wsgi, gate_of, scope_of, token_of_claims, tokens

from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.errors import InsufficientScope, InvalidToken, JWTGateError, MissingToken, SubjectSuspended
from jwtgate.frameworks.django import TokenUser, TokenUserAuthentication, TokenUserMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jwtgate import Gate

GOOD = (("authorization", "Bearer {good}"),)
"""Of alice, with the scopes read and write."""

ALICE = {"kind": "TokenUser", "name": "alice", "authenticated": True, "scopes": ["read", "write"]}
NOBODY = {"kind": "AnonymousUser", "name": "", "authenticated": False, "scopes": None}


def bearer(**claims: Any) -> tuple[tuple[str, str], ...]:
    """A request with a token of these claims."""
    return (("authorization", f"Bearer {token_of_claims(**claims)}"),)


async def send(app: Any, sent: Sent) -> Answer:
    """One request of a client that stays: Django listens for its going away."""
    sink = Sink(incoming=[{"type": "http.request", "body": sent.body}])

    async def receive() -> Any:
        return await sink.receive() if sink.incoming else await asyncio.Event().wait()

    await app(scope_of(sent), receive, sink.send)
    answer = sink.answer
    return Answer(answer.status, tuple(sorted((name.lower(), value) for name, value in answer.headers)), answer.body)


class Project:
    """The project behind one shell."""

    def __init__(self, kind: str, gate: Gate) -> None:
        self.gate = gate
        self.kind = kind
        asgi, wsgi = ASGIMiddleware(ASGIHandler(), gate=gate), WSGIMiddleware(WSGIHandler(), gate=gate)
        self._ask = {"asgi": lambda sent: asyncio.run(send(asgi, sent)), "wsgi": lambda sent: ask_wsgi(wsgi, sent)}[kind]

    def ask(self, target: str, headers: tuple[tuple[str, str], ...] = (), method: str = "GET") -> Answer:
        """One request."""
        return self._ask(Sent(method, target, headers))

    def told(self, target: str, headers: tuple[tuple[str, str], ...] = ()) -> Any:
        """What the view says."""
        answer = self.ask(target, headers)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def answer(self, error: JWTGateError) -> Answer:
        """As the gate gives it."""
        rendered = self.gate.answer(error)
        return Answer(rendered.status, tuple(sorted(rendered.headers)), rendered.body)


@pytest.fixture(scope="module", autouse=True)
def database() -> Iterator[None]:
    """Users of the project: alice, one who is gone, and one of the staff."""
    call_command("migrate", verbosity=0, run_syncdb=True)
    User.objects.create(username="alice")
    User.objects.create(username="gone", is_active=False)
    User.objects.create(username="staff", is_staff=True)
    yield
    connections.close_all()


@pytest.fixture(params=["asgi", "wsgi"])
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    """In optional mode, so that anonymous requests reach the views."""
    gate = gate_of("optional")
    yield Project(request.param, gate)
    gate.close()


# --- Django


@pytest.mark.parametrize("target", ["/me", "/async", "/api", "/api/open"])
def test_view_gets_the_subject_and_the_token(project: Project, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain, async and of Django REST framework; decided once, and no database asked."""
    monkeypatch.delattr(BaseDatabaseWrapper, "cursor")
    assert project.gate.ready()
    for hits in range(2):
        assert project.told(target, GOOD) == ALICE
        status = project.gate.status()
        assert (status.hits, status.misses, status.look_ups) == (hits, 1, 0)


@pytest.mark.parametrize("target", ["/me", "/async", "/api/open"])
def test_anonymous_request_has_nobody(project: Project, target: str) -> None:
    """As Django's own middleware says it."""
    assert project.told(target) == NOBODY


def test_anonymous_request_has_nobody_without_djangos_own_middleware(project: Project) -> None:
    """The small object stands for nobody, too."""
    with override_settings(MIDDLEWARE=["jwtgate.frameworks.django.TokenUserMiddleware"]):
        bare = Project(project.kind, project.gate)
        assert bare.told("/me") == bare.told("/async") == {**NOBODY, "kind": "TokenUser"}
        assert bare.told("/me", GOOD) == ALICE


def test_refusals_within_a_view_are_the_gates_own(project: Project) -> None:
    """Byte for byte as from the middleware."""
    assert project.ask("/admin", GOOD) == project.answer(InsufficientScope("admin"))
    assert project.ask("/api/admin", GOOD) == project.answer(InsufficientScope("admin"))
    assert project.ask("/login") == project.answer(SubjectSuspended())
    assert project.ask("/me", (("authorization", "Bearer x"),)) == project.answer(InvalidToken())
    assert project.told("/admin", bearer(sub="root", scope="admin"))["name"] == "root"


def test_revoked_token_never_reaches_a_view(project: Project) -> None:
    """The middleware refuses it, with its own words."""
    assert project.told("/me", GOOD) == ALICE
    project.gate.revoke(jti="good", wait=True)
    assert project.ask("/me", GOOD) == project.ask("/api", GOOD) == project.answer(InvalidToken())


def test_token_wins_over_djangos_session(project: Project) -> None:
    """A request with a token is its subject's; one without keeps the user whom Django itself has logged in."""
    cookies = [value for name, value in project.ask("/session").headers if name == "set-cookie"]
    session = (("cookie", cookies[0].partition(";")[0]),)
    assert project.told("/me", session) == {**NOBODY, "kind": "User", "name": "staff", "authenticated": True}
    assert project.told("/me", (*session, *GOOD)) == ALICE
    assert project.ask("/api", session).status == 401, "Django REST framework has been told of tokens alone"


def test_other_errors_of_views_are_djangos(project: Project) -> None:
    """Nothing of ours is said about them."""
    assert b"problem" not in project.ask("/broken", GOOD).body
    assert project.ask("/broken", GOOD).status == 500


# --- Django REST framework


def test_anonymous_request_gets_401_with_the_gates_challenge(project: Project) -> None:
    """``authenticate_header``: without it the framework would say 403."""
    answer = project.ask("/api")
    assert answer.status == 401
    assert answer.header("www-authenticate") == project.answer(MissingToken()).header("www-authenticate")


# --- the project's own users


def test_users_of_the_project_are_found_by_the_setting(project: Project) -> None:
    """``JWTGATE_USER_FIELD``: everywhere the project's own user, and the token beside it."""
    with override_settings(JWTGATE_USER_FIELD="username"):
        for target in ("/async", "/api") if project.kind == "asgi" else ("/me", "/async", "/api"):
            assert project.told(target, GOOD) == {**ALICE, "kind": "User"}
        assert project.told("/async") == NOBODY


@pytest.mark.parametrize("claims", [{"sub": "gone"}, {"sub": "nobody"}, {"sub": "ALICE"}, {}])
@pytest.mark.parametrize("target", ["/async", "/api"])
def test_subject_that_is_no_active_user_is_refused(project: Project, target: str, claims: dict[str, Any]) -> None:
    """Absent, inactive, spelt otherwise, or no subject at all: the gate's 401, never an anonymous request."""
    with override_settings(JWTGATE_USER_FIELD="username"):
        assert project.ask(target, bearer(**claims)) == project.answer(InvalidToken())


def test_subject_that_the_field_cannot_hold_is_refused(project: Project) -> None:
    """A name where the key is a number."""
    with override_settings(JWTGATE_USER_FIELD="id"):
        assert project.ask("/api", GOOD) == project.answer(InvalidToken())
        number = str(User.objects.get(username="alice").pk)
        assert project.told("/api", bearer(sub=number))["name"] == "alice"
        assert project.ask("/api", bearer(sub=f"0{number}")) == project.answer(InvalidToken())


# --- the small user


def test_token_user_may_nothing_of_djangos() -> None:
    """What a subject may do are its scopes; the user tells no claim in a repr."""
    token = gate_of().verify(tokens()["good"])
    user = TokenUser(token)
    assert (user.pk, user.id, user.username, str(user), user.get_username()) == ("alice",) * 5
    assert (user.is_authenticated, user.is_anonymous, user.is_active) == (True, False, True)
    assert not (user.is_staff or user.is_superuser or user.has_perm("read") or user.has_perms(["read"]))
    assert not user.has_module_perms("auth")
    assert "alice" not in repr(user)
    assert user == TokenUser(token) != TokenUser(None)
    assert user != "alice"
    assert len({user, TokenUser(token), TokenUser(None)}) == 2
    assert (TokenUser(None).pk, TokenUser(None).is_anonymous) == (None, True)
    with pytest.raises(AttributeError):
        user.is_authenticated = False  # type: ignore[misc]


# --- mistakes


def test_without_a_gate_nothing_is_admitted() -> None:
    """Never an anonymous request: an error that says which line is missing."""
    request = RequestFactory().get("/me", headers=dict([("authorization", f"Bearer {tokens()['good']}")]))
    for ask in (TokenUserMiddleware(django_project.me), TokenUserAuthentication().authenticate):
        with pytest.raises(LookupError, match=r"application = JWTGateMiddleware\(application\)"):
            ask(request)
    assert ask_wsgi(WSGIHandler(), Sent(target="/me", headers=GOOD)).status == 500
    assert asyncio.run(send(ASGIHandler(), Sent(target="/me", headers=GOOD))).status == 500
