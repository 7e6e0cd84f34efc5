"""The gate's operations that write rulings, as plans: a part of ``Plans``. Decides nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from jwtgate.audit import AuditEvent
from jwtgate.core.keys.ring import once_known
from jwtgate.core.relaying import told_apart
from jwtgate.core.toggling import in_turn
from jwtgate.errors import JWTGateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.audit import Kind
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
                return (yield from self.endings.by_subject(policy, changes, sub, wait=wait, kind="revocation"))
            return (yield from self.revoker.revoke(changes, events=(self._revocation(target),), wait=wait))

        return self._ruling(plan())

    def revoke_token(self, token: str, *, wait: bool) -> Plan[Receipt]:
        """One access token."""

        def plan() -> Plan[Receipt]:
            change = yield from once_known(lambda: self.targets.token(token, self.clock.wall()), self.clock)
            return (yield from self.revoker.revoke((change,), events=(self.targets.token_event(token),), wait=wait))

        return self._ruling(plan())

    def _revocation(self, target: dict[str, Any]) -> AuditEvent:
        """What is told of a revocation that names no session and no subject's sessions."""
        if target["token"] is not None:
            return self.targets.token_event(target["token"])
        issuer = self.targets.policy(target["issuer"]).issuer
        if target["claim"] is not None:
            return AuditEvent("revocation", "claim", issuer=issuer, claim=target["claim"])
        if target["sub"] is not None:
            return AuditEvent("revocation", "access_tokens", issuer=issuer, subject=target["sub"])
        if target["jti"] is not None:
            return AuditEvent("revocation", "jti", issuer=issuer, token_id=target["jti"])
        return AuditEvent("revocation", "everything", issuer=issuer)

    def retire(
        self, handles: tuple[bytes, ...], *, wait: bool, key_id: str | None = None, issuer: str | None = None
    ) -> Plan[Receipt]:
        """Keys, by their handles. Args: key_id, issuer: for who is told of it."""
        event = AuditEvent("key_retirement", "key", issuer=issuer, key_id=key_id)
        return self._write(lambda: (self.targets.keys(handles), event), wait=wait)

    def suspend(self, sub: str, issuer: str | None, *, wait: bool) -> Plan[Receipt]:
        """See ``Gate.suspend``."""
        return self._toggle(lambda: (self.targets.suspended(sub, issuer), self._of("suspension", sub, issuer)), wait=wait)

    def reinstate(self, sub: str, issuer: str | None, *, wait: bool) -> Plan[Receipt]:
        """See ``Gate.reinstate``."""

        def changes() -> tuple[tuple[Change, ...], AuditEvent]:
            return self.targets.reinstated(sub, issuer, self.clock.wall()), self._of("reinstatement", sub, issuer)

        return self._toggle(changes, wait=wait)

    def require_version(self, sub: str, version: int, issuer: str | None, *, wait: bool) -> Plan[Receipt]:
        """See ``Gate.require_version``."""

        def changes() -> tuple[tuple[Change, ...], AuditEvent]:
            event = replace(self._of("version_requirement", sub, issuer), version=version)
            return self.targets.versioned(sub, version, issuer, self.clock.wall()), event

        return self._write(changes, wait=wait)

    def renew_key(self, sub: str, issuer: str | None, *, wait: bool) -> Plan[Receipt]:
        """See ``Gate.renew_key``."""
        self.freshen()

        def plan() -> Plan[Receipt]:
            changes = yield from self.targets.renewed_key(sub, issuer)
            return (yield from self.revoker.revoke(changes, events=(self._of("key_renewal", sub, issuer),), wait=wait))

        return self._ruling(plan())

    def _of(self, kind: Kind, sub: str, issuer: str | None) -> AuditEvent:
        return AuditEvent(kind, "sub", issuer=self.targets.policy(issuer).issuer, subject=sub)

    def _toggle(self, changes: Callable[[], tuple[tuple[Change, ...], AuditEvent]], *, wait: bool) -> Plan[Receipt]:
        return self._ruling(in_turn(self._written(changes, wait=wait), self.revoker.view))

    def _write(self, changes: Callable[[], tuple[tuple[Change, ...], AuditEvent]], *, wait: bool) -> Plan[Receipt]:
        return self._ruling(self._written(changes, wait=wait))

    def _written(self, changes: Callable[[], tuple[tuple[Change, ...], AuditEvent]], *, wait: bool) -> Plan[Receipt]:
        written, event = changes()
        return (yield from self.revoker.revoke(written, events=(event,), wait=wait))

    def _ruling(self, plan: Plan[T]) -> Plan[T]:
        """Of an operation that writes rulings: it tells whether any may stand."""
        return self._ours(told_apart(plan))

    def count(self, error: JWTGateError) -> None:
        """One more refusal, where no plan of these has counted it."""
        self.tally.count(error)

    def _ours(self, plan: Plan[T], *, is_counted: bool = False) -> Plan[T]:
        """Refusals leave under this gate's realm, and those of requests are counted."""
        try:
            return (yield from plan)
        except JWTGateError as error:
            if is_counted:
                self.tally.count(error)
            error.realm, error.resource_metadata = self.realm, self.resource_metadata
            raise
