"""``JWTGATE_STRICT=1``: nothing is ever asked of a store that is not known to be safe.

A store that answers at start is judged there. One that does not answer yet is no reason not to start, since it is down
as it may be at any time: requests get 503 until it is there, and then until it has been judged and, if it must be, mended.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from jwtgate.core.history import NotWritten
from jwtgate.core.sessions.stored import MOST_LISTED
from jwtgate.errors import SettingsError, StoreUnavailable
from jwtgate.stores.contract import UNANSWERED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jwtgate.core.history import Epoch, Facts, LogEnd, Marked, MarkPage, Worker, Written
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import Guard, SessionChange
    from jwtgate.stores.contract import Feed, Store, Weakness

__all__ = ["StrictStore", "insisted"]

logger = logging.getLogger("jwtgate")

AGAIN_SECONDS = 1.0
"""Between two audits of a store that was found unsafe, or did not answer."""


def insisted(store: Store) -> Store:
    """The store itself if it is safe. Raises: SettingsError: with each problem of one that is not."""
    try:
        problems = _problems(store)
    except StoreUnavailable as error:
        logger.warning("JWTGATE_STRICT: requests get 503 until the store answers and is found safe: %s", error)
        return StrictStore(store)
    if problems:
        store.close()
        raise SettingsError(*(f"JWTGATE_STORE: {each} (JWTGATE_STRICT=1 refuses it.)" for each in problems))
    return store


def _problems(store: Store) -> list[Weakness]:
    """Raises: StoreUnavailable: none was found, but not all was asked: an outage is no way around STRICT."""
    found = store.audit()
    problems = [weakness for weakness in found if weakness.severity == "problem"]
    if not problems and any(weakness.about == UNANSWERED for weakness in found):
        raise StoreUnavailable("JWTGATE_STRICT: the store did not answer all of the audit")
    return problems


class StrictStore:
    """A ``Store`` that fails until the one inside was audited and no problem was found."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._is_safe = False
        self._said: list[Weakness] = []
        self._again_at = 0.0
        self._lock = threading.Lock()

    def _safe(self) -> Store:
        """The store inside. Raises: NotWritten, at once while another thread is at the audit."""
        if not self._is_safe:
            if not self._lock.acquire(blocking=False):
                raise NotWritten("JWTGATE_STRICT: the store is being audited")
            try:
                self._audit()
            finally:
                self._lock.release()
        return self._store

    def _audit(self) -> None:
        if self._is_safe:
            return
        if time.monotonic() < self._again_at:
            raise NotWritten("JWTGATE_STRICT: the store has not been found safe yet")
        self._again_at = time.monotonic() + AGAIN_SECONDS
        try:
            problems = _problems(self._store)
        except StoreUnavailable as error:
            raise NotWritten(str(error)) from error
        if problems != self._said:
            self._said = problems
            for problem in problems:
                logger.error("JWTGATE_STRICT: requests get 503: %s", problem)
        if problems:
            raise NotWritten("JWTGATE_STRICT: the store is unsafe")
        self._is_safe = True

    def look_up(self, digests: Sequence[bytes], sids: Sequence[str] = ()) -> Facts:
        """See ``Store``, as for all below."""
        return self._safe().look_up(digests, sids)

    def sessions_of(self, user: bytes, offset: int = 0, limit: int = MOST_LISTED) -> Facts:
        """Once it is safe."""
        return self._safe().sessions_of(user, offset, limit)

    def write(
        self,
        changes: Sequence[Change],
        now: float,
        sessions: Sequence[SessionChange] = (),
        guard: Guard | None = None,
    ) -> Written | None:
        """Once it is safe."""
        return self._safe().write(changes, now, sessions, guard)

    def mark(self, group: str, name: bytes, value: bytes, until: float, now: float) -> Marked:
        """Once it is safe."""
        return self._safe().mark(group, name, value, until, now)

    def marks(self, group: str, after: str | None, limit: int) -> MarkPage:
        """Once it is safe."""
        return self._safe().marks(group, after, limit)

    def workers(self) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
        """Once it is safe."""
        return self._safe().workers()

    def feed(self) -> Feed:
        """Once it is safe: a follower tries again and again, and so the audit is."""
        return self._safe().feed()

    def forget(self, worker: Worker) -> None:
        """Always: it grants nothing."""
        self._store.forget(worker)

    def audit(self) -> tuple[Weakness, ...]:
        """Always."""
        return self._store.audit()

    def reset_after_fork(self) -> None:
        """The parent's lock may be held by a thread that is not here."""
        self._lock = threading.Lock()
        self._store.reset_after_fork()

    def close(self) -> None:
        """Always."""
        self._store.close()
