"""Connections to Redis or Valkey: bounded, short of patience, and the one place where their errors become ours.

Built on redis-py's ``Connection``, not its client: one exchange costs half, and what happens to a connection after an
error is in plain sight. An answer that was not read to its end closes the connection, so no answer reaches another
question. Nothing is retried: a write that timed out may have been done. Knows nothing of rulings.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from hashlib import sha1
from importlib import resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url  # pyright: ignore[reportUnknownVariableType] - untyped there
from redis.exceptions import NoScriptError
from redis.retry import Retry

from jwtgate.errors import SettingsError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Answer", "Argument", "Dial", "Line", "Lines", "Script", "dial_settings"]

TIMEOUT_SECONDS = 0.25
"""For connecting, for each answer, and for a free connection: design §5."""

OVERSHOOT_SECONDS = 0.25
"""A blocked read may end so much late: the server looks at blocked clients ten times a second, and a starved machine later."""

MAX_LINES = 16
"""Bound of the pool: each exchange takes well under a millisecond, so more would only queue on the server."""

Argument = bytes | str | int
Answer = TypeVar("Answer")


class Script(NamedTuple):
    """A Lua script: ``digest`` is what EVALSHA takes, ``source`` what EVAL takes."""

    digest: bytes
    source: bytes

    @classmethod
    def load(cls, name: str, *shared: str) -> Script:
        """Reads ``scripts/<name>.lua`` with what it shares put behind its first line, which must stay the first."""
        folder = resources.files("jwtgate.stores.redis") / "scripts"
        first_line, _, body = (folder / f"{name}.lua").read_bytes().partition(b"\n")
        source = b"\n".join((first_line, *[(folder / f"{each}.lua").read_bytes() for each in ("prelude", *shared)], body))
        return cls(sha1(source, usedforsecurity=False).hexdigest().encode(), source)


class _Connection(Protocol):
    """What is used of redis-py's connection."""

    _sock: socket.socket | None

    def connect(self) -> None: ...
    def send_command(self, *args: Argument) -> None: ...
    def can_read(self, timeout: float) -> bool: ...
    def read_response(self) -> Any: ...
    def disconnect(self) -> None: ...


class Dial(NamedTuple):
    """How to make a connection. ``secrets`` are the words that no message may carry."""

    connection_class: Callable[..., _Connection]
    arguments: Mapping[str, Any]
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return "<Dial>"


def dial_settings(url: str) -> Dial:
    """Reads redis://, rediss:// and unix:// URLs: user, password, database and ``ssl_*`` options.

    Raises: SettingsError, which never repeats the URL: it may hold a password.
    """
    mistake = None
    try:
        options = parse_qs(urlsplit(url).query)
        others = [name for name in options if name not in _URL_OPTIONS and not name.startswith("ssl_")]
        parsed = cast("dict[str, Any]", parse_url(url))  # type: ignore[no-untyped-call]  # untyped there
        connection_class = parsed.pop("connection_class", Connection)
        secrets = tuple(str(parsed[name]) for name in ("password", "ssl_password") if parsed.get(name))
        dial = Dial(connection_class, {**parsed, **_FIXED}, secrets)
        connection_class(**dial.arguments)
    except Exception as error:  # noqa: BLE001  # whatever a URL can do to the parsers; their messages may quote it
        mistake = f"The store's URL cannot be read ({type(error).__name__})."
    else:
        if not others:
            return dial
        mistake = f"The store's URL takes db, username, password and ssl_* options, not: {', '.join(sorted(others))}."
    raise SettingsError(mistake)


_HAS_DRIVER_INFO = find_spec("redis.driver_info") is not None

_URL_OPTIONS = ("db", "username", "password")

_FIXED: dict[str, Any] = {
    "socket_timeout": TIMEOUT_SECONDS,
    "socket_connect_timeout": TIMEOUT_SECONDS,
    "retry": Retry(NoBackoff(), 0),
    "health_check_interval": 0,
    "decode_responses": False,
    # RESP2, no client name and no library info: each would be one more round trip before the first answer.
    "protocol": 2,
    # redis-py 7 took driver_info in the place of the two others and warns of them.
    **({"driver_info": None} if _HAS_DRIVER_INFO else {"lib_name": None, "lib_version": None}),
}


