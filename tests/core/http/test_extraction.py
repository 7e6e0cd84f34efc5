"""Extraction: one token, read in one way, or none, or a refusal (RFC 6750 §2.1, RFC 9110 §11.1, RFC 6265)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.http.extraction import Extraction, bearer_token
from jwtgate.errors import InvalidRequest, MalformedToken
from jwtgate.messages import Credential, Request

NAME = "__Host-access_token"
COOKIE = NAME.encode()
LIMIT = 64
HEADER_ONLY = Extraction(("header",), NAME, LIMIT)
COOKIE_ONLY = Extraction(("cookie",), NAME, LIMIT)
BOTH = Extraction(("header", "cookie"), NAME, LIMIT)

B64TOKEN = re.compile(rb"[A-Za-z0-9\-._~+/]+=*")
TOKEN_TEXT = st.from_regex(rb"[A-Za-z0-9._~+/-]{1,50}={0,3}", fullmatch=True)


def request(*headers: tuple[bytes, bytes]) -> Request:
    """A GET with these headers."""
    return Request("GET", "/", b"/", headers)


def authorized(*values: bytes) -> Request:
    """A GET with these Authorization lines."""
    return request(*((b"authorization", value) for value in values))


def with_cookies(*values: bytes) -> Request:
    """A GET with these Cookie lines."""
    return request(*((b"cookie", value) for value in values))


# --- Authorization ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER", b"bEaReR"])
def test_scheme_is_read_in_any_case(scheme: bytes) -> None:
    """RFC 9110 §11.1: the scheme is case-insensitive."""
    assert HEADER_ONLY.find(authorized(scheme + b" a.b.c")) == Credential(b"a.b.c", "header")


@pytest.mark.parametrize("token", [b"a", b"a.b.c", b"AZaz09-._~+/", b"a=", b"a==", b"a.b.c====", b"x" * LIMIT])
def test_every_b64token_is_found(token: bytes) -> None:
    """RFC 6750 §2.1: b64token with its padding, up to the limit."""
    assert HEADER_ONLY.find(authorized(b"Bearer " + token)) == Credential(token, "header")


def test_more_than_one_space_may_follow_the_scheme() -> None:
    """RFC 6750 §2.1: 1*SP."""
    assert HEADER_ONLY.find(authorized(b"bearer   a.b.c")) == Credential(b"a.b.c", "header")


@pytest.mark.parametrize("extraction", [HEADER_ONLY, COOKIE_ONLY, BOTH])
def test_request_without_headers_has_no_token(extraction: Extraction) -> None:
    """Absent is absent."""
    assert extraction.find(request()) is None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"Bearer",
        b"bearer",
        b"Bearer ",
        b"Bearer    ",
        b" Bearer a.b.c",
        b"\tBearer a.b.c",
        b"Bearer\ta.b.c",
        b"Bearer \ta.b.c",
        b"Bearer a.b.c ",
        b"Bearer a.b.c\t",
        b"Bearer a.b.c x",
        b"Bearer a.b.c\x00",
        b"Bearer a.b.c\r\nX: y",
        b"Bearer a.b.c\n",
        b"Bearer a.b.c,",
        b"Bearer a.b.c, Bearer d.e.f",
        b"Bearer a.b.c,Bearer a.b.c",
        b"Bearer a.b.c;x",
        b"Bearer a b",
        b"Bearer Bearer a.b.c",
        b'Bearer "a.b.c"',
        b"Bearer 'a.b.c'",
        b'Bearer realm="x"',
        b"Bearer a=b",
        b"Bearer =",
        b"Bearer ==a",
        b"Bearer a%2Eb",
        b"Bearer a:b",
        b"Bearer a\\b",
        b"Bearer \xc3\xa9",
        b"Bearer a\xa0",
        b"Bearer\xa0a.b.c",
        b"Bearer\x0ba.b.c",
        b"Bearer\x00 a.b.c",
        b"Bearer=a.b.c",
        b"Bearer:a.b.c",
        b"Bearer: a.b.c",
        b"Bearer,a.b.c",
        b'"Bearer" a.b.c',
        b"\xef\xbb\xbfBearer a.b.c",
        b"B\xc3\xa9arer a.b.c",
        b", Bearer a.b.c",
        b"Basic YTpi, Bearer a.b.c",
        b"Basic YTpi,Bearer a.b.c",
        b"Basic YTpi,\t bEARER a.b.c",
        b"Basic YTpi,Bearer",
        b"Basic YTpi,Bearer,Basic",
    ],
)
def test_malformed_or_ambiguous_authorization_is_refused(value: bytes) -> None:
    """RFC 6750 §3.1 invalid_request: whatever two parsers could read in two ways; a cookie beside it does not help."""
    with pytest.raises(InvalidRequest):
        HEADER_ONLY.find(authorized(value))
    with pytest.raises(InvalidRequest):
        BOTH.find(request((b"authorization", value), (b"cookie", COOKIE + b"=a.b.c")))


@pytest.mark.parametrize(
    "value",
    [
        b"Basic YTpi",
        b"basic",
        b"DPoP a.b.c",
        b'Digest username="a, b", realm="x", bearer=\'1\'',
        b"Negotiate " + b"Y" * 10_000,
        b"Bearer2 a.b.c",
        b"Bearertoken",
        b"XBearer a.b.c",
        b"Bearer-Token a.b.c",
        b"AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;date, Signature=00",
        b"Basic \xff\x00",
    ],
)
def test_another_scheme_is_not_ours_to_judge(value: bytes) -> None:
    """Another scheme is no token and hides none: the cookie is found, and its source says cookie."""
    assert HEADER_ONLY.find(authorized(value)) is None
    found = BOTH.find(request((b"authorization", value), (b"cookie", COOKIE + b"=a.b.c")))
    assert found == Credential(b"a.b.c", "cookie")


@pytest.mark.parametrize(
    "values",
    [
        (b"Bearer a.b.c", b"Bearer d.e.f"),
        (b"Bearer a.b.c", b"Bearer a.b.c"),
        (b"Bearer a.b.c", b""),
        (b"Bearer a.b.c", b"Basic YTpi"),
        (b"Basic YTpi", b"Bearer a.b.c"),
        (b"Basic YTpi", b"Basic YTpi"),
    ],
)
def test_repeated_authorization_is_refused(values: tuple[bytes, ...]) -> None:
    """Exactly one line, whatever it says: the next layer may read the other one."""
    with pytest.raises(InvalidRequest):
        HEADER_ONLY.find(authorized(*values))


@pytest.mark.parametrize("spaces", [b" ", b"   "])
def test_overlong_token_is_refused_unread(spaces: bytes) -> None:
    """The length is compared first: characters that would make another error are not reached."""
    with pytest.raises(MalformedToken):
        HEADER_ONLY.find(authorized(b"Bearer" + spaces + b"," * (LIMIT + 1)))


def test_limit_is_of_the_token_not_of_the_header() -> None:
    """MAX_TOKEN_BYTES counts the token alone."""
    value = b"bearer     " + b"x" * LIMIT
    assert HEADER_ONLY.find(authorized(value)) == Credential(b"x" * LIMIT, "header")


def test_bearer_token_is_the_rule_that_find_uses() -> None:
    """Shells may ask for one value alone and get the same answers."""
    assert bearer_token(b"Bearer a.b.c", LIMIT) == b"a.b.c"
    assert bearer_token(b"bearer a.b.c", LIMIT) == b"a.b.c"
    assert bearer_token(b"Basic YTpi", LIMIT) is None
    with pytest.raises(InvalidRequest):
        bearer_token(b"Bearer a,b", LIMIT)
    with pytest.raises(MalformedToken):
        bearer_token(b"Bearer " + b"x" * (LIMIT + 1), LIMIT)


# --- Places ----------------------------------------------------------------------------------------------------------


def test_header_only_never_reads_cookies() -> None:
    """A place that is not configured does not exist: neither its token nor its faults."""
    assert HEADER_ONLY.find(with_cookies(COOKIE + b"=a.b.c")) is None
    broken = request((b"authorization", b"Bearer a.b.c"), (b"cookie", COOKIE + b'="a,b"; ' + COOKIE + b"=x"))
    assert HEADER_ONLY.find(broken) == Credential(b"a.b.c", "header")


def test_cookie_only_never_reads_authorization() -> None:
    """The same the other way round: that header may belong to somebody else."""
    found = COOKIE_ONLY.find(request((b"authorization", b"Bearer x,y"), (b"cookie", COOKIE + b"=a.b.c")))
    assert found == Credential(b"a.b.c", "cookie")


def test_two_tokens_that_differ_are_refused() -> None:
    """RFC 6750 §2: one method per request; which one would count is not guessed."""
    with pytest.raises(InvalidRequest):
        BOTH.find(request((b"authorization", b"Bearer a.b.c"), (b"cookie", COOKIE + b"=d.e.f")))


def test_the_same_token_twice_counts_as_the_headers() -> None:
    """No other site can send the header, so the cookie's rules need not apply."""
    found = BOTH.find(request((b"cookie", COOKIE + b"=a.b.c"), (b"authorization", b"Bearer a.b.c")))
    assert found == Credential(b"a.b.c", "header")


