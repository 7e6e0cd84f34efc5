"""What a scrape of Prometheus gets: read back by its own parser, every metric of the table, and no subject in any label."""

from __future__ import annotations

import gc
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from keymaking import SECRET
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from jwtgate import Gate, Settings, testing
from jwtgate.errors import InvalidToken
from jwtgate.metrics import prometheus
from jwtgate.metrics.prometheus import GateCollector
from jwtgate.metrics.table import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jwtgate.testing import FixtureGate

HOSTILE = 'mallory"} 1\n# HELP jwtgate_evil \x00'


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, unless a test says otherwise."""
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)


@pytest.fixture
def gate() -> Iterator[FixtureGate]:
    """One that has something to tell."""
    with testing.gate(secret=SECRET, handles=("tenant",)) as fixture:
        fixture.verify(fixture.issue("alice"))
        fixture.suspend(HOSTILE)
        fixture.revoke(claim=("tenant", HOSTILE), wait=True)
        with suppress(InvalidToken):
            fixture.verify(HOSTILE)
        yield fixture


def registry_of(*gates: Gate) -> CollectorRegistry:
    """With nothing else in it."""
    registry = CollectorRegistry()
    registry.register(GateCollector(*gates))
    return registry


def samples(registry: CollectorRegistry) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """As a scraper reads them."""
    text = generate_latest(registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_of_the_table_is_told(gate: FixtureGate) -> None:
    """By its name, its kind and its help."""
    families = {family.name: family for family in text_string_to_metric_families(generate_latest(registry_of(gate)).decode())}
    assert set(families) == {metric.name for metric in TABLE}
    for metric in TABLE:
        assert (families[metric.name].type, families[metric.name].documentation) == (metric.kind, metric.help)


def test_numbers_are_the_gates(gate: FixtureGate) -> None:
    """Counters, gauges, and histograms with cumulative buckets."""
    told = samples(registry_of(gate))
    assert told["jwtgate_requests_total", frozenset({("verdict", "admitted"), ("reason", "")})] == 1
    assert told["jwtgate_requests_total", frozenset({("verdict", "refused"), ("reason", "malformed")})] == 1
    assert told["jwtgate_rulings_written_total", frozenset({("kind", "suspension"), ("target", "sub")})] == 1
    assert told["jwtgate_view_live", frozenset()] == 1
    assert told["jwtgate_view_rulings", frozenset()] == 2
    for name, labels, count in (
        ("jwtgate_store_call_seconds", frozenset({("operation", "write")}), 2),
        ("jwtgate_propagation_seconds", frozenset(), 1),
    ):
        assert told[f"{name}_count", labels] == count
        assert told[f"{name}_bucket", labels | {("le", "+Inf")}] == count
        buckets = [value for (each, _), value in told.items() if each == f"{name}_bucket"]
        assert all(0 <= value <= 2 for value in buckets)


def test_nobody_is_named(gate: FixtureGate) -> None:
    """Threat 29: no subject, no claim's value, no token, whatever it holds."""
    text = generate_latest(registry_of(gate)).decode()
    assert "mallory" not in text
    assert "evil" not in text
    assert "\x00" not in text


def test_openmetrics_reads_it_too(gate: FixtureGate) -> None:
    """The stricter of the two formats."""
    text = exposition.generate_latest(registry_of(gate)).decode()
    assert {family.name for family in read_openmetrics(text)} >= {metric.name for metric in TABLE}


def test_gates_of_one_registry_are_told_together(gate: FixtureGate) -> None:
    """One collector for all of them: their counters are added."""
    with testing.gate(secret=SECRET) as other:
        other.verify(other.issue("bob"))
        told = samples(registry_of(gate, other))
    assert told["jwtgate_gates", frozenset()] == 2
    assert told["jwtgate_cache_misses_total", frozenset()] == 3


def test_gate_of_the_environment_is_taken_where_none_is_given(gate: FixtureGate) -> None:
    """``GateCollector()``."""
    assert samples(registry_of())["jwtgate_view_rulings", frozenset()] == 2


def test_registering_asks_no_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry wants the names; nothing is read, so nothing is started."""
    gate = Gate(Settings(secret=SECRET))
    collector = GateCollector(gate)
    monkeypatch.setattr(prometheus, "read_all", lambda _: pytest.fail("read"))
    CollectorRegistry().register(collector)
    assert not gate.follower.is_started


def test_collector_keeps_no_gate_alive() -> None:
    """A gate that is dropped takes its follower with it; the registry goes on without."""
    gate: Any = Gate(Settings(secret=SECRET))
    registry = registry_of(gate)
    assert samples(registry)["jwtgate_gates", frozenset()] == 1
    del gate
    gc.collect()
    assert samples(registry) == {}


@pytest.mark.parametrize("given", [None, "gate", Settings(secret=SECRET)])
def test_what_is_no_gate_is_refused(given: Any) -> None:
    """At once."""
    with pytest.raises(TypeError, match="GateCollector takes gates"):
        GateCollector(given)


def test_folder_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As prometheus_client refuses it."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "/nowhere/at/all")
    with pytest.raises(ValueError, match="PROMETHEUS_MULTIPROC_DIR must name a folder"):
        GateCollector(Gate(Settings(secret=SECRET)))


@pytest.mark.parametrize(("module", "library"), [("prometheus", "prometheus_client"), ("otel", "opentelemetry")])
def test_missing_extra_names_the_line_that_installs_it(module: str, library: str) -> None:
    """Whoever copies it has what is missing."""
    program = f"import sys; sys.modules[{library!r}] = None; import jwtgate.metrics.{module}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"pip install 'jwtgate[{module}]'" in ended.stderr.splitlines()[-1]
