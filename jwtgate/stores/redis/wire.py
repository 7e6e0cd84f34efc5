"""Connections to Redis or Valkey: bounded, short of patience, and the one place where their errors become ours.

Built on redis-py's ``Connection``, not its client: one exchange costs half, and what happens to a connection after an
error is in plain sight. An answer that was not read to its end closes the connection, so no answer reaches another
question. Nothing is retried: a write that timed out may have been done. Only what a node of a cluster sends elsewhere
(MOVED, ASK) is asked there: it was not done. Where to connect a ``Place`` knows. Knows nothing of rulings.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import redis
from redis.exceptions import AskError, MovedError, NoScriptError

from jwtgate.core.history import NotWritten
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.redis.dialling import TIMEOUT_SECONDS, Argument
from jwtgate.stores.redis.places import FRESH_SECONDS, Fixed, connected, unavailable
from jwtgate.stores.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from jwtgate.stores.redis.dialling import Connected, Dial
    from jwtgate.stores.redis.places import Place

__all__ = ["Answer", "Line", "Lines"]

OVERSHOOT_SECONDS = 0.25
"""A blocked read may end so much late: the server looks at blocked clients ten times a second, and a starved machine later."""

MAX_LINES = 16
"""Bound of the pool: each exchange takes well under a millisecond, so more would only queue on the server."""

MOST_HOPS = 3
"""From node to node: one is the rule, and a second one if the cluster moves meanwhile."""

Answer = TypeVar("Answer")


class Line:
    """One connection, made when first used. Not thread-safe."""

    __slots__ = ("_connection", "_fresh_until", "_generation", "_is_bound", "_place", "_plain", "_waits_seconds")

    def __init__(self, place: Place) -> None:
        self._place = place
        self._connection: Connected | None = None
        self._generation = -1
        self._plain: socket.socket | None = None
        self._waits_seconds = 0.0
        self._fresh_until = 0.0
        self._is_bound = False

    def ask(
        self,
        command: tuple[Argument, ...],
        decode: Callable[[Any], Answer],
        *,
        source: bytes = b"",
        wait_seconds: float = 0.0,
        names_keys: bool = True,
    ) -> Answer:
        """Sends one command, reads and decodes its answer.

        Args:
            command: the command and its arguments.
            decode: what to make of the answer.
            source: the script that an EVALSHA means, for a server that does not know it yet.
            wait_seconds: how long the command itself may block.
            names_keys: False: it touches keys that it does not name. A node that is just taking over their slot cannot know
                which of them are still to come, and would call them absent.

        Raises: StoreUnavailable, for whatever went wrong; every exception of the client library ends here.
        """
        hops = MOST_HOPS
        while True:
            try:
                return decode(self._answer(command, source, wait_seconds))
            except AskError as error:  # MOVED is one of them; nothing was done
                there, hops = self._redirected(error, hops), hops - 1
                if not isinstance(error, MovedError):
                    if not names_keys:
                        raise unavailable(error, self._place.dial.secrets) from error
                    return _asked_at(there, command, decode, source, wait_seconds)
            except redis.ResponseError as error:  # a whole answer was read: the connection is clean
                if self._place.failed(error):
                    self.close()
                raise unavailable(error, self._place.dial.secrets) from error
            except StoreUnavailable:  # there is nothing to connect to
                self.close()
                raise
            except Exception as error:
                self.close()
                self._place.failed(error)
                raise unavailable(error, self._place.dial.secrets) from error
            except BaseException:  # interrupted between question and answer: the answer must not meet another question
                self.close()
                raise

    def _answer(self, command: tuple[Argument, ...], source: bytes, wait_seconds: float) -> Any:
        try:
            return self._exchange(command, wait_seconds)
        except NoScriptError:
            return self._exchange((b"EVAL", source, *command[2:]), wait_seconds)

    def go_on(self, command: tuple[Argument, ...], decode: Callable[[Any], Answer], *, wait_seconds: float) -> Answer:
        """As ``ask``, on the very connection that the last answer came on. Raises: StoreUnavailable, also if it is gone."""
        if self._connection is None:
            raise StoreUnavailable("the connection was lost")
        self._is_bound = True
        try:
            return self.ask(command, decode, wait_seconds=wait_seconds)
        finally:
            self._is_bound = False

    def _exchange(self, command: tuple[Argument, ...], wait_seconds: float) -> Any:
        connection, place = self._connection, self._place
        if place.is_moving and not self._is_bound:
            now = monotonic()
            if now > self._fresh_until or self._generation != place.generation:
                connection = None
            self._fresh_until = now + wait_seconds + FRESH_SECONDS
        if connection is None:
            connection = self._connected()
        plain = self._plain
        if plain is None:
            connection.send_command(*command)
            if wait_seconds and not connection.can_read(_patience(wait_seconds)):
                raise redis.TimeoutError("Timeout reading from a blocked command")
            answer = connection.read_response()
            self._plain = _kernel_timed(connection._sock)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            return answer
        if wait_seconds != self._waits_seconds:
            self._waits_seconds = wait_seconds
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(_patience(wait_seconds)))
        connection.send_command(*command)
        return connection.read_response()

    def _connected(self) -> Connected:
        self.close()
        self._connection, self._generation = connected(self._place)
        return self._connection

    def _redirected(self, error: AskError, hops: int) -> Dial:
        """Leaves this server if it is not the one for good. Raises: StoreUnavailable: there is nowhere to go."""
        there = self._place.redirected(error)
        if there is None:
            self.close()
            text = "JWTGATE_STORE names one server, and it is a node of a cluster: write redis+cluster://host:port,host:port"
            raise NotWritten(text) from error
        if isinstance(error, MovedError):
            self.close()
        if not hops:
            raise unavailable(error, self._place.dial.secrets) from error
        return there

    def is_stale(self) -> bool:
        """Whether something came unasked, such as the server's farewell."""
        connection = self._connection
        try:
            if connection is None:
                return False
            if self._plain is None:
                return connection.can_read(0)
            self._plain.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except (redis.RedisError, OSError):
            return True
        return True

    def close(self) -> None:
        """Closes the connection; never raises. In a forked child the parent's end stays open."""
        connection, self._connection = self._connection, None
        self._plain, self._waits_seconds = None, 0.0
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.disconnect()


