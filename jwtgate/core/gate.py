"""The one decision function: is this request's token genuine, and still wanted?

Validity first, then verification: rulings are judged before any signature work, unless ``ORDER=verify-first``.
Every path that admits a token (HTTP, WebSocket and its messages, ``Gate.verify``, every endpoint) comes through ``_decided``.

Invariants:
  * Nothing unverified is ever remembered: ``view.admit`` is reached only after signature and claims were checked (``judging``).
  * ``VALIDITY=allowlist``: a token passes only while the store holds its session; it is remembered no longer than that
    session lives, and every other ending of one is a ruling.
  * A key that was retired or taken away admits nothing: its handle is one of the token's, and its tokens are forgotten.
  * R1: a ruling known here refuses, live or not. R2: only a look-up sent after the decision began is used, and none older
    than one lease. R3: ``view.admit`` refuses late fills.
  * What cannot be known is ``StoreUnavailable``; only ``ON_STORE_DOWN`` can make that an admission, and then only with
    what it says: ``cached`` what was admitted before, within the grace; ``admit`` what signature and expiry allow.
  * A token that is bound to its sender passes only with a request that shows possession (``possession``), each time anew.
  * A token whose status its issuer publishes passes only while that list, fetched in the background, says that it is valid;
    it is asked last, of tokens that were verified entirely (``core.statuses.held``).
  * The application's checks see every request that shows a token, remembered or not; what they say is not remembered.

Sources: RFC 7519 §7.2, RFC 6750 §2 and §3, RFC 8725. Does no I/O: it yields ``LookUp``, ``Ask`` and ``Pause``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.core.checking import Checks, ask
from jwtgate.core.continuing import Continuing
from jwtgate.core.http import cross_site
from jwtgate.core.http.exemption import is_preflight
from jwtgate.errors import InvalidToken, JWTGateError, MissingToken, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.effects import Check, Clock, Plan
    from jwtgate.core.live import LiveConnection
    from jwtgate.core.lru import Admitted
    from jwtgate.core.rules import Rules
    from jwtgate.core.tally import Tally
    from jwtgate.core.view import View
    from jwtgate.messages import Request, Source

__all__ = ["Decision"]

ROUNDS = 16
"""A ruling that arrives while a connection is decided about makes the verdict void; that many at once there are not."""


class Decision(Continuing):
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
            self.tally.anonymous += 1
            return None
        credential = rules.extraction.find(request)
        if credential is None:
            if rules.is_optional:
                self.tally.anonymous += 1
                return None
            raise MissingToken("no token where JWTGATE_LOCATIONS looks, and the path is none of JWTGATE_EXEMPT")
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
        self.tally.admitted += 1
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
        self.tally.admitted += 1
        return entry

    def again(self, live: LiveConnection) -> Plan[None]:
        """Decides about an open connection anew, as about a request; possession was shown, and the checks asked, at its start.

        Raises: ``InvalidToken`` and its kin: it must end. ``UnavailableError``: nothing may pass, since nobody knows.
        """
        for _ in range(ROUNDS):
            doubts = live.doubts
            entry = live.entry
            try:
                entry, _ = yield from self._decided(live.token, live.source, None, is_checked=False)
                deadline = entry.deadline
            except InvalidToken as ended:
                if not self._may_go_on(live, ended):
                    raise
                deadline = yield from self._goes_on_until(live)
                if deadline <= self.boot():
                    raise
            if entry.handles[0] != live.entry.handles[0]:  # an application wrote over the request that it was opened with
                raise InvalidToken("it is not the token that was admitted")
            if self.view.live.vouch(live, entry, deadline, doubts):
                return
        raise StoreUnavailable("rulings on the token come faster than it can be decided about")

    def _decided(
        self, token: bytes, source: Source | None, request: Request | None, *, is_checked: bool, is_dpop: bool = False
    ) -> Plan[tuple[Admitted, tuple[Check, ...]]]:
        """What is known of the token alone, and the checks that are still to be asked about it."""
        before, after = (tuple(self.checks.before), tuple(self.checks.after)) if is_checked else ((), ())
        entry = self._remembered(token, source)
        if entry is not None:
            self.tally.planned_hits += 1
            return entry, before + after
        return (yield from self._judged(token, source, before, request, is_dpop=is_dpop)), after
