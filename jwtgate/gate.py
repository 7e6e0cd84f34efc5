"""The gate: everything a user types. ``Gate`` blocks, ``Gate.aio`` is awaited.

Both run the same plans over one view, one follower and one store (``composition``). Nothing is decided here.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from jwtgate.composition import Composition
from jwtgate.core.http.cookies import clear_cookies, set_cookies
from jwtgate.messages import Receipt, Status, Token
from jwtgate.responses import add_cookies
from jwtgate.runtime import blocking, nonblocking
from jwtgate.runtime.asking import checked, mapped, provided
from jwtgate.runtime.forking import after_fork
from jwtgate.runtime.onlookers import audited
from jwtgate.runtime.refusals import Refusals
from jwtgate.sessions import AsyncSessions, Sessions
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jwtgate.audit import Auditor
    from jwtgate.core.effects import Check, Plan, Provider, SubjectMapper
    from jwtgate.messages import TokenPair
    from jwtgate.responses import CookieResponse

__all__ = ["AsyncGate", "Gate"]

T = TypeVar("T")
C = TypeVar("C", bound="Check")
P = TypeVar("P", bound="Provider")
M = TypeVar("M", bound="SubjectMapper")
A = TypeVar("A", bound="Auditor")

logger = logging.getLogger("jwtgate")

_NOT_GIVEN: Any = object()
"""None given as a check is a mistake, and not the decorator's empty parentheses."""


