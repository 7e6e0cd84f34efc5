"""Cookies: what a browser is told to keep of a pair, to forget, and what it would drop (RFC 6265bis)."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from itertools import product

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.http.cookies import CookieRules, access_cookie, check_size, clear_cookies, set_cookies
from jwtgate.core.http.extraction import CookieExtraction
from jwtgate.errors import GrantError, MalformedToken
from jwtgate.messages import Request, TokenPair

NOW = 1_700_000_000.0
SESSION_SECONDS = 2_592_000
RULES = CookieRules(
    "__Host-access_token", "__Secure-refresh_token", is_secure=True, refresh_path="/auth/refresh", has_csrf=True
)
PLAIN = CookieRules("access", "refresh", is_secure=False, refresh_path="/", has_csrf=True)
EVERY_RULES = [
    CookieRules(access, refresh, is_secure=is_secure, refresh_path=path, has_csrf=has_csrf)
    for (access, refresh, is_secure), path, has_csrf in product(
        [("__Host-access_token", "__Secure-refresh_token", True), ("a", "__Secure-r", True), ("access", "refresh", False)],
        ["/auth/refresh", "/"],
        [True, False],
    )
]


def access_token(**claims: object) -> str:
    """Signed by anybody: nothing here verifies."""
    return jwt.encode({"sub": "alice", **claims}, "a-secret-of-at-least-thirty-two-bytes", "HS256")


def refresh_token(expires: int = int(NOW) + SESSION_SECONDS, first: bytes = b"\x00") -> str:
    """``jgr_`` and 64 octets, the end of the session last."""
    octets = first * 60 + expires.to_bytes(4, "big")
    return "jgr_" + base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


PAIR = TokenPair(access_token(csrf="random-text"), refresh_token(), 900, "s")


def parts(cookie: str) -> tuple[str, str, dict[str, str]]:
    """Name, value and attributes, as a user agent takes them apart (RFC 6265bis §5.6)."""
    pair, *attributes = cookie.split("; ")
    name, _, value = pair.partition("=")
    told = dict((each.partition("=")[0], each.partition("=")[2]) for each in attributes)
    assert len(told) == len(attributes)
    return name, value, told


def identity(cookie: str) -> tuple[object, ...]:
    """All that must be the same for one value to replace another."""
    name, _, attributes = parts(cookie)
    return name, {key: value for key, value in attributes.items() if key != "Max-Age"}


def test_pair_becomes_two_cookies_that_no_script_can_read() -> None:
    """HttpOnly, Secure, SameSite=Lax; the refresh token for its path alone; each lives as long as what is in it."""
    access, refresh = set_cookies(replace(RULES, has_csrf=False), PAIR, NOW)
    flags = "Secure; HttpOnly; SameSite=Lax"
    assert access == f"__Host-access_token={PAIR.access_token}; Max-Age=900; Path=/; {flags}"
    assert refresh == f"__Secure-refresh_token={PAIR.refresh_token}; Max-Age={SESSION_SECONDS}; Path=/auth/refresh; {flags}"


def test_double_submit_adds_a_cookie_that_scripts_can_read() -> None:
    """The claim ``csrf``, as long as the session: a page must show it at the refresh that follows a dead access token."""
    _, _, csrf = set_cookies(RULES, PAIR, NOW)
    assert csrf == f"__Host-csrf_access_token=random-text; Max-Age={SESSION_SECONDS}; Path=/; Secure; SameSite=Lax"


@pytest.mark.parametrize(
    ("access_name", "csrf_name"),
    [
        ("__Host-access_token", "__Host-csrf_access_token"),
        ("__host-x", "__Host-csrf_access_token"),
        ("__Host-Http-x", "__Host-csrf_access_token"),
        ("__Secure-x", "csrf_access_token"),
        ("access", "csrf_access_token"),
        ("x__Host-", "csrf_access_token"),
    ],
)
def test_csrf_cookie_is_bound_to_the_host_where_the_access_cookie_is(access_name: str, csrf_name: str) -> None:
    """RFC 6265bis §4.1.3.2: no sibling host can set it then."""
    assert replace(RULES, access_name=access_name).csrf_name == csrf_name


def test_token_without_the_claim_gets_no_third_cookie() -> None:
    """A session from before the setting was changed: absent is absent, and its unsafe requests are refused."""
    old = replace(PAIR, access_token=access_token())
    assert set_cookies(RULES, old, NOW) == set_cookies(replace(RULES, has_csrf=False), old, NOW)


@pytest.mark.parametrize("value", ["", "a;b", "a b", "a,b", 'a"b', "a\r\nX: y", "é", "x" * 257, 7, True, ["x"], {"x": "y"}])
def test_claim_that_no_cookie_can_hold_is_refused(value: object) -> None:
    """It is none of the gate's own, and must not become attributes or headers. The error does not quote it."""
    with pytest.raises(ValueError, match="the claim csrf") as caught:
        set_cookies(RULES, replace(PAIR, access_token=access_token(csrf=value)), NOW)
    assert not value or str(value) not in str(caught.value)


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "\r\nX: y"])
def test_access_token_that_is_none_is_refused(token: str) -> None:
    """What has no claims has none to submit."""
    with pytest.raises(MalformedToken):
        set_cookies(RULES, replace(PAIR, access_token=token), NOW)


@pytest.mark.parametrize("token", ["jgr_a", "jgr_abcde"])
def test_refresh_token_that_is_none_is_refused(token: str) -> None:
    """Nobody knows when its session would end."""
    with pytest.raises(GrantError):
        set_cookies(RULES, replace(PAIR, refresh_token=token), NOW)


