"""``DERIVED_KEYS``: each subject's tokens are signed under a key of its own, which one call changes."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from keymaking import pair_of

from jwtgate import Gate, Settings
from jwtgate.cli.key_files import KeyFiles, new_key
from jwtgate.core.keys.derived import derived_key
from jwtgate.errors import BadSignature, GrantError, Revoked, SettingsError, StoreUnavailable, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers import Server

SECRET = "b7yQ0mTgZb0a3mB3oQp1n0Qy5mW4p9hX"  # noqa: S105


@pytest.fixture
def make() -> Iterator[Callable[..., Gate]]:
    """Makes gates that derive."""
    made: list[Gate] = []

    def make(**more: Any) -> Gate:
        gate = Gate(Settings(**{"secret": SECRET, "derived_keys": True, "lease": 0.3, **more}))
        made.append(gate)
        assert gate.ready(5)
        return gate

    yield make
    for gate in made:
        gate.close()


def forged(key: bytes | str, **claims: Any) -> str:
    """A token of somebody's own making."""
    now = int(time.time())
    return jwt.encode({"sub": "alice", "iat": now, "exp": now + 600, "jti": "x", "jgs": 0, **claims}, key, algorithm="HS256")


def test_token_is_its_subjects_alone(make: Callable[..., Gate]) -> None:
    """It verifies under the derived key, as ``jwt.decode`` says too, and not under the secret."""
    gate = make()
    token = gate.issue("alice")
    assert gate.verify(token).subject == "alice"
    key = derived_key(SECRET.encode(), "HS256", "alice", 0)
    assert jwt.decode(token, key, algorithms=["HS256"])["sub"] == "alice"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, SECRET, algorithms=["HS256"])


@pytest.mark.parametrize("order", ["store-first", "verify-first"])
def test_key_of_one_subject_makes_no_other_token(make: Callable[..., Gate], order: str) -> None:
    """Neither the secret, nor a subject's key for another subject or under another number, signs anything."""
    gate = make(order=order)
    of_alice = derived_key(SECRET.encode(), "HS256", "alice", 0)
    assert gate.verify(forged(of_alice)).subject == "alice"
    for token in (forged(SECRET), forged(of_alice, sub="bob"), forged(of_alice, jgs=1)):
        with pytest.raises(BadSignature):
            gate.verify(token)


@pytest.mark.parametrize("claims", [{"jgs": "0"}, {"jgs": -1}, {"jgs": True}, {"jgs": 0.5}, {"jgs": None}, {"jgs": 10**14}])
def test_token_without_a_number_has_no_key(make: Callable[..., Gate], claims: dict[str, Any]) -> None:
    """A number that cannot be names no key."""
    with pytest.raises(UnknownKey):
        make().verify(forged(SECRET, **claims))


def test_token_without_subject_has_no_key(make: Callable[..., Gate]) -> None:
    """Whose key it would be nobody can say."""
    now = int(time.time())
    token = jwt.encode({"exp": now + 60, "iat": now, "jgs": 0}, SECRET, algorithm="HS256")
    with pytest.raises(UnknownKey):
        make().verify(token)


def test_renewed_key_kills_at_once_and_only_this_subject(make: Callable[..., Gate]) -> None:
    """Remembered tokens too; who holds the old key can make none that lives; the next token does."""
    gate = make()
    old, other = gate.issue("alice"), gate.issue("bob")
    gate.verify(old)
    gate.verify(other)
    assert gate.renew_key("alice", wait=True).effective_everywhere
    with pytest.raises(Revoked):
        gate.verify(old)
    with pytest.raises(Revoked):
        gate.verify(forged(derived_key(SECRET.encode(), "HS256", "alice", 0), jti="new"))
    assert gate.verify(other).subject == "bob"
    fresh = gate.issue("alice")
    assert gate.verify(fresh).claims["jgs"] == 1
    gate.renew_key("alice", wait=True)
    with pytest.raises(Revoked):
        gate.verify(fresh)
    assert gate.verify(gate.issue("alice")).claims["jgs"] == 2


@pytest.mark.parametrize("validity", ["denylist", "allowlist"])
def test_sessions_go_on_under_the_next_key(make: Callable[..., Gate], validity: str) -> None:
    """The access token dies, the refresh token is still good for one that lives."""
    gate = make(validity=validity)
    pair = gate.sessions.start("alice")
    gate.verify(pair.access_token)
    gate.renew_key("alice", wait=True)
    with pytest.raises(Revoked):
        gate.verify(pair.access_token)
    second = gate.sessions.refresh(pair.refresh_token)
    assert gate.verify(second.access_token).session_id == pair.session_id
    third = gate.sessions.start("alice")
    assert gate.verify(third.access_token).claims["jgs"] == 1
    gate.sessions.end(pair.session_id, wait=True)
    with pytest.raises(GrantError):
        gate.sessions.refresh(second.refresh_token)


