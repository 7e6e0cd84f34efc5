"""The one background thread of a process: performs the follower's plan (``core.following``) on a feed of the store.

Started at first use, daemon, one per gate and process, whether the application is sync or async. Decides nothing. Where a
thread cannot run (R4) the view is never live and every request asks the store: right, only slower.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
from typing import TYPE_CHECKING, Any

from jwtgate.core.effects import (
    FeedEffect,
    Forget,
    Lose,
    NextPage,
    OpenPages,
    Pause,
    Read,
    Renew,
    Restore,
)
from jwtgate.core.following import Following
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from jwtgate.core.effects import Clock
    from jwtgate.core.view import View
    from jwtgate.runtime.health import Health
    from jwtgate.stores.contract import Feed, Store

__all__ = ["Follower"]

logger = logging.getLogger("jwtgate")

RESTART_SECONDS = 1.0


class Follower:
    """Owns the thread and its feed."""

    def __init__(self, store: Store, view: View, clock: Clock, health: Health, reach_seconds: float) -> None:
        self.store = store
        self.view = view
        self.clock = clock
        self.health = health
        self.reach_seconds = reach_seconds
        self.following: Following | None = None
        self._feed: Feed | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._said = ""
        self._is_audited = False

    @property
    def is_started(self) -> bool:
        """Whether a thread was started and not stopped."""
        return self._thread is not None

    @property
    def worker_name(self) -> str | None:
        """The name it is registered under."""
        return None if self.following is None else self.following.worker.name

    def start(self) -> None:
        """Starts the thread; where none can be had, does nothing (R4). The caller holds the gate's lock."""
        self._stopping = threading.Event()
        self._begin()
        thread = threading.Thread(target=self._run, args=(self._stopping,), name="jwtgate-follower", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            logger.warning("no thread for the follower (%s): every request will ask the store", error)
            return
        self._thread = thread

    def stop(self) -> None:
        """W4: gives up the lease, then deregisters. Waits for the read that is under way, at most 0.3 lease."""
        thread, self._thread = self._thread, None
        self.view.give_up()
        self._stopping.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(self.view.lease_seconds + 1.0)
        self.view.give_up()
        following, self.following = self.following, None
        if following is not None and thread is not None:
            try:
                self.store.forget(following.worker)
            except StoreUnavailable as error:
                logger.debug("not deregistered, receipts wait one reach for this process: %s", error)

    def _begin(self) -> None:
        self.following = Following(
            self.view,
            self.clock,
            name=secrets.token_urlsafe(9),
            reach_seconds=self.reach_seconds,
            draw=random.random,
        )

    def _run(self, stopping: threading.Event) -> None:
        """Runs until told to stop. A fault of our own fences and starts over: it must never end in trusting."""
        while not stopping.is_set():
            try:
                self._perform_all(stopping)
            except Exception:
                self.view.fence()
                logger.exception("the follower failed and starts over")
                self._close_feed()
                stopping.wait(RESTART_SECONDS)
                self._begin()
        self._close_feed()

    def _perform_all(self, stopping: threading.Event) -> None:
        following = self.following
        if following is None:
            return
        plan = following.follow()
        effect: FeedEffect = next(plan)
        while not stopping.is_set():
            self._say(following.condition)
            try:
                answer = self._perform(effect, stopping)
            except StoreUnavailable as error:
                self._close_feed()
                self.health.failed(error, by_follower=True)
                effect = plan.throw(error)
            else:
                if stopping.is_set():  # W4: an answer that came after the end may grant nothing
                    return
                effect = plan.send(answer)

    def _perform(self, effect: FeedEffect, stopping: threading.Event) -> Any:
        if isinstance(effect, Pause):
            stopping.wait(effect.seconds)
            return None
        if self._feed is None:
            self._feed = self.store.feed()
        feed = self._feed
        match effect:
            case Read(cursor, block_seconds, limit):
                return feed.read(cursor, block_seconds, limit)
            case Renew(worker, epoch, healed, settled):
                renewal = feed.renew(worker, epoch, healed=healed, settled=settled)
                self.health.answered(is_healed=renewal.epoch.is_healed, by_follower=True)
                self._audit_once()
                return renewal
            case OpenPages(size):
                return feed.pages(size)
            case NextPage(pages):
                return next(pages, None)
            case Restore(epoch, repairs):
                return feed.repair(epoch, repairs)
            case Lose(epoch):
                return feed.lose(epoch)
            case Forget(worker):
                return feed.forget(worker)

    def _audit_once(self) -> None:
        """Says at the first contact what about the store would break the promise (design §6)."""
        if self._is_audited:
            return
        try:
            weaknesses = self.store.audit()
        except StoreUnavailable as error:
            logger.debug("not audited yet: %s", error)
            return
        self._is_audited = True
        for weakness in weaknesses:
            logger.warning("unsafe store: %s", weakness)

    def _close_feed(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _say(self, condition: str) -> None:
        if condition == self._said:
            return
        self._said = condition
        level = logging.ERROR if "JWTGATE_LEASE" in condition else logging.DEBUG
        logger.log(level, "follower: %s", condition)
