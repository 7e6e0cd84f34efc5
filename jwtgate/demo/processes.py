"""One server process and whatever it starts: a process group with a log, of which nothing is left after ``stop``."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["ServerError", "ServerProcess"]

PATIENCE_SECONDS = 4.0
"""For an orderly end, before the group is killed."""

TAIL_LINES = 15


class ServerError(Exception):
    """A server did not start, or ended by itself. The text has the last lines of its log."""


class ServerProcess:
    """A command in a session of its own, so that Ctrl-C in the terminal reaches only the demo."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        """Starts nothing yet. Args: folder: where it runs and writes its log."""
        self.name = name
        self.command = command
        self.environment = environment
        self.folder = folder
        self.log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """To be called where no interruption can come between the start and the note of it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises: ServerError: it is not running."""
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"{self.name} has ended. The end of its log:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines of its log, indented."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  | {line}" for line in lines[-TAIL_LINES:]) or "  | (empty)"

    def request_end(self) -> None:
        """SIGTERM to the first process of the group; it knows how to end the others."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to the whole group: the end that nobody could prepare for."""
        if self._process is None:
            return
        _kill_group(self._process.pid, signal.SIGKILL)
        self._process.wait()
        _await_end_of_group(self._process.pid)
        self._process = None

    def stop(self) -> None:
        """Orderly if it can be had in time; then nothing of the group is left. May be called twice."""
        self.request_end()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_SECONDS)
            self.kill()


def _kill_group(group: int, number: int) -> bool:
    """Whether there was anybody."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # macOS says EPERM of a group of zombies
        return False
    return True


def _await_end_of_group(group: int) -> None:
    deadline = time.monotonic() + 1.0
    while _kill_group(group, 0) and time.monotonic() < deadline:
        time.sleep(0.005)