def _asked_at(
    there: Dial, command: tuple[Argument, ...], decode: Callable[[Any], Answer], source: bytes, wait_seconds: float
) -> Answer:
    """ASK: for this one command, on a connection of its own. The source goes along: ASKING holds for one command only."""
    line = Line(Fixed(there))
    try:
        line.ask((b"ASKING",), str)
        return line.ask((b"EVAL", source, *command[2:]) if source else command, decode, wait_seconds=wait_seconds)
    finally:
        line.close()


def _kernel_timed(sock: socket.socket | None) -> socket.socket | None:
    """Gives the timeouts of a plain socket to the kernel: one wait for the interpreter's lock per answer instead of three.

    With Python's own timeouts a thread waits for the lock after poll, after recv and after each change of the timeout; in a
    saturated process each wait can take the switch interval, and a revocation waits behind them. None: it must not (TLS;
    gevent, whose sockets never block: the kernel would keep no time, and ``recv`` wait for ever, whatever its flags say).
    The first exchange on a connection still had the place's timeouts.
    """
    if sock is None:
        return None
    sock.settimeout(None)
    if isinstance(sock, ssl.SSLSocket) or not os.get_blocking(sock.fileno()):
        sock.settimeout(TIMEOUT_SECONDS)
        return None
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, _timeval(TIMEOUT_SECONDS))
    return sock


def _patience(wait_seconds: float) -> float:
    return TIMEOUT_SECONDS + (wait_seconds + OVERSHOOT_SECONDS if wait_seconds else 0.0)


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


class Lines:
    """A bounded pool of lines. Thread-safe."""

    def __init__(self, place: Place, most: int = MAX_LINES) -> None:
        self._place = place
        self._most = most
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.Lock()
        self._turns = Turns(self._most)
        self._free: list[Line] = []

    def ask(
        self, command: tuple[Argument, ...], decode: Callable[[Any], Answer], *, source: bytes = b"", names_keys: bool = True
    ) -> Answer:
        """``Line.ask`` on a free line. Raises: StoreUnavailable, also if none gets free in time."""
        line, free, turns = self._take()
        try:
            return line.ask(command, decode, source=source, names_keys=names_keys)
        finally:
            self._put_back(line, free)
            turns.give()

    @contextlib.contextmanager
    def line(self) -> Generator[Line]:
        """A free line for several questions on one connection. Raises: StoreUnavailable: none gets free in time."""
        line, free, turns = self._take()
        try:
            yield line
        finally:
            self._put_back(line, free)
            turns.give()

    def _take(self) -> tuple[Line, list[Line], Turns]:
        turns = self._turns
        if not turns.take(TIMEOUT_SECONDS):
            raise NotWritten(f"all {self._most} connections to the store are busy")
        try:
            with self._lock:
                free = self._free
                line = free.pop() if free else Line(self._place)
            if line.is_stale():
                line.close()
        except BaseException:  # of a killed greenlet, or of a signal's handler
            turns.give()
            raise
        return line, free, turns

    def _put_back(self, line: Line, free: list[Line]) -> None:
        with self._lock:
            if free is self._free:
                free.append(line)
                return
        line.close()

    def close(self) -> None:
        """Closes the free lines now and those in use when they come back."""
        with self._lock:
            lines, self._free = self._free, []
        for line in lines:
            line.close()

    def reset_after_fork(self) -> None:
        """In a forked child: closes its copies of the free connections and makes new locks."""
        lines = self._free
        self._renew_locks()
        self._place.reset_after_fork()
        for line in lines:
            line.close()
