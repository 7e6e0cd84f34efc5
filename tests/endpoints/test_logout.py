"""``POST /logout`` and ``POST /logout-all``."""

from __future__ import annotations

from typing import Any

import pytest
from endpoints.scripted_operations import (
    CLEARED,
    CROSS_SITE,
    EVIL_ORIGIN,
    LAPTOP,
    LATER,
    RECEIPT,
    SAME_ORIGIN,
    ScriptedOperations,
    Told,
    ask,
    bearer,
    cookie,
    policy_of,
    tokens,
)

HELD = {"effective_everywhere": True, "effective_by": 3000.25, "workers": 2}
HELD_LATER = {"effective_everywhere": False, "effective_by": 3004.0, "workers": 1}
END_LAPTOP = ("end_session", LAPTOP, True)
BY_REFRESH_TOKEN = ("end_by_refresh_token", "jgr_phone", True)


def call(path: str, *headers: tuple[str, str], form: str = "", **how: Any) -> tuple[Told, list[tuple[Any, ...]]]:
    """The answer, and what was asked for it."""
    more = {name: how.pop(name) for name in ("policy",) if name in how}
    scripted = ScriptedOperations(**how)
    return ask(scripted, "POST", path, *headers, form=form, **more), scripted.calls


@pytest.mark.parametrize("headers", [(bearer("alice"),), (cookie("alice"), SAME_ORIGIN), (bearer("alice"), cookie("alice"))])
def test_logout_ends_the_session_of_the_access_token(headers: tuple[tuple[str, str], ...]) -> None:
    """It waits until the ruling holds everywhere, says what is proven, and clears all cookies."""
    answer, calls = call("/logout", *headers)
    assert (answer.status, answer.json, answer.cookies) == (200, HELD, CLEARED)
    assert answer.values("cache-control") == ("no-store",)
    assert calls == [END_LAPTOP]


def test_logout_ends_the_session_of_the_refresh_token() -> None:
    """Used or not: ``end_by_refresh_token``."""
    answer, calls = call("/logout", form="refresh_token={r-phone}")
    assert (answer.status, answer.json, answer.cookies) == (200, HELD_LATER, CLEARED)
    assert calls == [BY_REFRESH_TOKEN]


def test_logout_ends_both_sessions_and_promises_what_both_can() -> None:
    """The refresh token's first: after a 503 between the two the access token still opens this endpoint."""
    answer, calls = call("/logout", bearer("alice"), form="refresh_token={r-phone}")
    assert (answer.status, answer.json) == (200, HELD_LATER)
    assert calls == [BY_REFRESH_TOKEN, END_LAPTOP]
    answer, calls = call("/logout", bearer("alice"), form="refresh_token={r-unknown}")
    assert (answer.status, answer.json) == (200, HELD)


def test_promise_without_an_end_stays_without_one() -> None:
    """``effective_by`` is null where a process under ``ON_STORE_DOWN=admit`` might not hear of it."""
    endless = type(RECEIPT)("e:1", 1.0, effective_everywhere=False, effective_by=None, workers=0, waited_seconds=1.0)
    answer, _ = call("/logout", bearer("alice"), form="refresh_token={r-phone}", receipt=endless)
    assert answer.json == {"effective_everywhere": False, "effective_by": None, "workers": 0}
    assert LATER.effective_by is not None


@pytest.mark.parametrize(("name", "more"), [("carol", {}), ("foreign", {}), ("alice", {"policy": None})])
def test_logout_without_a_session_of_ours_revokes_the_token_itself(name: str, more: dict[str, Any]) -> None:
    """No sid; one of another issuer, whose names are not ours; or a gate that signs nothing, so that no session is ours."""
    answer, calls = call("/logout", bearer(name), **more)
    assert (answer.status, answer.json) == (200, HELD)
    assert calls == [("revoke_token", tokens()[name], True)]


def test_any_sid_is_ours_where_no_issuer_is_configured() -> None:
    """Then there is one namespace (interface §2)."""
    _, calls = call("/logout", bearer("foreign"), policy=policy_of(secret="x" * 32))
    assert calls == [END_LAPTOP]


@pytest.mark.parametrize(
    ("headers", "form", "status", "error"),
    [
        ((), "", 401, "missing_token"),
        ((), "refresh_token=", 401, "missing_token"),
        ((bearer("dead"),), "", 401, "invalid_token"),
        ((("authorization", "Bearer x.y.z"),), "", 401, "invalid_token"),
        ((cookie("dead"), SAME_ORIGIN), "", 401, "invalid_token"),
        ((bearer("alice"), bearer("alice")), "", 400, "invalid_request"),
        ((bearer("alice"), cookie("bob")), "", 400, "invalid_request"),
        ((cookie("alice"),), "", 403, "cross_site_request"),
        ((cookie("alice"), CROSS_SITE), "", 403, "cross_site_request"),
        ((cookie("alice"), CROSS_SITE), "refresh_token={r-phone}", 403, "cross_site_request"),
        ((bearer("alice"),), "refresh_token={r-phone}&refresh_token={r-phone}", 400, "invalid_request"),
        ((), "refresh_token={r-unknown}", 400, "invalid_grant"),
        ((), "refresh_token={alice}", 400, "invalid_grant"),
    ],
)
def test_refused_logout_ends_nothing_and_touches_no_cookie(
    headers: tuple[tuple[str, str], ...], form: str, status: int, error: str
) -> None:
    """Interface §4; what is shown is judged before anything is ended."""
    answer, calls = call("/logout", *headers, form=form)
    assert (answer.status, answer.error, answer.cookies) == (status, error, ())
    assert [each for each in calls if each[0] != "end_by_refresh_token"] == []
    assert bool(calls) == (error == "invalid_grant")


