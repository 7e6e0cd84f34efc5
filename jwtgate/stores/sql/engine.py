"""Connections: bounded, short of patience, and the one place where the errors of databases and their drivers become ours.

A connection that met any error is closed: no answer that was left unread reaches another question, and the server ends what
was begun. The free ones go with it: what cut one off has mostly cut them all, and each would hold another caller for a whole
timeout. Not so where the server itself said that something took too long: new connections would only add to its load.
Nothing is repeated once it was sent. Knows nothing of rulings.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import QueuePool

from jwtgate.core.history import StoreBusy
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.sql.dialects import MAX_LINES, TIMEOUT_SECONDS
from jwtgate.stores.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine

    from jwtgate.stores.sql.dialects import Dialect, Raw, Statement

__all__ = ["Line", "Lines", "NotPrepared"]

FEW_ROWS = 8

T = TypeVar("T")


class NotPrepared(StoreUnavailable):
    """What ``prepare`` had made was taken away. Nothing was written."""


class Line:
    """One connection in use, by one thread at a time."""

    __slots__ = ("__weakref__", "_is_relaxed", "_raw", "connection", "deadline", "dialect")

    def __init__(self, connection: Connection, dialect: Dialect, deadline: float) -> None:
        self.connection = connection
        self.dialect = dialect
        self.deadline = deadline
        self._raw: Raw = connection.connection.dbapi_connection
        self._is_relaxed = False

    def run(self, statement: Statement, parameters: Any = None) -> Any:
        """One statement, by the step's deadline."""
        self.dialect.bound(self._raw, self.deadline)
        return self.connection.execute(statement, parameters)

    def put(self, statement: Statement, parameters: Any = None) -> None:
        """The same where nobody needs the answer: in a transaction it may fail later, at the latest at its end."""
        self.dialect.bound(self._raw, self.deadline, is_asking=False)
        self.connection.execute(statement, parameters)

    def put_all(self, statement: Statement, rows: list[dict[str, Any]]) -> None:
        """One statement for each row; a driver takes a detour for many, so few are put one by one."""
        for some in [rows] if len(rows) > FEW_ROWS else rows:
            self.put(statement, some)

    def say(self, text: str, *, is_asking: bool = True) -> Any:
        """One statement as it stands. Args: is_asking: see ``put``."""
        self.dialect.bound(self._raw, self.deadline, is_asking=is_asking)
        return self.connection.exec_driver_sql(text)

    def together(self) -> AbstractContextManager[None]:
        """See ``Dialect``."""
        return self.dialect.together(self._raw)

    @contextmanager
    def transaction(self, begin: tuple[str, ...]) -> Generator[None]:
        """Commits at the end; takes everything back where the step itself gives up."""
        with self.together():
            for text in (*begin[:1], *self.dialect.limits(self._raw), *begin[1:]):
                self.say(text, is_asking=False)
            try:
                yield
            except StoreUnavailable:
                for text in ("ROLLBACK", *self.dialect.after):
                    self.say(text)
                raise
            self.dialect.settle(self._raw)
            for text in ("COMMIT", *self.dialect.after):
                self.say(text, is_asking=False)
        if self.dialect.has_moved(self._raw):
            raise StoreUnavailable("the database was replaced under the write")

    def relax(self, *, is_relaxed: bool) -> None:
        """Whether commits on this connection may come before the disk."""
        text = None if is_relaxed is self._is_relaxed else self.dialect.relaxing(self._raw, is_relaxed=is_relaxed)
        if text is not None:
            self.say(text)
        self._is_relaxed = is_relaxed

    def is_stale(self) -> bool:
        """Whether it leads nowhere any more."""
        return self.dialect.is_stale(self._raw)

    def listen(self, tables: Any) -> None:
        """See ``Dialect``."""
        self.dialect.bound(self._raw, self.deadline)
        self.dialect.listen(self._raw, tables)

    def wait(self, seconds: float) -> None:
        """See ``Dialect``."""
        self.dialect.wait(self._raw, seconds)

    def close(self, *, is_detached: bool = False) -> None:
        """Closes the connection itself; never raises.

        Args: is_detached: the pool, which would close it, knows it no more.
        """
        if is_detached:
            with contextlib.suppress(Exception):
                self._raw.close()
        with contextlib.suppress(Exception):
            self.connection.invalidate()
        with contextlib.suppress(Exception):
            self.connection.close()


