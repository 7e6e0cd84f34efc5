"""``jwtgate sessions``: where a subject is logged in."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from jwtgate.cli.answering import Misuse, answering
from jwtgate.cli.gates import opened
from jwtgate.cli.options import Json
from jwtgate.cli.printing import Column, dump, moment, plain, say, table

if TYPE_CHECKING:
    from jwtgate.messages import Session

__all__ = ["sessions"]

COLUMNS = (
    *(Column("sid", "whole"), Column("device", "short"), Column("ip", "short"), Column("user agent", "cropped")),
    *(Column("created", "moment"), Column("last seen", "moment"), Column("expires", "moment")),
)


@answering
def sessions(*, sub: Annotated[str, typer.Argument(metavar="SUB", help="The subject.")], as_json: Json = False) -> int:
    """List a subject's live sessions, newest first."""
    with opened("list") as gate:
        try:
            found: list[Session] = gate.sessions.list(sub)
        except ValueError as error:
            raise Misuse(str(error)) from None
    if as_json:
        dump([asdict(session) for session in found])
    elif found:
        table(COLUMNS, [_row(session) for session in found])
    else:
        say("No live sessions.")
    return 0


def _row(session: Session) -> tuple[str, ...]:
    texts = (session.sid, session.device or "-", session.ip or "-", session.user_agent or "-")
    times = (session.created_at, session.last_seen_at, session.expires_at)
    return (*map(plain, texts), *map(moment, times))
