"""The gate that stands in for an application's own while a test runs.

Invariant: what decides, issues and revokes is ``Gate`` itself; only its clock, its store and whatever waits are the test's.
Each is new: nothing of one test is there in the next.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar
from unittest.mock import patch

from jwtgate import gate as production
from jwtgate.gate import Gate
from jwtgate.settings import Settings
from jwtgate.testing.clock import FrozenClock
from jwtgate.testing.following import SteppedFollower, SteppedPerformer, SteppedWaiter
from jwtgate.testing.store import FailingStore, StoreFaults

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from jwtgate.core.effects import Clock
    from jwtgate.core.history import Watch
    from jwtgate.runtime import blocking, nonblocking
    from jwtgate.runtime.follower import Follower
    from jwtgate.stores.contract import Store

__all__ = ["FixtureGate", "gate", "settings_of"]

SECRET = "jwtgate.testing signs with this, and nothing else may"  # noqa: S105 - known to everybody, and meant to be
KEYS = ("secret", "private_key", "private_keys", "public_key", "jwks_file", "jwks_url", "issuers")


class FixtureGate(Gate):
    """A ``Gate`` that is live at once, on a store of its own in memory and a clock that stands still.

    Attributes:
        clock: moves when it is told to.
        faults: has the store fail.
    """

    _Follower: ClassVar[type[Follower]] = SteppedFollower
    _Performer: ClassVar[type[blocking.Performer]] = SteppedPerformer
    _Waiter: ClassVar[type[nonblocking.Waiter]] = SteppedWaiter

    clock: FrozenClock
    follower: SteppedFollower

    def __init__(self, settings: Settings) -> None:
        """Args: settings: whatever store they name, it is another one that is used."""
        super().__init__(replace(settings, store="memory://", journal=None, partitions=1, durability="0", strict=False))
        store = self.store
        assert isinstance(store, FailingStore), "opened below"
        self.faults = StoreFaults(store, lapse=self._lapse, catch_up=self._catcher())
        self.start()

    def _timed(self) -> Clock:
        return FrozenClock(self._catcher())

    def _opened(self, watch: Watch, partition: int) -> Store:  # noqa: ARG002 - there is but one
        return FailingStore(watch=watch, wall=self.clock.wall, written=self._catcher())

    def _warn(self) -> None:
        """Nothing: what would be unsafe outside is what a test asked for."""

    def _lapse(self) -> None:
        self.follower.lapse()

    def _catcher(self) -> Callable[[], None]:
        """Not bound to the gate: its finalizers hold the follower, which holds the clock and the store."""
        own = weakref.ref(self)

        def catch_up() -> None:
            fixture = own()
            if fixture is not None:
                fixture.follower.catch_up()

        return catch_up

    def token_for(
        self,
        sub: str,
        *,
        scopes: str | Iterable[str] | None = None,
        claims: Mapping[str, Any] | None = None,
        ttl: float | None = None,
    ) -> str:
        """An access token, as the gate issues it: under ``VALIDITY=allowlist`` that of a session, else of none.

        Args:
            sub: the subject.
            scopes: space-separated or a sequence.
            claims: more claims.
            ttl: seconds; ``ACCESS_TTL`` by default.

        Raises: ValueError: also a ``ttl`` for the token of a session, whose life is ``ACCESS_TTL``. SettingsError: no key to
            sign with. SubjectSuspended. StoreUnavailable: issue what the test needs before the store fails.
        """
        if self.settings.validity == "denylist":
            return self.issue(sub, claims=claims, scope=scopes, ttl=ttl)
        if ttl is not None:
            raise ValueError("under validity='allowlist' a token is of a session: set access_ttl instead of ttl")
        return self.sessions.start(sub, claims=claims, scope=scopes).access_token

    def bearer(
        self,
        sub: str | None = None,
        *,
        token: str | None = None,
        scopes: str | Iterable[str] | None = None,
        claims: Mapping[str, Any] | None = None,
        ttl: float | None = None,
    ) -> dict[str, str]:
        """Headers of a request that shows a token: a new one for ``sub`` (see ``token_for``), or this one.

        Raises: TypeError: not exactly one of ``sub`` and ``token``.
        """
        if (sub is None) is (token is None):
            raise TypeError("bearer: give either a subject or token=")
        if sub is not None:
            token = self.token_for(sub, scopes=scopes, claims=claims, ttl=ttl)
        return {"Authorization": f"Bearer {token}"}

    def take_over(self, other: Gate) -> ExitStack:
        """Is what ``other`` is, for whoever holds that one, until the stack is closed.

        An application that was built from the environment before the test began, as modules are when they are imported, has
        its gate already. What it gave that one to be asked (checks, claims, subjects, audit) is asked by this one.
        """
        if not isinstance(other, FixtureGate):  # those of an earlier test are over
            for check in other.checks.before:
                self.check(check, before=True)
            for check in other.checks.after:
                self.check(check)
            self._provider = self._provider or other._provider  # noqa: SLF001 - one Gate to another
            self._mapper = self._mapper or other._mapper  # noqa: SLF001
            self.onlookers.auditors += other.onlookers.auditors
        own, stack = other.__dict__, ExitStack()
        stack.callback(setattr, other, "__dict__", own)
        other.__dict__ = self.__dict__
        return stack


_standing: weakref.WeakSet[FixtureGate] = weakref.WeakSet()
_taken: weakref.WeakSet[FixtureGate] = weakref.WeakSet()
"""Those of tests that run, and those that ever stood in for the environment's: a module imported then may hold one."""


@contextmanager
def gate(settings: Settings | Mapping[str, Any] | None = None, /, **more: Any) -> Generator[FixtureGate]:
    """A gate for one test: ``with jwtgate.testing.gate(endpoints="/auth") as gate: …``; for pytest there are fixtures.

    To be given to the middleware; and until the block ends ``Gate.from_env()`` gives it, and an application that was built
    from the environment uses it. Closed at the end. One that was built before keeps the paths and places that it was built
    with (``ENDPOINTS``, ``EXEMPT``, ``LOCATIONS``): a test that sets others builds its own. Keys named by a URL are fetched.

    Args:
        settings: rows of the settings' table, or ``Settings``. The environment is not read. Without a key a secret is set.
        more: rows that go before those.

    Raises: SettingsError.
    """
    fixture = FixtureGate(settings_of(settings, more))
    with ExitStack() as stack:
        stack.callback(fixture.close)
        from_environment = production._environment_gates  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - of ours alone
        for other in [*from_environment.values(), *(_taken - _standing)]:
            stack.enter_context(fixture.take_over(other))
        _standing.add(fixture)
        stack.callback(_standing.discard, fixture)
        _taken.add(fixture)
        stack.enter_context(patch.object(Gate, "from_env", staticmethod(lambda: fixture)))
        yield fixture


def settings_of(settings: Settings | Mapping[str, Any] | None, more: Mapping[str, Any]) -> Settings:
    """See ``gate``."""
    if isinstance(settings, Settings):
        return replace(settings, **more)
    rows = {**(settings or {}), **more}
    return Settings(**rows) if any(key in rows for key in KEYS) else Settings(secret=SECRET, **rows)
