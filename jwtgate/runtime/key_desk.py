"""Where keys from files and keys from URLs meet: the one place that changes the keys of a running gate.

Invariant: what requests find is one ring per issuer, put there in one step; the view learns at the same time which keys verify,
so that no token stays remembered under one that is gone. Two threads come here, the follower's and the fetcher's, in turn.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.core.keys.ring import KeyRing
    from jwtgate.core.tokens.policy import IssuerPolicy
    from jwtgate.core.view import View

__all__ = ["KeyDesk"]


class KeyDesk:
    """One per gate and process."""

    def __init__(
        self, policies: Mapping[str | None, IssuerPolicy], configured: Mapping[str | None, KeyRing], view: View
    ) -> None:
        """Args: policies: the gate's own, to be given their keys. configured: the keys of its settings."""
        self.policies = policies
        self.view = view
        self._lock = threading.Lock()
        self._fetched: dict[str | None, KeyRing] = {}
        self.configure(configured)

    def changes_at(self) -> float:
        """When the configured keys are others by the passing of time alone. NumericDate."""
        return min(ring.changes_at for ring in self._configured.values())

    def configure(self, rings: Mapping[str | None, KeyRing]) -> None:
        """The keys of the settings, read anew."""
        with self._lock:
            self._configured = dict(rings)
            self._turn()

    def fetch(self, issuer: str | None, ring: KeyRing) -> None:
        """What came from an issuer's URL, instead of what came before."""
        with self._lock:
            self._fetched[issuer] = ring
            self._turn()

    def _turn(self) -> None:
        for issuer, policy in self.policies.items():
            fetched = self._fetched.get(issuer)
            policy.turn_to(self._configured[issuer] if fetched is None else self._configured[issuer].joined(fetched))
        self.view.turn_to(frozenset[bytes]().union(*(policy.wide_handles for policy in self.policies.values())))
