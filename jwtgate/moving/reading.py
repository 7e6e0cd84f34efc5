"""What somebody's file of settings says: Python read as text and never run, JSON, TOML, or ``NAME=value`` lines."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any, cast

from jwtgate.moving.python_text import of_python

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Unreadable", "read"]


class Unreadable(ValueError):
    """The file is none of what can be read. The text repeats nothing of it."""


def read(text: str, suffix: str, *, inside: str | None = None) -> dict[str, Any]:
    """The settings of a file, by name: values, and ``Computed`` for what has none there.

    Args:
        text: of the file.
        suffix: of its name; neither ``.py`` nor ``.json`` nor ``.toml``: lines.
        inside: the name of the dictionary that holds them, for Django; ``SECRET_KEY`` stands beside it.

    Raises: Unreadable.
    """
    try:
        match suffix:
            case ".py":
                return of_python(text, inside)
            case ".json":
                return _of_document(json.loads(text), inside)
            case ".toml":
                return _of_document(tomllib.loads(text), inside)
            case _:
                return dict(_of_lines(text))
    except (ValueError, RecursionError, MemoryError, SyntaxError) as error:
        raise Unreadable(f"it is no {suffix.lstrip('.') or 'text'} that can be read ({type(error).__name__})") from None


def _of_document(document: object, inside: str | None) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise ValueError  # noqa: TRY004 - of the file, not of a caller
    found = cast("dict[str, Any]", document)
    within = found.get(inside) if inside is not None else None
    return {**found, **cast("dict[str, Any]", within)} if isinstance(within, dict) else found


def _of_lines(text: str) -> Iterator[tuple[str, Any]]:
    """``NAME=value``, quoted or not, ``export`` or not; what is JSON is read as JSON, as Flask and pydantic do."""
    for line in text.splitlines():
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        if not sign or name.lstrip().startswith("#"):
            continue
        bare = value.strip()
        is_quoted = len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'"
        name = name.strip().upper().removeprefix("FLASK_")  # pydantic takes them in any case
        yield name, _plain(bare[1:-1] if is_quoted else bare, is_text="KEY" in name)


def _plain(text: str, *, is_text: bool) -> Any:
    """Args: is_text: of a key, which may look like a number."""
    if is_text:
        return text
    lowered = text.lower()
    if lowered in ("true", "false", "none"):
        return {"true": True, "false": False, "none": None}[lowered]
    try:
        return json.loads(text)
    except ValueError:
        return text
