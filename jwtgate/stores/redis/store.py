"""Redis (from 7.0) and Valkey as a store: each step is one script, so it is atomic on the server (H1, W1).

Keys, layout version 1, those of partition N all on the slot of ``{prefix:N}``, so that a step can be atomic:

    {prefix:0}:rulings  hash: digest in hex -> ruling as JSON; ``epoch`` -> epoch record as JSON;
                        ``end`` -> "<position> <link> <id in the log>"
    {prefix:0}:until    sorted set: digest -> when its ruling may be forgotten
    {prefix:0}:log      stream: link, previous, digest, ruling; ids are <ms>-<position>
    {prefix:0}:workers  hash: name -> [reach, acknowledged, beat, healing]; ``epoch`` -> the name of its epoch
    {prefix:0}:s:<sid>  hash, expiring: a session, see ``scripts/sessions.lua``
    {prefix:0}:g:<sid>  string, expiring: its sealed successors
    {prefix:0}:u:<user> sorted set, expiring: sid -> when the session ends
    {prefix:0}:m:<group> hash: name in hex -> "<until> <value>", what may be used once; ``e:<group>`` sorted set: names by end

The rules stand in ``scripts/*.lua``; here arguments are packed, in ``answers`` the answers are read.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from jwtgate.core.sessions.stored import MOST_LISTED, Guard
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.cursors import place_of
from jwtgate.stores.redis import answers, packing
from jwtgate.stores.redis.auditing import ODD, Auditing, oddity
from jwtgate.stores.redis.cluster import ClusterPlace, slot_of
from jwtgate.stores.redis.dialling import dial_settings, dials
from jwtgate.stores.redis.durable import confirmed
from jwtgate.stores.redis.places import Fixed
from jwtgate.stores.redis.scripting import Script
from jwtgate.stores.redis.sentinel import SentinelPlace
from jwtgate.stores.redis.topology_audit import topology_weaknesses
from jwtgate.stores.redis.wire import Answer, Line, Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jwtgate.core.history import (
        Entry,
        Epoch,
        Facts,
        LogEnd,
        Marked,
        MarkPage,
        Renewal,
        Repair,
        Watch,
        Worker,
        Written,
    )
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import KeptSession, SessionChange
    from jwtgate.stores.contract import Durability, Weakness
    from jwtgate.stores.redis.dialling import Argument
    from jwtgate.stores.redis.places import Place

__all__ = ["RedisFeed", "RedisStore"]

RENEW, WORKERS, REPAIR, LOSE, FORGET = map(Script.load, ("renew", "workers", "repair", "lose", "forget"))
LOOK_UP, SESSIONS_OF, WRITE, SAW, RESTORE_SESSIONS = [
    Script.load(name, "sessions") for name in ("look_up", "sessions_of", "write", "saw", "restore_sessions")
]
MARK, MARKS = [Script.load(name, "marking") for name in ("mark", "marks")]

MAX_DURABLE_LINES = 64
"""Of their own: each waits for up to a second or two, and no look-up may wait behind them for a connection."""


class RedisStore:
    """A ``Store`` on one Redis or Valkey server at a time: the one named, or the one that Sentinels or a cluster name."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        watch: Watch,
        durability: Durability,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Connects to nothing yet.

        Args: share: which partition of how many.
        Raises: SettingsError where the URL cannot be used.
        """
        self._place = _place_of(url, f"{prefix}:{share[0]}")
        self._lines = Lines(self._place)
        self._durable = Lines(self._place, MAX_DURABLE_LINES)
        self._layout = _Layout(prefix, watch, *share)
        self._prefix, self._watch, self._partition = prefix, watch, share[0]
        self._durability = durability

    def look_up(self, digests: Sequence[bytes], sids: Sequence[str] = ()) -> Facts:
        """One script."""
        command = self._layout.call(LOOK_UP, len(sids), *sids, *[digest.hex() for digest in digests])
        return self._lines.ask(command, answers.facts, source=LOOK_UP.source, names_keys=not sids)

    def sessions_of(self, user: bytes, offset: int = 0, limit: int = MOST_LISTED) -> Facts:
        """One script."""
        command = self._layout.call(SESSIONS_OF, user.hex(), offset, min(limit, MOST_LISTED))
        return self._lines.ask(command, answers.facts, source=SESSIONS_OF.source, names_keys=False)

    def write(
        self,
        changes: Sequence[Change],
        now: float,
        sessions: Sequence[SessionChange] = (),
        guard: Guard | None = None,
    ) -> Written | None:
        """W1. Never retried: after a timeout nobody knows whether it was done."""
        command = self._layout.call(WRITE, repr(now), *packing.write(changes, sessions, guard or Guard()))
        if not changes or not (self._durability.replicas or self._durability.is_synced):
            names_keys = not sessions and guard is None
            return self._lines.ask(command, answers.written, source=WRITE.source, names_keys=names_keys)
        with self._durable.line() as line:
            written = line.ask(command, answers.written, source=WRITE.source, names_keys=False)
            return None if written is None else confirmed(line, written, self._durability)

    def mark(self, group: str, name: bytes, value: bytes, until: float, now: float) -> Marked:
        """One script. Never retried, as ``write``."""
        command = self._layout.call_on_marks(MARK, group, name.hex(), value, repr(float(until)), repr(now), group)
        return self._lines.ask(command, answers.marked, source=MARK.source)

    def marks(self, group: str, after: str | None, limit: int) -> MarkPage:
        """One script."""
        until, name = ("", b"") if after is None else place_of(after)
        command = self._layout.call_on_marks(MARKS, group, repr(until) if after else "", name.hex(), limit)
        return self._lines.ask(command, answers.marks, source=MARKS.source)

    def workers(self) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
        """Epoch, end and workers."""
        return self._lines.ask(self._layout.call(WORKERS), answers.members, source=WORKERS.source)

    def feed(self) -> RedisFeed:
        """A feed with a connection of its own."""
        return RedisFeed(self._place, self._layout)

    def forget(self, worker: Worker) -> None:
        """HDEL if the beat is the same."""
        self._lines.ask(self._layout.call(FORGET, worker.name, worker.beat), answers.nothing, source=FORGET.source)

    def audit(self) -> tuple[Weakness, ...]:
        """Of the server, of our rights on it, of what stands at our keys, of its replicas, Sentinels and cluster."""
        try:
            around = tuple(topology_weaknesses(self._place, self._durability, self._inquire))
        except ODD as error:
            around = (oddity(error),)
        own = Auditing(
            self._lines.ask,
            self._place.reached,
            self._prefix,
            self._watch,
            self._partition,
            is_alone=not self._place.is_moving,
        )
        return (*own.weaknesses(), *around)

    def _inquire(self, command: str, decode: Callable[[Any], dict[str, str]], *arguments: str) -> dict[str, str] | None:
        """The answer, or None where the server refuses the command."""
        try:
            return self._lines.ask((command, *arguments), decode)
        except StoreUnavailable as error:
            if type(error.__cause__) in (ResponseError, NoPermissionError):
                return None
            raise

    def reset_after_fork(self) -> None:
        """The child gets its own connections and locks."""
        self._lines.reset_after_fork()
        self._durable.reset_after_fork()

    def close(self) -> None:
        """Closes the pooled connections."""
        self._lines.close()
        self._durable.close()


def _place_of(url: str, tag: str) -> Place:
    if url.startswith("redis+sentinel://"):
        return SentinelPlace(dials(url))
    if url.startswith("redis+cluster://"):
        return ClusterPlace(dials(url), slot_of(tag))
    return Fixed(dial_settings(url))


class RedisFeed:
    """A ``Feed``: one connection for registration, reads, scan and repair (F2)."""

    def __init__(self, place: Place, layout: _Layout) -> None:
        self._line: Line | None = Line(place)
        self._layout = layout

    def _ask(
        self,
        command: tuple[Argument, ...],
        decode: Callable[[Any], Answer],
        *,
        source: bytes = b"",
        wait_seconds: float = 0.0,
    ) -> Answer:
        """Any error closes the feed for good: a new connection would be another follower's start (F2)."""
        if self._line is None:
            raise StoreUnavailable("the feed is closed")
        try:
            return self._line.ask(command, decode, source=source, wait_seconds=wait_seconds)
        except BaseException:
            self.close()
            raise

    def renew(self, worker: Worker, epoch: str | None, *, healed: bool = False, settled: bool = False) -> Renewal:
        """Registers and acknowledges."""
        command = self._layout.call(
            RENEW,
            worker.name,
            packing.reach(worker.reach_seconds),
            worker.acknowledged,
            worker.beat,
            int(worker.is_healing),
            epoch or "",
            int(healed),
            int(settled),
        )
        return self._ask(command, answers.renewal, source=RENEW.source)

    def read(self, cursor: str, block_seconds: float, limit: int) -> tuple[Entry, ...]:
        """XREAD, which overshoots its time by up to 0.1 s."""
        block = ("BLOCK", max(1, int(block_seconds * 1000))) if block_seconds > 0 else ()  # BLOCK 0 is for ever
        command = ("XREAD", "COUNT", limit, *block, "STREAMS", self._layout.log, cursor)
        return self._ask(command, answers.entries, wait_seconds=max(0.0, block_seconds))

    def pages(self, size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """HSCAN: what is there from start to end is returned, perhaps twice."""
        cursor = b"0"
        while True:
            cursor, page = self._ask(("HSCAN", self._layout.rulings, cursor, "COUNT", size), answers.page)
            if page:
                yield page
            if cursor == b"0":
                return

    def repair(self, epoch: str, repairs: Sequence[Repair]) -> tuple[bytes, ...] | None:
        """L1, one batch."""
        parts = [
            part
            for repair in repairs
            for part in (repair.digest.hex(), repair.expected or b"", repair.ruling, packing.time(repair.until))
        ]
        return self._ask(self._layout.call(REPAIR, epoch, *parts), answers.digests, source=REPAIR.source)

    def restore_sessions(self, epoch: str, sessions: Sequence[KeptSession], *, is_last: bool) -> bool:
        """L3, one batch."""
        command = self._layout.call(RESTORE_SESSIONS, epoch, "1" if is_last else "", *packing.kept(sessions))
        return self._ask(command, answers.truth, source=RESTORE_SESSIONS.source)

    def lose(self, epoch: str) -> None:
        """H2."""
        self._ask(self._layout.call(LOSE, epoch), answers.nothing, source=LOSE.source)

    def forget(self, worker: Worker) -> None:
        """HDEL if the beat is the same."""
        self._ask(self._layout.call(FORGET, worker.name, worker.beat), answers.nothing, source=FORGET.source)

    def saw(self, sids: Sequence[str]) -> None:
        """One script."""
        self._ask(self._layout.call(SAW, *sids), answers.nothing, source=SAW.source)

    def close(self) -> None:
        """Closes the connection."""
        line, self._line = self._line, None
        if line is not None:
            line.close()


class _Layout:
    """The keys, and the beginning that all script calls share."""

    __slots__ = ("_base", "_keys", "_limits", "log", "rulings")

    def __init__(self, prefix: str, watch: Watch, partition: int, partitions: int) -> None:
        names = ("rulings", "until", "log", "workers")
        self._base = f"{{{prefix}:{partition}}}:"
        self._keys = tuple(f"{self._base}{name}".encode() for name in names)
        spread = f"/{partitions}" if partitions > 1 else ""
        self._limits = (repr(float(watch.lease_seconds)), packing.reach(watch.reach_seconds) + spread)
        self.rulings, self.log = self._keys[0], self._keys[2]

    def call(self, script: Script, *arguments: Argument) -> tuple[Argument, ...]:
        """EVALSHA. The name and the link, should the step need them, are fresh each time: none may come twice."""
        name, link = secrets.token_urlsafe(8), secrets.token_urlsafe(8)
        return (b"EVALSHA", script.digest, b"4", *self._keys, name, link, *self._limits, *arguments)

    def call_on_marks(self, script: Script, group: str, *arguments: Argument) -> tuple[Argument, ...]:
        """The same with the two keys of a group."""
        command, digest, _, *rest = self.call(script, *arguments)
        more = (f"{self._base}m:{group}", f"{self._base}e:{group}")
        return (command, digest, b"6", *rest[: len(self._keys)], *more, *rest[len(self._keys) :])
