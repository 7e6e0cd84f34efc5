"""SQLite: one file for the processes of one machine.

The identity (H1) is the file's device and inode: a backup moved into the file's place is another history, and each operation
looks first whether the path still names the file that is open. What a backup copied *into* the file undoes, only processes see
that had seen more (``progress``). A writer that is stopped keeps all others from writing until it goes on; they read on (WAL).

A forked child inherits SQLite's memory of its locks, not the locks: whoever closes the file as the last who holds one would
take the write-ahead log from under the child, which then reads and writes what nobody else sees. So a child takes those locks
itself (``_relock``), as sqlite.org/walformat.html describes them. The same befalls whoever has them open when somebody deletes
the log or its index, so each operation looks for these, too. A new connection waits for the last old one: they share one index.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sqlite3
import time
import weakref
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import Double, LargeBinary, func, literal
from sqlalchemy.dialects.sqlite import insert

from jwtgate.core.history import NotWritten, StoreBusy
from jwtgate.errors import StoreUnavailable
from jwtgate.stores.contract import Weakness
from jwtgate.stores.sql.dialects import TIMEOUT_SECONDS
from jwtgate.stores.sql.sqlite_patience import PatientConnection
from jwtgate.stores.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping

    from sqlalchemy import ColumnElement, Table, Update

    from jwtgate.stores.sql.dialects import Raw, Statement
    from jwtgate.stores.sql.tables import Tables

__all__ = ["SQLite"]

NETWORK_FILE_SYSTEMS = frozenset(
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "afs", "lustre", "gfs2"]
)
"""Where WAL's shared memory, or locking itself, does not work between machines."""

LOCKS = (("", 0x40000002, 510), ("-shm", 128, 1))
"""End of a file's name, first octet and length of what every process that has the database open holds a shared lock on."""

FILES = ("", "-wal", "-shm")
"""Ends of the names of all that an open database consists of."""

TAKEN_AWAY = (
    "the database's -wal or -shm file was taken away under it, and connections that have the old ones open are still there"
)

_opened: weakref.WeakSet[Any] = weakref.WeakSet()
"""Of this process, whoever made them."""

LEAST_FREE_BYTES = 16 * 1024 * 1024
"""The log grows to four megabytes before it is written back, and a storm of revocations takes more."""

LET_GO = "the database was closed by the process that this one was forked from: this one must be started anew"


