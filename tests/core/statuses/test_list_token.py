"""What came from a list's address is that list, or it is nothing (draft-ietf-oauth-status-list §5.1 and §8.3)."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from core.scripted import START
from core.statuses.listing import ISSUER, OTHER, SECRET, URI, list_token, listed, policy_of
from keymaking import make_pairs

from jwtgate.core.rulings import Ruling, Toggle
from jwtgate.core.statuses.list_token import read_list_token
from jwtgate.core.statuses.status_list import UnreadableList
from jwtgate.core.tokens.parsing import parse
from jwtgate.core.tokens.verification import screen
from jwtgate.errors import WrongType


def read(text: bytes, **settings: Any) -> Any:
    """As of the start of time, from where it belongs."""
    return read_list_token(text, URI, policy_of(**settings), START)


def test_good_one_is_read() -> None:
    """With what it says of its own time."""
    found = read(list_token(7))
    assert (found.status_list.value(7), found.status_list.value(8)) == (1, 0)
    assert (found.issued_at, found.ttl_seconds, found.ends_at) == (START, 60, START + 600)
    bare = read(list_token(exp=None, ttl=None, iss=ISSUER, typ="application/StatusList+JWT"))
    assert (bare.ttl_seconds, bare.ends_at) == (None, None)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("typ", list_token(typ="JWT")),
        ("typ", list_token(typ="at+jwt")),
        ("typ", list_token(typ=None)),
        ("typ", list_token(typ="statuslist+cwt")),
        ("signature", list_token(secret=OTHER)),
        ("kid and alg|alg and kid", list_token(alg="HS512", secret=SECRET * 2)),
        ("sub", list_token(sub=f"{ISSUER}/status/2")),
        ("sub", list_token(sub=f"{URI}/")),
        ("sub", list_token(sub=None)),
        ("iss", list_token(iss="https://other.example")),
        ("audience", list_token(aud="somebody-else")),
        ("iat", list_token(iat=None)),
        ("future", list_token(iat=int(START) + 61)),
        ("future", list_token(nbf=int(START) + 61)),
        ("exp", list_token(exp=int(START))),
        ("exp", list_token(iat=int(START) - 7200, exp=int(START) - 3600)),
        ("exp", list_token(exp=str(int(START) + 600))),
        ("ttl", list_token(ttl=0)),
        ("ttl", list_token(ttl=-5)),
        ("ttl", list_token(ttl="60")),
        ("ttl", list_token(ttl=True)),
        ("bits", list_token(status_list=None)),
        ("bits", list_token(status_list={"bits": 3, "lst": listed()["lst"]})),
        ("zlib", list_token(status_list={"bits": 1, "lst": "AAAA"})),
        ("none of the issuer's", b""),
        ("none of the issuer's", b"<html>maintenance</html>"),
        ("none of the issuer's", b"\xd2\x84\x43\xa1\x01\x26"),
        ("none of the issuer's", list_token() + b"="),
        ("none of the issuer's", list_token()[:-5] + b"....."),
        ("none of the issuer's", b"a" * (4 * 1024 * 1024 + 1)),
    ],
)
def test_any_other_is_refused(said: str, text: bytes) -> None:
    """Each rule by itself; the reason names the rule and quotes nothing."""
    with pytest.raises(UnreadableList, match=said) as caught:
        read(text)
    assert "example" not in str(caught.value)


def test_list_signed_by_another_key_of_the_process_is_refused() -> None:
    """Keys belong to their issuer; and an unsigned one is nobody's."""
    pair = make_pairs()["p256"]
    claims = {"sub": URI, "iat": int(START), "status_list": listed()}
    mine = {"secret": None, "public_key": pair.public_pem}
    assert read(jwt.encode(claims, pair.private, "ES256", headers={"typ": "statuslist+jwt"}).encode(), **mine)
    confused = jwt.encode(claims, "x" * 40, "HS256", headers={"typ": "statuslist+jwt"}).encode()
    unsigned = jwt.encode(claims, None, "none", headers={"typ": "statuslist+jwt"}).encode()
    for text in (confused, unsigned, list_token()):
        with pytest.raises(UnreadableList, match="none of the issuer's"):
            read(text, **mine)


def test_retired_key_vouches_for_no_list() -> None:
    """Its thief would call everything valid."""
    policy = policy_of()
    rulings = {policy.keys.keys[0].handle: Ruling(Toggle(True, "e", 1, START)).encode()}
    with pytest.raises(UnreadableList, match="retired"):
        read_list_token(list_token(), URI, policy, START, rulings.get)


@pytest.mark.parametrize("settings", [{}, {"typ": "JWT"}, {"typ": "at+jwt"}, {"audience": ["*"]}])
def test_list_token_is_no_access_token(settings: dict[str, Any]) -> None:
    """Anybody may fetch it, it has a subject, and the issuer's key signed it: nobody is let in with it."""
    policy = policy_of(**settings)
    for text in (
        list_token(),
        list_token(typ="JWT"),
        list_token(typ=None),
        list_token(typ="StatusList+JWT"),
    ):
        with pytest.raises(WrongType):
            screen(parse(text, 8192), {None: policy, ISSUER: policy}, START)


def test_key_that_only_gives_subjects_theirs_signs_no_list() -> None:
    """``DERIVED_KEYS``: the secret itself signs nothing."""
    with pytest.raises(UnreadableList, match="DERIVED_KEYS"):
        read(list_token(), derived_keys=True)


def test_audience_of_the_gate_is_fine() -> None:
    """RFC 7519 §4.1.3: whoever is named may read it."""
    assert read(list_token(aud=["x", "api"]), audience=["api"])
    assert read(list_token(aud=["x"]), audience=["*"])
