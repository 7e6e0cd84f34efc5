"""Revocation: which changes each target makes, until when they are kept, and every misuse (interface.md §2)."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import jwt
import pytest

from jwtgate.core.handles import digest_of
from jwtgate.core.revocation import MARGIN_SECONDS, Targets
from jwtgate.core.rulings import Change
from jwtgate.errors import BadSignature, InvalidToken, MalformedToken, UnknownKey, WrongIssuer
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from typing import Any

NOW = 1_700_000_000.0
MAX_TTL, LEEWAY = 7200.0, 5.0
SECRET = "a-secret-of-at-least-thirty-two-bytes"
OPEN_END = NOW + MAX_TTL + LEEWAY + MARGIN_SECONDS


def targets(**options: Any) -> Targets:
    options = {
        "secret": SECRET,
        "max_ttl": MAX_TTL,
        "leeway": LEEWAY,
        "handles": ("tenant",),
        "version_claim": "ver",
        **options,
    }
    return Targets(Settings(**options).policies, 8192)


ONE = targets()
TWO = targets(
    secret=None,
    issuers=[{"issuer": "https://a.example", "secret": SECRET}, {"issuer": "https://b.example", "secret": SECRET[::-1]}],
)


def revoked(targets: Targets = ONE, **given: Any) -> tuple[Change, ...]:
    nothing = dict.fromkeys(("token", "jti", "sid", "sub", "claim", "issuer", "expires_at"))
    return targets.revoked(NOW, **{**nothing, "everything": False, "access_only": False, **given})


def minted(secret: str = SECRET, **claims: Any) -> str:
    return jwt.encode(claims, secret, "HS256")


@pytest.mark.parametrize(
    ("given", "kind", "value", "cuts_off"),
    [
        ({"jti": "7"}, "jti", "7", False),
        ({"sid": "7"}, "sid", "7", False),
        ({"sub": "7"}, "sub", "7", True),
        ({"sub": "7", "access_only": True}, "sub", "7", True),
        ({"claim": ("tenant", "7")}, "tenant", "7", True),
        ({"claim": ("client_id", "7")}, "client_id", "7", True),
        ({"everything": True}, "all", "", True),
    ],
)
def test_each_target_makes_its_change(given, kind: str, value: str, cuts_off: bool) -> None:
    """jti and sid are revoked; sub, claim and everything are cut off, a subject's sessions unless access tokens alone go."""
    expected = Change(digest_of("", kind, value), None if cuts_off else True, cuts_off, until=OPEN_END)
    sessions = Change(digest_of("", "sessions", value), cuts_off=True, until=OPEN_END)
    also = (sessions,) if kind == "sub" and "access_only" not in given else ()
    assert revoked(**given) == (expected, *also)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"jti": "7", "sid": "7"},
        {"sub": "7", "everything": True},
        {"everything": 1},
        {"everything": None},
        {"everything": "yes"},
        {"access_only": True, "jti": "7"},
        {"access_only": True},
    ],
    ids=str,
)
def test_not_exactly_one_target_is_a_type_error(given) -> None:
    """A call whose meaning is not certain writes nothing."""
    with pytest.raises(TypeError):
        revoked(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"jti": ""},
        {"jti": 7},
        {"sid": b"7"},
        {"sub": "x" * 9000},
        {"sub": "\ud800"},
        {"sub": ["7"]},
        {"claim": ("tenant",)},
        {"claim": ("group", "7")},
        {"claim": ("sub", "7")},
        {"claim": ["tenant", "7"]},
        {"claim": ("tenant", 7)},
        {"claim": "tenant"},
        {"token": 7},
        {"sub": "7", "issuer": "https://nobody.example"},
        {"sub": "7", "expires_at": "soon"},
        {"sub": "7", "expires_at": True},
        {"sub": "7", "expires_at": -1},
        {"sub": "7", "expires_at": float("nan")},
        {"sub": "7", "expires_at": float("inf")},
        {"sub": "7", "expires_at": 253402300800},
    ],
    ids=lambda given: str(given)[:40],
)
def test_malformed_value_is_a_value_error(given) -> None:
    """What could not stand in a token cannot be revoked."""
    with pytest.raises(ValueError):
        revoked(**given)


@pytest.mark.parametrize("expires_at", [0, 0.5, 1_700_000_500, 253402300799])
def test_known_end_bounds_the_ruling(expires_at: float) -> None:
    """``until``: the latest exp that a token under it can have, plus leeway and an hour for clocks."""
    assert revoked(jti="7", expires_at=expires_at)[0].until == expires_at + LEEWAY + MARGIN_SECONDS


