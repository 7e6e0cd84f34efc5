"""What the demo shows: on a terminal tables that move, elsewhere (logs of a CI run) plain lines."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

__all__ = ["Picture", "Screen"]

FRAMES_PER_SECOND = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """A table. Every text may carry rich's markup. The first column names, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


class Screen:
    """Prints to standard output; what is said is flushed at once."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._moves = sys.stdout.isatty() and not self._console.is_dumb_terminal

    def say(self, text: str = "") -> None:
        """One line, with markup."""
        if self._moves:
            self._console.print(text)
        else:
            print(_plain(text), flush=True)

    def write(self, text: str) -> None:
        """As it is: to be copied, or from a log."""
        print(text, flush=True)

    @contextmanager
    def waiting(self, text: str) -> Generator[None]:
        """A step that takes a moment; its time is told at the end."""
        began_at = time.monotonic()
        if self._moves:
            with self._console.status(text):
                yield
        else:
            yield
        self.say(f"{text} [dim]({time.monotonic() - began_at:.1f} s)[/]")

    @contextmanager
    def watching(self, draw: Callable[[], Picture]) -> Generator[None]:
        """Draws again and again while the context lasts; elsewhere once, at its end."""
        if self._moves:
            with Live(get_renderable=lambda: _table(draw()), console=self._console, refresh_per_second=FRAMES_PER_SECOND):
                yield
            return
        print(_plain(draw().title), flush=True)
        yield
        for line in _lines(draw()):
            print(line, flush=True)


def _plain(text: str) -> str:
    return Text.from_markup(text).plain


def _table(picture: Picture) -> Table:
    table = Table(title=picture.title, caption=picture.caption, title_justify="left", caption_justify="left")
    for index, column in enumerate(picture.columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=index == 0)
    for row in picture.rows:
        table.add_row(*row)
    return table


def _lines(picture: Picture) -> Iterator[str]:
    """One line per row, where each number stands beside its name."""
    names = [_plain(column) for column in picture.columns]
    for first, *cells in picture.rows:
        words = [f"{name}: {_plain(cell)}" for name, cell in zip(names[1:], cells, strict=True)]
        yield f"  {_plain(first)}  {' | '.join(words)}"
    if picture.caption:
        yield f"  {_plain(picture.caption)}"
