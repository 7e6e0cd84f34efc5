"""The application's checks inside the decision: when each is asked, about what, and that nothing it says is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from core import test_gate as gates
from core.test_gate import CURRENT, DOWN, FORGED, REVOKED, SECRET, TOKEN, Gate, bearer, minted

from jwtgate.core.effects import Ask, Looked, LookUp
from jwtgate.core.keys.ring import Key, KeyRing
from jwtgate.errors import (
    BadSignature,
    Expired,
    InsufficientScope,
    MalformedToken,
    RefusedByCheck,
    Revoked,
    StoreUnavailable,
    UnavailableError,
)

if TYPE_CHECKING:
    from typing import Any

    from jwtgate.messages import Request


def first(token, request) -> bool:
    return True


def second(token, request) -> bool:
    return True


class Asked:
    """Drives a decision; ``says`` answers each check by its place, and what was asked is kept."""

    def __init__(self, gate: Gate, **says: Any) -> None:
        self.gate = gate
        self.says = says
        self.asked: list[Ask] = []
        self.looked_up = 0

    @property
    def names(self) -> list[str]:
        return [each.check.__name__ for each in self.asked]

    def run(self, plan: Any, facts: Any = None) -> Any:
        self.asked, self.looked_up = [], 0
        try:
            effect = next(plan)
            while True:
                if isinstance(effect, LookUp):
                    self.looked_up += 1
                    effect = plan.throw(facts) if isinstance(facts, Exception) else plan.send(Looked(facts, 0.0))
                    continue
                assert isinstance(effect, Ask)
                self.asked.append(effect)
                said = self.says.get(effect.check.__name__, True)
                effect = plan.throw(said) if isinstance(said, Exception) else plan.send(said)
        except StopIteration as decided:
            return decided.value

    def examine(self, request: Request, facts: Any = None) -> Any:
        return self.run(self.gate.decision.examine(request), facts)


def asked(gate: Gate | None = None, *, before=(), after=(), **says: Any) -> Asked:
    gate = Gate(live=True) if gate is None else gate
    for check in before:
        gate.decision.add_check(check, before=True)
    for check in after:
        gate.decision.add_check(check, before=False)
    return Asked(gate, **says)


class Counting(Key):
    """Counts the signatures it is asked to verify."""

    count = 0

    def verify(self, signing_input: bytes, signature: bytes) -> bool:
        Counting.count += 1
        return super().verify(signing_input, signature)


def counting(gate: Gate) -> Gate:
    policy = gates.POLICY
    ring = KeyRing([Counting(None, "HS256", True, policy.keys.keys[0].handle, policy.keys.keys[0]._material)])
    gate.decision.rules = replace(gate.decision.rules, policies={None: replace(policy, keys=ring)})
    Counting.count = 0
    return gate


# --- when it is asked, and about what


def test_check_sees_the_token_and_the_request() -> None:
    """Those of this request."""
    run = asked(after=[first])
    request = bearer()
    entry = run.examine(request)
    assert run.asked == [Ask(first, entry.token, request)]


def test_every_request_is_asked_about_also_one_with_a_remembered_token() -> None:
    """The request differs where the token does not."""
    run = asked(after=[first], before=[second])
    for path in ("/a", "/b", "/c"):
        run.examine(bearer(path=path))
        assert [each.request.path for each in run.asked] == [path, path]
    assert run.gate.remembered == 1
    assert run.gate.decision.tally.hits == 2


def test_without_a_request_there_is_none_to_see() -> None:
    """``Gate.verify``."""
    run = asked(after=[first], before=[second])
    run.run(run.gate.decision.decide(TOKEN, None))
    assert [each.request for each in run.asked] == [None, None]


def test_no_token_no_question() -> None:
    """Exempt paths, preflights and anonymous requests have nothing to ask about."""
    run = asked(Gate(live=True, on_store_down="optional"), after=[first], before=[second])
    assert run.examine(bearer(FORGED, "/open")) is None
    assert run.examine(bearer(None)) is None
    preflight = ((b"origin", b"https://a.example"), (b"access-control-request-method", b"GET"))
    assert run.examine(bearer(None, "/", "OPTIONS", *preflight)) is None
    assert run.asked == []


def test_checks_are_asked_in_their_order_and_those_before_come_first() -> None:
    """On a remembered token too."""
    run = asked(after=[first], before=[second])
    for _ in range(2):
        run.examine(bearer())
        assert run.names == ["second", "first"]


@pytest.mark.parametrize("order", ["store-first", "verify-first"])
def test_check_before_is_asked_before_look_up_and_signature(order: str) -> None:
    """What it refuses has cost neither; what it lets pass is judged as ever."""
    gate = counting(Gate(order=order))
    run = asked(gate, before=[first], first=False)
    with pytest.raises(RefusedByCheck):
        run.examine(bearer(FORGED))
    assert (run.names, run.looked_up, Counting.count) == (["first"], 0, 0)
    run.says = {}
    with pytest.raises(BadSignature):
        run.examine(bearer(FORGED), gate.facts())
    assert Counting.count == 1


def test_check_after_is_never_asked_about_a_token_that_is_refused() -> None:
    """Forged, expired, malformed, revoked: it sees verified tokens only."""
    for token, error in ((FORGED, BadSignature), (minted(exp=1), Expired), (b"a.b", MalformedToken)):
        run = asked(after=[first])
        with pytest.raises(error):
            run.examine(bearer(token))
        assert run.asked == []
    run = asked(Gate(live=True, jti=REVOKED), after=[first])
    with pytest.raises(Revoked):
        run.examine(bearer())
    assert run.asked == []


def test_check_before_is_not_asked_about_what_is_refused_for_free() -> None:
    """Malformed, expired, of no known key: the cheapest refusals stay the cheapest."""
    run = asked(before=[first])
    for token in (b"a.b", minted(exp=1), b"x" * 9000):
        with pytest.raises((MalformedToken, Expired)):
            run.examine(bearer(token))
    assert run.asked == []


def test_check_before_sees_the_unverified_claims() -> None:
    """Immutable as any, and as they came."""
    run = asked(before=[first])
    with pytest.raises(BadSignature):
        run.examine(bearer(minted("x" * 40, sub="mallory", roles=["a"])))
    (only,) = run.asked
    assert (only.token.subject, only.token.claims["roles"], only.token.source) == ("mallory", ["a"], "header")
    with pytest.raises(TypeError):
        only.token.claims["sub"] = "alice"


# --- what it says


@pytest.mark.parametrize("place", ["before", "after"])
def test_refusal_refuses_this_request_alone(place: str) -> None:
    """Nothing of it is remembered, first met or met again."""
    run = asked(**{place: [first]})
    for said, error in ((False, RefusedByCheck), (InsufficientScope("a"), InsufficientScope), (True, None)) * 2:
        run.says = {"first": said}
        if error is None:
            assert run.examine(bearer()).token.subject == "alice"
        else:
            with pytest.raises(error):
                run.examine(bearer())


@pytest.mark.parametrize("said", [None, 1, "yes", object()])
def test_only_true_lets_pass(said: object) -> None:
    """What the runtime hands on is True or False; anything else is no admission either."""
    run = asked(after=[first], first=said)
    with pytest.raises(RefusedByCheck):
        run.examine(bearer())


def test_first_refusal_ends_it() -> None:
    """The others are not asked."""
    run = asked(after=[first, second], first=False)
    with pytest.raises(RefusedByCheck):
        run.examine(bearer())
    assert run.names == ["first"]


@pytest.mark.parametrize("policy", ["refuse", "cached", "admit"])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("error", [UnavailableError("x"), StoreUnavailable("of another store")])
def test_failure_of_a_check_is_no_failure_of_the_store(policy: str, place: str, error: Exception) -> None:
    """``ON_STORE_DOWN`` makes no admission of it: not even where the check fails as a store would."""
    run = asked(Gate(live=True, on_store_down=policy), **{place: [first]}, first=error)
    with pytest.raises(type(error)):
        run.examine(bearer())


@pytest.mark.parametrize("policy", ["cached", "admit"])
def test_checks_are_asked_while_the_store_is_down(policy: str) -> None:
    """What is admitted without the store is admitted to the checks, not past them."""
    gate = Gate(live=True, on_store_down=policy)
    run = asked(gate, after=[first], before=[second])
    run.examine(bearer())
    gate.is_down = True
    gate.time.now += 1.5
    run.examine(bearer(), DOWN)
    assert run.names == ["second", "first"]
    run.says = {"first": False}
    with pytest.raises(RefusedByCheck):
        run.examine(bearer(), DOWN)


# --- what is remembered


def test_forged_tokens_that_pass_a_check_before_leave_nothing_behind() -> None:
    """Threat 9: neither the memory nor the victim's entry know of them."""
    gate = counting(Gate(live=True))
    run = asked(gate, before=[first])
    run.examine(bearer())
    headers = dict(gate.decision._headers)
    for number in range(1000):
        with pytest.raises(BadSignature):
            run.examine(bearer(minted("x" * 40, n=number, headers={"x": number})))
    assert (gate.remembered, gate.decision._headers) == (1, headers)
    assert run.examine(bearer()).token.token_id == "7"


