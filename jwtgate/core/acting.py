"""Who acts: names the one whom a call came from in all the events of a plan that does what was asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from jwtgate.core.effects import Effect, Plan, Write
from jwtgate.core.relaying import relayed

__all__ = ["acting"]

T = TypeVar("T")


def acting(actor: str | None, plan: Plan[T]) -> Plan[T]:
    """The same plan. Args: actor: see ``AuditEvent``."""

    def perform(effect: Effect) -> Plan[Any]:
        return (yield _named(effect, actor))

    return relayed(plan, perform)


def _named(effect: Effect, actor: str | None) -> Effect:
    if not isinstance(effect, Write) or not effect.events:
        return effect
    return replace(effect, events=tuple(replace(event, actor=actor) for event in effect.events))
