"""Every way the gate can say no, as one tree: whose fault it is is the type.

Wire codes are those of RFC 6750 §3.1 and RFC 6749 §5.2. An error never carries a token, a key or a claim's value:
its message is for the operator's log, its ``description`` is all that a caller learns.

    JWTGateError
      SettingsError                 the operator's mistake, found at start
      CredentialError               the client's fault
        MissingToken 401   InvalidRequest 400   InsufficientScope 403   CrossSiteRequest 403
        InsufficientUserAuthentication 401   InvalidClient 401
        InvalidToken 401 -- MalformedToken BadSignature UnknownKey Expired NotYetValid
                            WrongIssuer WrongAudience WrongType Revoked RefusedByCheck
      GrantError 400                a login or refresh that cannot be granted
        ReusedRefreshToken   SubjectSuspended
      UnavailableError 503          the store's or the key source's fault, never the client's
        StoreUnavailable   KeysUnavailable
"""

from __future__ import annotations

from typing import ClassVar, Literal

__all__ = [
    "BadSignature",
    "CredentialError",
    "CrossSiteRequest",
    "Expired",
    "GrantError",
    "InsufficientScope",
    "InsufficientUserAuthentication",
    "InvalidClient",
    "InvalidRequest",
    "InvalidToken",
    "JWTGateError",
    "KeysUnavailable",
    "MalformedToken",
    "MissingToken",
    "NotYetValid",
    "RefusedByCheck",
    "ReusedRefreshToken",
    "Revoked",
    "SettingsError",
    "StoreUnavailable",
    "SubjectSuspended",
    "UnavailableError",
    "UnknownKey",
    "WrongAudience",
    "WrongIssuer",
    "WrongType",
]


class JWTGateError(Exception):
    """Base of everything the gate raises.

    Attributes:
        status: HTTP status code of the answer.
        error: stable code for the wire (RFC 6750 §3.1, RFC 6749 §5.2).
        description: one fixed sentence for the caller, the same for every cause it covers.
        reason: stable code for logs and counters, precise.
        form: of the answer's body: problem details (RFC 9457), or what the specification of an endpoint has in their place:
            ``oauth`` (RFC 6749 §5.2), ``event`` (RFC 8935 §2.3).
        realm, resource_metadata: of the gate, for the challenge; the second empty where there is none.
        is_dpop: the refused request showed its token under the scheme DPoP (RFC 9449 §7.1).
    """

    status: ClassVar[int] = 500
    error: ClassVar[str] = "server_error"
    description: ClassVar[str] = "The request could not be judged."
    reason: ClassVar[str] = "error"
    form: ClassVar[Literal["problem", "oauth", "event"]] = "problem"
    realm: str = "jwtgate"
    resource_metadata: str = ""
    is_dpop: bool = False

    @property
    def challenge(self) -> str | None:
        """The ``WWW-Authenticate`` value of the answer (RFC 6750 §3), or None where there is none."""
        return None

    def _bearer(self, *parameters: str) -> str:
        """RFC 6750 §3; where the resource has metadata, every challenge says so, one without error, too (RFC 9728 §5.1)."""
        metadata = (f'resource_metadata="{self.resource_metadata}"',) if self.resource_metadata else ()
        return "Bearer " + ", ".join((f'realm="{self.realm}"', *parameters, *metadata))

    def _described(self, *more: str) -> str:
        return self._bearer(f'error="{self.error}"', f'error_description="{self.description}"', *more)


class SettingsError(JWTGateError):
    """Settings that cannot be used: every mistake at once, each with its variable and what is allowed, never a secret."""

    status = 503
    error = "temporarily_unavailable"
    description = "The service is not configured."
    reason = "settings"

    def __init__(self, *mistakes: str) -> None:
        """Args: mistakes: one sentence each, naming the variable and the allowed values."""
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


class CredentialError(JWTGateError):
    """The request's credential is missing, unusable or not enough."""


class MissingToken(CredentialError):
    """No token in any configured place. RFC 6750 §3.1: the challenge then carries no error code."""

    status = 401
    error = "missing_token"
    description = "An access token is required."
    reason = "missing_token"

    @property
    def challenge(self) -> str | None:
        return self._bearer()


class _Challenged(CredentialError):
    @property
    def challenge(self) -> str | None:
        return self._described()


class InvalidRequest(_Challenged):
    """Malformed or ambiguous: two tokens that differ, a repeated Authorization, a broken cookie (RFC 6750 §3.1)."""

    status = 400
    error = "invalid_request"
    description = "The request carries its access token in a malformed or ambiguous way."
    reason = "invalid_request"


class InvalidToken(_Challenged):
    """Not a token this gate admits. Every subclass gives the caller the same answer."""

    status = 401
    error = "invalid_token"
    description = "The access token is invalid, expired or revoked."
    reason = "invalid_token"


