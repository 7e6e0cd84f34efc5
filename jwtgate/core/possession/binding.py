"""Sender-constrained tokens: what a token is bound to (``cnf``, RFC 7800), and whether a request shows that it holds it.

``jkt``: a DPoP proof, under the scheme DPoP (RFC 9449 §7). ``x5t#S256``: mutual TLS (RFC 8705 §3). Both: both. Anything else
is nothing that we can check, so nobody can show it.

Invariants:
  * Every request is asked, also one whose token is remembered; nothing that it showed is.
  * The store learns of a proof only after token and proof were verified. What it cannot vouch for is 503 whatever
    ``ON_STORE_DOWN`` says: that setting is about rulings that may have been missed, while a proof that was shown before is a
    thief's, who may well be the one who keeps the store from answering. A proof that may have been shown before history was
    lost is refused like that too, and no nonce would help: any other proof of that moment could have been shown as well.
  * The times of a proof are judged by the store's clock as well: it is the same for all workers, and the one by which a mark
    is forgotten.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.claims import Claims
from jwtgate.core.effects import Mark
from jwtgate.core.possession.errors import InvalidProof, ReplayedProof, WrongHolder
from jwtgate.core.possession.proof import AHEAD_SECONDS, Expected, Proof, verified_proof
from jwtgate.core.possession.target_uri import request_uri, whole_path
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from jwtgate.core.effects import Clock, Plan
    from jwtgate.core.history import Marked
    from jwtgate.core.possession.rules import PossessionRules
    from jwtgate.core.tally import Tally
    from jwtgate.messages import Credential, Request, Source

__all__ = ["Bond", "Possession", "bond_of"]

GROUP = "dpop"

_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}")
"""SHA-256 in base64url."""

_METHODS = frozenset({"jkt", "x5t#S256"})


@dataclass(frozen=True, slots=True)
class Bond:
    """What a token is bound to; at least one.

    Attributes:
        key: ``jkt``, RFC 9449 §6.1.
        certificate: ``x5t#S256``, RFC 8705 §3.1.
    """

    key: str | None
    certificate: str | None


def bond_of(cnf: object) -> Bond:
    """What a token's ``cnf`` says. Raises: WrongHolder: nothing that a request could show."""
    if not isinstance(cnf, Claims) or not cnf or not _METHODS.issuperset(cnf):
        raise WrongHolder("cnf is no object of jkt, x5t#S256 or both")
    if not all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in cnf.values()):
        raise WrongHolder("cnf holds what is no SHA-256 in base64url")
    return Bond(cnf.get("jkt"), cnf.get("x5t#S256"))


class Possession:
    """Asks requests for it. Without state."""

    __slots__ = ("clock", "rules", "tally")

    def __init__(self, rules: PossessionRules, clock: Clock, tally: Tally) -> None:
        self.rules = rules
        self.clock = clock
        self.tally = tally

    def check_form(self, bond: Bond | None, source: Source | None, *, is_dpop: bool, has_request: bool = True) -> None:
        """All that costs nothing: whether the request shows the token in the way in which such a token is shown.

        Raises: WrongHolder.
        """
        if bond is not None and (not has_request or source != "header"):
            raise WrongHolder("it is bound to its sender, which only a request can show that has it in Authorization")
        key = None if bond is None else bond.key
        if is_dpop and key is None:
            raise WrongHolder("a token under the scheme DPoP that is bound to no key")
        if not is_dpop and key is not None:
            raise WrongHolder("a token that is bound to a key is not under the scheme DPoP")
        if key is None and self.rules.dpop == "required":
            raise WrongHolder("JWTGATE_DPOP is required, and the token is bound to no key")

    def show(self, bond: Bond | None, shown: Credential, request: Request) -> Plan[None]:
        """Everything, for this request.

        Raises: WrongHolder. InvalidProof and its kin. StoreUnavailable: nobody knows whether the proof was shown before.
        """
        self.check_form(bond, shown.source, is_dpop=shown.is_dpop)
        if bond is None:
            return
        if bond.certificate is not None and self.rules.certificates.thumbprint(request) != bond.certificate:
            raise WrongHolder(
                "not the certificate that the token is bound to, or none that is believed: a header counts only on a connection"
                " from JWTGATE_TRUSTED_PROXIES whose address the server tells, and does not take out of another header"
            )
        if bond.key is not None:
            yield from self._prove(bond.key, shown, request)

    def _prove(self, thumbprint: str, shown: Credential, request: Request) -> Plan[None]:
        rules = self.rules
        uri = request_uri(rules.public_url, request.raw_path, whole_path(request.path, request.connection))
        if uri is None:
            raise InvalidProof("the request's path can be read in two ways")
        now = self.clock.wall()
        lines = [value for name, value in request.headers if name == b"dpop"]
        expected = Expected(request.method, uri, shown.token, thumbprint, now)
        proof = verified_proof(lines, expected, rules.proofs)
        until = proof.made_at + rules.proofs.window_seconds
        self.tally.look_ups += 1
        marked: Marked = yield Mark(GROUP, proof.name, b"", until, now)
        if not marked.is_new:
            raise ReplayedProof("the proof was shown before")
        self._check_vouched(proof, marked)

    def _check_vouched(self, proof: Proof, marked: Marked) -> None:
        earliest = proof.made_at - AHEAD_SECONDS
        if not earliest <= marked.at <= proof.made_at + self.rules.proofs.window_seconds:
            raise InvalidProof("iat is not within JWTGATE_DPOP_WINDOW by the store's clock")
        if earliest < marked.since:
            raise StoreUnavailable("the proof may have been shown before the store's history was lost")
