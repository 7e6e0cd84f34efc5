"""Performs a request's effects in the calling thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from jwtgate.core.effects import (
    Ask,
    AskClaims,
    AskSubject,
    Compute,
    Effect,
    ListSessions,
    Looked,
    LookUp,
    Mark,
    Marks,
    Pause,
    Plan,
    Roster,
    Write,
)
from jwtgate.core.tally import Tally
from jwtgate.errors import JWTGateError, StoreUnavailable
from jwtgate.runtime.asking import ask, ask_claims, ask_subject
from jwtgate.runtime.health import PROBE_SECONDS
from jwtgate.runtime.onlookers import Onlookers, written_despite

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.effects import Clock
    from jwtgate.core.history import Epoch, Facts, Marked, MarkPage, Written
    from jwtgate.runtime.health import Health
    from jwtgate.stores.contract import Store

__all__ = ["Performer", "run"]

T = TypeVar("T")


class Performer:
    """One per gate; the non-blocking side calls it from its threads."""

    def __init__(
        self,
        store: Store,
        parts: tuple[Store, ...],
        clock: Clock,
        health: Health,
        tally: Tally | None = None,
        onlookers: Onlookers | None = None,
    ) -> None:
        """Args: store: what requests use. parts: its partitions, or the store itself."""
        self.store = store
        self.parts = parts
        self.clock = clock
        self.health = health
        self.tally = Tally() if tally is None else tally
        self.onlookers = Onlookers() if onlookers is None else onlookers
        self._has_mark_failed = False
        self._next_mark_at = 0.0

    def perform(self, effect: Effect) -> Any:
        """Answers one effect. Raises: ``StoreUnavailable``; for ``Ask`` what the check refuses with, and no other error."""
        match effect:
            case LookUp(digests, sids):
                return self.look_up(digests, sids)
            case ListSessions(user, offset, limit):
                return self._looked("list_sessions", lambda: self.store.sessions_of(user, offset, limit))
            case Mark() | Marks():
                return self._mark(effect) if isinstance(effect, Mark) else self._marks(effect)
            case Write():
                return self._write(effect)
            case Ask() | AskClaims() | AskSubject():
                return _asked(effect)
            case Roster(partition):
                return self._timed("list_workers", self.parts[partition].workers)
            case Compute(work):
                return work()
            case Pause(seconds):
                return time.sleep(seconds)

    def _timed(self, operation: str, call: Callable[[], T]) -> T:
        """One call of the store, counted."""
        began, has_failed = self.clock.boot(), True
        try:
            told = call()
            has_failed = False
        finally:
            self.tally.count_call(operation, self.clock.boot() - began, has_failed=has_failed)
        return told

    def _write(self, effect: Write) -> Written | None:
        """Every change that anybody makes to the store passes here, whoever asked for it, and is told of."""
        changes, now, sessions, guard = effect.changes, effect.now, effect.sessions, effect.guard
        try:
            written = self._timed("write", lambda: self.store.write(changes, now, sessions, guard))
        except StoreUnavailable as error:
            self.onlookers.tell(effect, written_despite(error), error, self.tally)
            raise
        self.onlookers.tell(effect, written, None, self.tally)
        return written

    def _mark(self, effect: Mark) -> Marked:
        """A write, with a circuit of its own: a full server refuses it, and goes on telling look-ups what is revoked.

        Else whoever holds a bound token could make the gate call such a store down, and ``ON_STORE_DOWN=admit`` believe it.
        """
        self.health.check()
        now = self.clock.boot()
        if self._has_mark_failed and now < self._next_mark_at:
            raise StoreUnavailable("the store kept nothing a moment ago and is not asked again yet")
        self._next_mark_at = now + PROBE_SECONDS
        try:
            marked = self._timed(
                "mark", lambda: self.store.mark(effect.group, effect.name, effect.value, effect.until, effect.now)
            )
        except StoreUnavailable:
            self._has_mark_failed, self._next_mark_at = True, self.clock.boot() + PROBE_SECONDS
            raise
        self._has_mark_failed = False
        self.health.answered(is_healed=marked.epoch.is_healed)
        return marked

    def _marks(self, effect: Marks) -> MarkPage:
        return self._through(
            "list_marks", lambda: self.store.marks(effect.group, effect.after, effect.limit), lambda page: page.epoch
        )

    def look_up(self, digests: tuple[bytes, ...], sids: tuple[str, ...] = ()) -> Looked:
        """One look-up through the circuit."""
        return self._looked("look_up", lambda: self.store.look_up(digests, sids))

    def _looked(self, operation: str, ask: Callable[[], Facts]) -> Looked:
        """R2: the time is taken before it is sent."""
        sent_at = self.clock.boot()
        return Looked(self._through(operation, ask, lambda facts: facts.epoch), sent_at)

    def _through(self, operation: str, ask: Callable[[], T], epoch_of: Callable[[T], Epoch]) -> T:
        """Through the circuit."""
        self.health.check()
        try:
            told = self._timed(operation, ask)
        except StoreUnavailable as error:
            self.health.failed(error)
            raise
        self.health.answered(is_healed=epoch_of(told).is_healed)
        return told


def _asked(effect: Ask | AskClaims | AskSubject) -> Any:
    match effect:
        case Ask():
            return ask(effect)
        case AskClaims():
            return ask_claims(effect)
        case AskSubject():
            return ask_subject(effect)


def run(plan: Plan[T], performer: Performer) -> T:
    """Drives a plan to its decision."""
    try:
        effect = next(plan)
        while True:
            try:
                with performer.onlookers.around(effect):
                    answer = performer.perform(effect)
            except JWTGateError as error:
                effect = plan.throw(error)
            else:
                effect = plan.send(answer)
    except StopIteration as decided:
        return decided.value  # type: ignore[no-any-return]  # StopIteration carries the plan's T untyped
