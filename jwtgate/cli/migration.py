"""``jwtgate migrate``: the tables of an SQL store, made or brought to this version's layout before anybody needs them."""

from __future__ import annotations

from jwtgate.cli.answering import Misuse, answering
from jwtgate.cli.gates import opened
from jwtgate.cli.options import Json
from jwtgate.cli.printing import dump, say
from jwtgate.stores.contract import Migrating

__all__ = ["migrate"]


@answering
def migrate(*, as_json: Json = False) -> int:
    """Make the tables of an SQL store, or bring them to this version."""
    with opened("migrate") as gate:
        if not isinstance(gate.store, Migrating):
            raise Misuse("JWTGATE_STORE is no SQL database: there are no tables to make.")
        before, after = gate.store.migrate()
    if as_json:
        dump({"before": before, "after": after})
    elif before is None:
        say(f"The tables are made, of layout version {after}.")
    elif before == after:
        say(f"The tables are of layout version {after} already.")
    else:
        say(f"The tables were of layout version {before} and are of version {after} now.")
    return 0
