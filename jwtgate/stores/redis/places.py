"""Where a store's primary is: what a ``Line`` asks before it connects, and tells when something went wrong.

``Fixed`` is one address, and knows no better. ``Guided`` asks guides who the primary is; ``sentinel`` and ``cluster`` say how.
A place is shared by all lines of a store, so it is thread-safe; it decides who is asked, never what an answer means.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import redis
from redis.exceptions import ClusterDownError, NoPermissionError, OutOfMemoryError

from jwtgate.core.history import NotWritten
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.redis.dialling import GUIDE_SECONDS, TIMEOUT_SECONDS

if TYPE_CHECKING:
    from redis.exceptions import AskError

    from jwtgate.stores.redis.dialling import Address, Argument, Connected, Dial, Dials

__all__ = ["FRESH_SECONDS", "Fixed", "Guided", "Place", "connected", "exchange", "unavailable"]

FRESH_SECONDS = 0.5
"""A server that has answered so short a time ago has not been replaced since: Sentinels and clusters take longer to miss it.
One that was silent for longer may be a primary of old that came back and does not know it yet, so the guides come first."""

LONGEST_SECONDS = 2 * TIMEOUT_SECONDS - 0.06
"""For a question with all that comes before it, less what timers are late. Guides that stand still take 0.3 s of it, and the
server gets the rest."""

WRONG_SERVER = ("READONLY", "NOREPLICAS", "MASTERDOWN", "UNBLOCKED", "CLUSTERDOWN")
"""Answers of a server that is no primary, or that may be none any more."""


class Place(Protocol):
    """Where to connect.

    Attributes:
        dial: how; its secrets go into no message.
        reached: the same, with the address of the primary that was last found.
        generation: counts moves: a line that was connected under another number is on another server.
        is_moving: whether the primary can be elsewhere tomorrow.
    """

    @property
    def dial(self) -> Dial: ...
    @property
    def reached(self) -> Dial: ...
    @property
    def generation(self) -> int: ...
    @property
    def is_moving(self) -> bool: ...

    def connect(self) -> tuple[Connected, int]:
        """A connection to the primary, and the generation it belongs to. Raises: StoreUnavailable; what the client raises.

        Its timeouts are for the first exchange; they may be shorter than those of the following ones.
        """
        ...

    def failed(self, error: Exception) -> bool:
        """An exchange failed. True: the connection is of no more use, whatever state it is in."""
        ...

    def redirected(self, error: AskError) -> Dial | None:
        """Where a node of a cluster sends its asker (MOVED, ASK). None: nowhere, this place is one server."""
        ...

    def reset_after_fork(self) -> None:
        """New locks for the child."""
        ...


REFUSALS = (redis.AuthenticationError, redis.BusyLoadingError, ClusterDownError, OutOfMemoryError, redis.ReadOnlyError)
REFUSED = ("BUSY ", "CLOCK ", "MISCONF", "NOREPLICAS", "PARTITIONS ", "max number of clients")
"""What is said before a script has written anything: by the server of one without flags, or by the script."""

FAILED = "the store (JWTGATE_STORE) failed"


def unavailable(error: Exception, secrets: tuple[str, ...], *, what: str = FAILED, was_sent: bool = True) -> StoreUnavailable:
    """Some servers quote a refused command, AUTH with its password included. Args: was_sent: anything was, save to connect."""
    kind = StoreUnavailable if was_sent and not _is_refusal(error) else NotWritten
    link: BaseException | None = error
    while link is not None and secrets:
        link.args = tuple(_without(secrets, part) for part in link.args)
        link = link.__cause__ or link.__context__
    # Where the kernel keeps the time (SO_RCVTIMEO, socket(7)), it says EAGAIN.
    if isinstance(error.__context__, BlockingIOError):
        return kind(f"{what}: TimeoutError: no answer in time")
    return kind(f"{what}: {type(error).__name__}: {_without(secrets, str(error))}")


def connected(place: Place) -> tuple[Connected, int]:
    """A new connection. Raises: NotWritten."""
    try:
        return place.connect()
    except StoreUnavailable:  # there is nothing to connect to
        raise
    except Exception as error:
        place.failed(error)
        raise unavailable(error, place.dial.secrets, was_sent=False) from error


def _is_refusal(error: Exception) -> bool:
    if isinstance(error, NoPermissionError):
        return "script" not in str(error)  # in the middle of one
    return isinstance(error, REFUSALS) or (isinstance(error, redis.RedisError) and str(error).startswith(REFUSED))


def _is_elsewhere(error: Exception) -> bool:
    """Whether it says to look for the primary again: the connection broke, or this server is none."""
    if not isinstance(error, redis.ResponseError):
        return True
    return isinstance(error, redis.ReadOnlyError) or str(error).startswith(WRONG_SERVER)


def _left(until: float) -> float:
    """For each step on a connection that is being made."""
    return max(GUIDE_SECONDS, min(TIMEOUT_SECONDS, until - monotonic()))


def _without(secrets: tuple[str, ...], part: Any) -> Any:
    for secret in secrets:
        part = part.replace(secret, "***") if isinstance(part, str) else part
    return part


class Fixed:
    """One address, as redis://, rediss:// and unix:// name it."""

    generation = 0
    is_moving = False

    def __init__(self, dial: Dial) -> None:
        self.dial = self.reached = dial

    def connect(self) -> tuple[Connected, int]:
        """See ``Place``."""
        connection = self.dial.open()
        connection.connect()
        return connection, 0

    def failed(self, error: Exception) -> bool:  # nothing is remembered
        """See ``Place``: the name may stand for another server by now."""
        return _is_elsewhere(error)

    def redirected(self, error: AskError) -> Dial | None:  # noqa: ARG002
        """See ``Place``."""
        return None

    def reset_after_fork(self) -> None:
        """No locks."""


