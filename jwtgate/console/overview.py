"""The first page: the store, this process's view, and every worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jwtgate.console.visiting import Visit
    from jwtgate.core.history import LogEnd, Worker
    from jwtgate.messages import Response

__all__ = ["overview"]


@dataclass(frozen=True, slots=True)
class Line:
    """One worker, as it is shown."""

    worker: Worker
    partition: int
    behind: int | None
    is_own: bool


async def overview(visit: Visit) -> Response:
    """Raises: StoreUnavailable."""
    parts = await visit.run(visit.gate.plans.overseen())
    lines = [
        _line(visit, worker, index, part.end)
        for index, part in enumerate(parts)
        for worker in sorted(part.workers, key=lambda worker: worker.name)
    ]
    return visit.page("overview", status=200, state=visit.gate.status(), parts=parts, lines=lines)


def _line(visit: Visit, worker: Worker, partition: int, end: LogEnd) -> Line:
    behind = None if worker.acknowledged < 0 else max(0, end.position - worker.acknowledged)
    return Line(worker, partition, behind, is_own=visit.gate.follower.worker_name(partition) == worker.name)
