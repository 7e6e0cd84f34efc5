"""``POST /introspect`` (RFC 7662)."""

from __future__ import annotations

from typing import Any

import pytest
from endpoints.scripted_operations import (
    CLIENT,
    CLIENT_SECRET,
    ISSUER,
    LAPTOP,
    ScriptedOperations,
    Told,
    ask,
    bearer,
    clients,
    policy_of,
)
from endpoints.test_clients import ESCAPED, basic

AS_CLIENT = basic(ESCAPED)


def introspect(form: str, *headers: tuple[str, str], **how: Any) -> Told:
    """The answer, to the client unless told otherwise."""
    more = {name: how.pop(name) for name in ("client_id", "policy") if name in how}
    return ask(ScriptedOperations(**how), "POST", "/introspect", *(headers or (AS_CLIENT,)), form=form, **more)


def test_live_access_token_is_active_with_the_claims_of_the_rfc() -> None:
    """RFC 7662 §2.2, and sid; what else a token says is not told, and what it does not say is not invented."""
    assert introspect("token={alice}").json == {
        "active": True,
        "scope": "read write",
        "token_type": "Bearer",
        "client_id": CLIENT,
        "exp": 2**31,
        "sub": "alice",
        "iss": ISSUER,
        "jti": "a",
        "sid": LAPTOP,
    }


def test_scope_is_a_string_whatever_shape_the_claim_has() -> None:
    """RFC 7662 §2.2; aud keeps its own."""
    told = introspect("token={carol}").json
    assert (told["scope"], told["aud"], told["iat"], told["nbf"]) == ("one two", ["x", "y"], 5, 4)
    assert "sid" not in told and "client_id" not in told


def test_live_refresh_token_is_active_by_its_session() -> None:
    """RFC 7662 §2.1 leaves it to the server which tokens it knows."""
    expected = {"active": True, "exp": 9000, "sub": "alice", "iss": ISSUER, "sid": LAPTOP}
    assert introspect("token={r-laptop}").json == expected
    assert introspect("token={r-laptop}", client_id="web").json == {**expected, "client_id": "web"}
    nameless = introspect("token={r-laptop}", policy=policy_of(secret="x" * 32)).json
    assert nameless == {name: value for name, value in expected.items() if name != "iss"}


@pytest.mark.parametrize("token", ["{dead}", "{r-unknown}", "jgr_", "x", "a.b.c", "%C3%A9", "x" * 9000])
@pytest.mark.parametrize("hint", ["", "&token_type_hint=access_token", "&token_type_hint=refresh_token", "&token_type_hint=x"])
def test_everything_else_is_inactive_and_nothing_more(token: str, hint: str) -> None:
    """RFC 7662 §2.2: why is nobody's business."""
    answer = introspect(f"token={token}{hint}")
    assert (answer.status, answer.body) == (200, b'{"active":false}')
    assert answer.values("cache-control") == ("no-store",)
    assert answer.values("content-type") == ("application/json",)


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "pigeon"])
def test_hint_changes_nothing(hint: str) -> None:
    """RFC 7662 §2.1: a hint."""
    for name in ("alice", "r-laptop"):
        assert introspect(f"token={{{name}}}&token_type_hint={hint}") == introspect(f"token={{{name}}}")


def test_credentials_may_stand_in_the_form() -> None:
    """RFC 6749 §2.3.1."""
    form = f"token={{alice}}&client_id={CLIENT.replace('+', '%2B')}&client_secret={CLIENT_SECRET.replace('&', '%26')}"
    assert introspect(form, ("host", "x")).json["active"] is True


@pytest.mark.parametrize("headers", [(("host", "x"),), (bearer("alice"),), (basic("two:wrong"),)])
@pytest.mark.parametrize("form", ["token={alice}", "token={dead}", "", "token=x"])
def test_only_clients_are_told(headers: tuple[tuple[str, str], ...], form: str) -> None:
    """RFC 7662 §2.1: else anybody could scan for tokens; told alike for every token and none."""
    answer = introspect(form, *headers)
    assert (answer.status, answer.error) == (401, "invalid_client")
    assert answer.values("www-authenticate") == ('Basic realm="jwtgate"',)


@pytest.mark.parametrize("endpoint", ["/introspect", "/revoke"])
def test_client_that_is_none_is_counted(endpoint: str) -> None:
    """Whoever guesses secrets shows in the numbers; a client does not."""
    operations = ScriptedOperations()
    ask(operations, "POST", endpoint, basic("two:wrong"), form="token={alice}")
    ask(operations, "POST", endpoint, AS_CLIENT, form="token={alice}")
    assert operations.counted == ["invalid_client"]


@pytest.mark.parametrize("form", ["", "token=", "token_type_hint=access_token", "token={alice}&token={alice}"])
def test_call_without_one_token_is_malformed(form: str) -> None:
    """RFC 7662 §2.1: token is required; RFC 6749 §3.1: once."""
    answer = introspect(form)
    assert (answer.status, answer.error) == (400, "invalid_request")


@pytest.mark.parametrize("token", ["{alice}", "{r-laptop}"])
def test_store_that_is_down_is_503(token: str) -> None:
    """Never "inactive": a resource server would take its users for logged out."""
    assert introspect(f"token={token}", failing=frozenset({"everything"})).status == 503
    assert clients()
