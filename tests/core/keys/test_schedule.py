"""Our own keys with their times: who signs, who verifies, and what a rotation must never do."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from keymaking import ALGORITHMS, make_pairs

from jwtgate.core.keys.building import build
from jwtgate.core.keys.material import UnusableKeyError
from jwtgate.core.keys.schedule import (
    MAX_AGE_SECONDS,
    PUBLISHED_BEFORE_SECONDS,
    OwnKey,
    next_change,
    read_own_keys,
    retired,
    rotated,
    signing,
    verifying,
    write_own_keys,
)
from jwtgate.errors import UnknownKey

NOW = 1_800_000_000.0
TOKEN_SECONDS = 900.0
PAIRS = make_pairs()
OCT = {"kty": "oct", "k": "YSBzZWNyZXQgb2YgYXQgbGVhc3QgdGhpcnR5LXR3byBieXRlcyE", "alg": "HS256"}


def jwk(name: str = "p256", kid: str = "one", **members: Any) -> dict[str, Any]:
    algorithm = {"p256": "ES256", "rsa": "RS256", "ed25519": "EdDSA"}[name]
    return {**ALGORITHMS[algorithm].to_jwk(PAIRS[name].private, as_dict=True), "kid": kid, **members}


def set_of(*members: object) -> str:
    return json.dumps({"keys": members})


def own(kid: str, **dates: float) -> OwnKey:
    (key,) = read_own_keys(set_of({**OCT, "kid": kid, **dates}))
    return key


def kids(keys: tuple[OwnKey, ...]) -> list[str]:
    return [key.kid for key in keys]


def test_each_kind_of_key_signs_and_survives_being_written() -> None:
    """RSA, EC, OKP and oct; the times stand beside the members."""
    text = set_of(jwk("rsa", "r"), jwk("p256", "e"), jwk("ed25519", "d"), {**OCT, "kid": "o", "iat": 1, "nbf": 2, "exp": 3})
    keys = read_own_keys(text)
    assert [key.algorithm for key in keys] == ["RS256", "ES256", "EdDSA", "HS256"]
    assert read_own_keys(write_own_keys(keys)) == keys
    assert (keys[3].made_at, keys[3].signs_from, keys[3].verifies_until) == (1, 2, 3)
    assert (keys[0].signs_from, keys[0].verifies_until) == (0, inf)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be a JWK Set"),
        ("[]", "must be a JWK Set"),
        (set_of(), "1 to 64"),
        (set_of({**OCT}), r"keys\[0\] has no kid"),
        (set_of({**OCT, "kid": "a"}, {**OCT, "kid": "a"}), "kid twice"),
        (set_of({**OCT, "kid": "a", "nbf": "soon"}), "nbf must be a NumericDate"),
        (set_of({**OCT, "kid": "a", "exp": True}), "exp must be a NumericDate"),
        (set_of({"kty": "oct", "k": "c2hvcnQ", "kid": "a"}), r"keys\[0\] .*32 bytes"),
        (set_of({"kty": "EC", "kid": "a"}), r"keys\[0\]"),
        (set_of(7), r"keys\[0\] not a JSON object"),
    ],
)
def test_mistakes_say_where(text: str, said: str) -> None:
    """The operator's own file: nothing in it is skipped."""
    with pytest.raises(UnusableKeyError, match=said):
        read_own_keys(text)


def test_public_key_cannot_sign() -> None:
    """It belongs into another setting."""
    public = {name: value for name, value in jwk().items() if name not in ("d", "key_ops")}
    with pytest.raises(UnusableKeyError, match="is a public key"):
        read_own_keys(set_of(public))


def test_secret_is_in_no_mistake_and_in_no_repr() -> None:
    """threats.md 29."""
    key = own("a")
    assert OCT["k"] not in repr(key)
    with pytest.raises(UnusableKeyError) as caught:
        read_own_keys(set_of({**OCT, "kid": "a", "exp": -1}))
    assert OCT["k"] not in str(caught.value)


def test_rotation_is_published_before_it_signs() -> None:
    """Whoever copied the public set a moment before has fetched it again by then, were the first fetch to fail."""
    keys = rotated([own("old")], own("new"), NOW, token_seconds=TOKEN_SECONDS)
    assert kids(verifying(keys, NOW)) == ["old", "new"]
    for seconds, kid in ((0, "old"), (2 * MAX_AGE_SECONDS - 1, "old"), (PUBLISHED_BEFORE_SECONDS, "new")):
        signer = signing(keys, NOW + seconds)
        assert signer is not None and signer.kid == kid


