"""Forms: read strictly, at a bounded cost (RFC 6749 §3.1 and appendix B)."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from endpoints.scripted_operations import FORM, request_of
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.endpoints.forms import MAX_BODY_BYTES, declared_length, read_form
from jwtgate.endpoints.refusals import BodyTooLarge, CallError, MalformedCall, WrongMediaType


def form_of(body: bytes, *headers: tuple[str, str]) -> dict[str, str]:
    """Read as what it says it is."""
    return read_form(request_of("POST", "/", *(headers or (FORM,))), body)


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"&&a=1&&", {"a": "1"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a+b=c+d%2B%20", {"a b": "c d+ "}),
        (b"%61=%C3%a9", {"a": "é"}),
        ("é=日".encode(), {"é": "日"}),
        (b"a=&b&c=1", {"c": "1"}),
        (b"=1", {"": "1"}),
    ],
)
def test_well_formed_body_is_read(body: bytes, form: dict[str, str]) -> None:
    """WHATWG URL §5.1; a field without a value counts as left out (RFC 6749 §3.1)."""
    assert form_of(body) == form


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&a=1", b"a=1&a=2", b"a=&a=", b"a&a", b"a=1&%61=2", b"+=1&%20=2", b"&=1&=2",
        b"a=%", b"a=%4", b"a=%zz", b"a=%u00e9", b"%=1", b"a=%+1", b"a=\0", b"a=%00", b"%00=1", b"a=\xff", b"a=%ff", b"\xc3=1",
        b"a=%c0%80", b"a=%ed%a0%80",
    ],
)  # fmt: skip
def test_ambiguous_or_broken_body_is_malformed(body: bytes) -> None:
    """A repeated field (RFC 6749 §3.1), a broken escape, NUL, and what is not UTF-8, overlong and surrogate forms included."""
    with pytest.raises(MalformedCall):
        form_of(body)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x-www-form-urlencoded", "Application/X-WWW-Form-URLEncoded", "application/x-www-form-urlencoded ;",
        "application/x-www-form-urlencoded; charset=utf-8", 'application/x-www-form-urlencoded;charset="UTF-8"',
    ],
)  # fmt: skip
def test_form_may_name_its_charset(media_type: str) -> None:
    """RFC 9110 §8.3.1: types and parameters in any case."""
    assert form_of(b"a=1", ("content-type", media_type)) == {"a": "1"}


@pytest.mark.parametrize(
    "headers",
    [
        (("host", "x"),),
        (("content-type", ""),),
        (("content-type", "application/json"),),
        (("content-type", "multipart/form-data; boundary=x"),),
        (("content-type", "application/x-www-form-urlencoded; charset=latin-1"),),
        (("content-type", "application/x-www-form-urlencoded, application/json"),),
        (("content-type", "application/x-www-form-urlencodedx"),),
        (("content-type", "application/x-www-form-urlencoded" + "; \t " * 5000 + "x"),),
        (FORM, FORM),
    ],
)
def test_other_media_type_is_refused_where_there_is_a_body(headers: tuple[tuple[str, str], ...]) -> None:
    """RFC 9110 §15.5.16; an empty body is an empty form, whatever it is called."""
    with pytest.raises(WrongMediaType):
        form_of(b"a=1", *headers)
    assert form_of(b"", *headers) == {}


def test_body_over_the_limit_is_too_large() -> None:
    """16 KiB, and not a byte more."""
    assert form_of(b"a=" + b"x" * (MAX_BODY_BYTES - 2))["a"][-1] == "x"
    with pytest.raises(BodyTooLarge):
        form_of(b"a=" + b"x" * (MAX_BODY_BYTES - 1))


@pytest.mark.parametrize(("value", "length"), [("0", 0), ("00012", 12), ("16384", 16384), ("", None)])
def test_length_is_what_the_header_says(value: str, length: int | None) -> None:
    """RFC 9110 §8.6: digits. An empty one is what a WSGI server puts where there is none."""
    assert declared_length(request_of("POST", "/", ("content-length", value))) == length


@pytest.mark.parametrize("value", ["-1", "+1", "1 ", "1.0", "0x1", "1,1", "one", "²", "1_0"])
def test_length_that_is_no_number_is_malformed(value: str) -> None:
    """One reading for all (RFC 9112 §6.3)."""
    with pytest.raises(MalformedCall):
        declared_length(request_of("POST", "/", ("content-length", value)))


@pytest.mark.parametrize("value", ["16385", "9" * 5000])
def test_length_over_the_limit_is_too_large(value: str) -> None:
    """It is refused before anything is read."""
    with pytest.raises(BodyTooLarge):
        declared_length(request_of("POST", "/", ("content-length", value)))


def test_repeated_length_is_malformed() -> None:
    """Also where both say the same: a server that joins lines would not tell."""
    with pytest.raises(MalformedCall):
        declared_length(request_of("POST", "/", ("content-length", "1"), ("content-length", "1")))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    """Threat 2: no input raises anything else."""
    try:
        form = form_of(body)
    except CallError:
        return
    assert all("\0" not in text for pair in form.items() for text in pair)


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1)))
def test_what_browsers_encode_is_read_back(form: dict[str, str]) -> None:
    """The standard library's encoding, all of Unicode but NUL."""
    form = {name.replace("\0", ""): value.replace("\0", "?") for name, value in form.items()}
    try:
        encoded = urlencode(form).encode()
    except UnicodeEncodeError:
        return
    if len(encoded) <= MAX_BODY_BYTES:
        assert form_of(encoded) == form
