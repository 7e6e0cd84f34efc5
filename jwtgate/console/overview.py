"""The first page: the store, this process's view, every worker, and in two pictures how the last minutes went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.console import pictures
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from jwtgate.console.lookout import Lookout
    from jwtgate.console.visiting import Visit
    from jwtgate.core.history import LogEnd, Worker
    from jwtgate.messages import Response
    from jwtgate.plans.overseeing import Overseen

__all__ = ["overview"]

MOST_LINES = 100
"""Workers in the table: those that are furthest behind come first."""


@dataclass(frozen=True, slots=True)
class Line:
    """One worker, as it is shown. ``age`` is None before it has been seen twice; ``spark`` are the lines of its picture."""

    worker: Worker
    partition: int
    behind: int | None
    is_own: bool
    age: float | None
    spark: tuple[str, ...]


async def overview(visit: Visit, lookout: Lookout) -> Response:
    """Where the store does not answer, with what is known here, under 503."""
    lookout.ask()
    parts = await _overseen(visit)
    found = [(worker, index, part.end) for index, part in enumerate(parts) for worker in part.workers]
    found.sort(key=lambda each: (each[0].acknowledged - each[2].position, each[1], each[0].name))
    lease_seconds = visit.gate.settings.lease
    return visit.page(
        "overview",
        200 if parts else 503,
        () if parts else (("retry-after", "1"),),
        is_away=not parts,
        state=visit.gate.status(),
        parts=parts,
        workers=len(found),
        lines=[_line(visit, lookout, *each) for each in found[:MOST_LINES]],
        lease_seconds=lease_seconds,
        counts=lookout.counts(),
        ages=pictures.ages(lookout.oldest(), lease_seconds, visit.now),
        trips=pictures.trips(tuple(lookout.trips), visit.now),
        since=lookout.since,
    )


async def _overseen(visit: Visit) -> tuple[Overseen, ...]:
    """Empty: the store does not answer."""
    try:
        return await visit.run(visit.gate.plans.overseen())
    except StoreUnavailable:
        return ()


def _line(visit: Visit, lookout: Lookout, worker: Worker, partition: int, end: LogEnd) -> Line:
    behind = None if worker.acknowledged < 0 else max(0, end.position - worker.acknowledged)
    is_own = visit.gate.follower.worker_name(partition) == worker.name
    spark = pictures.sparkline(lookout.samples(worker.name), visit.gate.settings.lease, visit.now)
    return Line(worker, partition, behind, is_own, lookout.age(worker.name), spark)
