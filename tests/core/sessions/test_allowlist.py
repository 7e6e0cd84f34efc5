"""``VALIDITY=allowlist``: a token passes only while the store holds its session (core.gate, core.judgement)."""

from __future__ import annotations

from typing import Any

import pytest
from core.scripted import perform
from core.sessions.session_world import DAY, START, World, claims_of

from jwtgate.core.effects import Looked, LookUp
from jwtgate.core.followed import Followed
from jwtgate.core.gate import Decision
from jwtgate.core.http.exemption import Exemption
from jwtgate.core.http.extraction import Extraction
from jwtgate.core.keys.signing import sign
from jwtgate.core.lru import Admitted
from jwtgate.core.rules import Rules
from jwtgate.core.tally import Tally
from jwtgate.errors import BadSignature, InvalidToken, Revoked, StoreUnavailable
from jwtgate.messages import TokenPair


class Gate(World):
    """Sessions, and the decision about their tokens, over one store."""

    def __init__(self, *arguments: Any, order: str = "store-first", on_store_down: str = "refuse", **more: Any) -> None:
        super().__init__(*arguments, **more)
        rules = Rules(
            policies=self.settings.policies,
            extraction=Extraction(("header",), "access", 8192),
            exemption=Exemption(()),
            csrf="off",
            origins=frozenset(),
            is_optional=False,
            verifies_first=order == "verify-first",
            max_token_bytes=8192,
            on_store_down=on_store_down,  # type: ignore[arg-type]
            is_allowlist=True,
        )
        self.decision = Decision(rules, self.view, self.clock, lambda: False, Tally())
        self.look_ups: list[LookUp] = []

    def go_live(self) -> None:
        """The follower has loaded and reads."""
        facts = self.store.look_up(())
        Followed(self.view).load(dict(self.server.rulings), facts.epoch.name, facts.end)
        Followed(self.view).grant(self.clock.boot())

    def admit(self, token: TokenPair | str) -> Admitted:
        text = token if isinstance(token, str) else token.access_token
        plan = self.decision.decide(text.encode(), "header")
        try:
            effect = next(plan)
            while True:
                assert isinstance(effect, LookUp)
                self.look_ups.append(effect)
                sent_at = self.clock.boot()
                try:
                    found = perform(self.store, effect)
                except StoreUnavailable as error:
                    effect = plan.throw(error)
                else:
                    effect = plan.send(Looked(found, sent_at))
        except StopIteration as end:
            admitted: Admitted = end.value
            return admitted

    def signed(self, **claims: Any) -> str:
        """By our own key, with claims of any kind."""
        signer = self.standing.policy.keys.signer
        assert signer is not None
        now = int(self.clock.wall())
        return sign(signer, {"sub": "alice", "jti": "7", "iat": now, "exp": now + 600, **claims})


def test_token_of_a_live_session_is_admitted_after_one_look() -> None:
    """And from memory then, under the lease."""
    gate = Gate()
    pair = gate.start()
    gate.go_live()
    assert gate.admit(pair).token.session_id == pair.session_id
    assert gate.look_ups[0].sids == (pair.session_id,)
    gate.admit(pair)
    assert len(gate.look_ups) == 1


@pytest.mark.parametrize("claims", [{}, {"sid": "unknown"}, {"sid": "A" * 22}, {"sid": "{x}:rulings"}, {"sid": "é" * 22}])
def test_token_unknown_to_the_list_is_refused(claims: dict[str, str]) -> None:
    """However well it is signed; and only names of our own form are asked for."""
    gate = Gate()
    gate.start()
    gate.go_live()
    with pytest.raises(Revoked):
        gate.admit(gate.signed(**claims))
    assert all(sid == "A" * 22 for look_up in gate.look_ups for sid in look_up.sids)


def test_issued_token_belongs_to_no_session() -> None:
    """``issue`` gives what no list knows."""
    gate = Gate()
    gate.go_live()
    token = gate.run(gate.issuer.issue("alice", claims=None, scope=None, ttl=None))
    with pytest.raises(Revoked):
        gate.admit(token)


def test_ended_session_refuses_at_once_and_everywhere() -> None:
    """By the ruling where it is known, by the list where it is not; from memory no more."""
    gate = Gate()
    pair = gate.start()
    gate.go_live()
    gate.admit(pair)
    other = Gate(gate.server, seed=2)
    other.go_live()
    gate.end(pair.session_id)
    for process in (gate, other):
        with pytest.raises(Revoked):
            process.admit(pair)


@pytest.mark.parametrize("order", ["store-first", "verify-first"])
def test_session_that_is_gone_from_the_list_refuses_without_a_ruling(order: str) -> None:
    """The ruling was forgotten, or never there: what is not on the list is not admitted."""
    gate = Gate(order=order)
    pair = gate.start()
    gate.end(pair.session_id)
    gate.server.rulings.clear()
    other = Gate(gate.server, seed=2, order=order)
    with pytest.raises(Revoked):
        other.admit(pair)


def test_admitted_token_is_remembered_no_longer_than_its_session() -> None:
    """The deadline lies at the session's end, on the boot clock, counted from when the look was sent."""
    gate = Gate(session_seconds=1000.0, access_seconds=900.0)
    pair = gate.start()
    gate.time.now += 500
    fresh = gate.refresh(pair)
    gate.go_live()
    token = gate.signed(sid=pair.session_id, exp=int(START + 5000), iat=int(START + 500))
    entry = gate.admit(token)
    assert entry.deadline == pytest.approx(gate.clock.boot() + 500, abs=0.001)
    assert fresh


