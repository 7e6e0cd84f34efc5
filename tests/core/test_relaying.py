"""Plans inside plans: what a failure says of what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jwtgate.core.effects import LookUp, Roster, Write
from jwtgate.core.history import Epoch, LogEnd, NotDurable, NotWritten, StoreBusy, Written
from jwtgate.core.relaying import told_apart
from jwtgate.errors import InvalidToken, StoreUnavailable

if TYPE_CHECKING:
    from jwtgate.core.effects import Effect, Plan

WRITTEN = Written(Epoch("e", 1.0, 1.0, is_healed=True, is_settled=True), LogEnd(1, "l", "1"), 1.0, (), ())
SILENCE, REFUSAL = StoreUnavailable("no answer in time"), NotWritten("connection refused")
LOOK, WRITE, ROSTER = LookUp(()), Write((), 1.0), Roster()


def plan(*effects: Effect) -> Plan[str]:
    """One effect after the other."""
    for effect in effects:
        yield effect
    return "receipt"


def stubborn(*effects: Effect) -> Plan[str]:
    """One that goes on after a failure, but not after the last."""
    failed: Exception | None = None
    for effect in effects:
        failed = None
        try:
            yield effect
        except StoreUnavailable as error:
            failed = error
    if failed is not None:
        raise failed
    return "receipt"


def raised(plan: Plan[str], *answers: Any) -> Exception:
    """What comes of a plan that is answered so; what is an exception is thrown into it."""
    told = told_apart(plan)
    next(told)
    with pytest.raises((StoreUnavailable, InvalidToken)) as caught:
        for answer in answers:
            if isinstance(answer, Exception):
                told.throw(answer)
            else:
                told.send(answer)
    return caught.value


@pytest.mark.parametrize(
    ("of", "answers"),
    [
        (plan(WRITE), (REFUSAL,)),
        (plan(WRITE), (StoreBusy("full"),)),
        (plan(LOOK, WRITE), (SILENCE,)),
        (plan(LOOK, WRITE), (None, REFUSAL)),
        (stubborn(LOOK, WRITE), (SILENCE, REFUSAL)),
        (stubborn(WRITE, LOOK), (None, SILENCE)),
        (stubborn(WRITE, LOOK), (REFUSAL, SILENCE)),
    ],
)
def test_failure_before_anything_can_stand_says_so(of: Plan[str], answers: tuple[Any, ...]) -> None:
    """A look leaves nothing behind; nor does a write that was refused, or whose guard did not hold."""
    told = raised(of, *answers)
    assert isinstance(told, NotWritten)
    assert str(told) == str(answers[-1])


@pytest.mark.parametrize(
    ("of", "answers"),
    [
        (plan(WRITE), (SILENCE,)),
        (plan(WRITE, ROSTER), (WRITTEN, REFUSAL)),
        (plan(WRITE, WRITE), (WRITTEN, REFUSAL)),
        (stubborn(WRITE, WRITE), (SILENCE, REFUSAL)),
        (plan(WRITE, LOOK), (WRITTEN, SILENCE)),
    ],
)
def test_failure_after_something_may_stand_never_says_that_nothing_does(of: Plan[str], answers: tuple[Any, ...]) -> None:
    """Whoever is told so would go and log the user out somewhere else, or not at all."""
    told = raised(of, *answers)
    assert type(told) is StoreUnavailable
    assert str(told) == str(answers[-1])


@pytest.mark.parametrize("error", [NotDurable(WRITTEN, "the ruling stands"), InvalidToken("no token")])
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    """They say themselves what stands."""
    assert raised(plan(WRITE), error) is error


def test_plan_that_is_through_returns_what_it_returns() -> None:
    """Nothing is changed about it."""
    told = told_apart(plan(WRITE))
    next(told)
    with pytest.raises(StopIteration) as ended:
        told.send(WRITTEN)
    assert ended.value.value == "receipt"
