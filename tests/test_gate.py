"""The gate as users type it: one suite, called blocking on ``gate`` and awaited on ``gate.aio``."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

import jwt
import pytest
from shells import OTHER_SECRET, SECRET, token_of_claims

import jwtgate.gate
from jwtgate import Gate, Receipt, Settings, Status, Token
from jwtgate.errors import (
    BadSignature,
    Expired,
    InvalidToken,
    MalformedToken,
    Revoked,
    SettingsError,
    SubjectSuspended,
    UnknownKey,
    WrongAudience,
    WrongIssuer,
)
from jwtgate.gate import AsyncGate
from jwtgate.stores.contract import Weakness
from jwtgate.stores.memory import MemoryStore


class Awaited:
    """``gate.aio``, each call in an event loop of its own."""

    def __init__(self, gate: Gate) -> None:
        self._aio = gate.aio

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._aio, name)

        def call(*arguments: Any, **named: Any) -> Any:
            async def run() -> Any:
                return await method(*arguments, **named)

            return asyncio.run(run())

        return call


@pytest.fixture(params=["blocking", "awaited"])
def make(request: pytest.FixtureRequest) -> Any:
    """Makes a live gate and gives the face under test; closes it in the end."""
    gates: list[Gate] = []

    def made(**settings: Any) -> Any:
        gate = Gate(Settings(**{"secret": SECRET, "lease": 0.25, **settings}))
        gates.append(gate)
        face = gate if request.param == "blocking" else Awaited(gate)
        assert face.ready()
        return face

    yield made
    for gate in gates:
        gate.close()


@pytest.fixture
def gate(make: Any) -> Any:
    """One with a secret and nothing else."""
    return make()


def is_admitted(gate: Any, token: str) -> bool:
    """Whether the token passes; anything but a revocation is an error of the test."""
    try:
        gate.verify(token)
    except Revoked:
        return False
    return True


def test_both_faces_have_the_same_names_in_the_same_order() -> None:
    """Interface §2: what blocks on one is awaited on the other, with the same arguments."""

    def calls(kind: type) -> dict[str, list[str]]:
        found = [item for each in kind.__mro__ for item in vars(each).items()]
        methods = {name: value for name, value in found if inspect.isfunction(value) and name[0] != "_"}
        return {name: [str(each) for each in inspect.signature(value).parameters.values()] for name, value in methods.items()}

    awaited, blocking = calls(AsyncGate), calls(Gate)
    assert list(awaited) == [name for name in blocking if name in awaited]
    assert {name: blocking[name] for name in awaited} == awaited
    assert set(blocking) - set(awaited) == {
        *("start", "answer", "reset_after_fork", "set_cookies", "clear_cookies", "check", "claims", "subjects", "audit"),
    }
    assert all(inspect.iscoroutinefunction(getattr(AsyncGate, name)) for name in awaited)


# --- verify


def test_verify_gives_the_token(gate: Any) -> None:
    """Interface §1: a claim that is absent is None; the source is None; scopes are a frozenset."""
    token = gate.verify(token_of_claims(sub="alice", scp=["b", "a"], exp=int(time.time()) + 60))
    assert isinstance(token, Token)
    assert (token.subject, token.issuer, token.token_id, token.session_id, token.source) == ("alice", None, None, None, None)
    assert token.scopes == frozenset({"a", "b"})
    assert token.claims["scp"] == ["b", "a"] and token.header["alg"] == "HS256"
    assert gate.verify(token_of_claims()).scopes == frozenset()


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("", MalformedToken),
        ("a.b.c", MalformedToken),
        ("\udc80\u20ac", MalformedToken),
        ("a" * 10_000_000, MalformedToken),
        (token_of_claims(exp=1), Expired),
        (token_of_claims(OTHER_SECRET), BadSignature),
        (jwt.encode({"exp": 2**31}, None, algorithm="none"), UnknownKey),
        (token_of_claims(aud="others"), WrongAudience),
    ],
)
def test_verify_raises_the_precise_kind(gate: Any, token: str, kind: type[InvalidToken]) -> None:
    """Interface §4: the operator learns the reason from the type; it holds no part of the token."""
    with pytest.raises(InvalidToken) as caught:
        gate.verify(token)
    assert type(caught.value) is kind
    assert not token or token[:12] not in str(caught.value)


def test_refusals_are_counted_by_reason(gate: Any) -> None:
    """Interface §2: ``status().refused``; admissions from memory are hits."""
    good = gate.issue("alice")
    for token in (good, good, token_of_claims(exp=1), "x"):
        try:
            gate.verify(token)
        except InvalidToken:
            pass
    status = gate.status()
    assert isinstance(status, Status)
    assert status.refused == {"expired": 1, "malformed": 1}
    assert (status.hits, status.misses, status.admitted, status.look_ups) == (1, 3, 1, 0)
    with pytest.raises(TypeError):
        status.refused["expired"] = 0


# --- issue


def test_issued_token_carries_what_the_interface_says_and_is_admitted(make: Any) -> None:
    """``typ: at+jwt``, iss, the first aud, sub, iat, exp, jti, jgp; scope where given (RFC 9068 §2.2)."""
    gate = make(issuer="https://us.example", audience=["api", "other"])
    text = gate.issue("alice", claims={"tenant": "acme"}, scope=["read", "write"], ttl=60)
    token = gate.verify(text)
    assert token.header == {"alg": "HS256", "typ": "at+jwt"}
    assert token.claims.keys() == {"iss", "aud", "sub", "iat", "exp", "jti", "jgp", "scope", "tenant"}
    assert (token.issuer, token.claims["aud"], token.subject) == ("https://us.example", "api", "alice")
    assert token.claims["exp"] - token.claims["iat"] == 60
    assert token.scopes == {"read", "write"}
    assert jwt.decode(text, SECRET, algorithms=["HS256"], audience="api")["tenant"] == "acme"
    assert gate.verify(gate.issue("alice")).token_id != token.token_id


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "iat", "exp", "nbf", "jti", "jgp", "sid", "scope"])
def test_claims_that_the_gate_sets_cannot_be_given(gate: Any, name: str) -> None:
    """Interface §2: any of these in ``claims`` is a ValueError."""
    with pytest.raises(ValueError, match=name):
        gate.issue("alice", claims={name: "x"})


@pytest.mark.parametrize(
    "named",
    [
        {"ttl": 0}, {"ttl": -1}, {"ttl": float("nan")}, {"ttl": 10**9}, {"ttl": True}, {"ttl": "60"},
        {"claims": {"x": float("nan")}}, {"claims": {"x": object()}}, {"claims": {"x": "\ud800"}}, {"claims": {"x": "y" * 9000}},
    ],
)  # fmt: skip
def test_token_that_would_not_be_admitted_is_not_issued(gate: Any, named: dict[str, Any]) -> None:
    """Better refused here than at its first use."""
    with pytest.raises(ValueError):
        gate.issue("alice", **named)


@pytest.mark.parametrize("sub", ["", None, 7, "\ud800"])
def test_subject_must_be_a_text(gate: Any, sub: Any) -> None:
    """RFC 7519 §4.1.2, and never empty."""
    with pytest.raises(ValueError):
        gate.issue(sub)


def test_gate_that_can_only_verify_does_not_issue(make: Any) -> None:
    """No signing key: SettingsError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PrivateKey.generate()
    gate = make(secret=None, public_key=key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())
    assert gate.verify(jwt.encode({"sub": "alice", "exp": int(time.time()) + 60}, key, algorithm="EdDSA")).subject == "alice"
    with pytest.raises(SettingsError):
        gate.issue("alice")


