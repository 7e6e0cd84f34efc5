"""What a write waits for beyond the server's own word: WAIT for replicas, WAITAOF for the disk (``JWTGATE_DURABILITY``).

Both count what the same connection wrote before, so they are asked on the write's own connection and on no other. The
ruling stands whatever they say: a short count is told, never taken back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from redis import ResponseError

from jwtgate.core.history import NotDurable
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from jwtgate.core.history import Written
    from jwtgate.stores.contract import Durability
    from jwtgate.stores.redis.dialling import Argument
    from jwtgate.stores.redis.wire import Line

__all__ = ["confirmed"]

REPLICAS_SECONDS = 1.0
"""Replicas that follow acknowledge in milliseconds; one that does not is missed."""

FSYNC_SECONDS = 2.0
"""Under ``appendfsync everysec`` the disk's turn comes once a second, and takes its own time."""


def confirmed(line: Line, written: Written, durability: Durability) -> Written:
    """``written`` with its counts. Raises: NotDurable: they are short, or nobody knows them."""
    command: tuple[Argument, ...]
    if durability.is_synced:
        seconds, asked = FSYNC_SECONDS, "it to be on the server's disk"
        command = ("WAITAOF", 1, 0, int(seconds * 1000))
    else:
        seconds, asked = REPLICAS_SECONDS, f"{durability.replicas} replicas to have it"
        command = ("WAIT", durability.replicas, int(seconds * 1000))
    try:
        count = line.go_on(command, _first, wait_seconds=seconds)
    except StoreUnavailable as error:
        raise NotDurable(written, _text(asked, _reason(error))) from error
    if durability.is_synced:
        if count < 1:
            raise NotDurable(written, _text(asked, f"it was not within {seconds:g} s"))
        return replace(written, fsyncs=count)
    if count < durability.replicas:
        raise NotDurable(written, _text(asked, f"{count} had it within {seconds:g} s"))
    return replace(written, replicas=count)


def _first(answer: Any) -> int:
    """WAIT answers a number, WAITAOF two: of this server and of replicas."""
    return int(answer) if isinstance(answer, int) else int(answer[0])


def _text(asked: str, found: str) -> str:
    return f"the ruling stands, but JWTGATE_DURABILITY asks for {asked}, and {found}"


def _reason(error: StoreUnavailable) -> str:
    text = str(error)
    if isinstance(error.__cause__, ResponseError):
        if "unknown command" in text.lower():
            return "this server cannot tell: WAITAOF came with Redis 7.2 and Valkey"
        if "appendonly is disabled" in text:
            return "the server keeps nothing on disk: CONFIG SET appendonly yes"
    return f"nobody knows ({text})"
