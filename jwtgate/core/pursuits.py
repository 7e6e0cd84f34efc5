"""What a revocation still waits for; and how another process takes that up (``core.receipts`` says what it proves).

Invariant: whoever takes a pursuit up proves no more than who wrote it could. The names of who had not acknowledged by then and
the place in the history travel, times do not: silence is counted anew from when it is taken up, on the clock of who does. And
who wrote knows the ruling at once, but who takes it up may be behind itself, so it waits for itself like for any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isinf
from typing import TYPE_CHECKING, Any

from jwtgate.core.history import Epoch, LogEnd, Worker, Written

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Pursuit", "Wait"]


@dataclass(slots=True)
class Wait:
    """One partition's step of a write, and what has been seen of it since.

    Attributes:
        own: the worker that knew of it at once.
        missing: workers that may not have heard.
        most_seconds: for which it is waited.
    """

    written: Written
    replied_at: float
    settled_from: float
    own: str | None
    missing: dict[str, Worker]
    acknowledged: int
    most_seconds: float

    def look(self, workers: tuple[Worker, ...], candidates: dict[str, Worker], now: float) -> None:
        """W2: who of ``candidates`` is still missing, now that ``workers`` are registered."""
        there = {worker.name: worker for worker in workers}
        self.missing = {}
        for name, worker in candidates.items():
            current = there.get(name)
            has_applied = name == self.own or (current is not None and current.acknowledged >= self.written.end.position)
            if has_applied:
                self.acknowledged += 1
            elif current is not None and now - self.replied_at < worker.reach_seconds:
                self.missing[name] = worker

    def is_over(self, now: float) -> bool:
        """Whether nobody can act on older knowledge of this partition."""
        return not self.missing and now >= self.settled_from


@dataclass(slots=True)
class Pursuit:
    """What one call wrote, and what has been seen of it since, for whoever looks again and again instead of waiting."""

    waits: list[Wait]
    began: float

    def told(self) -> list[Any]:
        """For JSON, and ``taken_up``."""
        return [
            [
                *(wait.written.partition, wait.written.epoch.name, _finite(wait.written.epoch.reach_seconds)),
                *(wait.written.end.position, wait.written.end.link, wait.written.at),
                *(wait.written.replicas, wait.written.fsyncs, wait.acknowledged),
                {name: _finite(worker.reach_seconds) for name, worker in wait.missing.items()},
            ]
            for wait in self.waits
        ]

    @staticmethod
    def taken_up(told: Iterable[Any], now: float) -> Pursuit:
        """In another process, or in this one after a restart. Args: told: ``told``, as it was. now: boot-clock seconds."""
        waits: list[Wait] = []
        for partition, name, reach, position, link, at, replicas, fsyncs, acknowledged, missing in told:
            written = Written(
                epoch=Epoch(name, 0.0, _endless(reach), is_healed=False, is_settled=False),
                end=LogEnd(position, link, ""),
                at=at,
                rulings=(),
                workers=(),
                replicas=replicas,
                fsyncs=fsyncs,
                partition=partition,
            )
            waited_for = {name: Worker(name, _endless(reach), -1, 0, is_healing=False) for name, reach in missing.items()}
            waits.append(Wait(written, now, inf, None, waited_for, acknowledged, inf))
        return Pursuit(waits, now)


def _finite(seconds: float) -> float | None:
    return None if isinf(seconds) else seconds


def _endless(seconds: float | None) -> float:
    return inf if seconds is None else seconds
