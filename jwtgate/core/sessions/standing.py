"""Which stored session is live.

Invariants:
  * A session is live only if the store holds it, it has not ended, and no ruling kills it: ``revoked`` on its ``sid``, or a
    cut-off on its subject's ``sessions``, on ``all``, ``client_id`` or a configured claim, later than its login. Cut-offs
    are compared with the login's position. A cut-off on ``sub`` alone ends access tokens, not sessions.
  * R1: a ruling known here refuses, too. R2: only a look-up sent now is used, and none older than one lease.
  * What cannot be known is ``StoreUnavailable``: a session that may have been lost with the store's history is not called
    ended (L3). A cut-off on everybody in the present epoch is how an operator says that it is.

Does no I/O: it yields ``LookUp`` and ``ListSessions``.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jwtgate.core.effects import Clock, ListSessions, Looked, LookUp, Plan
from jwtgate.core.handles import digest_of
from jwtgate.core.judgement import readable
from jwtgate.core.providers.upstream import linked_at, subject_of, with_links
from jwtgate.core.rulings import MARGIN_SECONDS, Issued
from jwtgate.core.sessions.record import Record, UnreadableRecord
from jwtgate.core.sessions.refresh_tokens import is_session_id
from jwtgate.core.sessions.stored import SUBJECT_PLACE
from jwtgate.core.tokens.verification import handles_of, read_stamp
from jwtgate.errors import GrantError, StoreUnavailable, SubjectSuspended
from jwtgate.messages import Session

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.core.history import Facts
    from jwtgate.core.sessions.refresh_tokens import RefreshToken
    from jwtgate.core.sessions.stored import StoredSession
    from jwtgate.core.tokens.parsing import ParsedToken
    from jwtgate.core.tokens.policy import IssuerPolicy
    from jwtgate.core.view import View

__all__ = ["Live", "Standing", "login_of", "session_handles"]


def session_handles(policy: IssuerPolicy, access_token: ParsedToken) -> tuple[bytes, ...]:
    """The handles whose rulings concern a session: its sid, its subject's sessions, the subject, and then the others of its
    access tokens but the jti, those of a session at a provider that it hangs on last.
    """
    _, sid, sub, *others = handles_of(access_token, policy)
    sessions = digest_of(policy.namespace, "sessions", access_token.claims["sub"])
    return with_links((sid, sessions, sub, *others), access_token.claims)


@dataclass(frozen=True, slots=True)
class Live:
    """A stored session that was found live, and the look that found it."""

    stored: StoredSession
    record: Record
    facts: Facts

    @property
    def session(self) -> Session:
        """As the application sees it."""
        stored, record = self.stored, self.record
        return Session(
            sid=stored.sid,
            subject=record.subject,
            device=record.device,
            ip=record.ip,
            user_agent=record.user_agent,
            created_at=record.created_at,
            last_seen_at=stored.seen_at,
            expires_at=stored.ends_at,
        )


class Standing:
    """Of one gate's sessions, all of which belong to the issuer that signs."""

    def __init__(self, policy: IssuerPolicy, view: View, clock: Clock) -> None:
        self.policy = policy
        self.view = view
        self.clock = clock

    def user(self, sub: str) -> bytes:
        """What a subject's sessions are listed by. Raises: ValueError: no subject can be so."""
        if not isinstance(sub, str) or not sub:
            raise ValueError("sub must be a non-empty text")
        try:
            return digest_of(self.policy.namespace, "sessions", sub)
        except UnicodeEncodeError:
            raise ValueError("sub must be text that UTF-8 can carry") from None

    def sid_handle(self, sid: str) -> bytes:
        """The digest of the handle ``sid``."""
        return digest_of(self.policy.namespace, "sid", sid)

    def remembered_until(self, record: Record, now: float) -> float:
        """How long a ruling that ends a session must be remembered: as long as its access tokens may live."""
        return now + record.access_seconds + self.policy.leeway_seconds + MARGIN_SECONDS

    def found(self, shown: RefreshToken, *, also_suspended: bool = False) -> Plan[Live]:
        """The live session that a refresh token belongs to, spent or not.

        Args: also_suspended: its subject may be suspended: the session lives on when that is lifted.
        Raises: GrantError: there is none. SubjectSuspended. StoreUnavailable: it cannot be known.
        """
        looked: Looked = yield LookUp((self.policy.everything,), (shown.sid,))
        facts, stored = looked.facts, looked.facts.sessions[0]
        if self.clock.boot() - looked.sent_at > self.view.lease_seconds:
            raise StoreUnavailable("the store's answer came later than one lease")
        if stored is not None and not stored.is_ended:
            record = self._read(stored)
            if not self._is_own(stored):
                raise GrantError("unknown: of a session of another issuer")
            with suppress(SubjectSuspended) if also_suspended else nullcontext():
                self._refuse_what_is_ruled(stored, record, facts, self.view.known(stored.handles).rulings)
            if facts.epoch.is_healed:
                with suppress(SubjectSuspended) if also_suspended else nullcontext():
                    self._refuse_what_is_ruled(stored, record, facts, stored.rulings)
                return Live(stored, record, facts)
        if not facts.epoch.is_healed:
            raise StoreUnavailable("the store's history is healing")
        if stored is None and _may_be_lost(shown, facts):
            raise StoreUnavailable("the session may have been lost with the store's history")
        raise GrantError("unknown: of no session that is live")

    def sessions_of(self, sub: str) -> Plan[list[Session]]:
        """Live sessions, newest first."""
        looked: Looked = yield ListSessions(self.user(sub))
        live, _ = self.sorted_out(looked.facts)
        return [each.session for each in live]

    def page_of(self, sub: str, offset: int, limit: int) -> Plan[tuple[list[Session], bool]]:
        """Some of them, newest first as far as those that end last are the newest; and whether there are more."""
        looked: Looked = yield ListSessions(self.user(sub), offset, limit + 1)
        listed = looked.facts.sessions
        live, _ = self.sorted_out(replace(looked.facts, sessions=listed[:limit]))
        return [each.session for each in live], len(listed) > limit

    def session_named(self, sid: str) -> Plan[Session | None]:
        """The session of that name, if it is there and has not ended; None also for a name that is none of ours."""
        if not is_session_id(sid):
            return None
        looked: Looked = yield LookUp((), (sid,))
        stored = looked.facts.sessions[0]
        record = self.read(stored)
        return None if stored is None or record is None else Live(stored, record, looked.facts).session

    def sorted_out(self, facts: Facts) -> tuple[list[Live], list[str]]:
        """Of listed sessions the live ones, newest first, and the names of those that a ruling has killed.

        A suspended subject's sessions are live here: they may be lifted again.
        """
        live: list[Live] = []
        dead: list[str] = []
        for stored in facts.sessions:
            if stored is None:
                continue
            record = self._read(stored)
            try:
                self._refuse_what_is_ruled(stored, record, facts, stored.rulings)
            except SubjectSuspended:
                live.append(Live(stored, record, facts))
            except GrantError:
                dead.append(stored.sid)
            else:
                live.append(Live(stored, record, facts))
        return sorted(live, key=lambda each: each.record.created_at, reverse=True), dead

    def read(self, stored: StoredSession | None) -> Record | None:
        """The record of a session of this issuer that is there and has not ended."""
        if stored is None or stored.is_ended:
            return None
        record = self._read(stored)
        return record if self._is_own(stored) else None

    def _is_own(self, stored: StoredSession) -> bool:
        """Whether it is of this issuer: others may share the store, and a subject of theirs is somebody else."""
        return stored.handles[0] == self.sid_handle(stored.sid)

    def _read(self, stored: StoredSession) -> Record:
        if len(stored.handles) <= SUBJECT_PLACE:
            raise StoreUnavailable("a stored session cannot be read")
        try:
            return Record.decode(stored.record)
        except UnreadableRecord as error:
            raise StoreUnavailable("a stored session cannot be read") from error

    def _refuse_what_is_ruled(
        self, stored: StoredSession, record: Record, facts: Facts, rulings: Iterable[bytes | None]
    ) -> None:
        """Raises: GrantError: a ruling kills the session. SubjectSuspended: nothing else does."""
        is_suspended, upstream = False, subject_of(record.claims)
        for place, (handle, ruling) in enumerate(zip(stored.handles, readable(rulings), strict=True)):
            if ruling is None:
                continue
            if place == SUBJECT_PLACE or handle == upstream:
                is_suspended = is_suspended or (ruling.toggle is not None and ruling.toggle.is_revoked)
            elif ruling.kills(_joined(stored, record, handle), facts.epoch.name, self.policy.leeway_seconds):
                raise GrantError("a ruling ends the session")
        if is_suspended:
            raise SubjectSuspended("the subject is suspended")


def _joined(stored: StoredSession, record: Record, handle: bytes) -> Issued:
    """Since when a handle is the session's: since its login, unless its claims changed later."""
    joined = record.joined.get(handle.hex())
    if joined is None:
        return login_of(stored, record)
    return Issued(read_stamp(joined.stamp), joined.at)


def login_of(stored: StoredSession, record: Record) -> Issued:
    """When a session began, for rulings to compare with."""
    return Issued(read_stamp(stored.stamp), record.created_at, began_at=linked_at(record.claims))


def _may_be_lost(shown: RefreshToken, facts: Facts) -> bool:
    """L3: made in another epoch, not past its end, no journal was put back in this one, and nobody has said since that all
    is over."""
    home = facts.home()
    if shown.is_of(home.name) or shown.expires_at <= facts.at or home.is_restored:
        return False
    (ruling,) = readable(facts.rulings)
    cut = None if ruling is None else ruling.not_before
    if cut is None or home.name == facts.epoch.name:
        return cut is None or cut.epoch != home.name
    return cut.at <= home.birth
