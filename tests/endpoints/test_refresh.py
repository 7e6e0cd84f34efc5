"""``POST /refresh`` (RFC 6749 §6)."""

from __future__ import annotations

from typing import Any

import pytest
from endpoints.scripted_operations import (
    CROSS_SITE,
    EVIL_ORIGIN,
    PAIR,
    REFRESH_COOKIE,
    SAME_ORIGIN,
    ScriptedOperations,
    Told,
    ask,
    cookie,
)

IN_COOKIE = cookie("r-laptop", of=REFRESH_COOKIE)
DEAD_COOKIE = cookie("r-unknown", of=REFRESH_COOKIE)
OTHER_COOKIE = cookie("r-phone", of=REFRESH_COOKIE)


def refresh(*headers: tuple[str, str], form: str = "", **operations: Any) -> tuple[Told, list[tuple[Any, ...]]]:
    """The answer, and what was asked for it."""
    scripted = ScriptedOperations(**operations)
    return ask(scripted, "POST", "/refresh", *headers, form=form), scripted.calls


def test_refresh_token_in_the_form_gives_a_pair_in_the_body() -> None:
    """RFC 6749 §5.1; no cookie is set."""
    answer, calls = refresh(form="grant_type=refresh_token&refresh_token={r-laptop}")
    assert (answer.status, answer.json, answer.cookies) == (200, PAIR.as_dict(), ())
    assert answer.values("content-type") == ("application/json",)
    assert answer.values("cache-control") == ("no-store",)
    assert calls == [("refresh", "jgr_laptop", False)]


@pytest.mark.parametrize("form", ["", "refresh_token={r-laptop}", "grant_type=refresh_token"])
def test_refresh_token_in_the_cookie_gives_cookies_and_no_token_to_scripts(form: str) -> None:
    """What came as HttpOnly goes back as HttpOnly, also where the form repeats it."""
    answer, calls = refresh(IN_COOKIE, SAME_ORIGIN, form=form)
    assert (answer.status, answer.json) == (200, {"token_type": "Bearer", "expires_in": 900})
    assert len(answer.cookies) == 2 and all("HttpOnly" in each for each in answer.cookies)
    assert calls == [("refresh", "jgr_laptop", True)]


@pytest.mark.parametrize(
    ("headers", "form", "status", "error"),
    [
        ((), "", 400, "invalid_request"),
        ((), "refresh_token=", 400, "invalid_request"),
        ((), "grant_type=refresh_token", 400, "invalid_request"),
        ((), "refresh_token={r-laptop}&refresh_token={r-laptop}", 400, "invalid_request"),
        ((), "refresh_token={r-laptop}&grant_type=password", 400, "unsupported_grant_type"),
        ((IN_COOKIE, SAME_ORIGIN), "grant_type=password", 400, "unsupported_grant_type"),
        ((OTHER_COOKIE, SAME_ORIGIN), "refresh_token={r-laptop}", 400, "invalid_request"),
        ((cookie("r-laptop", of=f"{REFRESH_COOKIE}=x; {REFRESH_COOKIE}"), SAME_ORIGIN), "", 400, "invalid_request"),
        ((IN_COOKIE,), "", 403, "cross_site_request"),
        ((IN_COOKIE, CROSS_SITE), "", 403, "cross_site_request"),
        ((IN_COOKIE, EVIL_ORIGIN), "", 403, "cross_site_request"),
        ((IN_COOKIE, EVIL_ORIGIN), "refresh_token={r-laptop}", 403, "cross_site_request"),
        ((), "refresh_token={r-unknown}", 400, "invalid_grant"),
        ((), "refresh_token={alice}", 400, "invalid_grant"),
        ((DEAD_COOKIE, SAME_ORIGIN), "", 400, "invalid_grant"),
    ],
)
def test_refusal_touches_no_cookie(headers: tuple[tuple[str, str], ...], form: str, status: int, error: str) -> None:
    """RFC 6749 §5.2; the loser of a race must not clear the winner's cookies, and nothing is rotated but by a good call."""
    answer, calls = refresh(*headers, form=form)
    assert (answer.status, answer.error, answer.cookies) == (status, error, ())
    assert bool(calls) == (error == "invalid_grant")


def test_store_that_is_down_is_503_and_touches_no_cookie() -> None:
    """Never 400 or 401: clients throw their refresh token away on those."""
    for headers, form in (((), "refresh_token={r-laptop}"), ((IN_COOKIE, SAME_ORIGIN), "")):
        answer, _ = refresh(*headers, form=form, failing=frozenset({"refresh"}))
        assert (answer.status, answer.cookies) == (503, ())
        assert answer.values("retry-after") == ("1",)


def test_cookie_is_not_read_where_cookies_are_no_location() -> None:
    """``LOCATIONS`` without cookie: the form alone counts, and no cookie is set."""
    answer, calls = refresh(IN_COOKIE, SAME_ORIGIN, locations=("header",))
    assert (answer.status, calls) == (400, [])
    answer, calls = refresh(OTHER_COOKIE, form="refresh_token={r-laptop}", locations=("header",))
    assert (answer.status, answer.cookies) == (200, ())
    assert calls == [("refresh", "jgr_laptop", False)]


@pytest.mark.parametrize(("csrf", "status"), [("fetch-metadata", 403), ("double-submit", 403), ("off", 200)])
def test_rule_against_forgery_is_the_operations(csrf: str, status: int) -> None:
    """The rotation itself is given the request of a cookie, and compares the session's value under double-submit."""
    answer, calls = refresh(IN_COOKIE, CROSS_SITE, csrf=csrf)
    assert (answer.status, bool(answer.cookies)) == (status, status == 200)
    assert bool(calls) == (status == 200)
    if csrf == "double-submit":
        assert refresh(IN_COOKIE, CROSS_SITE, ("x-csrf-token", "x"), csrf=csrf)[0].status == 200


def test_dead_access_token_does_not_hinder_a_refresh() -> None:
    """That is when one refreshes."""
    answer, _ = refresh(("authorization", "Bearer {dead}"), form="refresh_token={r-laptop}")
    assert answer.status == 200
