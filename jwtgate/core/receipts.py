"""What a revocation can prove: from what moment no process acts on older knowledge.

Invariant: a receipt says ``effective_everywhere`` only if, in one unchanged epoch, the ruling was written and every worker
that the write's own atomic step listed has since acknowledged it, deregistered, or been silent for its whole reach on this
process's boot clock; and nobody can still act on knowledge of an earlier epoch.

The rules kept here, by letter: W1 (the write lists the workers in its atomic step; a position that this process or one of
them knew before it was given is of another branch of the history: what is compared with it proves nothing, so the write is
done again in the epoch that begins when that is noticed), W2 (acknowledged, deregistered, or one full reach since the reply;
no server clock), W3 (epoch checked again, changed: write and wait again; a new epoch must have settled), W5 (a write the store
did not accept raises).
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, isinf
from typing import TYPE_CHECKING, Any, TypeVar

from jwtgate.core.effects import Clock, Effect, Pause, Plan, Roster, Write
from jwtgate.core.history import NotDurable
from jwtgate.core.pursuits import Pursuit, Wait
from jwtgate.core.relaying import relayed
from jwtgate.errors import StoreUnavailable
from jwtgate.messages import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from jwtgate.audit import AuditEvent
    from jwtgate.core.history import Epoch, LogEnd, Written
    from jwtgate.core.known import Part
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import SessionChange
    from jwtgate.core.view import View

__all__ = ["Revoker", "noting"]

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.001
LONGEST_PAUSE_SECONDS = 0.016
"""Acknowledgements take a few milliseconds; polling faster than they come only loads the store."""


def noting(plan: Plan[T], steps: dict[tuple[Change, ...], tuple[Written, ...]]) -> Plan[T]:
    """The same plan; what it writes that workers must hear is noted, and what it writes again takes the place of before."""

    def perform(effect: Effect) -> Plan[Any]:
        answer = yield effect
        if isinstance(effect, Write) and effect.changes and answer is not None:
            steps[effect.changes] = answer.parts
        return answer

    return relayed(plan, perform)


class Revoker:
    """Writes rulings and makes receipts. One per gate; keeps what it has seen of epochs between calls."""

    def __init__(self, view: View, clock: Clock, reach_seconds: float, own_worker: Callable[[int], str | None]) -> None:
        """Args: reach_seconds: this process's reach. own_worker: the name its follower of a partition is registered under."""
        self.view = view
        self.clock = clock
        self.reach_seconds = reach_seconds
        self.own_worker = own_worker
        self._seen: dict[int, tuple[str, float]] = {}

    def revoke(
        self,
        changes: tuple[Change, ...],
        *,
        events: tuple[AuditEvent, ...],
        wait: bool,
        sessions: tuple[SessionChange, ...] = (),
        wait_seconds: float = inf,
    ) -> Plan[Receipt]:
        """Writes, applies here, and waits if asked.

        Args:
            changes: all of one step.
            events: what they are to whoever keeps an audit log; no ruling of a user's comes about unsaid.
            wait: until all is known that can be.
            sessions: that end in the same step.
            wait_seconds: at the most; then the receipt says what is known by then.

        Raises: ``StoreUnavailable``: not written, or written and not confirmed before the longest reach had passed.
        """
        began = self.clock.boot()
        while True:
            known = tuple(map(_furthest, self.view.parts))
            written = yield from self._write(changes, sessions, events)
            events = tuple(replace(event, outcome="repeated") for event in events)
            waits = self._begin(written, changes, wait_seconds)
            astray = next((part for part in written.parts if _is_astray(part, known[part.partition])), None)
            if astray is not None:
                yield from self._noticed(astray)
                continue
            if not wait:
                return self._receipt(waits, began)
            if (yield from self._all_over(waits)):
                receipt = self._receipt(waits, began)
                self.view.tally.count_wait(receipt.waited_seconds, is_everywhere=receipt.effective_everywhere)
                return receipt

    def _write(
        self, changes: tuple[Change, ...], sessions: tuple[SessionChange, ...], events: tuple[AuditEvent, ...]
    ) -> Generator[Effect, Any, Written]:
        try:
            written: Written = yield Write(changes, self.clock.wall(), sessions, events=events)
        except NotDurable as error:  # it stands, so it must be known here
            self.view.learn(error.written, (change.digest for change in changes))
            raise
        return written

    def _begin(self, written: Written, changes: tuple[Change, ...], most_seconds: float) -> list[Wait]:
        self.view.learn(written, (change.digest for change in changes))
        return self._waits(written.parts, self.clock.boot(), most_seconds)

    def _waits(self, parts: Iterable[Written], now: float, most_seconds: float) -> list[Wait]:
        waits: list[Wait] = []
        for part in parts:
            settled_from = self._settled_from(part.partition, part.epoch, now)
            wait = Wait(part, now, settled_from, self.own_worker(part.partition), {}, 0, most_seconds)
            wait.look(part.workers, {worker.name: worker for worker in part.workers}, now)
            waits.append(wait)
        return waits

    def pursue(self, steps: Iterable[tuple[Written, ...]]) -> Pursuit:
        """What was just written (``noting``), to be looked at ``again``. Of several steps all count."""
        now = self.clock.boot()
        return Pursuit(self._waits((part for step in steps for part in step), now, inf), now)

    def taken_up(self, told: Any) -> tuple[Receipt, Pursuit]:
        """What another process wrote, of which nothing is proved yet.

        Args: told: what it says of it (``Pursuit.told``).
        Raises: ValueError: none with these settings did.
        """
        pursuit = Pursuit.taken_up(told, self.clock.boot(), len(self.view.parts))
        return self._receipt(pursuit.waits, pursuit.began), pursuit

    def again(self, pursuit: Pursuit) -> Plan[Receipt | None]:
        """One look, and what can be proved by now; by the rules of ``revoke``, which it keeps as that does.

        Returns: None: the history that it was written in is over; whether it stands is not known, and it is to be done again.
        Raises: StoreUnavailable.
        """
        for wait in pursuit.waits:
            if (yield from self._seen_again(wait)) is None:
                return None
        receipt = self._receipt(pursuit.waits, pursuit.began)
        is_void = receipt.effective_everywhere and not (yield from self._are_kept(pursuit.waits))
        return None if is_void else receipt

    def _noticed(self, astray: Written) -> Generator[Effect, Any, None]:
        """Until the epoch is another one: some follower finds its log rewritten at its next renewal (H2).

        Raises: StoreUnavailable: none has, in two leases.
        """
        until = self.clock.boot() + 2 * self.view.lease_seconds
        while self.clock.boot() < until:
            epoch, _, _ = yield Roster(astray.partition)
            if epoch.name != astray.epoch.name:
                return
            yield Pause(LONGEST_PAUSE_SECONDS)
        raise StoreUnavailable("the store's history was rewritten, and its workers have not noticed yet")

    def _settled_from(self, partition: int, epoch: Epoch, now: float) -> float:
        """W3: the boot time from which nobody acts on knowledge of an earlier epoch; counted from first sight of it."""
        if epoch.is_settled:
            return -inf
        seen = self._seen.get(partition)
        if seen is None or seen[0] != epoch.name:
            seen = self._seen[partition] = (epoch.name, now)
        return seen[1] + max(epoch.reach_seconds, self.reach_seconds)

    def _all_over(self, waits: list[Wait]) -> Generator[Effect, Any, bool]:
        """True: all that can be known is known. False: an epoch changed, write again (W3)."""
        for wait in waits:
            if not (yield from self._wait(wait)):
                return False
        return (yield from self._are_kept(waits))

    def _are_kept(self, waits: list[Wait]) -> Generator[Effect, Any, bool]:
        """While one partition was looked at another may have lost its history, so all are looked at once more in the end."""
        for wait in waits if len(waits) > 1 else ():
            epoch, end, _ = yield Roster(wait.written.partition)
            if not _is_kept(wait.written, epoch, end):
                return False
        return True

    def _wait(self, state: Wait) -> Generator[Effect, Any, bool]:
        pause = FIRST_PAUSE_SECONDS
        while True:
            patience = min(self._patience(state), state.most_seconds)
            try:
                now = yield from self._seen_again(state)
            except StoreUnavailable:
                if self.clock.boot() - state.replied_at > patience:
                    raise
                yield Pause(LONGEST_PAUSE_SECONDS)
                continue
            if now is None:
                return False
            if state.is_over(now) or now - state.replied_at > patience:
                return True
            yield Pause(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_SECONDS)

    def _seen_again(self, state: Wait) -> Generator[Effect, Any, float | None]:
        """One look at who is still missing, and when; None: the epoch has changed."""
        epoch, end, workers = yield Roster(state.written.partition)
        if not _is_kept(state.written, epoch, end):
            return None
        now = self.clock.boot()
        state.settled_from = self._settled_from(state.written.partition, epoch, now)
        state.look(workers, state.missing, now)
        return now

    def _patience(self, state: Wait) -> float:
        """The longest finite reach, and a lease for slow answers. Unbounded reaches are not waited for."""
        reaches = [worker.reach_seconds for worker in state.missing.values()]
        reaches += [self.reach_seconds, state.written.epoch.reach_seconds, state.settled_from - state.replied_at]
        return max((reach for reach in reaches if not isinf(reach)), default=0.0) + self.view.lease_seconds

    def _receipt(self, waits: list[Wait], began: float) -> Receipt:
        """Of all partitions together: it holds everywhere once it does for each, and they count who has heard of all."""
        now, written = self.clock.boot(), waits[0].written
        reaches = (wait.replied_at + worker.reach_seconds for wait in waits for worker in wait.missing.values())
        until = max([*(wait.settled_from for wait in waits), *reaches])
        is_everywhere = all(wait.is_over(now) for wait in waits)
        left = 0.0 if is_everywhere else until - now
        return Receipt(
            position=f"{written.epoch.name}:{written.end.position}",
            at=written.at,
            effective_everywhere=is_everywhere,
            effective_by=None if isinf(left) else self.clock.wall() + max(0.0, left),
            workers=min(wait.acknowledged for wait in waits),
            waited_seconds=now - began,
            replicas=written.replicas,
            fsyncs=written.fsyncs,
        )


def _furthest(part: Part) -> tuple[tuple[str | None, int], tuple[str, int]]:
    """Epoch and position of the latest that this process has applied of a partition, and of what it wrote itself."""
    return (part.epoch, -1 if part.end is None else part.end.position), part.written


def _is_astray(written: Written, known: tuple[tuple[str | None, int], ...]) -> bool:
    """Whether the write's positions were known before: then older data were put back, and the epoch has two branches."""
    first = written.end.position - len(written.rulings) + 1
    here = any(epoch == written.epoch.name and position >= first for epoch, position in known)
    return here or any(worker.acknowledged >= first for worker in written.workers)


def _is_kept(written: Written, epoch: Epoch, end: LogEnd) -> bool:
    """Whether a write still stands, as far as the log's end tells: the same epoch, and a log that does not end before it."""
    own = written.end
    is_behind = end.position < own.position or (end.position == own.position and end.link != own.link)
    return epoch.name == written.epoch.name and not is_behind
