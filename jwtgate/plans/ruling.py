"""The gate's operations that write rulings, as plans: a part of ``Plans``. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from jwtgate.core.keys import once_known
from jwtgate.errors import JWTGateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.effects import Clock, Plan
    from jwtgate.core.receipts import Revoker
    from jwtgate.core.revocation import Targets
    from jwtgate.core.rulings import Change
    from jwtgate.core.sessions.endings import Endings
    from jwtgate.core.tally import Tally
    from jwtgate.messages import Receipt

__all__ = ["RulingPlans"]

T = TypeVar("T")


class RulingPlans:
    """Of one gate in one process.

    Attributes:
        freshen: sees to it that keys are those of now, where no request has started what does so.
    """

    clock: Clock
    targets: Targets
    revoker: Revoker
    endings: Endings
    tally: Tally
    realm: str
    resource_metadata: str
    freshen: Callable[[], None]

    def revoke(self, *, wait: bool, **target: Any) -> Plan[Receipt]:
        """See ``Gate.revoke``."""
        self.freshen()

        def plan() -> Plan[Receipt]:
            changes = yield from once_known(lambda: self.targets.revoked(self.clock.wall(), **target), self.clock)
            sub, sid = target["sub"], target["sid"]
            policy = None if sub is None and sid is None else self.targets.policy(target["issuer"])
            if sid is not None and policy is not None:
                return (yield from self.endings.by_sid(policy, changes[0], sid, is_end_known=False, wait=wait))
            if sub is not None and policy is not None and not target["access_only"]:
                return (yield from self.endings.by_subject(policy, changes, sub, wait=wait))
            return (yield from self.revoker.revoke(changes, wait=wait))

        return self._ours(plan())

    def revoke_token(self, token: str, *, wait: bool) -> Plan[Receipt]:
        """One access token."""

        def plan() -> Plan[Receipt]:
            change = yield from once_known(lambda: self.targets.token(token, self.clock.wall()), self.clock)
            return (yield from self.revoker.revoke((change,), wait=wait))

        return self._ours(plan())

    def retire(self, handles: tuple[bytes, ...], *, wait: bool) -> Plan[Receipt]:
        """Keys, by their handles."""
        return self._write(lambda: self.targets.keys(handles), wait=wait)

    def suspend(self, sub: str, issuer: str | None, *, wait: bool) -> Plan[Receipt]:
        """See ``Gate.suspend``."""
        return self._write(lambda: self.targets.suspended(sub, issuer), wait=wait)

    def reinstate(self, sub: str, issuer: str | None, *, wait: bool) -> Plan[Receipt]:
        """See ``Gate.reinstate``."""
        return self._write(lambda: self.targets.reinstated(sub, issuer, self.clock.wall()), wait=wait)

    def require_version(self, sub: str, version: int, issuer: str | None, *, wait: bool) -> Plan[Receipt]:
        """See ``Gate.require_version``."""
        return self._write(lambda: self.targets.versioned(sub, version, issuer, self.clock.wall()), wait=wait)

    def renew_key(self, sub: str, issuer: str | None, *, wait: bool) -> Plan[Receipt]:
        """See ``Gate.renew_key``."""
        self.freshen()

        def plan() -> Plan[Receipt]:
            return (yield from self.revoker.revoke((yield from self.targets.renewed_key(sub, issuer)), wait=wait))

        return self._ours(plan())

    def _write(self, changes: Callable[[], tuple[Change, ...]], *, wait: bool) -> Plan[Receipt]:
        def plan() -> Plan[Receipt]:
            return (yield from self.revoker.revoke(changes(), wait=wait))

        return self._ours(plan())

    def _ours(self, plan: Plan[T], *, is_counted: bool = False) -> Plan[T]:
        """Refusals leave under this gate's realm, and those of requests are counted."""
        try:
            return (yield from plan)
        except JWTGateError as error:
            if is_counted:
                self.tally.count(error)
            error.realm, error.resource_metadata = self.realm, self.resource_metadata
            raise
