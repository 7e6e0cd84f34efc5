"""The one table, for the terminal and as Markdown."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.measuring import Line

__all__ = ["as_markdown", "as_text"]

HEAD = ("row", "jwtgate", "in the same run", "ratio", "bar", "")
VERDICTS = {True: "met", False: "MISSED", None: ""}


def _cells(line: Line) -> tuple[str, ...]:
    return (line.row, line.figure, line.peers or "-", line.ratio or "-", line.bar, VERDICTS[line.is_met])


def as_text(lines: list[Line]) -> str:
    """Columns as wide as they need; a cell's parts, set off by semicolons, stand below each other."""
    rows = [HEAD, *map(_cells, lines)]
    split = [[cell.split("; ") for cell in row] for row in rows]
    widths = [max(len(part) for row in split for part in row[column]) for column in range(len(HEAD))]
    rule = "  ".join("-" * width for width in widths)
    texts: list[str] = []
    for row in split:
        for number in range(max(map(len, row))):
            parts = [cell[number] if number < len(cell) else "" for cell in row]
            texts.append("  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip())
        texts.append(rule)
    return "\n".join(texts)


def as_markdown(lines: list[Line], command: str, place: str) -> str:
    """With the command, the day and the place: whoever reads it later must be able to run it."""
    rows = ["| " + " | ".join(row) + " |" for row in (HEAD, ("---",) * len(HEAD), *map(_cells, lines))]
    note = f"`{command}` on {time.strftime('%Y-%m-%d', time.gmtime())}, {place}. Take the ratios, not the digits."
    return "\n".join(["# Results", "", note, "", *rows, ""])
