"""The page of a receipt, as it fills: what is proved of a ruling by now, by the rules of ``core.receipts`` and no others.

What is needed to prove it is kept in the process that wrote it, for the latest few hundred. Another process, or this one after
a restart, knows the ruling, but cannot say who was there when it was written: it says so.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.console.visiting import Problem

if TYPE_CHECKING:
    from jwtgate.console.visiting import Visit
    from jwtgate.core.receipts import Pursuit
    from jwtgate.messages import Receipt, Response

__all__ = ["Kept", "Receipts", "receipt"]

MOST_KEPT = 512


@dataclass(slots=True)
class Kept:
    """One action.

    Attributes:
        what: that was done, in words.
        named, whom: what it was done to, in words and by its name.
        by: who did it.
        back, back_to: where the operator came from, and what that is.
        receipt: the latest.
        is_lost: the history that it was written in is over.
    """

    what: str
    named: str
    whom: str
    by: str
    back: str
    back_to: str
    receipt: Receipt
    pursuit: Pursuit
    is_lost: bool = False

    @property
    def missing(self) -> list[str]:
        """Workers that may not have heard."""
        return sorted({name for wait in self.pursuit.waits for name in wait.missing})


class Receipts:
    """The latest, by a name that nobody can guess."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def keep(self, kept: Kept) -> str:
        """Returns: its name."""
        name = secrets.token_urlsafe(12)
        self._kept[name] = kept
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return name

    def find(self, name: str) -> Kept | None:
        """If it is still there."""
        return self._kept.get(name)


async def receipt(visit: Visit, receipts: Receipts) -> Response:
    """Raises: Problem. StoreUnavailable."""
    name = visit.query.get("id", "")
    kept = receipts.find(name)
    if kept is None:
        raise Problem(
            404,
            "This receipt is not here",
            "It was given by another worker of the application, which may be asked by looking again, or long ago. What it was "
            "for stands all the same; who wants it proved does it again, which does no harm.",
            back=visit.url("receipt", id=name).removeprefix(visit.base),
            back_to="Look again",
        )
    if not kept.receipt.effective_everywhere and not kept.is_lost:
        again = await visit.run(visit.gate.plans.receipt_again(kept.pursuit))
        if again is None:
            kept.is_lost = True
        else:
            kept.receipt = again
    return visit.page("receipt", kept=kept, receipt=kept.receipt)
