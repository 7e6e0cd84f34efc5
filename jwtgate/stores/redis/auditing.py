"""What about a Redis or Valkey server would break the promise, and the line that mends it.

INFO tells most, so that a server or a user without CONFIG is judged too; what only CONFIG tells is then left as a hint.
One question that is refused or lost never hides what the others found. Changes nothing on the server.
Rights are ``probing``'s, keys ``inspecting``'s, strangers ``exposure``'s.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from jwtgate.errors import StoreUnavailable
from jwtgate.stores.contract import UNANSWERED, Weakness
from jwtgate.stores.redis import answers
from jwtgate.stores.redis.exposure import Exposure
from jwtgate.stores.redis.inspecting import Inspecting
from jwtgate.stores.redis.probing import Probing
from jwtgate.stores.skew import clock_told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jwtgate.core.history import Watch
    from jwtgate.stores.redis.dialling import Dial
    from jwtgate.stores.redis.inspecting import Ask

__all__ = ["ODD", "Auditing", "oddity"]

ODD = (ValueError, TypeError, LookupError)
"""What comes of an answer as no server known to us gives it."""

OLDEST_MAJOR = 7
"""The first with script flags, which make a replica refuse, and with effects replicated after TIME."""

FULL = 0.9
"""Of ``maxmemory``: time to give it more before revocations are refused."""

TOLERATED_LAG_SECONDS = 10
"""The server's own default of min-replicas-max-lag: for so long a cut-off primary goes on taking rulings that are lost."""

LEAST_BUSY_MS = 100
"""A threshold below answers BUSY to everybody as soon as any script is slow."""

CONFIGURATION = (
    *("appendfsync", "save", "min-replicas-to-write", "min-replicas-max-lag", "timeout", "busy-reply-threshold"),
    *("bind", "protected-mode"),
)


