"""Whether what stands at our keys is ours: records of a newer layout, garbage, what other programs have put there.

One entry that cannot be read can make every step fail, and only its name helps whoever is to take it away. Reads alone,
and bounded: of a large store the first so many keys and log entries.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Protocol, cast

from redis.exceptions import ResponseError

from jwtgate.errors import StoreUnavailable
from jwtgate.stores.contract import Weakness
from jwtgate.stores.redis import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jwtgate.stores.redis.dialling import Argument
    from jwtgate.stores.redis.wire import Answer

__all__ = ["Ask", "Inspecting", "of_wrong_type", "quoted"]

TYPES = (resources.files("jwtgate.stores.redis") / "scripts" / "types.lua").read_bytes()

END = re.compile(rb"\d+ [\w.-]+ \d+-\d+")
EPOCH = {
    "name": str,
    "birth": float,
    "run_id": str,
    "replid": str,
    "lease": float,
    "reach": float,
    "partitions": int,
    "healed": int,
    "settled": int,
}
LATER = frozenset({"restored"})
"""Fields that a record may lack: one that was written before there was a journal."""

LOG_FIELDS = [b"link", b"previous", b"digest", b"ruling"]
SINGLE_TYPES = {"rulings": "hash", "until": "zset", "log": "stream", "workers": "hash"}
OUR_TYPES = SINGLE_TYPES | {"s": "hash", "g": "string", "u": "zset", "m": "hash", "e": "zset"}
"""Name of a key, up to its second colon, to what it is."""

PLAIN = re.compile(rb"[\w.:{}@/+=-]+")
LOG_ENTRIES = 1000
SCANS, KEYS_PER_SCAN = 10, 500
TOLD = 20
"""Keys of one audit: more would not help."""


class Ask(Protocol):
    """``Lines.ask``, whichever server it reaches."""

    def __call__(self, command: tuple[Argument, ...], decode: Callable[[Any], Answer]) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Inspecting:
    """The keys of one partition.

    Attributes:
        ask: asks their server.
        prefix: of the keys.
        partition: its number.
    """

    ask: Ask
    prefix: str
    partition: int = 0

    def weaknesses(self) -> Iterator[Weakness]:
        """Of the records, the list of workers, the log, and the names of all keys."""
        yield from self._records()
        yield from self._workers()
        yield from self._log()
        yield from self._foreign_keys()

    def _key(self, name: str) -> str:
        return f"{{{self.prefix}:{self.partition}}}:{name}"

    def _read(self, *command: Argument) -> Any:
        """None where the server refuses: a right that is missing or a key of a wrong type is said by ``probing``."""
        try:
            return self.ask(command, answers.raw)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, ResponseError):
                return None
            raise

    def _records(self) -> Iterator[Weakness]:
        rulings = self._key("rulings")
        epoch, end = self._read("HMGET", rulings, "epoch", "end") or (None, None)
        if end is not None and not END.fullmatch(end):
            yield _unreadable("The record of the log's end", f"HDEL {rulings} end", rulings)
        if epoch is None:
            return
        record = _object(epoch)
        if record is None or any(not _is_a(record.get(name), kind) for name, kind in EPOCH.items()):
            yield _unreadable("The epoch record", f"HDEL {rulings} epoch", rulings)
            return
        strange = sorted(ascii(name) for name in record.keys() - EPOCH.keys() - LATER)
        if strange:
            told = ", ".join(strange)[:80]
            yield Weakness(
                f"The epoch record has fields that this version does not know ({told}): a newer jwtgate wrote it.",
                "pip install --upgrade jwtgate  # or another JWTGATE_PREFIX",
                about=rulings,
            )

    def _workers(self) -> Iterator[Weakness]:
        workers = self._key("workers")
        flat: list[bytes] = self._read("HGETALL", workers) or []
        for name, text in zip(flat[::2], flat[1::2], strict=True):
            with suppress(StoreUnavailable, ValueError, TypeError):
                if name == b"epoch" or answers.members([_SOUND_EPOCH, b"0 x 0-0", [name, text]]):
                    continue
            yield _unreadable("An entry of the list of workers", f"HDEL {workers} {quoted(name)}", workers)

    def _log(self) -> Iterator[Weakness]:
        log = self._key("log")
        read = self._read("XREAD", "COUNT", LOG_ENTRIES, "STREAMS", log, "0")
        for name, fields in read[0][1] if read else ():
            if fields[::2] != LOG_FIELDS or not re.fullmatch(rb"[0-9a-f]{32}", fields[5]):
                yield _unreadable("An entry of the change log", f"XDEL {log} {name.decode()}", log)

    def _foreign_keys(self) -> Iterator[Weakness]:
        """Where our user may not list keys, nothing: the store itself never does."""
        cursor, told = b"0", 0
        for _ in range(SCANS):
            page = self._read("SCAN", cursor, "MATCH", self._key("*"), "COUNT", KEYS_PER_SCAN)
            if page is None:
                return
            cursor, names = page
            types: list[bytes] = (names and self._read("EVAL", TYPES, "0", *names)) or []
            for name, kind in zip(names, types, strict=False):
                finding = self._foreign(name, kind.decode())
                if finding is not None and told < TOLD:
                    told += 1
                    yield finding
            if cursor == b"0":
                return

    def _foreign(self, key: bytes, kind: str) -> Weakness | None:
        name = key.removeprefix(self._key("").encode()).decode(errors="replace")
        ours = OUR_TYPES.get(name.partition(":")[0])
        if kind in ("none", ours):
            return None
        if ours is None:
            told = quoted(key)
            problem = f"What stands at {told} is none of this version's: another program writes under JWTGATE_PREFIX."
            return Weakness(problem, "JWTGATE_PREFIX=<one that nobody else writes under>", "hint", about=told)
        return of_wrong_type(key)


_SOUND_EPOCH = b'{"name":"","birth":1,"lease":1,"reach":1,"healed":1,"settled":1}'


def of_wrong_type(key: bytes) -> Weakness:
    """The line that takes away what stands in the store's place."""
    told = quoted(key)
    problem = f"What stands at {told} is of a wrong type and not the store's: every step that needs it fails."
    return Weakness(problem, f"DEL {told}", about=told)


def _unreadable(what: str, line: str, key: str) -> Weakness:
    return Weakness(f"{what} is none of ours and cannot be read: steps that meet it fail.", line, about=key)


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", record) if isinstance(record, dict) else None


def _is_a(value: object, kind: type) -> bool:
    return isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)


def quoted(name: bytes) -> str:
    """As redis-cli reads it: what is not plain in double quotes, with its own escapes."""
    if PLAIN.fullmatch(name):
        return name.decode()
    letters = (chr(octet) if 32 <= octet < 127 and octet not in b'"\\' else f"\\x{octet:02x}" for octet in name)
    return f'"{"".join(letters)}"'
