"""Whether rulings, and the state of its session, let a token live: the questions that every decision asks of facts.

Facts come as the store encodes them. One that cannot be read is ``StoreUnavailable``: what it would say cannot be known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jwtgate.core.rulings import MAX_SKEW_SECONDS, Issued, Ruling, UnreadableRuling
from jwtgate.core.sessions.refresh_tokens import is_session_id
from jwtgate.core.sessions.stored import SUBJECT_PLACE
from jwtgate.core.tokens.verification import issued_of
from jwtgate.errors import Revoked, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jwtgate.core.history import Facts
    from jwtgate.core.keys.ring import Key
    from jwtgate.core.known import Known
    from jwtgate.core.possession.binding import Bond
    from jwtgate.core.tokens.parsing import ParsedToken
    from jwtgate.core.tokens.policy import IssuerPolicy

__all__ = [
    "Case",
    "LostSession",
    "hinges_on_epoch",
    "is_dead",
    "readable",
    "refuse_if_dead",
    "session_of",
    "session_seconds_left",
]


@dataclass(slots=True)
class Case:
    """One token on its way through the decision, past the free refusals."""

    parsed: ParsedToken
    policy: IssuerPolicy
    key: Key
    handles: tuple[bytes, ...]
    bond: Bond | None = None

    def issued(self) -> Issued:
        """Only a ruling asks for it, and most tokens meet none."""
        return issued_of(self.parsed, self.key, self.policy)


class LostSession(StoreUnavailable):
    """The store answers, and nobody can vouch for what it lacks: no policy makes that an admission."""


def readable(texts: Iterable[bytes | None]) -> list[Ruling | None]:
    """Decoded, in order. Raises: StoreUnavailable: one that no jwtgate wrote."""
    try:
        return [None if text is None else Ruling.decode(text) for text in texts]
    except UnreadableRuling as error:
        raise StoreUnavailable("a ruling cannot be read") from error


def is_dead(policy: IssuerPolicy, issued: Issued, rulings: Iterable[bytes | None], epoch: str) -> bool:
    """Whether any ruling kills a token issued so."""
    return any(ruling.kills(issued, epoch, policy.leeway_seconds) for ruling in readable(rulings) if ruling is not None)


def refuse_if_dead(case: Case, rulings: Iterable[bytes | None], epoch: str) -> None:
    """Raises: Revoked."""
    if is_dead(case.policy, case.issued(), rulings, epoch):
        raise Revoked("a ruling on one of its handles kills it")


def hinges_on_epoch(case: Case, known: Known) -> bool:
    """Whether a known cut-off of one epoch meets a stamp of another."""
    stamp = case.issued().stamp
    if stamp is None:
        return False
    cuts = (ruling.not_before for ruling in readable(known.rulings) if ruling is not None)
    return any(cut is not None and cut.epoch != stamp[0] for cut in cuts)


def session_of(case: Case) -> str:
    """The name of a token's session, under ``VALIDITY=allowlist``.

    Raises: Revoked: it names none of ours; no other text of a stranger's becomes a name in the store.
    """
    sid = case.parsed.claims.get("sid")
    if not is_session_id(sid):
        raise Revoked("it is of no session of ours")
    return str(sid)


def session_seconds_left(case: Case, facts: Facts) -> float:
    """How long a token's session lives, by the store that was asked for it.

    It must be the session of this very issuer and subject. An absent one has ended, unless the token is older than the
    history in which it is missing, and no journal was put back in that: then it may have been lost (L3).

    Raises: Revoked. LostSession.
    """
    stored = facts.sessions[0]
    if stored is None and _is_older(case.issued(), facts):
        raise LostSession("the session may have been lost with the store's history")
    if stored is not None and not stored.is_ended and not (stored.record and len(stored.handles) > SUBJECT_PLACE):
        raise StoreUnavailable("a stored session cannot be read")
    if stored is None or stored.is_ended or not {stored.handles[0], stored.handles[SUBJECT_PLACE]} <= set(case.handles):
        raise Revoked("its session is not live")
    return stored.ends_at - facts.at


def _is_older(issued: Issued, facts: Facts) -> bool:
    """Than the history that holds its session. Stamps are of partition 0; elsewhere times decide, as far as clocks agree."""
    home = facts.home()
    if home.is_restored:
        return False
    if home.name == facts.epoch.name:
        return issued.stamp is not None and issued.stamp[0] != home.name
    return issued.stamp is not None and (issued.at is None or issued.at <= home.birth + MAX_SKEW_SECONDS)
