"""From when on all workers admit again: for good, not for one lucky request."""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from processes.checker import Decision

CALM_SECONDS = 0.5
"""So long a worker must have been live, admitting, and without a 503."""


def recovered_at(
    ended: float, until: float, decisions: Iterable[Decision], statuses: Mapping[str, Sequence[Mapping[str, Any]]]
) -> float:
    """When the last of the workers had recovered from a fault that ended at ``ended``; inf: one had not by ``until``.

    Args:
        decisions: of all workers, in any order.
        statuses: of each worker: what it said of itself (``at``, ``live``), in order. One that says nothing more has ended.
    """
    admitted: dict[str, list[float]] = {}
    bad: dict[str, list[float]] = {}
    for decision in decisions:
        if ended <= decision.end and decision.start <= until:
            if decision.verdict == "admitted" and decision.start >= ended:
                admitted.setdefault(decision.process, []).append(decision.start)
            elif decision.verdict == "unavailable":
                bad.setdefault(decision.process, []).append(decision.end)
    latest = ended
    for name, said in statuses.items():
        heard = [line["at"] for line in said if ended <= line["at"] <= until]
        if not heard or heard[-1] < until - CALM_SECONDS:
            continue
        dead = [line["at"] for line in said if ended <= line["at"] <= until and not line["live"]]
        latest = max(latest, _calm_from(ended, until, sorted(admitted.get(name, [])), sorted(bad.get(name, []) + dead)))
    return latest


def _calm_from(ended: float, until: float, admitted: list[float], bad: list[float]) -> float:
    """The first admission after which nothing was bad for a while."""
    for begin, end in zip([ended, *bad], [*bad, inf], strict=True):
        place = bisect_left(admitted, begin)
        if place < len(admitted) and min(end, until) - begin >= CALM_SECONDS and admitted[place] < begin + CALM_SECONDS:
            return admitted[place]
    return inf


def lapsed(said: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, float]]:
    """From when to when a worker had no lease, for whatever reason: from what it said last before to what it says afterwards.

    In one piece: what it knew when the lease ended goes on refusing until there is one again (R1).
    """
    began: float | None = None
    for before, line in pairwise(said):
        if not line["live"] and began is None:
            began = before["at"]
        elif line["live"] and began is not None:
            yield began, line["at"]
            began = None
    if began is not None:
        yield began, said[-1]["at"]
