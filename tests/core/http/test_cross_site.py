"""Cross-site rules for cookies: Sec-Fetch-Site first, then Origin (Fetch Metadata, RFC 6454, RFC 6455 §10.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.http.cross_site import check, check_double_submit, normalised_origin
from jwtgate.errors import CrossSiteRequest
from jwtgate.messages import Request

ALLOWED = frozenset({"https://partner.example", "https://other.example:8443", "capacitor://localhost"})
OWN_HOST = (b"host", b"app.example")


def post(*headers: tuple[bytes, bytes], method: str = "POST") -> Request:
    """An unsafe request with these headers and nothing else."""
    return Request(method, "/", b"/", headers)


def handshake(*headers: tuple[bytes, bytes]) -> Request:
    """A WebSocket handshake to our host."""
    return Request("GET", "/", b"/", (OWN_HOST, *headers), is_websocket=True)


def site(value: bytes) -> tuple[bytes, bytes]:
    """A Sec-Fetch-Site line."""
    return (b"sec-fetch-site", value)


def origin(value: bytes) -> tuple[bytes, bytes]:
    """An Origin line."""
    return (b"origin", value)


def passes(request: Request, origins: frozenset[str] = ALLOWED) -> bool:
    """Whether the rule lets the request through."""
    try:
        check(request, mode="fetch-metadata", origins=origins)
    except CrossSiteRequest:
        return False
    return True


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_methods_pass(method: str) -> None:
    """RFC 9110 §9.2.1: they change nothing, and links from other sites must work."""
    assert passes(post(method=method))
    assert passes(post(OWN_HOST, site(b"cross-site"), origin(b"https://evil.example"), method=method))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "get", "Head", "GET ", "X", ""])
def test_every_other_method_is_unsafe(method: str) -> None:
    """Unknown methods, TRACE and other cases are unsafe (RFC 9110 §9.1: methods are case-sensitive)."""
    assert not passes(post(OWN_HOST, site(b"cross-site"), method=method))
    assert passes(post(OWN_HOST, site(b"same-origin"), method=method))


def test_off_lets_everything_pass() -> None:
    """CSRF=off is the operator's word."""
    check(post(site(b"cross-site")), mode="off", origins=frozenset())
    check(handshake(origin(b"https://evil.example")), mode="off", origins=frozenset())


@pytest.mark.parametrize("value", [b"same-origin", b"none"])
def test_own_site_passes(value: bytes) -> None:
    """Fetch Metadata §2.2: our own page, or the user; also where a proxy rewrote Host or the Origin is withheld."""
    assert passes(post(site(value)))
    assert passes(post(site(value), (b"host", b"internal:8000"), origin(b"https://app.example")))
    assert passes(post(site(value), OWN_HOST, origin(b"null")))


@pytest.mark.parametrize(
    "sites",
    [
        (b"cross-site",),
        (b"same-site",),
        (b"",),
        (b"Same-Origin",),
        (b" same-origin",),
        (b"same-origin ",),
        (b"same-origin, same-origin",),
        (b"same-origin;x",),
        (b'"same-origin"',),
        (b"future-value",),
        (b"\xff",),
        (b"same-origin", b"same-origin"),
        (b"same-origin", b"cross-site"),
        (b"none", b"same-origin"),
    ],
)
def test_any_other_site_needs_an_allowed_origin(sites: tuple[bytes, ...]) -> None:
    """Once the browser has spoken, an Origin like Host is not enough; only one in ORIGINS is."""
    lines = tuple(site(value) for value in sites)
    assert not passes(post(OWN_HOST, *lines))
    assert not passes(post(OWN_HOST, *lines, origin(b"https://app.example")))
    assert not passes(post(OWN_HOST, *lines, origin(b"https://evil.example")))
    assert passes(post(OWN_HOST, *lines, origin(b"https://partner.example")))


