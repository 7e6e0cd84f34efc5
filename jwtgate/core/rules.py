"""What the operator decided about requests, and the plain numbers that a process keeps of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from jwtgate.core.possession_rules import PossessionRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.core.exemption import Exemption
    from jwtgate.core.extraction import Extraction
    from jwtgate.core.policy import IssuerPolicy
    from jwtgate.errors import JWTGateError

__all__ = ["Rules", "Tally"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator decided about requests; see the settings of the same names."""

    policies: Mapping[str | None, IssuerPolicy]
    extraction: Extraction
    exemption: Exemption
    csrf: Literal["fetch-metadata", "double-submit", "off"]
    origins: frozenset[str]
    is_optional: bool
    verifies_first: bool
    max_token_bytes: int
    on_store_down: Literal["refuse", "cached", "admit"]
    is_allowlist: bool = False
    possession: PossessionRules = field(default_factory=PossessionRules)


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