class Lines:
    """A bounded pool of connections, and those of their own that feeds have. Thread-safe."""

    def __init__(self, dialect: Dialect, prepare: Callable[[Line], None]) -> None:
        """Args: prepare: what a database is made ready with, at the first contact and after each failure."""
        self.dialect = dialect
        self._prepare = prepare
        self._inherited: list[object] = []
        self._begin()

    def _begin(self) -> None:
        self._is_prepared = False
        self._step = threading.local()
        self._generation = 0
        self._raws: weakref.WeakSet[Any] = weakref.WeakSet()
        self._own: set[Line] = set()
        self._turns = Turns(MAX_LINES)
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
        with self._translated(), self._turn():
            engine, generation = self._engine, self._generation
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
        """So that the engine's pool, which knows no turns, always has a connection left."""
        if not (turns := self._turns).take(TIMEOUT_SECONDS):
            raise StoreBusy(f"all {MAX_LINES} connections to the store are busy")
        try:
            yield
        finally:
            turns.give()

    def _free(self, engine: Engine, deadline: float) -> Line:
        """Args: deadline: of a new connection too, should one have to be made."""
        self._step.deadline = deadline
        return Line(engine.connect(), self.dialect, deadline)

    def _perform(self, step: Callable[[Line], T], line: Line) -> T:
        if self._is_prepared:
            try:
                return step(line)
            except NotPrepared:
                self._is_prepared = False
        try:
            self._prepare(line)
        except BaseException:  # in the middle of a transaction, perhaps
            line.close()
            raise
        self._is_prepared = True
        line.deadline += 0.8 * TIMEOUT_SECONDS  # more, since all was made ready first: together under two timeouts
        return step(line)

    def own(self) -> Line:
        """A connection outside of the pool, to be kept. Raises: StoreUnavailable."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        with self._translated(), self._turn():
            line = self._free(self._engine, deadline)
            line.connection.detach()
        self._own.add(line)
        return line

    def ask_own(self, step: Callable[[Line], T], line: Line, *, seconds: float = TIMEOUT_SECONDS) -> T:
        """Performs a step on such a connection. Raises: StoreUnavailable; then the caller must give it back."""
        line.deadline = time.monotonic() + seconds
        with self._translated():
            if line.is_stale():
                raise StoreUnavailable("the connection to the store was lost")
            return self._perform(step, line)

    def give_back(self, line: Line) -> None:
        """Closes it, unless it was inherited by a fork; never raises."""
        is_ours = line in self._own
        self._own.discard(line)
        line.close(is_detached=is_ours)

    @contextmanager
    def _translated(self) -> Generator[None]:
        engine, generation = self._engine, self._generation
        try:
            yield
        except StoreUnavailable:
            raise
        except Exception as error:
            said = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            if self.dialect.is_busy(said):
                raise self._unavailable(error, said) from error
            self._is_prepared = False
            if generation == self._generation:
                self._generation += 1
                engine.dispose()
            raise self._unavailable(error, said) from error

    def _unavailable(self, error: Exception, said: BaseException) -> StoreUnavailable:
        """The first line of what the server said: more may quote rows."""
        link: BaseException | None = error
        while link is not None:
            link.args = tuple(self._without_secrets(part) for part in link.args)
            link = link.__cause__ or link.__context__
        explained = self.dialect.explain(said)
        if explained is not None:
            return StoreUnavailable(self._without_secrets(f"JWTGATE_STORE: {explained}"))
        words = str(said).partition("\n")[0]
        kind = StoreBusy if self.dialect.is_busy(said) else StoreUnavailable
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
