"""One plan inside another, which sees each of its effects on the way out and says how it is done, or minds what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from jwtgate.core.effects import Write
from jwtgate.core.history import NotDurable, NotWritten
from jwtgate.errors import JWTGateError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.effects import Effect, Plan

__all__ = ["relayed", "told_apart"]

T = TypeVar("T")


def relayed(plan: Plan[T], perform: Callable[[Effect], Plan[Any]]) -> Plan[T]:
    """The same plan. Args: perform: what is done for each effect, and answered or raised in its place."""
    try:
        effect: Effect = next(plan)
        while True:
            try:
                answer: Any = yield from perform(effect)
            except JWTGateError as error:
                effect = plan.throw(error)
            else:
                effect = plan.send(answer)
    except StopIteration as decided:
        return decided.value  # type: ignore[no-any-return]  # StopIteration carries the plan's T untyped
    finally:
        plan.close()


def told_apart(plan: Plan[T]) -> Plan[T]:
    """The same plan; where it fails for the store, with ``NotWritten`` if nothing of it can stand, and only then.

    What a store says of one step is not that of the whole: a look before the write leaves nothing open, one after it does.
    """
    may_stand = False

    def perform(effect: Effect) -> Plan[Any]:
        nonlocal may_stand
        before, may_stand = may_stand, may_stand or isinstance(effect, Write)
        try:
            answer = yield effect
        except NotWritten:
            may_stand = before
            raise
        if answer is None:
            may_stand = before
        return answer

    try:
        return (yield from relayed(plan, perform))
    except NotDurable:  # says itself what stands
        raise
    except StoreUnavailable as error:
        if isinstance(error, NotWritten) is not may_stand:
            raise
        raise (StoreUnavailable if may_stand else NotWritten)(str(error)) from error
