"""From what happens inside a command to its exit status and its one clear line: the one place where errors end.

No traceback reaches a user, whose terminal may be shared or recorded; an error's text carries no token, key or claim
value, and of an unexpected one only its kind and its place are told.
"""

from __future__ import annotations

import functools
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import typer

from jwtgate.cli.printing import complain
from jwtgate.errors import JWTGateError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FAILED", "INTERRUPTED", "USAGE", "Misuse", "answering"]

FAILED, USAGE, INTERRUPTED = 1, 2, 130

P = ParamSpec("P")


class Misuse(Exception):
    """Wrong usage that the parser of the command line cannot see. The text says what is allowed, never what was given."""


def answering(command: Callable[P, int]) -> Callable[P, None]:
    """Makes a Typer command of a function that returns its exit status."""

    @functools.wraps(command)
    def answered(*arguments: P.args, **named: P.kwargs) -> None:
        raise typer.Exit(_status(functools.partial(command, *arguments, **named)))

    return answered


def _status(command: Callable[[], int]) -> int:
    try:
        status = command()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # of the streams: a store's and a file's are mapped where they are used
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains when it flushes at exit
        if not isinstance(error, BrokenPipeError):  # its reader has seen enough: `jwtgate env | head`
            complain(f"the output could not be written: {error.strerror}")
        return FAILED
    except Misuse as misuse:
        complain(str(misuse))
        return USAGE
    except SettingsError as error:
        for mistake in error.mistakes:
            complain(mistake)
        return USAGE
    except JWTGateError as error:
        told = [str(error) or error.description, *getattr(error, "__notes__", ())]
        complain(" ".join(f"{each.removesuffix('.')}." for each in told))
        return FAILED
    except Exception as error:  # noqa: BLE001 - a mistake of ours; its text could hold anything
        complain(f"this should not happen: {type(error).__name__} at {_place(error)}. Please report it.")
        return FAILED


def _place(error: Exception) -> str:
    """File and line of where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}"
