"""``gate.sessions`` and ``gate.aio.sessions``: the life of a login, blocking and awaited. Decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from jwtgate.core.effects import Plan
    from jwtgate.messages import Receipt, Session, TokenPair
    from jwtgate.plans import Plans

__all__ = ["AsyncSessions", "Sessions"]

T = TypeVar("T")


class Sessions:
    """Log in, refresh, log out here and everywhere. Thread-safe."""

    def __init__(self, plans: Callable[[], Plans], run: Callable[[Plan[Any]], Any]) -> None:
        """Args: plans: of this process. run: performs one of them."""
        self._plans = plans
        self._run = run

    def start(  # noqa: PLR0913 - the fixed public arguments
        self,
        sub: str,
        *,
        claims: Mapping[str, Any] | None = None,
        scope: str | Iterable[str] | None = None,
        device: str | None = None,
        ip: str | None = None,
        user_agent: str | None = None,
        upstream: tuple[str | None, str | None, str | None] | None = None,
    ) -> TokenPair:
        """After your own password check: a session and its tokens (RFC 6749 §5.1, RFC 9068 §2).

        Args:
            sub: the subject.
            claims: more claims of its access tokens; not those that the gate sets.
            scope: scope tokens, space-separated or a sequence (RFC 6749 §3.3).
            device: a label, at most 1,024 characters, for ``list`` to show.
            ip: likewise, the client's address.
            user_agent: likewise.
            upstream: the session at an identity provider that it hangs on, as the ID token names it: (configured issuer, sid or
                None, sub or None). It ends with that one (OpenID Connect Back-Channel Logout, CAEP session-revoked), and with
                what is revoked there.

        Raises: SubjectSuspended, there too. GrantError: the one at the provider has ended. SettingsError: no signing key.
            ValueError: also where a cookie could not hold the tokens. StoreUnavailable: not started.
        """
        plan = self._plans().start_session(
            sub, claims=claims, scope=scope, device=device, ip=ip, user_agent=user_agent, upstream=upstream
        )
        pair: TokenPair = self._run(plan)
        return pair

    def refresh(self, refresh_token: str) -> TokenPair:
        """A new pair for a refresh token, which is spent by it (RFC 9700 §4.14).

        Within ``REFRESH_GRACE`` racers get the same pair; a later second use ends the session.

        Raises: GrantError: of no live session. ReusedRefreshToken: theft. SubjectSuspended. StoreUnavailable: ask again.
        """
        pair: TokenPair = self._run(self._plans().refresh(refresh_token))
        return pair

    def list(self, sub: str) -> list[Session]:
        """Live sessions, newest first; the thousand that end last. Raises: ValueError. StoreUnavailable."""
        sessions: list[Session] = self._run(self._plans().sessions_of(sub))
        return sessions

    def end(self, sid: str, *, wait: bool = False) -> Receipt:
        """Ends one session and its access tokens; an unknown one is fine. Raises: ValueError. StoreUnavailable."""
        receipt: Receipt = self._run(self._plans().end_session(sid, wait=wait))
        return receipt

    def end_all(self, sub: str, *, keep: str | None = None, wait: bool = False) -> Receipt:
        """Ends all of a subject's sessions, and whatever tokens it has.

        Args: keep: a ``sid``: then each other session ends, with its tokens, and nothing else.
        Raises: ValueError. StoreUnavailable.
        """
        receipt: Receipt = self._run(self._plans().end_all(sub, keep, wait=wait))
        return receipt


class AsyncSessions:
    """``Sessions``, awaited: the same names in the same order."""

    def __init__(self, plans: Callable[[], Plans], run: Callable[[Plan[Any]], Awaitable[Any]]) -> None:
        """Args: as ``Sessions``."""
        self._plans = plans
        self._run = run

    async def start(  # noqa: PLR0913 - the fixed public arguments
        self,
        sub: str,
        *,
        claims: Mapping[str, Any] | None = None,
        scope: str | Iterable[str] | None = None,
        device: str | None = None,
        ip: str | None = None,
        user_agent: str | None = None,
        upstream: tuple[str | None, str | None, str | None] | None = None,
    ) -> TokenPair:
        """See ``Sessions.start``."""
        plan = self._plans().start_session(
            sub, claims=claims, scope=scope, device=device, ip=ip, user_agent=user_agent, upstream=upstream
        )
        pair: TokenPair = await self._run(plan)
        return pair

    async def refresh(self, refresh_token: str) -> TokenPair:
        """See ``Sessions.refresh``."""
        pair: TokenPair = await self._run(self._plans().refresh(refresh_token))
        return pair

    async def list(self, sub: str) -> list[Session]:
        """See ``Sessions.list``."""
        sessions: list[Session] = await self._run(self._plans().sessions_of(sub))
        return sessions

    async def end(self, sid: str, *, wait: bool = False) -> Receipt:
        """See ``Sessions.end``."""
        receipt: Receipt = await self._run(self._plans().end_session(sid, wait=wait))
        return receipt

    async def end_all(self, sub: str, *, keep: str | None = None, wait: bool = False) -> Receipt:
        """See ``Sessions.end_all``."""
        receipt: Receipt = await self._run(self._plans().end_all(sub, keep, wait=wait))
        return receipt
