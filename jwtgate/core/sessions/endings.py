"""Every way a session ends before its time: a ruling and the session's own end, in one step of the store.

The ruling is what holds (it reaches every process, outlives a store that forgets, and refuses both the access tokens and the
refresh); taking the record away in the same step is what a racing rotation runs into, and what the list shows. The ruling
on a ``sid`` is remembered no longer than an access token of the session may live, unless an operator named the ``sid``.

Whether a store that does not answer a question is asked to write all the same: yes. A logout is not lost for want of a list.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from jwtgate.audit import AuditEvent
from jwtgate.core.effects import ListSessions, Looked, LookUp, Plan
from jwtgate.core.rulings import MARGIN_SECONDS, Change
from jwtgate.core.sessions.refresh_tokens import RefreshToken, is_session_id
from jwtgate.core.sessions.stored import MOST_LISTED, SessionChange
from jwtgate.errors import GrantError, StoreUnavailable

if TYPE_CHECKING:
    from jwtgate.core.receipts import Revoker
    from jwtgate.core.sessions.standing import Standing
    from jwtgate.core.tokens.policy import IssuerPolicy
    from jwtgate.messages import Receipt

__all__ = ["Endings"]

ROUNDS = 100
"""Of a list that is longer than one look tells."""

NOBODY = bytes(16)
"""In place of a user's digest: an end does not tell whose it was, and it stands on no list any more."""


class Endings:
    """Of one gate. ``standing`` is None where no key signs: then there are no sessions, and only rulings."""

    def __init__(self, standing: Standing | None, revoker: Revoker, *, is_journaled: bool = False) -> None:
        """Args: is_journaled: what the store is told a journal must have, too."""
        self.standing = standing
        self.is_journaled = is_journaled
        self.revoker = revoker

    def by_sid(self, policy: IssuerPolicy, change: Change, sid: str, *, is_end_known: bool, wait: bool) -> Plan[Receipt]:
        """``revoked`` on a ``sid``, and the end of the session if it is one of ours.

        With ``is_end_known`` only tokens of the session itself are meant, and its record tells until when the ruling matters;
        an operator who names a ``sid`` may mean tokens that nobody here has made.
        """
        standing = self.standing
        event = AuditEvent("logout" if is_end_known else "revocation", "sid", issuer=policy.issuer, session_id=sid)
        if standing is None or policy is not standing.policy or not is_session_id(sid):
            return (yield from self.revoker.revoke((change,), events=(event,), wait=wait))
        try:
            looked: Looked = yield LookUp((), (sid,))
            record, now = standing.read(looked.facts.sessions[0]), looked.facts.at
        except StoreUnavailable:
            record, now = None, 0.0
        if record is None:
            return (yield from self.revoker.revoke((change,), events=(event,), wait=wait))
        if is_end_known:
            change = replace(change, until=standing.remembered_until(record, now))
        event, ended = replace(event, subject=record.subject), SessionChange(sid, standing.user(record.subject))
        return (yield from self.revoker.revoke((change,), events=(event,), wait=wait, sessions=(ended,)))

    def by_subject(
        self,
        policy: IssuerPolicy,
        changes: tuple[Change, ...],
        sub: str,
        *,
        wait: bool,
        kind: Literal["logout", "revocation"] = "logout",
    ) -> Plan[Receipt]:
        """Cut-offs on a subject's tokens and sessions. Those that are not on the list are dead by the ruling alone.

        Args: kind: of the event that is told.
        """
        standing, events = self.standing, (AuditEvent(kind, "sub", issuer=policy.issuer, subject=sub),)
        if standing is None or policy is not standing.policy:
            return (yield from self.revoker.revoke(changes, events=events, wait=wait))
        try:
            looked: Looked = yield ListSessions(standing.user(sub))
            listed = looked.facts.sessions
        except StoreUnavailable:
            listed = ()
        ended = tuple(SessionChange(each.sid, standing.user(sub)) for each in listed if each is not None)
        return (yield from self.revoker.revoke(changes, events=events, wait=wait, sessions=ended))

    def all_but(self, sub: str, keep: str, *, wait: bool) -> Plan[Receipt]:
        """Each session of a subject but one. One that begins meanwhile began after the call: it lives."""
        standing = self._standing()
        user = standing.user(sub)
        before: tuple[Change, ...] = ()
        for _ in range(ROUNDS):
            looked: Looked = yield ListSessions(user)
            if not looked.facts.epoch.is_healed:  # a journal may put back those that are missing: nothing would end them
                raise StoreUnavailable("the store's history is healing")
            live, dead = standing.sorted_out(looked.facts)
            going = [each for each in live if each.stored.sid != keep]
            is_last = len(looked.facts.sessions) < MOST_LISTED
            changes = tuple(
                Change(each.stored.handles[0], revoked=True, until=standing.remembered_until(each.record, looked.facts.at))
                for each in going
            )
            # Where nothing is left, one of the last round's again, in its place of the log: the receipt is of all rounds.
            changes = before = changes or before[:1]
            ended = tuple(SessionChange(sid, user) for sid in (*dead, *(each.stored.sid for each in going)))
            events = tuple(self._logout(each.stored.sid, sub) for each in going)
            receipt = yield from self.revoker.revoke(changes, events=events, wait=wait and is_last, sessions=ended)
            if is_last:
                return receipt
        raise StoreUnavailable("the subject's sessions grew faster than they could be ended")

    def by_refresh_token(self, refresh_token: str, *, wait: bool) -> Plan[Receipt | None]:
        """The session that a refresh token belongs to, used or not. None: there is none that lives."""
        standing = self._standing()
        try:
            shown = RefreshToken.decode(refresh_token)
            live = yield from standing.found(shown, also_suspended=True)
        except GrantError:
            return (yield from self._ended_again(refresh_token, wait=wait)) if self.is_journaled else None
        until = standing.remembered_until(live.record, live.facts.at)
        change = Change(live.stored.handles[0], revoked=True, until=until)
        ended, events = SessionChange(shown.sid, live.stored.handles[1]), (self._logout(shown.sid, live.record.subject),)
        return (yield from self.revoker.revoke((change,), events=events, wait=wait, sessions=(ended,)))

    def _ended_again(self, refresh_token: str, *, wait: bool) -> Plan[Receipt | None]:
        """What ended it may have reached the store alone, and a journal would put the session back: it is written again."""
        standing = self._standing()
        try:
            sid = RefreshToken.decode(refresh_token).sid
        except GrantError:
            return None
        looked: Looked = yield LookUp((), (sid,))
        stored, policy = looked.facts.sessions[0], standing.policy
        if stored is None or not stored.is_ended:
            return None
        until = looked.facts.at + policy.max_ttl_seconds + policy.leeway_seconds + MARGIN_SECONDS
        change = Change(standing.sid_handle(sid), revoked=True, until=until)
        ended, events = SessionChange(sid, NOBODY), (self._logout(sid, None),)
        return (yield from self.revoker.revoke((change,), events=events, wait=wait, sessions=(ended,)))

    def _logout(self, sid: str, sub: str | None) -> AuditEvent:
        return AuditEvent("logout", "sid", issuer=self._standing().policy.issuer, subject=sub, session_id=sid)

    def _standing(self) -> Standing:
        if self.standing is None:
            raise GrantError("no key signs, so there are no sessions")
        return self.standing
