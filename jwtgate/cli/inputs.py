"""What commands read besides their options: tokens, which never stand on the command line, and times."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from jwtgate.cli.answering import Misuse
from jwtgate.cli.printing import complain

__all__ = ["numeric_date", "pair", "token_from"]

MOST_BYTES = 1_048_576
"""The largest ``MAX_TOKEN_BYTES`` there can be."""


def token_from(source: str) -> str:
    """A token from ``-``, standard input, or ``@file``. Raises: Misuse, which repeats nothing: it might be the token."""
    if source == "-":
        if sys.stdin.isatty():
            complain("paste the token, then press Enter and Ctrl-D")
        text = sys.stdin.read(MOST_BYTES + 1)
    elif source.startswith("@"):
        try:
            with Path(source[1:]).open(encoding="utf-8", errors="replace") as file:
                text = file.read(MOST_BYTES + 1)
        except (OSError, ValueError) as error:
            raise Misuse(f"the token's file cannot be read ({type(error).__name__})") from None
    else:
        raise Misuse("a token is read from - (standard input) or @FILE, never from the command line, which ps and history show")
    token = text.strip()
    if not token or len(text) > MOST_BYTES:
        raise Misuse("there is no token to read" if not token else "that is no token: over a megabyte")
    return token


def pair(text: str, option: str) -> tuple[str, str]:
    """NAME=VALUE, taken apart at the first ``=``. Raises: Misuse."""
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise Misuse(f"{option} takes a name, = and a value")
    return name, value


def numeric_date(text: str, option: str) -> float:
    """Seconds since 1970, or ISO 8601; local time where it names no zone. Raises: Misuse."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise Misuse(f"{option} takes seconds since 1970, or a time such as 2030-01-31T12:00:00+00:00") from None
