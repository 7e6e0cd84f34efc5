"""The one decision function: is this request's token genuine, and still wanted?

Validity first, then verification (design §2): rulings are judged before any signature work, unless ``ORDER=verify-first``.
Every path that admits a token (HTTP, WebSocket, ``Gate.verify`` and every endpoint) comes through ``Decision._decided``.

Invariants:
  * Nothing unverified is ever remembered: ``view.admit`` is reached only after signature and claims were checked.
  * ``VALIDITY=allowlist``: a token passes only while the store holds its session; it is remembered no longer than that
    session lives, and every other ending of one is a ruling.
  * A key that was retired or taken away admits nothing: its handle is one of the token's, and its tokens are forgotten.
  * R1: a ruling known here refuses, live or not. R2: only a look-up sent after the decision began is used, and none older
    than one lease. R3: ``view.admit`` refuses late fills.
  * What cannot be known is ``StoreUnavailable``; only ``ON_STORE_DOWN`` can make that an admission, and then only with
    what it says: ``cached`` what was admitted before, within the grace; ``admit`` what signature and expiry allow.
  * A token that is bound to its sender passes only with a request that shows possession (``possession``), each time anew.
  * The application's checks see every request that shows a token, remembered or not; what they say is not remembered.

Sources: RFC 7519 §7.2, RFC 6750 §2 and §3, RFC 8725. Does no I/O: it yields ``LookUp``, ``Ask`` and ``Pause``.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from jwtgate.core import cross_site
from jwtgate.core.checking import Checks, ask
from jwtgate.core.effects import Clock, Looked, LookUp, Plan
from jwtgate.core.exemption import is_preflight
from jwtgate.core.judgement import (
    Case,
    LostSession,
    hinges_on_epoch,
    is_dead,
    refuse_if_dead,
    session_of,
    session_seconds_left,
)
from jwtgate.core.keys import KeysAwaited, once_known
from jwtgate.core.known import Known, Place
from jwtgate.core.lru import Admitted
from jwtgate.core.parsing import parse
from jwtgate.core.possession import Bond, Possession, bond_of
from jwtgate.core.recollection import Recollection
from jwtgate.core.sessions.refresh_tokens import is_session_id
from jwtgate.core.tokens import to_token, to_unverified_token
from jwtgate.core.upstream import CLAIM, with_links
from jwtgate.core.verification import check_claims, expires_from, handles_of, screen, verify_signature
from jwtgate.errors import JWTGateError, MissingToken, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.claims import Claims
    from jwtgate.core.effects import Check
    from jwtgate.core.history import Facts
    from jwtgate.core.rules import Rules, Tally
    from jwtgate.core.view import View
    from jwtgate.messages import Request, Source

__all__ = ["Decision"]

_NO_BOND = Bond(None, None)
"""That of no token."""

MAX_HEADERS = 64
"""Verified headers kept: one per key and kind of token."""


class Decision(Recollection):
    """See the module. Thread-safe: all it changes is the view, under the view's lock."""

    def __init__(
        self,
        rules: Rules,
        view: View,
        clock: Clock,
        store_is_down: Callable[[], bool],
        tally: Tally,
        checks: Checks | None = None,
    ) -> None:
        """Args: store_is_down: whether the store failed and nobody has been through since. checks: the application's."""
        super().__init__(rules, view, clock, store_is_down, tally)
        self.checks = Checks() if checks is None else checks
        self._headers: dict[bytes, Claims] = {}
        self._possession = Possession(rules.possession, clock, tally)
        self._carefree = None if rules.possession.dpop == "off" else _NO_BOND
        if self.checks:
            self.forgo_hits()

    def add_check(self, check: Check, *, before: bool) -> None:
        """Asks it about every request that begins from now on."""
        self.forgo_hits()
        self.checks.add(check, before=before)

    def examine(self, request: Request, *, is_endpoint: bool = False, is_checked: bool = True) -> Plan[Admitted | None]:
        """The whole way of a request. None: it goes on anonymously (exempt path, preflight, optional mode).

        Args:
            request: with its headers.
            is_endpoint: the path is the gate's own, so neither exempt nor a preflight's.
            is_checked: ask the application's checks. Whoever only gives something up is not asked: no rule on how fresh a
                login must be, or from where, keeps anybody from logging out.

        Raises: any ``CredentialError``; ``UnavailableError``.
        """
        rules = self.rules
        if not is_endpoint and (is_preflight(request) or rules.exemption.matches(request.path, request.raw_path)):
            return None
        credential = rules.extraction.find(request)
        if credential is None:
            if rules.is_optional:
                return None
            raise MissingToken("no token in the request")
        if credential.source == "cookie" and rules.csrf != "off":
            cross_site.check(request, mode=rules.csrf, origins=rules.origins)
        try:
            entry, unasked = yield from self._decided(
                credential.token, credential.source, request, is_checked=is_checked, is_dpop=credential.is_dpop
            )
            # Nothing but the token itself leads to an entry without a bond, and then only where no scheme but Bearer is ours.
            if entry.bond is not self._carefree:
                yield from self._possession.show(entry.bond, credential, request)
            if credential.source == "cookie" and rules.csrf == "double-submit":
                cross_site.check_double_submit(request, entry.token.claims.get("csrf"))
            yield from ask(unasked, entry.token, request)
        except JWTGateError as error:
            error.is_dpop = credential.is_dpop
            raise
        return entry

    def decide(self, token: bytes, source: Source | None, *, is_told_only: bool = False) -> Plan[Admitted]:
        """Whether one token may pass now, with no request to look at: none that is bound to its sender may.

        Args:
            token: as found, nothing in it trusted.
            source: where it was found.
            is_told_only: nobody gets anything for it: a bound token is told like any other (RFC 7662, RFC 8705 §3.2), and the
                application's checks, which are about requests, are not asked.

        Raises: ``InvalidToken`` and its kin; ``StoreUnavailable``; what a check refuses with.
        """
        entry, unasked = yield from self._decided(token, source, None, is_checked=not is_told_only)
        if entry.bond is not self._carefree and not is_told_only:
            self._possession.check_form(entry.bond, source, is_dpop=False, has_request=False)
        yield from ask(unasked, entry.token, None)
        return entry

    def _decided(
        self, token: bytes, source: Source | None, request: Request | None, *, is_checked: bool, is_dpop: bool = False
    ) -> Plan[tuple[Admitted, tuple[Check, ...]]]:
        """What is known of the token alone, and the checks that are still to be asked about it."""
        before, after = (tuple(self.checks.before), tuple(self.checks.after)) if is_checked else ((), ())
        entry = self._remembered(token, source)
        if entry is not None:
            return entry, before + after
        return (yield from self._judged(token, source, before, request, is_dpop=is_dpop)), after

    def _judged(
        self, token: bytes, source: Source | None, before: tuple[Check, ...], request: Request | None, *, is_dpop: bool
    ) -> Plan[Admitted]:
        """A token that is not remembered. What fails in a check is no failure of the store: ``ON_STORE_DOWN`` is not asked."""
        self.tally.misses += 1
        try:
            case = self._screened(token)
        except KeysAwaited:
            case = yield from once_known(lambda: self._screened(token), self.clock)
        if case.bond is not self._carefree and request is not None:
            self._possession.check_form(case.bond, source, is_dpop=is_dpop)
        if before:
            yield from ask(before, to_unverified_token(case.parsed, source, case.policy.profile), request)
        if self.rules.verifies_first:
            self._verify(case)
        try:
            facts = self._from_memory(case) or (yield from self._from_store(case))
        except StoreUnavailable as error:
            return self._without_store(error, case, token, source)
        if not self.rules.verifies_first:
            self._verify(case)
        key = self.key_of(token, source) if case.bond is None else self._key_of_bound(token, source)
        return self._remember(case, key, source, facts)

    # --- the parts of a decision

    def _screened(self, token: bytes) -> Case:
        """Everything that is refused for free, before any call to the store."""
        parsed = parse(token, self.rules.max_token_bytes, self._headers)
        policy, key = screen(parsed, self.rules.policies, self.clock.wall())
        handles = handles_of(parsed, policy)
        if key.is_own and CLAIM in parsed.claims:
            handles = with_links(handles, parsed.claims)
        if key.subject_handle is not None:
            handles = (*handles, key.subject_handle)
        bond = bond_of(parsed.claims["cnf"]) if "cnf" in parsed.claims else None
        return Case(parsed, policy, key, (*handles, key.handle), bond)

    def _from_memory(self, case: Case) -> Known | None:
        """R1: what this process knows refuses, live or not; it answers for the rest only while live and complete.

        None: the store must be asked, also where a cut-off of one epoch meets a stamp of another. Which is older the view
        cannot tell: its own epoch may be over, and a cut-off that was written here be of a newer one. The signature comes
        first then: a forged stamp buys no look-up.
        """
        view = self.view
        is_live = view.is_live(self.boot())
        known = view.known(case.handles)
        if any(known.rulings):
            if hinges_on_epoch(case, known):
                if not self.rules.verifies_first:
                    self._verify(case)
                return None
            refuse_if_dead(case, known.rulings, known.epoch)
        if self.rules.is_allowlist:  # memory knows who was thrown out, not who is in
            return None
        return known if is_live and known.is_complete else None

    def _from_store(self, case: Case) -> Plan[Known]:
        """R2: one look-up, sent after the request began; used only within one lease of its sending."""
        sids = (session_of(case),) if self.rules.is_allowlist else ()
        self.tally.look_ups += 1
        looked: Looked = yield LookUp(case.handles, sids)
        facts = looked.facts
        refuse_if_dead(case, self.view.known(case.handles).rulings, facts.epoch.name)
        if not facts.epoch.is_healed:  # it may lack the lift of a ruling that it still has
            raise StoreUnavailable("the store's history is healing")
        refuse_if_dead(case, facts.rulings, facts.epoch.name)
        if self.boot() - looked.sent_at > self.view.lease_seconds:
            raise StoreUnavailable("the store's answer came later than one lease")
        known = Known(_places(facts), list(facts.rulings))
        if self.rules.is_allowlist:
            if facts.sessions[0] is None and not self.rules.verifies_first:
                self._verify(case)  # a forged stamp buys no 503
            known.ends_at = looked.sent_at + session_seconds_left(case, facts)
        return known

    def _verify(self, case: Case) -> None:
        """The signature, then the claims; a header that verified is known from then on."""
        parsed = case.parsed
        verify_signature(parsed, case.key)
        check_claims(parsed, case.policy, self.clock.wall(), case.key)
        if parsed.header_segment not in self._headers:
            if len(self._headers) >= MAX_HEADERS:
                self._headers.clear()
            self._headers[parsed.header_segment] = parsed.header

    def _remember(self, case: Case, key: bytes, source: Source | None, facts: Known) -> Admitted:
        entry = self._entry(case, source, facts.ends_at)
        now = self.boot()
        if self.view.is_live(now):
            self.view.admit(key, entry, facts, case.handles, now)
        return entry

    def _key_of_bound(self, token: bytes, source: Source | None) -> bytes:
        self._has_bound = True
        return self.bound_key_of(token, source)

    def _entry(self, case: Case, source: Source | None, session_ends_at: float = inf) -> Admitted:
        """Turns every time bound into one deadline on the boot clock; read first, so that it never lies late."""
        now = self.boot()
        ends_at = expires_from(case.parsed.claims, case.policy)
        deadline = now if ends_at is None else min(now + (ends_at - self.clock.wall()), session_ends_at)
        wide = self.view.wide_handles
        token = to_token(case.parsed, source, case.policy.profile)
        handles = tuple([handle for handle in case.handles if handle not in wide])
        return Admitted(token, deadline, handles, is_seen=not is_session_id(token.session_id), bond=case.bond)

    # --- when the store cannot answer

    def _without_store(self, error: StoreUnavailable, case: Case, token: bytes, source: Source | None) -> Admitted:
        """``ON_STORE_DOWN``: what may still be admitted, and with what; else the error stands."""
        if self.rules.on_store_down == "admit" and not isinstance(error, LostSession):
            self._refuse_what_is_known(error, case)
            if not self.rules.verifies_first:
                self._verify(case)
            return self._entry(case, source)
        key_of = self.key_of if case.bond is None else self.bound_key_of
        entry = self._recall(key_of(token, source))
        if entry is None:
            raise error
        return entry

    def _refuse_what_is_known(self, error: StoreUnavailable, case: Case) -> None:
        """R1, without the store: where two epochs meet only times are left, and they may refuse but not call it revoked."""
        known = self.view.known(case.handles)
        if not hinges_on_epoch(case, known):
            refuse_if_dead(case, known.rulings, known.epoch)
        elif is_dead(case.policy, case.issued()._replace(stamp=None), known.rulings, known.epoch):
            raise error


def _places(facts: Facts) -> tuple[Place, ...]:
    own = Place(0, facts.epoch.name, facts.end.position)
    return (own, *(Place(index, epoch.name, end.position) for index, epoch, end in facts.others))
