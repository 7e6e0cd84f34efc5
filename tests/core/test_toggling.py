"""Suspending and lifting in the order of the calls, on a store where what was sent may arrive late."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from core.scripted import START, ScriptedServer, ScriptedStore, Time, perform

from jwtgate.core.effects import Looked, LookUp, Write
from jwtgate.core.history import Watch
from jwtgate.core.rulings import Change, Ruling
from jwtgate.core.toggling import ATTEMPTS, in_turn
from jwtgate.core.view import View
from jwtgate.errors import StoreUnavailable

ALICE = b"a" * 16
SUSPENDED, LIFTED = Change(ALICE, revoked=True), Change(ALICE, revoked=False)


class Caller:
    """A process that suspends and lifts; what it sends may be kept back, and carried out when the caller has given up."""

    def __init__(self, store: ScriptedStore) -> None:
        self.store = store
        self.view = View(
            nullcontext(), lease_seconds=1.0, grace_seconds=0.0, admitted_limit=9, rulings_limit=9, wide_handles=frozenset()
        )
        self.effects: list[object] = []

    def plan(self, change: Change):
        def write():
            return (yield Write((change,), START))

        return in_turn(write(), self.view)

    def say(self, change: Change) -> None:
        """As it should be."""
        plan, answer = self.plan(change), None
        while True:
            try:
                effect = plan.send(answer)
            except StopIteration as end:
                self.view.learn(end.value, [change.digest])
                return
            self.effects.append(effect)
            answer = perform(self.store, effect)
            answer = Looked(answer, 0.0) if isinstance(effect, LookUp) else answer

    def send_and_give_up(self, change: Change) -> Write:
        """What is on its way then."""
        plan = self.plan(change)
        effect = next(plan)
        assert isinstance(effect, Write)
        with pytest.raises(StoreUnavailable):
            plan.throw(StoreUnavailable("no answer in time"))
        return effect


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore(ScriptedServer(Time(), is_own=True), Watch(1.0, 1.0))


def is_suspended(store: ScriptedStore) -> bool:
    ruling = store.look_up((ALICE,)).rulings[0]
    assert ruling is not None
    return Ruling.decode(ruling).toggle.is_revoked


@pytest.mark.parametrize("others", [False, True])
def test_suspension_that_comes_late_does_not_undo_its_lift(store: ScriptedStore, others: bool) -> None:
    """The call raised, so the subject was reinstated, by whomever; nobody would know of a suspension that stands again."""
    caller = Caller(store)
    late = caller.send_and_give_up(SUSPENDED)
    (Caller(store) if others else caller).say(LIFTED)
    assert perform(store, late) is None
    assert not is_suspended(store)


def test_lift_that_comes_late_does_not_undo_a_suspension(store: ScriptedStore) -> None:
    """It was made since, and has its receipt: no dead token lives again."""
    caller = Caller(store)
    caller.say(SUSPENDED)
    late = caller.send_and_give_up(LIFTED)
    caller.say(SUSPENDED)
    assert perform(store, late) is None
    assert is_suspended(store)


def test_what_is_known_spares_a_look_up(store: ScriptedStore) -> None:
    """A process that follows says it in one step."""
    caller = Caller(store)
    caller.say(SUSPENDED)
    caller.say(LIFTED)
    assert [type(effect) for effect in caller.effects] == [Write, Write]
    assert not is_suspended(store)


def test_who_knows_nothing_looks_and_says_it_anew(store: ScriptedStore) -> None:
    """A command line has no view; its word is the latest all the same."""
    Caller(store).say(SUSPENDED)
    stranger = Caller(store)
    stranger.say(LIFTED)
    assert [type(effect) for effect in stranger.effects] == [Write, LookUp, Write]
    assert not is_suspended(store)


def test_who_is_overtaken_all_the_time_is_told_so(store: ScriptedStore) -> None:
    """W5: never a silent success."""
    plan = Caller(store).plan(SUSPENDED)
    next(plan)
    for _ in range(ATTEMPTS - 1):
        assert isinstance(plan.send(None), LookUp)
        assert isinstance(plan.send(Looked(store.look_up((ALICE,)), 0.0)), Write)
    plan.send(None)
    with pytest.raises(StoreUnavailable, match="nothing was written"):
        plan.send(Looked(store.look_up((ALICE,)), 0.0))