@pytest.mark.parametrize("cookie", [b"theme=dark", COOKIE + b"="])
def test_header_is_found_beside_other_cookies(cookie: bytes) -> None:
    """Cookies that hold no token of ours change nothing."""
    found = BOTH.find(request((b"authorization", b"Bearer a.b.c"), (b"cookie", cookie)))
    assert found == Credential(b"a.b.c", "header")


@pytest.mark.parametrize("locations", [(), ("query",), ("header", "query"), ("Header",)])
def test_unknown_location_is_refused_at_start(locations: tuple[str, ...]) -> None:
    """A location that nobody reads would be a silent hole in the configuration."""
    with pytest.raises(ValueError, match="locations"):
        Extraction(locations, NAME, LIMIT)


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "\u2000a", "a\n", "é"])
def test_impossible_cookie_name_is_refused_at_start(name: str) -> None:
    """RFC 6265 §4.1.1: a cookie's name is a token."""
    with pytest.raises(ValueError, match="cookie_name"):
        Extraction(("cookie",), name, LIMIT)


# --- Cookies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        [b"%s=a.b.c"],
        [b"%s=a.b.c;"],
        [b"%s=a.b.c ; x=y"],
        [b"a=1; %s=a.b.c; b=2"],
        [b"a=1;%s=a.b.c;b=2"],
        [b"a=1;\t%s\t=\ta.b.c\t;b=2"],
        [b"%s = a.b.c"],
        [b" %s=a.b.c "],
        [b";;;; %s=a.b.c;;;"],
        [b"a=1;a; %s=a.b.c"],
        [b"a=1;a", b"%s=a.b.c"],
        [b"a=1", b"%s=a.b.c", b"b=2"],
        [b"%s=a.b.c", b""],
        [b"", b"%s=a.b.c"],
        [b'a="; %s=a.b.c; b="'],
        [b'a={"k": [1,2]}; %s=a.b.c'],
        [b"\xff\xfe=\x00; %s=a.b.c"],
        [b"=; ==; =x; %s=a.b.c"],
        [b"a%s=evil; %s=a.b.c"],
        [b"%sx=evil; %s=a.b.c"],
        [b"b=%s; %s=a.b.c"],
        [b"b=%s=evil; %s=a.b.c"],
        [b"b=1, %s=evil; %s=a.b.c"],
        [b"%s; %s=a.b.c"],
        [b"%s.=x; %s=a.b.c; %s x=y"],
        [b"$Version=1; %s=a.b.c; $Path=/"],
        [b"\xe2\x80\x80%s=evil; %s=a.b.c"],
        [b"\xa0%s=evil; %s=a.b.c"],
        [b"\x0b%s=evil; \x0c%s=evil; \x00%s=evil; \r%s=evil; \n%s=evil; \x1c%s=evil; \x85%s=evil; %s=a.b.c"],
        [b"%s\xa0=evil; %s\x0b=evil; %s=a.b.c"],
    ],
)
def test_our_cookie_is_found_among_any_others(lines: list[bytes]) -> None:
    """One junk cookie never logs a user out, and no look-alike counts (bytes; only SP and HTAB are trimmed)."""
    found = COOKIE_ONLY.find(with_cookies(*(line.replace(b"%s", COOKIE) for line in lines)))
    assert found == Credential(b"a.b.c", "cookie")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b";",
        b"a=1",
        COOKIE,
        COOKIE + b";",
        COOKIE + b"=",
        COOKIE + b"= \t ;",
        COOKIE.lower() + b"=a.b.c",
        COOKIE.upper() + b"=a.b.c",
        b"access_token=a.b.c",
        b"x" + COOKIE + b"=a.b.c",
        COOKIE + b"x=a.b.c",
        b"a=" + COOKIE + b"=a.b.c",
        b"a=1, " + COOKIE + b"=a.b.c",
        b"a=1 " + COOKIE + b"=a.b.c",
        b"\xe2\x80\x80" + COOKIE + b"=a.b.c",
        b"\xa0" + COOKIE + b"=a.b.c",
        b"\x0b" + COOKIE + b"=a.b.c",
        b"\x00" + COOKIE + b"=a.b.c",
        b"%5F_Host-access_token=a.b.c",
        b'"' + COOKIE + b'"=a.b.c',
        COOKIE + b"\xe2\x80\x80=a.b.c",
        COOKIE + b":a.b.c",
    ],
)
def test_cookie_of_another_name_or_without_value_is_no_token(line: bytes) -> None:
    """Names are compared exactly; an empty value is how servers clear a cookie."""
    assert COOKIE_ONLY.find(with_cookies(line)) is None


