"""A clock that stands still until it is moved."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from jwtgate.testing import FrozenClock


def test_clock_stands_still_and_moves_both_clocks_together() -> None:
    """What expires and what lapses is moved by the same seconds, and whoever asked hears of it."""
    moves: list[int] = []
    clock = FrozenClock(lambda: moves.append(1))
    wall, boot = clock.wall(), clock.boot()
    assert (clock.wall(), clock.boot(), moves) == (wall, boot, [])
    assert wall == int(wall)
    clock.advance(0.5)
    clock.advance(60)
    assert (clock.wall() - wall, moves) == (60.5, [1, 1])
    assert clock.boot() - boot == pytest.approx(60.5)


@pytest.mark.parametrize("seconds", [-1, nan, inf, True, "60", None])
def test_time_does_not_go_back(seconds: Any) -> None:
    """Nor by what is no number of seconds."""
    clock = FrozenClock(lambda: None)
    before = clock.wall()
    with pytest.raises(ValueError, match="advance: seconds must be a number, 0 or more"):
        clock.advance(seconds)
    assert clock.wall() == before
