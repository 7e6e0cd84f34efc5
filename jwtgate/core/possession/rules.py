"""What the operator decided about sender-constrained tokens: data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jwtgate.core.possession.certificates import Certificates
from jwtgate.core.possession.proof import ProofRules

__all__ = ["PossessionRules"]


@dataclass(frozen=True, slots=True)
class PossessionRules:
    """What the operator decided; see the settings of the same names.

    Attributes:
        dpop: whether its scheme is ours.
        public_url: in normal form, without a slash at its end; under which clients reach us.
        proofs: what they must be like.
        certificates: where they are told.
    """

    dpop: Literal["off", "on", "required"] = "off"
    public_url: str = ""
    proofs: ProofRules = ProofRules((), 0.0)
    certificates: Certificates = Certificates()

    @property
    def headers(self) -> tuple[bytes, ...]:
        """Those that are read for all this, in lower case."""
        wanted = () if self.dpop == "off" else (b"dpop",)
        return wanted if self.certificates.header is None else (*wanted, self.certificates.header)

    @property
    def next_nonce(self) -> str | None:
        """What the next proof is to carry (RFC 9449 §8); None: nothing."""
        nonces = self.proofs.nonces
        return None if nonces is None else nonces.current()
