"""The one decision function: is this request's token genuine, and still wanted?

Validity first, then verification (design §2): rulings are judged before any signature work, unless ``ORDER=verify-first``.
Every path that admits a token (HTTP, WebSocket, ``Gate.verify`` and every endpoint) comes through ``Decision.decide``.

Invariants:
  * Nothing unverified is ever remembered: ``view.admit`` is reached only after signature and claims were checked.
  * R1: a ruling known here refuses, live or not. R2: only a look-up sent after the decision began is used, and none older
    than one lease. R3: ``view.admit`` refuses late fills.
  * What cannot be known is ``StoreUnavailable``; only ``ON_STORE_DOWN`` can make that an admission, and then only with
    what it says: ``cached`` what was admitted before, within the grace; ``admit`` what signature and expiry allow.

Sources: RFC 7519 §7.2, RFC 6750 §2 and §3, RFC 8725. Does no I/O: it yields ``LookUp``.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Literal

from jwtgate.core import cross_site
from jwtgate.core.effects import Clock, Looked, LookUp, Plan
from jwtgate.core.exemption import Exemption, is_preflight
from jwtgate.core.lru import Admitted
from jwtgate.core.parsing import ParsedToken, parse
from jwtgate.core.rulings import Issued, Ruling
from jwtgate.core.verification import (
    check_claims,
    expires_from,
    handles_of,
    issued_of,
    screen,
    to_token,
    verify_signature,
)
from jwtgate.core.view import Known, View
from jwtgate.errors import JWTGateError, MissingToken, Revoked, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jwtgate.core.extraction import Extraction
    from jwtgate.core.keyring import Key
    from jwtgate.core.policy import IssuerPolicy
    from jwtgate.messages import Request, Source

__all__ = ["Decision", "Rules", "Tally"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided about requests; see the settings of the same names."""

    policies: Mapping[str | None, IssuerPolicy]
    extraction: Extraction
    exemption: Exemption
    csrf: Literal["fetch-metadata", "off"]
    origins: frozenset[str]
    is_optional: bool
    verifies_first: bool
    max_token_bytes: int
    on_store_down: Literal["refuse", "cached", "admit"]


class Tally:
    """Plain numbers of one process. Increments are single bytecode runs; nothing waits for them."""

    __slots__ = ("hits", "look_ups", "misses", "refused")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.look_ups = 0
        self.refused: dict[str, int] = {}

    def count(self, error: JWTGateError) -> None:
        """One more refusal, by its precise reason."""
        self.refused[error.reason] = self.refused.get(error.reason, 0) + 1


@dataclass(frozen=True, slots=True)
class _Case:
    """One token on its way through the decision, past the free refusals."""

    parsed: ParsedToken
    policy: IssuerPolicy
    key: Key
    issued: Issued
    handles: tuple[bytes, ...]


