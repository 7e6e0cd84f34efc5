"""Connections: bounded, short of patience, and the one place where the errors of databases and their drivers become ours.

A connection that met any error is closed: no answer that was left unread reaches another question, and the server ends what
was begun. The free ones go with it: what cut one off has mostly cut them all, and each would hold another caller for a whole
timeout. Not so where the server itself said that something took too long: new connections would only add to its load.
Nothing is repeated once it was sent. Knows nothing of rulings.
"""

from __future__ import annotations

import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import QueuePool

from jwtgate.core.history import NotWritten, StoreBusy
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.sql.demand import Demand, fair_share
from jwtgate.stores.sql.dialects import MAX_LINES, REFUSALS, TIMEOUT_SECONDS
from jwtgate.stores.sql.line import Line
from jwtgate.stores.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sqlalchemy import Engine

    from jwtgate.stores.sql.dialects import Dialect, Raw

__all__ = ["Lines", "NotPrepared"]

T = TypeVar("T")


class NotPrepared(NotWritten):
    """What ``prepare`` had made was taken away."""


class Lines:
    """A bounded pool of connections, and those of their own that feeds have. Thread-safe."""

    def __init__(self, dialect: Dialect, prepare: Callable[[Line], None]) -> None:
        """Args: prepare: what a database is made ready with, at the first contact and after each failure."""
        self.dialect = dialect
        self._prepare = prepare
        self.given: int | None = None
        """By the server to all processes together; None: nobody told."""
        self._inherited: list[object] = []
        self._begin()

    def _begin(self) -> None:
        self._is_prepared = False
        self._step = threading.local()
        self._generation = 0
        self._demand = Demand()
        self._raws: weakref.WeakSet[Any] = weakref.WeakSet()
        self._own: set[Line] = set()
        self._turns = Turns(MAX_LINES)
        self._most = MAX_LINES
        self._engine = self._new_engine()

    def _new_engine(self) -> Engine:
        engine = create_engine(
            self.dialect.url,
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=MAX_LINES,
            max_overflow=0,
            pool_use_lifo=True,
            pool_reset_on_return=None,
            hide_parameters=True,
            enable_from_linting=False,  # on MySQL it does not see through a join of joins
            **self.dialect.options,
        )
        event.listen(engine, "checkout", self._check)
        return engine

    def _connect(self) -> Raw:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        raw = self.dialect.connect(min(deadline, getattr(self._step, "deadline", deadline)))
        self._raws.add(raw)
        self._is_prepared = False  # it may lead to another database than the one before
        return raw

    def _check(self, raw: Raw, _record: object, _proxy: object) -> None:
        if self.dialect.is_stale(raw):
            raise DisconnectionError

    def ask(self, step: Callable[[Line], T], *, seconds: float = TIMEOUT_SECONDS, is_prepared: bool = False) -> T:
        """Performs a step on a free connection. Raises: StoreUnavailable, for whatever went wrong.

        Args: is_prepared: the step needs nothing that ``prepare`` would make.
        """
        deadline = time.monotonic() + seconds
        with self._translated(), self._turn(), self._demand:
            engine, generation = self._engine, self._generation
            with self._translated(NotWritten):
                line = self._free(engine, deadline)
            try:
                answer = step(line) if is_prepared else self._perform(step, line)
            except BaseException as error:
                if is_prepared or not isinstance(error, StoreUnavailable):  # else it took everything back itself
                    line.close()
                raise
            finally:
                if engine is not self._engine or generation != self._generation:
                    line.close()
                line.connection.close()
            return answer

    @contextmanager
    def _turn(self) -> Generator[None]:
        """So that the engine's pool, which knows no turns, always has a connection left.

        Half the time at the most: a call with less than the other half left would soon take the server for one that does not
        answer, and close good connections.
        """
        if not (turns := self._turns).take(TIMEOUT_SECONDS / 2):
            raise StoreBusy(f"all {self._most} connections to the store are busy")
        try:
            yield
        finally:
            turns.give()

    def _free(self, engine: Engine, deadline: float) -> Line:
        """Where the server has none left for us, one of ours that others give back.

        Args: deadline: of a new connection too, should one have to be made.
        """
        self._step.deadline = deadline
        while True:
            returned = self._demand.returned
            try:
                return Line(engine.connect(), self.dialect, deadline)
            except DBAPIError as error:
                if not self._is_refused(error) or not self._demand.wait(returned, deadline):
                    raise

    def _is_refused(self, error: BaseException) -> bool:
        said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        return self.dialect.explain(said) in REFUSALS

    def _let_go(self) -> None:
        """Now and then, of connections that were not needed lately: others may have been refused one."""
        needed = self._demand.peak()
        if needed is not None and self._engine.pool.checkedin() > needed:  # type: ignore[attr-defined]
            self._dispose()

    def share(self, workers: int) -> None:
        """With so many workers, this process among them; at each renewal."""
        most = fair_share(self.given, workers)
        if most == self._most:
            return
        is_less, self._most = most < self._most, most
        self._turns.limit(most)
        if is_less:
            self._dispose()

    def _dispose(self) -> None:
        """Of all connections, those in use when they come back.

        In this order: what is taken out of the old pool until then is of the old generation, and is closed.
        """
        self._engine.dispose()
        self._generation += 1

    def _perform(self, step: Callable[[Line], T], line: Line) -> T:
        if self._is_prepared:
            try:
                return step(line)
            except NotPrepared:
                self._is_prepared = False
        with self._translated(NotWritten):
            try:
                self._prepare(line)
            except BaseException:  # in the middle of a transaction, perhaps
                line.close()
                raise
        self._is_prepared = True
        line.deadline += 0.8 * TIMEOUT_SECONDS  # more, since all was made ready first: together under two timeouts
        return step(line)

    def own(self) -> Line:
        """A connection outside of the pool, to be kept. Raises: StoreUnavailable.

        Where the server has none left, the next that a call gives back; new calls wait meanwhile, since without a follower each
        request is another one.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        with self._translated(), self._turn(), self._demand:
            try:
                line = Line(self._engine.connect(), self.dialect, deadline)
            except DBAPIError as error:
                if not self._is_refused(error):
                    raise
                self._turns.limit(0)
                try:
                    line = self._free(self._engine, deadline)
                finally:
                    self._turns.limit(self._most)
            line.connection.detach()
        self._own.add(line)
        return line

    def ask_own(self, step: Callable[[Line], T], line: Line, *, seconds: float = TIMEOUT_SECONDS) -> T:
        """Performs a step on such a connection. Raises: StoreUnavailable; then the caller must give it back."""
        line.deadline = time.monotonic() + seconds
        with self._translated():
            self._let_go()
            if line.is_stale():
                raise StoreUnavailable("the connection to the store was lost")
            return self._perform(step, line)

    def give_back(self, line: Line) -> None:
        """Closes it, unless it was inherited by a fork; never raises."""
        is_ours = line in self._own
        self._own.discard(line)
        line.close(is_detached=is_ours)

    @contextmanager
    def _translated(self, kind: type[StoreUnavailable] = StoreUnavailable) -> Generator[None]:
        """Args: kind: of what becomes of the errors of libraries, unless the server says what it did."""
        engine, generation = self._engine, self._generation
        try:
            yield
        except StoreUnavailable:
            raise
        except Exception as error:
            said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            if self.dialect.is_busy(said) or self._is_refused(said):
                raise self._unavailable(error, said, kind) from error
            self._is_prepared = False
            if generation == self._generation and engine is self._engine:
                self._dispose()
            raise self._unavailable(error, said, kind) from error

    def _unavailable(self, error: Exception, said: BaseException, kind: type[StoreUnavailable]) -> StoreUnavailable:
        """The first line of what the server said: more may quote rows."""
        link: BaseException | None = error
        while link is not None:
            link.args = tuple(self._without_secrets(part) for part in link.args)
            link = link.__cause__ or link.__context__
        explained = self.dialect.explain(said)
        if explained is not None:
            return NotWritten(self._without_secrets(f"JWTGATE_STORE: {explained}"))
        words = str(said).partition("\n")[0]
        kind = StoreBusy if self.dialect.is_busy(said) else kind
        return kind(self._without_secrets(f"the store (JWTGATE_STORE) failed: {type(said).__name__}: {words}"))

    def _without_secrets(self, part: Any) -> Any:
        for secret in self.dialect.secrets:
            part = part.replace(secret, "***") if isinstance(part, str) else part
        return part

    def close(self) -> None:
        """Closes the free connections now and those in use when they come back."""
        engine, self._engine = self._engine, self._new_engine()
        engine.dispose()

    def reset_after_fork(self) -> None:
        """In a forked child: everything anew. What was inherited is kept and never used, so that nothing tidies it up."""
        self._inherited += [self._engine, *self._own]
        for raw in list(self._raws):
            self._inherited.append(raw)
            self.dialect.abandon(raw)
        self._begin()
