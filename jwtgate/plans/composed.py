"""The gate's operations as plans, performed by either face: one object composes the rooms of the core.

Refusals leave under the gate's realm, and those of requests are counted. Decides nothing.
"""

from __future__ import annotations

import logging
import os
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from jwtgate import configuring
from jwtgate.core.effects import Pause
from jwtgate.core.http import cross_site
from jwtgate.core.http.cookies import check_size
from jwtgate.core.receipts import Revoker
from jwtgate.core.revocation import Targets
from jwtgate.core.sessions.endings import Endings
from jwtgate.core.sessions.login import Login
from jwtgate.core.sessions.renewal import Renewal
from jwtgate.core.sessions.rotation import Rotation
from jwtgate.core.sessions.standing import Standing
from jwtgate.core.tokens.issuance import Issuer
from jwtgate.errors import GrantError, ReusedRefreshToken, SettingsError, UnavailableError
from jwtgate.plans.hearing import HearingPlans
from jwtgate.plans.overseeing import OverseeingPlans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jwtgate.core.effects import Clock, Plan, Provider, SubjectMapper
    from jwtgate.core.gate import Decision
    from jwtgate.core.live import LiveConnection
    from jwtgate.core.lru import Admitted
    from jwtgate.core.sessions.renewal import Renewed
    from jwtgate.core.statuses.published import Published
    from jwtgate.core.view import View
    from jwtgate.messages import Receipt, Request, Session, TokenPair
    from jwtgate.settings import Settings

__all__ = ["Plans"]

T = TypeVar("T")

logger = logging.getLogger("jwtgate")

READY_PAUSE_SECONDS = 0.005


