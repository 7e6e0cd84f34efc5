"""What a login makes: a session and its first tokens.

Invariant: nothing else makes a session, and its record, its place in the subject's list, the ends of those that must go to
make room, and its stamp are one step of the store. A subject that is suspended in that very step gets none.

Which session is live is decided in ``standing``, how its refresh token rotates in ``rotation``, how it ends in ``endings``.
Does no I/O and draws nothing. Sources: RFC 6749 §5.1, RFC 9068 §2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from jwtgate.audit import AuditEvent
from jwtgate.core.effects import ListSessions, Looked, LookUp, Plan, Write
from jwtgate.core.partitioning import partition_of_session, partition_of_user
from jwtgate.core.providers.upstream import CLAIM
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.record import Record
from jwtgate.core.sessions.refresh_tokens import RefreshToken
from jwtgate.core.sessions.standing import session_handles
from jwtgate.core.sessions.stored import MOST_LISTED, SUBJECT_PLACE, Guard, SessionChange
from jwtgate.core.tokens.issuance import is_utf8, scope_claim, suspends
from jwtgate.errors import GrantError, StoreUnavailable, SubjectSuspended
from jwtgate.messages import TokenPair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jwtgate.core.history import Facts, Written
    from jwtgate.core.providers.upstream import Link
    from jwtgate.core.sessions.standing import Standing
    from jwtgate.core.tokens.issuance import Issuer

__all__ = ["ATTEMPTS", "Login", "SessionRules", "pair_of"]

ATTEMPTS = 32
"""Of a compare-and-set. Each failure means that somebody else's succeeded."""

MAX_TEXT = 1024
"""Characters of a device's label, an address, a user agent."""


@dataclass(frozen=True, slots=True)
class SessionRules:
    """What the operator decided about sessions; see the settings of the same names. Spans are seconds.

    ``is_journaled``: what the store is told a journal must have, too.
    """

    access_seconds: float
    session_seconds: float
    idle_seconds: float | None
    grace_seconds: float
    most: int | None
    client_id: str | None
    has_csrf: bool
    is_journaled: bool = False


