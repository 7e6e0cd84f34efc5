"""The measure of recovery, on histories made by hand."""

from __future__ import annotations

from math import inf

import pytest
from faults.recovery import lapsed, recovered_at
from processes.checker import Decision

LIVE = [{"at": at / 10, "live": True} for at in range(100, 140)]
"""Of one worker, from 10.0 to 13.9."""


def admitted(*starts: float) -> list[Decision]:
    """By that worker."""
    return [Decision(start, start + 0.001, "a", "admitted", "one") for start in starts]


def unavailable(*starts: float) -> list[Decision]:
    """Likewise."""
    return [Decision(start, start + 0.001, "a", "unavailable", "one") for start in starts]


STEADY = admitted(*(10 + number / 10 for number in range(40)))


def test_recovered_at_once_where_nothing_was_bad() -> None:
    """The first admission counts."""
    assert recovered_at(10.0, 14.0, STEADY, {"one": LIVE}) == pytest.approx(10.0)


def test_one_lucky_request_is_not_recovery() -> None:
    """A 503 half a second later begins the wait anew."""
    assert recovered_at(10.0, 14.0, [*STEADY, *unavailable(10.3, 10.7)], {"one": LIVE}) == pytest.approx(10.8)


def test_worker_that_is_not_live_has_not_recovered() -> None:
    """Though it admits, one round trip each."""
    said = [{**line, "live": line["at"] > 12.0} for line in LIVE]
    assert recovered_at(10.0, 14.0, STEADY, {"one": said}) == pytest.approx(12.1, abs=0.1)


def test_slowest_worker_decides() -> None:
    """And one that never admits again is never recovered."""
    assert recovered_at(10.0, 14.0, STEADY, {"one": LIVE, "two": LIVE}) == inf
    assert recovered_at(10.0, 14.0, [*STEADY, *unavailable(*(10 + number / 10 for number in range(40)))], {"one": LIVE}) == inf


def test_worker_that_has_ended_is_not_waited_for() -> None:
    """It was killed, or a forked child that had its time."""
    assert recovered_at(10.0, 14.0, STEADY, {"one": LIVE, "two": LIVE[:5]}) == pytest.approx(10.0)


def test_worker_without_a_lease_was_so_in_one_piece() -> None:
    """From the last that it said before to the first that it says afterwards; one that is so in the end is told, too."""
    said = [{**line, "live": not (10.5 < line["at"] < 12.0 or line["at"] > 13.7)} for line in LIVE]
    assert list(lapsed(said)) == [pytest.approx((10.5, 12.0)), pytest.approx((13.7, 13.9))]
