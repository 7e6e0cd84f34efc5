"""Whether a session that is absent has ended, or may have been lost (L3): refused for good, or until it is known."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from jwtgate.core.history import Epoch, Facts, LogEnd
from jwtgate.core.judgement import LostSession, session_seconds_left
from jwtgate.core.rulings import MAX_SKEW_SECONDS, Issued
from jwtgate.errors import Revoked

BIRTH = 1000.0
"""Of the history that holds the session, NumericDate."""

HERE, THERE = ("here", 7), ("there", 7)
"""Stamps: places in the history of partition 0, and in one before it."""


def history(name: str, *, is_restored: bool = False) -> Epoch:
    return Epoch(name, 1.0, 1.0, is_healed=True, is_settled=True, birth=BIRTH, is_restored=is_restored)


def refused_as(issued: Issued, *homes: Epoch, is_restored: bool = False) -> str:
    facts = Facts(history("here", is_restored=is_restored), LogEnd(9, "l9", "9"), (), (None,), homes=homes)
    case = SimpleNamespace(issued=lambda: issued, handles=())
    with pytest.raises((Revoked, LostSession)) as caught:
        session_seconds_left(case, facts)  # type: ignore[arg-type]
    return "lost" if isinstance(caught.value, LostSession) else "over"


@pytest.mark.parametrize(("stamp", "verdict"), [(HERE, "over"), (THERE, "lost"), (None, "over")])
def test_session_of_partition_0_is_lost_with_the_history_of_its_stamp(stamp: tuple[str, int] | None, verdict: str) -> None:
    """Without a stamp nothing says that it was ever there; no time is asked."""
    for at in (None, BIRTH - 1, BIRTH + 900):
        assert refused_as(Issued(stamp, at)) == verdict
        assert refused_as(Issued(stamp, at), history("here")) == verdict


@pytest.mark.parametrize("stamp", [HERE, THERE])
@pytest.mark.parametrize(
    ("at", "verdict"),
    [(None, "lost"), (BIRTH - 1, "lost"), (BIRTH + MAX_SKEW_SECONDS, "lost"), (BIRTH + MAX_SKEW_SECONDS + 1, "over")],
)
def test_session_of_another_partition_is_lost_if_older_than_its_history(
    stamp: tuple[str, int], at: float | None, verdict: str
) -> None:
    """Stamps are of partition 0 and say nothing of it; clocks may be apart by so much."""
    assert refused_as(Issued(stamp, at), history("elsewhere")) == verdict
    assert refused_as(Issued(None, at), history("elsewhere")) == "over"


def test_nothing_is_lost_where_a_journal_was_put_back() -> None:
    """All sessions that there were are there again."""
    assert refused_as(Issued(THERE, BIRTH - 1), is_restored=True) == "over"
    assert refused_as(Issued(THERE, BIRTH - 1), history("elsewhere", is_restored=True)) == "over"
    assert refused_as(Issued(THERE, BIRTH - 1), history("elsewhere"), is_restored=True) == "lost", "of partition 0 alone"
