"""How a token that is not remembered is judged: the parts of the one decision, in their order.

Free refusals, then rulings from memory or from one look-up, then signature and claims (unless ``ORDER=verify-first``), then
what its issuer's status list says; only then is it remembered. The invariants are those of ``core.gate``, which alone calls it.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from jwtgate.core.checking import ask
from jwtgate.core.effects import Clock, Looked, LookUp, Plan
from jwtgate.core.judgement import (
    Case,
    LostSession,
    hinges_on_epoch,
    is_dead,
    refuse_if_dead,
    session_of,
    session_seconds_left,
)
from jwtgate.core.keys.ring import Awaited, once_known
from jwtgate.core.known import Known, Place
from jwtgate.core.lru import Admitted
from jwtgate.core.possession.binding import Bond, Possession, bond_of
from jwtgate.core.providers.upstream import CLAIM, with_links
from jwtgate.core.recollection import Recollection
from jwtgate.core.sessions.refresh_tokens import is_session_id
from jwtgate.core.tokens.parsing import parse
from jwtgate.core.tokens.shown import to_token, to_unverified_token
from jwtgate.core.tokens.verification import check_claims, expires_from, handles_of, screen, verify_signature
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.claims import Claims
    from jwtgate.core.effects import Check
    from jwtgate.core.history import Facts
    from jwtgate.core.rules import Rules
    from jwtgate.core.statuses.held import HeldList, Statuses
    from jwtgate.core.tally import Tally
    from jwtgate.core.view import View
    from jwtgate.messages import Request, Source

__all__ = ["Judging"]

_NO_BOND = Bond(None, None)
"""That of no token."""

MAX_HEADERS = 64
"""Verified headers kept: one per key and kind of token."""


class Judging(Recollection):
    """See the module. Thread-safe: all it changes is the view, under the view's lock."""

    def __init__(self, rules: Rules, view: View, clock: Clock, store_is_down: Callable[[], bool], tally: Tally) -> None:
        """Args: store_is_down: whether the store failed and nobody has been through since."""
        super().__init__(rules, view, clock, store_is_down, tally)
        self._headers: dict[bytes, Claims] = {}
        self._possession = Possession(rules.possession, clock, tally)
        self._carefree = None if rules.possession.dpop == "off" else _NO_BOND

    def _judged(
        self, token: bytes, source: Source | None, before: tuple[Check, ...], request: Request | None, *, is_dpop: bool
    ) -> Plan[Admitted]:
        """A token that is not remembered. What fails in a check is no failure of the store: ``ON_STORE_DOWN`` is not asked."""
        self.tally.misses += 1
        try:
            case = self._screened(token)
        except Awaited:
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
        if case.policy.statuses is not None:
            return (yield from self._listed(case, case.policy.statuses, token, source, facts))
        return self._remember(case, token, source, facts)

    def _listed(self, case: Case, statuses: Statuses, token: bytes, source: Source | None, facts: Known) -> Plan[Admitted]:
        """What its issuer's status list says of a token that was verified; what was looked up before a wait is old."""
        claims = case.parsed.claims
        try:
            held = statuses.read(claims)
        except Awaited:
            yield from once_known(lambda: statuses.read(claims), self.clock)
            facts = self._from_memory(case) or (yield from self._from_store(case))
            held = statuses.read(claims)
        return self._remember(case, token, source, facts, held)

    # --- the parts of a decision

    def _screened(self, token: bytes, *, at: float | None = None) -> Case:
        """Everything that is refused for free, before any call to the store. Args: at: NumericDate; None: now."""
        parsed = parse(token, self.rules.max_token_bytes, self._headers)
        policy, key = screen(parsed, self.rules.policies, self.clock.wall() if at is None else at)
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
        """R2: one look-up; under ``VALIDITY=allowlist`` the token's session is looked up as well."""
        looked = yield from self._looked_up(case, (session_of(case),) if self.rules.is_allowlist else ())
        facts = looked.facts
        known = Known(_places(facts), list(facts.rulings))
        if self.rules.is_allowlist:
            if facts.sessions[0] is None and not self.rules.verifies_first:
                self._verify(case)  # a forged stamp buys no 503
            known.ends_at = looked.sent_at + session_seconds_left(case, facts)
        return known

    def _looked_up(self, case: Case, sids: tuple[str, ...]) -> Plan[Looked]:
        """What the store says, none of which kills the token: sent after the decision began, and used only within one lease."""
        self.tally.look_ups += 1
        looked: Looked = yield LookUp(case.handles, sids)
        facts = looked.facts
        refuse_if_dead(case, self.view.known(case.handles).rulings, facts.epoch.name)
        if not facts.epoch.is_healed:  # it may lack the lift of a ruling that it still has
            raise StoreUnavailable("the store's history is healing")
        refuse_if_dead(case, facts.rulings, facts.epoch.name)
        if self.boot() - looked.sent_at > self.view.lease_seconds:
            raise StoreUnavailable("the store's answer came later than one lease")
        return looked

    def _verify(self, case: Case) -> None:
        """The signature, then the claims; a header that verified is known from then on."""
        parsed = case.parsed
        verify_signature(parsed, case.key)
        check_claims(parsed, case.policy, self.clock.wall(), case.key)
        if parsed.header_segment not in self._headers:
            if len(self._headers) >= MAX_HEADERS:
                self._headers.clear()
            self._headers[parsed.header_segment] = parsed.header

    def _remember(
        self, case: Case, token: bytes, source: Source | None, facts: Known, listed: HeldList | None = None
    ) -> Admitted:
        entry = self._entry(case, source, facts.ends_at, listed)
        now = self.boot()
        if self.view.is_live(now):
            self._has_bound |= case.bond is not None
            self.view.admit(self._key_for(case, token, source), entry, facts, case.handles, now, listed)
        return entry

    def _key_for(self, case: Case, token: bytes, source: Source | None) -> bytes:
        return self.key_of(token, source) if case.bond is None else self.bound_key_of(token, source)

    def _entry(
        self, case: Case, source: Source | None, session_ends_at: float = inf, listed: HeldList | None = None
    ) -> Admitted:
        """Turns every time bound into one deadline on the boot clock; read first, so that it never lies late."""
        now = self.boot()
        ends_at = expires_from(case.parsed.claims, case.policy)
        deadline = now if ends_at is None else min(now + (ends_at - self.clock.wall()), session_ends_at)
        wide = self.view.wide_handles
        token = to_token(case.parsed, source, case.policy.profile)
        handles = tuple([handle for handle in case.handles if handle not in wide])
        if listed is not None:
            deadline, handles = min(deadline, listed.usable_until), (*handles, listed.handle)
        return Admitted(token, deadline, handles, is_seen=not is_session_id(token.session_id), bond=case.bond)

    # --- when the store cannot answer

    def _without_store(self, error: StoreUnavailable, case: Case, token: bytes, source: Source | None) -> Admitted:
        """``ON_STORE_DOWN``: what may still be admitted, and with what; else the error stands."""
        if self.rules.on_store_down == "admit" and not isinstance(error, LostSession):
            self._refuse_what_is_known(error, case)
            if not self.rules.verifies_first:
                self._verify(case)
            statuses = case.policy.statuses
            return self._entry(case, source, listed=None if statuses is None else statuses.read(case.parsed.claims))
        entry = self._recall(self._key_for(case, token, source))
        if entry is None:
            try:
                raise error
            finally:
                del error  # else frame and error hold each other, and the request, until the collector comes
        self.tally.planned_hits += 1
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
