"""The background thread of a process: performs the follower's plan (``core.following``) on a feed of the store.

Started at first use, daemon, one per gate and process and partition of the store, whether the application is sync or async.
Decides nothing. Where a thread cannot run (R4) the view is never live and every request asks the store: right, only slower.
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
    OpenJournal,
    OpenPages,
    Pause,
    Read,
    Renew,
    Restore,
    RestoreSessions,
    Saw,
)
from jwtgate.core.followed import Followed
from jwtgate.core.following import Following
from jwtgate.core.history import JournalUnavailable
from jwtgate.errors import StoreUnavailable
from jwtgate.runtime.forking import is_without_threads
from jwtgate.stores.contract import Restorable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jwtgate.core.effects import Clock
    from jwtgate.core.view import View
    from jwtgate.runtime.health import Health
    from jwtgate.runtime.onlookers import Chore
    from jwtgate.runtime.rekeying import Rekeying
    from jwtgate.stores.contract import Feed, Journal, Store, Weakness

__all__ = ["Follower", "Run"]

logger = logging.getLogger("jwtgate")

RESTART_SECONDS = 1.0

WITHOUT_THREADS = (
    "uWSGI runs without --enable-threads, so nobody follows the store between two requests: requests ask it one by one, and "
    "every receipt waits a lease for this process. Remedy: uwsgi --enable-threads"
)

SEEN_AT_LAST = 5000
"""Sessions told of in one step before the process ends."""


class Follower:
    """Starts and stops the threads. The caller sees to it that nobody starts while another stops."""

    def __init__(  # noqa: PLR0913 - what its threads work with
        self,
        parts: tuple[Store, ...],
        view: View,
        clock: Clock,
        health: Health,
        reach_seconds: float,
        *,
        journal: Journal | None = None,
        rekeying: Rekeying | None = None,
        chores: Sequence[Chore] = (),
    ) -> None:
        """Args: parts: the partitions of the store, as many as the view has. journal: what is put back after lost history;
        the feeds of the store are ``Restorable`` then. rekeying: looks after the keys, too. chores: see ``Onlookers``.
        """
        self.parts = parts
        self.journal = journal
        self.view = view
        self.clock = clock
        self.health = health
        self.reach_seconds = reach_seconds
        self.rekeying = rekeying
        self.chores = chores
        self.told: set[Weakness] = set()
        self._runs: tuple[Run, ...] = ()

    @property
    def is_started(self) -> bool:
        """Whether threads were started and not stopped."""
        return bool(self._runs)

    def worker_name(self, partition: int = 0) -> str | None:
        """The name under which it is registered in a partition."""
        runs = self._runs
        return runs[partition].following.worker.name if runs else None

    def start(self) -> None:
        """Starts the threads; where none can be had, does nothing (R4)."""
        runs = tuple(Run(self, store, Followed(self.view, index)) for index, store in enumerate(self.parts))
        try:
            for run in runs:
                run.thread.start()
        except RuntimeError as error:
            logger.warning("no thread for the follower (%s): every request will ask the store", error)
            for run in runs:
                run.stopping.set()
            self.view.give_up()  # W4: those that did start deregister
            return
        self._runs = runs
        if is_without_threads():
            logger.warning(WITHOUT_THREADS)

    def stop(self) -> None:
        """W4: gives up the lease; each thread deregisters. Waits for the reads that are under way, at most 0.3 lease."""
        runs = self._runs
        self.let_go()
        for run in runs:
            run.stopping.set()
        self.view.give_up()
        for run in runs:
            if run.thread is not threading.current_thread():
                run.thread.join(self.view.lease_seconds + 1.0)

    def let_go(self) -> None:
        """The threads end by themselves soon. Takes no lock: the collector may call it in any thread, wherever that is."""
        runs, self._runs = self._runs, ()
        for run in runs:
            run.is_let_go = True


class Run:
    """One life of a thread, with a feed of its own."""

    def __init__(self, follower: Follower, store: Store, followed: Followed) -> None:
        self.store = store
        self.journal = follower.journal
        self.followed = followed
        self.clock = follower.clock
        self.health = follower.health
        self.reach_seconds = follower.reach_seconds
        self.rekeying = follower.rekeying if followed.index == 0 else None
        self.chores = follower.chores if followed.index == 0 else ()
        self.told = follower.told
        self.following = self._planned()
        self.stopping = threading.Event()
        self.is_let_go = False
        self.thread = threading.Thread(target=self._live, name="jwtgate-follower", daemon=True)
        self._feed: Feed | None = None
        self._said = ""
        self._is_audited = False

    @property
    def is_over(self) -> bool:
        """Whether it is to end."""
        return self.is_let_go or self.stopping.is_set()

    def _planned(self) -> Following:
        name = secrets.token_urlsafe(9)
        return Following(
            self.followed,
            self.clock,
            name=name,
            reach_seconds=self.reach_seconds,
            draw=random.SystemRandom().random,  # an application may seed the other one
            has_journal=self.journal is not None,
        )

    def _live(self) -> None:
        """Until told to stop. A fault of our own fences and starts over: it must never end in trusting."""
        while not self.is_over:
            try:
                self._perform_all()
            except Exception:
                self.followed.fence()
                self.followed.view.tally.count_fence("fault")
                logger.exception("the follower failed and starts over")
                self._close_feed()
                self.stopping.wait(RESTART_SECONDS)
                self.following = self._planned()
        self.leave()

    def leave(self) -> None:
        """Deregisters, and tells what sessions were seen."""
        try:
            if self._feed is not None:
                self._feed.saw(self.followed.view.seen.take(SEEN_AT_LAST, self.followed.keeps))
                self._feed.forget(self.following.worker)
        except StoreUnavailable as error:
            logger.debug("not deregistered, receipts wait one reach for this process: %s", error)
        self._close_feed()
        for chore in self.chores:
            chore.leave()

    def _perform_all(self) -> None:
        for _ in self.steps():
            if self.is_over:
                return

    def steps(self) -> Iterator[FeedEffect]:
        """Each performs one effect of the plan, and tells the one that comes next."""
        plan = self.following.follow()
        effect: FeedEffect = next(plan)
        while True:
            self._say(self.following.condition)
            if self.rekeying is not None:
                self.rekeying.look()
            for chore in self.chores:
                chore.look()
            try:
                answer = self._perform(effect)
            except JournalUnavailable as error:  # the feed is as good as before
                effect = plan.throw(error)
            except StoreUnavailable as error:
                self._close_feed()
                self.health.failed(error, of_follower=self.followed.index)
                effect = plan.throw(error)
            else:
                if self.is_over:  # W4: an answer that came after the end may grant nothing
                    return
                effect = plan.send(answer)
            yield effect

    def _perform(self, effect: FeedEffect) -> Any:  # noqa: C901, PLR0911, PLR0912 - a dispatcher, one case an effect
        if isinstance(effect, Pause):
            self.stopping.wait(effect.seconds)
            return None
        if self._feed is None:
            self._feed = self.store.feed()
        feed = self._feed
        match effect:
            case Read(cursor, block_seconds, limit):
                entries = feed.read(cursor, block_seconds, limit)
                self.health.answered(is_healed=True, of_follower=self.followed.index)
                return entries
            case Renew(worker, epoch, healed, settled):
                renewal = feed.renew(worker, epoch, healed=healed, settled=settled)
                if not renewal.epoch.is_healed:
                    self.health.answered(is_healed=False, of_follower=self.followed.index)
                self._audit_once()
                return renewal
            case OpenPages(size):
                return feed.pages(size)
            case OpenJournal(of_sessions, size):
                journal = self.journal
                assert journal is not None, "asked for by nobody who has none"
                return journal.session_pages(size) if of_sessions else journal.pages(size)
            case NextPage(pages):
                return next(pages, None)
            case Restore(epoch, repairs):
                return feed.repair(epoch, repairs)
            case RestoreSessions(epoch, sessions, is_last):
                assert isinstance(feed, Restorable), "JWTGATE_JOURNAL is for stores that can take sessions back"
                return feed.restore_sessions(epoch, sessions, is_last=is_last)
            case Lose(epoch):
                return feed.lose(epoch)
            case Forget(worker):
                return feed.forget(worker)
            case Saw(sids):
                return feed.saw(sids)

    def _audit_once(self) -> None:
        """Says at the first contact what about the store would break the promise. Nothing hinges on it."""
        if self._is_audited:
            return
        try:
            weaknesses = self.store.audit()
        except StoreUnavailable as error:
            logger.debug("not audited yet: %s", error)
            return
        except Exception:
            logger.warning("the store could not be examined", exc_info=True)
            weaknesses = ()
        self._is_audited = True
        for weakness in weaknesses:
            if weakness in self.told:  # partitions of one server are weak alike
                continue
            self.told.add(weakness)
            if weakness.severity == "problem":
                logger.warning("unsafe store: %s", weakness)
            else:
                logger.info("advice on the store: %s", weakness)

    def _close_feed(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()

    def _say(self, condition: str) -> None:
        if condition == self._said:
            return
        self._said = condition
        level = logging.ERROR if "JWTGATE_" in condition else logging.DEBUG
        logger.log(level, "follower: %s", condition)
