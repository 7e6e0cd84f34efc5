"""Threads that work beside a test: none outlives it, whatever becomes of it, and what goes wrong in one is this test's fault."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["beside", "hung_up", "together"]

PATIENCE_SECONDS = 120.0
"""A thread that goes on for longer, on however busy a machine, would go on for ever."""


@contextmanager
def beside(*works: Callable[[], object], end: Callable[[], object] | None = None) -> Iterator[list[threading.Thread]]:
    """Each in a thread of its own while the block runs; they are waited for where it is left, by an error too.

    Args:
        end: tells them that the block is over, where they do not end by themselves.

    Raises:
        BaseException: what one of them raised, unless the block itself has raised something.
    """
    errors: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield threads
    except BaseException as error:
        for each in errors:
            error.add_note(f"beside it: {each!r}")
        raise
    finally:
        if end is not None:
            end()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        assert not any(thread.is_alive() for thread in threads), f"not over after {PATIENCE_SECONDS} s; {errors}"
    if errors:
        raise errors[0]


def together(*works: Callable[[], object]) -> None:
    """All at once; returns when the last one is over.

    Raises: as ``beside``.
    """
    with beside(*works):
        """Nothing else."""


def hung_up(listener: socket.socket) -> Callable[[], None]:
    """For ``end``: who waits for the next client hears that there is none. Closing alone tells a thread nothing."""

    def hang_up() -> None:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)

    return hang_up
