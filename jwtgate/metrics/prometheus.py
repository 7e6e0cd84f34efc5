"""For prometheus_client (extra ``prometheus``): a collector that reads the gate when it is scraped.

    from prometheus_client import REGISTRY, make_asgi_app
    from jwtgate.metrics.prometheus import GateCollector

    REGISTRY.register(GateCollector())          # this process's gate of the environment; or GateCollector(gate, …)
    app.mount("/metrics", make_asgi_app())      # behind the gate like any path: JWTGATE_EXEMPT=/metrics, or a server of its own

Several workers: with ``PROMETHEUS_MULTIPROC_DIR`` set before they start, to a folder that is emptied between runs (see the
documentation of prometheus_client), each worker makes the collector, as a module that all of them load does, and a scrape that
reaches any of them tells the numbers of all, those that have ended included. Where prometheus_client's own metrics are wanted,
too, the registry is one that ``multiprocess.MultiProcessCollector(registry)`` was given, and this collector beside it.
"""

from __future__ import annotations

import os
import weakref
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from prometheus_client.registry import Collector
except ImportError as missing:
    raise ImportError("jwtgate.metrics.prometheus needs prometheus-client: pip install 'jwtgate[prometheus]'") from missing

from jwtgate.gate import Gate
from jwtgate.metrics.numbers import merged, read_all
from jwtgate.metrics.sharing import Sharing
from jwtgate.metrics.table import TABLE, Metric, Values

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["GateCollector"]

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class GateCollector(Collector):
    """``registry.register(GateCollector(gate))``. One for all gates of a registry: their numbers are told together."""

    def __init__(self, *gates: Gate) -> None:
        """Args: gates: none: ``Gate.from_env()``. A gate that is dropped elsewhere is told of no more.

        Raises: SettingsError: of the environment. ValueError: ``PROMETHEUS_MULTIPROC_DIR`` names no folder.
        """
        if not all(isinstance(gate, Gate) for gate in gates):
            raise TypeError("GateCollector takes gates")
        gates = gates or (Gate.from_env(),)
        self._gates = [weakref.ref(gate) for gate in gates]
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        self._sharing = Sharing.of(Path(folder), gates) if folder else None

    def describe(self) -> Iterator[Family]:
        """Names alone: a registry asks when it is given the collector."""
        for metric in TABLE:
            yield _family(metric, {})

    def collect(self) -> Iterator[Family]:
        """All there is now; with several workers, of all of them."""
        numbers = read_all(self._gates) if self._sharing is None else merged(self._sharing.read_all())
        for metric in TABLE:
            yield _family(metric, numbers.get(metric.name, {}))


def _family(metric: Metric, values: Values) -> Family:
    family: Family
    if metric.kind == "histogram":
        family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        bounds = [*map(repr, metric.bounds), "+Inf"]
        for labels, (*counts, total) in values.items():
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        return family
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, (value,) in values.items():
        family.add_metric(labels, metric.shown(value))
    return family
