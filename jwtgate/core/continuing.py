"""How long a connection outlives the access token that it was opened with: as long as its session brings new ones.

A client renews its access token every few minutes (RFC 6749 §6), and no WebSocket can be shown the new one. So where a token of
a session of ours expires, or was replaced under ``ROTATE_AFTER``, its connection goes on until the latest access token of that
session expires; one whose client has stopped refreshing ends as its token does.

Invariant: only the end of the token itself is forgiven. Its key must still verify it, and no ruling kills it as it was issued:
not on itself but that it was replaced, not on its session, its subject, its tenant, nor a cut-off after which only newer tokens
live, since the application has the old one's claims. The session is asked of the store, which must hold it for this very issuer
and subject.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from jwtgate.core.effects import Looked, LookUp
from jwtgate.core.judgement import hinges_on_epoch, readable, refuse_if_dead, session_of, session_seconds_left
from jwtgate.core.judging import Judging
from jwtgate.core.sessions.record import Record, UnreadableRecord
from jwtgate.core.sessions.refresh_tokens import is_session_id
from jwtgate.core.tokens.verification import verify_signature
from jwtgate.errors import Expired, Revoked, StoreUnavailable

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.core.judgement import Case
    from jwtgate.core.live import LiveConnection
    from jwtgate.errors import InvalidToken

__all__ = ["Continuing"]


class Continuing(Judging):
    """See the module."""

    def _may_go_on(self, live: LiveConnection, ended: InvalidToken) -> bool:
        """Whether a token has come to an end that its session may outlive."""
        is_of_session = is_session_id(live.entry.token.session_id)
        return is_of_session and (isinstance(ended, Expired) or (self.rules.is_renewing and isinstance(ended, Revoked)))

    def _goes_on_until(self, live: LiveConnection) -> Plan[float]:
        """Boot-clock seconds until which a connection goes on whose token has ended; in the past: it does not.

        Raises: Revoked. StoreUnavailable.
        """
        case = self._screened(live.token, at=-inf)
        if not case.key.is_own:
            return -inf
        verify_signature(case.parsed, case.key)
        own, *others = case.handles
        known = self.view.known(case.handles)
        if not hinges_on_epoch(case, known):  # R1
            refuse_if_dead(case, [self._forgiven(known.rulings[0]), *known.rulings[1:]], known.epoch)
        if self.rules.is_renewing:
            case.handles = tuple(others)
        looked = yield from self._looked_up(case, (session_of(case),))
        seconds = session_seconds_left(case, looked.facts)
        stored = looked.facts.sessions[0]
        try:
            record = Record.decode(b"" if stored is None else stored.record)
        except UnreadableRecord as error:
            raise StoreUnavailable("a stored session cannot be read") from error
        if self.rules.is_renewing:
            yield from self._refuse_itself(case, own)
            if self.boot() - looked.sent_at > self.view.lease_seconds:
                raise StoreUnavailable("the store's answers came later than one lease")
        seconds = min(seconds, record.renewed_at + record.access_seconds + case.policy.leeway_seconds - looked.facts.at)
        return looked.sent_at + seconds

    def _refuse_itself(self, case: Case, own: bytes) -> Plan[None]:
        """Where anything is ruled on a token itself but that another one took its place. Raises: Revoked. StoreUnavailable."""
        looked: Looked = yield LookUp((own,))
        if not looked.facts.epoch.is_healed:
            raise StoreUnavailable("the store's history is healing")
        told = (*self.view.known((own,)).rulings, *looked.facts.rulings)
        refuse_if_dead(case, map(self._forgiven, told), looked.facts.epoch.name)

    def _forgiven(self, text: bytes | None) -> bytes | None:
        """A ruling on a token itself; None: there is none, or it says that the token was replaced."""
        (ruling,) = readable((text,))
        return None if ruling is None or (self.rules.is_renewing and ruling.replaces) else text