@dataclass(frozen=True, slots=True)
class Auditing:
    """One server under examination.

    Attributes:
        ask: asks it.
        dial: how it is reached.
        prefix: of the keys.
        watch: the lease that is configured.
        partition: whose keys are looked at.
        wall: this machine's clock, NumericDate.
        is_alone: nobody is known who would replace it: where Sentinels or a cluster do, ``topology_audit`` knows their rules.
    """

    ask: Ask
    dial: Dial
    prefix: str
    watch: Watch
    partition: int = 0
    wall: Callable[[], float] = time.time
    is_alone: bool = True

    def weaknesses(self) -> tuple[Weakness, ...]:
        """All of them; some ten round trips. Raises: StoreUnavailable: the server does not answer at all."""
        info = self._inquire("INFO", answers.info)  # that it is refused is one of the missing rights
        found = [] if info is None else [*self._identity(info)]
        steps: list[Callable[[], Iterator[Weakness]]] = [
            Probing(self.ask, self.prefix, self._user, self.partition).weaknesses,
            Inspecting(self.ask, self.prefix, self.partition).weaknesses,
            lambda: self._stored(info or {}),
            lambda: self._configured(info or {}),
            self._clock,
            Exposure(self.ask, self.dial).of_the_way,
        ]
        for step in steps:
            try:
                found += step()
            except StoreUnavailable as error:
                is_answer = isinstance(error.__cause__, ResponseError)
                found.append(_unchecked(str(error), "JWTGATE_STORE" if is_answer else UNANSWERED))
            except ODD as error:
                found.append(oddity(error))
        return tuple(dict.fromkeys(found))

    @property
    def _user(self) -> str:
        return str(self.dial.arguments.get("username") or "default")

    def _inquire(self, command: str, decode: Callable[[Any], dict[str, str]], *arguments: str) -> dict[str, str] | None:
        """The answer, or None where the server refuses the command to us or does not know it."""
        try:
            return self.ask((command, *arguments), decode)
        except StoreUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, NoPermissionError) or (type(cause) is ResponseError and "unknown" in str(cause).lower()):
                return None
            raise

    def _identity(self, info: Mapping[str, str]) -> Iterator[Weakness]:
        if not info.get("run_id") or not info.get("master_replid"):
            yield Weakness(
                "INFO hides run_id or master_replid: lost history could not be noticed, so no look-up works.",
                "JWTGATE_STORE=<a server that shows them>",
                about="INFO",
            )
        if info.get("role") not in (None, "master"):
            primary = f"{info.get('master_host', 'host')}:{info.get('master_port', '6379')}"
            yield Weakness(
                "The server is a replica: it takes no writes and can be behind.",
                f"JWTGATE_STORE=<the same URL with {primary}, its primary>",
                about="role",
            )
        version = info.get("redis_version", "0")
        major = version.partition(".")[0]
        if not major.isdecimal() or int(major) < OLDEST_MAJOR:
            yield Weakness(
                f"The server speaks Redis {version}: its scripts lack what our atomic steps need, {OLDEST_MAJOR}.0.",
                "JWTGATE_STORE=<a Redis from 7.0, or a Valkey>",
                about="redis_version",
            )

    def _stored(self, info: Mapping[str, str]) -> Iterator[Weakness]:
        """How safe rulings are once they are stored."""
        policy = info.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            yield Weakness(
                f"maxmemory-policy is {policy}: the server may evict rulings and sessions, and nothing says so.",
                "CONFIG SET maxmemory-policy noeviction",
                about="maxmemory-policy",
            )
        most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
        if most and used > FULL * most:
            yield Weakness(
                f"{used / most:.0%} of maxmemory is used: a full server refuses revocations.",
                f"CONFIG SET maxmemory {2 * max(most, used)}",
                about="maxmemory",
            )
        if info.get("aof_enabled") == "0":
            yield Weakness(
                "appendonly is no, so nothing is persisted but snapshots: a restart loses the rulings since the last one.",
                "CONFIG SET appendonly yes",
                about="appendonly",
            )
        elif info.get("aof_last_write_status", "ok") != "ok":
            yield Weakness(
                "The last write to the append-only file failed, so writes are refused or lost.",
                "df -h  # on the server: its disk is full or not writable",
                about="aof_last_write_status",
            )

    def _configured(self, info: Mapping[str, str]) -> Iterator[Weakness]:
        """What CONFIG alone tells."""
        try:
            settings = self.ask(("CONFIG", "GET", *CONFIGURATION), answers.pairs)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
            settings = {}
            yield self._unconfigurable(error.__cause__)
        if info.get("aof_enabled") == "1" and settings.get("appendfsync") == "no":
            yield Weakness(
                "appendfsync is no: a crash of the machine loses half a minute of rulings.",
                "CONFIG SET appendfsync everysec",
                about="appendfsync",
            )
        yield from self._replicated(info, settings)
        seconds = int(settings.get("timeout", 0))
        if 0 < seconds < self.watch.lease_seconds:
            yield Weakness(
                f"timeout is {seconds}: connections that idle for less than a lease are closed, and requests pay for new ones.",
                "CONFIG SET timeout 0",
                "hint",
                about="timeout",
            )
        busy = int(settings.get("busy-reply-threshold", LEAST_BUSY_MS))
        if 0 < busy < LEAST_BUSY_MS:
            yield Weakness(
                f"busy-reply-threshold is {busy} ms: any slow script makes the server answer BUSY to every request.",
                "CONFIG SET busy-reply-threshold 5000",
                "hint",
                about="busy-reply-threshold",
            )
        has_replicas = int(info.get("connected_slaves", 0)) > 0
        yield from Exposure(self.ask, self.dial).open_doors(settings, has_replicas=has_replicas)

    def _unconfigurable(self, cause: ResponseError) -> Weakness:
        """A managed server has no CONFIG; its console has."""
        if isinstance(cause, NoPermissionError):
            remedy = f"ACL SETUSER {self._user} +config|get"
        else:
            remedy = "appendfsync everysec, min-replicas-to-write 1, timeout 0  # to be looked up where the server is managed"
        problem = "CONFIG is not permitted: appendfsync, min-replicas-to-write and timeout could not be checked."
        return Weakness(problem, remedy, "hint", about="CONFIG")

    def _replicated(self, info: Mapping[str, str], settings: Mapping[str, str]) -> Iterator[Weakness]:
        """Split brain: a primary that is cut off must stop, or what it takes is lost with it."""
        if not self.is_alone or info.get("role") != "master" or not int(info.get("connected_slaves", 0)):
            return
        if settings.get("min-replicas-to-write") == "0":
            yield Weakness(
                "min-replicas-to-write is 0: a primary that a failover has left behind goes on taking rulings that are lost.",
                "CONFIG SET min-replicas-to-write 1",
                about="min-replicas-to-write",
            )
        lag = int(settings.get("min-replicas-max-lag", TOLERATED_LAG_SECONDS))
        if lag > TOLERATED_LAG_SECONDS or (lag == 0 and "min-replicas-max-lag" in settings):
            yield Weakness(
                f"min-replicas-max-lag is {lag}: for so long a primary that is cut off does not notice (0: for ever).",
                f"CONFIG SET min-replicas-max-lag {TOLERATED_LAG_SECONDS}",
                about="min-replicas-max-lag",
            )

    def _clock(self) -> Iterator[Weakness]:
        """Half the round trip is the most by which this measurement can be wrong; so much is taken off."""
        sent = self.wall()
        try:
            there = self.ask(("TIME",), answers.moment)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, ResponseError):  # a right that is missing, which is said elsewhere
                return
            raise
        back = self.wall()
        yield from clock_told(sent, there, back)


def oddity(error: Exception) -> Weakness:
    """What is said of such an answer."""
    return _unchecked(f"the server answers in its own way ({type(error).__name__})", "JWTGATE_STORE")


def _unchecked(why: str, about: str) -> Weakness:
    return Weakness(f"Not all could be checked: {why}.", "jwtgate doctor  # again", "hint", about)
