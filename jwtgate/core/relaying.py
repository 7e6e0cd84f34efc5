"""One plan inside another, which sees each of its effects on the way out and says how it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from jwtgate.errors import JWTGateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.effects import Effect, Plan

__all__ = ["relayed"]

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
