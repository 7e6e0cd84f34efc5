"""All live rulings that this process knows, by pages, and what stands on one handle.

Handles are digests: nobody can say whose they are, but who knows a name can ask what stands on it. The view keeps them in the
order in which it learnt them: a page shows the latest first, without sorting a hundred thousand. Those that were there when it
loaded come in no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.console.counting import MARKS, latest
from jwtgate.console.subjects import standing_of
from jwtgate.console.visiting import PAGE_SIZE, Problem
from jwtgate.core.rulings import Ruling, UnreadableRuling

if TYPE_CHECKING:
    from jwtgate.console.lookout import Lookout
    from jwtgate.console.visiting import Visit
    from jwtgate.messages import Response

__all__ = ["rulings"]

KINDS = ("jti", "sid", "sub", "sessions", "client_id")
"""Of handles that have a value; a policy may have more."""


@dataclass(frozen=True, slots=True)
class Row:
    """One ruling; None: it cannot be read."""

    digest: str
    ruling: Ruling | None


async def rulings(visit: Visit, lookout: Lookout) -> Response:
    """A page of all, or of one kind; with a handle to look up. Raises: Problem. StoreUnavailable."""
    view, number, only = visit.gate.view, visit.page_number(), visit.query.get("only", "")
    if only and only not in MARKS:
        raise Problem(400, "No such kind", "Rulings are listed by the kinds that the page offers.")
    known = view.rulings.copy()  # of one moment: the follower goes on
    page, has_more = latest(known, only, (number - 1) * PAGE_SIZE, PAGE_SIZE)
    lookout.ask()
    return visit.page(
        "rulings",
        counts=lookout.counts(),
        total=len(known),
        only=only,
        rows=[_row(digest, known[digest]) for digest in page],
        number=number,
        has_more=has_more,
        is_complete=visit.gate.status().complete,
        kinds=_kinds(visit),
        found=await _found(visit),
        asked=visit.query,
    )


def _row(digest: bytes, text: bytes) -> Row:
    try:
        return Row(digest.hex(), Ruling.decode(text))
    except UnreadableRuling:
        return Row(digest.hex(), None)


def _kinds(visit: Visit) -> list[str]:
    more = [kind for policy in visit.gate.settings.policies.values() for kind in policy.handle_claims]
    return [*KINDS, *dict.fromkeys(more), "all"]


async def _found(visit: Visit) -> dict[str, object] | None:
    """What stands on the handle that was asked for; None: none was."""
    kind, value = visit.query.get("kind"), visit.query.get("value", "")
    if kind is None:
        return None
    if kind not in _kinds(visit):
        raise Problem(400, "No such kind of handle", "Choose one of the kinds that the page offers.")
    if kind != "all" and not value:
        raise Problem(400, "Which one?", "Give the value, exactly as it stands in tokens.", back="rulings", back_to="Rulings")
    issuer = visit.issuer(visit.query)
    digest = visit.gate.plans.handle(issuer, kind, value) if len(value) <= visit.gate.settings.max_token_bytes else b""
    standing = await standing_of(visit, issuer, {(kind, value): "Everybody" if kind == "all" else kind})
    return {"kind": kind, "value": value, "issuer": issuer, "digest": digest.hex(), "standing": standing}