# --- revoke


def test_revoked_token_is_refused_at_once_and_its_neighbour_lives(gate: Any) -> None:
    """By token, by jti, by sid: that one and no other, also where it was admitted a moment before."""
    tokens = {name: token_of_claims(jti=name, sid=f"s-{name}", sub="alice") for name in ("a", "b", "c", "d")}
    for token in tokens.values():
        assert is_admitted(gate, token)
    for target in ({"token": tokens["a"]}, {"jti": "b"}, {"sid": "s-c"}):
        receipt = gate.revoke(**target)
        assert isinstance(receipt, Receipt)
    assert [is_admitted(gate, token) for token in tokens.values()] == [False, False, False, True]


def test_receipt_with_wait_holds_everywhere(gate: Any) -> None:
    """After ``wait=True`` no request that begins later is admitted; without, at ``effective_by`` at the latest."""
    token = gate.issue("alice")
    assert is_admitted(gate, token)
    receipt = gate.revoke(sub="alice", wait=True)
    assert receipt.effective_everywhere
    assert receipt.waited_seconds >= 0
    later = gate.revoke(sub="alice")
    assert later.effective_by is not None and later.effective_by <= time.time() + 1.5
    assert later.position != receipt.position


def test_token_without_jti_is_revoked_by_its_own_digest(gate: Any) -> None:
    """The signing input, so that no other token dies with it."""
    token, other = token_of_claims(sub="alice"), token_of_claims(sub="alice", n=2)
    gate.revoke(token=token)
    assert (is_admitted(gate, token), is_admitted(gate, other)) == (False, True)


