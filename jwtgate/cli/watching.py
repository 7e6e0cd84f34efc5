"""``jwtgate watch``: the change log, live. Reads only: it registers nowhere, so that no receipt waits for it.

Whatever breaks the log is said (``jwtgate.watching``); a store that goes away is waited for, the position kept.
"""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from jwtgate.cli.answering import FAILED, answering
from jwtgate.cli.gates import opened
from jwtgate.cli.options import Json
from jwtgate.cli.printing import complain, dump, say
from jwtgate.watching import watched

__all__ = ["watch"]


@answering
def watch(
    *,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin with what the log still holds, about two minutes.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show the change log, live, until Ctrl-C (status 130). With --json one object per line."""
    with opened("watch") as gate, closing(watched(gate.parts, from_start=from_start)) as events:
        for event in events:
            if as_json:
                dump(event.as_dict())
            elif event.name == "entry":
                say(event.words)
            else:
                complain(event.words)
    return FAILED
