"""The numbers of all workers of one machine, in the folder that prometheus_client has for that (``PROMETHEUS_MULTIPROC_DIR``).

Each process keeps a small file of its own there, written anew every second by its follower, at a scrape, and at its end; a
scrape reads all. Its owner holds a lock on it (flock), so it is known who has ended, whatever became of the pid: what such a
one has counted is added to one file for all of them, and its own is taken away. Who is killed loses a second of counting.

Invariants:
  * Counters never run back: what a process counted is found in its file or among those of the ended, never in none, and counted
    once. Files are read before the one of the ended, which names those that it has taken in.
  * Nobody waits for anybody: who finds the lock of the ended taken reads, and leaves the folding to another scrape.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import os
import secrets
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from errno import EINVAL, ENOSPC
from hashlib import sha256
from math import inf
from stat import S_ISREG
from typing import TYPE_CHECKING, Any
from zlib import crc32

from jwtgate.metrics import numbers
from jwtgate.runtime.clock import boot
from jwtgate.runtime.forking import after_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from jwtgate.gate import Gate
    from jwtgate.metrics.numbers import Numbers

__all__ = ["Sharing"]

logger = logging.getLogger("jwtgate")

WRITE_SECONDS = 1.0
SILENT_SECONDS = 3 * WRITE_SECONDS
"""Who has told nothing for longer renews no lease either, as far as anybody knows."""

REMEMBERED = 200
"""Files that are gone, of whose end somebody may not have heard who read them a moment before."""

MOST_BYTES = 4_194_304
"""Of one file; ours have some ten thousand."""

NO_TRICKS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""A link leads elsewhere, and a pipe would be waited for."""

HEAD_BYTES = len("0000000000 00000000\n")
READS = 20
"""A file is written in one piece, in microseconds: who meets it half written reads it again."""


