"""What OpenTelemetry gets: the same numbers, read in memory by its SDK, and spans of store calls where they are asked for."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from keymaking import SECRET
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Histogram, InMemoryMetricReader, Sum
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanKind, StatusCode

from jwtgate import Gate, Settings, testing
from jwtgate.errors import InvalidToken, StoreUnavailable
from jwtgate.metrics import numbers
from jwtgate.metrics.otel import instrument
from jwtgate.metrics.table import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

    from jwtgate.testing import FixtureGate

HOSTILE = 'mallory"\n\x00'


@pytest.fixture
def gate() -> Iterator[FixtureGate]:
    """Not instrumented yet."""
    with testing.gate(secret=SECRET, validity="allowlist") as fixture:
        yield fixture


class Metered:
    """A reader of its own."""

    def __init__(self, gate: Gate) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])
        instrument(gate, self.provider)

    def read(self) -> dict[str, Any]:
        """By name, what the SDK would export."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {each.name: each for whole in data.resource_metrics for scope in whole.scope_metrics for each in scope.metrics}


@pytest.fixture
def metered(gate: FixtureGate) -> Iterator[Metered]:
    """One that has something to tell."""
    made = Metered(gate)
    pair = gate.sessions.start("alice")
    gate.verify(pair.access_token)
    gate.suspend(HOSTILE)
    gate.revoke(sub="alice", wait=True)
    with suppress(InvalidToken):
        gate.verify(HOSTILE)
    yield made
    made.provider.shutdown()


def test_every_metric_of_the_table_is_told(metered: Metered) -> None:
    """By its name, kind, unit and help; those without a value now are left out by the SDK."""
    told = metered.read()
    silent = {"jwtgate.store.failures", "jwtgate.view.fences", "jwtgate.connections.ended"}
    assert set(told) == {metric.otel for metric in TABLE} - silent
    for metric in TABLE:
        if metric.otel in silent:
            continue
        each = told[metric.otel]
        assert (each.description, each.unit) == (metric.help, "s" if metric.unit else "1")
        assert isinstance(each.data, Histogram) == (metric.kind == "histogram")
        assert (isinstance(each.data, Sum) and each.data.is_monotonic) == (metric.kind == "counter")


def test_numbers_are_the_gates(gate: FixtureGate, metered: Metered) -> None:
    """Those that Prometheus would get, under attributes for labels."""
    told, own = metered.read(), numbers.read(gate)
    for metric in TABLE:
        if metric.kind == "histogram" or metric.otel not in told:
            continue
        points = {tuple((point.attributes or {}).values()): point.value for point in told[metric.otel].data.data_points}
        assert points == {labels: metric.shown(value) for labels, (value,) in own[metric.name].items()}
    (requests,) = [
        point.value
        for point in told["jwtgate.requests"].data.data_points
        if point.attributes == {"jwtgate.verdict": "refused", "jwtgate.reason": "malformed"}
    ]
    assert requests == 1


def test_spans_of_time_are_recorded_as_they_are_measured(gate: FixtureGate, metered: Metered) -> None:
    """Histograms have the bounds and the counts of the gate's own."""
    told = metered.read()
    for metric in TABLE:
        if metric.kind != "histogram":
            continue
        own = numbers.read(gate)[metric.name]
        points = {tuple((point.attributes or {}).values()): point for point in told[metric.otel].data.data_points}
        assert set(points) == set(own)
        for labels, (*counts, total) in own.items():
            assert tuple(points[labels].explicit_bounds) == metric.bounds
            assert list(points[labels].bucket_counts) == counts
            assert points[labels].sum == pytest.approx(total)


def test_nobody_is_named(metered: Metered) -> None:
    """Threat 29: in no attribute, whatever a subject holds."""
    data = metered.reader.get_metrics_data()
    assert data is not None
    assert "mallory" not in data.to_json()


def test_gate_that_is_dropped_is_told_of_no_more() -> None:
    """Its instruments stay, and say nothing."""
    gate: Any = Gate(Settings(secret=SECRET))
    metered = Metered(gate)
    assert "jwtgate.gates" in metered.read()
    del gate
    gc.collect()
    assert metered.read() == {}
    metered.provider.shutdown()


def test_numbers_go_on_after_a_fork(gate: FixtureGate, metered: Metered) -> None:
    """The gate composes anew: what is told then is of the child."""
    gate.reset_after_fork()
    assert metered.read()["jwtgate.cache.misses"].data.data_points[0].value == 0
    gate.start()
    gate.revoke(jti="7", wait=True)
    (propagation,) = metered.read()["jwtgate.propagation.duration"].data.data_points
    assert propagation.count == 2


def test_what_is_no_gate_is_refused() -> None:
    """At once."""
    with pytest.raises(TypeError, match="instrument takes a gate"):
        instrument(Settings(secret=SECRET))  # type: ignore[arg-type]


