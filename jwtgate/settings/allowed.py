"""What one value of a setting may be, whether it came from Python or from the environment.

A kind knows three things: its ``shape`` (how environment text is parsed), the ``allowed`` values in words, and
``check``, which returns the normal form of a value or raises ``Unfit``. A kind never raises anything else, whatever it
is given, and quotes no value that may be secret. Does not know variables' names, nor which settings go together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

__all__ = [
    "Choice",
    "Flag",
    "Kind",
    "Number",
    "Shape",
    "Text",
    "Texts",
    "Unfit",
    "Unread",
    "Whole",
    "sentence",
]

Shape = Literal["text", "number", "whole", "flag", "list"]


class Unfit(ValueError):
    """A value that may not be. Its text continues the variable's name: ``is 0.001``; never a secret."""


@dataclass(frozen=True, slots=True)
class Unread:
    """Stands for a value that could not be read from the environment, so that all mistakes come in one error."""

    found: str


class Kind(Protocol):
    """What a value may be."""

    @property
    def shape(self) -> Shape: ...
    @property
    def allowed(self) -> str: ...
    def check(self, value: object) -> Any:
        """The normal form, immutable. Raises: Unfit."""
        ...


def sentence(variable: str, found: object, allowed: str) -> str:
    """One mistake, as all of them read."""
    return f"{variable} {found}; allowed: {allowed}."


def _of_type(value: object) -> Unfit:
    return Unfit("is None" if value is None else f"is of type {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number; a boolean is none."""

    least: float
    most: float
    excludes_least: bool = False
    shape: Shape = "number"

    @property
    def allowed(self) -> str:
        number = "a whole number" if self.shape == "whole" else "a number"
        return f"{number} {'above' if self.excludes_least else 'from'} {self.least:.15g} to {self.most:.15g}"

    def check(self, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int if self.shape == "whole" else (int, float)):
            raise _of_type(value)
        if not self._is_within(value):
            # str of a huge int raises ValueError; no bound here has as many digits.
            raise Unfit(f"is {value}" if isinstance(value, float) or abs(value) < 10**15 else "is out of range")
        return value if self.shape == "whole" else float(value)

    def _is_within(self, value: float) -> bool:
        return self.least < value <= self.most or (value == self.least and not self.excludes_least)


def Whole(  # noqa: N802 - it stands for a class
    least: int, most: int
) -> Number:
    """A whole number."""
    return Number(least, most, shape="whole")


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no. In Python also 0 and 1, as the table of the interface writes them."""

    shape: Shape = "flag"
    allowed: str = "1 or 0 (true or false, yes or no, on or off)"

    def check(self, value: object) -> bool:
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
        raise Unfit(f"is {value}") if isinstance(value, int) and abs(value) < 10**15 else _of_type(value)


@dataclass(frozen=True, slots=True)
class Text:
    """Text, not blank.

    Attributes:
        allowed: in words.
        pattern: what it must match whole; by default no control character.
        is_shown: whether a mistake may quote it.
        is_path: whether a path object will do.
        normal: further rules; returns the normal form or raises Unfit.
    """

    allowed: str
    pattern: re.Pattern[str] = re.compile(r"[^\x00-\x1f\x7f]+")
    is_shown: bool = True
    is_path: bool = False
    normal: Callable[[str], str] = str
    shape: Shape = "text"

    def check(self, value: object) -> str:
        if self.is_path and isinstance(value, os.PathLike):
            value = os.fspath(cast("os.PathLike[str]", value))
        if not isinstance(value, str):
            raise _of_type(value)
        if not value.strip():
            raise Unfit("is empty")
        if not _is_unicode(value):
            raise Unfit("is not valid Unicode text")
        if not self.pattern.fullmatch(value):
            raise Unfit(f"is {_short(value)}" if self.is_shown else "is malformed (value not shown)")
        return self.normal(value)


def _is_unicode(value: str) -> bool:
    """False for lone surrogates, which os.environ makes of bytes that are not UTF-8, and which break encode()."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _short(value: str) -> str:
    return repr(value) if len(value) <= 80 else f"{value[:77]!r}…"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    options: tuple[str, ...]
    shape: Shape = "text"

    @property
    def allowed(self) -> str:
        return ", ".join(self.options)

    def check(self, value: object) -> str:
        if not isinstance(value, str):
            raise _of_type(value)
        if not value.strip():
            raise Unfit("is empty")
        if value not in self.options:
            raise Unfit(f"is {_short(value)}")
        return value


@dataclass(frozen=True, slots=True)
class Texts:
    """A list: a sequence in Python, where a bare string is a list of one and is never split. Held as a tuple, each once.

    Attributes:
        item: what each item may be.
        most: how many.
        alone: an item that must be the only one.
    """

    item: Text | Choice
    most: int = 1000
    alone: str | None = None
    shape: Shape = "list"

    @property
    def allowed(self) -> str:
        return f"a list of {self.item.allowed}"

    def check(self, value: object) -> tuple[str, ...]:
        items = self._items(value)
        if not items:
            raise Unfit("is empty")
        if len(items) > self.most:
            raise Unfit(f"has {len(items)} items, more than {self.most}")
        if self.alone in items and len(items) > 1:
            raise Unfit(f"has {self.alone!r} beside other items")
        return items

    def _items(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str):
            if "," in value:
                raise Unfit("is one text with a comma, which only the environment splits")
            return (self.item.check(value),)
        if not isinstance(value, Sequence) or isinstance(value, (bytes, bytearray)):
            raise _of_type(value)
        return tuple(dict.fromkeys(self._checked(item) for item in cast("Sequence[object]", value)))

    def _checked(self, item: object) -> str:
        try:
            return self.item.check(item)
        except Unfit as unfit:
            raise Unfit(f"has an item that {unfit}") from None