class Gate(Composition):
    """Decides for one application in one process; see the interface of each method. Thread-safe."""

    def __init__(self, settings: Settings, *, checks: Iterable[Check] = (), audit: Auditor | None = None) -> None:
        """Opens nothing and starts nothing yet: connections and the follower come with the first use, in each process.

        Args:
            settings: of this gate.
            checks: of the application, see ``check``; ``jwtgate.checks`` has some ready.
            audit: is told what is changed, see ``audit``.

        Raises: SettingsError: ``STRICT=1`` and the store is unsafe. TypeError: something given as a check or for audit is none.
        """
        super().__init__(settings)
        self.refusals = Refusals()
        for check in checks:
            self.check(check)
        if audit is not None:
            self.audit(audit)
        self.sessions = Sessions(lambda: self.plans, lambda plan: blocking.run(plan, self.performer))
        self.aio = AsyncGate(self)

    @classmethod
    def from_env(cls) -> Gate:
        """This process's one gate for the settings that ``JWTGATE_*`` give now. Raises: SettingsError."""
        settings = Settings.from_env()
        with _environment_lock:
            gate = _environment_gates.get(settings)
            if gate is None:
                gate = _environment_gates[settings] = cls(settings)
            return gate

    @overload
    def check(self, check: C, *, before: bool = False) -> C: ...

    @overload
    def check(self, *, before: bool = False) -> Callable[[C], C]: ...

    def check(self, check: Any = _NOT_GIVEN, *, before: bool = False) -> Any:
        """Has the application asked, from now on, about every request that shows a token; a decorator, too.

        ``check(token, request)`` returns False or raises any ``JWTGateError`` to refuse, None or True to let it pass. It is
        asked about remembered tokens as well, and nothing it says is remembered. Anonymous requests have no token to ask
        about. ``request`` is None from ``verify``. A check that fails otherwise is logged, and the request gets 503.

        Args:
            check: a plain function or, where only asyncio asks (the ASGI shell, ``gate.aio``), a coroutine function. A
                plain one is called on the loop there: it must not block.
            before: where the token is not remembered, asks before any look-up and signature work, about claims that nobody
                has verified.

        Raises: TypeError: it cannot be called with a token and a request.
        """
        if not isinstance(before, bool):
            raise TypeError("check: before must be True or False")
        if check is _NOT_GIVEN:
            return partial(self.check, before=before)
        self.decision.add_check(checked(check), before=before)
        return check

    def claims(self, provider: P) -> P:
        """Has the application asked, at each refresh, for the claims that a session has today; a decorator.

        ``provider(session)`` returns a mapping that is laid over the session's claims, ``scope`` included, and stays with
        it; a value None takes a claim away; None as a whole changes nothing. A provider that fails is logged and the refresh
        gets 503: its refresh token is still good.

        Args: provider: a plain function or, where only asyncio asks, a coroutine function. A plain one is called in a
            thread there.
        Raises: TypeError: it cannot be called with a session.
        """
        self._provider = provided(provider)
        return provider

    def subjects(self, mapper: M) -> M:
        """Has the application asked, when a provider tells an event, whom a name means that the gate cannot tell; a decorator.

        ``mapper(identifier)`` is given a subject identifier (RFC 9493), such as ``{"format": "email", "email": "…"}``, and
        returns a configured issuer and a subject there, or None: it is nobody of ours. One that fails is logged and the
        provider gets 503, so that it tells again.

        Args: mapper: a plain function or, where only the ASGI shell asks, a coroutine function. A plain one is called in a
            thread there.
        Raises: TypeError: it cannot be called with an identifier.
        """
        self._mapper = mapped(mapper)
        return mapper

    def audit(self, auditor: A) -> A:
        """Has the application told of logins, logouts, revocations and theft, once each is written; a decorator.

        ``auditor(event)`` gets a ``jwtgate.audit.AuditEvent``, in the thread that asked the store: on asyncio one of the gate's
        own, in the context of the call. It may wait, and whoever made the change waits with it. What it raises is logged and
        changes nothing.

        Args: auditor: a plain function.
        Raises: TypeError: it cannot be called, or is a coroutine function.
        """
        self.onlookers.auditors.append(audited(auditor))
        return auditor

    # --- what users call

    def verify(self, token: str) -> Token:
        """The whole decision for one token string.

        Raises: InvalidToken and its kin; StoreUnavailable.
        """
        self.start()
        return blocking.run(self.plans.verify(token), self.performer).token

    def issue(
        self,
        sub: str,
        *,
        claims: Mapping[str, Any] | None = None,
        scope: str | Iterable[str] | None = None,
        ttl: float | None = None,
    ) -> str:
        """Signs an access token that belongs to no session; one store round trip.

        Args:
            sub: the subject.
            claims: more claims; not those that the gate sets.
            scope: scope tokens, space-separated or a sequence (RFC 6749 §3.3).
            ttl: seconds; ``ACCESS_TTL`` by default.

        Raises: SettingsError: no signing key. SubjectSuspended. StoreUnavailable. ValueError.
        """
        return blocking.run(self.plans.issue(sub, claims, scope, ttl), self.performer)

    def revoke(  # noqa: PLR0913, D417 - the fixed public arguments, described in groups
        self,
        *,
        token: str | None = None,
        jti: str | None = None,
        sid: str | None = None,
        sub: str | None = None,
        claim: tuple[str, str] | None = None,
        everything: bool = False,
        access_only: bool = False,
        issuer: str | None = None,
        expires_at: float | None = None,
        wait: bool = False,
    ) -> Receipt:
        """Kills what exactly one target names (RFC 7009 in spirit: an unknown or expired one is fine).

        Args:
            token: a token of ours; its jti, or its digest where it has none.
            jti, sid: one token, one session.
            sub, claim, everything: whatever was issued before now to the subject, under (claim name, value), to anybody.
            access_only: with ``sub``: leaves the sessions.
            issuer: a configured issuer; required where several are.
            expires_at: NumericDate until which the ruling matters, if known.
            wait: return only when it holds everywhere, or can no longer be found out.

        Raises: TypeError: not exactly one target. ValueError. InvalidToken. StoreUnavailable: not written, or not confirmed.
        """
        plan = self.plans.revoke(
            token=token, jti=jti, sid=sid, sub=sub, claim=claim, everything=everything,
            access_only=access_only, issuer=issuer, expires_at=expires_at, wait=wait,
        )  # fmt: skip
        return blocking.run(plan, self.performer)

    def suspend(self, sub: str, *, issuer: str | None = None, wait: bool = False) -> Receipt:
        """Refuses the subject until lifted, new tokens too. Raises: ValueError. StoreUnavailable."""
        return blocking.run(self.plans.suspend(sub, issuer, wait=wait), self.performer)

    def reinstate(self, sub: str, *, issuer: str | None = None, wait: bool = False) -> Receipt:
        """Lifts a suspension. Raises: ValueError. StoreUnavailable."""
        return blocking.run(self.plans.reinstate(sub, issuer, wait=wait), self.performer)

    def require_version(self, sub: str, version: int, *, issuer: str | None = None, wait: bool = False) -> Receipt:
        """Kills the subject's tokens whose version claim is lower or absent. Raises: ValueError. StoreUnavailable."""
        return blocking.run(self.plans.require_version(sub, version, issuer, wait=wait), self.performer)

    def renew_key(self, sub: str, *, issuer: str | None = None, wait: bool = False) -> Receipt:
        """Gives the subject another key under ``DERIVED_KEYS``, and retires the one it had: its access tokens die.

        Sessions go on, and their next refresh is signed under the new key. Raises: ValueError. StoreUnavailable.
        """
        return blocking.run(self.plans.renew_key(sub, issuer, wait=wait), self.performer)

    def set_cookies(self, response: CookieResponse, pair: TokenPair) -> None:
        """Puts a login's tokens into the cookies of a response (RFC 6265bis §4.1).

        Args:
            response: Starlette's, Werkzeug's or Django's.
            pair: of ``sessions.start`` or ``sessions.refresh``.
        """
        add_cookies(response, set_cookies(self.plans.cookies, pair, self.clock.wall()))

    def clear_cookies(self, response: CookieResponse) -> None:
        """Deletes them: names and paths are those of ``set_cookies``."""
        add_cookies(response, clear_cookies(self.plans.cookies))

    def ready(self, timeout: float = 5.0) -> bool:
        """Waits up to ``timeout`` seconds until the view is live; says whether it is."""
        self.start()
        return blocking.run(self.plans.ready(timeout), self.performer)

    def status(self) -> Status:
        """What this process knows right now."""
        now, view = self.clock.boot(), self.view
        first, granted = view.parts[0], [part.granted_at for part in view.parts]
        end = first.end
        return Status(
            live=view.is_live(now),
            complete=all(part.epoch is not None for part in view.parts) and view.is_complete,
            position=None if end is None else f"{first.epoch}:{end.position}",
            view_age_seconds=None if None in granted else now - min(at for at in granted if at is not None),
            lease_left_seconds=max(0.0, view.lease_until - now),
            rulings=len(view.rulings),
            admitted=len(view.admitted),
            store=self.health.state,
            hits=self.tally.hits,
            misses=self.tally.misses,
            look_ups=self.tally.look_ups,
            refused=MappingProxyType(dict(self.tally.refused)),
        )