class Login:
    """Of one gate."""

    def __init__(
        self,
        rules: SessionRules,
        issuer: Issuer,
        standing: Standing,
        *,
        draw: Callable[[int], bytes],
        draw_text: Callable[[], str],
        check_size: Callable[[TokenPair], None],
    ) -> None:
        """Args: draw: random bytes. draw_text: a random text. check_size: raises ValueError for what no cookie holds."""
        self.rules = rules
        self.issuer = issuer
        self.standing = standing
        self.view = standing.view
        self.clock = standing.clock
        self.draw = draw
        self.draw_text = draw_text
        self.check_size = check_size

    def start(  # noqa: PLR0913 - the fixed public arguments of Sessions.start
        self,
        sub: str,
        *,
        claims: Mapping[str, Any] | None,
        scope: str | Iterable[str] | None,
        device: str | None,
        ip: str | None,
        user_agent: str | None,
        link: Link | None = None,
    ) -> Plan[TokenPair]:
        """A session and its first tokens.

        Args: link: to the session at a provider that it hangs on.
        Raises: SubjectSuspended, there too. GrantError: that one has ended. SettingsError: no signing key. ValueError: what
            cannot be. Nothing is written then.
        """
        policy, now, rules = self.issuer.policy(), self.clock.wall(), self.rules
        record = Record(
            subject=sub,
            created_at=now,
            absolute_end=now + rules.session_seconds,
            idle_seconds=rules.idle_seconds,
            access_seconds=rules.access_seconds,
            claims=self._first_claims(claims, scope, now)
            | ({} if link is None else {CLAIM: link.claim(now, policy.leeway_seconds)}),
            device=_text(device, "device"),
            ip=_text(ip, "ip"),
            user_agent=_text(user_agent, "user_agent"),
        )
        refresh_token = self._first_token(sub, record.ends_at(now))
        record = replace(record, current=refresh_token.digest)
        claims = yield from self.issuer.salted(record.claims, sub)
        payload = self.payload(record, refresh_token.sid, claims, record.ends_at(now))
        draft, parsed = self.issuer.drafted(policy, payload)
        self.check_size(pair_of(draft, refresh_token, payload))
        handles = session_handles(policy, parsed)
        put = SessionChange(
            refresh_token.sid,
            handles[1],
            record=record.encode(),
            handles=handles,
            ends_at=record.ends_at(now),
            seen_at=now,
        )
        written = yield from self._put(put, sub, link)
        payload = yield from self.issuer.listed(policy, payload, written.stamp)
        access_token = self.issuer.sign(policy, payload, written.stamp)
        return pair_of(access_token, replace(refresh_token, epoch=written.epoch.name), payload)

    def _first_token(self, sub: str, ends_at: float) -> RefreshToken:
        """Drawn until its session falls where the subject's list is: one step must change both.

        Raises: ValueError: no subject.
        """
        partitions = len(self.view.parts)
        home = partition_of_user(self.standing.user(sub), partitions)
        while True:
            refresh_token = RefreshToken.first(self.draw, ends_at)
            if partition_of_session(refresh_token.sid, partitions) == home:
                return refresh_token

    def _first_claims(self, claims: Mapping[str, Any] | None, scope: str | Iterable[str] | None, now: float) -> dict[str, Any]:
        """The application's, and what stays with the session: when it logged in, for whom, and the value of CSRF."""
        own: dict[str, Any] = {"auth_time": math.floor(now)}
        if self.rules.client_id is not None:
            own["client_id"] = self.rules.client_id
        own |= self.issuer.own_claims(claims)
        own |= scope_claim(scope)
        if self.rules.has_csrf:
            if "csrf" in own:
                raise ValueError("claims may not set csrf: under JWTGATE_CSRF=double-submit the gate does")
            own["csrf"] = self.draw_text()
        return own

    def payload(self, record: Record, sid: str, claims: Mapping[str, Any], ends_at: float) -> dict[str, Any]:
        """An access token's claims: it outlives neither the session nor what the record promises."""
        seconds = min(self.rules.access_seconds, record.access_seconds)
        end = min(self.clock.wall() + math.ceil(seconds), ends_at)
        return self.issuer.payload(self.standing.policy, record.subject, {**claims, "sid": sid}, end)

    def _put(self, put: SessionChange, sub: str, link: Link | None) -> Plan[Written]:
        """Creates it; where ``MAX_SESSIONS`` is reached the oldest end in the same step."""
        subjects: tuple[bytes, ...] = (put.handles[SUBJECT_PLACE],)
        if link is not None and "sub" in link.handles:
            subjects += (link.handles["sub"],)
        ended = () if link is None or "sid" not in link.handles else (link.handles["sid"],)
        barred = (*subjects, *ended)
        for _ in range(ATTEMPTS):
            changes: tuple[Change, ...] = ()
            sessions: tuple[SessionChange, ...] = (put,)
            dead: list[str] = []
            guard = Guard(not_revoked=barred)
            if self.rules.most is not None:
                looked: Looked = yield ListSessions(put.user)
                if self.rules.is_journaled and not looked.facts.epoch.is_healed:  # it may put back those that are to go
                    raise StoreUnavailable("the store's history is healing")
                changes, sessions, guard, dead = self._with_room(put, guard, looked.facts, self.rules.most)
            events = tuple(self._event(each, put, sub) for each in sessions if each.sid not in dead)
            written: Written | None = yield Write(changes, self.clock.wall(), sessions, guard, events)
            if written is not None:
                self.view.learn(written, (change.digest for change in changes))
                if put in sessions:
                    return written
                continue
            looked = yield LookUp(barred)
            if any(map(suspends, looked.facts.rulings[: len(subjects)])):
                raise SubjectSuspended("the subject is suspended")
            if any(map(suspends, looked.facts.rulings[len(subjects) :])):
                raise GrantError("the session at the provider has ended")
        raise StoreUnavailable("other logins of the same subject kept coming first")

    def _with_room(
        self, put: SessionChange, guard: Guard, facts: Facts, most: int
    ) -> tuple[tuple[Change, ...], tuple[SessionChange, ...], Guard, list[str]]:
        """The write that ends the dead and the oldest and puts the new one, if the list is still what it was; and the dead.

        Where the list is longer than can be told, only ends: the next look sees the rest.
        """
        live, dead = self.standing.sorted_out(facts)
        excess = live[max(0, most - 1) :]
        changes = tuple(
            Change(
                each.stored.handles[0],
                revoked=True,
                until=self.standing.remembered_until(each.record, facts.at),
            )
            for each in excess
        )
        ends = tuple(SessionChange(sid, put.user) for sid in (*dead, *(each.stored.sid for each in excess)))
        listed = frozenset(each.sid for each in facts.sessions if each is not None)
        if len(listed) >= MOST_LISTED:
            return changes, ends, guard, dead
        return changes, (*ends, put), replace(guard, user=put.user, sids=listed), dead

    def _event(self, session: SessionChange, put: SessionChange, sub: str) -> AuditEvent:
        kind: Literal["login", "session_evicted"] = "login" if session is put else "session_evicted"
        return AuditEvent(kind, "sid", issuer=self.standing.policy.issuer, subject=sub, session_id=session.sid)


def pair_of(access_token: str, refresh_token: RefreshToken, payload: Mapping[str, Any]) -> TokenPair:
    """What the client gets."""
    cnf = payload.get("cnf")
    is_dpop = isinstance(cnf, dict) and "jkt" in cnf
    expires_in = payload["exp"] - payload["iat"]
    return TokenPair(access_token, refresh_token.encode(), expires_in, refresh_token.sid, "DPoP" if is_dpop else "Bearer")


def _text(value: object, name: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > MAX_TEXT or not is_utf8(value):
        raise ValueError(f"{name} must be a text of at most {MAX_TEXT} characters that UTF-8 can carry")
    return value