@pytest.mark.parametrize("failing", ["introspect", "end_session", "end_by_refresh_token"])
def test_store_that_is_down_is_503(failing: str) -> None:
    """Never 200, never 401, and no cookie is cleared."""
    answer, _ = call("/logout", bearer("alice"), form="refresh_token={r-phone}", failing=frozenset({failing}))
    assert (answer.status, answer.error, answer.cookies) == (503, "temporarily_unavailable", ())


@pytest.mark.parametrize("how", [{"exempt": ("/auth/*",)}, {"is_optional": True}])
def test_open_paths_of_the_application_open_no_endpoint(how: dict[str, Any]) -> None:
    """``EXEMPT`` and ``MODE=optional``: a token that is shown counts, and none is 401 here."""
    for headers, status in (((), 401), ((bearer("alice"),), 200), ((bearer("dead"),), 401), ((cookie("alice"),), 403)):
        assert call("/logout", *headers, **how)[0].status == status
        assert call("/logout-all", *headers, **how)[0].status == status
    assert call("/logout", form="refresh_token={r-phone}", **how)[0].status == 200


@pytest.mark.parametrize(
    ("headers", "is_cleared"),
    [
        ((), True),
        ((SAME_ORIGIN,), True),
        ((("origin", "https://partner.example"),), True),
        ((CROSS_SITE,), False),
        ((EVIL_ORIGIN,), False),
        ((("origin", "null"),), False),
    ],
)
def test_page_of_another_site_cannot_take_the_cookies_away(headers: tuple[tuple[str, str], ...], is_cleared: bool) -> None:
    """It may end a session whose refresh token it has; the browser that it runs in may be logged in as somebody else."""
    answer, _ = call("/logout", *headers, form="refresh_token={r-phone}")
    assert (answer.status, answer.cookies) == (200, CLEARED if is_cleared else ())
    answer, _ = call("/logout", *headers, form="refresh_token={r-phone}", csrf="off")
    assert answer.cookies == CLEARED


def test_no_cookie_is_cleared_where_cookies_are_no_location() -> None:
    """``LOCATIONS`` without cookie."""
    assert call("/logout", bearer("alice"), locations=("header",))[0].cookies == ()
    assert call("/logout-all", bearer("alice"), locations=("header",))[0].cookies == ()


# --- everywhere


@pytest.mark.parametrize(
    ("form", "keep"),
    [
        ("", None),
        ("keep_current=0", None),
        ("keep_current=false", None),
        ("keep_current=", None),
        ("keep_current=1", LAPTOP),
        ("keep_current=true", LAPTOP),
    ],
)
def test_logout_all_ends_all_sessions_or_all_others(form: str, keep: str | None) -> None:
    """Cookies are cleared unless the current session is kept."""
    answer, calls = call("/logout-all", bearer("alice"), form=form)
    assert (answer.status, answer.json, answer.cookies) == (200, HELD, CLEARED if keep is None else ())
    assert calls == [("end_all", "alice", keep, True)]


def test_token_without_session_keeps_none() -> None:
    """There is no current session to keep, so all end."""
    answer, calls = call("/logout-all", bearer("carol"), form="keep_current=1")
    assert (answer.status, answer.cookies) == (200, CLEARED)
    assert calls == [("end_all", "carol", None, True)]


@pytest.mark.parametrize(
    ("headers", "form", "status", "error"),
    [
        ((), "", 401, "missing_token"),
        ((), "refresh_token={r-phone}", 401, "missing_token"),
        ((bearer("dead"),), "", 401, "invalid_token"),
        ((bearer("nobody"),), "", 403, "insufficient_scope"),
        ((bearer("foreign"),), "", 403, "insufficient_scope"),
        ((cookie("alice"), CROSS_SITE), "", 403, "cross_site_request"),
        ((bearer("alice"),), "keep_current=2", 400, "invalid_request"),
        ((bearer("alice"),), "keep_current=TRUE", 400, "invalid_request"),
        ((bearer("alice"),), "keep_current=yes", 400, "invalid_request"),
        ((bearer("alice"),), "keep_current=1&keep_current=1", 400, "invalid_request"),
    ],
)
def test_refused_logout_all_ends_nothing(headers: tuple[tuple[str, str], ...], form: str, status: int, error: str) -> None:
    """401 where a token would help; 403 where this one never will: no subject, or one of another issuer."""
    answer, calls = call("/logout-all", *headers, form=form)
    assert (answer.status, answer.error, answer.cookies, calls) == (status, error, (), [])


@pytest.mark.parametrize("failing", ["introspect", "end_all"])
def test_store_that_is_down_is_503_for_logout_all(failing: str) -> None:
    """Never 200, never 401."""
    answer, _ = call("/logout-all", bearer("alice"), failing=frozenset({failing}))
    assert (answer.status, answer.cookies) == (503, ())