@pytest.mark.parametrize(
    "value",
    [
        b'"a.b.c"',
        b'"',
        b'""',
        b'"a.b.c',
        b"a.b.c,d.e.f",
        b"a.b.c, " + COOKIE + b"=d.e.f",
        b"a.b.c," + COOKIE + b"=a.b.c",
        b"a b",
        b"a.b.c\x00",
        b"a.b.c\x0b",
        b"\xa0a.b.c",
        b"a.b.c\r\n",
        b"a=b",
        b"=",
        b"a%2Eb",
        b"a\\073",
        b"\xe2\x80\x80",
        b"Bearer a.b.c",
    ],
)
def test_cookie_value_that_no_token_can_have_is_refused(value: bytes) -> None:
    """Quotes, lists and escapes never smuggle a second token, and are never stripped to make one."""
    with pytest.raises(InvalidRequest):
        COOKIE_ONLY.find(with_cookies(b"a=1; " + COOKIE + b"=" + value + b"; b=2"))


@pytest.mark.parametrize(
    "lines",
    [
        (b"%s=a.b.c; %s=d.e.f",),
        (b"%s=a.b.c; %s=a.b.c",),
        (b"%s=a.b.c; x=y; %s=",),
        (b"%s=; %s=a.b.c",),
        (b"%s=; %s=",),
        (b"%s=a.b.c;%s =d.e.f",),
        (b"%s=a.b.c; \t%s\t=d.e.f",),
        (b"%s=a.b.c", b"%s=d.e.f"),
        (b"%s=a.b.c", b"x=y", b"%s=a.b.c"),
        (b"x%s=1; %s=a.b.c; %s=a.b.c",),
    ],
)
def test_repeated_cookie_of_ours_is_refused(lines: tuple[bytes, ...]) -> None:
    """Even if equal: somebody else may have set one of the two (RFC 6265 §8.6, weak integrity)."""
    with pytest.raises(InvalidRequest):
        COOKIE_ONLY.find(with_cookies(*(line.replace(b"%s", COOKIE) for line in lines)))


