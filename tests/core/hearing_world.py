"""A gate that hears a provider, over a scripted store: its sessions, its decision, and what it is told."""

from __future__ import annotations

from typing import Any

from core.sessions.session_world import World as SessionWorld
from provider_tokens import NOW, OWN, PROVIDER, access, issuers

from jwtgate.core.effects import AskSubject, Pause
from jwtgate.core.gate import Decision
from jwtgate.core.http.exemption import Exemption
from jwtgate.core.http.extraction import Extraction
from jwtgate.core.providers.hearing import Hearing
from jwtgate.core.rules import Rules
from jwtgate.core.tally import Tally
from jwtgate.errors import JWTGateError, StoreUnavailable

__all__ = ["NOW", "OWN", "PROVIDER", "HearingWorld"]


class HearingWorld(SessionWorld):
    """``mapper`` is the application's; ``asked`` what it was asked. ``is_down``: the store does not answer."""

    def __init__(self, **settings: Any) -> None:
        given = {"issuers": issuers(), "endpoints": "/auth", "secret": None, **settings}
        super().__init__(wall=float(NOW), **given)
        self.policies = self.settings.policies
        self.asked: list[Any] = []
        self.mapper: Any = None
        self.hearing = Hearing(self.targets, self.revoker, self.view, self.clock, lambda: self.mapper)
        rules = Rules(
            policies=self.policies,
            extraction=Extraction(("header",), "__Host-access_token", 8192),
            exemption=Exemption(()),
            csrf="off",
            origins=frozenset(),
            is_optional=False,
            verifies_first=False,
            max_token_bytes=8192,
            on_store_down="refuse",
        )
        self.decision = Decision(rules, self.view, self.clock, lambda: False, Tally())

    def answer(self, effect: Any) -> Any:
        if isinstance(effect, AskSubject):
            self.asked.append(effect.identifier)
            return effect.mapper(effect.identifier)
        if isinstance(effect, Pause):
            self.time.now += effect.seconds
            return None
        return super().answer(effect)

    def run(self, plan: Any) -> Any:
        """What a store that is down throws comes back into the plan, as the runtime has it."""
        try:
            effect = next(plan)
            while True:
                self.effects.append(effect)
                try:
                    answered = self.answer(effect)
                except StoreUnavailable as error:
                    effect = plan.throw(error)
                else:
                    effect = plan.send(answered)
        except StopIteration as end:
            return end.value

    # --- what is told, and what follows

    def logout(self, token: bytes) -> Any:
        return self.run(self.hearing.logout(token))

    def events(self, token: bytes) -> Any:
        return self.run(self.hearing.events(token))

    def verdict(self, token: bytes | str) -> str:
        """``admitted``, or the reason; by a process that remembers nothing."""
        text = token.encode() if isinstance(token, str) else token
        try:
            self.run(self.decision.decide(text, "header"))
        except JWTGateError as error:
            return error.reason
        return "admitted"

    def is_live(self, token: bytes | str) -> bool:
        return self.verdict(token) == "admitted"

    def provider_token(self, after: float = 0.0, **claims: Any) -> bytes:
        """An access token of the provider's, issued so many seconds after the start."""
        return access(NOW + 10 + after, **claims)

    def later(self, seconds: float) -> None:
        self.time.now += seconds
