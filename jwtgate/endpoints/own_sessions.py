"""``GET /sessions`` and ``DELETE /sessions/{sid}``: the caller's own live sessions, and nobody else's.

A ``sid`` that is not the caller's is told like one that never was, so that none can be guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.core.acting import acting
from jwtgate.endpoints.answers import as_json, receipt_members
from jwtgate.endpoints.refusals import NoSuchSession

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call
    from jwtgate.messages import Response

__all__ = ["end_own_session", "list_own_sessions"]


def list_own_sessions(call: Call) -> Plan[Response]:
    """Newest first. Raises: MissingToken: 401. InsufficientScope: 403, a token that names no subject of ours."""
    token, sub = yield from call.token_of_subject()
    sessions = yield from call.operations.sessions_of(sub)
    return as_json(
        {
            "sessions": [
                {
                    "sid": session.sid,
                    "device": session.device,
                    "ip": session.ip,
                    "user_agent": session.user_agent,
                    "created_at": session.created_at,
                    "last_seen_at": session.last_seen_at,
                    "expires_at": session.expires_at,
                    "current": session.sid == token.session_id,
                }
                for session in sessions
            ]
        }
    )


def end_own_session(call: Call) -> Plan[Response]:
    """Ends one. Raises: NoSuchSession. MissingToken. InsufficientScope, as for the list."""
    token, sub = yield from call.token_of_subject(is_checked=False)
    session = yield from call.operations.session_named(call.sid)  # not by the list, which may be longer than it tells
    if session is None or session.subject != sub:
        raise NoSuchSession("not one of the caller's")
    receipt = yield from acting(sub, call.operations.end_session(call.sid, wait=True))
    return as_json(receipt_members(receipt), call.rules.cleared() if call.sid == token.session_id else ())
