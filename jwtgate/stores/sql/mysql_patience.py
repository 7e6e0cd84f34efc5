"""A connection of PyMySQL whose every wait has a deadline, held on this side.

Questions whose answers nobody needs at once go out ``together``, for the reason that ``patience`` gives. The protocol allows
it; the driver has no name for it.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, cast

import pymysql  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs] - it has no types
from pymysql.connections import MySQLResult  # type: ignore[import-untyped]
from pymysql.constants import COMMAND  # type: ignore[import-untyped]

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator

__all__ = ["PatientConnection"]

MOST_OWED = 100
"""Answers left unread at a time: were there too many, each side would wait for the other to read."""

_Untyped: Any = pymysql.Connection

_contexts: dict[str, Any] = {}
"""Of TLS, without any option of the URL; files that one names may be replaced while we run."""


class PatientConnection(_Untyped):  # type: ignore[misc]  # the driver has no types
    """Waits no longer than its deadline. Transactions are statements: nothing is sent that was not said.

    ``together`` answers that are not asked for are read before the next one that is.
    """

    pid = 0
    deadline = inf
    is_asking = True
    is_together = False
    owed = 0
    _unsent = b""

    def commit(self) -> None:
        """Sends nothing."""

    def rollback(self) -> None:
        """Sends nothing."""

    def _create_ssl_ctx(self, sslp: Any) -> Any:
        """Once where nothing is set: reading the authorities takes 25 ms, and all connections may be lost at once."""
        if sslp:
            return _Untyped._create_ssl_ctx(self, sslp)  # noqa: SLF001 - replaced here
        if "" not in _contexts:
            _contexts[""] = _Untyped._create_ssl_ctx(self, {})  # noqa: SLF001
        return _contexts[""]

    def close(self) -> None:
        """In a forked child the parent's stays open."""
        if self.pid in (0, os.getpid()):
            self._force_close()

    def limit(self) -> None:
        """The next wait ends by the deadline."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self._read_timeout = self._write_timeout = left

    def query(self, sql: Any, unbuffered: bool = False) -> Any:  # noqa: FBT001, FBT002 - as the driver calls it
        """Has its answer when it returns, unless that is not asked for."""
        if not self.is_together:
            return _Untyped.query(self, sql, unbuffered)
        if self.owed >= MOST_OWED:
            self.settle()
        self._execute_command(COMMAND.COM_QUERY, sql.encode(self.encoding, "surrogateescape") if isinstance(sql, str) else sql)
        self.owed += 1
        if self.is_asking:
            return self.settle()
        self._result = MySQLResult(self)
        self._result.affected_rows = 0
        return 0

    def _write_bytes(self, data: bytes) -> None:
        if self.is_together:
            self._unsent += data
        else:
            _Untyped._write_bytes(self, data)  # noqa: SLF001 - replaced here

    def settle(self, but: int = 0) -> Any:
        """Sends what is waiting in one piece, and reads the answers, but the last so many.

        The first that is a refusal is raised; the others are lost with the connection.
        """
        answer, unsent, self._unsent = 0, self._unsent, b""
        if unsent:
            _Untyped._write_bytes(self, unsent)  # noqa: SLF001 - replaced here
        while self.owed > but:
            self.owed -= 1
            self.limit()
            self._next_seq_id = 1
            answer = self._read_query_result()
        return answer

    @contextmanager
    def together(self) -> Generator[None]:
        """Unless all answers were read the connection is closed: the server takes back what was begun."""
        self.is_together = True
        try:
            yield
            self.settle()
        finally:
            self.is_together, self._unsent = False, b""
            if self.owed:
                self.owed = 0
                self.close()

    def socket(self) -> socket.socket | None:
        """None: closed."""
        return cast("socket.socket | None", self._sock)
