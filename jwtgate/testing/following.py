"""A follower without a thread, and what waits without sleeping: the plans are the real ones, a test's own calls perform them.

After each call that changes something (a write, time that passes, a store that is back) the plan is stepped to where it
would wait for the store. So a test never waits for a thread, and what it sees is the same each time.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

from jwtgate.core.effects import Effect, FeedEffect, Pause, Read
from jwtgate.core.followed import Followed
from jwtgate.runtime import blocking, nonblocking
from jwtgate.runtime.follower import Follower, Run
from jwtgate.testing.clock import FrozenClock

__all__ = ["SteppedFollower", "SteppedPerformer", "SteppedWaiter"]

MOST_STEPS = 10_000
"""In one go, for ten million rulings; a plan that needs more follows nothing, and requests ask the store."""


class SteppedFollower(Follower):
    """A ``Follower`` that follows when it is told to. Thread-safe."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._stepping = threading.RLock()

    def start(self) -> None:
        """Follows at once."""
        with self._stepping:
            self._runs = tuple(SteppedRun(self, store, Followed(self.view, index)) for index, store in enumerate(self.parts))
            self.catch_up()

    def stop(self) -> None:
        """W4, without a thread to wait for."""
        with self._stepping:
            runs = self._runs
            self.let_go()
            self.view.give_up()
            for run in runs:
                run.leave()

    def catch_up(self) -> None:
        """Until all that the store has is applied and the lease is whole; or until the store does not answer.

        Live connections whose deadline that moved clock has passed are looked at.
        """
        with self._stepping:
            for run in self._runs:
                if isinstance(run, SteppedRun):
                    run.catch_up()
        for live in self.view.live.due(self.clock.boot()):
            live.wake()

    def lapse(self) -> None:
        """The lease is over: the store has been silent for one. The grace begins (``ON_STORE_DOWN=cached``)."""
        now, view = self.clock.boot(), self.view
        with view.lock:
            for part in view.parts:
                part.lease_until = min(part.lease_until, now)
                part.grace_until = min(part.grace_until, now + view.grace_seconds)
            view.sum_up()


class SteppedRun(Run):
    """One life, in the threads of those who ask for a step."""

    def __init__(self, follower: SteppedFollower, store: Any, followed: Followed) -> None:
        super().__init__(follower, store, followed)
        self._steps = self.steps()
        self._is_of_now = self._has_read_all = False

    def catch_up(self) -> None:
        """See ``SteppedFollower``. The read that was waited with is of an earlier time, and grants a lease from then (F3)."""
        self._is_of_now = self._has_read_all = False
        for _ in range(MOST_STEPS):
            effect = next(self._steps, None)
            if effect is None or (isinstance(effect, Pause) and self.following.condition == "unreachable"):
                return
            if isinstance(effect, Read):
                if self._has_read_all:
                    return
                self._is_of_now = True

    def _perform(self, effect: FeedEffect) -> Any:
        """Waits for nothing."""
        if isinstance(effect, Pause):
            return None
        if isinstance(effect, Read):
            entries = super()._perform(replace(effect, block_seconds=0.0))
            self._has_read_all = self._is_of_now and not entries
            return entries
        return super()._perform(effect)


class SteppedPerformer(blocking.Performer):
    """What waits moves the clock instead."""

    def perform(self, effect: Effect) -> Any:
        """Answers one effect."""
        return _passed(self, effect) if isinstance(effect, Pause) else super().perform(effect)


class SteppedWaiter(nonblocking.Waiter):
    """The same, awaited."""

    async def perform(self, effect: Effect) -> Any:
        """Answers one effect; the loop has its turn."""
        if not isinstance(effect, Pause):
            return await super().perform(effect)
        await asyncio.sleep(0)
        return _passed(self.performer, effect)


def _passed(performer: blocking.Performer, pause: Pause) -> None:
    assert isinstance(performer.clock, FrozenClock), "the clock of a FixtureGate"
    performer.clock.advance(pause.seconds)
