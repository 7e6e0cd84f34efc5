"""Reading the numbers of gates, and making one of several: pure, but for the gates that are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jwtgate.metrics.table import TABLE, Metric, Values

if TYPE_CHECKING:
    import weakref
    from collections.abc import Iterable

    from jwtgate.gate import Gate

__all__ = ["Numbers", "aged", "lasting", "merged", "read", "read_all", "readable", "written"]

Numbers = dict[str, Values]
"""By the metric's name."""

ROWS = {metric.name: metric for metric in TABLE}
LASTING = frozenset(metric.name for metric in TABLE if metric.kind != "gauge")


def read(gate: Gate) -> Numbers:
    """Of one gate, now."""
    return {metric.name: metric.read(gate) for metric in TABLE}


def read_all(gates: Iterable[weakref.ref[Gate]]) -> Numbers:
    """Of all those that are still there, together."""
    return merged(read(gate) for gate in (each() for each in gates) if gate is not None)


def merged(several: Iterable[Numbers]) -> Numbers:
    """Of several gates or workers."""
    whole: Numbers = {}
    for numbers in several:
        for name, values in numbers.items():
            metric, known = ROWS[name], whole.setdefault(name, {})
            for labels, value in values.items():
                known[labels] = value if labels not in known else _together(metric, known[labels], value)
    return whole


def _together(metric: Metric, one: list[float], other: list[float]) -> list[float]:
    if metric.across == "sum":
        return [first + second for first, second in zip(one, other, strict=True)]
    return min(one, other) if metric.across == "min" else max(one, other)


def aged(numbers: Numbers, seconds: float) -> Numbers:
    """What was told so long ago, as it is now."""
    return {
        name: {labels: [max(0.0, each + ROWS[name].ages * seconds) for each in value] for labels, value in values.items()}
        if ROWS[name].ages
        else values
        for name, values in numbers.items()
    }


def lasting(numbers: Numbers) -> Numbers:
    """What stays of a process that has ended."""
    return {name: values for name, values in numbers.items() if name in LASTING}


def written(numbers: Numbers) -> dict[str, list[list[list[str] | list[float]]]]:
    """As JSON has it."""
    return {name: [[list(labels), value] for labels, value in values.items()] for name, values in numbers.items()}


def readable(shape: Any) -> Numbers:
    """What ``written`` made of them, perhaps in another release: what is not known here is left out.

    Raises: TypeError, ValueError, AttributeError: it is something else.
    """
    return {
        name: {
            tuple(map(str, labels)): [float(each) for each in value] for labels, value in values if _fits(name, labels, value)
        }
        for name, values in shape.items()
        if name in ROWS
    }


def _fits(name: str, labels: Any, value: Any) -> bool:
    return len(value) == _length(ROWS[name]) and len(labels) == len(ROWS[name].labels)


def _length(metric: Metric) -> int:
    return len(metric.bounds) + 2 if metric.kind == "histogram" else 1
