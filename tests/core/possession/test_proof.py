"""RFC 9449 §4.3: each check refuses what it is there for."""

from __future__ import annotations

import time

import pytest
from holders import URL, Holder
from proof_table import BAD, GOOD, TABLE, Row

from jwtgate.core.possession.errors import InvalidProof, NonceNeeded
from jwtgate.core.possession.nonces import NONCE_SECONDS, Nonces
from jwtgate.core.possession.proof import Expected, Proof, ProofRules, verified_proof

RULES = ProofRules(("ES256", "EdDSA", "ES384", "ES512", "PS256", "RS256"), 60.0)


def verified(lines: list[str], holder: Holder, token: str, rules: ProofRules = RULES, uri: str = f"{URL}/") -> Proof:
    """As for ``GET /`` with a token that is bound to the holder's key."""
    octets = [line.encode() for line in lines]
    return verified_proof(octets, Expected("GET", uri, token.encode(), holder.thumbprint, time.time()), rules)


def test_table_is_long_enough() -> None:
    """Every check has rows of its own."""
    assert len(BAD) >= 60
    assert {row.check for row in TABLE} >= {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12}
    assert len({str(row) for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize("row", GOOD, ids=str)
def test_good_proof_passes(row: Row) -> None:
    """What the RFC allows, also in another spelling."""
    holder = Holder(row.algorithm)
    token = holder.bound()
    proof = verified(row.lines(holder, token), holder, token)
    assert len(proof.name) == 32
    assert abs(proof.made_at - time.time()) < 60


@pytest.mark.parametrize("row", BAD, ids=str)
def test_bad_proof_is_refused(row: Row) -> None:
    """With a reason for the log that says nothing of the proof."""
    holder = Holder(row.algorithm)
    token = holder.bound()
    lines = row.lines(holder, token)
    with pytest.raises(InvalidProof) as caught:
        verified(lines, holder, token)
    assert type(caught.value) is InvalidProof
    assert not any(part in str(caught.value) for line in lines for part in line.split(".") if len(part) > 8)


def test_name_is_of_key_and_jti() -> None:
    """Two proofs with one jti are one; of two keys they are two."""
    one, other = Holder(), Holder.other()
    names = {verified([each.proof("t", jti="same")], each, "t").name for each in (one, other) for _ in range(2)}
    assert len(names) == 2


def test_nonce_is_demanded_last() -> None:
    """Check 10: only whoever has shown all else is given another chance."""
    now = time.time()
    nonces = Nonces(b"x" * 32, lambda: now)
    rules = ProofRules(("ES256",), 60.0, nonces)
    holder = Holder()
    for nonce in (None, "", "x", 5, nonces.current() + "A"):
        with pytest.raises(NonceNeeded):
            verified([holder.proof("t", nonce=nonce)], holder, "t", rules)
    with pytest.raises(InvalidProof) as caught:
        verified([holder.proof("t", htm="POST")], holder, "t", rules)
    assert type(caught.value) is InvalidProof
    assert verified([holder.proof("t", nonce=nonces.current())], holder, "t", rules)


def test_nonce_lasts_until_the_next_is_over() -> None:
    """RFC 9449 §8: one previous value still passes; so does that of a worker whose clock is ahead. No other does."""
    now = 1_000_000.0
    nonces = Nonces(b"x" * 32, lambda: now)
    given = nonces.current()
    for spans, is_good in ((0, True), (1, True), (-1, True), (2, False), (-2, False)):
        now = 1_000_000.0 + spans * NONCE_SECONDS
        assert nonces.accepts(given) is is_good
    assert not Nonces(b"y" * 32, lambda: 1_000_000.0).accepts(given)
    assert all(character in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" for character in given)


def test_nonce_that_is_not_ascii_is_none() -> None:
    """No comparison fails over it."""
    assert not Nonces(b"x" * 32, time.time).accepts("é")
