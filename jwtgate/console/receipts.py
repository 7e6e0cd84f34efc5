"""The page of a receipt, as it fills: what is proved of a ruling by now, by the rules of ``core.receipts`` and no others.

What is needed to prove it is kept in the process that wrote it, for the latest few hundred. It also goes along in the page's
address, sealed under the operator's credential, so that another process, or this one after a restart, can take it up
(``core.pursuits``). One that cannot says so.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.console.visiting import Problem

if TYPE_CHECKING:
    from jwtgate.console.visiting import Visit
    from jwtgate.core.pursuits import Pursuit
    from jwtgate.messages import Receipt, Response

__all__ = ["Kept", "Receipts", "receipt"]

MOST_KEPT = 512

MOST_TOLD = 6_000
"""Octets of an address: servers take 8,000 and more. With some hundred workers that have not heard it is kept here alone."""


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

    def told(self, visit: Visit) -> str:
        """For the address of its page; empty: it is too long."""
        words = (self.what, self.named, self.whom, self.by, self.back, self.back_to)
        text = json.dumps([words, self.pursuit.told()], separators=(",", ":"))
        told = urlsafe_b64encode(text.encode()).decode()
        return f"{told}.{visit.seal(told)}" if len(told) < MOST_TOLD else ""


class Receipts:
    """The latest, by a name that nobody can guess; what was taken up by its seal, for whose it is alone."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str | tuple[str], Kept] = OrderedDict()

    def keep(self, kept: Kept) -> str:
        """Returns: its name."""
        name = secrets.token_urlsafe(12)
        self._keep(name, kept)
        return name

    def _keep(self, name: str | tuple[str], kept: Kept) -> None:
        self._kept[name] = kept
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def find(self, visit: Visit) -> Kept | None:
        """The one that the address names, if it is still here or can be taken up."""
        kept = self._kept.get(visit.query.get("id", ""))
        told, _, seal = visit.query.get("told", "").rpartition(".")
        if kept is not None or not visit.is_sealed(told, seal):
            return kept
        kept = self._kept.get((seal,))
        if kept is None and (kept := _taken_up(visit, told)) is not None:
            self._keep((seal,), kept)
        return kept


def _taken_up(visit: Visit, told: str) -> Kept | None:
    """None: it cannot be. An operator can seal what no page of ours said: the seal is made with what is in their forms."""
    try:
        known = json.loads(urlsafe_b64decode(told))
        json.dumps(known, ensure_ascii=False).encode()  # else a page could not be
        words, pursuit = known
        what, named, whom, by, back, back_to = map(_text, words)
        return Kept(what, named, whom, by, back, back_to, *visit.gate.plans.taken_up(pursuit))
    except (ValueError, TypeError, RecursionError):
        return None


def _text(word: object) -> str:
    if not isinstance(word, str):
        raise TypeError
    return word


async def receipt(visit: Visit, receipts: Receipts) -> Response:
    """Raises: Problem. StoreUnavailable."""
    kept = receipts.find(visit)
    if kept is None:
        raise Problem(
            404,
            "This receipt is not here",
            "It was given long ago, or by another worker of the application, which may be asked by looking again, or to a "
            "login that has been renewed since. What it was for stands all the same; who wants it proved does it again, which "
            "does no harm.",
            back=visit.url("receipt", id=visit.query.get("id"), told=visit.query.get("told")).removeprefix(visit.base),
            back_to="Look again",
        )
    if not kept.receipt.effective_everywhere and not kept.is_lost:
        again = await visit.run(visit.gate.plans.receipt_again(kept.pursuit))
        if again is None:
            kept.is_lost = True
        else:
            kept.receipt = again
    return visit.page("receipt", kept=kept, receipt=kept.receipt)
