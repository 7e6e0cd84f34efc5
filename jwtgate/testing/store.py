"""A store in memory that fails when it is told to, and that lists a worker that hears of nothing.

It is ``memory://`` itself, whose every method takes its one lock first: a lock that refuses is a store that does not answer.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from jwtgate.core.history import Worker
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jwtgate.core.history import Watch, Written
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import Guard, SessionChange
    from jwtgate.stores.contract import Weakness

__all__ = ["FailingStore", "StoreFaults", "Until"]


class FailingStore(MemoryStore):
    """A ``Store``."""

    def __init__(self, *, watch: Watch, wall: Callable[[], float], written: Callable[[], object]) -> None:
        """Args: written: called after each write, without the lock."""
        self.is_failing = False
        self._written = written
        super().__init__(watch=watch, wall=wall)

    def reset_after_fork(self) -> None:
        """As ever, with a lock of ours."""
        super().reset_after_fork()
        self._changed = _Refusing(self._check)

    def _check(self) -> None:
        if self.is_failing:
            raise StoreUnavailable("the test has the store fail")

    def write(
        self,
        changes: Sequence[Change],
        now: float,
        sessions: Sequence[SessionChange] = (),
        guard: Guard | None = None,
    ) -> Written | None:
        """As ever; the gate has heard of it when this returns."""
        written = super().write(changes, now, sessions, guard)
        self._written()
        return written

    def audit(self) -> tuple[Weakness, ...]:
        """For a test it is as it should be."""
        return ()


class _Refusing(threading.Condition):
    """A lock that asks before it is taken."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__(threading.RLock())
        self._check = check

    def __enter__(self) -> bool:
        self._check()
        return super().__enter__()


class Until:
    """What lasts; used as a context manager, until the end of the block."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._end()


class StoreFaults:
    """What a test does to the store of its gate."""

    def __init__(self, store: FailingStore, *, lapse: Callable[[], None], catch_up: Callable[[], None]) -> None:
        """Args: lapse: ends the gate's lease. catch_up: has it ask the store."""
        self._store = store
        self._lapse = lapse
        self._catch_up = catch_up
        self._lagging = 0

    def fail(self) -> Until:
        """From now on the store answers nothing, and has not for a lease: the gate knows that it does not know.

        Requests get what ``ON_STORE_DOWN`` says, 503 by default; whatever writes, ``revoke`` and a login too, raises
        ``StoreUnavailable``. Until ``recover()``, or to the end of the ``with`` block.
        """
        self._store.is_failing = True
        self._lapse()
        self._catch_up()
        return Until(self.recover)

    def recover(self) -> None:
        """The store answers again, has forgotten nothing, and the gate has heard of it."""
        self._store.is_failing = False
        self._catch_up()

    def lag(self, reach_seconds: float = 1.0) -> Until:
        """Another worker is registered that acknowledges nothing: receipts are not ``effective_everywhere``.

        They are once it has been silent for its whole reach: ``wait=True`` waits for that, on the frozen clock. To the end of
        the ``with`` block.

        Args: reach_seconds: for how long it may act on old knowledge; ``math.inf``: nothing can be promised, ever
            (``ON_STORE_DOWN=admit``), and ``effective_by`` is None.
        Raises: ValueError.
        """
        if isinstance(reach_seconds, bool) or not isinstance(reach_seconds, int | float) or not reach_seconds > 0:
            raise ValueError("lag: reach_seconds must be a number over 0")
        self._lagging += 1
        worker = Worker(f"lags-{self._lagging}", reach_seconds, -1, 0, is_healing=False)
        self._store.renew(worker, None, healed=False, settled=False)
        return Until(lambda: self._store.forget(worker))
