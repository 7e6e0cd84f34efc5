"""``GET /jwks.json``: public keys of our issuer, and never a secret (RFC 7517)."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
import pytest
from endpoints.scripted_operations import SECRET, ScriptedOperations, ask, policy_of
from keymaking import ALGORITHMS, Pair, make_pairs


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pair]:
    """One key pair of each kind."""
    return make_pairs()


def published(**settings: Any) -> list[dict[str, Any]]:
    """The keys that a gate with these settings publishes."""
    answer = ask(ScriptedOperations(), "GET", "/jwks.json", policy=policy_of(**settings))
    assert answer.status == 200
    assert answer.values("content-type") == ("application/jwk-set+json",)
    assert answer.values("cache-control") == ("public, max-age=300",)
    for member in ('"d"', '"p"', '"q"', '"dp"', '"dq"', '"qi"', '"k"', '"oct"'):
        assert member.encode() not in answer.body
    return answer.json["keys"]


def jwk_of(pair: Pair, **members: str) -> dict[str, Any]:
    """A public JWK."""
    made = jwt.algorithms.RSAAlgorithm.to_jwk(pair.private.public_key(), as_dict=True)
    return {**{name: value for name, value in made.items() if name != "key_ops"}, **members}


@pytest.mark.parametrize("kind", ["rsa", "p256", "ed25519"])
def test_own_public_key_verifies_what_the_gate_signs(pairs: dict[str, Pair], kind: str) -> None:
    """Under the kid of our tokens, once."""
    settings = {"private_key": pairs[kind].private_pem}
    (key,) = published(**settings)
    signer = policy_of(**settings).keys.signer
    assert (key["kid"], key["alg"], key["use"]) == (signer.kid, signer.algorithm, "sig")
    assert jwt.PyJWK(key).Algorithm.verify(b"x", jwt.PyJWK(key).key, signer.sign(b"x"))


def test_secrets_are_never_published(pairs: dict[str, Pair], tmp_path: Any) -> None:
    """A gate with secrets alone serves an empty set; a shared secret in a set stays out as well."""
    assert published(secret=SECRET) == []
    path = tmp_path / "set.json"
    octets = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "s"}
    path.write_text(json.dumps({"keys": [octets, jwk_of(pairs["rsa"], kid="old")]}))
    assert [key["kid"] for key in published(secret=SECRET, jwks_file=str(path))] == ["old"]


def test_older_public_keys_stay_in_the_set(pairs: dict[str, Pair], tmp_path: Any) -> None:
    """Tokens under them still verify here, so others must be able to verify them, too."""
    path = tmp_path / "set.json"
    path.write_text(json.dumps({"keys": [jwk_of(pairs["rsa"], kid="old", alg="RS256")]}))
    own, old = published(private_key=pairs["p256"].private_pem, jwks_file=str(path))
    assert (own["alg"], old) == ("ES256", jwk_of(pairs["rsa"], kid="old", alg="RS256", use="sig"))


def test_key_of_several_algorithms_is_listed_once(pairs: dict[str, Pair]) -> None:
    """RFC 7517 §4.4: alg is optional; and a key without kid is given none."""
    (key,) = published(public_key=pairs["rsa"].public_pem, algorithms=("RS256", "RS384", "PS256"))
    assert "alg" not in key and "kid" not in key
    (key,) = published(public_key=pairs["rsa"].public_pem)
    assert key["alg"] == "RS256"


def test_keys_of_partners_are_not_ours(pairs: dict[str, Pair]) -> None:
    """Whoever trusts the set would take a partner's token for ours."""
    partner = {"issuer": "https://partner.example", "public_key": pairs["rsa"].public_pem}
    other = {"issuer": "https://other.example", "public_key": pairs["p256"].public_pem}
    own = {"issuer": "https://login.example", "secret": SECRET, "public_key": pairs["ed25519"].public_pem}
    assert [key["kty"] for key in published(issuers=[partner, own])] == ["OKP"]
    assert published(issuers=[partner, other]) == []
    ours = {"issuer": "https://ours.example", "private_key": pairs["p256"].private_pem}
    assert [key["kty"] for key in published(issuers=[own, partner, ours])] == ["EC"]


def test_no_token_is_asked_for() -> None:
    """Nor looked at."""
    for headers in ((), (("authorization", "Bearer {dead}"),), (("authorization", "x"), ("authorization", "y"))):
        assert ask(ScriptedOperations(failing=frozenset({"everything"})), "GET", "/jwks.json", *headers).status == 200


def test_copy_is_asked_for_again_by_its_tag(pairs: dict[str, Pair]) -> None:
    """RFC 9110 §13.1.2 and §15.4.5: the same keys are not sent twice; other keys have another tag."""
    policy = policy_of(private_key=pairs["p256"].private_pem)
    first = ask(ScriptedOperations(), "GET", "/jwks.json", policy=policy)
    (tag,) = first.values("etag")
    for said in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = ask(ScriptedOperations(), "GET", "/jwks.json", ("if-none-match", said), policy=policy)
        assert (again.status, again.body, again.values("etag")) == (304, b"", (tag,))
        assert again.values("cache-control") == ("public, max-age=300",) and again.values("content-length") == ()
    policy.turn_to(policy_of(private_key=pairs["rsa"].private_pem).keys)
    other = ask(ScriptedOperations(), "GET", "/jwks.json", ("if-none-match", tag), policy=policy)
    assert other.status == 200 and other.values("etag") != (tag,)


def test_next_key_is_published_before_it_signs(pairs: dict[str, Pair], tmp_path: Any) -> None:
    """And the one before until its tokens have expired."""
    now = time.time()
    dates = {"rsa": {"exp": now + 900}, "p256": {"nbf": now - 60}, "ed25519": {"nbf": now + 600}, "p384": {"exp": now - 1}}
    algorithms = {"rsa": "RS256", "p256": "ES256", "ed25519": "EdDSA", "p384": "ES384"}
    made = {kind: ALGORITHMS[algorithms[kind]].to_jwk(pairs[kind].private, as_dict=True) for kind in dates}
    members = [{**made[kind], "kid": kind, **each} for kind, each in dates.items()]
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": members}))
    listed = published(private_keys=str(path))
    assert {key["kid"]: key["alg"] for key in listed} == {"p256": "ES256", "rsa": "RS256", "ed25519": "EdDSA"}
