"""When did each worker apply each ruling? One file of 8-byte stamps per worker, indexed by position in the change log.

The worker writes through a memory map: no system call, so nothing that would hand the interpreter to another thread. Stamps
are of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from jwtgate.core.followed import Followed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.core.history import Entry

__all__ = ["FOLDER_VARIABLE", "read_stamps", "stamp_applications"]

FOLDER_VARIABLE = "BENCHMARK_STAMPS"
SLOTS = 1 << 20


def stamp_applications() -> None:
    """From now on every application of log entries in this process is stamped once it has been done."""
    path = Path(os.environ[FOLDER_VARIABLE]) / str(os.getpid())
    with path.open("w+b") as file:
        file.truncate(8 * SLOTS)
        stamps = memoryview(mmap.mmap(file.fileno(), 8 * SLOTS)).cast("q")
    apply = Followed.apply

    def apply_and_stamp(followed: Followed, entries: Iterable[Entry]) -> None:
        entries = tuple(entries)
        apply(followed, entries)
        now = time.monotonic_ns()
        for entry in entries:
            stamps[entry.position % SLOTS] = now

    Followed.apply = apply_and_stamp  # type: ignore[method-assign]


def read_stamps(folder: Path) -> list[memoryview]:
    """One per worker."""
    return [memoryview(path.read_bytes()).cast("q") for path in sorted(folder.iterdir())]
