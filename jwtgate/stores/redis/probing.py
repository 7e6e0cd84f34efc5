"""Whether the server lets our user do what the store does, and whether what stands at our keys is ours.

Rights are found out by using them: each command that the store sends or its scripts call is tried with arguments that
change nothing, being refused for themselves only after the rights were checked. No ACL command is needed for that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError, ResponseError

from jwtgate.errors import StoreUnavailable
from jwtgate.stores.contract import Weakness
from jwtgate.stores.redis import answers
from jwtgate.stores.redis.inspecting import of_wrong_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jwtgate.stores.redis.inspecting import Ask

__all__ = ["PROBES", "WIRE", "Probing"]

PROBE = (resources.files("jwtgate.stores.redis") / "scripts" / "probe.lua").read_bytes()

NOBODY = "?"
"""No digest, name of a worker, session or user looks so: nothing stands there."""

PROBES: tuple[tuple[str, ...], ...] = (
    ("INFO", "server"),
    ("TIME",),
    ("HMGET", "rulings", NOBODY),
    ("HGET", "rulings", NOBODY),
    ("HSET", "rulings", "one", "two", "and no value for the third"),
    ("HDEL", "rulings", NOBODY),
    ("HGETALL", "workers"),
    ("HEXISTS", "workers", NOBODY),
    ("HSET", "workers", "one", "two", "and no value for the third"),
    ("ZCARD", "until"),
    ("ZADD", "until", "no number", NOBODY),
    ("ZREM", "until", NOBODY),
    ("ZRANGEBYSCORE", "until", "1", "0"),
    ("XADD", "log", "0-0", "an", "id that no stream takes"),
    ("HMGET", "s:?", NOBODY),
    ("HSET", "s:?", "one", "two", "and no value for the third"),
    ("DEL", "s:?"),
    ("GET", "g:?"),
    ("STRLEN", "g:?"),
    ("SET", "g:?", "", "PX", "0"),
    ("ZRANGE", "u:?", "1", "0"),
    ("ZADD", "u:?", "no number", NOBODY),
    ("ZREMRANGEBYSCORE", "u:?", "1", "0"),
    ("PTTL", "u:?"),
    ("PEXPIREAT", "u:?", "no number"),
    ("HMGET", "m:?", NOBODY),
    ("HLEN", "m:?"),
    ("ZCOUNT", "e:?", "1", "0"),
    ("ZRANK", "e:?", NOBODY),
    ("ZSCORE", "e:?", NOBODY),
)
"""Command, key behind ``{prefix:0}:``, arguments: what the scripts call, at least once on each kind of key."""

WIRE: tuple[tuple[str, ...], ...] = (
    ("EVALSHA", "0" * 40, "-1"),
    ("EVAL", "return 1", "-1"),
    ("XREAD", "COUNT", "1", "STREAMS", "log", "0"),
    ("HSCAN", "rulings", "0", "COUNT", "1"),
)
"""What is sent besides scripts, and how those are sent, with a number of keys that no script takes."""

NAMES = ("rulings", "until", "log", "workers")
NAMED = re.compile(r"rulings|until|log|workers|[sgume]:\?")


@dataclass(frozen=True, slots=True)
class Probing:
    """On one server.

    Attributes:
        ask: asks it.
        prefix: of the keys.
        user: whose rights are in question.
        partition: whose keys are looked at.
    """

    ask: Ask
    prefix: str
    user: str
    partition: int = 0

    def _key(self, name: str) -> str:
        return f"{{{self.prefix}:{self.partition}}}:{name}"

    def _keyed(self, command: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._key(part) if place and NAMED.fullmatch(part) else part for place, part in enumerate(command))

    def weaknesses(self) -> Iterator[Weakness]:
        """What is missing, in one line that grants it; what stands at our keys and is of a wrong type."""
        refusals = [(probe, self._refusal(probe)) for probe in WIRE]
        refusals += zip(PROBES, self._refusals_in_script(), strict=True)
        yield from self._missing_rights(refusals)
        for name in sorted({command[0] for command, text in refusals if _is_unknown(text)}):
            yield Weakness(
                f"The server does not know {name}, which the store needs.",
                f'rename-command {name} ""  # take this line out of redis.conf',
                about=name,
            )
        for name in NAMES:
            if any("WRONGTYPE" in text and name in command for command, text in refusals):
                yield of_wrong_type(self._key(name).encode())
        yield from self._refused_writes({text for _, text in refusals})

    def _missing_rights(self, refusals: Sequence[tuple[tuple[str, ...], str]]) -> Iterator[Weakness]:
        denied = [(command, text) for command, text in refusals if _is_denied(text)]
        if not denied:
            return
        commands = list(dict.fromkeys(_denied(command, text) for command, text in denied if not _is_about_keys(text)))
        keys = [f"~{{{self.prefix}:*}}:*"] if any(_is_about_keys(text) for _, text in denied) else []
        told = ", ".join([*commands, *(f"the keys {key[1:]}" for key in keys)])
        line = " ".join([*keys, *(f"+{command.lower()}" for command in commands)])
        yield Weakness(
            f"The user {self.user} may not use {told}: what needs that fails, and requests get 503.",
            f"ACL SETUSER {self.user} {line}",
            about="ACL",
        )

    def _refused_writes(self, texts: set[str]) -> Iterator[Weakness]:
        """By a server that takes none at all now."""
        for text in texts:
            if "NOREPLICAS" in text:
                yield Weakness(
                    "Too few replicas are connected for min-replicas-to-write: the server takes no rulings.",
                    "INFO replication  # which replicas are there; start those that are not",
                    about="min-replicas-to-write",
                )
            elif "MISCONF" in text:
                yield Weakness(
                    "The server takes no rulings because it cannot write to its disk (MISCONF).",
                    "df -h  # on the server: its disk is full or not writable",
                    about="persistence",
                )

    def _refusals_in_script(self) -> list[str]:
        """In one round trip; where scripts are denied, one by one."""
        probes = [self._keyed(probe) for probe in PROBES]
        try:
            return self.ask(("EVAL", PROBE, "0", *map(json.dumps, probes)), answers.texts)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
        return [self._refusal(probe) for probe in PROBES]

    def _refusal(self, command: Sequence[str]) -> str:
        """What the server says against it; nothing where it is done."""
        try:
            self.ask(self._keyed(command), answers.nothing)
        except StoreUnavailable as error:
            cause = error.__cause__
            if not isinstance(cause, ResponseError):
                raise
            return f"NOPERM {cause}" if isinstance(cause, NoPermissionError) else str(cause)
        return ""


def _is_denied(text: str) -> bool:
    """By an ACL, in the words of Redis 7 or of Valkey, on the wire or in a script."""
    return "NOPERM" in text or "ACL failure" in text or "The user executing the script can't" in text


def _denied(command: Sequence[str], text: str) -> str:
    """Which one it was: making the connection can need another one, SELECT."""
    named = re.search(r"run the '([^']+)' command", text)
    return named[1].upper() if named else command[0]


def _is_about_keys(text: str) -> bool:
    return "access" in text


def _is_unknown(text: str) -> bool:
    """Renamed away, or older than what we need."""
    return re.search(r"(?i)unknown( redis)? command", text) is not None
