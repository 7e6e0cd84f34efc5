"""Which requests a check with paths concerns: no path escapes it by being spelt otherwise (threat 24, the other way round)."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.http.coverage import Coverage
from jwtgate.core.http.exemption import Exemption
from jwtgate.messages import Request

ADMIN = Coverage(["/admin/*", "/me/password"])


def request(path: str | None, raw_path: bytes | None = None) -> Request:
    return Request("GET", path, raw_path, ())


def sent(raw_path: bytes) -> Request:
    """As a server hands it on that decodes and tidies nothing else."""
    octets = unquote_to_bytes(raw_path.partition(b"?")[0])
    try:
        return request(octets.decode(), raw_path)
    except UnicodeDecodeError:
        return request(None, raw_path)


@pytest.mark.parametrize("path", ["/admin/", "/admin/users", "/admin/a/b", "/admin", "/me/password", "/me/password/"])
def test_paths_of_the_patterns_are_covered(path: str) -> None:
    """With and without the slash at the end: many routers redirect from one to the other, or take both."""
    assert ADMIN.includes(request(path))


@pytest.mark.parametrize("path", ["/", "/public", "/adminx", "/administration/", "/me", "/me/passwords", "/x/admin/", "/é"])
def test_other_plain_paths_are_not_covered(path: str) -> None:
    """Whole segments only."""
    assert not ADMIN.includes(request(path))


@pytest.mark.parametrize(
    "raw_path",
    [
        b"/Admin/users", b"/ADMIN", b"/me/PassWord", b"/%41dmin/users", b"/%61dmin/users", b"/admin%2fusers", b"/admin%2Fusers",
        b"//admin/users", b"/x//admin/users", b"/admin//users", b"/./admin/users", b"/x/../admin/users", b"/x/%2e%2e/admin/users",
        b"/x/..;/admin/users", b"/;x/admin/users", b"/admin;x=1/users", b"/x\\..\\admin/users", b"/x%5c..%5cadmin", b"/%2561dmin/users",
        b"/admin./users", b"/admin%20/users", b"/admin%00", b"/admin%09", b"/%c2%adadmin/users", b"/%e2%80%8badmin", b"/adm%ff",
        b"/%ef%bc%a1dmin/users", b"/%ef%bd%81dmin/users", b"/%c5%bf", b"/%e2%84%aa", b"/adm%c4%b1n%00", b"admin/users", b"", b"*",
        b"/me/password?x=1", b"/me/password.", b"/me/password/", b"/me/password%20", b"/me/password/%2e", b"/me/./password",
    ],
)  # fmt: skip
def test_no_spelling_escapes(raw_path: bytes) -> None:
    """Case, encoding, empty and dot segments, parameters, invisible and look-alike characters, what is not UTF-8."""
    assert ADMIN.includes(sent(raw_path))


def test_what_tells_no_path_is_covered() -> None:
    """``Gate.verify`` has no request; some paths are not valid UTF-8."""
    assert ADMIN.includes(None)
    assert ADMIN.includes(request(None))
    assert ADMIN.includes(request("/public", b"/x/..%2fpublic"))


def test_everywhere_is_everywhere() -> None:
    """``/*``, the default of the ready checks."""
    everywhere = Coverage(["/*"])
    assert all(everywhere.includes(request(path)) for path in ("/", "", "/a", "/a/b/", "//", None))


@given(st.text(max_size=12), st.sampled_from(["", "/admin/", "/admin", "/me/password", "/x/"]))
def test_every_path_that_an_exemption_would_match_is_covered(tail: str, head: str) -> None:
    """One language: whatever the patterns exempt, they cover."""
    path = head + tail
    if Exemption(("/admin/*", "/me/password")).matches(path, None):
        assert ADMIN.includes(request(path))


@given(
    st.lists(
        st.sampled_from(["/", "admin", "ADMIN", ".", "..", "x", "%2e", "%2F", ";", "\\", " ", "é", "\u200b", "me"]), max_size=8
    )
)
def test_no_path_that_resolves_below_a_pattern_escapes(parts: list[str]) -> None:
    """Merge slashes, resolve dot segments, drop parameters, ignore case, decode twice: if that ends below it is covered."""
    path = "/" + "".join(parts)
    tidied = unquote_to_bytes(path).decode().replace("\\", "/").replace("\u200b", "").lower()
    segments: list[str] = []
    for segment in (each.partition(";")[0].strip() for each in tidied.split("/")):
        if segment == "..":
            segments = segments[:-1]
        elif segment not in {"", "."}:
            segments.append(segment)
    if segments[:1] == ["admin"] or segments == ["me", "password"]:
        assert ADMIN.includes(request(path))


@pytest.mark.parametrize(
    "patterns", [[], ["admin"], [""], ["/a*"], ["/a/*/b"], ["//a"], ["/a/../b"], ["/a%2f"], ["*"], ["/a."]]
)
def test_patterns_of_another_form_are_refused(patterns: list[str]) -> None:
    """So is a check that would never be asked."""
    with pytest.raises(ValueError):
        Coverage(patterns)
