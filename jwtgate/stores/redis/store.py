"""Redis (from 7.0) and Valkey as a store: each step is one script, so it is atomic on the server (H1, W1).

Keys, layout version 1, those of partition N all on the slot of ``{prefix:N}`` (design §5):

    {prefix:0}:rulings  hash: digest in hex -> ruling as JSON; ``epoch`` -> epoch record as JSON;
                        ``end`` -> "<position> <link> <id in the log>"
    {prefix:0}:until    sorted set: digest -> when its ruling may be forgotten
    {prefix:0}:log      stream: link, previous, digest, ruling; ids are <ms>-<position>
    {prefix:0}:workers  hash: name -> [reach, acknowledged, beat, healing]; ``epoch`` -> the name of its epoch
    {prefix:0}:s:<sid>  hash, expiring: a session, see ``scripts/sessions.lua``
    {prefix:0}:g:<sid>  string, expiring: its sealed successors
    {prefix:0}:u:<user> sorted set, expiring: sid -> when the session ends

The rules stand in ``scripts/*.lua``; here arguments are packed, in ``answers`` the answers are read.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from jwtgate.core.sessions.stored import Guard
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.redis import answers, packing
from jwtgate.stores.redis.auditing import Auditing
from jwtgate.stores.redis.wire import Answer, Line, Lines, Script, dial_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jwtgate.core.history import Entry, Epoch, Facts, LogEnd, Renewal, Repair, Watch, Worker, Written
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.stored import KeptSession, SessionChange
    from jwtgate.stores.contract import Durability, Weakness
    from jwtgate.stores.redis.wire import Argument, Dial

__all__ = ["RedisFeed", "RedisStore"]

RENEW, WORKERS, REPAIR, LOSE, FORGET = map(Script.load, ("renew", "workers", "repair", "lose", "forget"))
LOOK_UP, SESSIONS_OF, WRITE, SAW, RESTORE_SESSIONS = [
    Script.load(name, "sessions") for name in ("look_up", "sessions_of", "write", "saw", "restore_sessions")
]


class RedisStore:
    """A ``Store`` on one Redis or Valkey server, or on what stands behind one address."""

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
        self._dial = dial_settings(url)
        self._lines = Lines(self._dial)
        self._layout = _Layout(prefix, watch, *share)
        self._prefix, self._watch, self._partition = prefix, watch, share[0]
        self._durability = durability

    def look_up(self, digests: Sequence[bytes], sids: Sequence[str] = ()) -> Facts:
        """One script."""
        command = self._layout.call(LOOK_UP, len(sids), *sids, *[digest.hex() for digest in digests])
        return self._lines.ask(command, answers.facts, source=LOOK_UP.source)

    def sessions_of(self, user: bytes) -> Facts:
        """One script."""
        return self._lines.ask(self._layout.call(SESSIONS_OF, user.hex()), answers.facts, source=SESSIONS_OF.source)

    def write(
        self,
        changes: Sequence[Change],
        now: float,
        sessions: Sequence[SessionChange] = (),
        guard: Guard | None = None,
    ) -> Written | None:
        """W1. Never retried: after a timeout nobody knows whether it was done."""
        command = self._layout.call(WRITE, repr(now), *packing.write(changes, sessions, guard or Guard()))
        return self._lines.ask(command, answers.written, source=WRITE.source)

    def workers(self) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
        """Epoch, end and workers."""
        return self._lines.ask(self._layout.call(WORKERS), answers.members, source=WORKERS.source)

    def feed(self) -> RedisFeed:
        """A feed with a connection of its own."""
        return RedisFeed(self._dial, self._layout)

    def forget(self, worker: Worker) -> None:
        """HDEL if the beat is the same."""
        self._lines.ask(self._layout.call(FORGET, worker.name, worker.beat), answers.nothing, source=FORGET.source)

    def audit(self) -> tuple[Weakness, ...]:
        """Of the server, of our rights on it, and of what stands at our keys."""
        return Auditing(self._lines.ask, self._dial, self._prefix, self._watch, self._partition).weaknesses()

    def reset_after_fork(self) -> None:
        """The child gets its own connections and locks."""
        self._lines.reset_after_fork()

    def close(self) -> None:
        """Closes the pooled connections."""
        self._lines.close()


class RedisFeed:
    """A ``Feed``: one connection for registration, reads, scan and repair (F2)."""

    def __init__(self, dial: Dial, layout: _Layout) -> None:
        self._line: Line | None = Line(dial)
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

    __slots__ = ("_keys", "_limits", "log", "rulings")

    def __init__(self, prefix: str, watch: Watch, partition: int, partitions: int) -> None:
        names = ("rulings", "until", "log", "workers")
        self._keys = tuple(f"{{{prefix}:{partition}}}:{name}".encode() for name in names)
        spread = f"/{partitions}" if partitions > 1 else ""
        self._limits = (repr(float(watch.lease_seconds)), packing.reach(watch.reach_seconds) + spread)
        self.rulings, self.log = self._keys[0], self._keys[2]

    def call(self, script: Script, *arguments: Argument) -> tuple[Argument, ...]:
        """EVALSHA. The name and the link, should the step need them, are fresh each time: none may come twice."""
        name, link = secrets.token_urlsafe(8), secrets.token_urlsafe(8)
        return (b"EVALSHA", script.digest, b"4", *self._keys, name, link, *self._limits, *arguments)