class Decision:
    """See the module. Thread-safe: all it changes is the view, under the view's lock."""

    def __init__(
        self,
        rules: Rules,
        view: View,
        clock: Clock,
        store_is_down: Callable[[], bool],
        tally: Tally,
    ) -> None:
        """Args: store_is_down: whether the store failed and nobody has been through since."""
        self.rules = rules
        self.view = view
        self.clock = clock
        self.boot = clock.boot
        self.store_is_down = store_is_down
        self.tally = tally
        self._sources = {source: sha256(f"{source}:".encode()) for source in (None, "header", "cookie", "subprotocol")}
        self._recall = view.admitted.get
        self._touch = view.admitted.touch

    def hit(self, token: bytes, source: Source | None) -> Admitted | None:
        """The hot path: a token admitted before, under a live lease and before its deadline; else None.

        One digest, one clock read, two comparisons; no lock, no generator (design §2). The length of ``token`` is bounded
        by the caller.
        """
        digest = self._sources[source].copy()
        digest.update(token)
        key = digest.digest()
        entry = self._recall(key)
        if entry is None:
            return None
        now = self.boot()
        if now < entry.deadline and now < self.view.lease_until:
            try:
                self._touch(key)
            except KeyError:
                return None
            self.tally.hits += 1
            return entry
        return None

    def key_of(self, token: bytes, source: Source | None) -> bytes:
        """SHA-256 of where the token was found and the token: no bearer secret stays in memory."""
        digest = self._sources[source].copy()
        digest.update(token)
        return digest.digest()

    def examine(self, request: Request) -> Plan[Admitted | None]:
        """The whole way of a request. None: it goes on anonymously (exempt path, preflight, optional mode).

        Raises: any ``CredentialError``; ``UnavailableError``.
        """
        rules = self.rules
        if is_preflight(request) or rules.exemption.matches(request.path, request.raw_path):
            return None
        credential = rules.extraction.find(request)
        if credential is None:
            if rules.is_optional:
                return None
            raise MissingToken("no token in the request")
        if credential.source == "cookie" and rules.csrf != "off":
            cross_site.check(request, mode=rules.csrf, origins=rules.origins)
        return (yield from self.decide(credential.token, credential.source))

    def decide(self, token: bytes, source: Source | None) -> Plan[Admitted]:
        """Whether one token may pass now.

        Args: token: as found, nothing in it trusted. source: where it was found.
        Raises: ``InvalidToken`` and its kin; ``StoreUnavailable``.
        """
        if len(token) <= self.rules.max_token_bytes:
            entry = self.hit(token, source) or self._in_grace(token, source)
            if entry is not None:
                return entry
        self.tally.misses += 1
        case = self._screened(token)
        if self.rules.verifies_first:
            self._verify(case)
        try:
            facts = yield from self._facts(case)
        except StoreUnavailable as error:
            return self._without_store(error, case, token, source)
        if not self.rules.verifies_first:
            self._verify(case)
        return self._remember(case, self.key_of(token, source), source, facts)

    # --- the parts of a decision

    def _screened(self, token: bytes) -> _Case:
        """Everything that is refused for free, before any call to the store."""
        parsed = parse(token, self.rules.max_token_bytes)
        policy, key = screen(parsed, self.rules.policies, self.clock.wall())
        return _Case(parsed, policy, key, issued_of(parsed, key, policy), handles_of(parsed, policy))

    def _facts(self, case: _Case) -> Plan[Known]:
        """What is ruled on the token's handles, from memory if it may be trusted, else from the store.

        Which of two epochs is the older one the view cannot tell: its own may be over, and a cut-off that was written here
        of a newer one. Where that decides, the store is asked, after the signature: a forged stamp buys no look-up.
        """
        view = self.view
        is_trusted = view.is_live(self.boot()) and view.is_complete
        known = view.known(case.handles)
        if not _hinges_on_epoch(case, known):
            _refuse_if_dead(case, known.rulings, known.epoch)
            if is_trusted:
                return known
        elif not self.rules.verifies_first:
            self._verify(case)
        self.tally.look_ups += 1
        looked: Looked = yield LookUp(case.handles)
        facts = looked.facts
        _refuse_if_dead(case, facts.rulings, facts.epoch.name)
        _refuse_if_dead(case, view.known(case.handles).rulings, facts.epoch.name)
        if not facts.epoch.is_healed:
            raise StoreUnavailable("the store's history is healing")
        if self.boot() - looked.sent_at > view.lease_seconds:
            raise StoreUnavailable("the store's answer came later than one lease")
        return Known(facts.epoch.name, facts.end.position, list(facts.rulings))

    def _verify(self, case: _Case) -> None:
        verify_signature(case.parsed, case.key)
        check_claims(case.parsed, case.policy, self.clock.wall(), case.issued.stamp)

    def _remember(self, case: _Case, key: bytes, source: Source | None, facts: Known) -> Admitted:
        entry = self._entry(case, source)
        now = self.boot()
        if self.view.is_live(now):
            self.view.admit(key, entry, facts, case.handles, now)
        return entry

    def _entry(self, case: _Case, source: Source | None) -> Admitted:
        """Turns every time bound into one deadline on the boot clock; read first, so that it never lies late."""
        now = self.boot()
        ends_at = expires_from(case.parsed.claims, case.policy)
        deadline = inf if ends_at is None else now + (ends_at - self.clock.wall())
        wide = self.view.wide_handles
        return Admitted(to_token(case.parsed, source), deadline, tuple(handle for handle in case.handles if handle not in wide))

    # --- when the store cannot answer

    def _in_grace(self, token: bytes, source: Source | None) -> Admitted | None:
        """``cached``: a token admitted before, while the store is down and within the grace that was registered (F2)."""
        if self.rules.on_store_down != "cached" or not self.store_is_down():
            return None
        entry = self._recall(self.key_of(token, source))
        now = self.boot()
        if entry is None or now >= entry.deadline or now >= self.view.grace_until:
            return None
        self.tally.hits += 1
        return entry

    def _without_store(self, error: StoreUnavailable, case: _Case, token: bytes, source: Source | None) -> Admitted:
        """``ON_STORE_DOWN``: what may still be admitted, and with what; else the error stands."""
        if self.rules.on_store_down == "admit":
            self._refuse_what_is_known(error, case)
            if not self.rules.verifies_first:
                self._verify(case)
            return self._entry(case, source)
        entry = self._in_grace(token, source)
        if entry is None:
            raise error
        return entry

    def _refuse_what_is_known(self, error: StoreUnavailable, case: _Case) -> None:
        """R1, without the store: where two epochs meet only times are left, and they may refuse but not call it revoked."""
        known = self.view.known(case.handles)
        if not _hinges_on_epoch(case, known):
            _refuse_if_dead(case, known.rulings, known.epoch)
        elif _is_dead(case.policy, case.issued._replace(stamp=None), known.rulings, known.epoch):
            raise error


def _hinges_on_epoch(case: _Case, known: Known) -> bool:
    """Whether a known cut-off of one epoch meets a stamp of another."""
    stamp = case.issued.stamp
    if stamp is None:
        return False
    cuts = (Ruling.decode(text).not_before for text in known.rulings if text is not None)
    return any(cut is not None and cut.epoch not in (stamp[0], "") for cut in cuts)


def _refuse_if_dead(case: _Case, rulings: Iterable[bytes | None], epoch: str) -> None:
    if _is_dead(case.policy, case.issued, rulings, epoch):
        raise Revoked("a ruling on one of its handles kills it")


def _is_dead(policy: IssuerPolicy, issued: Issued, rulings: Iterable[bytes | None], epoch: str) -> bool:
    leeway = policy.leeway_seconds
    return any(text is not None and Ruling.decode(text).kills(issued, epoch, leeway) for text in rulings)