class Sharing:
    """Of the gates of one collector in one process. Thread-safe."""

    def __init__(self, folder: Path, prefixes: Iterable[str], read: Callable[[], Numbers]) -> None:
        """Args: prefixes: ``PREFIX`` of the gates: which files are of the same application. read: the numbers of now.

        Raises: ValueError: there is no such folder.
        """
        if not folder.is_dir():
            raise ValueError("PROMETHEUS_MULTIPROC_DIR must name a folder that is there")
        self._folder = folder
        self._stem = f"jwtgate_{sha256(chr(0).join(sorted(prefixes)).encode()).hexdigest()[:8]}"
        self._read = read
        self._own: dict[Path, int] = {}
        self._written_at = -inf
        self._has_failed = False
        self._lock = threading.Lock()
        _all.add(self)
        weakref.finalize(self, _close, self._own).atexit = False

    @classmethod
    def of(cls, folder: Path, gates: Sequence[Gate]) -> Sharing:
        """The one of these gates in this process, however many collectors they have: each file counts as a worker.

        Raises: ValueError: there is no such folder.
        """
        key = folder, frozenset(map(weakref.ref, gates))
        known = _known.get(key)
        if known is None:
            known = _known[key] = cls(folder, [gate.settings.prefix for gate in gates], lambda: numbers.read_all(key[1]))
            for gate in gates:
                gate.onlookers.chores.append(known)
        return known

    def look(self) -> None:
        """A follower's chore: writes once a second."""
        if boot() - self._written_at >= WRITE_SECONDS:
            self.write()

    def leave(self) -> None:
        """The follower ends."""
        self.write()

    def write(self) -> None:
        """Tells the numbers of this process. A folder that cannot be written is said once, and disturbs nobody."""
        with self._lock:
            self._written_at = boot()
            try:
                if not self._own:
                    self._open()
                text = _packed({"taken_at": boot(), "numbers": numbers.written(self._read())})
                for file in self._own.values():
                    _put(file, text)
                self._has_failed = False
            except OSError as error:
                if not self._has_failed:
                    logger.warning("metrics cannot be shared in PROMETHEUS_MULTIPROC_DIR: %s", error)
                self._has_failed = True
            except Exception:  # whatever it is: the follower has better things to do than to fail for it
                if not self._has_failed:
                    logger.exception("metrics cannot be shared")
                self._has_failed = True

    def _open(self) -> None:
        """Under its name only once it is locked: nobody takes it for one whose owner has ended."""
        name = f"{self._stem}_{os.getpid()}_{secrets.token_hex(4)}.json"
        hidden = self._folder / f".{name}"
        file = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(hidden, self._folder / name)  # noqa: PTH104 - beside the other calls of its kind
        except OSError:
            os.close(file)
            hidden.unlink(missing_ok=True)
            raise
        self._own[self._folder / name] = file

    def let_go(self) -> None:
        """In a forked child: the file and its lock are the parent's."""
        _close(self._own)
        self._written_at = -inf
        self._lock = threading.Lock()  # the parent's may be held by a thread that is not here

    # --- the scrape

    def read_all(self) -> list[Numbers]:
        """Of every worker, those that have ended included."""
        self.write()
        found = {path: _read_file(path) for path in self._folder.glob(f"{self._stem}_*_*.json") if path not in self._own}
        ended, taken_in = self._ended()
        now = boot()
        whole = {path: each for path, each in found.items() if each is not None and path.name not in taken_in}
        over = [path for path in whole if _is_ownerless(path)]
        told = [self._read(), ended]
        for path, each in whole.items():
            silent = max(0.0, now - each.taken_at - SILENT_SECONDS)
            told.append(numbers.lasting(each.numbers) if path in over else numbers.aged(each.numbers, silent))
        self._fold(over)
        return told

    def _ended(self) -> tuple[Numbers, list[str]]:
        """What all that have ended counted, and the files that it was taken from last."""
        told = _read_file(self._ended_path)
        return ({}, []) if told is None else (told.numbers, told.taken_in)

    @property
    def _ended_path(self) -> Path:
        return self._folder / f"{self._stem}_ended"

    def _fold(self, paths: list[Path]) -> None:
        """Takes in what the ended counted. Written before their files are taken away: whoever dies between is no loss."""
        if not paths:
            return
        with suppress(OSError):
            lock = os.open(self._folder / f"{self._stem}_lock", os.O_RDWR | os.O_CREAT | NO_TRICKS, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._fold_locked(paths)
            finally:
                os.close(lock)

    def _fold_locked(self, paths: list[Path]) -> None:
        ended, taken_in = self._ended()
        there = {path.name for path in self._folder.glob(f"{self._stem}_*_*.json")}
        new = {path: _read_file(path) for path in paths if path.name in there and path.name not in taken_in}
        counted = [numbers.lasting(each.numbers) for each in new.values() if each is not None]
        names = (
            [name for name in taken_in[:-REMEMBERED] if name in there] + taken_in[-REMEMBERED:] + [path.name for path in new]
        )
        text = _packed({"numbers": numbers.written(numbers.merged([ended, *counted])), "taken_in": names})
        draft = self._folder / f".{self._stem}_{secrets.token_hex(4)}"
        try:
            draft.write_bytes(text)
            draft.replace(self._ended_path)
        except OSError:  # a full disk
            draft.unlink(missing_ok=True)
            raise
        for path in paths:
            path.unlink(missing_ok=True)


def _packed(shape: dict[str, Any]) -> bytes:
    text = json.dumps(shape, separators=(",", ":")).encode()
    return b"%010d %08x\n" % (len(text), crc32(text)) + text


def _put(file: int, text: bytes) -> None:
    """Room is made first: on a full disk what stands there stays whole. Raises: OSError."""
    size = os.fstat(file).st_size
    lacking = len(text) - size
    if lacking > 0 and os.pwrite(file, b" " * lacking, size) < lacking:
        raise OSError(ENOSPC, os.strerror(ENOSPC))
    os.pwrite(file, text, 0)


@dataclass(frozen=True, slots=True)
class _Told:
    """What stands in a file. Attributes: taken_in: of the ended, see the module."""

    numbers: Numbers
    taken_at: float
    taken_in: list[str]


def _read_file(path: Path) -> _Told | None:
    """None: it is gone, or nobody has written it whole, or it is nothing of ours."""
    for _ in range(READS):
        try:
            whole = _octets(path)
        except OSError:
            return None
        # Whatever a stranger has put there breaks no scrape.
        with suppress(ValueError, TypeError, AttributeError, RecursionError):
            length, checksum = int(whole[:10]), int(whole[11 : HEAD_BYTES - 1], 16)
            text = whole[HEAD_BYTES : HEAD_BYTES + length]
            if crc32(text) == checksum:
                shape: dict[str, Any] = json.loads(text)
                at, taken_in = float(shape.get("taken_at", 0.0)), [str(each) for each in shape.get("taken_in", ())]
                return _Told(numbers.readable(shape.get("numbers")), at, taken_in)
    return None


def _octets(path: Path) -> bytes:
    """Of a plain file of bearable size. Raises: OSError: it is none, or gone."""
    file = os.open(path, os.O_RDONLY | NO_TRICKS)
    try:
        found = os.fstat(file)
        if not S_ISREG(found.st_mode) or found.st_size > MOST_BYTES:
            raise OSError(EINVAL, os.strerror(EINVAL))
        return os.pread(file, MOST_BYTES, 0)
    finally:
        os.close(file)


def _close(own: dict[Path, int]) -> None:
    """Its lock goes with it, but where a parent has the file, too."""
    while own:
        os.close(own.popitem()[1])


def _is_ownerless(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDWR | NO_TRICKS)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


_all: weakref.WeakSet[Sharing] = weakref.WeakSet()
_known: weakref.WeakValueDictionary[tuple[Path, frozenset[weakref.ref[Gate]]], Sharing] = weakref.WeakValueDictionary()


def _let_go_all() -> None:
    for sharing in list(_all):
        sharing.let_go()


def _write_all() -> None:
    for sharing in list(_all):
        sharing.write()


after_fork(_let_go_all)
atexit.register(_write_all)
