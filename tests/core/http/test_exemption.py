"""Exemption: only a path that everybody reads alike needs no token (RFC 3986 §5.2.4, §6.2.2)."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette._utils import get_route_path

from jwtgate.core.http.exemption import Exemption, certain_path, is_plain, is_preflight, routed_path
from jwtgate.messages import Request

EXEMPT = Exemption(("/health", "/public/*", "/.well-known/jwks.json", "/é"))


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/public/",
        "/public/a",
        "/public/a/b.css",
        "/public/.hidden/..file",
        "/public/a b+c@d:e,f~g!$&'()=_-*[]{}|^\"<>?#",
        "/public/日本.png",
        "/.well-known/jwks.json",
        "/é",
    ],
)
def test_exempt_path_is_matched_whole_or_below(path: str) -> None:
    """``/a`` is that path alone, ``/a/*`` is ``/a/`` and everything below; with and without the raw path."""
    assert EXEMPT.matches(path, None)
    assert EXEMPT.matches(path, quote(path).encode())


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "health",
        "/health/",
        "/health/x",
        "/healthz",
        "/heal",
        "/Health",
        "/HEALTH",
        "/public",
        "/publicity",
        "/PUBLIC/a",
        "/api/health",
        "/api/public/a",
        "http://host/health",
        "/e\u0301",
        "/É",
    ],
)
def test_any_other_path_is_not_exempt(path: str) -> None:
    """Exact characters, exact case, at a segment boundary, from the start."""
    assert not EXEMPT.matches(path, None)


@pytest.mark.parametrize(
    "path",
    [
        "//health",
        "/health.",
        "/health ",
        "/health;x",
        "/health\x00",
        "/health\n",
        "/health%00",
        "/public//a",
        "/public/a//b",
        "/public//",
        "//public/a",
        "/public/.",
        "/public/..",
        "/public/./a",
        "/public/../admin",
        "/public/a/../../admin",
        "/public/.../admin",
        "/public/a.",
        "/public/a./b",
        "/public/a /b",
        "/public/.. /admin",
        "/public/..;/admin",
        "/public/;/../admin",
        "/public/a;v=1",
        "/public\\a",
        "/public/..\\admin",
        "/public/a\\..\\admin",
        "/public/a\x00",
        "/public/\x00/../admin",
        "/public/a\r\nb",
        "/public/a\tb",
        "/public/a\x7f",
        "/public/a\x85b",
        "/public/a\xa0b",
        "/public/a\u200bb",
        "/public/\u202ea",
        "/public/a\u2028b",
        "/public/\ufeffa",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/%252e",
        "/public/100%",
        "/public/\uff0e\uff0e/admin",
        "/public/\u2025/admin",
        "/public\uff0fa",
        "/public/..\uff0fadmin",
        "/public/..\u2044admin\uff3c",
        "/public/\udc80",
        "/public/\ud800a",
        "/public/\ufffd",
    ],
)
def test_path_that_could_be_read_in_two_ways_is_never_exempt(path: str) -> None:
    """Dot segments, empty segments, parameters, second encodings, controls, look-alikes: it needs a token."""
    assert not EXEMPT.matches(path, None)
    assert not Exemption(("/*",)).matches(path, None)


@pytest.mark.parametrize(
    "raw_path",
    [
        b"/public%2fa",
        b"/public%2Fa",
        b"/public/a%5cb",
        b"/public/a%5Cb",
        b"/public/a%00",
        b"/public/%2e%2E/a",
        b"/public/a%2E",
        b"/public/../public/a",
        b"/public/./a",
        b"/public/..",
        b"/public/..;/public/a",
        b"//public/a",
        b"/public//a",
        b"/public\\a",
        b"http://host//public/a",
        b"/public/\xff",
        b"/public/\xc3\xa9",
        b"/x/../public/a?y",
    ],
)
def test_raw_path_that_hides_something_is_never_exempt(raw_path: bytes) -> None:
    """What decoding or a server's tidying took away still counts."""
    assert not EXEMPT.matches("/public/a", raw_path)


@pytest.mark.parametrize(
    "raw_path",
    [b"/public/a", b"/public/%61", b"/root/public/a", b"/public/a?next=%2Fhome//..", b"http://host:80/public/a", b""],
)
def test_harmless_raw_path_does_not_count(raw_path: bytes) -> None:
    """Encoded letters, a mount point, a query and the absolute form (RFC 9112 §3.2.2) change nothing."""
    assert EXEMPT.matches("/public/a", raw_path)


def test_undecodable_path_is_never_exempt() -> None:
    """A path that is not UTF-8 is nobody's."""
    assert not Exemption(("/*",)).matches(None, b"/public/%c0%ae")


def test_no_patterns_exempt_nothing() -> None:
    """The default; callers see it and need not ask."""
    nothing = Exemption(())
    assert nothing.is_empty
    assert not EXEMPT.is_empty
    assert not any(nothing.matches(path, None) for path in ("", "/", "/health"))


def test_star_at_the_root_exempts_every_plain_path() -> None:
    """``/*`` is ``/`` and below."""
    everything = Exemption(("/*",))
    assert everything.matches("/", b"/")
    assert everything.matches("/a/b", b"/a/b")
    assert not everything.matches("", b"")
    assert Exemption(("/",)).matches("/", b"/")
    assert not Exemption(("/",)).matches("/a", b"/a")


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "*",
        "health",
        "/a*",
        "/a/*/b",
        "/*/a",
        "/a//b",
        "/a/../b",
        "/a/.",
        "/a%20b",
        "/a;b",
        "/a\\b",
        "/a/**",
        "/a\n",
    ],
)
def test_pattern_that_could_never_match_is_refused_at_start(pattern: str) -> None:
    """Another form of pattern would silently exempt nothing, or not what was meant."""
    with pytest.raises(ValueError, match="not /path"):
        Exemption(("/health", pattern))