class Line:
    """One connection, made when first used. Not thread-safe."""

    __slots__ = ("_connection", "_dial", "_is_used", "_plain", "_waits_seconds")

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._is_used = False
        self._plain: socket.socket | None = None
        self._waits_seconds = 0.0
        self._connection = dial.connection_class(**dial.arguments)

    def ask(
        self,
        command: tuple[Argument, ...],
        decode: Callable[[Any], Answer],
        *,
        source: bytes = b"",
        wait_seconds: float = 0.0,
    ) -> Answer:
        """Sends one command, reads and decodes its answer.

        Args:
            command: the command and its arguments.
            decode: what to make of the answer.
            source: the script that an EVALSHA means, for a server that does not know it yet.
            wait_seconds: how long the command itself may block.

        Raises: StoreUnavailable, for whatever went wrong; every exception of the client library ends here.
        """
        try:
            try:
                answer = self._exchange(command, wait_seconds)
            except NoScriptError:
                answer = self._exchange((b"EVAL", source, *command[2:]), wait_seconds)
            return decode(answer)
        except redis.ResponseError as error:  # a whole answer was read: the connection is clean
            raise self._unavailable(error) from error
        except Exception as error:
            self.close()
            raise self._unavailable(error) from error
        except BaseException:  # interrupted between question and answer: the answer must not meet another question
            self.close()
            raise

    def _exchange(self, command: tuple[Argument, ...], wait_seconds: float) -> Any:
        connection = self._connection
        if not self._is_used:
            self._is_used = True
            connection.connect()
            self._plain = _kernel_timed(connection._sock)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        plain = self._plain
        if plain is None:
            connection.send_command(*command)
            if wait_seconds and not connection.can_read(_patience(wait_seconds)):
                raise redis.TimeoutError("Timeout reading from a blocked command")
            return connection.read_response()
        if wait_seconds != self._waits_seconds:
            self._waits_seconds = wait_seconds
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(_patience(wait_seconds)))
        connection.send_command(*command)
        return connection.read_response()

    def is_stale(self) -> bool:
        """Whether something came unasked, such as the server's farewell."""
        try:
            if not self._is_used:
                return False
            if self._plain is None:
                return self._connection.can_read(0)
            self._plain.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except (redis.RedisError, OSError):
            return True
        return True

    def close(self) -> None:
        """Closes the connection; never raises. In a forked child the parent's end stays open."""
        self._is_used = False
        self._plain, self._waits_seconds = None, 0.0
        with contextlib.suppress(Exception):
            self._connection.disconnect()

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        """Some servers quote a refused command, AUTH with its password included."""
        link: BaseException | None = error
        while link is not None and self._dial.secrets:
            link.args = tuple(self._without_secrets(part) for part in link.args)
            link = link.__cause__ or link.__context__
        return StoreUnavailable(f"the store failed: {type(error).__name__}: {self._without_secrets(str(error))}")

    def _without_secrets(self, part: Any) -> Any:
        for secret in self._dial.secrets:
            part = part.replace(secret, "***") if isinstance(part, str) else part
        return part


def _kernel_timed(sock: socket.socket | None) -> socket.socket | None:
    """Gives the timeouts of a plain socket to the kernel: one wait for the interpreter's lock per answer instead of three.

    With Python's own timeouts a thread waits for the lock after poll, after recv and after each change of the timeout; in a
    saturated process each wait can take the switch interval, and a revocation waits behind them. None: it must not (TLS).
    """
    if sock is None or isinstance(sock, ssl.SSLSocket):
        return None
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, _timeval(TIMEOUT_SECONDS))
    sock.settimeout(None)
    return sock


def _patience(wait_seconds: float) -> float:
    return TIMEOUT_SECONDS + (wait_seconds + OVERSHOOT_SECONDS if wait_seconds else 0.0)


def _timeval(seconds: float) -> bytes:
    """Struct timeval."""
    whole = int(seconds)
    return struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))


class Lines:
    """A bounded pool of lines. Thread-safe."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(MAX_LINES)
        self._free: list[Line] = []

    def ask(self, command: tuple[Argument, ...], decode: Callable[[Any], Answer], *, source: bytes = b"") -> Answer:
        """``Line.ask`` on a free line. Raises: StoreUnavailable, also if none gets free in time."""
        slots = self._slots
        if not slots.acquire(timeout=TIMEOUT_SECONDS):
            raise StoreUnavailable(f"all {MAX_LINES} connections to the store are busy")
        try:
            with self._lock:
                free = self._free
                line = free.pop() if free else Line(self._dial)
            if line.is_stale():
                line.close()
            try:
                return line.ask(command, decode, source=source)
            finally:
                self._put_back(line, free)
        finally:
            slots.release()

    def _put_back(self, line: Line, free: list[Line]) -> None:
        with self._lock:
            is_open = free is self._free
            if is_open:
                free.append(line)
        if not is_open:
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
        for line in lines:
            line.close()
