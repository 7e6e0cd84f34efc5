"""``GET /sessions`` and ``DELETE /sessions/{sid}``: one's own, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest
from endpoints.scripted_operations import (
    BOBS,
    CLEARED,
    CROSS_SITE,
    LAPTOP,
    PHONE,
    SAME_ORIGIN,
    ScriptedOperations,
    Told,
    ask,
    bearer,
    cookie,
)


def call(method: str, path: str, *headers: tuple[str, str], **how: Any) -> tuple[Told, list[tuple[Any, ...]]]:
    """The answer, and what was asked for it."""
    scripted = ScriptedOperations(**how)
    return ask(scripted, method, path, *headers), scripted.calls


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_list_is_the_callers_own(method: str) -> None:
    """Newest first as the store gives them; the current one is marked; ASCII on the wire."""
    answer, calls = call(method, "/sessions", bearer("alice"))
    assert answer.status == 200
    common = {"ip": "192.0.2.7", "user_agent": None, "created_at": 1000.0, "last_seen_at": 2000.5, "expires_at": 9000.75}
    assert answer.json == {
        "sessions": [
            {"sid": PHONE, "device": "Téléphone", **common, "current": False},
            {"sid": LAPTOP, "device": None, **common, "current": True},
        ]
    }
    assert answer.body.isascii()
    assert answer.values("cache-control") == ("no-store",)
    assert calls == [("sessions_of", "alice")]


def test_cookie_may_list_from_anywhere_and_end_only_from_our_pages() -> None:
    """Reading is a safe method (RFC 9110 §9.2.1), and other sites cannot see the answer."""
    assert call("GET", "/sessions", cookie("alice"), CROSS_SITE)[0].status == 200
    assert call("DELETE", f"/sessions/{PHONE}", cookie("alice"), CROSS_SITE)[0].status == 403
    assert call("DELETE", f"/sessions/{PHONE}", cookie("alice"), SAME_ORIGIN)[0].status == 200


@pytest.mark.parametrize(("sid", "cookies"), [(PHONE, ()), (LAPTOP, CLEARED)])
def test_own_session_is_ended(sid: str, cookies: tuple[str, ...]) -> None:
    """It waits; cookies go only with the session that they belong to."""
    answer, calls = call("DELETE", f"/sessions/{sid}", bearer("alice"))
    assert (answer.status, answer.cookies) == (200, cookies)
    assert answer.json == {"effective_everywhere": True, "effective_by": 3000.25, "workers": 2}
    assert calls == [("session_named", sid), ("end_session", sid, True)]


@pytest.mark.parametrize("sid", [BOBS, "unknown", "{sid}", "*", "x" * 4000, "-", "Laptop-sid", f"{LAPTOP}="])
def test_any_other_session_is_not_found_in_one_way(sid: str) -> None:
    """Another's, unknown, malformed: the same bytes, so that no sid can be guessed; nothing is ended."""
    answer, calls = call("DELETE", f"/sessions/{sid}", bearer("alice"))
    expected, _ = call("DELETE", "/sessions/none", bearer("alice"))
    assert answer == expected
    assert (answer.status, answer.error) == (404, "not_found")
    assert calls == [("session_named", sid)]


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ((), 401, "missing_token"),
        ((bearer("dead"),), 401, "invalid_token"),
        ((bearer("nobody"),), 403, "insufficient_scope"),
        ((bearer("foreign"),), 403, "insufficient_scope"),
    ],
)
def test_only_subjects_of_ours_have_sessions(headers: tuple[tuple[str, str], ...], status: int, error: str) -> None:
    """A partner's alice is not our alice."""
    for method, path in (("GET", "/sessions"), ("DELETE", f"/sessions/{LAPTOP}")):
        answer, calls = call(method, path, *headers)
        assert (answer.status, answer.error, calls) == (status, error, [])


@pytest.mark.parametrize("failing", ["introspect", "sessions_of", "session_named", "end_session"])
def test_store_that_is_down_is_503(failing: str) -> None:
    """Never 404: an application would show that nobody is logged in."""
    asks = {"GET": {"introspect", "sessions_of"}, "DELETE": {"introspect", "session_named", "end_session"}}
    for method, path in (("GET", "/sessions"), ("DELETE", f"/sessions/{LAPTOP}")):
        answer, _ = call(method, path, bearer("alice"), failing=frozenset({failing}))
        assert answer.status == (503 if failing in asks[method] else 200)
        assert answer.cookies == () or answer.status == 200
