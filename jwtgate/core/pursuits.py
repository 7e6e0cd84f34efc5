"""What a revocation still waits for; and how another process takes that up (``core.receipts`` says what it proves).

Invariant: whoever takes a pursuit up proves no more than who wrote it could. The names of who had not acknowledged by then and
the place in the history travel, times do not: silence is counted anew from when it is taken up, on the clock of who does. And
who wrote knows the ruling at once, but who takes it up may be behind itself, so it waits for itself like for any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isinf
from typing import Any, cast

from jwtgate.core.history import Epoch, LogEnd, Worker, Written

__all__ = ["Pursuit", "Wait"]

MOST = 1e11
"""Of what is told as a number; as a NumericDate it is of the year 5138, and not much later no calendar can say one."""


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
    def taken_up(told: Any, now: float, partitions: int) -> Pursuit:
        """In another process, or in this one after a restart.

        Args: told: ``told``, as it was. now: boot-clock seconds. partitions: that there are here.
        Raises: ValueError: nobody wrote that here.
        """
        if not isinstance(told, list) or not told:
            raise ValueError("nothing was written")
        return Pursuit([_taken_up(each, now, partitions) for each in cast("list[object]", told)], now)


def _taken_up(told: Any, now: float, partitions: int) -> Wait:
    match told:
        case [
            int(partition),
            str(name),
            reach,
            int(position),
            str(link),
            float(at) | int(at),
            int() | None as replicas,
            int() | None as fsyncs,
            int(acknowledged),
            missing,
        ] if 0 <= partition < partitions and 0 <= at < MOST and 0 <= acknowledged < MOST:
            return Wait(
                written=Written(
                    epoch=Epoch(name, 0.0, _endless(reach), is_healed=False, is_settled=False),
                    end=LogEnd(position, link, ""),
                    at=at,
                    rulings=(),
                    workers=(),
                    replicas=replicas,
                    fsyncs=fsyncs,
                    partition=partition,
                ),
                replied_at=now,
                settled_from=inf,
                own=None,
                missing=_waited_for(missing),
                acknowledged=acknowledged,
                most_seconds=inf,
            )
        case _:
            raise ValueError("no step of a write")


def _waited_for(missing: Any) -> dict[str, Worker]:
    if not isinstance(missing, dict):
        raise ValueError("no spans of time of workers")  # noqa: TRY004 - wrong as all that nobody wrote
    reaches = cast("dict[str, object]", missing)
    return {name: Worker(name, _endless(reach), -1, 0, is_healing=False) for name, reach in reaches.items()}


def _finite(seconds: float) -> float | None:
    return None if isinf(seconds) else seconds


def _endless(seconds: Any) -> float:
    if seconds is None:
        return inf
    if not isinstance(seconds, float | int) or not 0 <= seconds < MOST:
        raise ValueError("no span of time")
    return seconds