class Guided(ABC):
    """The primary that guides name: Sentinels, or the nodes of a cluster.

    The guides are asked one after the other until one knows, in one timeout altogether; all threads that look at the same
    time share the answer. If none answers, the last known primary is tried, in what is left of two timeouts: it may well be
    alive, and if it is none any more it refuses. After a failure another guide is asked first.
    """

    is_moving = True
    guides_are = "guide"

    def __init__(self, dials: Dials) -> None:
        self.dial = dials.node
        self.generation = 0
        self._guide = dials.guide
        self._guides = dials.hosts
        self._primary: Address | None = None
        self._fresh_until = 0.0
        self._lock = threading.Lock()

    @property
    def reached(self) -> Dial:
        """See ``Place``."""
        return self.dial if self._primary is None else self.dial.at(self._primary)

    def connect(self) -> tuple[Connected, int]:
        """See ``Place``."""
        until = monotonic() + LONGEST_SECONDS
        address, generation = self._found()
        connection = self.dial.at(address, seconds=_left(until)).open()
        try:
            connection.connect()
            self._check(connection)
        except BaseException:
            connection.disconnect()
            raise
        return connection, generation

    def _found(self) -> tuple[Address, int]:
        if not self._lock.acquire(timeout=TIMEOUT_SECONDS):
            raise NotWritten("the primary is still being looked for")
        try:
            if self._primary is None or monotonic() >= self._fresh_until:
                self._settle_on(self._asked() or self._primary)
            if self._primary is None:
                raise NotWritten(f"no {self.guides_are} named in JWTGATE_STORE knows the primary")
            return self._primary, self.generation
        finally:
            self._lock.release()

    def _settle_on(self, address: Address | None) -> None:
        if address != self._primary:
            self.generation += 1
            self._primary = address
        self._fresh_until = monotonic() + FRESH_SECONDS

    def _asked(self) -> Address | None:
        """What the first guide that knows says. Raises: StoreUnavailable: nobody knows, and nobody ever knew."""
        until = monotonic() + TIMEOUT_SECONDS
        failure: Exception | None = None
        for guide in self._guides:
            try:
                address = self._ask(self._guide.at(guide, seconds=GUIDE_SECONDS), guide)
            except (redis.RedisError, OSError, ValueError, TypeError, LookupError) as error:
                failure, address = error, None
            if address is not None:
                return address
            self._turn()
            if monotonic() >= until:
                break
        if failure is not None and self._primary is None:
            what = f"no {self.guides_are} named in JWTGATE_STORE can be asked for the primary"
            raise unavailable(failure, self.dial.secrets, what=what, was_sent=False) from failure
        return None

    def _turn(self) -> None:
        first, *others = self._guides  # read once: another thread may put others in their place
        self._guides = (*others, first)

    @abstractmethod
    def _ask(self, guide: Dial, address: Address) -> Address | None:
        """Whom this guide, at that address, calls primary. None: it knows none. Raises: what the client raises."""

    @abstractmethod
    def _check(self, connection: Connected) -> None:
        """Whether it is a primary. Raises: redis.ReadOnlyError: it is none."""

    def failed(self, error: Exception) -> bool:
        """See ``Place``: at the next use the guides are asked again."""
        if not _is_elsewhere(error):
            return False
        self._fresh_until = 0.0
        self._turn()
        return True

    def redirected(self, error: AskError) -> Dial | None:  # noqa: ARG002
        """See ``Place``."""
        return None

    def reset_after_fork(self) -> None:
        """See ``Place``."""
        self._lock = threading.Lock()


def exchange(dial: Dial, *command: Argument) -> Any:
    """One question on a connection of its own. Raises: what the client raises."""
    connection = dial.open()
    try:
        connection.connect()
        connection.send_command(*command)
        return connection.read_response()
    finally:
        connection.disconnect()
