"""What follows from what a provider tells: the rulings of a logout token, and of the events of a security event token.

Invariants:
  * All that one statement says is one write, and that it was heard stands in the same step: what failed is never taken for
    done. Where a store has several partitions it stands in the last one that is written.
  * Each effect has a time or names what is over for good, so a statement that is heard twice does nothing more: two at once
    come to the same. One that was heard before is acknowledged without a write; where there is a journal it is written again,
    since who heard it may have ended between the store and the journal.
  * What began after the time that the provider tells lives on. A time to come counts as now.
  * Of one that is not genuine nobody learns by a call to the store, and a key that was retired speaks for nobody.

OpenID Connect Back-Channel Logout §2.7, CAEP 1.0 §3. Does no I/O.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jwtgate.audit import AuditEvent
from jwtgate.core.effects import Clock, Looked, LookUp, Pause, Plan
from jwtgate.core.handles import digest_of
from jwtgate.core.history import NotDurable
from jwtgate.core.keys.ring import KeysDue
from jwtgate.core.partitioning import SELECTOR_BYTES, partition_of
from jwtgate.core.providers.statements import event_token, logout_token
from jwtgate.core.providers.subjects import Asked, named
from jwtgate.core.rulings import Change
from jwtgate.core.tokens.issuance import suspends
from jwtgate.errors import MalformedToken, StoreUnavailable, UnavailableError, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jwtgate.claims import Claims
    from jwtgate.core.effects import SubjectMapper
    from jwtgate.core.providers.statements import Statement
    from jwtgate.core.providers.subjects import Named
    from jwtgate.core.receipts import Revoker
    from jwtgate.core.revocation import Targets
    from jwtgate.core.view import View
    from jwtgate.messages import Receipt

__all__ = ["Hearing"]

ANSWER_SECONDS = 2.0
"""Providers wait for two and a half, and their user with them."""

KEYS_SECONDS = 1.0
KEYS_PAUSE_SECONDS = 0.02
"""A provider that has changed its key is not asked to tell again: the new one is waited for, where it is on its way."""

MOST_KEPT = 1024
"""Statements of which a process knows that a journal has them, if there is one: whoever repeats one of them causes no write."""

_CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
SESSION_REVOKED = _CAEP + "session-revoked"
CREDENTIAL_CHANGE = _CAEP + "credential-change"

ENDING_CHANGES = frozenset({"update", "revoke", "delete"})
"""Of a password, and of nothing else: somebody who adds a second factor, or drops a lost one, is still who logged in."""


class Hearing:
    """Of one gate."""

    def __init__(
        self,
        targets: Targets,
        revoker: Revoker,
        view: View,
        clock: Clock,
        mapper: Callable[[], SubjectMapper | None],
        *,
        is_journaled: bool = False,
    ) -> None:
        """Args: mapper: what the application gave to be asked whom an identifier means, if anything.

        is_journaled: what the store is told a journal must have, too.
        """
        self.targets = targets
        self.revoker = revoker
        self.view = view
        self.clock = clock
        self.mapper = mapper
        self.is_journaled = is_journaled
        self._kept: OrderedDict[bytes, None] = OrderedDict()

    def logout(self, token: bytes) -> Plan[Receipt | None]:
        """Ends what a logout token names. None: it was heard before.

        Raises: InvalidToken and its kin. KeysUnavailable. StoreUnavailable: not written, or not confirmed.
        """
        began = self.clock.boot()
        statement = yield from self._known(logout_token, token)
        claims, now = statement.claims, self.clock.wall()
        changes = self.targets.ended(statement.policy, claims.get("sid"), claims.get("sub"), statement.issued_at, now)
        event = AuditEvent("provider_logout", "sub" if claims.get("sid") is None else "sid", actor=statement.policy.issuer)
        event = replace(event, issuer=statement.policy.issuer, subject=claims.get("sub"), session_id=claims.get("sid"))
        return (yield from self._ruled(statement, changes, (event,), began))

    def events(self, token: bytes) -> Plan[Receipt | None]:
        """Does what the events of a security event token ask. None: heard before, or nothing that anything follows from.

        Raises: as ``logout``; UnavailableError: the application's mapper failed.
        """
        began = self.clock.boot()
        statement = yield from self._known(event_token, token)
        changes: list[Change] = []
        told: list[AuditEvent] = []
        for identifier, payload in statement.events.items():
            if _is_ending(identifier, payload):
                at = _time_of(payload, statement)
                asked = Asked(self.targets.policies, statement.policy, self.mapper())
                whom = yield from named(_subject(statement, payload), asked)
                try:
                    changes += self._ended(identifier, whom, at)
                    told += (_event(identifier, each, statement) for each in whom)
                except ValueError as error:  # nobody but the application could name it: in no token it would be read
                    raise UnavailableError("the application's mapper of subjects names what no token can carry") from error
        return (yield from self._ruled(statement, tuple(changes), tuple(told), began)) if changes else None

    def _known(self, read: Callable[..., Statement], token: bytes) -> Plan[Statement]:
        """Genuine, as far as the keys of now tell; new ones that are being fetched are waited for a little.

        Raises: KeysUnavailable: they do not come, or not so soon.
        """
        until = self.clock.boot() + KEYS_SECONDS
        while True:
            try:
                return read(token, self.targets.policies, self.targets.max_token_bytes, self.clock.wall())
            except KeysDue:
                if self.clock.boot() >= until:
                    raise
                yield Pause(KEYS_PAUSE_SECONDS)

    def _ended(self, event: str, whom: Iterable[Named], at: float) -> list[Change]:
        """A credential is the user's, whatever session it was changed in."""
        changes: list[Change] = []
        for each in whom:
            now = self.clock.wall()
            if event == CREDENTIAL_CHANGE and each.sub is not None:
                changes += self.targets.ended(each.policy, None, each.sub, at, now)
            elif each.jti is not None:
                changes.append(self.targets.jti(each.policy, each.jti, now))
            else:
                changes += self.targets.ended(each.policy, each.sid, each.sub, at, now)
        return changes

    def _ruled(
        self, statement: Statement, changes: tuple[Change, ...], events: tuple[AuditEvent, ...], began: float
    ) -> Plan[Receipt | None]:
        changes = _each_once(changes)
        heard = self._heard(statement, changes)
        if (yield from self._was_heard(statement, heard)) and (not self.is_journaled or heard.digest in self._kept):
            return None
        left = max(0.0, ANSWER_SECONDS - (self.clock.boot() - began))
        try:
            receipt = yield from self.revoker.revoke((*changes, heard), events=events, wait=True, wait_seconds=left)
        except NotDurable:  # it stands, but not as firmly as was asked for: told again it is written again
            with suppress(StoreUnavailable):
                yield from self.revoker.revoke((replace(heard, revoked=False),), events=(), wait=False)
            raise
        self._kept[heard.digest] = None
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return receipt

    def _heard(self, statement: Statement, changes: tuple[Change, ...]) -> Change:
        """That it was heard, beside the last of what follows from it."""
        partitions = len(self.view.parts)
        last = max(changes, key=lambda change: partition_of(change.digest, partitions)).digest[:SELECTOR_BYTES]
        digest = digest_of(statement.policy.namespace, "statement", f"{statement.kind} {statement.claims['jti']}")
        return Change(last + digest[SELECTOR_BYTES:], revoked=True, until=statement.until)

    def _was_heard(self, statement: Statement, heard: Change) -> Plan[bool]:
        """Where the store does not answer it is asked to write all the same: what ends is not lost for want of a look.

        Raises: UnknownKey: the key was retired.
        """
        handles = (statement.key.handle, heard.digest)
        if _tells(self.view.known(handles).rulings):
            return True
        try:
            looked: Looked = yield LookUp(handles)
        except StoreUnavailable:
            return False
        return _tells(looked.facts.rulings)


