"""Issuance: what is issued the same gate admits, and the registered claims are the gate's (RFC 9068 §2, RFC 7519 §4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jwt
import pytest
from core.scripted import START, ScriptedClock, Time

from jwtgate.core.effects import Looked, LookUp
from jwtgate.core.handles import digest_of
from jwtgate.core.history import Epoch, Facts, LogEnd
from jwtgate.core.rulings import CutOff, Ruling, Toggle
from jwtgate.core.tokens.issuance import Issuer
from jwtgate.errors import SettingsError, SubjectSuspended
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from typing import Any

SECRET = "a-secret-of-at-least-thirty-two-bytes"
EPOCH = "abcdefghijk"


def issuer(limit: int = 8192, wall: float = START, **options: Any) -> Issuer:
    policies = Settings(**{"secret": SECRET, **options}).policies
    clock = ScriptedClock(Time(), wall=wall)
    return Issuer(policies, clock, default_ttl=900.0, max_token_bytes=limit, draw_token_id=lambda: "drawn")


def facts(ruling: Ruling | None = None) -> Facts:
    return Facts(Epoch(EPOCH, 1.0, 1.0, True, True), LogEnd(41, "l", "c"), (None if ruling is None else ruling.encode(),))


def issue(made: Issuer, sub: Any = "alice", ruling: Ruling | None = None, **given: Any) -> dict[str, Any]:
    plan = made.issue(sub, **{"claims": None, "scope": None, "ttl": None, **given})
    effect = next(plan)
    namespace = next(iter(made.policies.values())).namespace
    assert effect == LookUp((digest_of(namespace, "sub", sub),))
    with pytest.raises(StopIteration) as end:
        plan.send(Looked(facts(ruling), 0.0))
    token = end.value.value
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    return jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False, "verify_aud": False, "verify_iat": False})


def test_token_carries_the_registered_claims() -> None:
    """sub, iat, exp, jti and the position of the look-up; iss and aud only where they are configured."""
    start = int(START)
    assert issue(issuer()) == {"sub": "alice", "iat": start, "exp": start + 900, "jti": "drawn", "jgp": f"{EPOCH}:41"}


def test_configured_issuer_and_first_audience_are_set() -> None:
    """The first audience is the gate's own."""
    claims = issue(issuer(issuer="https://a.example", audience=("api", "other")))
    assert (claims["iss"], claims["aud"]) == ("https://a.example", "api")
    assert "aud" not in issue(issuer(audience=("*",)))


def test_times_are_whole_seconds_and_never_early() -> None:
    """iat is cut off, exp is rounded up: the life is not shorter than asked for."""
    claims = issue(issuer(wall=START + 0.75), ttl=0.5)
    assert (claims["iat"], claims["exp"]) == (int(START), int(START) + 1)


@pytest.mark.parametrize("scope", ["read write", ["read", "write"], ("read", "write")])
def test_scope_is_a_text_with_spaces(scope) -> None:
    """RFC 6749 §3.3."""
    assert issue(issuer(), scope=scope)["scope"] == "read write"


def test_further_claims_are_the_applications() -> None:
    """Whatever JSON can carry."""
    assert issue(issuer(), claims={"tenant": "acme", "roles": ["a"]})["roles"] == ["a"]


@pytest.mark.parametrize("scope", ["", [], (), frozenset()])
def test_no_scope_token_is_no_scope(scope) -> None:
    """A login form that asks for none says so by an empty field; absent is absent."""
    assert "scope" not in issue(issuer(), scope=scope)


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "iat", "exp", "nbf", "jti", "jgp", "sid", "scope"])
def test_claims_may_not_set_the_gates_own(name: str) -> None:
    """Refused before the store is asked."""
    with pytest.raises(ValueError, match=name):
        next(issuer().issue("alice", claims={name: "x"}, scope=None, ttl=None))


@pytest.mark.parametrize("sub", ["", 7, None, b"alice"])
def test_subject_must_be_a_text(sub) -> None:
    """RFC 7519 §4.1.2."""
    with pytest.raises(ValueError, match="sub"):
        next(issuer().issue(sub, claims=None, scope=None, ttl=None))


@pytest.mark.parametrize("ttl", [0, -1, True, "60", 2592000.5, float("nan"), float("inf")])
def test_ttl_must_be_within_the_longest_life(ttl) -> None:
    """The gate would refuse what lives longer than MAX_TTL."""
    with pytest.raises(ValueError, match="ttl"):
        next(issuer().issue("alice", claims=None, scope=None, ttl=ttl))


@pytest.mark.parametrize(
    "claims",
    [
        {"x": float("nan")},
        {"x": object()},
        {"x": "\ud800"},
        {"type": "refresh"},
        {"tenant": 1.5},
        {"ver": "1"},
        {"x": "y" * 9000},
    ],
    ids=["nan", "no JSON", "half a pair", "of another type", "handle", "version", "too long"],
)
def test_token_that_the_gate_would_refuse_is_not_issued(claims) -> None:
    """Better refused here than at its first use."""
    plan = issuer(handles=("tenant",), version_claim="ver").issue("alice", claims=claims, scope=None, ttl=None)
    next(plan)
    with pytest.raises(ValueError):
        plan.send(Looked(facts(), 0.0))


def test_suspended_subject_gets_no_token() -> None:
    """A cut-off and a lifted suspension do not stop a new login."""
    plan = issuer().issue("alice", claims=None, scope=None, ttl=None)
    next(plan)
    with pytest.raises(SubjectSuspended):
        plan.send(Looked(facts(Ruling(Toggle(True, EPOCH, 1, START))), 0.0))
    lifted = Ruling(Toggle(False, EPOCH, 2, START), CutOff(EPOCH, 40, START))
    assert issue(issuer(), ruling=lifted)["sub"] == "alice"


def test_issuing_needs_a_signing_key() -> None:
    """A public key verifies only."""
    public = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----"""
    with pytest.raises(SettingsError):
        next(issuer(secret=None, public_key=public).issue("alice", claims=None, scope=None, ttl=None))
