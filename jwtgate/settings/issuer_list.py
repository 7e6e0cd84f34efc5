"""``JWTGATE_ISSUERS`` as a value: a list of objects, given in Python, as JSON or as the path of a file with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from jwtgate.settings.allowed import Shape, Text, Unfit
from jwtgate.settings.files import read_text
from jwtgate.settings.issuers import MEMBERS
from jwtgate.settings.vocabulary import ANY_TEXT

__all__ = ["Issuers"]

LIST_ALLOWED = (
    "a JSON list of objects, each with an issuer and its keys, or the path of a file with it; their members are "
    + ", ".join(MEMBERS)
)
LIST_TEXT = Text(LIST_ALLOWED, pattern=ANY_TEXT, is_shown=False, is_path=True)


@dataclass(frozen=True, slots=True)
class Issuers:
    """The list as such; ``issuers.checked_entries`` judges what is in it. Nothing of it is ever quoted: it may hold secrets."""

    shape: Shape = "text"
    allowed: str = LIST_ALLOWED

    def check(self, value: object) -> tuple[Mapping[str, Any], ...]:
        if isinstance(value, str | os.PathLike):
            value = _parsed(LIST_TEXT.check(cast("str | os.PathLike[str]", value)))
        if not isinstance(value, Sequence) or isinstance(value, (bytes, bytearray)):
            raise Unfit(f"is of type {type(value).__name__}")
        entries = cast("Sequence[object]", value)
        if not entries:
            raise Unfit("is empty")
        if not all(isinstance(entry, Mapping) for entry in entries):
            raise Unfit("has an entry that is no object")
        return tuple(cast("Sequence[Mapping[str, Any]]", entries))


def _parsed(value: str) -> object:
    text = value if value.lstrip().startswith(("[", "{")) else read_text(value)
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        # The parser's own text is kept back: it can quote the document.
        if isinstance(error, Unfit):
            raise Unfit(str(error)) from None
        place = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise Unfit(f"is not valid JSON{place}") from None


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Two members of one name: parsers disagree which counts (RFC 8259 §4), so neither does."""
    if len(dict(members)) != len(members):
        raise Unfit("has an entry with a repeated member")
    return dict(members)