@pytest.mark.parametrize(
    ("sent", "host"),
    [
        (b"https://app.example", b"app.example"),
        (b"http://app.example", b"app.example"),
        (b"https://app.example", b"APP.example"),
        (b"HTTPS://App.Example", b"app.example"),
        (b"https://app.example", b"app.example:443"),
        (b"https://app.example:443", b"app.example"),
        (b"http://app.example", b"app.example:80"),
        (b"http://app.example:80", b"app.example"),
        (b"http://localhost:8000", b"localhost:8000"),
        (b"https://app.example:80", b"app.example:80"),
        (b"http://127.0.0.1:5000", b"127.0.0.1:5000"),
        (b"http://[::1]:5000", b"[::1]:5000"),
        (b"https://[2001:DB8::1]", b"[2001:db8::1]:443"),
        (b"https://xn--bcher-kva.example", b"xn--bcher-kva.example"),
        (b"https://my_host.example", b"my_host.example"),
    ],
)
def test_origin_like_host_passes_without_sec_fetch_site(sent: bytes, host: bytes) -> None:
    """Older browsers: host and port of the Origin are those of Host, default ports left out on both sides."""
    assert passes(post((b"host", host), origin(sent)))


@pytest.mark.parametrize(
    ("sent", "host"),
    [
        (b"https://evil.example", b"app.example"),
        (b"https://app.example.evil.example", b"app.example"),
        (b"https://evilapp.example", b"app.example"),
        (b"https://sub.app.example", b"app.example"),
        (b"https://app.example.", b"app.example"),
        (b"https://app.example:8443", b"app.example"),
        (b"https://app.example", b"app.example:8443"),
        (b"https://app.example", b"app.example:80"),
        (b"http://app.example", b"app.example:443"),
        (b"http://app.example:443", b"app.example"),
        (b"ftp://app.example", b"app.example"),
        (b"capacitor://app.example", b"app.example"),
        (b"file://", b""),
        (b"null", b"null"),
        (b"null", b"app.example"),
        (b"NULL", b"app.example"),
        (b"", b""),
        (b"", b"app.example"),
        (b"app.example", b"app.example"),
        (b"//app.example", b"app.example"),
        (b"https:app.example", b"app.example"),
        (b"https://", b""),
        (b"https://app.example/", b"app.example"),
        (b"https://app.example/", b"app.example/"),
        (b"https://app.example?x", b"app.example?x"),
        (b"https://app.example:", b"app.example:"),
        (b"https://app.example:0443", b"app.example:0443"),
        (b"https://app.example:x", b"app.example:x"),
        (b"https://user@app.example", b"app.example"),
        (b"https://app.example@evil.example", b"app.example@evil.example"),
        (b"https://app.example, https://app.example", b"app.example"),
        (b"https://app.example https://evil.example", b"app.example"),
        (b" https://app.example", b"app.example"),
        (b"https://app.example\n", b"app.example"),
        (b"https://app.example\x00", b"app.example\x00"),
        (b"https://app\xe3\x80\x82example", b"app\xe3\x80\x82example"),
        (b"https://[::1", b"[::1"),
        (b"https://%61pp.example", b"app.example"),
    ],
)
def test_any_other_origin_is_refused(sent: bytes, host: bytes) -> None:
    """Nothing is repaired, no suffix or prefix counts, and null is nobody."""
    assert not passes(post((b"host", host), origin(sent)))
    assert not passes(Request("GET", "/", b"/", ((b"host", host), origin(sent)), is_websocket=True))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (OWN_HOST,),
        (origin(b"https://app.example"),),
        (OWN_HOST, OWN_HOST, origin(b"https://app.example")),
        (OWN_HOST, (b"host", b"evil.example"), origin(b"https://evil.example")),
        (OWN_HOST, origin(b"https://app.example"), origin(b"https://app.example")),
        (OWN_HOST, origin(b"https://partner.example"), origin(b"https://partner.example")),
        (OWN_HOST, origin(b"https://app.example"), origin(b"https://evil.example")),
        (OWN_HOST, (b"referer", b"https://app.example/")),
        (OWN_HOST, (b"x-forwarded-host", b"evil.example"), origin(b"https://evil.example")),
        (OWN_HOST, (b"forwarded", b"host=evil.example"), origin(b"https://evil.example")),
        (OWN_HOST, (b"x-forwarded-for", b"127.0.0.1"), (b"x-requested-with", b"XMLHttpRequest")),
    ],
)
def test_request_that_nothing_vouches_for_is_refused(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """Neither header, a repeated one, or only headers that a client or a proxy makes up."""
    assert not passes(post(*headers))


@pytest.mark.parametrize(
    "sent",
    [
        b"https://partner.example",
        b"https://PARTNER.example:443",
        b"https://other.example:8443",
        b"capacitor://localhost",
    ],
)
def test_allowed_origin_passes_everywhere(sent: bytes) -> None:
    """ORIGINS, compared in normal form, whatever Sec-Fetch-Site says and for handshakes too."""
    assert passes(post(origin(sent)))
    assert passes(post(OWN_HOST, site(b"cross-site"), origin(sent)))
    assert passes(handshake(origin(sent)))
    assert passes(handshake(site(b"cross-site"), origin(sent)))


@pytest.mark.parametrize("sent", [b"http://partner.example", b"https://partner.example:444", b"https://other.example", b"null"])
def test_origin_beside_an_allowed_one_is_refused(sent: bytes) -> None:
    """Scheme, host and port all count; null cannot be allowed even by listing it."""
    assert not passes(post(OWN_HOST, site(b"cross-site"), origin(sent)), ALLOWED | {"null"})


@pytest.mark.parametrize("sites", [(), (site(b"same-origin"),), (site(b"none"),)])
def test_handshake_from_our_own_origin_passes(sites: tuple[tuple[bytes, bytes], ...]) -> None:
    """The Origin is the request's host, and Sec-Fetch-Site, if sent, does not speak against it."""
    assert passes(handshake(*sites, origin(b"https://app.example")))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (site(b"same-origin"),),
        (site(b"none"),),
        (origin(b"https://evil.example"),),
        (origin(b"null"),),
        (site(b"same-origin"), origin(b"https://evil.example")),
        (site(b"same-origin"), origin(b"null")),
        (site(b"same-origin"), origin(b"https://app.example"), origin(b"https://app.example")),
        (site(b"cross-site"), origin(b"https://app.example")),
        (site(b"same-site"), origin(b"https://app.example")),
        (OWN_HOST, origin(b"https://app.example")),
    ],
)
def test_any_other_handshake_is_refused(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    """RFC 6455 §10.2: by cookie only from an allowed Origin; every browser sends one, so none vouches for nothing."""
    assert not passes(handshake(*headers))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"https://app.example", "https://app.example"),
        (b"HTTPS://APP.EXAMPLE:443", "https://app.example"),
        (b"http://app.example:443", "http://app.example:443"),
        (b"chrome-extension://abcdef", "chrome-extension://abcdef"),
        (b"https://[::1]:8443", "https://[::1]:8443"),
        (b"https://app.example:123456", None),
        (b"https://app.example/", None),
        (b"https://*.app.example", None),
        (b"null", None),
        (b"*", None),
    ],
)
def test_origins_have_one_normal_form(value: bytes, expected: str | None) -> None:
    """RFC 6454 §6.2, for what is configured and what is sent alike."""
    assert normalised_origin(value) == expected


