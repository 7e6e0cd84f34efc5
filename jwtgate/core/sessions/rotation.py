"""Rotation of refresh tokens (RFC 9700 §4.14.2): each is good for one use, and a second use is theft.

    shown                              |                                  | then
    -----------------------------------|----------------------------------|------------------------------------------------
    the current one                    | its successor is put in its place | the new pair
    spent, within the grace            | a racer, or a lost answer         | the same pair, or what has replaced it since
    spent, the grace over              | recent predecessor: theft         | the session ends, with all its access tokens
    of this lineage, and none of those | older lineage: theft              | likewise
    of no live session                 | unknown                           | refused

Invariants:
  * A session has one current refresh token: whoever replaces it does so by comparing the whole record, so of any number of
    racers one wins and the others read what it left. Ending a session takes the record away, so a rotation that races a
    logout finds nothing to replace.
  * Racers get the pair that is current: a spent one would be taken for theft when it is next used. Each sealed pair leads
    to the next, and only the holder of a spent token can open its successor.
  * An access token's stamp was read after the call began and before the record was replaced: a cut-off written between
    kills it, never the reverse.

All times of the grace are the store's. Does no I/O; draws nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from jwtgate.audit import AuditEvent
from jwtgate.core.effects import AskClaims, Looked, LookUp, Plan, Write
from jwtgate.core.judgement import is_dead, readable
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.login import ATTEMPTS, Login, pair_of
from jwtgate.core.sessions.record import REMEMBERED_IN_GRACE, Joined
from jwtgate.core.sessions.refresh_tokens import NONCE_BYTES, RefreshToken, seal, unseal
from jwtgate.core.sessions.standing import login_of, session_handles
from jwtgate.core.sessions.stored import SUBJECT_PLACE, SessionChange
from jwtgate.core.tokens.issuance import scope_claim
from jwtgate.core.tokens.verification import claim_handles, issued_of
from jwtgate.errors import GrantError, MalformedToken, ReusedRefreshToken, StoreUnavailable, SubjectSuspended
from jwtgate.messages import Session, TokenPair

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jwtgate.core.effects import Provider
    from jwtgate.core.history import Written
    from jwtgate.core.receipts import Revoker
    from jwtgate.core.sessions.record import Record
    from jwtgate.core.sessions.standing import Live
    from jwtgate.core.tokens.parsing import ParsedToken
    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = ["Rotation"]

Place = Literal["current", "racer", "recent predecessor", "older lineage"]


class Rotation:
    """Of one gate."""

    def __init__(self, login: Login, revoker: Revoker, provider: Callable[[], Provider | None]) -> None:
        """Args: provider: what the application gave to be asked for a session's claims of today, if anything."""
        self.login = login
        self.standing = login.standing
        self.issuer = login.issuer
        self.rules = login.rules
        self.revoker = revoker
        self.provider = provider

    def refresh(self, refresh_token: str, check: Callable[[str | None], None] | None = None) -> Plan[TokenPair]:
        """A new pair for a refresh token.

        Args:
            refresh_token: as shown.
            check: is given the session's CSRF value before anything is changed; raises to refuse.

        Raises: GrantError: no live session. ReusedRefreshToken: theft; the session has ended. SubjectSuspended.
            StoreUnavailable. ValueError: the provider's claims cannot be; the refresh token is still good.
        """
        if not isinstance(refresh_token, str):
            raise GrantError("not a refresh token")
        shown = RefreshToken.decode(refresh_token)
        for _ in range(ATTEMPTS):
            live = yield from self.standing.found(shown)
            if check is not None:
                check(live.record.claims.get("csrf"))
            place = self._place_of(shown, live)
            if place == "racer":
                pair = self._current_pair(shown, live)
                if not self.rules.is_journaled or (yield from self._is_kept(live)):
                    return pair
                continue
            if place != "current":
                yield from self._end_stolen(live)
                raise ReusedRefreshToken(place)
            successor = yield from self._replaced(shown, live)
            if successor is not None:
                return successor
        raise StoreUnavailable("other refreshes of the same session kept coming first")

    def session_of(self, refresh_token: str) -> Plan[Session]:
        """The live session of a refresh token that ``refresh`` would take now; changes nothing.

        Raises: GrantError: it is spent, or of no live session. StoreUnavailable.
        """
        shown = RefreshToken.decode(refresh_token)
        live = yield from self.standing.found(shown)
        if self._place_of(shown, live) not in {"current", "racer"}:
            raise GrantError("the refresh token is spent")
        return live.session

    def _place_of(self, shown: RefreshToken, live: Live) -> Place:
        record, digest = live.record, shown.digest
        if digest == record.current:
            return "current"
        for spent in record.spent:
            if spent.digest == digest:
                return "racer" if live.facts.at - spent.at < self.rules.grace_seconds else "recent predecessor"
        home = live.facts.home()
        if shown.generation > record.generation and not home.is_restored:  # no thief has what has not been given yet
            raise StoreUnavailable("the store has lost the latest state of this session with its history")
        return "older lineage"

    # --- the current one

    def _replaced(self, shown: RefreshToken, live: Live) -> Plan[TokenPair | None]:
        """The new pair; None: somebody else was first, or ended the session."""
        stored, facts = live.stored, live.facts
        claims = yield from self._claims_of_today(live)
        ends_at = live.record.ends_at(facts.at)
        successor = shown.next(self.login.draw, facts.home().name, live.record.generation + 1, ends_at)
        salted = yield from self.issuer.salted(claims, live.record.subject)
        payload = self.login.payload(live.record, stored.sid, salted, ends_at)
        if payload["exp"] <= payload["iat"]:
            raise GrantError("the session ends this second")
        stamp = f"{facts.epoch.name}:{facts.end.position}"
        payload = yield from self.issuer.listed(self.standing.policy, payload, stamp)
        access_token, parsed = self.issuer.signed(self.standing.policy, payload, stamp)
        handles = session_handles(self.standing.policy, parsed)
        joined = yield from self._joined(parsed, handles, live)
        record = live.record.rotated(successor.digest, facts.at, self.rules.grace_seconds, claims, joined)
        pair = pair_of(access_token, successor, payload)
        self.login.check_size(pair)
        put = SessionChange(
            stored.sid,
            handles[1],
            record=record.encode(),
            expected=stored.record,
            handles=handles,
            ends_at=ends_at,
            seen_at=facts.at,
            successors=self._successors(shown, pair, record, live),
            successors_seconds=self.rules.grace_seconds,
            turn=record.generation,
        )
        written = yield Write((), self.login.clock.wall(), (put,))
        return None if written is None else pair

    def _claims_of_today(self, live: Live) -> Plan[Mapping[str, Any]]:
        """Those of the session, and over them what the application says now; None takes one away."""
        provider, claims = self.provider(), live.record.claims
        if provider is None:
            return claims
        told: Mapping[str, Any] | None = yield AskClaims(provider, live.session)
        if told is None:
            return claims
        fresh = self.issuer.own_claims({name: value for name, value in told.items() if name != "scope"})
        if "csrf" in fresh and self.rules.has_csrf:
            raise ValueError("claims may not set csrf: under JWTGATE_CSRF=double-submit the gate does")
        if "scope" in told:
            fresh["scope"] = scope_claim(told["scope"]).get("scope")
        return {name: value for name, value in {**claims, **fresh}.items() if value is not None}

    def _joined(self, parsed: ParsedToken, handles: tuple[bytes, ...], live: Live) -> Plan[dict[str, Joined]]:
        """Judges the new access token, and handles that the session did not have; returns since when it has each late one.

        What is issued, the same gate admits: no version too low, no tenant that was just cut off. A handle that only the
        settings made one is the session's since its login; one that its claims brought today, since today.

        Raises: GrantError; SubjectSuspended.
        """
        stored, record, policy, facts = live.stored, live.record, self.standing.policy, live.facts
        known = dict(zip(stored.handles, stored.rulings, strict=True))
        new = tuple(handle for handle in handles if handle not in known)
        if new:
            looked: Looked = yield LookUp(new)
            known.update(zip(new, looked.facts.rulings, strict=True))
        self._refuse_what_would_be_dead(parsed, [known[handle] for handle in handles], facts.epoch.name)
        had = _handles_so_far(live, policy) if new else frozenset[bytes]()
        if is_dead(policy, login_of(stored, record), [known[handle] for handle in new if handle in had], facts.epoch.name):
            raise GrantError("a ruling ends the session")
        now = Joined(f"{facts.epoch.name}:{facts.end.position}", facts.at)
        kept = {handle.hex(): record.joined.get(handle.hex()) for handle in handles}
        kept |= {handle.hex(): now for handle in new if handle not in had}
        return {handle: joined for handle, joined in kept.items() if joined is not None}

    def _refuse_what_would_be_dead(self, parsed: ParsedToken, rulings: list[bytes | None], epoch: str) -> None:
        policy = self.standing.policy
        issued = issued_of(parsed, policy.keys.candidates(parsed.header["alg"], parsed.header.get("kid")), policy)
        subject_sessions = 1
        for place, ruling in enumerate(readable(rulings)):
            if ruling is None or place == subject_sessions:
                continue
            if ruling.kills(issued, epoch, policy.leeway_seconds):
                if place == SUBJECT_PLACE and ruling.toggle is not None and ruling.toggle.is_revoked:
                    raise SubjectSuspended("the subject is suspended")
                raise GrantError("a ruling would kill the new access token at once")

    # --- a racer

    def _successors(self, shown: RefreshToken, pair: TokenPair, record: Record, live: Live) -> bytes:
        """The sealed pairs that racers may still ask for: digest of the spent token to what replaced it."""
        sealed = _read_successors(live.stored.successors)
        in_grace = {spent.digest for spent in record.spent if live.facts.at - spent.at < self.rules.grace_seconds}
        kept = {digest: text for digest, text in sealed.items() if digest in in_grace}
        text = json.dumps([pair.access_token, pair.refresh_token, pair.expires_in, pair.session_id, pair.token_type])
        kept[shown.digest] = seal(shown, text.encode(), self.login.draw(NONCE_BYTES))
        return json.dumps(kept, separators=(",", ":")).encode()

    def _current_pair(self, shown: RefreshToken, live: Live) -> TokenPair:
        """Follows the sealed pairs to the one whose refresh token is still good."""
        sealed = _read_successors(live.stored.successors)
        token = shown
        for _ in range(REMEMBERED_IN_GRACE):
            text = unseal(token, sealed.get(token.digest, ""))
            if text is None:
                break
            pair = TokenPair(*json.loads(text))
            token = RefreshToken.decode(pair.refresh_token)
            if token.digest == live.record.current:
                return pair
        raise StoreUnavailable("the successor of a refresh token was lost within its grace")

    def _is_kept(self, live: Live) -> Plan[bool]:
        """Writes the record as it is once more, so that a journal has it for certain. False: it is no longer the same.

        The rotation that made it may have reached the store alone: nobody gets a pair that a restored journal would not
        know, since the spent refresh token before it would then be good again.
        """
        stored = live.stored
        same = SessionChange(
            stored.sid,
            stored.handles[1],
            record=stored.record,
            expected=stored.record,
            handles=stored.handles,
            ends_at=stored.ends_at,
            seen_at=live.facts.at,
            successors=stored.successors,
            successors_seconds=self.rules.grace_seconds,
            turn=live.record.generation,
        )
        written: Written | None = yield Write((), self.login.clock.wall(), (same,))
        return written is not None

    # --- theft

    def _end_stolen(self, live: Live) -> Plan[None]:
        stored = live.stored
        until = self.standing.remembered_until(live.record, live.facts.at)
        changes = (Change(stored.handles[0], revoked=True, until=until),)
        ended, subject, issuer = SessionChange(stored.sid, stored.handles[1]), live.record.subject, self.standing.policy.issuer
        theft = AuditEvent("refresh_token_reuse", "sid", issuer=issuer, subject=subject, session_id=stored.sid)
        yield from self.revoker.revoke(changes, events=(theft,), wait=False, sessions=(ended,))


def _handles_so_far(live: Live, policy: IssuerPolicy) -> frozenset[bytes]:
    """What the session's claims name under the settings of today; nothing, where one is of a shape that names nothing."""
    try:
        return frozenset(claim_handles({**live.record.claims, "sub": live.record.subject, "sid": live.stored.sid}, policy))
    except MalformedToken:
        return frozenset()


def _read_successors(text: bytes) -> dict[str, str]:
    """Nothing, where no jwtgate wrote it: its racers then find no successor, and nobody else is disturbed."""
    if not text:
        return {}
    try:
        return {str(digest): str(sealed) for digest, sealed in json.loads(text).items()}
    except (ValueError, AttributeError, RecursionError):
        return {}
