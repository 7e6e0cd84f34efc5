"""What the operator decided about requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from jwtgate.core.http.live_paths import LivePaths
from jwtgate.core.possession.rules import PossessionRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.core.http.exemption import Exemption
    from jwtgate.core.http.extraction import Extraction
    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = ["Rules"]


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
    is_renewing: bool = False
    possession: PossessionRules = field(default_factory=PossessionRules)
    live_paths: LivePaths = field(default_factory=LivePaths)