class Plans(HearingPlans, OverseeingPlans):
    """Of one gate in one process. Keeps ``core.operations.Operations``, which endpoints ask."""

    def __init__(  # noqa: PLR0913 - what one process composes
        self,
        settings: Settings,
        decision: Decision,
        view: View,
        clock: Clock,
        reach_seconds: float,
        *,
        own_worker: Callable[[int], str | None],
        provider: Callable[[], Provider | None],
        subjects: Callable[[], SubjectMapper | None],
        freshen: Callable[[], None],
    ) -> None:
        """Args: own_worker: the follower's name in a partition. provider, subjects: what the application gave to be asked.

        freshen: sees to it that keys are those of now, where no request has started what does so.
        """
        self.freshen, self.clock, self.view = freshen, clock, view
        self.decision, self.tally = decision, decision.tally
        self.realm, self.policies = settings.realm, decision.rules.policies
        most_bytes, draw_text = settings.max_token_bytes, partial(secrets.token_urlsafe, 16)
        self.targets = Targets(self.policies, most_bytes, settings.refresh_ttl)
        self.revoker = Revoker(view, clock, reach_seconds, own_worker)
        super().__init__(self.targets, self.revoker, view, clock, subjects, is_journaled=settings.journal is not None)
        self.issuer = Issuer(
            self.policies,
            clock,
            default_ttl=settings.access_ttl,
            max_token_bytes=most_bytes,
            draw_token_id=draw_text,
            registry=configuring.registry_of(settings, clock, secrets.randbelow),
        )
        self.lists = configuring.lists_of(settings, self.issuer.policy, view, clock)
        self.cookies = configuring.cookie_rules_of(settings)
        policy = configuring.policy_of_sessions(self.policies)
        self.standing = None if policy is None else Standing(policy, view, clock)
        self.endings = Endings(self.standing, self.revoker, is_journaled=settings.journal is not None)
        self._login: Login | None = None
        self._rotation: Rotation | None = None
        if self.standing is not None:
            sized = partial(check_size, self.cookies if "cookie" in settings.locations else None)
            self._login = Login(
                configuring.session_rules_of(settings),
                self.issuer,
                self.standing,
                draw=os.urandom,
                draw_text=draw_text,
                check_size=sized,
            )
            self._rotation = Rotation(self._login, self.revoker, provider)
        self._renewal: Renewal | None = None
        if settings.rotate_after is not None:
            decision.forgo_hits()  # every request is counted
            self._renewal = Renewal(settings.rotate_after, self.issuer, view, self.cookies, decision.store_is_down)
        self.resource = configuring.resource_of(settings, policy)
        self.resource_metadata = "" if self.resource is None else self.resource.url
        self.endpoints = configuring.mounted(settings, self, policy, self.cookies, decision.rules, clock)

    # --- tokens

    def examine(self, request: Request, *, is_endpoint: bool = False, is_checked: bool = True) -> Plan[Admitted | None]:
        """The decision about a request; see ``Decision.examine``."""
        plan = self.decision.examine(request, is_endpoint=is_endpoint, is_checked=is_checked)
        return self._ours(plan, is_counted=True)

    def again(self, live: LiveConnection) -> Plan[None]:
        """The decision about an open connection, anew; see ``Decision.again``."""
        return self._ours(self.decision.again(live))

    def verify(self, token: str) -> Plan[Admitted]:
        """The decision about one token."""
        return self._ours(self.decision.decide(str(token).encode("utf-8", "replace"), None), is_counted=True)

    def introspect(self, token: str) -> Plan[Admitted]:
        """The decision about one token, without the checks, which are about requests."""
        return self._ours(self.decision.decide(str(token).encode("utf-8", "replace"), None, is_told_only=True), is_counted=True)

    def issue(self, sub: str, claims: Any, scope: Any, ttl: Any) -> Plan[str]:
        """A token of no session."""
        self.freshen()
        return self._ours(self.issuer.issue(sub, claims=claims, scope=scope, ttl=ttl))

    def status_list(self, name: str) -> Plan[Published | None]:
        """One of our status lists; None: there is none of that name."""
        self.freshen()
        return self._ours(self.lists.published(name))

    def is_renewal_due(self, entry: Admitted, request: Request) -> bool:
        """``ROTATE_AFTER``: whether the response to a request that was admitted is to carry a new access token."""
        return self._renewal is not None and self._renewal.is_due(entry, request)

    def renew(self, entry: Admitted, headers: Sequence[tuple[str, str]]) -> Plan[Renewed | None]:
        """What that response carries, now that the application says with which headers it starts."""
        return None if self._renewal is None else (yield from self._renewal.renew(entry, headers))

    # --- sessions

    def start_session(self, sub: str, *, upstream: Any, **more: Any) -> Plan[TokenPair]:
        """See ``Sessions.start``."""
        if self._login is None:
            raise SettingsError(NO_SESSIONS)
        self.freshen()
        link = None if upstream is None else self.targets.link(upstream)
        return self._ours(self._login.start(sub, **more, link=link))

    def refresh(self, refresh_token: str, request: Request | None = None) -> Plan[TokenPair]:
        """See ``Sessions.refresh``; with a request whose cookie it was, its CSRF value is compared as well."""
        self.freshen()
        rotation, rules = self._rotation, self.decision.rules
        if rotation is None:
            raise SettingsError(NO_SESSIONS)

        def check(csrf: str | None) -> None:
            if request is not None and rules.csrf == "double-submit":
                cross_site.check_double_submit(request, csrf)

        def plan() -> Plan[TokenPair]:
            if request is not None:
                cross_site.check(request, mode=rules.csrf, origins=rules.origins)
            try:
                pair = yield from rotation.refresh(refresh_token, check)
            except (TypeError, ValueError) as error:  # the application's claims; no client can do anything about them
                logger.exception("a session's claims of today cannot stand in a token, so it is not refreshed")
                raise UnavailableError("a session's claims of today cannot stand in a token") from error
            except ReusedRefreshToken as error:
                logger.warning("a refresh token was shown again after its grace, and its session ended: %s", error.lineage)
                raise
            except GrantError as error:
                logger.info("a refresh token was refused: %s (%s)", error, error.reason)
                raise
            self.tally.refreshes += 1
            return pair

        return self._ours(plan(), is_counted=True)

    def sessions_of(self, sub: str) -> Plan[list[Session]]:
        """See ``Sessions.list``."""
        return self._ours(self._standing().sessions_of(sub))

    def session_named(self, sid: str) -> Plan[Session | None]:
        """The session of that name."""
        return self._ours(self._standing().session_named(sid))

    def session_of(self, refresh_token: str) -> Plan[Session]:
        """The session of a refresh token that could be used now."""
        if self._rotation is None:
            raise SettingsError(NO_SESSIONS)
        return self._ours(self._rotation.session_of(refresh_token))

    def end_session(self, sid: str, *, wait: bool) -> Plan[Receipt]:
        """See ``Sessions.end``."""

        def plan() -> Plan[Receipt]:
            policy = self._standing().policy
            change = self.targets.session(policy, sid, self.clock.wall())
            return (yield from self.endings.by_sid(policy, change, sid, is_end_known=True, wait=wait))

        return self._ruling(plan())

    def end_all(self, sub: str, keep: str | None, *, wait: bool) -> Plan[Receipt]:
        """See ``Sessions.end_all``."""

        def plan() -> Plan[Receipt]:
            if keep is not None:
                return (yield from self.endings.all_but(sub, keep, wait=wait))
            policy = self._standing().policy
            changes = self.targets.subject(policy, sub, self.clock.wall())
            return (yield from self.endings.by_subject(policy, changes, sub, wait=wait))

        return self._ruling(plan())

    def end_by_refresh_token(self, refresh_token: str, *, wait: bool) -> Plan[Receipt | None]:
        """The session that a refresh token belongs to, used or not."""
        return self._ruling(self.endings.by_refresh_token(refresh_token, wait=wait))

    def _standing(self) -> Standing:
        if self.standing is None:
            raise SettingsError(NO_SESSIONS)
        return self.standing

    # --- the rest

    def ready(self, timeout: float) -> Plan[bool]:
        """See ``Gate.ready``."""
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
            raise ValueError("timeout must be seconds, 0 or more")
        until = self.clock.boot() + timeout
        while not self.view.is_live(now := self.clock.boot()) or not all(each.keys.is_whole for each in self.policies.values()):
            if now >= until:
                return False
            yield Pause(READY_PAUSE_SECONDS)
        return True


NO_SESSIONS = "JWTGATE_ISSUERS: no entry has a private_key, private_keys or secret to sign with, so there are no sessions"
