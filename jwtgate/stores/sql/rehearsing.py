"""Whether the gate's user can do to each table what the gate does: tried with statements that concern no row.

A store that can be read may still take no write: a user without rights, a database that is read-only, a table that is gone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import false, inspect, select, update

from jwtgate.errors import StoreUnavailable
from jwtgate.stores.contract import Weakness
from jwtgate.stores.sql.dialects import NO_CONNECTION_LEFT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Table

    from jwtgate.stores.sql.dialects import Statement
    from jwtgate.stores.sql.line import Line

__all__ = ["rehearsed"]


def rehearsed(ask: Callable[[Callable[[Line], object]], object], tables: Sequence[Table], meta: Table) -> Iterator[Weakness]:
    """What fails.

    Args: ask: ``Lines.ask``. meta: without its row the history counts as lost, and all tables are made again.
    Raises: StoreUnavailable: what may pass, such as a lock that is held.
    """
    refused: dict[str, list[str]] = {}
    for table in tables:
        if not ask(lambda line, table=table: inspect(line.connection).has_table(table.name)):  # type: ignore[misc]
            yield Weakness(
                f"The table {table.name} is gone: every step that needs it fails.",
                f"DELETE FROM {meta.name}  # the next step makes what is missing; running workers write back what they know",  # noqa: S608
                about=table.name,
            )
            continue
        try:
            for statement in _statements(table):
                ask(lambda line, statement=statement: line.run(statement).close())  # type: ignore[misc]
        except StoreUnavailable as error:
            if not _is_for_good(str(error)):
                raise
            refused.setdefault(str(error), []).append(table.name)
    for reason, names in refused.items():
        yield Weakness(
            f"What the gate does to {', '.join(names)} is refused: {reason.removeprefix('JWTGATE_STORE: ')}.",
            "JWTGATE_STORE with the address of a server that takes writes, and a user whose writes it takes"
            if _is_read_only(reason)
            else f"GRANT SELECT, INSERT, UPDATE, DELETE ON {names[0]} TO <the gate's user>  # or what else the reason asks for",
            about=names[0],
        )


def _is_for_good(reason: str) -> bool:
    """What the dialect explains, but for what it has too few of, and a database that takes no writes; else it may pass."""
    return (reason.startswith("JWTGATE_STORE: ") and NO_CONNECTION_LEFT not in reason) or _is_read_only(reason)


def _is_read_only(reason: str) -> bool:
    return re.search(r"(?i)read[- ]?only", reason) is not None


def _statements(table: Table) -> Iterator[Statement]:
    first = next(iter(table.c))
    yield update(table).values({first: first}).where(false())
    yield table.delete().where(false())
    yield table.insert().from_select(list(table.c), select(table).where(false()))
