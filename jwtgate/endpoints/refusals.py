"""What an endpoint may answer beside the errors of the gate: faults of the call itself, not of a token.

RFC 9110 §15.5 for the statuses, RFC 6749 §5.2 for the codes. None has a challenge: another token would not help. Rendered
like every other refusal (``core.http.challenge``), from the class alone.
"""

from __future__ import annotations

from jwtgate.errors import JWTGateError

__all__ = [
    "BodyTooLarge",
    "BodyTooSlow",
    "CallError",
    "MalformedCall",
    "NoSuchList",
    "NoSuchSession",
    "NotAnEventToken",
    "RefusedLogout",
    "UnsupportedGrantType",
    "WrongMediaType",
    "WrongMethod",
]


class CallError(JWTGateError):
    """The caller's fault."""


class MalformedCall(CallError):
    """A field is missing, repeated or unreadable, or two places contradict each other (RFC 6749 §3.1, §5.2)."""

    status = 400
    error = "invalid_request"
    description = "The request lacks a parameter, repeats one, or is malformed."
    reason = "malformed_call"


class UnsupportedGrantType(CallError):
    """``grant_type`` is none that the endpoint grants (RFC 6749 §5.2)."""

    status = 400
    error = "unsupported_grant_type"
    description = "The grant type is not supported."
    reason = "unsupported_grant_type"


class NoSuchSession(CallError):
    """None of the caller's own: unknown, ended, malformed or another's, told alike."""

    status = 404
    error = "not_found"
    description = "There is no such session."
    reason = "no_such_session"


class NoSuchList(CallError):
    """Never made, over, or of a history that was lost: whoever asks must not take it for one that calls all valid."""

    status = 404
    error = "not_found"
    description = "There is no such status list."
    reason = "no_such_list"


class WrongMethod(CallError):
    """RFC 9110 §15.5.6; the answer names the right ones in ``Allow``."""

    status = 405
    error = "method_not_allowed"
    description = "The method is not allowed here."
    reason = "wrong_method"


class BodyTooSlow(CallError):
    """The body did not arrive in time (RFC 9110 §15.5.9)."""

    status = 408
    error = "request_timeout"
    description = "The request's body did not arrive in time."
    reason = "body_too_slow"


class BodyTooLarge(CallError):
    """RFC 9110 §15.5.14."""

    status = 413
    error = "content_too_large"
    description = "The request's body is too large."
    reason = "body_too_large"


class WrongMediaType(CallError):
    """Not a form (RFC 9110 §15.5.16)."""

    status = 415
    error = "unsupported_media_type"
    description = "The request's body must be application/x-www-form-urlencoded."
    reason = "wrong_media_type"


class NotAnEventToken(CallError):
    """Not a security event token by its media type (RFC 8935 §2.1, RFC 9110 §15.5.16)."""

    status = 415
    error = "unsupported_media_type"
    description = "The request's body must be application/secevent+jwt."
    reason = "not_an_event_token"


class RefusedLogout(CallError):
    """OpenID Connect Back-Channel Logout §2.8: the same answer for whatever is wrong with a logout token."""

    status = 400
    error = "invalid_request"
    description = "The logout token is missing, repeated, malformed or not valid here."
    reason = "refused_logout"
    form = "oauth"
