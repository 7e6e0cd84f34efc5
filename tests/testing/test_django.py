"""Django's and REST framework's test clients behind the fixture's gate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from django.test import Client
from frameworks import django_project  # noqa: F401 - configures Django
from rest_framework.test import APIClient

from jwtgate.testing import gate
from jwtgate.testing.django import behind_gate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jwtgate.testing import FixtureGate


@pytest.fixture
def standing() -> Iterator[FixtureGate]:
    """A gate for the time of a test."""
    with gate(exempt=("/health",), locations=("header", "cookie"), endpoints="/auth") as standing:
        yield standing


@pytest.mark.parametrize("kind", [Client, APIClient])
def test_client_is_admitted_with_a_token_and_refused_without(kind: type[Client], standing: FixtureGate) -> None:
    """A view sees whose it is; a revoked token is dead at once; what is refused is Django's kind of response."""
    client = behind_gate(kind())
    headers = standing.bearer("alice", scopes="read")
    answer = client.get("/me", headers=headers)
    assert (answer.status_code, answer.json()["name"]) == (200, "alice")
    assert answer.resolver_match.func is django_project.me
    assert client.get("/api", headers=headers).json()["name"] == "alice"
    refused = client.get("/me")
    assert (refused.status_code, json.loads(refused.content)["error"]) == (401, "missing_token")
    assert refused["WWW-Authenticate"].startswith("Bearer ")
    standing.revoke(sub="alice")
    assert client.get("/me", headers=headers).status_code == 401


def test_exempt_path_and_endpoints_are_the_gates(standing: FixtureGate) -> None:
    """As in front of a server."""
    client = behind_gate(Client())
    assert client.get("/health").json()["authenticated"] is False
    assert client.get("/auth/jwks.json").status_code == 200
    assert client.get("/auth/sessions", headers=standing.bearer("alice")).status_code == 200


def test_cookie_of_the_client_is_looked_at(standing: FixtureGate) -> None:
    """And guarded against other sites."""
    client = behind_gate(Client())
    client.cookies["__Host-access_token"] = standing.token_for("alice")
    assert client.get("/me").json()["name"] == "alice"
    assert client.post("/api").status_code == 403


def test_error_of_a_view_reaches_the_test(standing: FixtureGate) -> None:
    """As Django's client does."""
    with pytest.raises(ValueError, match="^$"):
        behind_gate(Client()).get("/broken", headers=standing.bearer("alice"))
