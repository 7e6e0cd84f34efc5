"""The first page: the store, this process's view, every worker, and in two pictures how the last minutes went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.console import pictures

if TYPE_CHECKING:
    from jwtgate.console.lookout import Lookout
    from jwtgate.console.visiting import Visit
    from jwtgate.core.history import LogEnd, Worker
    from jwtgate.messages import Response

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
    """Raises: StoreUnavailable."""
    lookout.ask()
    parts = await visit.run(visit.gate.plans.overseen())
    found = [(worker, index, part.end) for index, part in enumerate(parts) for worker in part.workers]
    found.sort(key=lambda each: (each[0].acknowledged - each[2].position, each[1], each[0].name))
    lease_seconds = visit.gate.settings.lease
    return visit.page(
        "overview",
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


def _line(visit: Visit, lookout: Lookout, worker: Worker, partition: int, end: LogEnd) -> Line:
    behind = None if worker.acknowledged < 0 else max(0, end.position - worker.acknowledged)
    is_own = visit.gate.follower.worker_name(partition) == worker.name
    spark = pictures.sparkline(lookout.samples(worker.name), visit.gate.settings.lease, visit.now)
    return Line(worker, partition, behind, is_own, lookout.age(worker.name), spark)
