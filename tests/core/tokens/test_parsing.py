"""The one parse: what is not a JWT by the strictest reading is refused, at a bounded cost, before any key is looked up.

Every hostile token here is signed with the right key, and PyJWT admits many: only the parse stands in their way.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keymaking import craft

from jwtgate.claims import Claims, ClaimsList
from jwtgate.core.tokens.parsing import parse
from jwtgate.errors import MalformedToken

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = {"alg": "HS256", "typ": "at+jwt"}
CLAIMS = {"iss": "https://issuer.example", "sub": "alice", "exp": 1_000_900, "iat": 1_000_000, "jti": "j", "sid": "s"}
LIMIT = 8192


def payload_with(text: str) -> bytes:
    """The usual claims with one more member, as it stands."""
    return json.dumps(CLAIMS)[:-1].encode() + b"," + text.encode("utf-8", "surrogatepass") + b"}"


def nested(depth: int) -> str:
    """Arrays in arrays."""
    return '"x":' + "[" * depth + "]" * depth


HOSTILE_PAYLOADS: dict[str, bytes] = {
    "nan": payload_with('"x":NaN'),
    "infinity": payload_with('"x":Infinity'),
    "negative_infinity": payload_with('"x":-Infinity'),
    "infinite_by_exponent": payload_with('"x":1e999'),
    "negative_infinite_by_exponent": payload_with('"x":-1e999'),
    "integer_of_21_digits": payload_with('"x":' + "9" * 21),
    "integer_of_4300_digits": payload_with('"x":' + "9" * 4300),
    "integer_of_5000_digits": payload_with('"x":' + "9" * 5000),
    "float_of_4300_digits": payload_with('"x":0.' + "1" * 4300),
    "duplicate_claim": payload_with('"sub":"mallory"'),
    "duplicate_claim_escaped": payload_with('"s\\u0075b":"mallory"'),
    "duplicate_deep": payload_with('"x":[{"y":{"a":1,"a":1}}]'),
    "utf16": json.dumps(CLAIMS).encode("utf-16"),
    "utf16_le": json.dumps(CLAIMS).encode("utf-16-le"),
    "utf32": json.dumps(CLAIMS).encode("utf-32"),
    "byte_order_mark": b"\xef\xbb\xbf" + json.dumps(CLAIMS).encode(),
    "not_utf8": b'{"sub":"\xff"}',
    "overlong_utf8": b'{"sub":"\xc0\xaf"}',
    "surrogate_in_utf8": b'{"sub":"\xed\xa0\x80"}',
    "lone_surrogate": payload_with('"x":"\\ud800"'),
    "lone_low_surrogate": payload_with('"x":"\\uDC00"'),
    "lone_surrogate_deep": payload_with('"x":[{"y":["\\ud83d"]}]'),
    "lone_surrogate_in_name": payload_with('"\\ud83d":1'),
    "lone_surrogate_in_sub": b'{"sub":"\\ud800"}',
    "control_character": b'{"sub":"a\nb"}',
    "empty": b"",
    "array": b"[]",
    "text": b'"x"',
    "number": b"1",
    "null": b"null",
    "two_objects": b"{}{}",
    "trailing_comma": b'{"a":1,}',
    "comment": b"{}//",
    "single_quotes": b"{'a':1}",
    "leading_zero": b'{"a":01}',
    "unclosed": b'{"a":{',
    "unclosed_text": b'{"a":"' + b'\\"' * 2000,
    "many_unclosed_arrays": b"[" * 5000,
    "many_closed_arrays": b'{"a":' + b"]" * 5000,
    "deep_arrays": payload_with(nested(33)),
    "deep_arrays_2000": payload_with(nested(2000)),
    "deep_objects": payload_with('"x":' + '{"a":' * 1000 + "1" + "}" * 1000),
    "many_members": payload_with(",".join(f'"{n}":1' for n in range(300))),
    "many_members_deep": payload_with('"x":{' + ",".join(f'"{n}":1' for n in range(300)) + "}"),
    "many_values": payload_with('"x":[' + ",".join("1" * 1100) + "]"),
    "aud_number": payload_with('"aud":1'),
    "aud_null": payload_with('"aud":null'),
    "aud_object": payload_with('"aud":{"a":1}'),
    "aud_empty": payload_with('"aud":""'),
    "aud_empty_list": payload_with('"aud":[]'),
    "aud_list_with_number": payload_with('"aud":["a",1]'),
    "aud_list_with_empty": payload_with('"aud":["a",""]'),
    "aud_list_in_list": payload_with('"aud":[["a"]]'),
    "scope_number": payload_with('"scope":1'),
    "scope_null": payload_with('"scope":null'),
    "scp_object": payload_with('"scp":{"a":1}'),
    "scp_list_with_number": payload_with('"scp":["a",1]'),
} | {
    f"{name}_{kind}": json.dumps({**CLAIMS, name: value}).encode()
    for name in ("sub", "jti", "sid", "iss", "client_id")
    for kind, value in {
        "empty": "", "number": 7, "boolean": True, "null": None, "list": ["a"], "object": {"a": 1}, "float": 1.5
    }.items()
}  # fmt: skip

HOSTILE_PAYLOADS |= {
    f"{name}_{kind}": json.dumps(CLAIMS | {name: value}).encode()
    for name in ("exp", "nbf", "iat", "auth_time")
    for kind, value in {
        "text": "1", "boolean": True, "null": None, "list": [1], "object": {"a": 1}, "negative": -1,
        "after_9999": 253402300800, "fraction_after_9999": 253402300799.5,
    }.items()
}  # fmt: skip

HOSTILE_HEADERS: dict[str, bytes] = {
    "no_alg": b"{}",
    "alg_null": b'{"alg":null}',
    "alg_number": b'{"alg":1}',
    "alg_list": b'{"alg":["HS256"]}',
    "duplicate_alg": b'{"alg":"none","alg":"HS256"}',
    "kid_number": b'{"alg":"HS256","kid":1}',
    "kid_null": b'{"alg":"HS256","kid":null}',
    "kid_list": b'{"alg":"HS256","kid":["a"]}',
    "typ_number": b'{"alg":"HS256","typ":1}',
    "typ_null": b'{"alg":"HS256","typ":null}',
    "cty_number": b'{"alg":"HS256","cty":1}',
    "crit_empty": b'{"alg":"HS256","crit":[]}',
    "crit_unknown": b'{"alg":"HS256","crit":["exp"],"exp":1}',
    "crit_b64": b'{"alg":"HS256","crit":["b64"],"b64":true}',
    "crit_null": b'{"alg":"HS256","crit":null}',
    "b64_true": b'{"alg":"HS256","b64":true}',
    "b64_false": b'{"alg":"HS256","b64":false}',
    "jwk": b'{"alg":"HS256","jwk":{"kty":"oct","k":"YQ"}}',
    "jku": b'{"alg":"HS256","jku":"https://mallory.example/keys"}',
    "x5u": b'{"alg":"HS256","x5u":"https://mallory.example/cert"}',
    "x5c": b'{"alg":"HS256","x5c":["YQ"]}',
    "deep": b'{"alg":"HS256","x":' + b"[" * 40 + b"]" * 40 + b"}",
    "very_deep": b'{"alg":"HS256","x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "lone_surrogate_in_kid": b'{"alg":"HS256","kid":"\\ud800"}',
    "nan": b'{"alg":"HS256","x":NaN}',
    "not_utf8": b'{"alg":"HS256","kid":"\xff"}',
    "utf16": '{"alg":"HS256"}'.encode("utf-16"),
    "array": b'["alg"]',
}


@pytest.mark.parametrize("name", HOSTILE_PAYLOADS)
def test_hostile_payload_is_malformed(name: str) -> None:
    """RFC 8725 §2: a payload that another reader could read otherwise, or that breaks later code, is refused."""
    with pytest.raises(MalformedToken):
        parse(craft(HEADER, HOSTILE_PAYLOADS[name]), LIMIT)


@pytest.mark.parametrize("name", HOSTILE_HEADERS)
def test_hostile_header_is_malformed(name: str) -> None:
    """RFC 7515 §4.1: a header that brings a key, an extension or a value of another type is refused."""
    with pytest.raises(MalformedToken):
        parse(craft(HOSTILE_HEADERS[name], CLAIMS), LIMIT)


GOOD_PAYLOADS: dict[str, bytes] = {
    "empty_object": b"{}",
    "whitespace_inside_and_after": b'{"a" :\r\n 1 }\r\n ',
    "pair_of_surrogates": b'{"sub":"\\ud83d\\ude00"}',
    "escaped_backslash_before_u": b'{"sub":"\\\\ud800"}',
    "brackets_in_text": json.dumps({"x": "[{" * 400 + '"'}).encode(),
    "brackets_and_quotes_in_text": json.dumps({"x": '\\"[{' * 200, "y": ["[" * 40]}).encode(),
    "wide_but_flat": json.dumps({"x": [{} for _ in range(200)]}).encode(),
    "commas_in_text": json.dumps({"x": "," * 3000}).encode(),
    "64_bit_integers": b'{"x":18446744073709551615,"y":-9223372036854775808}',
    "float_dates": b'{"exp":1000900.5,"iat":1e6}',
    "latest_date": b'{"exp":253402300799}',
    "depth_32": payload_with(nested(31)),
    "256_members": json.dumps({str(n): n for n in range(256)}).encode(),
    "audience_list": b'{"aud":["a","b"]}',
    "scope_list": b'{"scope":["a"],"scp":"b"}',
    "empty_scope": b'{"scope":"","scp":[]}',
    "null_elsewhere": b'{"x":null}',
}


@pytest.mark.parametrize("name", GOOD_PAYLOADS)
def test_unusual_but_valid_payload_is_read(name: str) -> None:
    """RFC 8259: what is JSON within the bounds is read as the standard library reads it."""
    octets = GOOD_PAYLOADS[name]
    assert parse(craft(HEADER, octets), LIMIT).claims == json.loads(octets)


def test_leading_whitespace_is_malformed() -> None:
    """No issuer sends it, and it would be one more spelling."""
    with pytest.raises(MalformedToken):
        parse(craft(HEADER, b" {}"), LIMIT)


def test_parts_are_those_of_the_token() -> None:
    """RFC 7515 §7.1: header, claims, the very bytes signed, and the signature, immutable at every depth."""
    token = craft(HEADER, {**CLAIMS, "roles": ["a", {"b": ["c"]}]})
    parsed = parse(token, LIMIT)
    assert parsed.header == HEADER
    assert parsed.claims == {**CLAIMS, "roles": ["a", {"b": ["c"]}]}
    assert type(parsed.header) is Claims
    assert type(parsed.claims["roles"]) is ClaimsList
    assert type(parsed.claims["roles"][1]) is Claims
    assert type(parsed.claims["roles"][1]["b"]) is ClaimsList
    assert parsed.signing_input == token.rsplit(b".", 1)[0]
    assert len(parsed.signature) == 32


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t + b"=",
        lambda t: t.replace(b".", b"=.", 1),
        lambda t: t + b".",
        lambda t: b"." + t,
        lambda t: t.replace(b".", b"..", 1),
        lambda t: t.rsplit(b".", 1)[0],
        lambda t: t + b".a.b",
        lambda t: t + b" ",
        lambda t: t + b"\n",
        lambda t: b"\n" + t,
        lambda t: t.replace(b"e", b"e ", 1),
        lambda t: t + b"!",
        lambda t: t + b"\x00",
        lambda t: t + b"\xc3\xa9",
        lambda t: t[:-1] + b"+",
        lambda t: t[:-1] + b"/",
        lambda t: t.replace(b".", b"A.", 1),
    ],
)
def test_second_spelling_of_a_token_is_malformed(change: Callable[[bytes], bytes]) -> None:
    """RFC 7515 §2: base64url without padding, line breaks or other characters; or a ruling could be escaped."""
    with pytest.raises(MalformedToken):
        parse(change(craft(HEADER, CLAIMS)), LIMIT)


@pytest.mark.parametrize("size", [1, 2])
def test_unused_bits_must_be_zero_in_every_segment(size: int) -> None:
    """RFC 4648 §3.5: of the spellings that differ in unused trailing bits only the canonical one is read."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    header, payload = b'{"alg":"HS256"}', b"{}"
    while len(header) % 3 != size:
        header = header[:-1] + b" }"
    while len(payload) % 3 != size:
        payload += b" "
    segments = craft(header, payload).split(b".")
    segments[2] = b"AA" if size == 1 else b"AAA"
    parse(b".".join(segments), LIMIT)
    for position in range(3):
        for nudge in range(1, 16 if size == 1 else 4):
            twisted = list(segments)
            last = alphabet[alphabet.index(twisted[position][-1]) + nudge]
            twisted[position] = twisted[position][:-1] + bytes([last])
            with pytest.raises(MalformedToken):
                parse(b".".join(twisted), LIMIT)


