"""Where the command begins: whether its extra is installed, whether its arguments may stand on a command line at all.

Exit status of every command: 0; 1 a check failed; 2 wrong usage or settings, or an extra that is not installed; 130
interrupted, also where an interruption is the only end there is (``watch``): a script tells it from an end of its own.
Imports neither typer nor rich before it knows that they are there.
"""

from __future__ import annotations

import io
import os
import re
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

USAGE, INTERRUPTED = 2, 130
"""130 is 128 + SIGINT, as shells count."""

MODULES = ("rich", "typer")
"""What the extra ``cli`` installs (pyproject.toml)."""

TOKEN = re.compile(r"e[yw][\w-]{6,}\.e[yw][\w-]{2,}|\bjgr_[\w-]{40,}")
"""Two JSON objects in base64url, or a refresh token: ``{"`` begins with eyJ, ``{`` and a blank or line end with ey or ew."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Args: arguments: without the program's name; by default the process's. Returns: the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _prepare_streams()
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        extra = given[0] if given[:1] in (["demo"], ["console"]) else "cli"
        print(f"jwtgate needs {', '.join(missing)}:\n\n    pip install 'jwtgate[{extra}]'\n", file=sys.stderr)
        return USAGE
    if any(TOKEN.search(argument) for argument in given):  # before anything could repeat it in a complaint
        print(
            "jwtgate: a token on the command line stays in the shell's history and shows in ps. Nothing was done.",
            file=sys.stderr,
        )
        print("Give it on standard input, or name its file: --token -, --token @FILE, token inspect @FILE.", file=sys.stderr)
        return USAGE
    try:
        from jwtgate.cli.commands import run  # here, since it needs the extra

        return run(given)
    except KeyboardInterrupt:  # before or after the command's own work
        return INTERRUPTED


def _prepare_streams() -> None:
    """A terminal that knows no § is not to end a command, nor is a stream that the caller has closed, or stray bytes."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # pyright: ignore[reportUnknownMemberType] - generic in its buffer
