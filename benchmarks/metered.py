"""Row "metered": what a hit pays with metrics on, over a hit of a gate without, in both shells.

On is all there is: a collector of Prometheus over several workers' files, which the follower writes every second, OpenTelemetry
with a reader and traces, and something to tell audit events to; both are scraped between rounds. Two gates with the same
settings take turns, in this process, and the bare application's time in the same round is taken off each.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.hits import gate_for
from benchmarks.measuring import Line, Options, added, in_turns, median, ratio
from benchmarks.requests import asgi_sample, environ_with, scope_with, wsgi_sample
from benchmarks.tokens import mint
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate import Gate

__all__ = ["metered_hits"]

BAR = 1.05


def metered_hits(options: Options) -> list[Line]:
    """Both shells, HS256."""
    loop = asyncio.new_event_loop()
    with ExitStack() as stack:
        off = stack.enter_context(closing(gate_for(options, "HS256", "hit-unmetered")))
        on = stack.enter_context(closing(gate_for(options, "HS256", "hit-metered")))
        scrape = _instrumented(on, stack)
        scopes = [scope_with(mint("HS256")[0])] * options.pick(4000, 1000)
        environs = [environ_with(mint("HS256")[0])] * options.pick(4000, 1000)
        samples = in_turns(
            {
                "bare ASGI": asgi_sample(loop, peers.bare_asgi, scopes),
                "off ASGI": asgi_sample(loop, ASGIMiddleware(peers.bare_asgi, gate=off), scopes),
                "on ASGI": asgi_sample(loop, ASGIMiddleware(peers.bare_asgi, gate=on), scopes),
                "bare WSGI": wsgi_sample(peers.bare_wsgi, environs),
                "off WSGI": wsgi_sample(WSGIMiddleware(peers.bare_wsgi, gate=off), environs),
                "on WSGI": wsgi_sample(WSGIMiddleware(peers.bare_wsgi, gate=on), environs),
                "scrape": scrape,
            },
            options.pick(101, 15),
        )
    loop.close()
    return [_line(shell, samples) for shell in ("ASGI", "WSGI")]


def _instrumented(gate: Gate, stack: ExitStack) -> Callable[[], float]:
    """Everything on; returns what scrapes it."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from prometheus_client import CollectorRegistry, generate_latest

    from jwtgate.metrics.otel import instrument
    from jwtgate.metrics.prometheus import GateCollector

    before = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = stack.enter_context(tempfile.TemporaryDirectory())
    registry, reader, events = CollectorRegistry(), InMemoryMetricReader(), list[Any]()
    registry.register(GateCollector(gate))
    if before is None:
        del os.environ["PROMETHEUS_MULTIPROC_DIR"]
    else:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = before
    instrument(gate, MeterProvider([reader]), tracer_provider=TracerProvider())
    gate.audit(events.append)

    def scrape() -> float:
        reader.get_metrics_data()
        return float(len(generate_latest(registry)))

    return scrape


def _line(shell: str, samples: dict[str, list[float]]) -> Line:
    on, off = (added(samples[f"{which} {shell}"], samples[f"bare {shell}"]) for which in ("on", "off"))
    share = ratio(on, off)
    return Line(
        f"metrics on, hit, {shell}",
        f"{median(on) * 1e6:.2f} µs",
        f"off {median(off) * 1e6:.2f} µs",
        f"{share:.3f}",
        f"<= {BAR:g} x off",
        share <= BAR,
        {"microseconds": median(on) * 1e6, "off": median(off) * 1e6, "ratio": share},
    )