class AsyncGate:
    """``Gate``, awaited: the same names in the same order, over the same view, follower and store; any number of loops."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.sessions = AsyncSessions(lambda: gate.plans, self._run)

    async def verify(self, token: str) -> Token:
        """See ``Gate.verify``."""
        self._gate.start()
        return (await self._run(self._gate.plans.verify(token))).token

    async def issue(
        self,
        sub: str,
        *,
        claims: Mapping[str, Any] | None = None,
        scope: str | Iterable[str] | None = None,
        ttl: float | None = None,
    ) -> str:
        """See ``Gate.issue``."""
        return await self._run(self._gate.plans.issue(sub, claims, scope, ttl))

    async def revoke(  # noqa: PLR0913 - the fixed public arguments
        self,
        *,
        token: str | None = None,
        jti: str | None = None,
        sid: str | None = None,
        sub: str | None = None,
        claim: tuple[str, str] | None = None,
        everything: bool = False,
        access_only: bool = False,
        issuer: str | None = None,
        expires_at: float | None = None,
        wait: bool = False,
    ) -> Receipt:
        """See ``Gate.revoke``."""
        plan = self._gate.plans.revoke(
            token=token, jti=jti, sid=sid, sub=sub, claim=claim, everything=everything,
            access_only=access_only, issuer=issuer, expires_at=expires_at, wait=wait,
        )  # fmt: skip
        return await self._run(plan)

    async def suspend(self, sub: str, *, issuer: str | None = None, wait: bool = False) -> Receipt:
        """See ``Gate.suspend``."""
        return await self._run(self._gate.plans.suspend(sub, issuer, wait=wait))

    async def reinstate(self, sub: str, *, issuer: str | None = None, wait: bool = False) -> Receipt:
        """See ``Gate.reinstate``."""
        return await self._run(self._gate.plans.reinstate(sub, issuer, wait=wait))

    async def require_version(self, sub: str, version: int, *, issuer: str | None = None, wait: bool = False) -> Receipt:
        """See ``Gate.require_version``."""
        return await self._run(self._gate.plans.require_version(sub, version, issuer, wait=wait))

    async def renew_key(self, sub: str, *, issuer: str | None = None, wait: bool = False) -> Receipt:
        """See ``Gate.renew_key``."""
        return await self._run(self._gate.plans.renew_key(sub, issuer, wait=wait))

    async def ready(self, timeout: float = 5.0) -> bool:  # noqa: ASYNC109 - the fixed public argument
        """See ``Gate.ready``."""
        self._gate.start()
        return await self._run(self._gate.plans.ready(timeout))

    async def status(self) -> Status:
        """See ``Gate.status``."""
        return self._gate.status()

    async def close(self) -> None:
        """See ``Gate.close``; the loop goes on meanwhile."""
        await asyncio.to_thread(self._gate.close)

    async def _run(self, plan: Plan[T]) -> T:
        return await nonblocking.run(plan, self._gate.waiter)


def as_gate(given: Gate) -> Gate:
    """The same. Raises: TypeError: it is none; its settings are often given in its place."""
    if isinstance(given, Gate):  # pyright: ignore[reportUnnecessaryIsInstance] - users' code is not typed
        return given
    raise TypeError(f"gate must be a Gate, for example Gate(Settings.from_env()), and is of type {type(given).__name__}")


_environment_gates: dict[Settings, Gate] = {}
_environment_lock = threading.Lock()


def _reset_lock() -> None:
    global _environment_lock  # noqa: PLW0603 - the parent's may be held by a thread that is not here
    _environment_lock = threading.Lock()


after_fork(_reset_lock)
