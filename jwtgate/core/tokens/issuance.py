"""How an access token is made: the registered claims are the gate's, the rest the application's (RFC 9068 §2, RFC 7519 §4.1).

The token carries ``jgp``, a log position read from the store after the call began, so that a cut-off before it and a cut-off
after it can be told apart without a clock. Invariant: what is issued, the same gate admits.
"""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jwtgate.core.effects import Clock, Looked, LookUp, Plan
from jwtgate.core.handles import digest_of
from jwtgate.core.keys.derived import SALT_CLAIM, salt_handle
from jwtgate.core.keys.signing import sign, unsigned
from jwtgate.core.possession.binding import bond_of
from jwtgate.core.rulings import Ruling, UnreadableRuling, is_revoked
from jwtgate.core.tokens.parsing import ParsedToken, parse
from jwtgate.core.tokens.verification import check_claims, handles_of, screen
from jwtgate.errors import InvalidToken, SettingsError, StoreUnavailable, SubjectSuspended

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from jwtgate.core.history import Facts
    from jwtgate.core.keys.ring import Signer
    from jwtgate.core.statuses.registry import Registry
    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = ["Issuer", "is_utf8", "salt_in_force", "scope_claim", "suspends"]

_SCOPE = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*")

RESERVED = frozenset({"iss", "aud", "sub", "iat", "exp", "nbf", "jti", "jgp", "jgu", "sid", "scope", SALT_CLAIM})

RESERVED_WITH_LISTS = RESERVED | {"status"}

LONGEST_STAMP = f"{'A' * 11}:{10**14 - 1}"
"""Stands for a stamp that is not known yet: no real one is longer."""


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
        registry: Registry | None = None,
    ) -> None:
        """Args: registry: where each token gets an entry in a status list; None: in none."""
        self.policies = policies
        self.clock = clock
        self.default_ttl = default_ttl
        self.max_token_bytes = max_token_bytes
        self.draw_token_id = draw_token_id
        self.registry = registry
        self._signature_bytes: dict[Signer, int] = {}

    def issue(
        self,
        sub: str,
        *,
        claims: Mapping[str, Any] | None,
        scope: str | Iterable[str] | None,
        ttl: float | None,
    ) -> Plan[str]:
        """One access token that belongs to no session, after one look-up.

        Raises: SettingsError: no signing key. SubjectSuspended. ValueError: claims, scope or ttl that cannot be.
        """
        policy = self.policy()
        seconds = self._ttl(policy, ttl)
        own = self.own_claims(claims)
        own |= scope_claim(scope)
        payload = self.payload(policy, sub, own, self.clock.wall() + math.ceil(seconds))
        signer = self._signer(policy)
        salts = (salt_handle(policy.namespace, sub),) if signer.derives else ()
        looked: Looked = yield LookUp((digest_of(policy.namespace, "sub", sub), *salts))
        facts = looked.facts
        if suspends(facts.rulings[0]):
            raise SubjectSuspended("the subject is suspended")
        if signer.derives:
            payload[SALT_CLAIM] = salt_in_force(facts, 1)
        stamp = f"{facts.epoch.name}:{facts.end.position}"
        payload = yield from self.listed(policy, payload, stamp)
        return self.signed(policy, payload, stamp)[0]

    def salted(self, claims: Mapping[str, Any], sub: str) -> Plan[Mapping[str, Any]]:
        """Claims of a session's tokens, with the number of the subject's key where it has one: one look-up, then."""
        policy = self.policy()
        if not self._signer(policy).derives:
            return claims
        looked: Looked = yield LookUp((salt_handle(policy.namespace, sub),))
        return {**claims, SALT_CLAIM: salt_in_force(looked.facts, 0)}

    def policy(self) -> IssuerPolicy:
        """The issuer that signs. Raises: SettingsError: none does."""
        for policy in self.policies.values():
            if policy.keys.signer is not None:
                return policy
        raise SettingsError("JWTGATE_SECRET or JWTGATE_PRIVATE_KEY: issue needs one of them to sign with")

    def _ttl(self, policy: IssuerPolicy, ttl: float | None) -> float:
        seconds = self.default_ttl if ttl is None else ttl
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= policy.max_ttl_seconds:
            raise ValueError(f"ttl must be seconds above 0 and at most {policy.max_ttl_seconds:g} (JWTGATE_MAX_TTL)")
        return seconds

    def own_claims(self, claims: Mapping[str, Any] | None) -> dict[str, Any]:
        """The application's claims, without those that are the gate's to set. Raises: ValueError: there are some."""
        own: dict[str, Any] = dict(claims or {})
        if not all(isinstance(name, str) for name in own):
            raise ValueError("claims must have texts for names")
        taken = (RESERVED if self.registry is None else RESERVED_WITH_LISTS).intersection(own)
        if taken:
            raise ValueError(f"claims may not set {', '.join(sorted(taken))}: the gate does")
        return own

    def payload(self, policy: IssuerPolicy, sub: str, claims: Mapping[str, Any], end: float) -> dict[str, Any]:
        """A Claims Set without its stamp.

        Args: end: NumericDate; what the gate itself would not admit any more is cut off.
        """
        if not isinstance(sub, str) or not sub or not is_utf8(sub):
            raise ValueError("sub must be a non-empty text that UTF-8 can carry")
        now = math.floor(self.clock.wall())
        payload = dict(claims)
        if policy.issuer is not None:
            payload["iss"] = policy.issuer
        if policy.audience and policy.audience[0] != "*":
            payload["aud"] = policy.audience[0]
        exp = min(math.floor(end), now + math.floor(policy.max_ttl_seconds))  # whole seconds that the gate itself admits
        payload |= {"sub": sub, "iat": now, "exp": exp, "jti": self.draw_token_id()}
        return payload

    def listed(self, policy: IssuerPolicy, payload: dict[str, Any], stamp: str) -> Plan[dict[str, Any]]:
        """With the claim ``status``, where there are status lists; one round trip more.

        Raises: StoreUnavailable. ValueError: a claim that rulings may name cannot be.
        """
        if self.registry is None:
            return payload
        try:
            return {**payload, "status": (yield from self.registry.claim(policy, payload, stamp))}
        except InvalidToken as error:
            raise ValueError(f"the gate would not admit such a token: {error}") from None

    def signed(self, policy: IssuerPolicy, payload: Mapping[str, Any], stamp: str) -> tuple[str, ParsedToken]:
        """Signs, and holds the result against the gate's own rules: better refused here than at its first use.

        Raises: ValueError: the gate would not admit it.
        """
        token = self.sign(policy, payload, stamp)
        return token, self._held_against_our_rules(token.encode())

    def drafted(self, policy: IssuerPolicy, payload: Mapping[str, Any]) -> tuple[str, ParsedToken]:
        """As ``signed``, before anything is written: as long as the token will be at the most, and without a signature.

        Raises: ValueError: the gate would not admit it.
        """
        signer = self._signer(policy)
        if signer not in self._signature_bytes:
            self._signature_bytes[signer] = len(signer.sign(b""))
        claims = {**payload, "jgp": LONGEST_STAMP}
        if self.registry is not None:
            claims["status"] = self.registry.longest_claim
        with _as_json():
            draft = unsigned(signer, claims, policy.typ or "at+jwt", self._signature_bytes[signer])
        return draft.decode(), self._held_against_our_rules(draft)

    def sign(self, policy: IssuerPolicy, payload: Mapping[str, Any], stamp: str) -> str:
        """Signs what was held against the rules before. Raises: ValueError: it is not JSON."""
        signer = self._signer(policy)
        if signer.derives:
            signer = signer.of_subject(payload["sub"], payload.get(SALT_CLAIM, 0))
        with _as_json():
            return sign(signer, {**payload, "jgp": stamp}, policy.typ or "at+jwt")

    def _signer(self, policy: IssuerPolicy) -> Signer:
        signer = policy.keys.signer
        if signer is None:
            raise SettingsError("JWTGATE_SECRET or JWTGATE_PRIVATE_KEY: issue needs one of them to sign with")
        return signer

    def _held_against_our_rules(self, token: bytes) -> ParsedToken:
        now = self.clock.wall()
        try:
            parsed = parse(token, self.max_token_bytes)
            policy, key = screen(parsed, self.policies, now)
            check_claims(parsed, policy, now, key)
            handles_of(parsed, policy)
            if "cnf" in parsed.claims:
                bond_of(parsed.claims["cnf"])
        except InvalidToken as error:
            raise ValueError(f"the gate would not admit such a token: {error}") from None
        return parsed


