"""One call of an endpoint, and what every endpoint knows of the gate. Frozen data, and the one question that many ask."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from jwtgate.errors import InsufficientScope, MissingToken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jwtgate.core.effects import Plan
    from jwtgate.core.operations import Operations
    from jwtgate.core.policy import IssuerPolicy
    from jwtgate.endpoints.clients import Clients
    from jwtgate.endpoints.forms import Form
    from jwtgate.messages import Credential, Request, Token, TokenPair

__all__ = ["REFRESH_TOKEN_PREFIX", "Call", "Cookies", "Rules"]

REFRESH_TOKEN_PREFIX = "jgr_"  # noqa: S105 - what tokens begin with
"""Tells our refresh tokens from access tokens."""


@dataclass(frozen=True, slots=True)
class Cookies:
    """How the gate's cookies are read and written, where ``LOCATIONS`` has cookie.

    Attributes:
        find_refresh_token: the refresh token's cookie in a request, or None. Raises: ``CredentialError``.
        set: the ``Set-Cookie`` values of a pair.
        clear: those that take all of our cookies away.
    """

    find_refresh_token: Callable[[Request], bytes | None]
    set: Callable[[TokenPair], tuple[str, ...]]
    clear: Callable[[], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided; see the settings of the same names.

    Attributes:
        find_credential: the access token in a request, as the gate itself finds it; None where there is none.
        cookies: None: no cookie is read, set or cleared.
    """

    policies: Mapping[str | None, IssuerPolicy]
    find_credential: Callable[[Request], Credential | None]
    csrf: Literal["fetch-metadata", "double-submit", "off"]
    origins: frozenset[str]
    clients: Clients
    client_id: str | None
    max_token_bytes: int
    cookies: Cookies | None

    @property
    def own_policy(self) -> IssuerPolicy | None:
        """That of the tokens we sign, to whose issuer all sessions belong; None where we sign none."""
        return next((policy for policy in self.policies.values() if policy.keys.signer is not None), None)

    def is_own(self, token: Token) -> bool:
        """Whether its sub and sid are names of ours: those of another issuer may sound alike (design §3)."""
        policy = self.own_policy
        return policy is not None and policy.issuer in (None, token.issuer)

    def cleared(self) -> tuple[str, ...]:
        """``Set-Cookie`` values that take our cookies away, if we have any."""
        return () if self.cookies is None else self.cookies.clear()


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one endpoint.

    Attributes:
        form: the fields of its body; empty where the endpoint takes none.
        sid: the last segment of the path where the endpoint's path has one.
    """

    request: Request
    form: Form = field(repr=False)
    sid: str = field(repr=False)
    operations: Operations = field(repr=False)
    rules: Rules = field(repr=False)

    def token(self) -> Plan[Token | None]:
        """The admitted access token of the call; None where it shows none.

        ``EXEMPT`` and ``MODE=optional`` open paths of the application: whoever calls an endpoint is asked all the same.

        Raises: ``CredentialError``: a bad token; the CSRF rule where it came in a cookie. ``StoreUnavailable``.
        """
        try:
            entry = yield from self.operations.examine(self.request)
            if entry is None and self.rules.find_credential(self.request) is not None:
                entry = yield from self.operations.examine(replace(self.request, path=None))
        except MissingToken:
            return None
        return None if entry is None else entry.token

    def token_of_subject(self) -> Plan[tuple[Token, str]]:
        """The admitted token and its ``sub``, whose sessions we keep.

        Raises:
            MissingToken: 401, there is none: showing one would help.
            InsufficientScope: 403, a good token without ``sub`` or of another issuer: it will never do.
        """
        token = yield from self.token()
        if token is None:
            raise MissingToken("no token in the request")
        if token.subject is None or not self.rules.is_own(token):
            raise InsufficientScope
        return token, token.subject
