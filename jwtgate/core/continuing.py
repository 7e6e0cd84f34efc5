"""How long a connection outlives the access token that it was opened with: as long as its session brings new ones.

A client renews its access token every few minutes (RFC 6749 §6), and no WebSocket can be shown the new one. So where a token of
a session of ours expires, or was replaced under ``ROTATE_AFTER``, its connection goes on until the latest access token of that
session expires; one whose client has stopped refreshing ends as its token does.

Invariant: only the end of the token itself is forgiven. Its key must still verify it, and no ruling kills it as it was issued:
not on its session, its subject, its tenant, nor a cut-off after which only newer tokens live, since the application has the old
one's claims. The session is asked of the store, which must hold it for this very issuer and subject.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from jwtgate.core.judgement import session_of, session_seconds_left
from jwtgate.core.judging import Judging
from jwtgate.core.sessions.record import Record, UnreadableRecord
from jwtgate.core.sessions.refresh_tokens import is_session_id
from jwtgate.core.verification import verify_signature
from jwtgate.errors import Expired, InvalidToken, Revoked, StoreUnavailable

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.core.live import LiveConnection

__all__ = ["Continuing"]


class Continuing(Judging):
    """See the module."""

    def _goes_on_until(self, live: LiveConnection, ended: InvalidToken) -> Plan[float]:
        """Boot-clock seconds until which a connection goes on whose token has come to its end.

        Raises: ended: it does not. Revoked. StoreUnavailable.
        """
        is_replaced = self.rules.is_renewing and isinstance(ended, Revoked)
        if not (isinstance(ended, Expired) or is_replaced) or not is_session_id(live.entry.token.session_id):
            raise ended
        case = self._screened(live.token, at=-inf)
        if not case.key.is_own:
            raise ended
        verify_signature(case.parsed, case.key)
        if is_replaced:  # by one with another jti, which is the first handle: what was ruled on the others counts
            case.handles = case.handles[1:]
        looked = yield from self._looked_up(case, (session_of(case),))
        seconds = session_seconds_left(case, looked.facts)
        stored = looked.facts.sessions[0]
        try:
            record = Record.decode(b"" if stored is None else stored.record)
        except UnreadableRecord as error:
            raise StoreUnavailable("a stored session cannot be read") from error
        seconds = min(seconds, record.renewed_at + record.access_seconds + case.policy.leeway_seconds - looked.facts.at)
        if seconds <= 0:
            raise ended
        return looked.sent_at + seconds