def _event(event: str, whom: Named, statement: Statement) -> AuditEvent:
    """What is told of a security event. A credential is the user's, whatever session it was changed in."""
    is_of_user = event == CREDENTIAL_CHANGE and whom.sub is not None
    sid, jti = (None, None) if is_of_user else (whom.sid, whom.jti)
    return AuditEvent(
        "security_event",
        "jti" if jti is not None else "sid" if sid is not None else "sub",
        issuer=whom.policy.issuer,
        subject=whom.sub,
        session_id=sid,
        token_id=jti,
        actor=statement.policy.issuer,
    )


def _tells(rulings: Iterable[bytes | None]) -> bool:
    """Whether it was heard before, by the rulings on a statement's key and on itself. Raises: UnknownKey: one retired."""
    is_retired, was_heard = map(suspends, rulings)
    if is_retired:
        raise UnknownKey("its key was retired")
    return was_heard


def _each_once(changes: Iterable[Change]) -> tuple[Change, ...]:
    """One change a handle: of two that cut off the later time counts."""
    found: dict[bytes, Change] = {}
    for change in changes:
        known = found.get(change.digest)
        times = [each.cut_at for each in (known, change) if each is not None and each.cut_at is not None]
        found[change.digest] = replace(change, cut_at=max(times, default=None))
    return tuple(found.values())


def _is_ending(event: str, payload: Claims) -> bool:
    """Whether anything follows from an event.

    Raises: MalformedToken: it lacks what CAEP 1.0 §3.3 requires.
    """
    if event != CREDENTIAL_CHANGE:
        return event == SESSION_REVOKED
    found = (payload.get("credential_type"), payload.get("change_type"))
    if not all(isinstance(each, str) and each for each in found):
        raise MalformedToken("credential-change without credential_type or change_type")
    return found[0] == "password" and found[1] in ENDING_CHANGES


def _time_of(payload: Mapping[str, Any], statement: Statement) -> float:
    """CAEP 1.0 §2: ``event_timestamp``, seconds; else the token's own. One that lies ahead counts as now."""
    found = payload.get("event_timestamp", statement.issued_at)
    if isinstance(found, bool) or not isinstance(found, int | float) or found < 0:
        raise MalformedToken("event_timestamp is not a NumericDate")
    return float(found)


def _subject(statement: Statement, payload: Claims) -> object:
    """Shared Signals Framework §3: ``sub_id`` of the token; in older drafts ``subject`` of the event.

    Raises: MalformedToken: none, or two that differ.
    """
    found = [each for each in (statement.claims.get("sub_id"), payload.get("subject")) if each is not None]
    if not found or found[0] != found[-1]:
        raise MalformedToken("no subject, or sub_id and subject differ")
    return found[0]