class MalformedToken(InvalidToken):
    """Not a JWT by the strict rules of the gate (RFC 7515 §5.2, RFC 7519 §7.2, RFC 8725)."""

    reason = "malformed"


class BadSignature(InvalidToken):
    """The signature does not verify under the key that the token names."""

    reason = "bad_signature"


class UnknownKey(InvalidToken):
    """No configured key fits the token's kid and algorithm."""

    reason = "unknown_key"


class Expired(InvalidToken):
    """RFC 7519 §4.1.4: now is not before exp."""

    reason = "expired"


class NotYetValid(InvalidToken):
    """RFC 7519 §4.1.5 and §4.1.6: now is before nbf or iat."""

    reason = "not_yet_valid"


class WrongIssuer(InvalidToken):
    """The issuer is not a configured one (RFC 8725 §3.8)."""

    reason = "wrong_issuer"


class WrongAudience(InvalidToken):
    """The token was made for somebody else (RFC 7519 §4.1.3, RFC 8725 §3.9)."""

    reason = "wrong_audience"


class WrongType(InvalidToken):
    """Not an access token: refresh, id, logout, proof (RFC 8725 §3.11)."""

    reason = "wrong_type"


class Revoked(InvalidToken):
    """A ruling on one of the token's handles kills it."""

    reason = "revoked"


class RefusedByCheck(InvalidToken):
    """A check of the application does not let this token pass with this request."""

    reason = "refused_by_check"


class InsufficientScope(CredentialError):
    """A good token that may not do this (RFC 6750 §3.1)."""

    status = 403
    error = "insufficient_scope"
    description = "The access token does not have the scope that is needed."
    reason = "insufficient_scope"

    def __init__(self, *scopes: str) -> None:
        """Args: scopes: the scope tokens (RFC 6749 §3.3) that the resource needs."""
        super().__init__("scope too small")
        self.scopes = scopes

    @property
    def challenge(self) -> str | None:
        return self._bearer(f'error="{self.error}"', f'scope="{" ".join(self.scopes)}"')


class InsufficientUserAuthentication(CredentialError):
    """A good token, but the user last gave a password too long ago (RFC 9470 §3)."""

    status = 401
    error = "insufficient_user_authentication"
    description = "A more recent authentication is required."
    reason = "insufficient_user_authentication"

    def __init__(self, max_age_seconds: int = 0) -> None:
        """Args: max_age_seconds: how old the authentication may be (RFC 9470 §3, ``max_age``)."""
        super().__init__("the authentication is too old")
        self.max_age_seconds = max_age_seconds

    @property
    def challenge(self) -> str | None:
        return self._described(f'max_age="{self.max_age_seconds}"')


class InvalidClient(CredentialError):
    """The caller of an endpoint for clients is none of ``CLIENTS`` (RFC 6749 §5.2)."""

    status = 401
    error = "invalid_client"
    description = "Client authentication failed."
    reason = "invalid_client"

    @property
    def challenge(self) -> str | None:
        return f'Basic realm="{self.realm}"'


class CrossSiteRequest(CredentialError):
    """A cookie sent by a page that is not ours. No challenge: a new token would not help."""

    status = 403
    error = "cross_site_request"
    description = "A request from another site may not use the cookie."
    reason = "cross_site_request"


class GrantError(JWTGateError):
    """A login or refresh that cannot be granted (RFC 6749 §5.2)."""

    status = 400
    error = "invalid_grant"
    description = "The grant is invalid, expired or revoked."
    reason = "invalid_grant"


class ReusedRefreshToken(GrantError):
    """A refresh token shown again after its grace: theft (RFC 9700 §4.14.2). The session has been ended.

    Attributes:
        lineage: ``"recent predecessor"``: one of the last few before the current one; ``"older lineage"``: an earlier one.
    """

    reason = "reused_refresh_token"

    def __init__(self, lineage: Literal["recent predecessor", "older lineage"] = "older lineage") -> None:
        super().__init__(f"a refresh token was shown again after its grace ({lineage}): its session has been ended")
        self.lineage = lineage


class SubjectSuspended(GrantError):
    """The subject is suspended: no new token until it is reinstated."""

    reason = "subject_suspended"


class UnavailableError(JWTGateError):
    """Something the gate needs does not answer. 503, never 401: clients throw their refresh token away on 401."""

    status = 503
    error = "temporarily_unavailable"
    description = "The request cannot be judged at the moment."
    reason = "unavailable"


class StoreUnavailable(UnavailableError):
    """The store did not answer, or cannot vouch for its history yet."""

    reason = "store_unavailable"


class KeysUnavailable(UnavailableError):
    """The keys of a configured issuer cannot be had."""

    reason = "keys_unavailable"
