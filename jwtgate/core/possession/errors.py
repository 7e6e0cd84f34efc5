"""Refusals of sender-constrained tokens and of the proofs shown with them (RFC 9449 §7.1, §9)."""

from __future__ import annotations

from jwtgate.errors import CredentialError, InvalidToken

__all__ = ["InvalidProof", "NonceNeeded", "ReplayedProof", "WrongHolder"]


class WrongHolder(InvalidToken):
    """The token is bound to a key or a certificate, and the request does not show that it holds it; or the other way round."""

    reason = "wrong_holder"


class InvalidProof(CredentialError):
    """The DPoP proof is missing, repeated or fails a check of RFC 9449 §4.3."""

    status = 401
    error = "invalid_dpop_proof"
    description = "The DPoP proof is missing, invalid or not for this request."
    reason = "invalid_proof"

    @property
    def challenge(self) -> str | None:
        return "DPoP" + self._described().removeprefix("Bearer")


class ReplayedProof(InvalidProof):
    """RFC 9449 §11.1: a proof is good for one request."""

    reason = "replayed_proof"


class NonceNeeded(InvalidProof):
    """RFC 9449 §9: the proof carries no nonce of ours, or one that is over; the answer gives the one to use."""

    error = "use_dpop_nonce"
    description = "The DPoP proof must carry the nonce that this answer gives."
    reason = "nonce_needed"