def test_overlong_cookie_is_refused_unread() -> None:
    """The same limit and the same order as in the header."""
    assert COOKIE_ONLY.find(with_cookies(COOKIE + b"= " + b"x" * LIMIT + b" ")) == Credential(b"x" * LIMIT, "cookie")
    with pytest.raises(MalformedToken):
        COOKIE_ONLY.find(with_cookies(COOKIE + b"=" + b"," * (LIMIT + 1)))


@pytest.mark.parametrize("name", ["a", ".", "a+b", "$x", "^", "|*"])
def test_name_is_never_a_pattern(name: str) -> None:
    """A configured name is compared as bytes, whatever its characters mean elsewhere."""
    extraction = Extraction(("cookie",), name, LIMIT)
    assert extraction.find(with_cookies(b"ab=1; aab=2; " + name.encode() + b"=a.b.c")) == Credential(b"a.b.c", "cookie")
    assert extraction.find(with_cookies(b"ab=1; aab=2; zz=3")) is None


# --- The refresh token's cookie ----------------------------------------------------------------------------------------

REFRESH = "__Secure-refresh_token"
WITH_REFRESH = Extraction(("header", "cookie"), NAME, LIMIT, refresh_cookie_name=REFRESH)


def refreshing(*values: str) -> Request:
    """A GET with these Cookie lines, ``%s`` in them being the refresh cookie's name."""
    return with_cookies(*(value.replace("%s", REFRESH).encode("latin-1") for value in values))


