"""Taking turns, and what is made of the samples.

``in_turns`` runs every candidate once per round, so that a noisy second falls on all of them; ``added`` and ``ratio`` compare
the samples of one round with each other and give the median over the rounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Line", "Options", "added", "in_turns", "median", "percentile", "ratio"]


@dataclass(frozen=True, slots=True)
class Options:
    """Of one run. ``url``: of the server that the run has started for itself."""

    is_quick: bool
    url: str

    def pick(self, full: int, quick: int) -> int:
        """A number of repeats, calls or seconds."""
        return quick if self.is_quick else full


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table. ``is_met``: None where there is no bar. ``values``: the bare numbers, for ``--json``."""

    row: str
    figure: str
    peers: str
    ratio: str
    bar: str
    is_met: bool | None
    values: dict[str, float] = field(default_factory=dict)


def in_turns(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """One sample of each per round, after one round that is thrown away."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, sample in candidates.items():
            value = sample()
            if number:
                samples[name].append(value)
    return samples


def added(samples: Sequence[float], base: Sequence[float]) -> list[float]:
    """What was added to the base, round by round."""
    return [one - other for one, other in zip(samples, base, strict=True)]


def ratio(samples: Sequence[float], base: Sequence[float]) -> float:
    """Median of the ratios of each round; a round whose base was lost in the noise, none or less, says nothing."""
    return median([one / other for one, other in zip(samples, base, strict=True) if other > 0] or [math.nan])


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least so many per cent do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan
