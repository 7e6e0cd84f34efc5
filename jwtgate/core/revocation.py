"""Which rulings a revocation writes, on which handles, and until when they must be remembered.

``jti``, ``sid`` and ``token`` write ``revoked``; ``sub``, ``claim`` and ``everything`` write ``not_before``; a suspension is
``revoked`` on the subject without an end. A handle belongs to a configured issuer, never to what a claim says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from jwtgate.audit import AuditEvent
from jwtgate.core.effects import Looked, LookUp, Plan
from jwtgate.core.handles import digest_of
from jwtgate.core.keys.derived import SALT_CLAIM, salt_handle
from jwtgate.core.providers.upstream import Link
from jwtgate.core.rulings import MARGIN_SECONDS, VERSION_LIMIT, Change
from jwtgate.core.tokens.issuance import salt_in_force
from jwtgate.core.tokens.parsing import LATEST_DATE, parse
from jwtgate.core.tokens.verification import expires_from, handles_of, select, verify_signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = ["Targets"]


class Targets:
    """Makes changes from the arguments of ``Gate.revoke`` and its kin. Raises before anything is written."""

    def __init__(self, policies: Mapping[str | None, IssuerPolicy], max_token_bytes: int, session_seconds: float = 0.0) -> None:
        """Args: session_seconds: the longest life of a session: no cut-off is forgotten before."""
        self.policies = policies
        self.max_token_bytes = max_token_bytes
        self.session_seconds = session_seconds

    def revoked(  # noqa: PLR0913 - the fixed public arguments of Gate.revoke
        self,
        now: float,
        *,
        token: str | None,
        jti: str | None,
        sid: str | None,
        sub: str | None,
        claim: tuple[str, str] | None,
        everything: bool,
        access_only: bool,
        issuer: str | None,
        expires_at: float | None,
    ) -> tuple[Change, ...]:
        """Raises: TypeError: not exactly one target. ValueError: a malformed value. InvalidToken: ``token`` is not ours."""
        named = {"token": token, "jti": jti, "sid": sid, "sub": sub, "claim": claim}
        targets = [name for name, value in named.items() if value is not None]
        if not isinstance(everything, bool) or len(targets) + everything != 1:
            raise TypeError("revoke takes exactly one of token, jti, sid, sub, claim and everything=True")
        if not isinstance(access_only, bool):
            raise ValueError("access_only must be True or False")  # noqa: TRY004 - a malformed value
        if access_only and sub is None:
            raise TypeError("access_only goes with sub")
        if token is not None and (issuer is not None or expires_at is not None):
            raise ValueError("token= tells its issuer and its end itself: issuer= and expires_at= do not go with it")
        if token is not None:
            return (self.token(token, now),)
        policy = self.policy(issuer)
        until = self._until(policy, now, expires_at)
        # A cut-off ends sessions, too, and is remembered as long as the longest one lives, whatever is known of the tokens.
        cut_until = max(until, self._until(policy, now, None))
        if everything:
            return (Change(digest_of(policy.namespace, "all", ""), cuts_off=True, until=cut_until),)
        if claim is not None:
            kind, value = _pair(claim, policy)
            return (self._change(policy, kind, value, cut_until, cuts_off=True),)
        if sub is not None:
            access = self._change(policy, "sub", sub, until, cuts_off=True)
            return (access,) if access_only else (access, self._sessions(policy, sub, now))
        if jti is not None:
            return (self._change(policy, "jti", jti, until, revoked=True),)
        return (self._change(policy, "sid", sid, until, revoked=True),)

    def subject(self, policy: IssuerPolicy, sub: str, now: float) -> tuple[Change, ...]:
        """All that a subject has now, tokens and sessions."""
        return self._change(policy, "sub", sub, self._until(policy, now, None), cuts_off=True), self._sessions(policy, sub, now)

    def session(self, policy: IssuerPolicy, sid: str, now: float) -> Change:
        """One session."""
        return self._change(policy, "sid", sid, self._until(policy, now, None), revoked=True)

    def _sessions(self, policy: IssuerPolicy, sub: str, now: float) -> Change:
        """Remembered as long as the longest session lives, whatever is known of the tokens."""
        return self._change(policy, "sessions", sub, self._until(policy, now, None), cuts_off=True)

    @staticmethod
    def keys(handles: Iterable[bytes]) -> tuple[Change, ...]:
        """Every token that these keys have signed or will sign: a key that leaked forges for ever."""
        return tuple(Change(handle, revoked=True) for handle in handles)

    def renewed_key(self, sub: str, issuer: str | None) -> Plan[tuple[Change, ...]]:
        """The subject's own key retired, under every secret of ours, and its next number; after one look-up.

        Raises: ValueError: no key of that issuer is derived. StoreUnavailable: which key it has now cannot be known.
        """
        policy = self.policy(issuer)
        keys = [key for key in policy.keys.keys if key.deriving is not None]
        if not keys:
            raise ValueError("renew_key needs JWTGATE_DERIVED_KEYS and a secret that signs: no subject has a key of its own")
        self.handle(policy, "sub", sub)
        salt = salt_handle(policy.namespace, sub)
        looked: Looked = yield LookUp((salt,))
        number = salt_in_force(looked.facts, 0)
        derived = [key.of_subject({"sub": sub, SALT_CLAIM: number}) for key in keys]
        retired = self.keys(key.subject_handle for key in derived if key.subject_handle is not None)
        return (*retired, Change(salt, min_version=number + 1))

    def suspended(self, sub: str, issuer: str | None) -> tuple[Change, ...]:
        """Refused until lifted: no end."""
        return (self._change(self.policy(issuer), "sub", sub, None, revoked=True),)

    def reinstated(self, sub: str, issuer: str | None, now: float) -> tuple[Change, ...]:
        """Lifting is a ruling too; it is remembered as long as a token may live."""
        policy = self.policy(issuer)
        return (self._change(policy, "sub", sub, self._until(policy, now, None), revoked=False),)

    def versioned(self, sub: str, version: int, issuer: str | None, now: float) -> tuple[Change, ...]:
        """Raises: ValueError: no version claim is configured, or the version is not an integer from 0 to 10**14 - 1."""
        policy = self.policy(issuer)
        if policy.version_claim is None:
            raise ValueError("require_version needs JWTGATE_VERSION_CLAIM, the claim that holds a token's version")
        if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version < VERSION_LIMIT:
            raise ValueError("version must be an integer from 0 to 10**14 - 1")
        digest = self.handle(policy, "sub", sub)
        return (Change(digest, min_version=version, until=self._until(policy, now, None)),)

    def policy(self, issuer: str | None) -> IssuerPolicy:
        """The issuer that a handle belongs to. Raises: ValueError: not a configured one, or several and none named."""
        if issuer is None:
            if len(self.policies) == 1:
                return next(iter(self.policies.values()))
            raise ValueError("several issuers are configured: issuer= must name one of them")
        if not isinstance(issuer, str) or issuer not in self.policies:
            raise ValueError("issuer= must be a configured issuer (JWTGATE_ISSUER, JWTGATE_ISSUERS)")
        return self.policies[issuer]

    def handle(self, policy: IssuerPolicy, kind: str, value: object) -> bytes:
        """The digest of a handle. Raises: ValueError: the value could not stand in a token."""
        if not isinstance(value, str) or not 0 < len(value) <= self.max_token_bytes:
            raise ValueError(f"{kind} must be a text of 1 to {self.max_token_bytes} characters: no token carries more")
        try:
            return digest_of(policy.namespace, kind, value)
        except UnicodeEncodeError:
            raise ValueError(f"{kind} must be text that UTF-8 can carry") from None

    def ended(self, policy: IssuerPolicy, sid: str | None, sub: str | None, at: float, now: float) -> tuple[Change, ...]:
        """What a provider says has ended: one session, or without ``sid`` all that its subject had by ``at``.

        With both, tokens that name no session may be of this one: those of the subject that were issued by then are dead, too.
        """
        until = self._until(policy, now, None)
        if sid is not None:
            session = Change(self.handle(policy, "sid", sid), revoked=True, until=until)
            if sub is None:
                return (session,)
            return session, Change(self.handle(policy, "sub_without_sid", sub), until=until, cut_at=at)
        return tuple(Change(self.handle(policy, kind, sub), until=until, cut_at=at) for kind in ("sub", "sessions"))

    def jti(self, policy: IssuerPolicy, jti: str, now: float) -> Change:
        """One token."""
        return self._change(policy, "jti", jti, self._until(policy, now, None), revoked=True)

    def link(self, upstream: object) -> Link:
        """To what ``Sessions.start`` names. Raises: ValueError."""
        if not isinstance(upstream, tuple) or len(upstream) != 3:  # pyright: ignore[reportUnknownArgumentType] - checked here
            raise ValueError("upstream must be a tuple: (issuer, sid or None, sub or None)")
        issuer, sid, sub = cast("tuple[object, object, object]", upstream)
        policy = self.policy(issuer)  # type: ignore[arg-type]
        if sid is None and sub is None:
            raise ValueError("upstream must name a sid, a sub, or both")
        for kind, value in (("sid", sid), ("sub", sub)):
            if value is not None:
                self.handle(policy, kind, value)
        return Link.to(policy.namespace, cast("str | None", sid), cast("str | None", sub), policy.leeway_seconds)

    def _change(
        self,
        policy: IssuerPolicy,
        kind: str,
        value: object,
        until: float | None,
        *,
        revoked: bool | None = None,
        cuts_off: bool = False,
    ) -> Change:
        return Change(self.handle(policy, kind, value), revoked=revoked, cuts_off=cuts_off, until=until)

    def token(self, token: str, now: float) -> Change:
        """The jti, or the signing input where there is none; never the session. An expired token is fine."""
        if not isinstance(token, str):
            raise ValueError("token must be a text")  # noqa: TRY004 - a malformed value, as the interface has it
        parsed = parse(token.encode("utf-8", "replace"), self.max_token_bytes)
        policy, key = select(parsed, self.policies)
        verify_signature(parsed, key)
        end = expires_from(parsed.claims, policy)
        until = now + policy.max_ttl_seconds if end is None else end
        return Change(handles_of(parsed, policy)[0], revoked=True, until=until + policy.leeway_seconds + MARGIN_SECONDS)

    def token_event(self, token: str) -> AuditEvent:
        """What is told of a token that ``token`` has taken."""
        parsed = parse(token.encode("utf-8", "replace"), self.max_token_bytes)
        policy, _ = select(parsed, self.policies)
        claims = parsed.claims
        return AuditEvent(
            "revocation",
            "token",
            issuer=policy.issuer,
            subject=claims.get("sub"),
            session_id=claims.get("sid"),
            token_id=claims.get("jti"),
        )

    def _until(self, policy: IssuerPolicy, now: float, expires_at: object) -> float:
        end: float = now + max(policy.max_ttl_seconds, self.session_seconds)
        if expires_at is not None:
            if isinstance(expires_at, bool) or not isinstance(expires_at, int | float):
                raise ValueError("expires_at must be a NumericDate, seconds since 1970")
            if not 0 <= expires_at <= LATEST_DATE:
                raise ValueError("expires_at must be a NumericDate, seconds since 1970")
            end = float(expires_at)
        return end + policy.leeway_seconds + MARGIN_SECONDS


def _pair(claim: tuple[object, ...], policy: IssuerPolicy) -> tuple[str, object]:
    allowed = ("client_id", *policy.handle_claims)
    if not isinstance(claim, tuple) or len(claim) != 2 or claim[0] not in allowed:
        raise ValueError(f"claim must be a pair (name, value) with a name of {', '.join(allowed)} (JWTGATE_HANDLES)")
    return str(claim[0]), claim[1]
