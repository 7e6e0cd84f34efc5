"""Each number moves for its reason and for no other: read from a real gate, and put together from several."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from keymaking import SECRET, craft

from jwtgate import metrics, testing
from jwtgate.core.live import LiveConnection
from jwtgate.errors import InsufficientScope, JWTGateError, ReusedRefreshToken, Revoked, StoreUnavailable
from jwtgate.messages import Request
from jwtgate.metrics import numbers
from jwtgate.metrics.table import TABLE
from jwtgate.runtime import blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jwtgate import Gate
    from jwtgate.testing import FixtureGate

Moved = dict[tuple[str, tuple[str, ...]], float]
ROWS = {metric.name: metric for metric in TABLE}


def counted(gate: Gate) -> Moved:
    """Every counter and histogram by name and labels: of a histogram, how often."""
    return {
        (name.removeprefix("jwtgate_"), labels): value[0] if len(value) == 1 else sum(value[:-1])
        for name, values in numbers.read(gate).items()
        if ROWS[name].kind != "gauge"
        for labels, value in values.items()
    }


@pytest.fixture
def gate() -> Iterator[FixtureGate]:
    """One with everything that counts."""
    with testing.gate(secret=SECRET, version_claim="ver", handles=("tenant",)) as fixture:
        yield fixture


def _refused(gate: FixtureGate, token: str) -> None:
    with pytest.raises(JWTGateError):
        gate.verify(token)


def _hit(gate: FixtureGate) -> None:
    assert gate.decision.hit(f"Bearer {_known(gate)}".encode()) is not None


def _known(gate: FixtureGate) -> str:
    token = gate.issue("alice")
    asked = Request("GET", "/", b"/", ((b"authorization", f"Bearer {token}".encode()),))
    for _ in range(2):
        blocking.run(gate.plans.examine(asked), gate.performer)
    return token


def _reuse(gate: FixtureGate) -> None:
    pair = gate.sessions.start("alice")
    gate.sessions.refresh(pair.refresh_token)
    gate.clock.advance(31)
    with pytest.raises(ReusedRefreshToken):
        gate.sessions.refresh(pair.refresh_token)


def _lapse(gate: FixtureGate) -> None:
    with gate.faults.fail():
        pass


def _failed(gate: FixtureGate) -> None:
    with gate.faults.fail(), suppress(StoreUnavailable):
        gate.revoke(jti="7")


def _lose_history(gate: FixtureGate) -> None:
    gate.revoke(jti="7")
    gate.store.feed().lose(gate.store.workers()[0].name)
    for _ in range(12):
        gate.clock.advance(0.3)
    assert gate.status().live


def _checked(gate: FixtureGate) -> None:
    @gate.check
    def never(_token: Any, _request: Any) -> bool:
        raise InsufficientScope("admin")

    _refused(gate, gate.issue("alice"))


def _lagging(gate: FixtureGate) -> None:
    with gate.faults.lag(float("inf")):
        assert not gate.revoke(jti="7", wait=True).effective_everywhere


SEEN = ("requests", ("admitted", ""))
MISS, HIT, LOOK_UP = ("cache_misses", ()), ("cache_hits", ()), ("store_call_seconds", ("look_up",))
WRITE, LIST, ROSTER = (("store_call_seconds", (each,)) for each in ("write", "list_sessions", "list_workers"))

REASONS: dict[str, tuple[Callable[[FixtureGate], object], Moved]] = {
    "nothing": (lambda gate: gate.status(), {}),
    "a token seen first": (lambda gate: gate.verify(gate.issue("alice")), {SEEN: 1, MISS: 1, LOOK_UP: 1}),
    "hits, of a plan and without one": (_hit, {SEEN: 3, MISS: 1, HIT: 2, LOOK_UP: 1}),
    "malformed": (lambda gate: _refused(gate, "x"), {("requests", ("refused", "malformed")): 1, MISS: 1}),
    "forged": (
        lambda gate: _refused(gate, craft({"alg": "HS256"}, {"sub": "a", "exp": 2**31}, b"x" * 32, "HS256").decode()),
        {("requests", ("refused", "bad_signature")): 1, MISS: 1},
    ),
    "a check": (
        _checked,
        {("requests", ("refused", "insufficient_scope")): 1, MISS: 1, LOOK_UP: 1},
    ),
    "a revocation": (
        lambda gate: gate.revoke(jti="7"),
        {("rulings_written", ("revocation", "jti")): 1, WRITE: 1},
    ),
    "one that is waited for": (
        lambda gate: gate.revoke(jti="7", wait=True),
        {("rulings_written", ("revocation", "jti")): 1, WRITE: 1, ROSTER: 1, ("propagation_seconds", ()): 1},
    ),
    "a login": (lambda gate: gate.sessions.start("alice"), {("sessions_started", ()): 1, WRITE: 1}),
    "theft": (
        _reuse,
        {
            ("sessions_started", ()): 1,
            ("sessions_refreshed", ()): 1,
            ("refresh_tokens_reused", ()): 1,
            ("requests", ("refused", "reused_refresh_token")): 1,
            ("lease_lapses", ()): 1,  # the clock jumps half a minute
            WRITE: 3,
            LOOK_UP: 2,
        },
    ),
    "a suspension": (
        lambda gate: gate.suspend("alice"),
        {("rulings_written", ("suspension", "sub")): 1, WRITE: 1},
    ),
    "a lapse": (_lapse, {("lease_lapses", ()): 1}),
    "a store that fails": (_failed, {("lease_lapses", ()): 1, ("store_failures", ("write",)): 1, WRITE: 1}),
    "lost history": (
        _lose_history,
        {
            ("rulings_written", ("revocation", "jti")): 1,
            WRITE: 1,
            ("fences", ("history_lost",)): 1,
            ("healings", ()): 1,
        },
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_number_moves_for_its_reason_and_no_other(gate: FixtureGate, reason: str) -> None:
    """Every counter and histogram is compared: what is not expected to move stays."""
    move, expected = REASONS[reason]
    before = counted(gate)
    move(gate)
    moved = {key: value - before.get(key, 0) for key, value in counted(gate).items() if value != before.get(key, 0)}
    assert moved == expected


def told(gate: Gate, name: str) -> list[float]:
    """The one value of a gauge, none where it has none."""
    return [value for (value,) in numbers.read(gate)[f"jwtgate_{name}"].values()]


def test_gauges_are_those_of_the_view(gate: FixtureGate) -> None:
    """Read when somebody asks; without a follower there is no view to tell of, as before the first request."""
    gate.revoke(jti="7")
    gate.verify(gate.issue("alice"))
    gate.clock.advance(0.25)
    assert told(gate, "view_rulings") == [1]
    assert told(gate, "cached_tokens") == [1]
    assert told(gate, "store_up") == told(gate, "view_complete") == [1]
    assert told(gate, "view_age_seconds") == [0.0]
    assert told(gate, "lease_left_seconds") == told(gate, "view_live") == [1.0]
    with gate.faults.fail():
        assert told(gate, "store_up") == told(gate, "view_live") == [0]
        assert told(gate, "view_age_seconds") == [0.0]
        gate.clock.advance(5.0)
        assert told(gate, "view_age_seconds") == [5.0]
    gate.close()
    assert told(gate, "view_live") == told(gate, "view_age_seconds") == told(gate, "view_complete") == []
    assert told(gate, "gates") == [1]


def test_connections_are_told_as_they_stand(gate: FixtureGate) -> None:
    """Those that are watched, those that ever were, and why the gate ended some."""
    token = gate.issue("alice")
    entry = blocking.run(gate.plans.verify(token), gate.performer)
    lives = [LiveConnection(token.encode(), "header", entry, lambda: None) for _ in range(3)]
    for live in lives:
        gate.view.live.watch(live)
    gate.view.live.unwatch(lives[0])
    gate.tally.count_ended(Revoked("x"))
    assert told(gate, "live_connections") == [2]
    assert counted(gate)["connections_opened", ()] == 3
    assert counted(gate)["connections_ended", ("revoked",)] == 1


def test_exempt_and_optional_requests_are_anonymous() -> None:
    """They are no admission of a token, and no refusal."""
    with testing.gate(exempt=("/health",), mode="optional") as gate:
        for path in ("/health", "/"):
            blocking.run(gate.plans.examine(Request("GET", path, path.encode(), ())), gate.performer)
        assert counted(gate)["requests", ("anonymous", "")] == 2
        assert counted(gate)["requests", ("admitted", "")] == 0


def test_cached_admission_without_the_store_is_one() -> None:
    """``ON_STORE_DOWN=cached``: the plan misses, and finds what was remembered after all: admitted once."""
    with testing.gate(on_store_down="cached") as gate:
        token = gate.issue("alice")
        gate.verify(token)
        before = counted(gate)
        gate.store.is_failing = True  # type: ignore[attr-defined]  # and nobody has noticed
        gate.follower.lapse()
        gate.verify(token)
        moved = {key: value - before.get(key, 0) for key, value in counted(gate).items() if value != before.get(key, 0)}
        assert moved == {SEEN: 1, MISS: 1, HIT: 1, LOOK_UP: 1, ("look_ups", ()): 1, ("store_failures", ("look_up",)): 1}


# --- several

ONE = {"jwtgate_view_age_seconds": {(): [1.0]}, "jwtgate_cache_hits": {(): [2.0]}, "jwtgate_view_live": {(): [0.5]}}
OTHER = {
    "jwtgate_view_age_seconds": {(): [4.0]},
    "jwtgate_cache_hits": {(): [3.0]},
    "jwtgate_view_live": {(): [2.0]},
    "jwtgate_fences": {("gap",): [1.0]},
}


def test_several_are_told_as_their_kind_asks() -> None:
    """Counters are added; of ages the oldest, of leases the shortest; what only one has stays."""
    assert numbers.merged([ONE, OTHER]) == {
        "jwtgate_view_age_seconds": {(): [4.0]},
        "jwtgate_cache_hits": {(): [5.0]},
        "jwtgate_view_live": {(): [0.5]},
        "jwtgate_fences": {("gap",): [1.0]},
    }
    assert numbers.merged([]) == {}


def test_numbers_of_somebody_silent_age() -> None:
    """A worker that hangs is seen: its view grows older, its lease runs out."""
    aged = numbers.aged(OTHER, 3.0)
    assert aged["jwtgate_view_age_seconds"] == {(): [7.0]}
    assert aged["jwtgate_view_live"] == {(): [0.0]}
    assert aged["jwtgate_cache_hits"] == {(): [3.0]}


def test_gauges_of_somebody_dead_are_gone() -> None:
    """What was counted stays."""
    assert set(numbers.lasting(OTHER)) == {"jwtgate_cache_hits", "jwtgate_fences"}


def test_numbers_come_back_from_json(gate: FixtureGate) -> None:
    """What another release wrote and this one does not know is left out, not misread."""
    gate.revoke(jti="7", wait=True)
    whole = numbers.read(gate)
    shape = numbers.written(whole)
    assert numbers.readable(shape) == whole  # type: ignore[arg-type]
    strange: Any = {"jwtgate_of_tomorrow": [[[], [1.0]]], "jwtgate_propagation_seconds": [[[], [1.0, 2.0]]]}
    assert numbers.readable(strange) == {"jwtgate_propagation_seconds": {}}


# --- the table


def test_names_are_those_of_the_field() -> None:
    """Prometheus: snake case, the unit last; OpenTelemetry: dotted. No two alike, and each with a sentence of help."""
    names = [metric.name for metric in TABLE]
    dotted = [metric.otel for metric in TABLE]
    assert len(set(names)) == len(set(dotted)) == len(TABLE)
    for metric in TABLE:
        assert metric.name.startswith("jwtgate_") and metric.otel.startswith("jwtgate.")
        assert metric.name.endswith("_seconds") == (metric.unit == "seconds")
        assert not metric.name.endswith("_total")
        assert metric.help.endswith(".")
        assert bool(metric.bounds) == (metric.kind == "histogram")
        assert list(metric.bounds) == sorted(metric.bounds)


@pytest.mark.parametrize("label", sorted({label for metric in TABLE for label in metric.labels}))
def test_labels_name_nobody(label: str) -> None:
    """Threat 29: reasons, kinds and operations, all from closed sets."""
    assert label in {"verdict", "reason", "operation", "kind", "target"}


def test_documentation_lists_them_all() -> None:
    """The package says what there is; the table is what there is."""
    assert metrics.__doc__ is not None
    lines = [line.strip() for line in metrics.__doc__.splitlines() if line.startswith("        ")]
    told = [
        f"{metric.name}{'_total' * (metric.kind == 'counter')}{'{' + ', '.join(metric.labels) + '}' if metric.labels else ''}"
        for kind in ("counter", "gauge", "histogram")
        for metric in TABLE
        if metric.kind == kind
    ]
    assert lines == told
