"""How an access token is made: the registered claims are the gate's, the rest the application's (RFC 9068 §2, RFC 7519 §4.1).

The token carries ``jgp``, the log position read in the same atomic step as the subject's rulings, so that a cut-off before
it and a cut-off after it can be told apart without a clock. Invariant: what is issued, the same gate admits.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from jwtgate.core.effects import Clock, Looked, LookUp, Plan
from jwtgate.core.parsing import parse
from jwtgate.core.rulings import Ruling, UnreadableRuling, digest_of
from jwtgate.core.verification import check_claims, handles_of, screen, sign
from jwtgate.errors import InvalidToken, SettingsError, StoreUnavailable, SubjectSuspended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jwtgate.core.policy import IssuerPolicy

__all__ = ["Issuer"]

_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")

RESERVED = frozenset({"iss", "aud", "sub", "iat", "exp", "nbf", "jti", "jgp", "sid", "scope"})


class Issuer:
    """Makes the access tokens of one gate."""

    def __init__(
        self,
        policies: Mapping[str | None, IssuerPolicy],
        clock: Clock,
        *,
        default_ttl: float,
        max_token_bytes: int,
        draw_token_id: Callable[[], str],
    ) -> None:
        self.policies = policies
        self.clock = clock
        self.default_ttl = default_ttl
        self.max_token_bytes = max_token_bytes
        self.draw_token_id = draw_token_id

    def issue(
        self,
        sub: str,
        *,
        claims: Mapping[str, Any] | None,
        scope: str | Iterable[str] | None,
        ttl: float | None,
    ) -> Plan[str]:
        """One access token, after one look-up.

        Raises: SettingsError: no signing key. SubjectSuspended. ValueError: claims, scope or ttl that cannot be.
        """
        policy = self._signing_policy()
        payload = self._payload(policy, sub, claims, scope, self._ttl(policy, ttl))
        looked: Looked = yield LookUp((digest_of(policy.namespace, "sub", sub),))
        facts = looked.facts
        if facts.rulings[0] is not None:
            try:
                toggle = Ruling.decode(facts.rulings[0]).toggle
            except UnreadableRuling as error:
                raise StoreUnavailable("a ruling cannot be read") from error
            if toggle is not None and toggle.is_revoked:
                raise SubjectSuspended("the subject is suspended")
        payload["jgp"] = f"{facts.epoch.name}:{facts.end.position}"
        return self._signed(policy, payload)

    def _signing_policy(self) -> IssuerPolicy:
        for policy in self.policies.values():
            if policy.keys.signer is not None:
                return policy
        raise SettingsError("JWTGATE_SECRET or JWTGATE_PRIVATE_KEY: issue needs one of them to sign with")

    def _ttl(self, policy: IssuerPolicy, ttl: float | None) -> float:
        seconds = self.default_ttl if ttl is None else ttl
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= policy.max_ttl_seconds:
            raise ValueError(f"ttl must be seconds above 0 and at most {policy.max_ttl_seconds:g} (JWTGATE_MAX_TTL)")
        return seconds

    def _payload(
        self,
        policy: IssuerPolicy,
        sub: str,
        claims: Mapping[str, Any] | None,
        scope: str | Iterable[str] | None,
        ttl: float,
    ) -> dict[str, Any]:
        payload: dict[str, Any] = dict(claims or {})
        taken = RESERVED.intersection(payload)
        if taken:
            raise ValueError(f"claims may not set {', '.join(sorted(taken))}: the gate does")
        if not isinstance(sub, str) or not sub or not _is_utf8(sub):
            raise ValueError("sub must be a non-empty text that UTF-8 can carry")
        now = math.floor(self.clock.wall())
        end = min(now + math.ceil(ttl), now + math.floor(policy.max_ttl_seconds))  # whole seconds that the gate itself admits
        if policy.issuer is not None:
            payload["iss"] = policy.issuer
        if policy.audience and policy.audience[0] != "*":
            payload["aud"] = policy.audience[0]
        payload |= {"sub": sub, "iat": now, "exp": end, "jti": self.draw_token_id()}
        if scope is not None:
            payload["scope"] = _scope(scope)
        return payload

    def _signed(self, policy: IssuerPolicy, payload: dict[str, Any]) -> str:
        """Signs, and holds the result against the gate's own rules: better refused here than at its first use."""
        signer = policy.keys.signer
        if signer is None:
            raise SettingsError("JWTGATE_SECRET or JWTGATE_PRIVATE_KEY: issue needs one of them to sign with")
        try:
            token = sign(signer, payload, policy.typ or "at+jwt")
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"claims must be JSON: {type(error).__name__}") from None
        now = self.clock.wall()
        try:
            parsed = parse(token.encode(), self.max_token_bytes)
            policy, key = screen(parsed, self.policies, now)
            check_claims(parsed, policy, now, key)
            handles_of(parsed, policy)
        except InvalidToken as error:
            raise ValueError(f"the gate would not admit such a token: {error}") from None
        return token


def _scope(scope: str | Iterable[str]) -> str:
    """RFC 6749 §3.3: tokens of printable ASCII but quote and backslash, one space between two."""
    text = scope if isinstance(scope, str) else " ".join(scope)
    if _SCOPE.fullmatch(text) is None:
        raise ValueError("scope must be scope tokens (RFC 6749 §3.3), one space between two")
    return text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
