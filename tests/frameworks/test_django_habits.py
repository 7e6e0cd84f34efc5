"""What a Django developer is used to: ``manage.py check``, decorators, permissions, the browsable API."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings
from frameworks.test_django import GOOD, Project
from shells import SECRET, gate_of, tokens

from jwtgate.frameworks.django import TokenUser

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = "jwtgate.frameworks.django.TokenUserMiddleware"
DJANGOS = "django.contrib.auth.middleware.AuthenticationMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that are right."""
    for name in [name for name in os.environ if name.startswith("JWTGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JWTGATE_SECRET", SECRET)


@pytest.fixture(params=["asgi", "wsgi"])
def project(request: pytest.FixtureRequest) -> Iterator[Project]:
    """Behind each shell; anonymous requests pass."""
    gate = gate_of("optional")
    yield Project(request.param, gate)
    gate.close()


def found(**settings: Any) -> list[str]:
    """The identifiers of what ``manage.py check`` would say of us."""
    with override_settings(**settings):
        return sorted(str(message.id) for message in run_checks() if str(message.id).startswith("jwtgate"))


def test_check_of_a_sound_project_says_nothing() -> None:
    """With our user field, and without."""
    assert found() == []
    assert found(JWTGATE_USER_FIELD="username") == []
    assert found(JWTGATE_USER_FIELD="pk") == []


def test_check_tells_every_mistake_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the gate would at start, without a value."""
    monkeypatch.setenv("JWTGATE_SECRET", "too-short")
    monkeypatch.setenv("JWTGATE_LEASE", "soon")
    assert found() == ["jwtgate.E001", "jwtgate.E001"]
    assert not any("too-short" in str(message) for message in run_checks())


def test_check_tells_of_settings_in_the_wrong_place() -> None:
    """In Django's settings module nobody reads them."""
    assert found(JWTGATE_STORE="redis://localhost", JWTGATE_USER_FIELD="username") == ["jwtgate.W001"]


def test_check_tells_of_the_wrong_order_of_middleware() -> None:
    """Django's own would overwrite the user."""
    assert found(MIDDLEWARE=[SESSIONS, OURS, DJANGOS]) == ["jwtgate.E002"]
    assert found(MIDDLEWARE=[OURS]) == []


@pytest.mark.parametrize(("field", "expected"), [("nothing", "jwtgate.E003"), ("email", "jwtgate.E004")])
def test_check_tells_of_a_field_that_names_nobody_or_several(field: str, expected: str) -> None:
    """Else one would be taken for another, or every request refused."""
    assert found(JWTGATE_USER_FIELD=field) == [expected]


def test_login_required_lets_a_token_pass(project: Project) -> None:
    """And sends the anonymous to the page of ``LOGIN_URL``, as ever."""
    assert project.told("/logged-in", GOOD)["name"] == "alice"
    assert project.ask("/logged-in").status == 302


def test_permission_of_djangos_is_refused_in_an_async_view(project: Project) -> None:
    """403, and no error: a token's user has none of them."""
    assert project.ask("/permitted", GOOD).status == 403
    assert project.ask("/permitted").status == 403


def test_browsable_api_shows_whose_it_is(project: Project) -> None:
    """A page with the subject in its corner; without a token the gate's challenge."""
    page = project.ask("/api", (*GOOD, ("accept", "text/html")))
    assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    assert b"alice" in page.body
    refused = project.ask("/api", (("accept", "text/html"),))
    assert refused.status == 401
    assert (refused.header("www-authenticate") or "").startswith("Bearer ")


def test_user_of_a_token_answers_what_djangos_anonymous_user_answers() -> None:
    """No permission, asked for in any way."""

    async def asked(user: Any) -> list[Any]:
        return [
            user.get_all_permissions(),
            await user.aget_all_permissions(),
            user.has_perm("auth.view_user"),
            await user.ahas_perm("auth.view_user"),
            await user.ahas_perms(["auth.view_user"]),
            await user.ahas_module_perms("auth"),
        ]

    assert asyncio.run(asked(TokenUser(None))) == asyncio.run(asked(TokenUser(gate_token()))) == [set(), set(), *[False] * 4]


def gate_token() -> Any:
    """One of alice's."""
    gate = gate_of()
    try:
        return gate.verify(tokens()["good"])
    finally:
        gate.close()
