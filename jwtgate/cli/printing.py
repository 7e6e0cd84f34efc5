"""How commands speak: what was asked for on standard output, everything else on standard error.

Texts that came from a token or a client (claims, user agents) are printed with their control characters escaped: what a
stranger sent must not move an operator's cursor. rich takes its time to import, so only what is drawn with it waits for it.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

from jwtgate.wording import moment, plain, span, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Column", "complain", "dump", "moment", "plain", "say", "span", "table", "until"]

PIPED_COLUMNS = 4096
"""Width where nobody looks: a line of a pipe is not to be folded."""

Kind = Literal["text", "whole", "short", "cropped", "moment"]


class Column(NamedTuple):
    """Of a table that fits into 80 columns: ``whole`` is never cut, since people copy it; ``cropped`` keeps to one line."""

    name: str
    kind: Kind = "text"


class _Shape(TypedDict, total=False):
    no_wrap: bool
    overflow: Literal["fold", "ellipsis"]
    min_width: int
    max_width: int


def say(text: str, style: str = "", *, mark: str = "") -> None:
    """One line, coloured where the terminal can; flushed. With a mark before it, that alone is."""
    if not sys.stdout.isatty():
        print(mark + text, flush=True)
        return
    from rich.console import Console
    from rich.text import Text

    drawn = Text.assemble((mark, style), text) if mark else Text(text, style)
    Console(highlight=False).print(drawn, soft_wrap=True)


def complain(text: str) -> None:
    """One line on standard error."""
    print(f"jwtgate: {' '.join(text.split())}", file=sys.stderr, flush=True)


def dump(document: object) -> None:
    """One JSON document on one line, ASCII, so that it passes every pipe; flushed."""
    print(json.dumps(document, default=str), flush=True)


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """A table; in a pipe as wide as its texts."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPED_COLUMNS)
    named = any(column.name for column in columns)
    drawn = Table(box=None, show_header=named, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        drawn.add_column(column.name, **_shape(column.kind, console.width))
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    console.print(drawn)


def _shape(kind: Kind, width: int) -> _Shape:
    """What rich is to do with a column of that kind on so many columns of the terminal."""
    match kind:
        case "whole":
            return {"no_wrap": True}
        case "cropped":
            return {"no_wrap": True, "overflow": "ellipsis", "max_width": width // 10}
        case "short":
            return {"overflow": "fold", "max_width": width // 11}
        case "moment":
            return {"min_width": 10}
        case "text":
            return {"overflow": "fold"}