def test_expired_token_may_be_revoked_and_a_forged_one_not(gate: Any) -> None:
    """Interface §2: its signature must verify; else InvalidToken, and nothing is written."""
    gate.revoke(token=token_of_claims(exp=int(time.time()) - 60, jti="old"))
    rulings = gate.status().rulings
    for forged in (token_of_claims(OTHER_SECRET, jti="victim"), "x", "a.b.c"):
        with pytest.raises(InvalidToken):
            gate.revoke(token=forged)
    assert gate.status().rulings == rulings
    assert is_admitted(gate, token_of_claims(jti="victim"))


def test_unknown_target_is_fine(gate: Any) -> None:
    """RFC 7009 §2.2 in spirit, and idempotent."""
    for _ in range(2):
        assert gate.revoke(jti="never seen").position


def test_logout_everywhere_and_login_within_the_same_second(gate: Any) -> None:
    """Threat 16: the old tokens are dead and the new one lives, whatever the clock's seconds say."""
    old = [gate.issue("alice"), token_of_claims(sub="alice", iat=int(time.time()))]
    bystander = gate.issue("bob")
    for _ in range(3):
        gate.revoke(sub="alice")
        new = gate.issue("alice")
        assert not any(is_admitted(gate, token) for token in old)
        assert is_admitted(gate, new)
        old.append(new)
    assert is_admitted(gate, bystander)


def test_claim_and_everything_cut_off(make: Any) -> None:
    """``claim`` takes configured kinds and client_id; ``everything`` takes all that was issued before."""
    gate = make(handles=("tenant",))
    acme, other = gate.issue("a", claims={"tenant": "acme"}), gate.issue("b", claims={"tenant": "x", "client_id": "app"})
    gate.revoke(claim=("tenant", "acme"))
    assert (is_admitted(gate, acme), is_admitted(gate, other)) == (False, True)
    gate.revoke(claim=("client_id", "app"))
    assert not is_admitted(gate, other)
    third = gate.issue("c")
    gate.revoke(everything=True)
    assert (is_admitted(gate, third), is_admitted(gate, gate.issue("c"))) == (False, True)


@pytest.mark.parametrize(
    "named",
    [
        {}, {"jti": "a", "sub": "b"}, {"sub": "a", "everything": True}, {"jti": "a", "access_only": True},
        {"everything": False}, {"everything": 1}, {"token": "x", "jti": "a"},
    ],
)  # fmt: skip
def test_revoke_takes_exactly_one_target(gate: Any, named: dict[str, Any]) -> None:
    """Interface §2: else TypeError, and nothing is written."""
    with pytest.raises(TypeError):
        gate.revoke(**named)
    assert gate.status().rulings == 0


@pytest.mark.parametrize(
    "named",
    [
        {"jti": ""}, {"sub": 7}, {"sid": "\ud800"}, {"jti": "x" * 9000}, {"claim": ("unknown", "x")}, {"claim": "tenant"},
        {"claim": ("client_id",)}, {"jti": "a", "issuer": "https://nobody.example"}, {"jti": "a", "expires_at": float("nan")},
        {"jti": "a", "expires_at": "soon"}, {"jti": "a", "expires_at": -1}, {"jti": "a", "expires_at": True},
    ],
)  # fmt: skip
def test_malformed_value_is_a_value_error(gate: Any, named: dict[str, Any]) -> None:
    """Interface §2, and nothing is written."""
    with pytest.raises(ValueError):
        gate.revoke(**named)
    assert gate.status().rulings == 0


def test_handles_belong_to_their_issuer(make: Any) -> None:
    """Threat 10: the same jti of another issuer says nothing; with several, ``issuer`` must be named."""
    one, two = "https://one.example", "https://two.example"
    gate = make(secret=None, issuers=[{"issuer": one, "secret": SECRET}, {"issuer": two, "secret": OTHER_SECRET}])
    first, second = token_of_claims(iss=one, jti="7"), token_of_claims(OTHER_SECRET, iss=two, jti="7")
    with pytest.raises(ValueError, match="issuer"):
        gate.revoke(jti="7")
    gate.revoke(jti="7", issuer=one)
    assert (is_admitted(gate, first), is_admitted(gate, second)) == (False, True)
    gate.revoke(token=second)
    assert not is_admitted(gate, second)
    with pytest.raises(WrongIssuer):
        gate.verify(token_of_claims(iss="https://three.example"))
    with pytest.raises(BadSignature):
        gate.verify(token_of_claims(iss=two))


# --- suspend, reinstate, require_version