def test_length_is_checked_before_anything_is_read() -> None:
    """A token one byte over the limit is refused, one at the limit is read."""
    token = craft(HEADER, CLAIMS)
    parse(token, len(token))
    with pytest.raises(MalformedToken, match="JWTGATE_MAX_TOKEN_BYTES"):
        parse(token, len(token) - 1)
    with pytest.raises(MalformedToken, match="JWTGATE_MAX_TOKEN_BYTES"):
        parse(b"!" * 1_000_000, LIMIT)


@pytest.mark.parametrize("octets", [b'{"a":"' + b'\\"' * 30_000, b"[" * 90_000, b'{"a":"' + b"\\" * 90_000, b',"' * 50_000])
def test_worst_case_is_linear(octets: bytes) -> None:
    """The exact count that suspect tokens get never backtracks: 100 kB cost milliseconds."""
    token = craft(HEADER, octets)
    started = time.perf_counter()
    with pytest.raises(MalformedToken):
        parse(token, 1_000_000)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize("name", HOSTILE_PAYLOADS)
def test_no_error_holds_a_part_of_the_token(name: str) -> None:
    """The message, and the exceptions behind it, are fixed sentences: the library's own error would quote the token."""
    with pytest.raises(MalformedToken) as caught:
        parse(craft(HEADER, HOSTILE_PAYLOADS[name]), LIMIT)
    assert "alice" not in str(caught.value)
    assert "mallory" not in str(caught.value)
    assert caught.value.__context__ is None


def test_repr_names_no_claim() -> None:
    """A parsed token in a log line does not leak."""
    assert repr(parse(craft(HEADER, CLAIMS), LIMIT)) == "<ParsedToken>"


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_malformed(token: bytes) -> None:
    """No input of a client raises anything else."""
    with pytest.raises(MalformedToken):
        parse(token, LIMIT)


JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200)
@given(claims=st.dictionaries(st.text(min_size=1, max_size=6), JSON_VALUES, max_size=6))
def test_what_is_read_is_what_json_reads(claims: dict[str, Any]) -> None:
    """Two readers of one token never disagree: the claims equal those of the standard library, or it is refused."""
    token = craft(HEADER, claims)
    try:
        parsed = parse(token, 1_000_000)
    except MalformedToken:
        return
    assert parsed.claims == json.loads(json.dumps(claims))