def test_token_is_revoked_by_itself(make: Callable[..., Gate]) -> None:
    """``revoke(token=…)`` verifies under the subject's key."""
    gate = make()
    token = gate.issue("alice")
    gate.revoke(token=token, wait=True)
    with pytest.raises(Revoked):
        gate.verify(token)
    with pytest.raises(BadSignature):
        gate.revoke(token=forged(SECRET))


def test_number_is_the_gates_to_set(make: Callable[..., Gate]) -> None:
    """An application's claim of that name would name another key."""
    with pytest.raises(ValueError, match="jgs"):
        make().issue("alice", claims={"jgs": 7})


@pytest.mark.server
def test_every_process_turns_to_the_next_key(make: Callable[..., Gate], server: Server) -> None:
    """The number is kept in the store: another gate signs under it, and refuses what is older."""
    one, other = make(store=server.url), make(store=server.url)
    old = one.issue("alice")
    assert other.verify(old).subject == "alice"
    receipt = one.renew_key("alice", wait=True)
    assert receipt.effective_everywhere
    for gate in (one, other):
        with pytest.raises(Revoked):
            gate.verify(old)
    assert one.verify(other.issue("alice")).claims["jgs"] == 1


@pytest.mark.server
def test_no_token_is_made_under_a_number_that_is_over(make: Callable[..., Gate], server: Server) -> None:
    """While the store's history heals it lacks the number: 503 rather than a login whose token is dead already."""
    gate = make(store=server.url)
    old = gate.issue("alice")
    pair = gate.sessions.start("alice")
    gate.renew_key("alice", wait=True)
    server.client().flushall()
    made: list[str] = []
    deadline = time.monotonic() + 20
    while len(made) < 20:
        assert time.monotonic() < deadline
        for make_one in (lambda: gate.issue("alice"), lambda: gate.sessions.start("alice").access_token):
            try:
                made.append(make_one())
            except StoreUnavailable:
                time.sleep(0.01)
        with pytest.raises((StoreUnavailable, GrantError)):
            gate.sessions.refresh(pair.refresh_token)
    assert {jwt.decode(each, options={"verify_signature": False})["jgs"] for each in made} == {1}
    with pytest.raises(Revoked):
        gate.verify(old)


def test_renewal_without_derived_keys_is_a_mistake(make: Callable[..., Gate]) -> None:
    """Nobody has a key of his own there."""
    with pytest.raises(ValueError, match="JWTGATE_DERIVED_KEYS"):
        make(derived_keys=False).renew_key("alice")


def test_derived_keys_need_a_secret_that_signs() -> None:
    """A private key signs by itself; with both, which one would be meant?"""
    pem = pair_of(ec.generate_private_key(ec.SECP256R1())).private_pem
    for keys in ({"private_key": pem}, {"private_key": pem, "secret": SECRET}):
        with pytest.raises(SettingsError, match="JWTGATE_DERIVED_KEYS"):
            Settings(derived_keys=True, **keys)


def test_derived_keys_that_nobody_would_have_are_a_mistake(tmp_path: Path) -> None:
    """An operator who turns it on, and whose tokens are signed otherwise all the same, would believe in what is not there."""
    listed = tmp_path / "es256.json"
    KeyFiles(listed).write([new_key("ES256")])
    own = {"issuer": "https://own", "private_keys": str(listed)}
    provider = {"issuer": "https://shop.eu.auth0.com/", "preset": "auth0", "audience": "api"}
    configured: tuple[dict[str, Any], ...] = (
        {"private_keys": str(listed)},
        {"secret": SECRET, **provider},
        {"issuers": [own, provider]},
        {"issuers": [{"issuer": "https://own", "secret": SECRET}, provider]},
        {"issuers": [provider]},
        {"issuer": "https://idp.example"},
    )
    for keys in configured:
        with pytest.raises(SettingsError, match="JWTGATE_DERIVED_KEYS is set, and no secret signs") as caught:
            Settings(derived_keys=True, **keys)
        assert len(caught.value.mistakes) == 1
    KeyFiles(listed).write([new_key("ES256"), new_key("HS256")])  # on its way from one to the other
    assert Settings(derived_keys=True, private_keys=str(listed)).derived_keys


def test_turning_it_on_ends_what_was_signed_before() -> None:
    """A token under the bare secret is none any more, and one under a subject's key none without it."""
    with closing(Gate(Settings(secret=SECRET))) as plain, closing(Gate(Settings(secret=SECRET, derived_keys=True))) as derived:
        assert plain.ready(5)
        assert derived.ready(5)
        with pytest.raises(UnknownKey):
            derived.verify(plain.issue("alice"))
        with pytest.raises(BadSignature):
            plain.verify(derived.issue("alice"))
