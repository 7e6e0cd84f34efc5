"""Processes for commands, forked from one that has imported them already: starting Python anew takes most of a test's time.

The forked process is a real one of its own, with the environment, the arguments and the standard streams of the command; only
its imports are made before. What depends on those is tested with a whole new process (``COMMAND``).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

__all__ = ["Nursery"]

NURSE = """
import json, os, sys, traceback
import jwtgate.cli.commands, jwtgate.gate, redis, sqlalchemy
from jwtgate.cli.entry import main
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.environ.clear()
            os.environ.update(order["environ"])
            for number, (path, flags) in enumerate(order["streams"]):
                opened = os.open(path, flags)
                os.dup2(opened, number)
                os.close(opened)
            sys.argv = ["jwtgate", *order["arguments"]]
            sys.stdin = open(0, closefd=False)
            status = main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                import threading
                threading._shutdown()
                import atexit
                atexit._run_exitfuncs()
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """One at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nurse: subprocess.Popen[str] | None = None

    def run(self, arguments: tuple[str, ...], environ: dict[str, str], text: str, seconds: float) -> tuple[int, str, str]:
        """Exit status, standard output, standard error. Raises: subprocess.TimeoutExpired: it was ended."""
        with self._lock, tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "in").write_text(text)
            out = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            streams = [(str(folder / "in"), os.O_RDONLY), (str(folder / "out"), out), (str(folder / "err"), out)]
            nurse = self._started()
            assert nurse.stdin is not None
            assert nurse.stdout is not None
            print(json.dumps({"arguments": arguments, "environ": environ, "streams": streams}), file=nurse.stdin, flush=True)
            child = int(nurse.stdout.readline())
            late: list[int] = []

            def end() -> None:
                late.append(child)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, 9)

            timer = threading.Timer(seconds, end)
            timer.start()
            try:
                status = int(nurse.stdout.readline())
            finally:
                timer.cancel()
            if late:
                raise subprocess.TimeoutExpired(["jwtgate", *arguments], seconds)
            return status, (folder / "out").read_text(), (folder / "err").read_text()

    def _started(self) -> subprocess.Popen[str]:
        if self._nurse is None or self._nurse.poll() is not None:
            pipe = subprocess.PIPE
            self._nurse = subprocess.Popen([sys.executable, "-c", NURSE], stdin=pipe, stdout=pipe, text=True)
            atexit.register(self._nurse.communicate)
        return self._nurse
