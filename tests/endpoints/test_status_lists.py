"""``GET /status/{list}``: a list, or an answer that nobody takes for one."""

from __future__ import annotations

import pytest
from endpoints.scripted_operations import LIST, ScriptedOperations, ask, endpoints_of, request_of


def test_list_is_served_to_everybody() -> None:
    """draft-ietf-oauth-status-list §8.2: without a token, with exactly that content type, for caches and browsers."""
    operations = ScriptedOperations()
    told = ask(operations, "GET", f"/status/{LIST}", ("accept", "application/statuslist+jwt"), has_lists=True)
    assert (told.status, told.body) == (200, b"a.list.token")
    assert dict(told.headers) == {
        "content-type": "application/statuslist+jwt",
        "content-length": "12",
        "cache-control": "public, max-age=4",
        "etag": '"tag"',
        "access-control-allow-origin": "*",
    }
    assert operations.calls == [("status_list", LIST)]


def test_head_is_answered_like_get() -> None:
    """RFC 9110 §9.3.2: the shells leave the body out."""
    assert ask(ScriptedOperations(), "HEAD", f"/status/{LIST}", has_lists=True).status == 200


@pytest.mark.parametrize("tag", ['"tag"', 'W/"tag"', '"other", "tag"', "*"])
def test_known_list_is_not_sent_again(tag: str) -> None:
    """RFC 9110 §13.1.2; the answer says for how long it is good now."""
    told = ask(ScriptedOperations(), "GET", f"/status/{LIST}", ("if-none-match", tag), has_lists=True)
    assert (told.status, told.body) == (304, b"") and told.values("cache-control") == ("public, max-age=4",)


def test_other_tag_is_no_match() -> None:
    """The list has changed since."""
    assert ask(ScriptedOperations(), "GET", f"/status/{LIST}", ("if-none-match", '"old"'), has_lists=True).status == 200


@pytest.mark.parametrize("name", ["x", f"{LIST}1", "{list}", "%2e%2e"])
def test_unknown_list_is_404_without_one(name: str) -> None:
    """Not an empty list: who reads it refuses. Caches keep nothing."""
    told = ask(ScriptedOperations(), "GET", f"/status/{name}", has_lists=True) if "%" not in name else None
    if told is not None:
        assert (told.status, told.error, told.values("cache-control")) == (404, "not_found", ("no-store",))
    else:
        assert endpoints_of(ScriptedOperations(), has_lists=True).find(request_of("GET", f"/auth/status/{name}")) is None


def test_store_down_is_503() -> None:
    """What cannot be known is not told."""
    told = ask(ScriptedOperations(failing=frozenset({"status_list"})), "GET", f"/status/{LIST}", has_lists=True)
    assert told.status == 503 and told.values("retry-after") == ("1",)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(method: str) -> None:
    """RFC 9110 §15.5.6."""
    told = ask(ScriptedOperations(), method, f"/status/{LIST}", has_lists=True)
    assert told.status == 405 and told.values("allow") == ("GET, HEAD",)


@pytest.mark.parametrize(
    ("path", "has_lists"), [(f"/status/{LIST}", False), ("/status/", True), ("/status", True), (f"/status/a/{LIST}", True)]
)
def test_path_is_the_applications_where_nothing_is_published(path: str, has_lists: bool) -> None:  # noqa: FBT001
    """And so is one that names no list."""
    assert endpoints_of(ScriptedOperations(), has_lists=has_lists).find(request_of("GET", f"/auth{path}")) is None
