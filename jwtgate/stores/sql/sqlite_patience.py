"""A connection to SQLite that asks again for the lock, by its deadline.

SQLite's own waiting sleeps longer and longer, up to a tenth of a second, and whoever asks first when the lock is free has it:
under a stream of writes some wait for a whole timeout while others come first again and again, in this process or in another.
Knows nothing of rulings.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from typing import Any

__all__ = ["PatientConnection"]

AGAIN_SECONDS = 0.003
"""At the most, after the lock was found taken: about as long as a write holds it."""

FIRST_PATIENCE_MS = 1
"""Of SQLite itself."""


class _Cursor(sqlite3.Cursor):
    """What found others writing has changed nothing, unless it was in a transaction; and who is in one has the lock."""

    def execute(self, *arguments: Any) -> _Cursor:
        """See sqlite3."""
        while True:
            try:
                return super().execute(*arguments)
            except sqlite3.OperationalError as error:
                connection: Any = self.connection
                is_over = time.monotonic() >= connection.deadline or connection.in_transaction
                if is_over or not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                    raise
            time.sleep(random.SystemRandom().uniform(0.0, AGAIN_SECONDS))


class PatientConnection(sqlite3.Connection):
    """Knows which file it has open, and whose it is.

    Attributes:
        deadline: until which it asks again, ``time.monotonic``; 0: not at all.
    """

    place = b""
    places: tuple[bytes, ...] = ()
    files: tuple[bytes, ...] = ()
    is_closed = False
    deadline = 0.0
    pid = 0

    def cursor(self, factory: Any = None) -> Any:  # noqa: ARG002
        """One that is patient."""
        return super().cursor(_Cursor)

    def be_patient(self) -> None:
        """From here on SQLite leaves the waiting to us."""
        self.execute(f"PRAGMA busy_timeout={FIRST_PATIENCE_MS}").close()

    def close(self) -> None:
        """Not in a forked child: SQLite forbids it."""
        if self.pid in (0, os.getpid()):
            self.is_closed = True
            super().close()