def test_old_key_verifies_until_its_last_token_has_expired() -> None:
    """Signed in the very last moment before the next key signs."""
    keys = rotated([own("old")], own("new"), NOW, token_seconds=TOKEN_SECONDS)
    last = NOW + PUBLISHED_BEFORE_SECONDS + TOKEN_SECONDS
    assert kids(verifying(keys, last)) == ["old", "new"]
    assert kids(verifying(keys, last + 61)) == ["new"]
    assert next_change(keys, NOW) == NOW + PUBLISHED_BEFORE_SECONDS
    assert next_change(keys, last + 61) == inf


def test_first_key_signs_at_once() -> None:
    """There is nobody to wait for."""
    keys = rotated([], own("first"), NOW, token_seconds=TOKEN_SECONDS)
    signer = signing(keys, NOW)
    assert signer is not None and signer.kid == "first"


@given(st.lists(st.floats(0, 2000), max_size=6), st.floats(0, 20_000))
def test_rotations_of_any_haste_lose_no_token_and_leave_one_signer(pauses: list[float], later: float) -> None:
    """What a key has signed verifies for as long as the token lives, however the operator hurries."""
    now = NOW
    keys = rotated([], own("0"), now, token_seconds=TOKEN_SECONDS)
    for number, pause in enumerate(pauses, 1):
        now += pause
        keys = rotated(keys, own(str(number)), now, token_seconds=TOKEN_SECONDS)
    signer = signing(keys, now + later)
    assert signer is not None
    assert signer in verifying(keys, now + later + TOKEN_SECONDS)


def test_retired_key_is_gone_and_another_one_signs() -> None:
    """Also where the next one was not to sign yet: better early than by a key that is not trusted."""
    keys = rotated([own("old")], own("new"), NOW, token_seconds=TOKEN_SECONDS)
    left = retired(keys, "old", NOW)
    signer = signing(left, NOW)
    assert kids(verifying(left, NOW)) == ["new"] and signer is not None and signer.kid == "new"
    assert kids(verifying(retired(keys, "new", NOW), NOW)) == ["old"]
    assert kids(verifying(retired(left, "old", NOW + 5), NOW)) == ["new"], "asked again"
    assert kids(rotated(left, own("third"), NOW + 9, token_seconds=TOKEN_SECONDS)) == ["new", "third"]


def test_retiring_leaves_a_key_that_signs() -> None:
    """A service that can log nobody in is no mend; the mistake says what to do first."""
    with pytest.raises(UnusableKeyError, match="rotate first"):
        retired([own("only")], "only", NOW)
    with pytest.raises(UnusableKeyError, match="it has only"):
        retired([own("only")], "other", NOW)


def test_ring_is_that_of_the_moment() -> None:
    """The key of tomorrow verifies already; that of yesterday neither signs nor verifies."""
    keys = set_of(jwk("rsa", "r", exp=NOW - 1), jwk("p256", "e"), jwk("ed25519", "d", nbf=NOW + 60))
    built = build(private_keys=keys, now=NOW)
    assert built.mistakes == () and built.ring is not None and built.ring.signer is not None
    assert (built.ring.signer.kid, built.ring.signer.algorithm, built.ring.changes_at) == ("e", "ES256", NOW + 60)
    assert {key.kid for key in built.ring.keys} == {"e", "d"} and all(key.is_own for key in built.ring.keys)
    with pytest.raises(UnknownKey):
        built.ring.candidates("RS256", "r")
    later = build(private_keys=keys, now=NOW + 60)
    assert later.ring is not None and later.ring.signer is not None and later.ring.signer.kid == "d"
    assert later.ring.changes_at == inf


def test_partners_key_of_the_same_name_displaces_none_of_ours() -> None:
    """RFC 8725 §3.10: nobody else's set says which key is ours."""
    rival = ec.generate_private_key(ec.SECP256R1()).public_key()
    jwks = set_of({**ALGORITHMS["ES256"].to_jwk(rival, as_dict=True), "kid": "e"})
    ring = build(private_keys=set_of(jwk("p256", "e")), jwks=jwks, now=NOW).ring
    assert ring is not None and len(ring.keys) == 1 and ring.candidates("ES256", "e").is_own


@pytest.mark.parametrize(
    ("members", "options", "said"),
    [
        ((jwk("p256", "e", nbf=NOW + 1),), {}, "no key that may sign now"),
        ((jwk("p256", "e"),), {"algorithms": ["RS256"]}, "JWTGATE_PRIVATE_KEYS: holds a key for ES256"),
    ],
)
def test_set_that_cannot_serve_is_a_mistake(members: tuple[object, ...], options: dict[str, Any], said: str) -> None:
    """Said at start, with the variable."""
    built = build(private_keys=set_of(*members), now=NOW, **options)
    assert built.ring is None
    assert any(said in mistake for mistake in built.mistakes)
