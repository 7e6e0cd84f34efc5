"""For OpenTelemetry (extra ``otel``): the gate's numbers as instruments, and, where they are asked for, spans of store calls.

    from jwtgate.metrics.otel import instrument

    instrument(gate)                                                   # of the global meter provider
    instrument(gate, tracer_provider=trace.get_tracer_provider())      # and spans

Counters and gauges are observable: they are read when the reader of the SDK asks, so no request pays for them. A histogram
cannot be observed so in OpenTelemetry: its values are recorded as they are measured, at calls of the store, which take longer.
A span is of one operation of one caller (``jwtgate.store.look_up``, ``jwtgate.store.write``, …), the wait for its turn
included, while look-ups of several requests may have shared a call; an admission from memory has none. Without a tracer
provider nothing is traced.

Each worker exports its own numbers, as with all of OpenTelemetry: tell them apart by ``service.instance.id``.
"""

from __future__ import annotations

import logging
import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

try:
    from opentelemetry.metrics import Observation, get_meter_provider
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError as missing:
    raise ImportError("jwtgate.metrics.otel needs opentelemetry-api: pip install 'jwtgate[otel]'") from missing

from jwtgate.errors import JWTGateError
from jwtgate.gate import Gate
from jwtgate.metrics.table import TABLE, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from contextlib import AbstractContextManager

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["instrument"]

T = TypeVar("T")

logger = logging.getLogger("jwtgate")

UNITS = {"": "1", "seconds": "s"}


class _Harmless:
    """Calls what others wrote (a sampler, a processor): what fails in there is said once, and no request fails for it."""

    def __init__(self) -> None:
        self._has_failed = False

    def __call__(self, call: Callable[[], T]) -> T | None:
        """None: it failed."""
        try:
            return call()
        except Exception:
            if not self._has_failed:
                logger.exception("OpenTelemetry failed, and may tell less than there is")
            self._has_failed = True
            return None


def instrument(
    gate: Gate, meter_provider: MeterProvider | None = None, *, tracer_provider: TracerProvider | None = None
) -> None:
    """Has a gate's numbers exported, and its calls of the store traced. Once for a gate.

    Args:
        gate: whose. One that is dropped elsewhere is told of no more.
        meter_provider: None: the global one.
        tracer_provider: None: nothing is traced.

    Raises: TypeError: no gate.
    """
    if not isinstance(gate, Gate):
        raise TypeError("instrument takes a gate")
    meter = (get_meter_provider() if meter_provider is None else meter_provider).get_meter("jwtgate")
    for metric in TABLE:
        _instrument(meter, metric, gate)
    if tracer_provider is not None:
        gate.onlookers.span = _spanning(tracer_provider.get_tracer("jwtgate"))


def _instrument(meter: Meter, metric: Metric, gate: Gate) -> None:
    unit = UNITS[metric.unit]
    match metric.kind:
        case "counter":
            meter.create_observable_counter(metric.otel, [_observing(metric, gate)], unit, metric.help)
        case "gauge":
            meter.create_observable_gauge(metric.otel, [_observing(metric, gate)], unit, metric.help)
        case "histogram":
            histogram = meter.create_histogram(
                metric.otel, unit, metric.help, explicit_bucket_boundaries_advisory=list(metric.bounds)
            )
            gate.onlookers.listeners.append(_recording(metric, histogram))


def _observing(metric: Metric, gate: Gate) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """Not bound to the gate, which may be dropped."""
    own = weakref.ref(gate)

    def observe(_options: CallbackOptions) -> Iterable[Observation]:
        there = own()
        values = {} if there is None else metric.read(there)
        return [
            Observation(metric.shown(value), dict(zip(_attributes(metric), labels, strict=True)))
            for labels, (value,) in values.items()
        ]

    return observe


def _recording(metric: Metric, histogram: Histogram) -> Callable[[str, str, float], None]:
    harmless = _Harmless()

    def record(name: str, label: str, seconds: float) -> None:
        if name == metric.name:
            harmless(lambda: histogram.record(seconds, {_attributes(metric)[0]: label} if metric.labels else None))

    return record


def _attributes(metric: Metric) -> list[str]:
    return [f"jwtgate.{label}" for label in metric.labels]


def _spanning(tracer: Tracer) -> Callable[[str], AbstractContextManager[object]]:
    """An error is told by its reason, never in its own words."""
    harmless = _Harmless()

    @contextmanager
    def span(operation: str) -> Generator[object]:
        begun = harmless(lambda: _begin(tracer, operation))
        try:
            yield None if begun is None else begun[1]
        except JWTGateError as error:
            if begun is not None:
                harmless(partial(_blame, begun[1], error.reason))
            raise
        finally:
            if begun is not None:
                harmless(partial(begun[0].__exit__, None, None, None))

    return span


def _begin(tracer: Tracer, operation: str) -> tuple[AbstractContextManager[Span], Span]:
    name, attributes = f"jwtgate.store.{operation}", {"jwtgate.operation": operation}
    manager = tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=attributes)
    return manager, manager.__enter__()  # it is left without the exception, which it would tell in its own words


def _blame(span: Span, reason: str) -> None:
    span.set_attribute("error.type", reason)
    span.set_status(Status(StatusCode.ERROR))
