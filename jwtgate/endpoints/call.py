"""One call of an endpoint, and what every endpoint knows of the gate. Frozen data, and the one question that many ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from jwtgate.core.sessions.refresh_tokens import PREFIX
from jwtgate.errors import InsufficientScope, MissingToken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jwtgate.core.effects import Plan
    from jwtgate.core.operations import Operations
    from jwtgate.core.tokens.policy import IssuerPolicy
    from jwtgate.endpoints.clients import Clients
    from jwtgate.endpoints.forms import Form
    from jwtgate.messages import Credential, Request, Response, Token, TokenPair

__all__ = ["Call", "Cookies", "Rules"]


@dataclass(frozen=True, slots=True)
class Cookies:
    """How the gate's cookies are read and written, where ``LOCATIONS`` has cookie.

    Attributes:
        find_refresh_token: the refresh token's cookie in a request, or None. Raises: ``CredentialError``.
        set: the ``Set-Cookie`` values of a pair.
        clear: those that take all of our cookies away.
    """

    find_refresh_token: Callable[[Request], str | None]
    set: Callable[[TokenPair], tuple[str, ...]]
    clear: Callable[[], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided; see the settings of the same names.

    Attributes:
        policy: of the issuer to which the sessions belong; None where there can be none.
        find_credential: the access token in a request, as the gate itself finds it; None where there is none.
        cookies: None: no cookie is read, set or cleared.
        events_authorization: SHA-256 of the ``Authorization`` that transmitters of security events show, or None: they need
            none, their tokens are signed.
        policies: of all issuers, as ``core.tokens.verification.select`` takes them.
        has_events: whether an issuer's security events are taken.
        has_lists: whether status lists are published.
        draw: a page by its template's name, a status, headers, and what it is to show; None: there are no pages.
        style: their style sheet.
    """

    policy: IssuerPolicy | None
    find_credential: Callable[[Request], Credential | None]
    csrf: Literal["fetch-metadata", "double-submit", "off"]
    origins: frozenset[str]
    clients: Clients
    client_id: str | None
    max_token_bytes: int
    cookies: Cookies | None
    events_authorization: bytes | None = field(default=None, repr=False)
    policies: Mapping[str | None, IssuerPolicy] = field(default_factory=lambda: MappingProxyType({}))
    has_events: bool = False
    has_lists: bool = False
    draw: Callable[..., Response] | None = None
    style: Response | None = None

    def is_own(self, token: Token) -> bool:
        """Whether its sub and sid are names of ours: those of another issuer may sound alike."""
        policy = self.policy
        if policy is None:
            return False
        spellings = () if policy.profile is None else policy.profile.spellings
        return policy.issuer in (None, token.issuer) or token.issuer in spellings

    def is_refresh_token(self, token: str) -> bool:
        """Whether it is to be taken for one of ours; where there are no sessions nothing is."""
        return self.policy is not None and token.startswith(PREFIX)

    def cleared(self) -> tuple[str, ...]:
        """``Set-Cookie`` values that take our cookies away, if we have any."""
        return () if self.cookies is None else self.cookies.clear()


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one endpoint.

    Attributes:
        form: the fields of its body; empty where the endpoint takes none.
        sid: the last segment of the path where the endpoint's path has one: of a session, or the name of a status list.
        body: as it came, where it is no form.
    """

    request: Request
    form: Form = field(repr=False)
    sid: str = field(repr=False)
    operations: Operations = field(repr=False)
    rules: Rules = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    def token(self, *, is_checked: bool = True) -> Plan[Token | None]:
        """The admitted access token of the call; None where it shows none.

        Args: is_checked: ask the application's checks; not where the caller only gives something up.

        ``EXEMPT`` and ``MODE=optional`` open paths of the application: whoever calls an endpoint is asked all the same.

        Raises: ``CredentialError``: a bad token; the CSRF rule where it came in a cookie. ``StoreUnavailable``.
        """
        try:
            entry = yield from self.operations.examine(self.request, is_endpoint=True, is_checked=is_checked)
        except MissingToken:
            return None
        return None if entry is None else entry.token

    def token_of_subject(self, *, is_checked: bool = True) -> Plan[tuple[Token, str]]:
        """The admitted token and its ``sub``, whose sessions we keep.

        Args: is_checked: as for ``token``.

        Raises:
            MissingToken: 401, there is none: showing one would help.
            InsufficientScope: 403, a good token without ``sub`` or of another issuer: it will never do.
        """
        token = yield from self.token(is_checked=is_checked)
        if token is None:
            raise MissingToken("no token in the request")
        if token.subject is None or not self.rules.is_own(token):
            refusal, shown = InsufficientScope(), self.rules.find_credential(self.request)
            refusal.is_dpop = shown is not None and shown.is_dpop
            raise refusal
        return token, token.subject
