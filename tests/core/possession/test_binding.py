"""What a request must show, and what the store's word is worth: RFC 9449 §11.1, judged by one clock for all workers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from core.scripted import ScriptedClock, Time
from holders import URL, Holder

from jwtgate.claims import claims_of
from jwtgate.core.effects import Mark
from jwtgate.core.history import Epoch, Marked
from jwtgate.core.possession.binding import Bond, Possession, bond_of
from jwtgate.core.possession.errors import InvalidProof, ReplayedProof, WrongHolder
from jwtgate.core.possession.nonces import Nonces
from jwtgate.core.possession.proof import AHEAD_SECONDS, ProofRules
from jwtgate.core.possession.rules import PossessionRules
from jwtgate.core.tally import Tally
from jwtgate.errors import StoreUnavailable
from jwtgate.messages import Credential, DPoPCredential, Request

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan

NOW = float(int(time.time()))
WINDOW = 60.0
HOLDER = Holder()
SHOWN = HOLDER.bound()
BOND = Bond(HOLDER.thumbprint, None)


class Asked:
    """One request with one proof, at a worker whose clock may be off; a test answers for the store.

    Attributes:
        mark: what the store was asked to keep; None: it was not asked.
    """

    def __init__(self, *, skew: float = 0.0, made_at: float = NOW, has_nonces: bool = False) -> None:
        self.clock = ScriptedClock(Time(), wall=NOW + skew)
        nonces = Nonces(b"x" * 32, self.clock.wall) if has_nonces else None
        rules = PossessionRules("on", URL, ProofRules(("ES256",), WINDOW, nonces))
        self.tally = Tally()
        proof = HOLDER.proof(SHOWN, iat=made_at, nonce=None if nonces is None else nonces.current())
        request = Request("GET", "/", b"/", ((b"dpop", proof.encode()),))
        shown = DPoPCredential(SHOWN.encode(), "header")
        self.plan: Plan[None] = Possession(rules, self.clock, self.tally).show(BOND, shown, request)
        self.mark: Mark | None = None

    def answered(self, *, is_new: bool = True, at: float = NOW, since: float = 0.0) -> None:
        """The decision. Raises: what it refuses with."""
        effect = next(self.plan)
        assert isinstance(effect, Mark)
        self.mark = effect
        with pytest.raises(StopIteration):
            self.plan.send(Marked(is_new, Epoch("e" * 11, 1.0, 1.0, is_healed=True, is_settled=True), at, since))


def refusal(asked: Asked, **told: Any) -> type[Exception]:
    """What the store's answer leads to."""
    effect = next(asked.plan)
    assert isinstance(effect, Mark)
    epoch = Epoch("e" * 11, 1.0, 1.0, is_healed=True, is_settled=True)
    answer = {"is_new": True, "at": NOW, "since": 0.0, **told}
    with pytest.raises((InvalidProof, StoreUnavailable)) as caught:
        asked.plan.send(Marked(epoch=epoch, **answer))
    return type(caught.value)


def test_store_keeps_a_proof_for_as_long_as_it_is_good() -> None:
    """Under a digest, without a word of what it says; one call of the store, which is counted."""
    asked = Asked(made_at=NOW - 20)
    asked.answered()
    assert asked.mark is not None
    assert (asked.mark.group, asked.mark.value, asked.mark.until, asked.mark.now) == ("dpop", b"", NOW - 20 + WINDOW, NOW)
    assert len(asked.mark.name) == 32
    assert asked.tally.look_ups == 1


def test_proof_that_was_kept_is_refused() -> None:
    """Whatever else the store says."""
    assert refusal(Asked(), is_new=False) is ReplayedProof
    assert refusal(Asked(), is_new=False, since=NOW) is ReplayedProof


@pytest.mark.parametrize("skew", [-50.0, 0.0, 4.0])
def test_clock_of_the_store_judges_too(skew: float) -> None:
    """A worker that lags behind would take a proof that all others have forgotten."""
    made_at = NOW + min(skew, 0.0)
    Asked(skew=skew, made_at=made_at).answered(at=made_at + WINDOW)
    assert refusal(Asked(skew=skew, made_at=made_at), at=made_at + WINDOW + 0.001) is InvalidProof
    Asked(skew=skew, made_at=made_at).answered(at=made_at - AHEAD_SECONDS)
    assert refusal(Asked(skew=skew, made_at=made_at), at=made_at - AHEAD_SECONDS - 0.001) is InvalidProof


def test_proof_from_before_lost_history_is_not_known() -> None:
    """Nobody can have shown it before it could be taken for the first time: up to five seconds before its ``iat``."""
    Asked().answered(since=NOW - AHEAD_SECONDS)
    assert refusal(Asked(), since=NOW - AHEAD_SECONDS + 0.001) is StoreUnavailable
    assert refusal(Asked(has_nonces=True), since=NOW) is StoreUnavailable


def test_no_proof_is_made_of_what_has_no_uri() -> None:
    """And the store hears nothing."""
    possession = Possession(PossessionRules("on", URL), ScriptedClock(Time(), wall=NOW), Tally())
    request = Request("GET", "/a/../b", b"/a/../b", ())
    with pytest.raises(InvalidProof, match="two ways"):
        next(possession.show(BOND, DPoPCredential(b"t", "header"), request))


def test_nothing_is_asked_of_a_token_that_is_bound_to_nothing() -> None:
    """As long as others are allowed."""
    clock, request = ScriptedClock(Time(), wall=NOW), Request("GET", "/", b"/", ())
    shown = Credential(b"t", "header")
    assert list(Possession(PossessionRules("on", URL), clock, Tally()).show(None, shown, request)) == []
    with pytest.raises(WrongHolder):
        next(Possession(PossessionRules("required", URL), clock, Tally()).show(None, shown, request))


def test_bond_is_what_cnf_says() -> None:
    """RFC 7800, of two methods."""
    one, other = "A" * 43, "B" * 43
    assert bond_of(claims_of([("jkt", one)])) == Bond(one, None)
    assert bond_of(claims_of([("x5t#S256", other), ("jkt", one)])) == Bond(one, other)
    for cnf in (None, "x", {}, {"jkt": one}, claims_of([]), claims_of([("kid", one)]), claims_of([("jkt", one + "\n")])):
        with pytest.raises(WrongHolder):
            bond_of(cnf)


def test_headers_are_read_only_where_they_are_needed() -> None:
    """A deployment without all this reads nothing for it."""
    assert PossessionRules().headers == ()
    assert PossessionRules("required").headers == (b"dpop",)
    assert PossessionRules().next_nonce is None
