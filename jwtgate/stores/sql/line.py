"""One connection in use: statements by a step's deadline, and the transaction around them. Knows nothing of rulings."""

from __future__ import annotations

import contextlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from jwtgate.stores.sql.dialects import Dialect, Raw, Statement

__all__ = ["Line"]

FEW_ROWS = 8


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
            self.dialect.settle(self._raw, but=len(self.dialect.after))
            try:
                self.dialect.settle(self._raw)
            except Exception as error:  # whatever it is: of a connection in this state nobody knows what it does next
                self.close()
                raise StoreUnavailable("the connection to the store was lost after a COMMIT") from error
        if self.dialect.has_moved(self._raw):
            raise StoreUnavailable("the database was replaced under the write")

    def relax(self, *, is_relaxed: bool) -> None:
        """Whether commits on this connection may come before the disk."""
        if is_relaxed is not self._is_relaxed:
            text = self.dialect.relaxing(self._raw, is_relaxed=is_relaxed)
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
