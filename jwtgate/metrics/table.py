"""Every metric, once: what both exporters call it, what it says, and where it is read. Decides nothing.

Names are those of Prometheus, which adds a counter's ``_total``, and of OpenTelemetry. Labels are few and never a subject, a
token or an issuer. What the view can tell is read from it when somebody asks, and costs no request anything. Where nobody
follows the store, as before the first request, there is no view to tell of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jwtgate.core.tally import PROPAGATION, PROPAGATION_BOUNDS, STORE_BOUNDS, STORE_CALL, Spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.gate import Gate

__all__ = ["TABLE", "Metric", "Values"]

Labels = tuple[str, ...]
Values = dict[Labels, list[float]]
"""By the labels' values: one number, or a histogram's counts between its bounds and, last, their sum."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row.

    Attributes:
        name, otel: its two names.
        kind: what it is.
        help: one sentence.
        read: of one gate. Empty: it has none now.
        labels: names.
        unit: of its values.
        across: how those of several gates or workers come together.
        ages: what a number that a worker has told does since then: 1: it is seconds that grow, -1: that shrink to nothing.
        shown: what is told in place of the number.
        bounds: of a histogram.
    """

    name: str
    otel: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    read: Callable[[Gate], Values]
    labels: Labels = ()
    unit: Literal["", "seconds"] = ""
    across: Literal["sum", "min", "max"] = "sum"
    ages: Literal[-1, 0, 1] = 0
    shown: Callable[[float], float] = float
    bounds: tuple[float, ...] = ()


def _one(value: float) -> Values:
    return {(): [float(value)]}


def _each(counts: dict[str, int]) -> Values:
    return {(label,): [float(count)] for label, count in counts.copy().items()}


def _spans(spans: Spans) -> list[float]:
    return [*map(float, spans.counts), spans.sum]


def _requests(gate: Gate) -> Values:
    tally = gate.tally
    found: Values = {("refused", reason): [float(count)] for reason, count in tally.refused.copy().items()}
    found["admitted", ""] = [float(tally.all_admitted())]
    found["anonymous", ""] = [float(tally.anonymous)]
    return found


def _store_calls(gate: Gate) -> Values:
    return {(operation,): _spans(spans) for operation, spans in gate.tally.store_calls.copy().items()}


def _changes(gate: Gate) -> Values:
    apart = {"login", "refresh_token_reuse"}  # have metrics of their own
    return {labels: [float(count)] for labels, count in gate.tally.changes.copy().items() if labels[0] not in apart}


def _lease_left(gate: Gate) -> Values:
    return _one(gate.status().lease_left_seconds) if gate.follower.is_started else {}


def _view_age(gate: Gate) -> Values:
    age = gate.status().view_age_seconds
    return {} if age is None or not gate.follower.is_started else _one(age)


def _is_complete(gate: Gate) -> Values:
    return _one(gate.status().complete) if gate.follower.is_started else {}


def _is_over_nothing(value: float) -> float:
    return float(value > 0)


TABLE = (
    Metric(
        "jwtgate_requests",
        "jwtgate.requests",
        "counter",
        "Requests and tokens judged, and refused refreshes; what a view then refuses counts once more, as refused.",
        _requests,
        labels=("verdict", "reason"),
    ),
    Metric(
        "jwtgate_cache_hits",
        "jwtgate.cache.hits",
        "counter",
        "Tokens that were remembered when they were shown.",
        lambda gate: _one(gate.tally.hits),
    ),
    Metric(
        "jwtgate_cache_misses",
        "jwtgate.cache.misses",
        "counter",
        "Tokens that were not.",
        lambda gate: _one(gate.tally.misses),
    ),
    Metric(
        "jwtgate_cached_tokens",
        "jwtgate.cache.tokens",
        "gauge",
        "Tokens remembered now.",
        lambda gate: _one(len(gate.view.admitted)),
    ),
    Metric(
        "jwtgate_look_ups",
        "jwtgate.look_ups",
        "counter",
        "Questions to the store that requests had to ask.",
        lambda gate: _one(gate.tally.look_ups),
    ),
    Metric(
        STORE_CALL,
        "jwtgate.store.call.duration",
        "histogram",
        "How long calls of the store took, those of the follower left out, which wait by design.",
        _store_calls,
        labels=("operation",),
        unit="seconds",
        bounds=STORE_BOUNDS,
    ),
    Metric(
        "jwtgate_store_failures",
        "jwtgate.store.failures",
        "counter",
        "Calls of the store that failed.",
        lambda gate: _each(gate.tally.store_failures),
        labels=("operation",),
    ),
    Metric(
        "jwtgate_store_up",
        "jwtgate.store.up",
        "gauge",
        "1 if the store answers and its history is whole; of several workers the worst.",
        lambda gate: _one(gate.health.state == "up"),
        across="min",
    ),
    Metric(
        "jwtgate_view_live",
        "jwtgate.view.live",
        "gauge",
        "1 if memory may be trusted; of several workers the worst.",
        _lease_left,
        across="min",
        ages=-1,
        shown=_is_over_nothing,
    ),
    Metric(
        "jwtgate_view_complete",
        "jwtgate.view.complete",
        "gauge",
        "1 if every live ruling is held; of several workers the worst.",
        _is_complete,
        across="min",
    ),
    Metric(
        "jwtgate_view_age_seconds",
        "jwtgate.view.age",
        "gauge",
        "Time since the read of the change log that the lease counts from; of several workers the oldest.",
        _view_age,
        unit="seconds",
        across="max",
        ages=1,
    ),
    Metric(
        "jwtgate_lease_left_seconds",
        "jwtgate.lease.left",
        "gauge",
        "Time until memory may not be trusted any more; of several workers the shortest.",
        _lease_left,
        unit="seconds",
        across="min",
        ages=-1,
    ),
    Metric(
        "jwtgate_view_rulings",
        "jwtgate.view.rulings",
        "gauge",
        "Rulings held; of several workers the most.",
        lambda gate: _one(len(gate.view.rulings)),
        across="max",
    ),
    Metric(
        "jwtgate_lease_lapses",
        "jwtgate.lease.lapses",
        "counter",
        "Leases that were over before they were granted anew.",
        lambda gate: _one(gate.tally.lapses),
    ),
    Metric(
        "jwtgate_fences",
        "jwtgate.view.fences",
        "counter",
        "Times that memory was not to be trusted any more: history_lost, gap, fork, other_lease, fault.",
        lambda gate: _each(gate.tally.fences),
        labels=("reason",),
    ),
    Metric(
        "jwtgate_healings",
        "jwtgate.healings",
        "counter",
        "Times that all that a store had lost was written back.",
        lambda gate: _one(gate.tally.healings),
    ),
    Metric(
        "jwtgate_rulings_written",
        "jwtgate.rulings.written",
        "counter",
        "Revocations and their like that were written, by kind and target of their audit events.",
        _changes,
        labels=("kind", "target"),
    ),
    Metric(
        PROPAGATION,
        "jwtgate.propagation.duration",
        "histogram",
        "How long revocations that were waited for took until they held everywhere.",
        lambda gate: {(): _spans(gate.tally.propagation)},
        unit="seconds",
        bounds=PROPAGATION_BOUNDS,
    ),
    Metric(
        "jwtgate_unproven_revocations",
        "jwtgate.propagation.unproven",
        "counter",
        "Revocations that were waited for in vain: not everybody may have heard of them.",
        lambda gate: _one(gate.tally.unproven),
    ),
    Metric(
        "jwtgate_sessions_started",
        "jwtgate.sessions.started",
        "counter",
        "Logins.",
        lambda gate: _one(gate.tally.changes.get(("login", "sid"), 0)),
    ),
    Metric(
        "jwtgate_sessions_refreshed",
        "jwtgate.sessions.refreshed",
        "counter",
        "Refresh tokens exchanged, racers included.",
        lambda gate: _one(gate.tally.refreshes),
    ),
    Metric(
        "jwtgate_refresh_tokens_reused",
        "jwtgate.refresh_tokens.reused",
        "counter",
        "Refresh tokens shown again after their grace: theft, and the session has ended.",
        lambda gate: _one(gate.tally.changes.get(("refresh_token_reuse", "sid"), 0)),
    ),
    Metric(
        "jwtgate_live_connections",
        "jwtgate.connections.live",
        "gauge",
        "WebSockets and streams that stand open under a token.",
        lambda gate: _one(len(gate.view.live)),
    ),
    Metric(
        "jwtgate_connections_opened",
        "jwtgate.connections.opened",
        "counter",
        "Those that ever did.",
        lambda gate: _one(gate.view.live.opened),
    ),
    Metric(
        "jwtgate_connections_ended",
        "jwtgate.connections.ended",
        "counter",
        "Those that the gate ended, by what it would have refused a request for.",
        lambda gate: _each(gate.tally.ended),
        labels=("reason",),
    ),
    Metric(
        "jwtgate_gates",
        "jwtgate.gates",
        "gauge",
        "Gates whose numbers these are: one a worker.",
        lambda _: _one(1),
    ),
)
