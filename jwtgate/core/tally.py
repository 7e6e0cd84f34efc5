"""The plain numbers that a process keeps of its requests, of its store and of what it changed there.

Counted where it happens, read when somebody asks. Increments are single bytecode runs and nothing waits for them: two threads
that count at once may lose one. A number that the view can tell is not counted. What listens (``listeners``) is told of spans
as they are measured, since there are exporters that cannot be told sums of them later.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jwtgate.errors import JWTGateError

    Listener = Callable[[str, str, float], None]

__all__ = ["PROPAGATION", "PROPAGATION_BOUNDS", "STORE_BOUNDS", "STORE_CALL", "Spans", "Tally"]

STORE_BOUNDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds: from what a Redis beside us takes to ten of the timeouts that stores have by default."""

PROPAGATION_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: from an acknowledgement at once to a grace."""

STORE_CALL, PROPAGATION = "jwtgate_store_call_seconds", "jwtgate_propagation_seconds"
"""What listeners are told of."""

MOST_REASONS = 100
"""A check of the application may refuse with errors of its own; whatever it makes of their reasons, labels stay few."""

OTHER_REASON = "other"


class Spans:
    """How long something took, each time: a histogram with fixed bounds. Times are seconds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Args: bounds: upper ones, inclusive, ascending; what is longer is counted behind them."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def count(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


class Tally:
    """Of one gate in one process.

    Attributes:
        hits: tokens found remembered.
        planned_hits: those of them that a plan found, to ask more about them: the others were admitted by the hit itself.
        admitted, anonymous: requests that a plan let pass, with a token and without one; see ``all_admitted``.
        misses: tokens that were not remembered.
        look_ups: store calls made for requests.
        refused: how often, by reason.
        store_calls, store_failures: by operation, all calls and those that failed.
        lapses: how often a partition's lease was over before it was granted anew.
        fences: how often memory was not to be trusted any more, by reason.
        healings: how often this process wrote back all that a store had lost.
        changes: writes that an audit event tells of, by its kind and target.
        refreshes: refresh tokens exchanged, racers included.
        propagation: how long receipts with ``wait`` took until they held everywhere.
        unproven: those that were given, or given up, before that.
        ended: live connections that the gate has ended, by reason.
        listeners: are told ``(name, label, seconds)`` of each span.
    """

    __slots__ = (
        "_told",
        "admitted",
        "anonymous",
        "changes",
        "ended",
        "fences",
        "healings",
        "hits",
        "lapses",
        "listeners",
        "look_ups",
        "misses",
        "planned_hits",
        "propagation",
        "refreshes",
        "refused",
        "store_calls",
        "store_failures",
        "unproven",
    )

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        """Args: listeners: kept, not copied: who comes later is told, too."""
        self.hits = self.planned_hits = self.misses = self.look_ups = 0
        self.admitted = self.anonymous = self._told = 0
        self.refused: dict[str, int] = {}
        self.store_calls: dict[str, Spans] = {}
        self.store_failures: dict[str, int] = {}
        self.lapses = self.healings = self.refreshes = 0
        self.fences: dict[str, int] = {}
        self.changes: dict[tuple[str, str], int] = {}
        self.propagation = Spans(PROPAGATION_BOUNDS)
        self.unproven = 0
        self.ended: dict[str, int] = {}
        self.listeners = listeners

    def all_admitted(self) -> int:
        """Tokens admitted, by a hit alone or by a plan. Never less than it told before, whoever counts meanwhile."""
        self._told = max(self._told, self.hits - self.planned_hits + self.admitted)
        return self._told

    def count(self, error: JWTGateError) -> None:
        """One more refusal, by its precise reason."""
        _count(self.refused, error.reason)

    def count_ended(self, error: JWTGateError) -> None:
        """One more live connection that the gate has ended, by the precise reason."""
        _count(self.ended, error.reason)

    def count_call(self, operation: str, seconds: float, *, has_failed: bool) -> None:
        """One more call of the store."""
        spans = self.store_calls.get(operation)
        if spans is None:
            spans = self.store_calls.setdefault(operation, Spans(STORE_BOUNDS))
        spans.count(seconds)
        if has_failed:
            self.store_failures[operation] = self.store_failures.get(operation, 0) + 1
        for listener in self.listeners:
            listener(STORE_CALL, operation, seconds)

    def count_wait(self, seconds: float, *, is_everywhere: bool) -> None:
        """One more receipt that was waited for."""
        if not is_everywhere:
            self.unproven += 1
            return
        self.propagation.count(seconds)
        for listener in self.listeners:
            listener(PROPAGATION, "", seconds)

    def count_fence(self, reason: str) -> None:
        """Once more memory was not to be trusted."""
        self.fences[reason] = self.fences.get(reason, 0) + 1

    def count_change(self, kind: str, target: str) -> None:
        """One more change in the store."""
        self.changes[kind, target] = self.changes.get((kind, target), 0) + 1


def _count(counts: dict[str, int], reason: str) -> None:
    if reason not in counts and len(counts) >= MOST_REASONS:
        reason = OTHER_REASON
    counts[reason] = counts.get(reason, 0) + 1
