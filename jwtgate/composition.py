"""What a gate is made of, and its life in one process: composed at the beginning, anew in each forked child, closed at exit.

The one place where settings, store, view, decision, follower and the rest meet. A forked child starts from nothing: its own
view, connections and follower. Nothing is decided here.
"""

from __future__ import annotations

import atexit
import logging
import math
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from jwtgate.auditing import audit_settings
from jwtgate.configuring import durability_of, offer_of, reach_of, rules_of
from jwtgate.core.checking import Checks
from jwtgate.core.gate import Decision
from jwtgate.core.history import Watch
from jwtgate.core.http.challenge import answer
from jwtgate.core.tally import Tally
from jwtgate.core.view import View
from jwtgate.errors import SettingsError
from jwtgate.plans import Plans
from jwtgate.runtime import blocking, nonblocking
from jwtgate.runtime.clock import SystemClock
from jwtgate.runtime.fetching import Fetcher
from jwtgate.runtime.follower import Follower
from jwtgate.runtime.forking import after_fork
from jwtgate.runtime.health import Health
from jwtgate.runtime.key_desk import KeyDesk
from jwtgate.runtime.onlookers import Onlookers
from jwtgate.runtime.rekeying import Rekeying
from jwtgate.runtime.waking import Lines
from jwtgate.settings import Settings
from jwtgate.stores import JournaledStore, PartitionedStore, open_journal, open_store
from jwtgate.stores.owing import OwingJournal
from jwtgate.stores.strict import insisted

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.effects import Clock, Provider, SubjectMapper
    from jwtgate.errors import JWTGateError
    from jwtgate.messages import Response
    from jwtgate.stores.contract import Store

__all__ = ["Composition"]

logger = logging.getLogger("jwtgate")


