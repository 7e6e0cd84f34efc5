"""Performs a request's effects for an event loop: never blocks it, any number of loops, bounded under a hanging store.

Look-ups wait in one queue; a few threads each take all that are waiting and ask in one round trip. R2 holds because a
batch is taken before it is sent: nobody joins a look-up that is under way. A cancelled request merely leaves its answer
unread: it never owned the connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from inspect import iscoroutinefunction
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jwtgate.core.effects import Ask, AskClaims, AskSubject, Effect, Looked, LookUp, Mark, Pause, Plan, Write
from jwtgate.errors import JWTGateError, StoreUnavailable
from jwtgate.runtime.asking import ask_awaiting, ask_claims_awaiting, ask_subject_awaiting

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from jwtgate.runtime.blocking import Performer

__all__ = ["Waiter", "run"]

T = TypeVar("T")

Line = Literal["look-ups", "writes", "marks"]

THREADS = 4
THREADS_OF: dict[Line, int] = {"look-ups": THREADS, "writes": 16, "marks": 4}
"""A write may wait for replicas, a disk (``JWTGATE_DURABILITY``) or a journal; no look-up may wait behind it for a thread. A
mark is a write, too, of which anybody may send many: neither does anything else wait behind it. Few: look-ups need a
connection besides."""
BATCH = 64
"""Look-ups per round trip: some 500 fields of one HMGET, well under a millisecond of the store's time."""

Asked = tuple[LookUp, "asyncio.Future[Looked]", asyncio.AbstractEventLoop]


class Waiter:
    """One per gate. Its threads start with the first call and end with ``close``."""

    def __init__(self, performer: Performer) -> None:
        self.performer = performer
        self._asked: deque[Asked] = deque()
        self._pools: dict[Line, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()

    async def perform(self, effect: Effect) -> Any:
        """Answers one effect. Raises: ``StoreUnavailable``; what a check refuses with. ``CancelledError`` passes through."""
        if isinstance(effect, Pause):
            return await asyncio.sleep(effect.seconds)
        if isinstance(effect, Ask):
            return await ask_awaiting(effect)
        loop = asyncio.get_running_loop()
        if isinstance(effect, AskClaims | AskSubject):
            return await self._ask(effect)
        if not isinstance(effect, LookUp):
            perform = copy_context().run  # whoever is told of a write finds the request's own
            return await asyncio.wrap_future(self._submit(_line_of(effect), perform, self.performer.perform, effect))
        self.performer.health.check()
        future: asyncio.Future[Looked] = loop.create_future()
        self._asked.append((effect, future, loop))
        self._submit("look-ups", self._answer_waiting)
        return await future

    async def _ask(self, effect: AskClaims | AskSubject) -> Any:
        """A plain function gets a thread, none of ours: it may wait for a database."""
        if isinstance(effect, AskClaims) and iscoroutinefunction(effect.provider):
            return await ask_claims_awaiting(effect)
        if isinstance(effect, AskSubject) and iscoroutinefunction(effect.mapper):
            return await ask_subject_awaiting(effect)
        return await asyncio.to_thread(self.performer.perform, effect)

    def close(self) -> None:
        """Lets the threads end."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.shutdown(wait=False)

    def _submit(self, line: Line, work: Callable[..., Any], *arguments: object) -> Future[Any]:
        """Raises: StoreUnavailable: no thread can be had. It may be done all the same, by one of those that there are."""
        with self._lock:
            if line not in self._pools:
                self._pools[line] = ThreadPoolExecutor(THREADS_OF[line], thread_name_prefix="jwtgate-store")
            try:
                return self._pools[line].submit(work, *arguments)
            except RuntimeError as error:
                raise StoreUnavailable("no thread is left to ask the store with") from error

    def _answer_waiting(self) -> None:
        """Takes what waits, asks once, hands each its own part. One submit per look-up: often there is nothing left."""
        batch: list[Asked] = []
        with suppress(IndexError):
            while len(batch) < BATCH:
                batch.append(self._asked.popleft())
        batch = [asked for asked in batch if not asked[1].cancelled()]
        if not batch:
            return
        try:
            looked = self.performer.look_up(
                tuple(digest for asked, _, _ in batch for digest in asked.digests),
                tuple(sid for asked, _, _ in batch for sid in asked.sids),
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may be left waiting
            for _, future, loop in batch:
                _tell(loop, future, error)
            return
        rulings, sessions, homes = iter(looked.facts.rulings), iter(looked.facts.sessions), iter(looked.facts.homes)
        for asked, future, loop in batch:
            own = replace(
                looked.facts,
                rulings=tuple(islice(rulings, len(asked.digests))),
                sessions=tuple(islice(sessions, len(asked.sids))),
                homes=tuple(islice(homes, len(asked.sids))),
            )
            _tell(loop, future, replace(looked, facts=own))


def _line_of(effect: Effect) -> Line:
    return "writes" if isinstance(effect, Write) else "marks" if isinstance(effect, Mark) else "look-ups"


def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Looked], answer: Looked | Exception) -> None:
    """Sets the answer in the request's own loop; a loop that has closed meanwhile no longer wants it."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(_set, future, answer)


def _set(future: asyncio.Future[Looked], answer: Looked | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)


async def run(plan: Plan[T], waiter: Waiter, begun: Effect | None = None) -> T:
    """Drives a plan to its decision; a plan without effects never leaves the loop's thread.

    Args: begun: the effect at which the plan stands, if it has been begun.
    """
    try:
        effect = next(plan) if begun is None else begun
        while True:
            try:
                with waiter.performer.onlookers.around(effect):
                    answer = await waiter.perform(effect)
            except JWTGateError as error:
                effect = plan.throw(error)
            else:
                effect = plan.send(answer)
    except StopIteration as decided:
        return decided.value  # type: ignore[no-any-return]  # StopIteration carries the plan's T untyped