@pytest.mark.parametrize(
    "lines",
    [
        ["%s=jgr_x-Y_9"],
        [NAME + "=a.b.c; %s=jgr_x-Y_9; theme=dark"],
        [NAME + "=x; " + NAME + "=y; %s=jgr_x-Y_9"],
        ["a=1;a; =;;; b=c=d", "%s=jgr_x-Y_9"],
        ['a="; \xff=\xfe; %s = jgr_x-Y_9 ;x%s=1; %s2=2'],
    ],
)
def test_refresh_cookie_is_found_among_any_others(lines: list[str]) -> None:
    """By the rules of the access token's cookie, and whatever that one holds."""
    assert WITH_REFRESH.refresh_cookie_of(refreshing(*lines)) == "jgr_x-Y_9"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "a=1",
        "%s=",
        "%s",
        NAME + "=a.b.c",
        "refresh_token=x",
        "x%s=x",
        "\xe2\x80\x80%s=x",
        "\xa0%s=x",
        "__secure-refresh_token=x",
    ],
)
def test_cookie_of_another_name_is_no_refresh_token(line: str) -> None:
    """``__Secure-`` promises something only as spelt; an empty value is a cleared cookie."""
    assert WITH_REFRESH.refresh_cookie_of(refreshing(line)) is None
    assert WITH_REFRESH.refresh_cookie_of(request()) is None


@pytest.mark.parametrize(
    "lines", [["%s=x; %s=y"], ["%s=x; %s=x"], ["%s=x; %s="], ["%s=x", "%s=x"], ['%s="x"'], ["%s=x,y"], ["%s=\xe9"]]
)
def test_ambiguous_refresh_cookie_is_refused(lines: list[str]) -> None:
    """Somebody has set one over ours: which would be rotated is not guessed."""
    with pytest.raises(InvalidRequest):
        WITH_REFRESH.refresh_cookie_of(refreshing(*lines))


def test_overlong_refresh_cookie_is_refused_unread() -> None:
    """The same limit."""
    assert WITH_REFRESH.refresh_cookie_of(refreshing("%s=" + "x" * LIMIT)) == "x" * LIMIT
    with pytest.raises(MalformedToken):
        WITH_REFRESH.refresh_cookie_of(refreshing("%s=" + "," * (LIMIT + 1)))


def test_refresh_cookie_is_read_only_where_cookies_are() -> None:
    """A place that is not configured does not exist; nor does a name that nobody gave."""
    header_only = Extraction(("header",), NAME, LIMIT, refresh_cookie_name=REFRESH)
    for extraction in (header_only, BOTH):
        assert extraction.refresh_cookie_of(refreshing("%s=x; %s=y")) is None
    with pytest.raises(ValueError, match="cookie_name"):
        Extraction(("cookie",), NAME, LIMIT, refresh_cookie_name="a b")


