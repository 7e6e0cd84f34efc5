"""Which connections are listed, and when one of which nobody can know is looked at again."""

from __future__ import annotations

import gc
import threading
from math import inf
from typing import Any

import pytest

from jwtgate.core.followed import Followed
from jwtgate.core.history import LogEnd
from jwtgate.core.live import MOST_UNDECIDED_SECONDS, LiveConnection, LiveConnections
from jwtgate.core.lru import Admitted
from jwtgate.core.view import View
from jwtgate.messages import Token

HANDLE, OTHER, KEY = b"handle", b"other", b"key"


def entry_of(*handles: bytes, deadline: float = inf) -> Admitted:
    token = Token({}, {}, None, None, None, None, frozenset(), None, "header")
    return Admitted(token, deadline, handles)


class Watched:
    """One connection, and how often it was woken."""

    def __init__(self, connections: LiveConnections, *handles: bytes) -> None:
        self.woken = 0
        self.live = LiveConnection(b"token", "header", entry_of(*handles), self.wake)
        connections.watch(self.live)

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def view() -> View:
    """Followed from a first snapshot on, and trusted by nobody yet."""
    view = View(
        threading.Lock(), lease_seconds=1.0, grace_seconds=0.0, admitted_limit=9, rulings_limit=9, wide_handles=frozenset({KEY})
    )
    Followed(view).load({}, "epoch", LogEnd(0, "", ""))
    return view


def test_one_of_which_nobody_can_know_is_asked_about_ever_more_seldom(view: View) -> None:
    """Else every grant, one every few milliseconds at times, would have all such connections look up a lost session."""
    followed, asked_at = Followed(view), []
    followed.grant(0.0)
    watched = Watched(view.live, HANDLE)
    view.live.leave_open(watched.live, 0.0, is_trusted=True)
    for quarter in range(2400):
        now = quarter / 4
        followed.grant(now)
        if watched.woken > len(asked_at):
            asked_at.append(now)
            view.live.leave_open(watched.live, now, is_trusted=True)
    gaps = [after - before for before, after in zip(asked_at, asked_at[1:], strict=False)]
    assert asked_at[0] == 1.0 and gaps == sorted(gaps) and gaps[-1] == pytest.approx(MOST_UNDECIDED_SECONDS, abs=0.25)


def test_one_that_was_decided_since_is_patient_no_longer(view: View) -> None:
    """What it waited for then says nothing of what it waits for now."""
    watched = Watched(view.live, HANDLE)
    view.live.leave_open(watched.live, 0.0, is_trusted=True)
    view.live.resume(50.0)
    assert watched.woken == 1
    assert view.live.vouch(watched.live, watched.live.entry, inf, watched.live.doubts)
    view.live.leave_open(watched.live, 100.0, is_trusted=True)
    view.live.resume(100.9)
    assert watched.woken == 1
    view.live.resume(101.0)
    assert watched.woken == 2


def test_one_that_waits_for_the_view_is_woken_as_soon_as_it_is_trusted(view: View) -> None:
    """Without any patience."""
    followed = Followed(view)
    followed.grant(0.0)
    watched = Watched(view.live, HANDLE)
    assert view.live.vouch(watched.live, watched.live.entry, inf, 0)
    view.live.leave_open(watched.live, 5.0, is_trusted=False)
    followed.grant(5.0)
    assert watched.woken == 1


def test_other_keys_wake_whoever_waits_for_some(view: View) -> None:
    """However long it had waited."""
    watched = Watched(view.live, HANDLE)
    view.live.leave_open(watched.live, 0.0, is_trusted=True)
    view.turn_to(view.wide_handles | {b"another key"})
    assert watched.woken == 1


def test_grant_after_a_lapse_wakes_whoever_has_slept_through_its_alarm(view: View) -> None:
    """The clock of a loop may stand still while the machine sleeps; without a lapse nobody is looked at."""
    followed, dead, living = Followed(view), Watched(view.live, HANDLE), Watched(view.live, OTHER)
    followed.grant(0.0)
    for watched, deadline in ((dead, 10.0), (living, 99.0)):
        watched.woken = 0
        assert view.live.vouch(watched.live, watched.live.entry, deadline, 0)
    followed.grant(0.5)
    assert (dead.woken, living.woken) == (0, 0)
    followed.grant(50.0)
    assert (dead.woken, living.woken) == (1, 0)


def test_one_that_ended_while_it_was_decided_about_is_not_listed_again(view: View) -> None:
    """Though the decision found handles under which it was not listed."""
    watched = Watched(view.live, HANDLE)
    view.live.unwatch(watched.live)
    assert view.live.vouch(watched.live, entry_of(HANDLE, OTHER), inf, 0)
    assert len(view.live) == 0 and not view.live._index and not watched.live.is_vouched


def test_collector_that_ends_one_under_the_lock_waits_for_nobody(view: View) -> None:
    """It comes in any thread at any time: one that waited for the view's lock would stop the process."""

    class Abandoned:
        """In a circle, so that only the collector frees it."""

        def __init__(self, live: LiveConnection) -> None:
            self.itself: Any = self
            self.live = live

        def __del__(self) -> None:
            view.live.unwatch(self.live)

    Abandoned(Watched(view.live, HANDLE).live)
    watched = Watched(view.live, HANDLE)
    with view.lock:
        gc.collect()
    view.live.doubt(HANDLE)
    assert watched.woken == 1
    view.live.resume(0.0)
    assert len(view.live) == 1 and list(view.live.under(HANDLE)) == [watched.live]
