"""``POST /revoke`` (RFC 7009)."""

from __future__ import annotations

from typing import Any

import pytest
from endpoints.scripted_operations import ScriptedOperations, Told, ask, bearer, tokens
from endpoints.test_clients import ESCAPED, basic

AS_CLIENT = basic(ESCAPED)


def revoke(form: str, *headers: tuple[str, str], **how: Any) -> tuple[Told, list[tuple[Any, ...]]]:
    """The answer, and what was asked for it."""
    more = {name: how.pop(name) for name in ("client_id",) if name in how}
    scripted = ScriptedOperations(**how)
    return ask(scripted, "POST", "/revoke", *(headers or (AS_CLIENT,)), form=form, **more), scripted.calls


@pytest.mark.parametrize("name", ["alice", "carol", "dead", "foreign"])
@pytest.mark.parametrize("hint", ["", "&token_type_hint=refresh_token"])
def test_access_token_is_revoked(name: str, hint: str) -> None:
    """RFC 7009 §2.2: 200 and nothing in it; it holds everywhere by then. Dead ones too: they may be early, not late."""
    answer, calls = revoke(f"token={{{name}}}{hint}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers == (("content-length", "0"), ("cache-control", "no-store"))
    assert calls == [("revoke_token", tokens()[name], True)]


@pytest.mark.parametrize("name", ["r-laptop", "r-unknown"])
def test_refresh_token_ends_its_session(name: str) -> None:
    """RFC 7009 §2.1: and with it the access tokens of the same grant."""
    answer, calls = revoke(f"token={{{name}}}")
    assert (answer.status, answer.body) == (200, b"")
    assert calls == [("end_by_refresh_token", tokens()[name], True)]


@pytest.mark.parametrize("token", ["x", "a.b.c", "%C3%A9", "x" * 9000, "{alice}=", "..", "e30.e30."])
def test_what_is_no_token_is_fine(token: str) -> None:
    """RFC 7009 §2.2: the client cannot do anything about it, and nothing is written."""
    answer, calls = revoke(f"token={token}")
    assert (answer.status, answer.body) == (200, b"")
    assert calls in ([], [("revoke_token", "e30.e30.", True)])


def test_token_of_another_client_is_refused() -> None:
    """RFC 7009 §2.1, with the code of RFC 6749 §5.2 for what was issued to another client; nothing is revoked."""
    for form, client_id in (("token={others}", None), ("token={r-laptop}", "web"), ("token={r-unknown}", "web")):
        answer, calls = revoke(form, client_id=client_id)
        assert (answer.status, answer.error, calls) == (400, "invalid_grant", [])


@pytest.mark.parametrize("headers", [(("host", "x"),), (bearer("alice"),), (basic("two:wrong"),)])
def test_only_clients_revoke(headers: tuple[tuple[str, str], ...]) -> None:
    """RFC 7009 §2.1."""
    for form in ("token={alice}", "", "token=x"):
        answer, calls = revoke(form, *headers)
        assert (answer.status, answer.error, calls) == (401, "invalid_client", [])


@pytest.mark.parametrize("form", ["", "token=", "token_type_hint=access_token", "token={alice}&token={alice}"])
def test_call_without_one_token_is_malformed(form: str) -> None:
    """RFC 7009 §2.1: token is required."""
    answer, calls = revoke(form)
    assert (answer.status, answer.error, calls) == (400, "invalid_request", [])


@pytest.mark.parametrize("token", ["{alice}", "{r-laptop}"])
def test_store_that_is_down_is_503(token: str) -> None:
    """RFC 7009 §2.2.1: the client must assume the token still exists, and may retry."""
    answer, _ = revoke(f"token={token}", failing=frozenset({"everything"}))
    assert answer.status == 503
    assert answer.values("retry-after") == ("1",)
