"""A connection of psycopg whose every wait has a deadline, held on this side.

The server's timeouts are the server's: one that stands still, or a network that swallows, keeps none of them. psycopg leaves
all waiting to one method, which is replaced here; connecting is driven step by step, as libpq offers it.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["PatientConnection"]


class PatientConnection(psycopg.Connection[Any]):
    """Waits no longer than its deadline, whatever the network does."""

    deadline = 0.0
    pid = 0
    is_awake = False

    @classmethod
    def by(cls, conninfo: str, deadline: float) -> PatientConnection:
        """A new connection, by then or never: libpq's own timeout counts in whole seconds, from two."""
        made = cls(_drive(_connecting(conninfo), None, deadline))
        made.pid, made.deadline = os.getpid(), deadline
        return made

    def wait(self, gen: Generator[Any, Any, Any], *_: Any, **__: Any) -> Any:
        """Every answer of the server is waited for here."""
        try:
            return _drive(gen, lambda: self.pgconn.socket, self.deadline)
        except BaseException:
            if self.pgconn.transaction_status in (pq.TransactionStatus.ACTIVE, pq.TransactionStatus.UNKNOWN):
                self.pgconn.finish()  # its answer is still to come
            raise

    def close(self) -> None:
        """In a forked child the parent's stays open."""
        if self.pid == os.getpid():
            self.pgconn.finish()

    def __del__(self, *_: Any) -> None:
        """Without a warning: what is let go of is closed by libpq, in its own process."""


def _connecting(conninfo: str) -> Generator[Any, Any, pq.abc.PGconn]:
    """Yields what to wait for, as psycopg's own generators do: (socket, direction)."""
    pgconn = pq.PGconn.connect_start(conninfo.encode())
    directions: dict[int, waiting.Wait] = {pq.PollingStatus.READING: waiting.Wait.R, pq.PollingStatus.WRITING: waiting.Wait.W}
    try:
        while (status := pgconn.connect_poll()) != pq.PollingStatus.OK:
            if status not in directions or pgconn.status == pq.ConnStatus.BAD:
                raise psycopg.OperationalError(pgconn.get_error_message())
            yield pgconn.socket, directions[status]
    except BaseException:
        pgconn.finish()
        raise
    pgconn.nonblocking = 1
    return pgconn


def _drive(gen: Generator[Any, Any, Any], socket: Callable[[], int] | None, deadline: float) -> Any:
    """Runs one of psycopg's generators: waits for its socket as it says, by the deadline at the latest.

    Args: socket: where the generator yields only the direction.
    """
    try:
        wanted = next(gen)
        while True:
            place, direction = (socket(), wanted) if socket is not None else wanted
            ready = _ready(place, direction, deadline)
            if not ready:
                gen.close()
                raise psycopg.OperationalError("no answer in time")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


def _ready(place: int, direction: int, deadline: float) -> int:
    """Which of the wanted directions are open; 0: none in time."""
    poll = select.poll()
    reads, writes = direction & waiting.WAIT_R, direction & waiting.WAIT_W
    poll.register(place, (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0))
    events = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
    seen = events[0][1] if events else 0
    broken = select.POLLERR | select.POLLHUP | select.POLLNVAL
    can_read = waiting.READY_R if seen & (select.POLLIN | broken) else 0
    can_write = waiting.READY_W if seen & (select.POLLOUT | broken) else 0
    return direction & (can_read | can_write)