SEGMENTS = st.sampled_from(["a", "public", "health", "..", ".", "", "A", "a.", "..;", "%2e", "é", "\uff0e", "\\", "\x00", " "])
PATHS = st.lists(SEGMENTS, max_size=5).map("/".join) | st.text(max_size=20)
PATTERNS = st.sampled_from(["/", "/*", "/a", "/a/*", "/public/*", "/a/public", "/health"])


def is_under(path: str, pattern: str) -> bool:
    """The obvious reading, segment by segment."""
    segments, wanted = path.split("/"), pattern.split("/")
    if wanted[-1] == "*":
        return len(segments) >= len(wanted) and segments[: len(wanted) - 1] == wanted[:-1]
    return segments == wanted


@given(PATHS | PATHS.map("/".__add__), st.lists(PATTERNS, max_size=3), st.none() | st.binary(max_size=20))
def test_exempt_path_is_under_a_pattern_and_plain(path: str, patterns: list[str], raw_path: bytes | None) -> None:
    """Whatever is asked: a match lies under a pattern by segments and has no dot, empty or encoded segment."""
    if Exemption(tuple(patterns)).matches(path, raw_path):
        assert any(is_under(path, pattern) for pattern in patterns)
        assert not {".", ".."} & set(path.split("/"))
        assert "//" not in path
        assert not set("\\%;\x00") & set(path)


@given(PATHS | PATHS.map("/".__add__), st.none() | st.binary(max_size=20))
def test_plain_is_what_the_widest_exemption_exempts(path: str, raw_path: bytes | None) -> None:
    """One rule for all who answer a path without asking the application."""
    assert is_plain(path, raw_path) == Exemption(("/*",)).matches(path, raw_path)


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/a", "", "/a"),
        ("", "", ""),
        ("/root/a", "/root", "/a"),
        ("/root/", "/root", "/"),
        ("/root", "/root", ""),
        ("/rootless/a", "/root", "/rootless/a"),
        ("/a", "/root", "/a"),
        ("/root/a", "/root/", "/root/a"),
        ("/root/root/a", "/root", "/root/a"),
        ("/ROOT/a", "/root", "/ROOT/a"),
    ],
)
def test_root_path_is_cut_at_a_segment_boundary(path: str, root_path: str, expected: str) -> None:
    """The path the application routes on."""
    assert routed_path(path, root_path) == expected


ROOTS = st.lists(st.sampled_from(["/", "a", "/a", "b"]), max_size=3).map("".join)


@given(st.lists(st.sampled_from(["/", "a", "/a", "b"]), max_size=6).map("".join), ROOTS)
def test_routed_path_is_the_one_starlette_routes_on(path: str, root_path: str) -> None:
    """Gate and router must never look at two paths."""
    assert routed_path(path, root_path) == get_route_path({"path": path, "root_path": root_path})


def test_preflight_is_options_with_its_header() -> None:
    """Fetch §4.8: method and header together, never a handshake."""
    asks = ((b"origin", b"https://a.example"), (b"access-control-request-method", b"PUT"))
    assert is_preflight(Request("OPTIONS", "/", b"/", asks))
    assert not is_preflight(Request("OPTIONS", "/", b"/", asks[:1]))
    assert not is_preflight(Request("OPTIONS", "/", b"/", ()))
    assert not is_preflight(Request("options", "/", b"/", asks))
    assert not is_preflight(Request("POST", "/", b"/", asks))
    assert not is_preflight(Request("OPTIONS", "/", b"/", asks, is_websocket=True))


@given(st.lists(st.sampled_from(["/", "a", "/a", "b"]), max_size=6).map("".join), ROOTS)
def test_certain_path_is_the_routed_one_where_all_routers_agree(path: str, root_path: str) -> None:
    """A root path stands at the start, up to a segment's end, or nowhere; elsewhere some cut it out and some do not."""
    is_prefix = path == root_path or path.startswith(f"{root_path}/")
    is_clear = is_prefix or root_path not in path or not root_path.strip("/")
    assert certain_path(path, root_path) == (routed_path(path, root_path) if is_clear else None)