def test_session_of_another_subject_or_issuer_is_not_its() -> None:
    """A sid is no secret: naming a live session of somebody else's is not enough."""
    gate = Gate()
    pair = gate.start()
    with pytest.raises(Revoked):
        gate.admit(gate.signed(sid=pair.session_id, sub="bob"))


def test_subject_of_the_session_must_be_there() -> None:
    """A token without sub has no part in it."""
    gate = Gate()
    pair = gate.start()
    signer = gate.standing.policy.keys.signer
    assert signer is not None
    now = int(gate.clock.wall())
    token = sign(signer, {"jti": "7", "sid": pair.session_id, "iat": now, "exp": now + 600})
    with pytest.raises(Revoked):
        gate.admit(token)


# L3


def test_lost_session_is_503_until_somebody_says_that_it_is_over() -> None:
    """Loss of the store's data admits nobody, and logs nobody out either while it may still come back."""
    gate = Gate()
    pair = gate.start()
    gate.go_live()
    gate.server.flush()
    gate.server.open_epoch(gate.store.watch, is_own=True)
    other = Gate(gate.server, seed=2)
    with pytest.raises(StoreUnavailable):
        other.admit(pair)
    other.revoke(everything=True)
    with pytest.raises(Revoked):
        other.admit(pair)


@pytest.mark.parametrize("on_store_down", ["refuse", "cached", "admit"])
def test_lost_session_is_admitted_under_no_policy(on_store_down: str) -> None:
    """The store answers; ``admit`` is for one that does not."""
    gate = Gate()
    pair = gate.start()
    gate.server.flush()
    gate.server.open_epoch(gate.store.watch, is_own=True)
    other = Gate(gate.server, seed=2, on_store_down=on_store_down)
    with pytest.raises(StoreUnavailable):
        other.admit(pair)
    other.store.is_down = True
    if on_store_down == "admit":
        assert other.admit(pair), "signature and expiry only"


@pytest.mark.parametrize("order", ["store-first", "verify-first"])
def test_forged_token_of_a_lost_session_is_401(order: str) -> None:
    """The signature comes first there: a forged stamp buys no 503."""
    gate = Gate()
    pair = gate.start()
    gate.server.flush()
    gate.server.open_epoch(gate.store.watch, is_own=True)
    other = Gate(gate.server, seed=2, order=order, secret="another-secret-of-thirty-two-bytes-or-so")
    with pytest.raises(BadSignature):
        other.admit(pair)


def test_token_without_a_stamp_was_never_on_the_list() -> None:
    """Nothing says that its session was there once: 401."""
    gate = Gate()
    gate.server.flush()
    gate.server.open_epoch(gate.store.watch, is_own=True)
    with pytest.raises(Revoked):
        gate.admit(gate.signed(sid="A" * 22))


def test_unhealed_history_admits_nobody() -> None:
    """What was ended may not be written back yet."""
    gate = Gate()
    pair = gate.start()
    gate.server.restart()
    with pytest.raises(StoreUnavailable):
        Gate(gate.server, seed=2).admit(pair)


def test_expired_token_costs_no_look() -> None:
    """Free refusals come first, as ever."""
    gate = Gate()
    pair = gate.start()
    gate.time.now += 901
    with pytest.raises(InvalidToken):
        gate.admit(pair)
    assert gate.look_ups == []


# Seen


def test_first_hit_since_the_last_telling_lists_the_session() -> None:
    """No request makes a round trip for ``last_seen_at``."""
    gate = Gate()
    pair = gate.start()
    gate.go_live()
    for _ in range(5):
        gate.admit(pair)
    assert len(gate.view.seen) == 1
    assert gate.view.seen.take(10, lambda sid: True) == (pair.session_id,)
    gate.admit(pair)
    assert gate.view.seen.take(10, lambda sid: True) == (pair.session_id,)
    assert len(gate.look_ups) == 1


def test_session_is_listed_by_its_only_request() -> None:
    """Which no memory answers."""
    gate = Gate()
    pair = gate.start()
    gate.go_live()
    gate.admit(pair)
    assert gate.view.seen.take(10, lambda sid: True) == (pair.session_id,)


def test_token_of_no_session_of_ours_is_never_listed() -> None:
    """Other issuers' sids are theirs."""
    gate = Gate()
    gate.start()
    gate.go_live()
    gate.decision.rules = gate.decision.rules.__class__(
        **{name: getattr(gate.decision.rules, name) for name in gate.decision.rules.__slots__} | {"is_allowlist": False}
    )
    for claims in ({}, {"sid": "3f0c0d7e-8a53-4c0c-9a54-5c3d3b6f0a11"}):
        token = gate.signed(**claims)
        gate.admit(token)
        gate.admit(token)
    assert len(gate.view.seen) == 0


def test_long_session_life_fits() -> None:
    """A month is no rounding error on the boot clock."""
    gate = Gate(access_seconds=3600.0)
    pair = gate.start()
    gate.go_live()
    assert gate.admit(pair).deadline == pytest.approx(gate.clock.boot() + 3600, abs=1.0)
    assert gate.list()[0].expires_at == START + 30 * DAY
    assert claims_of(pair)["exp"] == int(START) + 3600
