"""A connection of psycopg whose every wait has a deadline, held on this side.

The server's timeouts are the server's: one that stands still, or a network that swallows, keeps none of them. psycopg leaves
all waiting to one method, which is replaced here; connecting is driven step by step, as libpq offers it.

Questions whose answers nobody needs at once go out ``together``: on a busy machine each round trip is two turns in the queue
for a processor, and whoever holds a lock meanwhile keeps all others waiting for it.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import contextmanager
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
    is_pooled = False
    """Whether the server's session may be another one with each transaction."""

    is_asking = True
    """Whether the next answer is waited for; ``together`` alone minds it."""

    pipe: psycopg.Pipeline | None = None
    _is_settled = False

    @classmethod
    def by(cls, conninfo: str, deadline: float) -> PatientConnection:
        """A new connection, by then or never: libpq's own timeout counts in whole seconds, from two."""
        made = cls(_drive(_connecting(conninfo), None, deadline))
        made.pid, made.deadline = os.getpid(), deadline
        made.cursor_factory = _Cursor
        return made

    @contextmanager
    def together(self) -> Generator[None]:
        """One round trip up to each answer that is asked for, and one for what is left at the end.

        Where the server refuses one question it does none of those sent after it. A connection that is not idle afterwards is
        closed: what was begun is taken back by the server.

        Nothing is sent before all of it is: to a server that waits for the rest of a pipeline no session is idle, and none of
        its timeouts would free what a client holds that was stopped or cut off in the middle.
        """
        if not psycopg.Pipeline.is_supported():  # by an old libpq
            yield
            return
        try:
            with self.pipeline() as pipe:
                self.pipe = pipe
                try:
                    yield
                    self.settle()
                except BaseException:
                    if pipe.command_queue or self.pgconn.transaction_status != pq.TransactionStatus.IDLE:
                        self.pgconn.finish()
                    raise
                finally:
                    self.pipe, self._is_settled = None, True
        finally:
            self._is_settled = False

    def settle(self) -> None:
        """Sends what is waiting in one piece, and takes in the answers."""
        pipe = self.pipe
        if pipe is not None:
            pipe.command_queue.append(self.pgconn.pipeline_sync)
            pipe.result_queue.append(None)
            while pipe.command_queue:
                pipe.command_queue.popleft()()
            self.is_asking = True
            pipe.sync()

    def _is_queued(self) -> bool:
        return self.pipe is not None and not self.is_asking and len(self.pipe.command_queue) > 0

    def wait(self, gen: Generator[Any, Any, Any], *_: Any, **__: Any) -> Any:
        """Every answer of the server is waited for here."""
        if self._is_settled:  # the end of the pipeline: there is nothing left to tell or to hear
            gen.close()
            return None
        try:
            return _drive(gen, lambda: self.pgconn.socket, self.deadline, self._is_queued)
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


class _Cursor(psycopg.Cursor[Any]):
    """Has its answer when ``execute`` returns, unless that is not asked for."""

    def execute(self, *arguments: Any, **options: Any) -> _Cursor:
        """See psycopg."""
        super().execute(*arguments, **options)
        connection: Any = self.connection
        if connection.is_asking:
            connection.settle()
        return self

    def executemany(self, *arguments: Any, **options: Any) -> None:
        """Is done when it returns."""
        connection: Any = self.connection
        connection.settle()
        super().executemany(*arguments, **options)


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


def _drive(
    gen: Generator[Any, Any, Any],
    socket: Callable[[], int] | None,
    deadline: float,
    is_enough: Callable[[], bool] | None = None,
) -> Any:
    """Runs one of psycopg's generators: waits for its socket as it says, by the deadline at the latest.

    Args: socket: where the generator yields only the direction. is_enough: whether it need not be waited for.
    """
    try:
        wanted = next(gen)
        while is_enough is None or not is_enough():
            place, direction = (socket(), wanted) if socket is not None else wanted
            ready = _ready(place, direction, deadline)
            if not ready:
                gen.close()
                raise psycopg.OperationalError("no answer in time")
            wanted = gen.send(ready)
        gen.close()
        return None
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
