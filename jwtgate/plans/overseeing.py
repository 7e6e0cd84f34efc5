"""What an operator looks at, as plans: a part of ``Plans``. Decides nothing, and admits nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jwtgate.core.effects import Looked, LookUp, Roster
from jwtgate.core.judgement import readable
from jwtgate.core.receipts import noting
from jwtgate.plans.ruling import RulingPlans

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.core.history import Epoch, LogEnd, Worker, Written
    from jwtgate.core.pursuits import Pursuit
    from jwtgate.core.rulings import Change, Ruling
    from jwtgate.core.sessions.standing import Standing
    from jwtgate.core.view import View
    from jwtgate.messages import Receipt, Session

__all__ = ["OverseeingPlans", "Overseen"]


@dataclass(frozen=True, slots=True)
class Overseen:
    """One partition of the store, as of one step."""

    epoch: Epoch
    end: LogEnd
    workers: tuple[Worker, ...]


class OverseeingPlans(RulingPlans):
    """Of one gate in one process."""

    view: View
    standing: Standing | None

    def overseen(self) -> Plan[tuple[Overseen, ...]]:
        """Every partition, one look at each."""
        found: list[Overseen] = []
        for partition in range(len(self.view.parts)):
            epoch, end, workers = yield Roster(partition)
            found.append(Overseen(epoch, end, workers))
        return tuple(found)

    def session_page(self, sub: str, offset: int, limit: int) -> Plan[tuple[list[Session], bool]]:
        """Of a subject of the issuer that ``has_sessions``, newest first; and whether there are more.

        Raises: ValueError. StoreUnavailable.
        """
        if self.standing is None:
            return [], False
        return (yield from self._ours(self.standing.page_of(sub, offset, limit)))

    def has_sessions(self, issuer: str | None) -> bool:
        """Whether the sessions here are of that issuer. Raises: ValueError: it is none that is configured."""
        return self.standing is not None and self.targets.policy(issuer) is self.standing.policy

    def handle(self, issuer: str | None, kind: str, value: str) -> bytes:
        """The digest of a handle. Raises: ValueError."""
        policy = self.targets.policy(issuer)
        return policy.everything if kind == "all" else self.targets.handle(policy, kind, value)

    def ruled_on(self, issuer: str | None, named: tuple[tuple[str, str], ...]) -> Plan[tuple[Ruling | None, ...]]:
        """What stands on these handles, each a kind and a value, as the store has it. Raises: ValueError. StoreUnavailable."""
        digests = tuple(self.handle(issuer, kind, value) for kind, value in named)
        looked: Looked = yield LookUp(digests)
        return tuple(readable(looked.facts.rulings))

    def pursued(self, plan: Plan[Receipt]) -> Plan[tuple[Receipt, Pursuit]]:
        """What a plan that does not wait wrote, and how to look at it again."""
        steps: dict[tuple[Change, ...], tuple[Written, ...]] = {}
        receipt = yield from noting(plan, steps)
        return receipt, self.revoker.pursue(steps.values())

    def taken_up(self, told: Any) -> tuple[Receipt, Pursuit]:
        """See ``Revoker.taken_up``."""
        return self.revoker.taken_up(told)

    def receipt_again(self, pursuit: Pursuit) -> Plan[Receipt | None]:
        """See ``Revoker.again``."""
        return self._ours(self.revoker.again(pursuit))