class SQLite:
    """See ``Dialect``."""

    url = "sqlite://"
    secrets: tuple[str, ...] = ()
    options: Mapping[str, Any] = MappingProxyType({})
    has_boot = False
    after: tuple[str, ...] = ()

    def __init__(self, path: str) -> None:
        self.path = path
        self._abandoned: list[Raw] = []
        self._locks: list[int] = []
        self._locked = (0, b"")
        self._lost = b""
        self._turns = Turns(1)

    def begin(self, tables: Tables) -> tuple[str, ...]:  # noqa: ARG002
        """The one lock there is."""
        return ("BEGIN IMMEDIATE",)

    def limits(self, raw: Raw) -> tuple[str, ...]:  # noqa: ARG002
        """None: all waiting is ours."""
        return ()

    def relaxing(self, raw: Raw, *, is_relaxed: bool) -> str:  # noqa: ARG002
        """By how often it waits for the disk."""
        return f"PRAGMA synchronous={'NORMAL' if is_relaxed else 'FULL'}"

    def server(self, tables: Tables) -> ColumnElement[bytes]:  # noqa: ARG002
        """Device and inode of the file that this connection has open."""
        return func.jwtgate_identity(type_=LargeBinary)

    def is_same(self, tables: Tables) -> ColumnElement[bool]:
        """The same file."""
        return tables.meta.c.identity == self.server(tables)

    def clock(self) -> ColumnElement[float]:
        """This machine's."""
        return func.jwtgate_clock(type_=Double)

    def mark(self) -> ColumnElement[bytes]:
        """Nothing."""
        return literal(b"", LargeBinary)

    def insert_missing(self, table: Table) -> Statement:
        """INSERT … ON CONFLICT DO NOTHING."""
        return insert(table).on_conflict_do_nothing()

    def announcing(self, update: Update, tables: Tables) -> Statement:  # noqa: ARG002
        """Nobody can be woken."""
        return update

    def guard_creation(self, tables: Tables) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """As every write."""
        return self.begin(tables), ("COMMIT",)

    def prepare_epoch(self, tables: Tables) -> Statement:  # noqa: ARG002
        """Nothing to prepare."""
        return None

    def connect(self, deadline: float) -> Raw:
        """Opens the file, and makes it where there is none. What was there must be there afterwards."""
        if self._abandoned:
            self._relock()
        before = _place(self.path)
        self._refuse_old_files()
        raw = sqlite3.connect(
            self.path, timeout=TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False, factory=PatientConnection
        )
        try:
            place = _place(self.path)
            raw.pid, raw.place = os.getpid(), place
            raw.create_function("jwtgate_identity", 0, lambda: place)
            raw.create_function("jwtgate_clock", 0, time.time)
            _insist(raw, "PRAGMA journal_mode=WAL", deadline)
            raw.be_patient()
            raw.execute(self.relaxing(raw, is_relaxed=False))
            raw.execute("PRAGMA schema_version").close()  # opens all that there is to be locked
            raw.places, raw.files = self._places(), self._files()
            _opened.add(raw)
            if before not in (b"", place) or self.is_stale(raw):
                raise NotWritten("the database's file was replaced while it was opened")
        except BaseException:
            raw.close()
            raise
        return raw

    def bound(self, raw: Raw, deadline: float, *, is_asking: bool = True) -> None:  # noqa: ARG002
        """Only for the one lock is anything waited."""
        raw.deadline = deadline

    @contextlib.contextmanager
    def together(self, raw: Raw) -> Generator[None]:  # noqa: ARG002
        """There is no way between; but SQLite gives its lock to whoever asks first after it is free, so we take turns."""
        turns = self._turns
        if not turns.take(TIMEOUT_SECONDS):
            raise StoreBusy("others of this process were writing all the time")
        try:
            yield
        finally:
            turns.give()

    def settle(self, raw: Raw, *, but: int = 0) -> None:
        """Nothing is owed."""

    def is_busy(self, error: BaseException) -> bool:
        """Others were writing all the time, or the disk is full."""
        return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_FULL"))

    def is_stale(self, raw: Raw) -> bool:
        """Whether the paths name other files now, or none."""
        return bool(self._files() != raw.files)

    has_moved = is_stale

    def listen(self, raw: Raw, tables: Tables) -> None:
        """There is nobody to ask."""

    def wait(self, raw: Raw, seconds: float) -> None:  # noqa: ARG002
        """Sleeps."""
        time.sleep(seconds)

    def abandon(self, raw: Raw) -> None:
        """Kept open for ever: SQLite forbids even to close it here."""
        self._abandoned.append(raw)
        self._turns = Turns(1)  # a thread that is not here may have held the one before
        with contextlib.suppress(StoreUnavailable):  # told by whoever connects
            self._relock()

    def _relock(self) -> None:
        """Before another process may close the file. The descriptors stay open: closing one gives up all locks of a process."""
        import fcntl  # here, since where there is none nobody forks

        place = _place(self.path)
        inherited = [raw for raw in self._abandoned if raw.place == place]
        if not inherited or self._locked == (os.getpid(), place):
            return
        if self._lost == place:
            raise NotWritten(LET_GO)
        self._lost = place  # unless it can be shown to be held
        try:
            for end, first, length in LOCKS:
                self._locks.append(os.open(self.path + end, os.O_RDWR))
                fcntl.lockf(self._locks[-1], fcntl.LOCK_SH | fcntl.LOCK_NB, length, first)
        except OSError as error:
            raise NotWritten(LET_GO) from error
        if any(raw.places != self._places() for raw in inherited):
            raise NotWritten(LET_GO)
        self._locked, self._lost = (os.getpid(), place), b""

    def _refuse_old_files(self) -> None:
        """Raises: sqlite3.OperationalError: the pool lets go of what is free, and of the rest when it comes back."""
        opened, files = list(_opened), self._files()  # in this order: another thread may open and make them at this moment
        old = [raw for raw in opened if not raw.is_closed and raw.files[0] == files[0] and raw.files != files]
        if old:
            raise sqlite3.OperationalError(TAKEN_AWAY if all(raw.pid == os.getpid() for raw in old) else LET_GO)

    def _files(self) -> tuple[bytes, ...]:
        return tuple([_place(self.path + end) for end in FILES])

    def _places(self) -> tuple[bytes, ...]:
        return tuple(_place(self.path + end) for end, _, _ in LOCKS)

    def explain(self, error: BaseException) -> str | None:
        """A folder that is not there, or may not be written."""
        if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_NOTADB")):
            return f"{self.path}: {error}. The folder must be there and may be written to, and the file be SQLite's."
        return None

    def most_lines(self, ask: Callable[[str], list[tuple[Any, ...]] | None]) -> None:
        """A file has no server that would count."""

    def audit(self, ask: Callable[[str], list[tuple[Any, ...]] | None], tables: Iterable[str]) -> Iterator[Weakness]:  # noqa: ARG002
        """Journal, folder, file system."""
        mode = ask("PRAGMA journal_mode")
        if mode != [("wal",)]:
            yield Weakness(
                "The database is not in WAL mode, so that readers and writers keep each other waiting.",
                f"sqlite3 {shlex.quote(self.path)} 'PRAGMA journal_mode=WAL'",
            )
        folder = Path(self.path).parent
        if not os.access(folder, os.W_OK):
            yield Weakness(f"The folder {folder} may not be written to.", f"chown <the gate's user> {shlex.quote(str(folder))}")
        free = shutil.disk_usage(folder).free if folder.is_dir() else 0
        if free < LEAST_FREE_BYTES:
            yield Weakness(
                f"The disk under {folder} has {free // 1024} KiB left: a full one takes no revocations.",
                f"df -h {shlex.quote(str(folder))}  # make room",
            )
        file_system = _file_system(folder)
        if file_system in NETWORK_FILE_SYSTEMS:
            yield Weakness(
                f"The database lies on a network file system ({file_system}), where SQLite's locks do not hold.",
                "JWTGATE_STORE=sqlite:///path on a local disk, or postgresql+psycopg://host/database",
            )


def _place(path: str) -> bytes:
    try:
        found = os.stat(path)  # noqa: PTH116 - thrice an operation, and a Path takes as long as all of them
    except OSError:
        return b""
    return b"%d:%d" % (found.st_dev, found.st_ino)


def _insist(raw: Raw, statement: str, deadline: float) -> None:
    """SQLite does not wait while it changes the journal's mode, which two processes may do at once."""
    while True:
        try:
            raw.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _file_system(folder: Path) -> str:
    """Its type, by the longest mount point above it; empty where the system does not tell."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    found = ("", "")
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4]
        if len(point) >= len(found[0]) and folder.resolve().is_relative_to(point):
            found = (point, after.split(" ")[0])
    return found[1]
