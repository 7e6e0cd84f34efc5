"""``jwtgate env``: what can be set, what is, and never to what: values may be secrets."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jwtgate.cli.answering import Misuse, answering
from jwtgate.cli.moving import Origin, move
from jwtgate.cli.options import Json
from jwtgate.cli.printing import dump
from jwtgate.settings import variables

if TYPE_CHECKING:
    from jwtgate.settings import Variable

__all__ = ["env"]


@answering
def env(
    file: Annotated[str | None, typer.Argument(metavar="[FILE]", help="With --from: their settings, or - for lines.")] = None,
    *,
    origin: Annotated[
        Origin | None,
        typer.Option("--from", help="Another package: its names beside ours, or, with FILE, its settings as ours."),
    ] = None,
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="With FILE: write keys, too.")] = False,
    as_json: Json = False,
) -> int:
    """Show every variable, its default and meaning, and whether it is set here; or move from another package."""
    if origin is not None:
        return move(origin.value, file, shows_secrets=show_secrets, as_json=as_json)
    if file is not None or show_secrets:
        raise Misuse("FILE and --show-secrets go with --from")
    if as_json:
        dump([{**asdict(variable), "set_by": _set_by(variable)} for variable in variables()])
        return 0
    for variable in variables():
        default = f"={variable.default}" if variable.default else " (no default)"
        setter = _set_by(variable)
        mark = "" if setter is None else "    Is set.\n" if setter == variable.name else f"    Is set by {setter}.\n"
        print(f"{variable.name}{default}\n    {variable.meaning}\n    Takes {variable.allowed}.\n{mark}", end="")
    return 0


def _set_by(variable: Variable) -> str | None:
    """The name in the environment that gives it a value, if any."""
    names = [variable.name]
    if not variable.name.endswith("_FILE"):
        names.append(f"{variable.name}_FILE")
    return next((name for name in names if name in os.environ), None)
