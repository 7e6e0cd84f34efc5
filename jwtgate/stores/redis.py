"""Redis (from 7.0) and Valkey as a store: each step is one script, so it is atomic on the server (H1, W1).

Keys, layout version 1, all on the slot of ``{prefix:0}`` (design §5):

    {prefix:0}:rulings  hash: digest in hex -> ruling as JSON; ``epoch`` -> epoch record as JSON;
                        ``end`` -> "<position> <link> <id in the log>"
    {prefix:0}:until    sorted set: digest -> when its ruling may be forgotten
    {prefix:0}:log      stream: link, previous, digest, ruling; ids are <ms>-<position>
    {prefix:0}:workers  hash: name -> [reach, acknowledged, beat, healing]

The rules stand in ``scripts/*.lua``; here arguments are packed and answers read.
"""

from __future__ import annotations

import json
import math
import secrets
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoPermissionError, ResponseError

from jwtgate.errors import StoreUnavailable
from jwtgate.stores.contract import Entry, Epoch, Facts, LogEnd, Renewal, Worker, Written
from jwtgate.stores.wire import Answer, Line, Lines, Script, dial_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jwtgate.core.rulings import Change
    from jwtgate.stores.contract import Repair, Watch
    from jwtgate.stores.wire import Argument, Dial

__all__ = ["RedisFeed", "RedisStore"]

LOOK_UP, WRITE, RENEW, WORKERS, REPAIR, LOSE, FORGET = map(
    Script.load, ("look_up", "write", "renew", "workers", "repair", "lose", "forget")
)


class RedisStore:
    """A ``Store`` on one Redis or Valkey server, or on what stands behind one address."""

    def __init__(self, url: str, *, prefix: str, watch: Watch) -> None:
        """Connects to nothing yet. Raises: SettingsError where the URL cannot be used."""
        self._dial = dial_settings(url)
        self._lines = Lines(self._dial)
        self._layout = _Layout(prefix, watch)

    def look_up(self, digests: Sequence[bytes]) -> Facts:
        """One HMGET inside one script."""
        command = self._layout.call(LOOK_UP, *[digest.hex() for digest in digests])
        return self._lines.ask(command, _facts, source=LOOK_UP.source)

    def write(self, changes: Sequence[Change], now: float) -> Written:
        """W1. Never retried: after a timeout nobody knows whether it was done."""
        command = self._layout.call(WRITE, repr(now), *[part for change in changes for part in _pack(change)])
        return self._lines.ask(command, _written, source=WRITE.source)

    def workers(self) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
        """Epoch, end and workers."""
        return self._lines.ask(self._layout.call(WORKERS), _members, source=WORKERS.source)

    def feed(self) -> RedisFeed:
        """A feed with a connection of its own."""
        return RedisFeed(self._dial, self._layout)

    def forget(self, worker: Worker) -> None:
        """HDEL if the beat is the same."""
        self._lines.ask(self._layout.call(FORGET, worker.name, worker.beat), _nothing, source=FORGET.source)

    def audit(self) -> tuple[str, ...]:
        """Role, version, eviction and persistence; several round trips."""
        return (*self._audit_identity(), *self._audit_configuration())

    def _audit_identity(self) -> Iterator[str]:
        info = self._inquire("INFO", _info)
        if info is None:
            yield "INFO is not permitted, and without it no look-up works: the server's identity cannot be compared."
            return
        if not info.get("run_id") or not info.get("master_replid"):
            yield "INFO hides run_id or master_replid, and without them no look-up works."
        if info.get("role") not in (None, "master"):
            yield "The server is a replica: it takes no writes and can be behind."
        version = info.get("redis_version", "0")
        if int(version.partition(".")[0]) < 7:
            yield f"The server speaks Redis {version}; 7.0 is needed."

    def _audit_configuration(self) -> Iterator[str]:
        settings = self._inquire("CONFIG", _pairs, "GET", "maxmemory-policy", "appendonly", "save")
        if settings is None:
            yield "CONFIG is not permitted, so eviction and persistence could not be checked."
            return
        policy = settings.get("maxmemory-policy", "")
        if policy != "noeviction":
            yield f"maxmemory-policy is {policy}: the server may evict rulings; it should be noeviction."
        if settings.get("appendonly") == "no" and not settings.get("save"):
            yield "Nothing is persisted: after a restart only running processes know what was revoked."

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
            _reach_text(worker.reach_seconds),
            worker.acknowledged,
            worker.beat,
            int(worker.is_healing),
            epoch or "",
            int(healed),
            int(settled),
        )
        return self._ask(command, _renewal, source=RENEW.source)

    def read(self, cursor: str, block_seconds: float, limit: int) -> tuple[Entry, ...]:
        """XREAD, which overshoots its time by up to 0.1 s."""
        block = ("BLOCK", max(1, int(block_seconds * 1000))) if block_seconds > 0 else ()  # BLOCK 0 is for ever
        command = ("XREAD", "COUNT", limit, *block, "STREAMS", self._layout.log, cursor)
        return self._ask(command, _entries, wait_seconds=max(0.0, block_seconds))

    def pages(self, size: int) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """HSCAN: what is there from start to end is returned, perhaps twice."""
        cursor = b"0"
        while True:
            cursor, page = self._ask(("HSCAN", self._layout.rulings, cursor, "COUNT", size), _page)
            if page:
                yield page
            if cursor == b"0":
                return

    def repair(self, epoch: str, repairs: Sequence[Repair]) -> tuple[bytes, ...] | None:
        """L1, one batch."""
        parts = [
            part
            for repair in repairs
            for part in (repair.digest.hex(), repair.expected or b"", repair.ruling, _time_text(repair.until))
        ]
        return self._ask(self._layout.call(REPAIR, epoch, *parts), _digests, source=REPAIR.source)

    def lose(self, epoch: str) -> None:
        """H2."""
        self._ask(self._layout.call(LOSE, epoch), _nothing, source=LOSE.source)

    def forget(self, worker: Worker) -> None:
        """HDEL if the beat is the same."""
        self._ask(self._layout.call(FORGET, worker.name, worker.beat), _nothing, source=FORGET.source)

    def close(self) -> None:
        """Closes the connection."""
        line, self._line = self._line, None
        if line is not None:
            line.close()


