"""What an endpoint may have the gate do: the plans of the gate, by the names it gives them.

An endpoint decides nothing about tokens: it asks for these, and each of them comes through the one decision function or
through ``core.sessions.login``. A Protocol, so that endpoints are tested against a scripted gate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jwtgate.core.effects import Plan
    from jwtgate.core.lru import Admitted
    from jwtgate.core.statuses.published import Published
    from jwtgate.errors import JWTGateError
    from jwtgate.messages import Receipt, Request, Session, TokenPair

__all__ = ["Operations"]


class Operations(Protocol):
    """Every plan may raise ``StoreUnavailable``; none answers it with anything else."""

    def count(self, error: JWTGateError) -> None:
        """One more refusal that is no plan's of these: of a client."""
        ...

    def examine(self, request: Request, *, is_endpoint: bool = False, is_checked: bool = True) -> Plan[Admitted | None]:
        """The decision about the request's access token. None: anonymous. Raises: ``CredentialError``.

        Args:
            request: with its headers.
            is_endpoint: ``EXEMPT`` is about paths of the application, and this one is ours.
            is_checked: ask the application's checks; not where the caller only gives something up.
        """
        ...

    def introspect(self, token: str) -> Plan[Admitted]:
        """The decision about one access token, without the checks, which are about requests.

        Raises: ``InvalidToken`` and its kin.
        """
        ...

    def refresh(self, refresh_token: str, request: Request | None = None) -> Plan[TokenPair]:
        """Rotation.

        Args:
            refresh_token: as shown.
            request: that carried it as a cookie: it must keep the rule of ``CSRF``.

        Raises: ``GrantError`` and its kin; ``CrossSiteRequest``.
        """
        ...

    def sessions_of(self, sub: str) -> Plan[list[Session]]:
        """Live sessions, newest first; the thousand that end last."""
        ...

    def session_page(self, sub: str, offset: int, limit: int) -> Plan[tuple[list[Session], bool]]:
        """Some of the live sessions, newest first; and whether there are more."""
        ...

    def session_named(self, sid: str) -> Plan[Session | None]:
        """The session of that name, if it is there and has not ended."""
        ...

    def end_session(self, sid: str, *, wait: bool) -> Plan[Receipt]:
        """Ends one session and its access tokens."""
        ...

    def end_all(self, sub: str, keep: str | None, *, wait: bool) -> Plan[Receipt]:
        """Ends all of a subject's sessions, but ``keep`` if given."""
        ...

    def session_of(self, refresh_token: str) -> Plan[Session]:
        """The live session of a refresh token that ``refresh`` would take now; changes nothing. Raises: ``GrantError``."""
        ...

    def end_by_refresh_token(self, refresh_token: str, *, wait: bool) -> Plan[Receipt | None]:
        """Ends the session that a refresh token belongs to, used or not; None: it is of no session that is known."""
        ...

    def hear_logout(self, token: str) -> Plan[Receipt | None]:
        """Ends what a provider's logout token names; None: it was heard before. Raises: ``InvalidToken`` and its kin."""
        ...

    def hear_events(self, token: bytes) -> Plan[Receipt | None]:
        """Does what a security event token asks; None: nothing follows. Raises: ``InvalidToken`` and its kin."""
        ...

    def status_list(self, name: str) -> Plan[Published | None]:
        """One of our status lists; None: there is none of that name."""
        ...

    def revoke_token(self, token: str, *, wait: bool) -> Plan[Receipt]:
        """Revokes one access token; an expired one is fine. Raises: ``InvalidToken``: it is none of ours."""
        ...