def test_token_whose_request_was_refused_is_verified_once() -> None:
    """The refusal is the request's; the token stays what it was."""
    gate = counting(Gate(live=True))
    run = asked(gate, after=[first], first=False)
    for _ in range(3):
        with pytest.raises(RefusedByCheck):
            run.examine(bearer())
    assert (Counting.count, gate.remembered) == (1, 1)


def test_hot_path_always_misses_once_there_is_a_check() -> None:
    """It could ask nobody; without checks it is the class's own."""
    gate = Gate(live=True)
    Asked(gate).examine(bearer())
    assert gate.decision.hit(b"Bearer " + TOKEN) is not None
    assert "hit" not in vars(gate.decision)
    gate.decision.add_check(first, before=False)
    assert gate.decision.hit(b"Bearer " + TOKEN) is None


def test_check_that_is_added_meanwhile_is_asked_from_the_next_request_on() -> None:
    """A plan under way keeps to those it began with."""
    run = asked(Gate(), after=[first])
    plan = run.gate.decision.examine(bearer())
    next(plan)
    run.gate.decision.add_check(second, before=True)
    effect = plan.send(Looked(run.gate.facts(epoch=CURRENT), 0.0))
    assert effect.check is first
    with pytest.raises(StopIteration):
        plan.send(True)
    run.examine(bearer(minted(SECRET, jti="8")), run.gate.facts())
    assert run.names == ["second", "first"]