# --- traces


class Traced:
    """A tracer whose spans are kept."""

    def __init__(self, gate: Gate) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider()
        instrument(gate, self.meters, tracer_provider=self.provider)

    def spans(self) -> list[ReadableSpan]:
        """Since the last time."""
        found = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return found


@pytest.fixture
def traced(gate: FixtureGate) -> Iterator[Traced]:
    """Instrumented for traces, too."""
    made = Traced(gate)
    yield made
    made.provider.shutdown()
    made.meters.shutdown()


def test_store_calls_are_spans_and_hits_are_none(gate: FixtureGate, traced: Traced) -> None:
    """Of the caller's operation, as a client of the store."""
    token = gate.sessions.start("alice").access_token
    (write,) = traced.spans()
    assert (write.name, write.kind, dict(write.attributes or {})) == (
        "jwtgate.store.write",
        SpanKind.CLIENT,
        {"jwtgate.operation": "write"},
    )
    gate.verify(token)
    assert [each.name for each in traced.spans()] == ["jwtgate.store.look_up"]
    gate.verify(token)
    assert traced.spans() == []


def test_span_stands_under_the_callers(gate: FixtureGate, traced: Traced) -> None:
    """Blocking and awaited alike, though another thread asks the store then."""
    tracer = traced.provider.get_tracer("application")

    async def awaited() -> None:
        with tracer.start_as_current_span("request"):
            await gate.aio.verify(token)
            await gate.aio.revoke(sub="alice")

    with tracer.start_as_current_span("request"):
        token = gate.sessions.start("alice").access_token
    asyncio.run(awaited())
    spans = traced.spans()
    for name, own in (("blocking", spans[:2]), ("awaited", spans[2:])):
        *children, parent = own
        assert parent.name == "request", name
        assert parent.context is not None
        assert children
        assert {child.parent.span_id for child in children if child.parent} == {parent.context.span_id}, name


def test_audit_finds_the_span_of_the_write(gate: FixtureGate, traced: Traced) -> None:
    """Told in the context of the call: a log with trace ids has the right one, awaited, too."""
    found: list[int] = []
    gate.audit(lambda _: found.append(trace.get_current_span().get_span_context().span_id))

    async def awaited() -> None:
        await gate.aio.revoke(jti="7")

    gate.revoke(jti="7")
    asyncio.run(awaited())
    assert found == [span.context.span_id for span in traced.spans() if span.context is not None]


def test_failed_call_is_a_span_with_a_reason_and_without_words(gate: FixtureGate, traced: Traced) -> None:
    """What a store's error says may name a host; its reason is of a closed set."""
    with gate.faults.fail(), pytest.raises(StoreUnavailable):
        gate.revoke(jti="7")
    (span,) = traced.spans()
    assert (span.attributes or {})["error.type"] == "store_unavailable"
    assert span.status.status_code is StatusCode.ERROR
    assert (span.status.description, span.events) == (None, ())


def test_nothing_is_traced_unasked(gate: FixtureGate) -> None:
    """``instrument(gate)`` is for metrics."""
    instrument(gate, MeterProvider())
    assert gate.onlookers.span is None


class Sampling(Sampler):
    """One that has a bug."""

    def should_sample(self, *_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    def get_description(self) -> str:
        return "broken"


class Ending(SpanProcessor):
    """One that fails once a span is over."""

    def on_end(self, span: ReadableSpan) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("is_late", [False, True])
def test_tracing_that_fails_fails_no_request(gate: FixtureGate, caplog: pytest.LogCaptureFixture, *, is_late: bool) -> None:
    """It is said once; the answer, and a refusal, are what they would have been."""
    provider = TracerProvider() if is_late else TracerProvider(sampler=Sampling())
    if is_late:
        provider.add_span_processor(Ending())
    instrument(gate, MeterProvider([]), tracer_provider=provider)
    pair = gate.sessions.start("alice")
    assert gate.verify(pair.access_token).subject == "alice"
    gate.revoke(sub="alice", wait=True)
    with pytest.raises(InvalidToken):
        gate.verify(pair.access_token)
    gate.faults.fail()
    with pytest.raises(StoreUnavailable):
        gate.sessions.start("bob")
    assert [record.message for record in caplog.records].count("OpenTelemetry failed, and may tell less than there is") == 1


def test_instrument_that_fails_fails_no_call(gate: FixtureGate, caplog: pytest.LogCaptureFixture) -> None:
    """The write has been made."""
    instrument(gate, MeterProvider([]))
    with patch("opentelemetry.sdk.metrics._internal.instrument.Histogram.record", side_effect=ZeroDivisionError):
        gate.revoke(sub="alice", wait=True)
    assert "OpenTelemetry failed, and may tell less than there is" in caplog.messages
