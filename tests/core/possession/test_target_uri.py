"""RFC 3986 §6.2.2 and §6.2.3: two spellings of one URI are one, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.possession.target_uri import normal_uri, request_uri

BASE = "https://api.example.com"


@pytest.mark.parametrize(
    ("uri", "normal"),
    [
        ("https://api.example.com", f"{BASE}/"),
        ("HTTPS://Api.Example.COM:443/A", f"{BASE}/A"),
        ("https://api.example.com/%7Euser/%61", f"{BASE}/~user/a"),
        ("https://api.example.com/%e2%82%ac", f"{BASE}/%E2%82%AC"),
        ("https://api.example.com/a%2fb", f"{BASE}/a%2Fb"),
        ("https://api.example.com/a/b/../c/./d", f"{BASE}/a/c/d"),
        ("https://api.example.com/a/%2E%2e/b", f"{BASE}/b"),
        ("https://api.example.com/..", f"{BASE}/"),
        ("https://api.example.com/a/.", f"{BASE}/a/"),
        ("https://api.example.com/a/..", f"{BASE}/"),
        ("https://api.example.com/a/?q#f", f"{BASE}/a/"),
        ("https://api.example.com?q", f"{BASE}/"),
        ("http://[2001:DB8::1]:80/x", "http://[2001:db8::1]/x"),
        ("http://api.example.com:443/", "http://api.example.com:443/"),
        ("https://api.example.com/a;b=c,d@e:f", f"{BASE}/a;b=c,d@e:f"),
        ("https://api.example.com/.well-known/x", f"{BASE}/.well-known/x"),
        ("https://api.example.com//a", f"{BASE}//a"),
    ],
)
def test_spellings_have_one_normal_form(uri: str, normal: str) -> None:
    """Case, port, escapes, dots, empty path; what follows the path is left out."""
    assert normal_uri(uri) == normal
    assert normal_uri(normal) == normal


@pytest.mark.parametrize(
    "uri",
    [
        *("", "/", "api.example.com/", "//api.example.com/", "ftp://api.example.com/", "https:/api.example.com/", "https://"),
        *("https:///", "https://u@h/", "https://u:p@h/", "https://h:x/", "https://h:123456/", "https://h/%", "https://h/%g1"),
        *(
            "https://h/ ",
            " https://h/",
            "https://h/\n",
            "https://h\n/",
            "https://h/a\\b",
            'https://h/"',
            "https://h/<",
            "https://é/",
        ),
        *(
            "https://h/é",
            "https://h/\x00",
            "https://[::1/",
            "https://::1/",
            "https://h/[",
            "javascript://h/",
            "https://h/" + "a" * 9000,
        ),
    ],
)
def test_what_is_no_http_uri_has_none(uri: str) -> None:
    """Whatever else a parser might make of it."""
    assert normal_uri(uri) is None


@pytest.mark.parametrize(
    ("raw_path", "path", "uri"),
    [
        (b"/", "/", f"{BASE}/"),
        (b"/a?q=1", "/a", f"{BASE}/a"),
        (b"/%61", "/a", f"{BASE}/a"),
        (b"/a%2Fb", "/a/b", f"{BASE}/a%2Fb"),
        (b"/\xc3\xa9", "/é", f"{BASE}/%C3%A9"),
        (b"/%c3%a9", "/é", f"{BASE}/%C3%A9"),
        (None, "/é x", f"{BASE}/%C3%A9%20x"),
        (None, "/a%b", f"{BASE}/a%25b"),
        (b"//a", "//a", f"{BASE}//a"),
        (b"/.well-known/x", "/.well-known/x", f"{BASE}/.well-known/x"),
    ],
)
def test_request_has_the_uri_of_its_line(raw_path: bytes | None, path: str, uri: str) -> None:
    """Under the configured origin; without a raw path the decoded one is escaped again."""
    assert request_uri(BASE, raw_path, path) == uri


@pytest.mark.parametrize(
    "raw_path",
    [
        *(b"", b"*", b"http://h/", b"h:443", b"/..", b"/a/../b", b"/a/./b", b"/a/.", b"/%2e%2e/b", b"/.%2E", b"/%2e"),
        *(b"/%", b"/%g0", b"/a b", b"/a\\b", b'/"', b"/a#b", b"/\x00", b"/\n", b"/" + b"a" * 9000),
    ],
)
def test_path_that_can_be_read_in_two_ways_has_no_uri(raw_path: bytes) -> None:
    """So no proof is for it."""
    assert request_uri(BASE, raw_path, "/b") is None


def test_request_without_a_readable_path_has_no_uri() -> None:
    """Neither raw nor decoded."""
    assert request_uri(BASE, None, None) is None


def test_base_may_have_a_path() -> None:
    """Of what a proxy took off before the server saw the request."""
    assert request_uri(f"{BASE}/v1", b"/a", "/a") == f"{BASE}/v1/a"


@given(st.text(max_size=60), st.binary(max_size=60))
def test_nothing_else_comes_out(text: str, octets: bytes) -> None:
    """A normal form is stable, ASCII and of one of two schemes."""
    for found in (normal_uri(text), normal_uri(f"https://h/{text}"), request_uri(BASE, octets, None)):
        if found is not None:
            assert found.isascii() and found.startswith(("http://", "https://"))
            assert normal_uri(found) == found
