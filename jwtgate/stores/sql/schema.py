"""Making the tables, and bringing them from an earlier layout to this one.

Processes that begin at once may all try: each statement does nothing where another was first, and where a database lets one
at a time, they wait for each other. The row of ``meta`` comes last: whoever finds it finds the tables.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import inspect, select
from sqlalchemy.schema import CreateIndex, CreateTable

from jwtgate.core.history import NotWritten, StoreBusy
from jwtgate.stores.sql.tables import VERSION

if TYPE_CHECKING:
    from sqlalchemy import Table

    from jwtgate.stores.sql.line import Line
    from jwtgate.stores.sql.tables import Tables

__all__ = ["MADE", "STEPS", "alone", "create", "migrate", "prepare", "refuse_newer"]

STEPS: dict[int, tuple[str, ...]] = {}
"""Layout version -> the statements that bring it to the next; ``{meta}`` and so on stand for the tables' names."""

MADE: dict[int, tuple[str, ...]] = {1: ("marks",)}
"""Layout version -> the tables that the next one adds."""

CREATION_SECONDS = 5.0
"""Once in a database's life a call may take so long: were it cut off, it would be begun again and again."""


LOOK_SECONDS = 0.05
"""Between two looks whether another process still makes the tables."""


def refuse_newer(version: int) -> None:
    """Raises: NotWritten: the tables are of a version that this program cannot know."""
    if version > VERSION:
        raise NotWritten(
            f"JWTGATE_STORE: the tables are of layout version {version}; this version of jwtgate knows {VERSION}: upgrade it"
        )


def prepare(line: Line, tables: Tables) -> None:
    """Sees to it that the tables are there and of this layout."""
    if version_of(line, tables) != VERSION:
        line.deadline = time.monotonic() + CREATION_SECONDS
        migrate(line, tables)


def version_of(line: Line, tables: Tables) -> int | None:
    """None: there is nothing yet. Raises: NotWritten: it is newer."""
    if not inspect(line.connection).has_table(tables.meta.name):
        return None
    found: int | None = line.run(select(tables.meta.c.version)).scalar()
    if found is not None:
        refuse_newer(found)
    return found


def migrate(line: Line, tables: Tables) -> tuple[int | None, int]:
    """Makes what is missing. Returns: the layout version before and after."""
    begin, end = line.dialect.guard_creation(tables)
    alone(line, begin)
    before = version_of(line, tables)
    if before is None:
        for table in tables.all().values():
            if table is not tables.boot or line.dialect.has_boot:
                create(line, table)
        line.run(line.dialect.insert_missing(tables.meta), _UNBORN)
    for version in range(before or VERSION, VERSION):
        for name in MADE.get(version, ()):
            create(line, tables.all()[name])
        for text in STEPS.get(version, ()):
            line.say(text.format(**{name: table.name for name, table in tables.all().items()}))
        line.run(tables.meta.update().values(version=version + 1, mark=line.dialect.mark()))
    for text in end:
        line.say(text)
    return before, VERSION


def alone(line: Line, begin: tuple[str, ...]) -> None:
    """Says what keeps others from making the same tables, and waits until they are through. Raises: StoreBusy: they are not."""
    for text in begin:
        while (told := line.say(text)).returns_rows and told.scalar() != 1:
            if time.monotonic() + 2 * LOOK_SECONDS > line.deadline:
                raise StoreBusy("another process is making the tables of the store (JWTGATE_STORE)")
            time.sleep(LOOK_SECONDS)


def create(line: Line, table: Table) -> None:
    """With its indexes. MySQL has them made with the table: it has no IF NOT EXISTS for one."""
    line.run(CreateTable(table, if_not_exists=True))
    known = {index["name"] for index in inspect(line.connection).get_indexes(table.name)}
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.name not in known:
            line.run(CreateIndex(index))


_UNBORN = {
    "id": 1,
    "version": VERSION,
    "epoch": b"",
    "born_at": 0.0,
    "identity": b"",
    "mark": b"",
    "lease": 0.0,
    "reach": 0.0,
    "is_healed": 0,
    "is_settled": 0,
    "position": 0,
    "link": b"",
}
"""A row of no epoch: whoever looks next opens one (H1)."""