def test_several_issuers_need_a_name() -> None:
    """Handles belong to a configured issuer."""
    with pytest.raises(ValueError, match="several issuers"):
        revoked(TWO, sub="7")
    digests = {revoked(TWO, sub="7", issuer=issuer)[0].digest for issuer in ("https://a.example", "https://b.example")}
    assert digests == {digest_of("https://a.example", "sub", "7"), digest_of("https://b.example", "sub", "7")}


# --- token= -----------------------------------------------------------------------------------------------------------


def test_token_names_its_jti_and_its_own_end() -> None:
    """Never the session, never the subject."""
    token = minted(jti="7", sid="s", sub="alice", exp=NOW + 60)
    assert revoked(token=token) == (
        Change(digest_of("", "jti", "7"), revoked=True, until=NOW + 60 + LEEWAY * 2 + MARGIN_SECONDS),
    )


def test_token_without_jti_is_named_by_its_signing_input() -> None:
    """A second valid signature over the same payload must not slip past."""
    token = minted(sub="alice", exp=NOW + 60)
    signing_input = token.rpartition(".")[0].encode()
    assert revoked(token=token)[0].digest == digest_of("", "signing_input", sha256(signing_input).hexdigest())


def test_expired_token_may_be_revoked() -> None:
    """RFC 7009 in spirit: nothing is learned from the answer."""
    assert revoked(token=minted(jti="7", exp=NOW - 9999))[0].revoked


def test_token_without_end_is_kept_for_the_longest_life() -> None:
    """As any open-ended ruling."""
    assert revoked(token=minted(jti="7"))[0].until == OPEN_END


def test_token_tells_its_issuer_itself() -> None:
    """``issuer=`` is not needed with ``token=``."""
    token = minted(SECRET[::-1], iss="https://b.example", jti="7", exp=NOW + 60)
    assert revoked(TWO, token=token)[0].digest == digest_of("https://b.example", "jti", "7")


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (minted("another-secret-of-thirty-two-bytes-or-so", jti="7", exp=NOW), BadSignature),
        ("nonsense", MalformedToken),
        ("é" * 9, MalformedToken),
        ("", MalformedToken),
        (jwt.encode({"jti": "7"}, SECRET + SECRET, "HS512"), UnknownKey),
    ],
    ids=["forged", "nonsense", "not ascii", "empty", "algorithm"],
)
def test_token_that_is_not_ours_is_refused(token: str, error: type[InvalidToken]) -> None:
    """Nothing is written: a forged token with a victim's jti must not kill the victim's."""
    with pytest.raises(error):
        revoked(token=token)


def test_token_of_a_foreign_issuer_is_refused() -> None:
    """Only configured issuers have handles."""
    with pytest.raises(WrongIssuer):
        revoked(TWO, token=minted(iss="https://c.example", jti="7"))


# --- suspend, reinstate, require_version ------------------------------------------------------------------------------


def test_suspension_has_no_end_and_lifting_has_one() -> None:
    """Refused until lifted; lifting is remembered as long as a token may live."""
    digest = digest_of("", "sub", "alice")
    assert ONE.suspended("alice", None) == (Change(digest, revoked=True),)
    assert ONE.reinstated("alice", None, NOW) == (Change(digest, revoked=False, until=OPEN_END),)


@pytest.mark.parametrize("sub", ["", 7, None, "x" * 9000])
def test_suspended_subject_must_be_a_text(sub) -> None:
    """The same rule for each of them."""
    for call in (
        lambda: ONE.suspended(sub, None),
        lambda: ONE.reinstated(sub, None, NOW),
        lambda: ONE.versioned(sub, 1, None, NOW),
    ):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize("version", [0, 1, 10**14 - 1])
def test_version_is_required_from_now_on(version: int) -> None:
    """Kept as long as a token may live."""
    assert ONE.versioned("alice", version, None, NOW) == (
        Change(digest_of("", "sub", "alice"), min_version=version, until=OPEN_END),
    )


@pytest.mark.parametrize("version", [-1, 10**14, True, 1.0, "1", None])
def test_version_must_be_a_bounded_integer(version) -> None:
    """The store's scripts compute in doubles."""
    with pytest.raises(ValueError):
        ONE.versioned("alice", version, None, NOW)


def test_version_needs_its_claim() -> None:
    """Without JWTGATE_VERSION_CLAIM every token would be dead."""
    with pytest.raises(ValueError, match="JWTGATE_VERSION_CLAIM"):
        targets(version_claim=None).versioned("alice", 1, None, NOW)