def suspends(ruling: bytes | None) -> bool:
    """Whether the ruling on a subject refuses it. Raises: StoreUnavailable: it cannot be read."""
    try:
        return is_revoked(ruling)
    except UnreadableRuling as error:
        raise StoreUnavailable("a ruling cannot be read") from error


def salt_in_force(facts: Facts, place: int) -> int:
    """The number of a subject's key, by the ruling on its ``salt``, which stands at a place among those that were looked up.

    Raises: StoreUnavailable: it cannot be read, or was lost with the store's history: a token under a number that is over would
        be dead.
    """
    if not facts.epoch.is_healed:
        raise StoreUnavailable("the store's history is healing: it may lack the number of the subject's key")
    ruling = facts.rulings[place]
    try:
        return 0 if ruling is None else Ruling.decode(ruling).min_version or 0
    except UnreadableRuling as error:
        raise StoreUnavailable("a ruling cannot be read") from error


def scope_claim(scope: str | Iterable[str] | None) -> dict[str, str]:
    """RFC 6749 §3.3: tokens of printable ASCII but quote and backslash, one space between two.

    No claim where there is not one token: so comes what a client did not ask for, or may have nothing of.
    """
    text = scope if isinstance(scope, str) else " ".join(() if scope is None else scope)
    if not text:
        return {}
    if _SCOPE.fullmatch(text) is None:
        raise ValueError("scope must be scope tokens (RFC 6749 §3.3), one space between two")
    return {"scope": text}


def is_utf8(text: str) -> bool:
    """False for lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _as_json() -> Generator[None]:
    """Raises: ValueError: the claims are none."""
    try:
        yield
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"claims must be JSON: {type(error).__name__}") from None