class _Layout:
    """The keys, and the beginning that all script calls share."""

    __slots__ = ("_keys", "_limits", "log", "rulings")

    def __init__(self, prefix: str, watch: Watch) -> None:
        names = ("rulings", "until", "log", "workers")
        self._keys = tuple(f"{{{prefix}:0}}:{name}".encode() for name in names)
        self._limits = (repr(float(watch.lease_seconds)), _reach_text(watch.reach_seconds))
        self.rulings, self.log = self._keys[0], self._keys[2]

    def call(self, script: Script, *arguments: Argument) -> tuple[Argument, ...]:
        """EVALSHA. The name and the link, should the step need them, are fresh each time: none may come twice."""
        name, link = secrets.token_urlsafe(8), secrets.token_urlsafe(8)
        return (b"EVALSHA", script.digest, b"4", *self._keys, name, link, *self._limits, *arguments)


def _pack(change: Change) -> tuple[Argument, ...]:
    return (
        change.digest.hex(),
        b"" if change.revoked is None else int(change.revoked),
        b"1" if change.cuts_off else b"",
        b"" if change.min_version is None else change.min_version,
        _time_text(change.until),
    )


def _time_text(value: float | None) -> str:
    """Without a finite end nothing is forgotten."""
    return repr(float(value)) if value is not None and math.isfinite(value) else ""


def _reach_text(value: float) -> str:
    return repr(float(value)) if math.isfinite(value) else "-1"


@lru_cache(maxsize=8)
def _epoch(text: bytes) -> Epoch:
    """Cached: the record is the same for hours."""
    record = json.loads(text)
    lease, reach = float(record["lease"]), _reach(float(record["reach"]))
    return Epoch(str(record["name"]), lease, reach, record["healed"] == 1, record["settled"] == 1)


@lru_cache(maxsize=8)
def _end(text: bytes) -> LogEnd:
    position, link, cursor = text.decode().split(" ")
    return LogEnd(int(position), link, cursor)


def _reach(value: float) -> float:
    return math.inf if value < 0 else value


def _workers(flat: list[bytes]) -> tuple[Worker, ...]:
    workers: list[Worker] = []
    for name, text in zip(flat[::2], flat[1::2], strict=True):
        reach, acknowledged, beat, healing = json.loads(text)
        workers.append(Worker(name.decode(), _reach(float(reach)), int(acknowledged), int(beat), bool(healing)))
    return tuple(workers)


def _facts(answer: Any) -> Facts:
    return Facts(_epoch(answer[0]), _end(answer[1]), tuple(answer[2]))


def _written(answer: Any) -> Written:
    epoch, end, at, rulings, workers = answer
    return Written(_epoch(epoch), _end(end), float(at), tuple(rulings), _workers(workers))


def _renewal(answer: Any) -> Renewal:
    epoch, end, was_registered, workers = answer
    return Renewal(_epoch(epoch), _end(end), was_registered == 1, _workers(workers))


def _members(answer: Any) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
    return _epoch(answer[0]), _end(answer[1]), _workers(answer[2])


def _entries(answer: Any) -> tuple[Entry, ...]:
    """[[log, [[id, [name, value, ...]], ...]]], or nil when the wait was for nothing."""
    if not answer:
        return ()
    entries: list[Entry] = []
    for entry_id, (_, link, _, previous, _, digest, _, ruling) in answer[0][1]:
        cursor = entry_id.decode()
        position = int(cursor.rpartition("-")[2])
        digest_bytes = bytes.fromhex(digest.decode())
        entries.append(Entry(position, link.decode(), previous.decode(), cursor, digest_bytes, ruling))
    return tuple(entries)


def _page(answer: Any) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    cursor, flat = answer
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return cursor, [(bytes.fromhex(name.decode()), text) for name, text in pairs if name not in (b"epoch", b"end")]


def _digests(answer: Any) -> tuple[bytes, ...] | None:
    return None if answer is None else tuple(bytes.fromhex(digest.decode()) for digest in answer)


def _pairs(answer: Any) -> dict[str, str]:
    texts = [part.decode() for part in answer]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _info(answer: Any) -> dict[str, str]:
    lines = (line.partition(":") for line in answer.decode().splitlines())
    return {name: value for name, _, value in lines}


def _nothing(_answer: Any) -> None:
    return None