@pytest.mark.parametrize(
    ("expires", "now", "seconds"),
    [(1000, 0.0, 1000), (1000, 0.5, 999), (1000, 999.01, 0), (1000, 1000.0, 0), (1000, 5000.0, 0), (2**32 - 1, 0.0, 2**32 - 1)],
)
@pytest.mark.parametrize("first", [b"\x00", b"\xff", b"\xfb"])
def test_refresh_cookie_never_outlives_its_session(expires: int, now: float, seconds: int, first: bytes) -> None:
    """RFC 6265bis §5.6.2: whole seconds, rounded down; 0 deletes at once, and a negative span is never sent."""
    pair = replace(PAIR, refresh_token=refresh_token(expires, first))
    _, refresh, csrf = set_cookies(RULES, pair, now)
    assert parts(refresh)[2]["Max-Age"] == parts(csrf)[2]["Max-Age"] == str(seconds)


@pytest.mark.parametrize("rules", EVERY_RULES)
def test_clearing_names_every_cookie_that_was_set(rules: CookieRules) -> None:
    """RFC 6265bis §5.7: same name and path, and a prefixed name only with what its prefix asks for; at once, and empty."""
    cleared = clear_cookies(rules)
    assert list(map(identity, cleared)) == list(map(identity, set_cookies(rules, PAIR, NOW)))
    assert all(parts(cookie)[1] == "" and parts(cookie)[2]["Max-Age"] == "0" for cookie in cleared)


@pytest.mark.parametrize("rules", EVERY_RULES)
def test_every_cookie_keeps_the_rules_of_its_prefix(rules: CookieRules) -> None:
    """RFC 6265bis §4.1.3: ``__Secure-`` with Secure; ``__Host-`` with Secure and Path=/; no Domain, ever."""
    for cookie in (*set_cookies(rules, PAIR, NOW), *clear_cookies(rules)):
        name, _, attributes = parts(cookie)
        assert "Domain" not in attributes
        assert ("Secure" in attributes) is rules.is_secure
        assert rules.is_secure or not name.startswith("__")
        assert not name.startswith("__Host-") or attributes["Path"] == "/"


def test_only_the_csrf_cookie_is_readable() -> None:
    """Threat: a script that is not ours must find no token."""
    readable = [parts(cookie)[0] for cookie in set_cookies(PLAIN, PAIR, NOW) if "HttpOnly" not in parts(cookie)[2]]
    assert readable == ["csrf_access_token"]


def test_access_token_alone_replaces_the_one_of_the_pair() -> None:
    """A session whose token is exchanged keeps the other cookies."""
    cookie = access_cookie(RULES, "a.b.c", 60)
    assert identity(cookie) == identity(set_cookies(RULES, PAIR, NOW)[0])
    assert parts(cookie)[1] == "a.b.c" and parts(cookie)[2]["Max-Age"] == "60"


@given(st.sampled_from(EVERY_RULES), st.binary(min_size=60, max_size=60), st.integers(0, 2**32 - 1), st.integers(0, 10**6))
def test_what_is_set_is_what_is_found(rules: CookieRules, octets: bytes, expires: int, expires_in: int) -> None:
    """A user agent that keeps the pairs sends them back, and extraction reads the very tokens."""
    token = "jgr_" + base64.urlsafe_b64encode(octets + expires.to_bytes(4, "big")).rstrip(b"=").decode()
    pair = TokenPair(PAIR.access_token, token, expires_in, "s")
    cookies = [parts(cookie) for cookie in set_cookies(rules, pair, NOW)]
    sent = "; ".join(f"{name}={value}" for name, value, _ in cookies).encode()
    request = Request("GET", "/", b"/", ((b"cookie", sent),))
    assert CookieExtraction(rules.access_name, 4096).find(request) == pair.access_token.encode()
    assert CookieExtraction(rules.refresh_name, 4096).find(request) == token.encode()
    assert int(cookies[1][2]["Max-Age"]) == max(0, expires - int(NOW))


# --- size


def padded(size: int) -> TokenPair:
    """A pair whose access cookie is exactly so long."""
    for length in range(size // 2, size):
        pair = replace(PAIR, access_token=access_token(csrf="x", pad="p" * length))
        reached = len(set_cookies(RULES, pair, NOW)[0])
        if reached >= size:
            assert reached == size, "base64 skips this length"
            return pair
    raise AssertionError(size)


def test_cookie_of_4096_bytes_fits() -> None:
    """RFC 6265bis §5.6, counted the strictest way: the whole value with its attributes."""
    check_size(RULES, padded(4096))


def test_cookie_of_one_more_is_refused_with_name_size_and_limit() -> None:
    """Browsers drop it without a word. Nothing of the token is told."""
    pair = padded(4097)
    with pytest.raises(ValueError, match="__Host-access_token is 4097 bytes long, .* 4096") as caught:
        check_size(RULES, pair)
    assert pair.access_token[-20:] not in str(caught.value)


@given(st.integers(0, 4000), st.floats(0, 2**33, allow_nan=False))
def test_what_fits_never_grows_out_of_it(length: int, now: float) -> None:
    """Refused is exactly what would be too long, whenever the pair is sent."""
    pair = replace(PAIR, access_token=access_token(csrf="x", pad="p" * length))
    longest = max(len(cookie.encode()) for cookie in set_cookies(RULES, pair, now))
    if longest <= 4096:
        check_size(RULES, pair)
        return
    with pytest.raises(ValueError, match="bytes long"):
        check_size(RULES, pair)


def test_values_are_ascii_without_controls() -> None:
    """They are header values: RFC 9110 §5.5."""
    for rules in EVERY_RULES:
        for cookie in (*set_cookies(rules, PAIR, NOW), *clear_cookies(rules)):
            assert re.fullmatch(r"[\x20-\x7e]+", cookie)
            assert json.dumps(cookie) == f'"{cookie}"'
