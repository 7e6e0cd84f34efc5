"""``jwtgate migrate``: the tables of an SQL store or a journal, made or brought to this layout before anybody needs them."""

from __future__ import annotations

from jwtgate.cli.answering import Misuse, answering
from jwtgate.cli.gates import opened
from jwtgate.cli.options import Json
from jwtgate.cli.printing import dump, say
from jwtgate.stores.contract import Migrating

__all__ = ["migrate"]


@answering
def migrate(*, as_json: Json = False) -> int:
    """Make the tables of an SQL store or of the journal, or bring them to this version."""
    with opened("migrate", is_audited=False) as gate:
        home = gate.store if gate.journal is None else gate.journal
        if not isinstance(home, Migrating):
            raise Misuse("JWTGATE_STORE is no SQL database: there are no tables to make.")
        before, after = home.migrate()
    if as_json:
        dump({"before": before, "after": after})
    elif before is None:
        say(f"The tables are made, of layout version {after}.")
    elif before == after:
        say(f"The tables are of layout version {after} already.")
    else:
        say(f"The tables were of layout version {before} and are of version {after} now.")
        say("Workers of an earlier version of jwtgate refuse them and answer 503: start them anew with this one.")
    return 0
