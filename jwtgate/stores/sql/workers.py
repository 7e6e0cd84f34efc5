"""Workers as rows of their table, and back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from jwtgate.core.history import Worker
from jwtgate.stores.sql.tables import FOREVER

if TYPE_CHECKING:
    from sqlalchemy import Table

    from jwtgate.stores.sql.dialects import Row

__all__ = ["columns_of_workers", "fields_of", "spelt", "worker_of"]


def spelt(reach_seconds: float) -> float:
    """A reach as it is stored."""
    return min(reach_seconds, FOREVER)


def columns_of_workers(workers: Table) -> tuple[Any, ...]:
    """What ``worker_of`` reads, beside columns of other tables."""
    columns = workers.c
    return (columns.name, columns.reach.label("worker_reach"), columns.acknowledged, columns.beat, columns.is_healing)


def worker_of(row: Row) -> Worker:
    """From such a row."""
    reach = math.inf if row.worker_reach >= FOREVER else row.worker_reach
    return Worker(bytes(row.name).decode(), reach, row.acknowledged, row.beat, bool(row.is_healing))


def fields_of(worker: Worker) -> dict[str, Any]:
    """Into the table, beside its name and epoch."""
    return {
        "reach": spelt(worker.reach_seconds),
        "acknowledged": worker.acknowledged,
        "beat": worker.beat,
        "is_healing": int(worker.is_healing),
    }