def test_suspended_subject_is_refused_until_reinstated(gate: Any) -> None:
    """Interface §2: new tokens too; lifting brings the old ones back."""
    token = gate.issue("alice")
    gate.suspend("alice", wait=True)
    assert not is_admitted(gate, token)
    with pytest.raises(SubjectSuspended):
        gate.issue("alice")
    assert is_admitted(gate, gate.issue("bob"))
    gate.reinstate("alice")
    assert is_admitted(gate, token)
    assert is_admitted(gate, gate.issue("alice"))


def test_reinstating_leaves_cut_offs(gate: Any) -> None:
    """Threat 15: lifting one ruling never lifts another."""
    token = gate.issue("alice")
    gate.suspend("alice")
    gate.revoke(sub="alice")
    gate.reinstate("alice")
    assert not is_admitted(gate, token)


def test_lower_or_absent_version_is_dead(make: Any) -> None:
    """Interface §2: ``require_version`` needs ``VERSION_CLAIM``; versions only rise."""
    gate = make(version_claim="ver")
    tokens = [token_of_claims(sub="alice", **claims) for claims in ({}, {"ver": 1}, {"ver": 2}, {"ver": 3})]
    gate.require_version("alice", 2)
    assert [is_admitted(gate, token) for token in tokens] == [False, False, True, True]
    gate.require_version("alice", 1)
    assert [is_admitted(gate, token) for token in tokens] == [False, False, True, True]
    assert is_admitted(gate, token_of_claims(sub="bob"))
    for version in (-1, True, "2", 10**14, 1.5):
        with pytest.raises(ValueError):
            gate.require_version("alice", version)
    with pytest.raises(ValueError, match="VERSION_CLAIM"):
        make().require_version("alice", 1)


# --- life


def test_closed_gate_starts_again_and_still_knows(gate: Any) -> None:
    """Interface §2: ``close`` may be called twice; the next use starts again, and nothing revoked comes back."""
    token, dead = gate.issue("alice"), gate.issue("alice")
    gate.revoke(token=dead)
    for _ in range(2):
        gate.close()
    assert not gate.status().live
    assert (is_admitted(gate, token), is_admitted(gate, dead)) == (True, False)
    assert gate.ready()
    assert (is_admitted(gate, token), is_admitted(gate, dead)) == (True, False)


def test_status_tells_what_the_process_knows(gate: Any) -> None:
    """Interface §2, each field."""
    gate.revoke(jti="a")
    status = gate.status()
    assert status.live and status.complete and status.store == "up"
    assert status.position
    assert status.rulings == 1
    assert 0 <= status.view_age_seconds < 60
    assert 0 < status.lease_left_seconds <= 0.25


def test_gate_follows_a_store_whose_audit_fails(make: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """As on a server of a version to come, which answers in its own way: what cannot be examined is told once, and used."""

    def audit(self: MemoryStore) -> tuple[Weakness, ...]:
        raise ValueError("invalid literal for int(): 'OFF'")

    monkeypatch.setattr(MemoryStore, "audit", audit)
    gate = make()
    gate.revoke(jti="a", wait=True)
    assert gate.status().live
    assert caplog.text.count("could not be examined") == 1


def test_ready_waits_no_longer_than_told() -> None:
    """A store that is not there: False, in time, from either face."""
    gate = Gate(Settings(secret=SECRET, store="redis://127.0.0.1:1/0", lease=0.1))
    for face in (gate, Awaited(gate)):
        began = time.monotonic()
        assert face.ready(0.1) is False
        assert time.monotonic() - began < 5
    assert gate.status().store == "down"
    gate.close()


def test_process_has_one_gate_per_equal_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interface §2: ``from_env`` gives the same one, ``Gate(Settings(…))`` always a new one."""
    monkeypatch.setattr(jwtgate.gate, "_environment_gates", {})
    monkeypatch.setenv("JWTGATE_SECRET", SECRET)
    first = Gate.from_env()
    assert Gate.from_env() is first
    monkeypatch.setenv("JWTGATE_LEEWAY", "5")
    second = Gate.from_env()
    assert second is not first
    assert Gate(first.settings) is not Gate(first.settings)


def test_gate_takes_settings_and_nothing_else() -> None:
    """A mistake at start, with an example."""
    with pytest.raises(SettingsError, match="Settings"):
        Gate({"secret": SECRET})  # type: ignore[arg-type]


def test_gates_with_other_keys_share_nothing(make: Any) -> None:
    """Threat 10: what one gate admitted or revoked is nothing to another."""
    one, two = make(), make(secret=OTHER_SECRET)
    token = one.issue("alice")
    assert is_admitted(one, token)
    with pytest.raises(BadSignature):
        two.verify(token)
    two.revoke(sub="alice")
    assert is_admitted(one, token)
