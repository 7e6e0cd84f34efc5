"""Suspending and lifting in the order of the calls, however late what was sent arrives.

A write whose answer did not come may still be on its way: a network that held it delivers it later, and the change log would
take it for the latest word. A suspension would come back after it was lifted, or worse, a lift undo the suspension that was
made since and has its receipt. So each says on what it was made, and a store where another word has come since does nothing.
Whoever still waits looks again and says it anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from jwtgate.core.effects import Effect, Looked, LookUp, Plan, Write
from jwtgate.core.history import NotWritten
from jwtgate.core.judgement import readable
from jwtgate.core.relaying import relayed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.core.history import Written
    from jwtgate.core.rulings import Ruling
    from jwtgate.core.view import View

__all__ = ["in_turn"]

T = TypeVar("T")

ATTEMPTS = 16
"""Each that fails was another's word, and who speaks at the same moment as so many others has no last one."""


def in_turn(plan: Plan[T], view: View) -> Plan[T]:
    """The same plan, whose writes do nothing where what they toggle was toggled since it was looked at.

    Args: view: what is known already spares a look-up; none of it is trusted.
    Raises: NotWritten: others changed the same all the time.
    """
    return relayed(plan, lambda effect: _written(effect, view) if isinstance(effect, Write) else _asked(effect))


def _asked(effect: Effect) -> Plan[Any]:
    return (yield effect)


def _written(effect: Write, view: View) -> Plan[Written]:
    digests = tuple(change.digest for change in effect.changes if change.revoked is not None)
    known: Iterable[bytes | None] = view.known(digests).rulings
    for _ in range(ATTEMPTS):
        seen = tuple((digest, _place(ruling)) for digest, ruling in zip(digests, readable(known), strict=True))
        written: Written | None = yield replace(effect, guard=replace(effect.guard, toggled_at=seen))
        if written is not None:
            return written
        looked: Looked = yield LookUp(digests)
        known = looked.facts.rulings
    raise NotWritten("others suspended and lifted the same all the time; nothing was written")


def _place(ruling: Ruling | None) -> tuple[str, int] | None:
    return None if ruling is None or ruling.toggle is None else ruling.toggle.place
