"""Where a page of marks begins: behind an end and a name, in their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["place_of", "told"]


def told(page: Sequence[tuple[bytes, bytes, float]]) -> str:
    """The cursor behind a page that is not empty: name, value, until."""
    name, _, until = page[-1]
    return f"{until!r} {name.hex()}"


def place_of(cursor: str) -> tuple[float, bytes]:
    """Raises: StoreUnavailable: no cursor of ours."""
    until, _, name = cursor.partition(" ")
    try:
        return float(until), bytes.fromhex(name)
    except ValueError as error:
        raise StoreUnavailable("the cursor is of another store") from error
