"""The command in a process of its own, as a shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

SECRET = "a-secret-of-at-least-32-bytes-for-hs256"
COMMAND = [sys.executable, "-m", "jwtgate"]


def environ(**variables: str) -> dict[str, str]:
    """This process's environment with only these ``JWTGATE_*``, given without the prefix; an empty one is not set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JWTGATE_")}
    return {**kept, **{f"JWTGATE_{name}": value for name, value in {"SECRET": SECRET, **variables}.items() if value}}


def run(*arguments: str, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs to the end. Args: text: for standard input. variables: settings."""
    return subprocess.run(
        [*COMMAND, *arguments], input=text, env=environ(**variables), capture_output=True, text=True, timeout=30, check=False
    )


def begin(*arguments: str, **variables: str) -> subprocess.Popen[Any]:
    """Starts one that ends when it is told to."""
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *arguments], env=environ(**variables), stdout=pipe, stderr=pipe, text=True)