class Composition:
    """The parts of one gate, under the names by which shells and consoles reach them."""

    def __init__(self, settings: Settings) -> None:
        """Opens nothing and starts nothing yet. Raises: SettingsError: ``STRICT=1`` and the store is unsafe."""
        if not isinstance(settings, Settings):  # pyright: ignore[reportUnnecessaryIsInstance] - users' code is not typed
            raise SettingsError("Gate takes a Settings, for example Gate(Settings.from_env())")
        self.settings = settings
        self.clock = self._timed()
        self.reach_seconds = reach_of(settings)
        watch = Watch(settings.lease, self.reach_seconds)
        self.journal = None if settings.journal is None else open_journal(settings.journal, prefix=settings.prefix)
        self._owing = None if self.journal is None else OwingJournal(self.journal)
        self.parts = tuple(self._opened(watch, partition) for partition in range(settings.partitions))
        self.store: Store = self.parts[0] if len(self.parts) == 1 else PartitionedStore(self.parts)
        self._rules = rules_of(settings, self.clock)
        self._offer = offer_of(settings)
        self._provider: Provider | None = None
        self._mapper: SubjectMapper | None = None
        self.checks = Checks()
        self.onlookers = Onlookers()
        self._compose()
        for warning in settings.warnings:
            logger.warning("%s", warning)
        _gates.add(self)

    # What jwtgate.testing puts its own in place of: what moves time and talks to the store, and nothing that decides.

    _Follower: ClassVar[type[Follower]] = Follower
    _Performer: ClassVar[type[blocking.Performer]] = blocking.Performer
    _Waiter: ClassVar[type[nonblocking.Waiter]] = nonblocking.Waiter

    def _timed(self) -> Clock:
        return SystemClock()

    def _opened(self, watch: Watch, partition: int) -> Store:
        settings = self.settings
        store: Store = open_store(
            settings.store,
            prefix=settings.prefix,
            watch=watch,
            poll_seconds=settings.poll,
            durability=durability_of(settings),
            share=(partition, settings.partitions),
        )
        if self._owing is not None:
            store = JournaledStore(store, self._owing)
        return insisted(store) if settings.strict else store

    def _compose(self) -> None:
        """Everything that a forked child must have of its own."""
        settings = self.settings
        self._lock = threading.Lock()
        self._has_warned = False
        self.tally = Tally(self.onlookers.listeners)
        self.view = View(
            threading.Lock(),
            lease_seconds=settings.lease,
            grace_seconds=settings.grace if settings.on_store_down == "cached" else 0.0,
            admitted_limit=settings.cache_size,
            rulings_limit=settings.view_limit,
            wide_handles=frozenset(),  # the desk's
            session_seconds=settings.refresh_ttl,
            partitions=settings.partitions,
            tally=self.tally,
        )
        self.health = Health(self.clock, settings.lease)
        configured = {issuer: policy.keys for issuer, policy in settings.policies.items()}
        desk = KeyDesk(self._rules.policies, configured, self.view)
        self.fetcher = Fetcher(desk, self.clock)
        rekeying = Rekeying(settings.key_files, lambda: replace(settings).policies, desk, self.clock)
        self.follower = self._Follower(
            self.parts,
            self.view,
            self.clock,
            self.health,
            self.reach_seconds,
            journal=self.journal,
            rekeying=rekeying,
            chores=self.onlookers.chores,
        )
        self.performer = self._Performer(self.store, self.parts, self.clock, self.health, self.tally, self.onlookers)
        self.waiter = self._Waiter(self.performer)
        self.lines = Lines()
        self.decision = Decision(self._rules, self.view, self.clock, self.health.is_down, self.tally, self.checks)
        follower = self.follower
        self.plans = Plans(
            settings,
            self.decision,
            self.view,
            self.clock,
            self.reach_seconds,
            own_worker=follower.worker_name,
            provider=lambda: self._provider,
            subjects=lambda: self._mapper,
            freshen=self._freshener(rekeying),
        )
        # A gate that is dropped without close() takes its follower with it; at exit _close_all has done more.
        weakref.finalize(self, self.follower.let_go).atexit = False
        weakref.finalize(self, self.fetcher.let_go).atexit = False

    def _freshener(self, rekeying: Rekeying) -> Callable[[], None]:
        """Not bound to the gate, which may be dropped."""
        follower, fetcher, lock = self.follower, self.fetcher, self._lock

        def freshen() -> None:
            """Where nobody follows the store, nobody looks at the key files, and nothing has asked for keys."""
            if not follower.is_started:
                rekeying.look()
            if not fetcher.is_started and lock.acquire(blocking=False):
                try:
                    fetcher.start()
                finally:
                    lock.release()

        return freshen

    def start(self) -> None:
        """Starts follower and fetcher in this process if they are not at work; every decision that misses does.

        Waits for nobody: while another thread starts or stops them, this request asks the store.
        """
        if (self.follower.is_started and self.fetcher.is_started) or not self._lock.acquire(blocking=False):
            return
        try:
            if not self.fetcher.is_started:
                self.fetcher.start()
            if not self.follower.is_started:
                self._warn()
                self.follower.start()
        finally:
            self._lock.release()

    def _warn(self) -> None:
        """Says once in each process what about the settings is unsafe; the follower, what about the store is."""
        if self._has_warned:
            return
        self._has_warned = True
        for weakness in audit_settings(self.settings, {}):
            if weakness.severity == "problem":
                logger.warning("unsafe settings: %s", weakness)

    def answer(self, error: JWTGateError) -> Response:
        """The HTTP answer to a refusal, under this gate's realm."""
        return answer(
            error,
            realm=self.settings.realm,
            retry_after_seconds=math.ceil(self.settings.lease),
            resource_metadata=self.plans.resource_metadata,
            offer=self._offer,
            nonce=self._rules.possession.next_nonce if error.is_dpop else None,
        )

    def close(self) -> None:
        """Stops the follower and closes connections. May be called twice; the next use starts again."""
        with self._lock:
            self.fetcher.stop()
            self.follower.stop()
        self.waiter.close()
        self.store.close()

    def reset_after_fork(self) -> None:
        """In a forked child: starts from nothing; the parent's connections are left alone."""
        self.store.reset_after_fork()
        self._compose()


_gates: weakref.WeakSet[Composition] = weakref.WeakSet()


def _reset_all() -> None:
    for gate in list(_gates):
        gate.reset_after_fork()


def _close_all() -> None:
    for gate in list(_gates):
        gate.close()


after_fork(_reset_all)
atexit.register(_close_all)
