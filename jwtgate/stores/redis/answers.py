"""What Redis answers, read into the contract's shapes.

Nothing is trusted to be ours: whatever does not fit raises, as it falls, and ``Line.ask`` makes StoreUnavailable of it.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import Any

from jwtgate.core.history import Entry, Epoch, Facts, LogEnd, Marked, MarkPage, Renewal, Worker, Written
from jwtgate.core.sessions.stored import StoredSession

__all__ = [
    "digests",
    "entries",
    "facts",
    "info",
    "marked",
    "marks",
    "members",
    "moment",
    "nothing",
    "page",
    "pairs",
    "raw",
    "renewal",
    "texts",
    "truth",
    "written",
]


@lru_cache(maxsize=8)
def _epoch(text: bytes) -> Epoch:
    """Cached: the record is the same for hours."""
    record = json.loads(text)
    lease, reach = float(record["lease"]), _reach(float(record["reach"]))
    healed, settled, restored = [record.get(name) == 1 for name in ("healed", "settled", "restored")]
    return Epoch(str(record["name"]), lease, reach, healed, settled, float(record["birth"]), restored)


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


def facts(answer: Any) -> Facts:
    """Of look_up.lua and sessions_of.lua."""
    epoch, end, rulings, sessions, at = answer
    found = tuple(None if session is None else _readable(session) for session in sessions)
    return Facts(_epoch(epoch), _end(end), tuple(rulings), found, float(at) if at else 0.0)


def _readable(answer: Any) -> StoredSession:
    """One that is not ours is found without a record and without handles, which the core calls unreadable: it shares its
    answer with other requests, and is no failure of the store.
    """
    try:
        return _session(answer)
    except (ValueError, TypeError):
        return StoredSession(str(answer[0], "ascii", "replace"), b"", "", 0.0, 0.0, False, b"", (), ())


def _session(answer: Any) -> StoredSession:
    sid, record, stamp, seen, ends, ended, successors, handles, rulings = answer
    octets = bytes.fromhex(handles.decode())
    return StoredSession(
        sid=sid.decode(),
        record=record or b"",
        stamp=(stamp or b"").decode(),
        seen_at=float(seen or 0),
        ends_at=float(ends),
        is_ended=ended is not None,
        successors=successors or b"",
        handles=tuple(octets[first : first + 16] for first in range(0, len(octets), 16)),
        rulings=tuple(rulings),
    )


def written(answer: Any) -> Written | None:
    """Of write.lua."""
    if answer is None:
        return None
    epoch, end, at, rulings, workers = answer
    return Written(_epoch(epoch), _end(end), float(at), tuple(rulings), _workers(workers))


def renewal(answer: Any) -> Renewal:
    """Of renew.lua."""
    epoch, end, was_registered, workers = answer
    return Renewal(_epoch(epoch), _end(end), was_registered == 1, _workers(workers))


def marked(answer: Any) -> Marked:
    """Of mark.lua."""
    text, is_new, at, since = answer
    epoch = _epoch(text)
    return Marked(is_new == 1, epoch, float(at), max(float(since), epoch.birth))


def marks(answer: Any) -> MarkPage:
    """Of marks.lua."""
    epoch, flat, behind = answer
    page: list[tuple[bytes, bytes, float]] = []
    for name, text in zip(flat[::2], flat[1::2], strict=True):
        until, _, value = text.partition(b" ")
        page.append((bytes.fromhex(name.decode()), value, float(until)))
    return MarkPage(_epoch(epoch), tuple(page), behind.decode() if behind else None)


def members(answer: Any) -> tuple[Epoch, LogEnd, tuple[Worker, ...]]:
    """Of workers.lua."""
    return _epoch(answer[0]), _end(answer[1]), _workers(answer[2])


def entries(answer: Any) -> tuple[Entry, ...]:
    """Of XREAD: [[log, [[id, [name, value, ...]], ...]]], or nil when the wait was for nothing."""
    if not answer:
        return ()
    entries: list[Entry] = []
    for entry_id, (_, link, _, previous, _, digest, _, ruling) in answer[0][1]:
        cursor = entry_id.decode()
        position = int(cursor.rpartition("-")[2])
        digest_bytes = bytes.fromhex(digest.decode())
        entries.append(Entry(position, link.decode(), previous.decode(), cursor, digest_bytes, ruling))
    return tuple(entries)


_DIGEST = re.compile(rb"[0-9a-f]{32}")


def page(answer: Any) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Of HSCAN: the next cursor and the rulings, without the two records of the store's own and what others put there."""
    cursor, flat = answer
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return cursor, [(bytes.fromhex(name.decode()), text) for name, text in pairs if _DIGEST.fullmatch(name)]


def digests(answer: Any) -> tuple[bytes, ...] | None:
    """Of repair.lua."""
    return None if answer is None else tuple(bytes.fromhex(digest.decode()) for digest in answer)


def truth(answer: Any) -> bool:
    """Of restore_sessions.lua."""
    return bool(answer == 1)


def pairs(answer: Any) -> dict[str, str]:
    """Of CONFIG GET."""
    texts = [part.decode() for part in answer]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def info(answer: Any) -> dict[str, str]:
    """Of INFO."""
    lines = (line.partition(":") for line in answer.decode().splitlines())
    return {name: value for name, _, value in lines}


def moment(answer: Any) -> float:
    """Of TIME."""
    seconds, microseconds = answer
    return int(seconds) + int(microseconds) / 1_000_000


def texts(answer: Any) -> list[str]:
    """Of probe.lua and types.lua."""
    return [part.decode(errors="replace") for part in answer]


def raw(answer: Any) -> Any:
    """As it came, for whoever looks for what cannot be read."""
    return answer


def nothing(_answer: Any) -> None:
    """Of lose.lua, forget.lua and saw.lua."""
