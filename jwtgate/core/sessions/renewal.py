"""A new access token after so many requests of a session, the old one dead from then on (``ROTATE_AFTER``).

Requests are counted per process, with the remembered token. The new token is the old one under another ``jti``: it ends when
the old one would have, and keeps its ``iat`` and its stamp. Stamped anew it would outlive a cut-off that is written while it
is made: between the decision and the write somebody may have logged out everywhere.

Invariants:
  * Never two from one: the old ``jti`` is revoked by a write that is made only while it is not; whoever comes second gets none.
  * Never none from one: the new token is made, and held against the gate's own rules, before the old one is revoked.
  * It happens when the response starts: until then the application may use the token that it was shown, and it is left be
    where the response brings another one of its own, a login or a logout.

The request was admitted: nothing that goes wrong here fails it. Where the store does not answer the next request tries again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jwtgate.core.effects import Plan, Write
from jwtgate.core.handles import digest_of
from jwtgate.core.http.cookies import MAX_COOKIE_BYTES, access_cookie
from jwtgate.core.rulings import MARGIN_SECONDS, MAX_SKEW_SECONDS, Change
from jwtgate.core.sessions.stored import Guard
from jwtgate.errors import KeysUnavailable, StoreUnavailable, UnknownKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jwtgate.core.history import Written
    from jwtgate.core.http.cookies import CookieRules
    from jwtgate.core.lru import Admitted
    from jwtgate.core.tokens.issuance import Issuer
    from jwtgate.core.tokens.policy import IssuerPolicy
    from jwtgate.core.view import View
    from jwtgate.messages import Request, Token

__all__ = ["ACCESS_TOKEN_HEADER", "Renewal", "Renewed"]

ACCESS_TOKEN_HEADER = "X-Access-Token"  # noqa: S105 - the name of a field
"""Of the response, where the token came in ``Authorization``."""

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a response carries beside what the application says: a field with the new token, and that nobody may store it."""

    name: str
    value: str = field(repr=False)

    def added_to(self, headers: Iterable[Header]) -> list[Header]:
        """The application's fields with these; its ``Cache-Control`` does not stand (RFC 9111 §5.2.2.5)."""
        kept = [header for header in headers if header[0].lower() != "cache-control"]
        return [*kept, ("Cache-Control", "no-store"), (self.name, self.value)]


class Renewal:
    """Of one gate. Keeps nothing itself: the count stands with the remembered token."""

    def __init__(
        self,
        after: int,
        issuer: Issuer,
        view: View,
        cookies: CookieRules,
        store_is_down: Callable[[], bool],
    ) -> None:
        """Args: after: requests. store_is_down: whether the store failed and nobody has been through since."""
        self.after = after
        self.issuer = issuer
        self.clock = issuer.clock
        self.view = view
        self.cookies = cookies
        self.store_is_down = store_is_down

    def is_due(self, entry: Admitted, request: Request) -> bool:
        """Counts a request that was admitted, and says whether its response is to carry a new token.

        Two threads may count as one: then it comes a request later. A handshake has no response that a script could read.
        """
        if request.is_websocket or entry.token.source not in {"header", "cookie"}:
            return False
        entry.served += 1
        return entry.served >= self.after and self._policy_of(entry.token) is not None

    def renew(self, entry: Admitted, headers: Sequence[Header]) -> Plan[Renewed | None]:
        """The new token in place of an admitted one; None: this response carries none.

        Args: headers: that the application answers with.
        """
        token = entry.token
        policy = self._policy_of(token)
        if policy is None or token.token_id is None or self._brings_its_own(token, headers) or self.store_is_down():
            return None
        try:
            renewed = yield from self._renewed(policy, token)
        except StoreUnavailable:  # the old one is as good as it was
            return None
        if renewed is None:
            return None
        handle = digest_of(policy.namespace, "jti", token.token_id)
        until = (token.expires_at or 0) + policy.leeway_seconds + MARGIN_SECONDS
        now = self.clock.wall()
        change = Change(handle, revoked=True, until=until, cut_at=now + MAX_SKEW_SECONDS)  # see ``Ruling.replaces``
        try:
            written: Written | None = yield Write((change,), now, guard=Guard(not_revoked=(handle,)))
        except StoreUnavailable:  # nobody knows whether it was written: better two for a while than none
            return renewed
        if written is None:
            return None
        self.view.learn(written, (handle,))
        return renewed

    def _policy_of(self, token: Token) -> IssuerPolicy | None:
        """The issuer of a token that is of a session of ours; None: it is not."""
        policy = self.issuer.policies.get(token.issuer) or self.issuer.policies.get(None)
        if policy is None or policy.keys.signer is None:
            return None
        try:
            is_own = policy.keys.candidates(token.header["alg"], token.header.get("kid")).is_own
        except (UnknownKey, KeysUnavailable):  # taken away since the token was admitted
            return None
        is_of_session = None not in (token.session_id, token.token_id, token.expires_at, token.claims.get("jgp"))
        return policy if is_own and is_of_session else None

    def _brings_its_own(self, token: Token, headers: Sequence[Header]) -> bool:
        """Whether the application's response sets or clears what ours would."""
        if token.source == "cookie":
            ours = self.cookies.access_name
            return any(name.lower() == "set-cookie" and value.partition("=")[0].strip() == ours for name, value in headers)
        return any(name.lower() == ACCESS_TOKEN_HEADER.lower() for name, _ in headers)

    def _renewed(self, policy: IssuerPolicy, token: Token) -> Plan[Renewed | None]:
        """None: the gate would not admit it, or a browser not keep it: it ends this second, or other keys made it longer."""
        claims = {**token.claims, "jti": self.issuer.draw_token_id()}
        claims = yield from self.issuer.listed(policy, claims, token.claims["jgp"])
        try:
            text, _ = self.issuer.signed(policy, claims, token.claims["jgp"])
        except ValueError:
            return None
        if token.source == "header":
            return Renewed(ACCESS_TOKEN_HEADER, text)
        cookie = access_cookie(self.cookies, text, int((token.expires_at or 0) - self.clock.wall()))
        return Renewed("Set-Cookie", cookie) if len(cookie) <= MAX_COOKIE_BYTES else None
