"""Who watches what a gate does with its store, and never has a say in it: the audit log, and spans of a trace.

An event is told once the store has taken the change, or has not answered, in the thread that asked it: on asyncio that is one
of the gate's own, in the context of the call, so nobody holds up the loop. What fails in there is logged and changes nothing:
what happened has happened.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Protocol

from jwtgate.core.effects import Effect, ListSessions, LookUp, Mark, Marks, Roster, Write
from jwtgate.core.history import NotDurable, NotWritten

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.audit import AuditEvent, Auditor
    from jwtgate.core.history import Written
    from jwtgate.core.tally import Listener, Tally
    from jwtgate.errors import StoreUnavailable

__all__ = ["Chore", "Onlookers", "audited", "operation_of"]

logger = logging.getLogger("jwtgate")
audit_logger = logging.getLogger("jwtgate.audit")

OPERATIONS: dict[type[Effect], str] = {
    LookUp: "look_up",
    ListSessions: "list_sessions",
    Write: "write",
    Mark: "mark",
    Marks: "list_marks",
    Roster: "list_workers",
}
"""The effects that call the store, as metrics and traces have them."""

_NOBODY = nullcontext()


def operation_of(effect: Effect) -> str | None:
    """None: it does not call the store."""
    return OPERATIONS.get(type(effect))


class Chore(Protocol):
    """What is done besides by a follower's thread. Quick; raises nothing."""

    def look(self) -> None:
        """Between any two steps."""
        ...

    def leave(self) -> None:
        """At its end."""
        ...


class Onlookers:
    """Of one gate; they stay when it is composed anew in a forked child.

    Attributes:
        auditors: what the application gave.
        listeners: of spans that are measured, see ``Tally``.
        span: begins a span of a trace around an operation; None: nobody wants any.
        chores: what a follower does besides, in each process.
        actor: of the events that name nobody (``AuditEvent``).
    """

    def __init__(self) -> None:
        self.auditors: list[Auditor] = []
        self.listeners: list[Listener] = []
        self.span: Callable[[str], AbstractContextManager[object]] | None = None
        self.chores: list[Chore] = []
        self.actor: str | None = None

    def around(self, effect: Effect) -> AbstractContextManager[object]:
        """What an effect is performed in, for the one whose plan it is."""
        if self.span is None:
            return _NOBODY
        operation = operation_of(effect)
        return _NOBODY if operation is None else self.span(operation)

    def tell(self, effect: Write, written: Written | None, error: StoreUnavailable | None, tally: Tally) -> None:
        """What came of a write. Args: written: None: nothing was, or nobody knows. error: how it failed."""
        if not effect.events or (written is None and error is None):
            return
        for event in effect.events:
            if isinstance(error, NotWritten) and event.outcome == "done":  # else it stood once, and nobody knows any more
                continue
            told = _completed(event, written, effect.now, is_confirmed=error is None)
            told = told if self.actor is None or told.actor is not None else replace(told, actor=self.actor)
            if written is not None:
                tally.count_change(told.kind, told.target)
            self._tell(told)

    def _tell(self, event: AuditEvent) -> None:
        for auditor in (_log, *self.auditors):
            try:
                auditor(event)
            except Exception:
                logger.exception("what the application gave for audit failed; what happened has happened")


def _log(event: AuditEvent) -> None:
    """What the application put into its logging, a filter, say, may fail, too."""
    audit_logger.info("%s", event, extra={"audit": event.as_dict()})


def _completed(event: AuditEvent, written: Written | None, now: float, *, is_confirmed: bool) -> AuditEvent:
    if written is None:
        return replace(event, outcome="unknown", at=now)
    outcome = event.outcome if is_confirmed else "unconfirmed"
    return replace(event, outcome=outcome, at=written.at, position=f"{written.epoch.name}:{written.end.position}")


def written_despite(error: StoreUnavailable) -> Written | None:
    """What stands all the same; None: nobody knows."""
    return error.written if isinstance(error, NotDurable) else None


def audited(auditor: Any) -> Auditor:
    """What an application gives to be told of events, if it can be.

    Raises: TypeError: it cannot be called, or must be awaited.
    """
    if not callable(auditor):
        raise TypeError(f"audit is a function of an AuditEvent, not {type(auditor).__name__}")
    if iscoroutinefunction(auditor) or iscoroutinefunction(getattr(auditor, "__call__", None)):  # noqa: B004 - an object's
        raise TypeError("audit must be a plain function: it is called in a thread, where it may wait, and nobody awaits it")
    given: Auditor = auditor
    return given