# --- double-submit

VALUE = "random-text-of-the-session"


def submitted(value: bytes) -> tuple[bytes, bytes]:
    """An X-CSRF-TOKEN line."""
    return (b"x-csrf-token", value)


def may_be_ours(request: Request) -> bool:
    """Whether the rule lets the request through to the decision about its token."""
    try:
        check(request, mode="double-submit", origins=ALLOWED)
    except CrossSiteRequest:
        return False
    return True


def is_ours(request: Request, expected: object = VALUE) -> bool:
    """Whether the rule lets the request through after it."""
    try:
        check_double_submit(request, expected)
    except CrossSiteRequest:
        return False
    return True


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_safe_methods_need_no_value(method: str) -> None:
    """RFC 9110 §9.2.1: links work, and a wrong value does no harm either."""
    for request in (post(method=method), post(submitted(b"x"), site(b"cross-site"), method=method)):
        assert may_be_ours(request) and is_ours(request) and is_ours(request, None)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "get", "X", ""])
def test_value_of_the_session_passes_on_every_other_method(method: str) -> None:
    """Whoever can send it can read our cookies: no other header is asked for, and none speaks against it."""
    for headers in ((), (OWN_HOST, site(b"cross-site"), origin(b"https://evil.example"))):
        request = post(submitted(VALUE.encode()), *headers, method=method)
        assert may_be_ours(request) and is_ours(request)
        assert not is_ours(post(*headers, method=method))


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (site(b"same-origin"), OWN_HOST, origin(b"https://app.example")),
        (origin(b"https://partner.example"),),
        (submitted(b""),),
        (submitted(VALUE.encode()), submitted(VALUE.encode())),
        (submitted(VALUE.encode()), submitted(b"")),
        (submitted(b"x"), submitted(VALUE.encode())),
        (submitted(f"{VALUE},{VALUE}".encode()),),
        (submitted(f"{VALUE}, ".encode()),),
        (submitted(b","),),
        ((b"x-csrftoken", VALUE.encode()), (b"x-xsrf-token", VALUE.encode()), (b"x-requested-with", b"XMLHttpRequest")),
        ((b"cookie", f"csrf_access_token={VALUE}; __Host-csrf_access_token={VALUE}".encode()),),
        ((b"authorization", b"Basic eDp5"),),
    ],
)
def test_request_without_exactly_one_value_is_refused_before_its_token_is_read(
    headers: tuple[tuple[bytes, bytes], ...],
) -> None:
    """So a page of another site, which can send none, cannot tell a live token from a dead one by the answer."""
    assert not may_be_ours(post(*headers))
    assert not is_ours(post(*headers))


