"""What a database must say about itself: everywhere else there is one SQL for all of them.

One small class each stands in ``sqlite``, ``postgresql`` and ``mysql``. Every connection they make is in the driver's
autocommit mode: transactions are begun and ended by statements, so that no driver adds a round trip of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import ColumnElement, Table, Update

    from jwtgate.stores.contract import Weakness
    from jwtgate.stores.sql.tables import Tables

__all__ = [
    "MAX_LINES",
    "NO_CONNECTION_LEFT",
    "REFUSALS",
    "TIMEOUT_SECONDS",
    "USED_UP",
    "Dialect",
    "Raw",
    "Row",
    "Statement",
]

TIMEOUT_SECONDS = 1.0
"""For a whole step: a free connection, connecting, each statement, waiting for the lock. Longer than a Redis is given: a commit
waits for a disk. Held on this side: a server that stands still cannot hold a caller."""

MAX_LINES = 8
"""Bound of the pool: eight processes with a follower each stay below the hundred connections that PostgreSQL gives."""

NO_CONNECTION_LEFT = f"the server has no connection left for this user; each process takes one, and up to {MAX_LINES} more"
"""By whatever limit: the server's, the database's, the role's."""

USED_UP = "the user has used up what it may have of the server, such as MAX_USER_CONNECTIONS"

REFUSALS = frozenset({NO_CONNECTION_LEFT, USED_UP})
"""Of new connections; those that there are lead on."""

Raw = Any
"""A connection of the driver."""

Row = Any
"""What a statement found: columns are attributes. SQLAlchemy 2.0 and 2.1 disagree about the type."""

Statement = Any
"""Of SQLAlchemy; the same is true of it."""


class Dialect(Protocol):
    """One kind of database."""

    @property
    def url(self) -> str:
        """For SQLAlchemy, without a host: connections are made here."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """Of SQLAlchemy's, what this kind takes beyond the common ones."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """The words that no message may carry."""
        ...

    @property
    def has_boot(self) -> bool:
        """Whether the table ``boot`` is made."""
        ...

    @property
    def after(self) -> tuple[str, ...]:
        """What is said after a transaction's end."""
        ...

    def begin(self, tables: Tables) -> tuple[str, ...]:
        """Begins a writing transaction and waits for the row of ``meta``, which it holds until its end."""
        ...

    def limits(self, raw: Raw) -> tuple[str, ...]:
        """What a transaction says first of all, where its connection cannot say it once."""
        ...

    def relaxing(self, raw: Raw, *, is_relaxed: bool) -> str | None:
        """From here on a commit need not wait for the disk, or must: for renewals, which a crash makes void anyway."""
        ...

    def server(self, tables: Tables) -> ColumnElement[bytes]:
        """H1: which server this is, and which life of it, as the epoch record remembers it."""
        ...

    def is_same(self, tables: Tables) -> ColumnElement[bool]:
        """H1: whether the record in ``meta`` is of this server, this life, this history."""
        ...

    def clock(self) -> ColumnElement[float]:
        """Now, NumericDate."""
        ...

    def mark(self) -> ColumnElement[bytes]:
        """What a writing transaction leaves in the row of ``meta``."""
        ...

    def insert_missing(self, table: Table) -> Statement:
        """An INSERT that does nothing where the key is there."""
        ...

    def announcing(self, update: Update, tables: Tables) -> Statement:
        """The last statement of a write, which wakes whoever waits for the log."""
        ...

    def guard_creation(self, tables: Tables) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Statements before and after the making of tables, so that one process makes them at a time.

        One of them that gives a row has the lock if it is 1, and is to be said again if not.
        """
        ...

    def prepare_epoch(self, tables: Tables) -> Statement:
        """With ``has_boot``: a statement to run, outside of any transaction, before a new epoch is opened."""
        ...

    def connect(self, deadline: float) -> Raw:
        """A new connection, by then or never."""
        ...

    def bound(self, raw: Raw, deadline: float, *, is_asking: bool = True) -> None:
        """Whatever is asked from here on ends by then (``time.monotonic``).

        Args: is_asking: whether the next answer must be here when the statement returns; see ``together``.
        """
        ...

    def together(self, raw: Raw) -> AbstractContextManager[None]:
        """Where the driver can: statements whose answers are not asked for are sent without waiting, and fail later."""
        ...

    def settle(self, raw: Raw, *, but: int = 0) -> None:
        """Before a COMMIT: sees to it that nothing is committed where a statement before it failed.

        Args: but: so many statements, the last ones, are answered later: a refusal of theirs is none of the COMMIT.
        """
        ...

    def is_busy(self, error: BaseException) -> bool:
        """Whether the server refused in good order what took too long, or what is written while it takes no writes.

        Other connections are as good as before, and look-ups may well be answered.
        """
        ...

    def is_stale(self, raw: Raw) -> bool:
        """Whether an idle connection leads nowhere any more."""
        ...

    def has_moved(self, raw: Raw) -> bool:
        """Whether what was just committed went to another place than the URL names now."""
        ...

    def listen(self, raw: Raw, tables: Tables) -> None:
        """Asks to be woken by the log, where that is possible."""
        ...

    def wait(self, raw: Raw, seconds: float) -> None:
        """Until woken, or until the time is up."""
        ...

    def abandon(self, raw: Raw) -> None:
        """In a forked child: lets go of the parent's connection without a word to the server."""
        ...

    def explain(self, error: BaseException) -> str | None:
        """A sentence, where the fault is in the settings."""
        ...

    def audit(self, ask: Callable[[str], list[tuple[Any, ...]] | None], tables: Iterable[str]) -> Iterator[Weakness]:
        """What would break the promise. Args: tables: names of those that a crash must leave whole."""
        ...

    def most_lines(self, ask: Callable[[str], list[tuple[Any, ...]] | None]) -> int | None:
        """How many connections all processes together may have, where the server tells that."""
        ...