def test_refresh_cookie_is_never_an_access_token() -> None:
    """Each cookie is only what its name says."""
    assert WITH_REFRESH.find(refreshing("%s=a.b.c")) is None


# --- Hostile input -----------------------------------------------------------------------------------------------------

HOSTILE_COOKIES = {
    "separators": b";" * 65_536,
    "spaced separators": b"; " * 32_768,
    "white space": b" \t" * 32_768,
    "white space in a pair": b";" + b" " * 65_536,
    "names without value": (b";" + COOKIE) * 3_200,
    "names in values": (b"; x=" + COOKIE) * 2_700,
    "names in names": (b"; x" + COOKIE + b"=") * 2_600,
    "name, then white space": (COOKIE + b" " * 1_000) * 60,
    "one value": b"a=" + b"x" * 65_536,
    "quotes": b'"' * 65_536,
}


@pytest.mark.parametrize("junk", HOSTILE_COOKIES.values(), ids=HOSTILE_COOKIES.keys())
def test_hostile_cookies_neither_hide_nor_invent_a_token(junk: bytes) -> None:
    """64 KB of the worst input, alone or in front of ours; possessive quantifiers read each byte once."""
    assert COOKIE_ONLY.find(with_cookies(junk)) is None
    assert COOKIE_ONLY.find(with_cookies(junk + b"; " + COOKIE + b"=a.b.c")) == Credential(b"a.b.c", "cookie")


# --- Properties ------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [COOKIE, b"=", b";", b"; ", b",", b" ", b"\t", b'"', b"a.b.c", b"Bearer", b"bearer ", b"Basic x", b"\x00", b"\xff"]
)
VALUES = st.binary(max_size=100) | st.lists(PIECES, max_size=12).map(b"".join)
HEADERS = st.lists(st.tuples(st.sampled_from([b"authorization", b"cookie", b"host"]), VALUES), max_size=4)


@given(HEADERS)
def test_any_headers_give_a_credential_none_or_a_refusal(headers: list[tuple[bytes, bytes]]) -> None:
    """No bytes of a client give any other exception, and a token found is one b64token within the limit."""
    for extraction in (HEADER_ONLY, COOKIE_ONLY, BOTH):
        try:
            found = extraction.find(request(*headers))
        except (InvalidRequest, MalformedToken):
            continue
        if found is not None:
            assert B64TOKEN.fullmatch(found.token) is not None
            assert len(found.token) <= LIMIT


JUNK = st.lists(VALUES.map(lambda value: value.replace(COOKIE, b"")), max_size=5).map(b"; ".join)


@given(JUNK, TOKEN_TEXT, JUNK, st.booleans())
def test_junk_cookies_never_hide_ours(before: bytes, token: bytes, after: bytes, in_lines: bool) -> None:
    """Whatever surrounds it, in one line or several, our one cookie is found."""
    ours = COOKIE + b"=" + token
    if COOKIE in before + after:
        return
    pairs = [before, ours, after]
    lines = pairs if in_lines else [b"; ".join(pairs)]
    assert COOKIE_ONLY.find(with_cookies(*lines)) == Credential(token, "cookie")


def naive_values(cookies: bytes) -> list[bytes]:
    """The obvious way: split, partition, trim."""
    pairs = [pair.partition(b"=") for pair in cookies.split(b";")]
    return [value.strip(b" \t") for name, equals, value in pairs if equals and name.strip(b" \t") == COOKIE]


@given(st.lists(PIECES, max_size=30).map(b"".join))
def test_cookie_search_agrees_with_splitting_every_pair(cookies: bytes) -> None:
    """The fast search finds exactly what a parse of every pair finds."""
    values = naive_values(cookies)
    try:
        found = COOKIE_ONLY.find(with_cookies(cookies))
    except (InvalidRequest, MalformedToken):
        assert len(values) > 1 or (values[0] and B64TOKEN.fullmatch(values[0]) is None) or len(values[0]) > LIMIT
        return
    assert [found.token] == values if found is not None else values in ([], [b""])
