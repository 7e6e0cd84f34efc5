"""The command in a process of its own, as a shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Self

from cli.nursery import Nursery

SECRET = "a-secret-of-at-least-32-bytes-for-hs256"
COMMAND = [sys.executable, "-m", "jwtgate"]

_nursery = Nursery()


def environ(**variables: str) -> dict[str, str]:
    """This process's environment with only these ``JWTGATE_*``, given without the prefix; an empty one is not set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JWTGATE_")}
    return {**kept, **{f"JWTGATE_{name}": value for name, value in {"SECRET": SECRET, **variables}.items() if value}}


def run(*arguments: str, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs to the end. Args: text: for standard input. variables: settings."""
    status, out, err = _nursery.run(arguments, environ(**variables), text, seconds=30)
    return subprocess.CompletedProcess([*COMMAND, *arguments], status, out, err)


def begin(*arguments: str, **variables: str) -> subprocess.Popen[Any]:
    """Starts one that ends when it is told to."""
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *arguments], env=environ(**variables), stdout=pipe, stderr=pipe, text=True)


WORKER = """
import os, sys
from jwtgate import Gate, Settings
from jwtgate.errors import InvalidToken
gate = Gate(Settings.from_env())
assert gate.ready(15)
print("live", flush=True)
for line in sys.stdin:
    if line.startswith("issue "):
        print(gate.issue(line.split()[1]), flush=True)
        continue
    try:
        gate.verify(line.strip())
        print("admitted", flush=True)
    except InvalidToken as error:
        print(error.reason, flush=True)
gate.close()
"""


class Worker:
    """A process with a live view, which decides what it is shown."""

    def __init__(self, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER], env=environ(**variables), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.is_live = self._line() == "live"

    def __enter__(self) -> Self:
        assert self.is_live
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def issue(self, sub: str) -> str:
        """A new token."""
        assert self.process.stdin is not None
        print("issue", sub, file=self.process.stdin, flush=True)
        return self._line()

    def verdict(self, token: str) -> str:
        """``admitted``, or the reason of the refusal."""
        assert self.process.stdin is not None
        print(token, file=self.process.stdin, flush=True)
        return self._line()

    def close(self) -> None:
        """Lets it end by itself."""
        try:
            self.process.communicate(timeout=20)
        finally:
            self.process.kill()
        assert self.process.returncode == 0
