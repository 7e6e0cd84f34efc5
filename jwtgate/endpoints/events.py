"""``POST /events``: a transmitter delivers one security event token (RFC 8935, Shared Signals Framework §6.1.1).

202 with nothing once what follows from it is written, and for what nothing follows from; 400 with a registered code for what
is wrong with the token. Where ``EVENTS_AUTHORIZATION`` is set the transmitter shows that very value, before it is listened to.
"""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING

from jwtgate.endpoints.answers import accepted
from jwtgate.endpoints.refusals import CallError
from jwtgate.errors import BadSignature, InvalidToken, UnknownKey, WrongAudience, WrongIssuer

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.endpoints.call import Call
    from jwtgate.messages import Request, Response

__all__ = ["RefusedEvent", "receive_events"]


class RefusedEvent(CallError):
    """RFC 8935 §2.4: not a security event token by its rules, or an event not by its definition."""

    status = 400
    error = "invalid_request"
    description = "The security event token or one of its events is malformed, or not valid here."
    reason = "refused_event"
    form = "event"


class UntrustedIssuer(RefusedEvent):
    """Not a configured one."""

    error = "invalid_issuer"
    description = "The issuer is not one that is known here."


class UntrustedKey(RefusedEvent):
    """The signature is of no key of the issuer's."""

    error = "invalid_key"
    description = "The key is not one that is known here, or the signature does not verify."


class OtherAudience(RefusedEvent):
    """Not for us."""

    error = "invalid_audience"
    description = "The security event token is not for this receiver."


class UnknownTransmitter(RefusedEvent):
    """It does not show what was agreed on (RFC 9110 §15.5.2)."""

    status = 401
    error = "authentication_failed"
    description = "The transmitter could not be authenticated."

    @property
    def challenge(self) -> str | None:
        return f'Bearer realm="{self.realm}"'


_BY_CAUSE: tuple[tuple[type[InvalidToken], type[RefusedEvent]], ...] = (
    (WrongIssuer, UntrustedIssuer),
    (WrongAudience, OtherAudience),
    (UnknownKey, UntrustedKey),
    (BadSignature, UntrustedKey),
    (InvalidToken, RefusedEvent),
)


def receive_events(call: Call) -> Plan[Response]:
    """Raises: RefusedEvent and its kin. UnavailableError: 503, and the transmitter tries again."""
    _authenticate(call.request, call.rules.events_authorization)
    try:
        yield from call.operations.hear_events(call.body)
    except InvalidToken as error:
        kind = next(refusal for cause, refusal in _BY_CAUSE if isinstance(error, cause))
        raise kind(f"{error.reason}: {error}") from error
    return accepted()


def _authenticate(request: Request, agreed: bytes | None) -> None:
    """Raises: UnknownTransmitter. Compared as digests: the time tells nothing of the value, nor of its length."""
    if agreed is None:
        return
    lines = [value for name, value in request.headers if name == b"authorization"]
    if len(lines) != 1 or not compare_digest(sha256(lines[0]).digest(), agreed):
        raise UnknownTransmitter("not the Authorization that was agreed on")
