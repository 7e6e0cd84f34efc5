"""Refresh tokens: their form, what can be told from them, and how a successor is sealed (RFC 9700 §4.14)."""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64encode
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwtgate.core.sessions.refresh_tokens import PREFIX, RefreshToken, is_session_id, seal, unseal
from jwtgate.errors import GrantError

EPOCH = urlsafe_b64encode(b"8 octets").decode().rstrip("=")
TOKEN = RefreshToken(bytes(range(16)), bytes(range(32)), EPOCH, 7, 1_800_000_000)

TOKENS = st.builds(
    RefreshToken,
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=8, max_size=8).map(lambda octets: urlsafe_b64encode(octets).decode().rstrip("=")),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)


@given(TOKENS)
def test_token_comes_back_from_its_text(token: RefreshToken) -> None:
    """Whatever it holds; and the text is one that cookies, forms and headers carry as it is."""
    text = token.encode()
    assert RefreshToken.decode(text) == token
    assert re.fullmatch(r"jgr_[A-Za-z0-9_-]{86}", text)


@pytest.mark.parametrize(
    "text",
    [
        "", "jgr_", "jgr_" + "A" * 85, "jgr_" + "A" * 87, "JGR_" + "A" * 86, "jgr_" + "A" * 85 + "B", "jgr_" + "A" * 86 + "=",
        "jgr_" + "A" * 85 + "é", " jgr_" + "A" * 86, "jgr_" + "A" * 86 + "\n", "jgr_" + "+" * 86, "eyJhbGciOiJIUzI1NiJ9.e30.x",
        "\ud800" * 90, "jgr_" + "\x00" * 86,
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    """Every second spelling of the same bytes, too: a token is equal to itself alone."""
    with pytest.raises(GrantError):
        RefreshToken.decode(text)


def test_sid_is_a_digest_of_the_lineage() -> None:
    """Whoever knows a sid cannot make a token of its lineage; whoever has held one can."""
    assert TOKEN.sid == urlsafe_b64encode(sha256(TOKEN.lineage).digest()[:16]).decode().rstrip("=")
    assert is_session_id(TOKEN.sid)
    assert TOKEN.next(os.urandom, EPOCH, 8, 1_900_000_000.5).sid == TOKEN.sid
    assert replace(TOKEN, lineage=bytes(16)).sid != TOKEN.sid


def test_digest_is_of_the_secret_alone() -> None:
    """Hints can be changed by anybody and change nothing."""
    assert TOKEN.digest == urlsafe_b64encode(sha256(TOKEN.secret).digest()).decode().rstrip("=")
    assert replace(TOKEN, generation=9, epoch="AAAAAAAAAAA", expires_at=1).digest == TOKEN.digest
    assert TOKEN.next(os.urandom, EPOCH, 8, 1_900_000_000.5).digest != TOKEN.digest


def test_successor_tells_when_it_ends_itself() -> None:
    """An idle end moves with each refresh; generations count on."""
    successor = TOKEN.next(os.urandom, "AAAAAAAAAAA", 8, 1_900_000_000.5)
    assert (successor.expires_at, successor.generation, successor.epoch) == (1_900_000_000, 8, "AAAAAAAAAAA")


def test_first_token_of_a_far_end_fits() -> None:
    """Ends beyond 2106 are cut: the field is a hint."""
    assert RefreshToken.first(os.urandom, 1e12).expires_at == 2**32 - 1


def test_epochs_are_told_apart() -> None:
    """Whether it was made in the history that the store has now."""
    assert TOKEN.is_of(EPOCH)
    assert not TOKEN.is_of("AAAAAAAAAAA")
    assert RefreshToken.decode(TOKEN.encode()).is_of(EPOCH)


@pytest.mark.parametrize(
    "sid", ["", "a", "A" * 21, "A" * 23, "A" * 21 + "B", "A" * 21 + "\n", "é" * 22, 5, None, "A" * 20 + "==", ["A"]]
)
def test_other_names_are_no_session_ids(sid: object) -> None:
    """No stranger's text becomes a name in the store."""
    assert not is_session_id(sid)


@given(TOKENS, st.binary(max_size=2000))
def test_holder_opens_what_was_sealed(token: RefreshToken, plaintext: bytes) -> None:
    """For that token, whatever its hints say."""
    sealed = seal(token, plaintext, b"n" * 12)
    assert unseal(token, sealed) == plaintext
    assert unseal(replace(token, generation=0), sealed) == plaintext


def test_nobody_else_opens_it() -> None:
    """Neither with another secret, nor for another session, nor once a bit was turned."""
    sealed = seal(TOKEN, b"the pair", os.urandom(12))
    assert unseal(replace(TOKEN, secret=bytes(32)), sealed) is None
    assert unseal(replace(TOKEN, lineage=bytes(16)), sealed) is None
    turned = ("A" if sealed[20] != "A" else "B").join((sealed[:20], sealed[21:]))
    assert unseal(TOKEN, turned) is None


@pytest.mark.parametrize("text", ["", "A", "AAAA", "A" * 16, "\x00", "é", "not base64!"])
def test_junk_opens_to_nothing(text: str) -> None:
    """Whatever stands in the store, no exception of a library comes out."""
    assert unseal(TOKEN, text) is None


def test_what_the_store_keeps_does_not_open_the_seal() -> None:
    """The key comes from the secret, and the store has its digest only."""
    sealed = seal(TOKEN, b"the pair", os.urandom(12))
    for known in (sha256(TOKEN.secret).digest(), sha256(TOKEN.lineage).digest(), TOKEN.sid.encode().ljust(32)[:32]):
        assert unseal(replace(TOKEN, secret=known), sealed) is None


def test_repr_shows_nothing() -> None:
    """Threat 29."""
    assert repr(TOKEN) == "<RefreshToken>"
    assert PREFIX not in repr(TOKEN)
