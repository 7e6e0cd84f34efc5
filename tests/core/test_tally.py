"""The plain numbers: each counted once, few labels, and never told backwards."""

from __future__ import annotations

import pytest

from jwtgate.core.tally import MOST_REASONS, OTHER_REASON, PROPAGATION, STORE_CALL, Spans, Tally
from jwtgate.errors import JWTGateError


@pytest.mark.parametrize(("seconds", "place"), [(0.0, 0), (0.5, 0), (0.5000001, 1), (2.0, 1), (2.1, 2), (1e9, 2)])
def test_span_is_counted_under_the_first_bound_that_holds_it(seconds: float, place: int) -> None:
    """Upper bounds are inclusive, as Prometheus has them; what is longer is counted behind the last."""
    spans = Spans((0.5, 2.0))
    spans.count(seconds)
    assert spans.counts == [int(place == each) for each in range(3)]
    assert spans.sum == seconds


def test_reasons_stay_few_whatever_a_check_makes_of_them() -> None:
    """Labels are memory of whoever keeps the metrics: an error of the application's may carry what a client sent."""
    tally = Tally()
    for number in range(MOST_REASONS + 50):
        error = JWTGateError()
        error.reason = f"made-up-{number}"  # type: ignore[misc]
        tally.count(error)
    assert len(tally.refused) == MOST_REASONS + 1
    assert tally.refused[OTHER_REASON] == 50


def test_admitted_never_runs_back() -> None:
    """A hit that a plan found is subtracted a moment after it was counted."""
    tally = Tally()
    tally.hits, tally.planned_hits, tally.admitted = 5, 2, 1
    assert tally.all_admitted() == 4
    tally.planned_hits = 3
    assert tally.all_admitted() == 4
    tally.admitted = 3
    assert tally.all_admitted() == 5


def test_listeners_hear_every_span() -> None:
    """Also one that comes later: the list is kept, not copied."""
    heard: list[tuple[str, str, float]] = []
    listeners: list[object] = []
    tally = Tally(listeners)  # type: ignore[arg-type]
    tally.count_call("write", 1.0, has_failed=False)
    listeners.append(lambda *told: heard.append(told))
    tally.count_call("write", 0.5, has_failed=True)
    tally.count_wait(0.25, is_everywhere=True)
    tally.count_wait(9.0, is_everywhere=False)
    assert heard == [(STORE_CALL, "write", 0.5), (PROPAGATION, "", 0.25)]
    assert tally.store_failures == {"write": 1}
    assert (tally.unproven, sum(tally.propagation.counts)) == (1, 1)
