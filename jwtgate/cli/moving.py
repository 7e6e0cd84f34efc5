"""``jwtgate env --from``: another package's names beside ours, and its settings in somebody's file as lines of ours.

The file is read, never run. Keys are not printed unless asked for: terminals are shared and recorded.
"""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from jwtgate.cli.answering import FAILED, Misuse
from jwtgate.cli.printing import Column, complain, dump, plain, table
from jwtgate.errors import SettingsError
from jwtgate.moving import PACKAGES, Carried, Package, Unreadable, carry
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Origin", "move"]

MOST_BYTES = 1_048_576
KEYS = ("SECRET", "PRIVATE_KEY", "PUBLIC_KEY", "JWKS_URL")

NOTHING = "-"


class Origin(Enum):
    """The names in ``PACKAGES``."""

    FLASK_JWT_EXTENDED = "flask-jwt-extended"
    SIMPLEJWT = "simplejwt"
    AUTHX = "authx"


def move(name: str, file: str | None, *, shows_secrets: bool, as_json: bool) -> int:
    """Returns: the exit status; 1: something that matters for safety is not carried over.

    Raises: Misuse: the file cannot be read.
    """
    package = PACKAGES[name]
    if file is None:
        _tell_names(package, as_json=as_json)
        return 0
    carried = _carried(package, file)
    mistakes = _mistakes(carried)
    if as_json:
        lines = [asdict(line) for line in carried.lines]
        for line in lines:
            line["value"] = line["value"] if shows_secrets or not line["is_secret"] else None
        left = [asdict(left) for left in carried.left]
        dump({"lines": lines, "left": left, "mistakes": mistakes, "notes": package.notes})
    else:
        for text in _told(package, carried, mistakes, shows_secrets=shows_secrets):
            print(text)
    grave = sum(left.matters for left in carried.left) + len(mistakes)
    if grave:
        complain(f"not carried over, and it matters for safety: {grave}, in the lines that begin with # !")
    return FAILED if grave else 0


def _tell_names(package: Package, *, as_json: bool) -> None:
    if as_json:
        dump({"settings": [asdict(row) for row in package.settings], "names": [asdict(row) for row in package.names]})
        return
    settings = [(row.theirs, f"JWTGATE_{row.ours}" if row.ours else NOTHING, row.note) for row in package.settings]
    names = [(row.theirs, row.ours or NOTHING, row.note) for row in package.names]
    table([Column(package.title), Column("jwtgate"), Column("")], [*settings, ("", "", ""), *names])


def _carried(package: Package, file: str) -> Carried:
    try:
        if file == "-":
            text, suffix = sys.stdin.read(MOST_BYTES + 1), ""
        else:
            with Path(file).open(encoding="utf-8") as opened:
                text, suffix = opened.read(MOST_BYTES + 1), Path(file).suffix
        if len(text) > MOST_BYTES:
            raise Misuse("the file has more than a megabyte: those are no settings")
        return carry(package, text, suffix)
    except Unreadable as error:
        raise Misuse(f"the file cannot be read: {error}") from None
    except (OSError, ValueError) as error:
        raise Misuse(f"the file cannot be read ({type(error).__name__})") from None


def _mistakes(carried: Carried) -> list[str]:
    """What the gate itself says of these lines; nothing where there is no key, which is said already."""
    if not any(line.variable in KEYS for line in carried.lines):
        return []
    try:
        Settings.from_env({f"JWTGATE_{line.variable}": line.value for line in carried.lines})
    except SettingsError as error:
        return list(error.mistakes)
    return []


def _told(package: Package, carried: Carried, mistakes: list[str], *, shows_secrets: bool) -> Iterator[str]:
    """A file for the environment, which says what it lacks."""
    rows = {row.theirs: row for row in package.settings}
    yield f"# From {package.title}."
    for line in carried.lines:
        note = rows[line.source].note if line.source in rows else ""
        yield f"# {line.source}{': ' if note else ''}{note}"
        if shows_secrets or not line.is_secret:
            yield f"JWTGATE_{line.variable}={shlex.quote(plain(line.value))}"
        else:
            yield f"# JWTGATE_{line.variable}=… (--show-secrets writes it)"
    for note in package.notes:
        yield f"# {note}"
    for left in sorted(carried.left, key=lambda left: not left.matters):
        yield f"# {'! ' if left.matters else ''}Not carried over: {plain(left.name)}: {left.why}"
    for mistake in mistakes:
        yield f"# ! {mistake}"