@pytest.mark.parametrize(
    "value",
    [
        b"another-text-of-the-session",
        b"random",
        b"random-text-of-the-session ",
        b"RANDOM-TEXT-OF-THE-SESSION",
        b"\xff",
        b"\x00",
    ],
)
def test_another_value_is_refused(value: bytes) -> None:
    """Compared whole, byte for byte."""
    assert may_be_ours(post(submitted(value)))
    assert not is_ours(post(submitted(value)))


@pytest.mark.parametrize("claim", [None, "", 0, True, [VALUE], {VALUE: VALUE}, VALUE.encode(), b"None", "é"])
def test_token_without_a_usable_claim_has_no_value(claim: object) -> None:
    """Nothing is its value: neither emptiness, nor a text made of something else, nor a claim of another type."""
    for value in (VALUE, str(claim), repr(claim), "None", "True", "0"):
        assert not is_ours(post(submitted(value.encode("latin-1"))), claim)
    assert not is_ours(post(submitted(b"")), claim)


def test_handshakes_go_by_origin_and_never_by_value() -> None:
    """No page can give a WebSocket handshake a header; Origin is the only thing that vouches for one."""
    value = submitted(VALUE.encode())
    assert may_be_ours(handshake(origin(b"https://app.example")))
    assert may_be_ours(handshake(origin(b"https://partner.example")))
    assert not may_be_ours(handshake(value))
    assert not may_be_ours(handshake(value, origin(b"https://evil.example")))
    assert is_ours(handshake(origin(b"https://app.example")))


def test_refusal_tells_no_value() -> None:
    """Threat 29: neither what was sent nor what was expected."""
    for request, claim in (
        (post(submitted(b"sent-by-them")), VALUE),
        (post(submitted(b"sent-by-them")), None),
        (post(), VALUE),
    ):
        with pytest.raises(CrossSiteRequest) as caught:
            check_double_submit(request, claim)
        assert VALUE not in str(caught.value) and "sent-by-them" not in str(caught.value)


@given(st.lists(st.binary(max_size=30), max_size=3), st.text(st.characters(codec="utf-8"), max_size=20) | st.none())
def test_arbitrary_values_pass_only_alone_and_equal(values: list[bytes], claim: str | None) -> None:
    """Any bytes are refused with CrossSiteRequest and nothing else, or they are the claim's own; whatever passes then,
    would also have passed the rule before the decision."""
    request = post(*map(submitted, values))
    if is_ours(request, claim):
        assert claim is not None and values == [claim.encode()] and claim
        assert may_be_ours(request)


@given(st.text(st.characters(codec="utf-8", exclude_characters=","), min_size=1, max_size=40))
def test_every_value_equals_itself(claim: str) -> None:
    """What the page was told is what passes."""
    assert is_ours(post(submitted(claim.encode())), claim)


# --- any bytes


@given(st.binary(max_size=60), st.binary(max_size=60), st.booleans())
def test_arbitrary_origin_and_host_never_pass_unless_they_are_equal(sent: bytes, host: bytes, is_websocket: bool) -> None:
    """Any bytes are refused with CrossSiteRequest and nothing else, or the Origin ends with the host that was asked."""
    request = Request("POST", None, None, ((b"host", host), (b"origin", sent)), is_websocket)
    if passes(request, frozenset()):
        assert host.lower().split(b":")[0] in sent.lower()
