"""The tokens that were admitted before, and when memory alone may admit one again: the way of nearly every request.

Invariant: only what the one decision put there is found, under the digest of the very bytes and of where they were; it
is served under a live lease and before its deadline (R1), or, under ``ON_STORE_DOWN=cached``, within the grace (F2).
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from jwtgate.core.http.extraction import CANONICAL_SCHEME

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.effects import Clock
    from jwtgate.core.live import LiveConnection
    from jwtgate.core.lru import Admitted
    from jwtgate.core.rules import Rules
    from jwtgate.core.tally import Tally
    from jwtgate.core.view import View
    from jwtgate.messages import Source

__all__ = ["Recollection"]


class Recollection:
    """See the module. Takes no lock."""

    def __init__(self, rules: Rules, view: View, clock: Clock, store_is_down: Callable[[], bool], tally: Tally) -> None:
        self.rules = rules
        self.view = view
        self.clock = clock
        self.boot = clock.boot
        self.store_is_down = store_is_down
        self.tally = tally
        self._nothing = sha256()
        self._find = view.admitted.get
        self._touch = view.admitted.touch
        self._note = view.seen.note
        self._has_bound = False
        self._has_grace = rules.on_store_down == "cached"

    def hit(self, authorization: bytes) -> Admitted | None:
        """The hot path: a token admitted before, under a live lease or in the grace, and before its deadline; else None.

        One digest, one clock read, two comparisons; no lock, no generator. Nothing is parsed: only the bytes of
        a value that was once found well-formed and admitted lead anywhere.

        Args: authorization: the field value, whole; its length is bounded by the caller.
        """
        digest = self._nothing.copy()
        digest.update(authorization)
        return self._recall(digest.digest())

    def key_of(self, token: bytes, source: Source | None) -> bytes:
        """SHA-256 of the token and where it was found: no bearer secret stays in memory.

        For a header it is that of the whole canonical value, which the hot path need not take apart; for the other places
        it is longer, so that no header's bytes can lead to a cookie's entry.
        """
        if source == "header":
            return sha256(CANONICAL_SCHEME + token).digest()
        return sha256(token).digest() + str(source).encode()

    def bound_key_of(self, token: bytes, source: Source | None) -> bytes:
        """The same for a token that is bound to its sender: longer, so that ``hit``, which asks for nothing, never finds it."""
        return sha256(token).digest() + f"bound {source}".encode()

    def vouches(self, live: LiveConnection) -> bool:
        """Whether a message of a connection may pass on what is known: by the rule of ``hit``."""
        now = self.boot()
        is_trusted = now < self.view.lease_until or (self._has_grace and self._is_in_grace(now))
        return live.is_vouched and now < live.deadline and is_trusted

    def forgo_hits(self) -> None:
        """From now on a plan decides every request: ``hit`` could ask nobody. Swapped, so that no other gate pays a test."""
        self.hit = _miss  # type: ignore[method-assign]  # shadows the method, in this object alone

    def _recall(self, key: bytes) -> Admitted | None:
        entry = self._find(key)
        if entry is None:
            return None
        now = self.boot()
        if now < entry.deadline and (now < self.view.lease_until or (self._has_grace and self._is_in_grace(now))):
            try:
                self._touch(key)
            except KeyError:  # evicted this instant
                return None
            self.tally.hits += 1
            if not entry.is_seen:
                self._note(entry)
            return entry
        return None

    def _remembered(self, token: bytes, source: Source | None) -> Admitted | None:
        if len(token) > self.rules.max_token_bytes:
            return None
        entry = self._recall(self.key_of(token, source))
        if entry is None and self._has_bound:
            return self._recall(self.bound_key_of(token, source))
        return entry

    def _is_in_grace(self, now: float) -> bool:
        """``cached``: while the store is down and within the grace that was registered (F2)."""
        return now < self.view.grace_until and self.store_is_down()


def _miss(authorization: bytes) -> None:
    """``Decision.hit`` of a gate that may decide nothing without asking."""
