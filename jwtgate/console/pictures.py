"""Pictures of what the lookout saw, as numbers that a template draws: points of lines and dots, and the same in words.

Pure: no clock, no markup. A picture is of the last five minutes, its right edge is now.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, log10
from statistics import median
from typing import TYPE_CHECKING

from jwtgate.wording import span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jwtgate.console.lookout import Trip

__all__ = ["SPAN_SECONDS", "Chart", "Dot", "Mark", "Minute", "ages", "sparkline", "trips"]

SPAN_SECONDS = 300.0
MINUTES = (5, 4, 3, 2, 1)
WIDTH, HEIGHT = 600, 130
SPARK_WIDTH, SPARK_HEIGHT = 120, 22
BUCKET_SECONDS = 4.0
"""Of a worker's own small picture: one point of it."""

GAP_SECONDS = 5.0
"""Longer without a sample: nobody was looking, and no line is drawn across."""

LEAST_TRIP, MOST_TRIP = 0.001, 3.0
TRIP_LINES = (0.001, 0.01, 0.1, 1.0)


@dataclass(frozen=True, slots=True)
class Mark:
    """A horizontal line with its label."""

    y: float
    label: str
    is_limit: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """One ruling; ``is_open``: it had not spread when it was given up."""

    x: float
    y: float
    is_open: bool


@dataclass(frozen=True, slots=True)
class Minute:
    """A row of the table that says what the picture shows. ``ago``: minutes before now that it began."""

    ago: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture; its lines as texts for ``points``."""

    width: int
    height: int
    lines: tuple[str, ...]
    marks: tuple[Mark, ...]
    dots: tuple[Dot, ...]
    words: str
    minutes: tuple[Minute, ...]


def ages(samples: Sequence[tuple[float, float]], lease_seconds: float, now: float) -> Chart:
    """The oldest view at each time, against the lease."""
    recent = [(at, age) for at, age in samples if 0 <= now - at <= SPAN_SECONDS and isfinite(age)]
    top = max([1.5 * lease_seconds, *(1.1 * age for _, age in recent)])
    lines = tuple(" ".join(f"{_x(at, now, WIDTH):.1f},{_y(age, top, HEIGHT):.1f}" for at, age in run) for run in _runs(recent))
    words = "Nothing has been seen yet."
    if recent:
        words = (
            f"In the last {span(now - recent[0][0])} the oldest view was {span(recent[-1][1])} old at the end, "
            f"{span(max(age for _, age in recent))} at the most; a lease is {span(lease_seconds)}."
        )
    minutes = tuple(
        Minute(ago, (span(max(age for _, age in inside)),))
        for ago in MINUTES
        if (inside := [(at, age) for at, age in recent if ago - 1 <= (now - at) / 60 < ago])
    )
    return Chart(WIDTH, HEIGHT, lines, (Mark(_y(lease_seconds, top, HEIGHT), "lease", is_limit=True),), (), words, minutes)


def trips(seen: Sequence[Trip], now: float) -> Chart:
    """How long rulings took to all workers; the scale is logarithmic."""
    recent = [trip for trip in seen if 0 <= now - trip.at <= SPAN_SECONDS]
    dots = tuple(
        Dot(_x(trip.at, now, WIDTH), _y_of_trip(MOST_TRIP if trip.seconds is None else trip.seconds), trip.seconds is None)
        for trip in recent
    )
    marks = tuple(Mark(_y_of_trip(seconds), _milliseconds(seconds)) for seconds in TRIP_LINES)
    return Chart(WIDTH, HEIGHT, (), marks, dots, _in_words(recent), tuple(_minutes_of(recent, now)))


def _minutes_of(recent: Sequence[Trip], now: float) -> Iterator[Minute]:
    for ago in MINUTES:
        inside = [trip for trip in recent if ago - 1 <= (now - trip.at) / 60 < ago]
        done = [trip.seconds for trip in inside if trip.seconds is not None]
        if inside:
            told = (_milliseconds(median(done)), _milliseconds(max(done))) if done else ("none", "none")
            yield Minute(ago, (str(len(inside)), *told, str(len(inside) - len(done))))


def _in_words(recent: Sequence[Trip]) -> str:
    if not recent:
        return "No ruling was written while the console was looking."
    done = [trip.seconds for trip in recent if trip.seconds is not None]
    late, told = len(recent) - len(done), list[str]()
    if done:
        told.append(f"half of them within {_milliseconds(median(done))}, the slowest took {_milliseconds(max(done))}")
    if late:
        told.append(f"{late} had not reached every worker after {span(MOST_TRIP)}")
    return f"{len(recent)} seen: {', '.join(told)}."


def sparkline(samples: Sequence[tuple[float, float]], lease_seconds: float, now: float) -> tuple[str, ...]:
    """One worker's ages, the oldest of each bucket."""
    buckets: dict[int, tuple[float, float]] = {}
    for at, age in samples:
        if 0 <= now - at <= SPAN_SECONDS and isfinite(age):
            number = int(at / BUCKET_SECONDS)
            buckets[number] = max(buckets.get(number, (at, 0.0)), (at, age), key=lambda each: each[1])
    recent = [buckets[number] for number in sorted(buckets)]
    top = 2 * lease_seconds
    return tuple(
        " ".join(f"{_x(at, now, SPARK_WIDTH):.1f},{_y(min(age, top), top, SPARK_HEIGHT):.1f}" for at, age in run)
        for run in _runs(recent, GAP_SECONDS + BUCKET_SECONDS)
    )


def _runs(samples: Sequence[tuple[float, float]], gap_seconds: float = GAP_SECONDS) -> list[list[tuple[float, float]]]:
    """Cut where nobody looked."""
    runs: list[list[tuple[float, float]]] = []
    for at, age in samples:
        if not runs or at - runs[-1][-1][0] > gap_seconds:
            runs.append([])
        runs[-1].append((at, age))
    return runs


def _x(at: float, now: float, width: int) -> float:
    return width * (1 - (now - at) / SPAN_SECONDS)


def _y(value: float, top: float, height: int) -> float:
    """With room for the thickness of a line."""
    return height - 2 - (height - 4) * value / top


def _y_of_trip(seconds: float) -> float:
    inside = min(max(seconds, LEAST_TRIP), MOST_TRIP)
    share = log10(inside / LEAST_TRIP) / log10(MOST_TRIP / LEAST_TRIP)
    return HEIGHT - 6 - (HEIGHT - 12) * share


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else span(seconds)
