"""Judges histories of many processes by the promise alone: it knows what was decided and what was revoked, not how.

All times are CLOCK_MONOTONIC seconds, which every process of a machine shares.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Verdict = Literal["admitted", "refused", "unavailable", "other"]

VERDICTS: tuple[Verdict, ...] = ("admitted", "refused", "unavailable", "other")


@dataclass(frozen=True, slots=True)
class Decision:
    """One request, from before it reached the gate to after its answer."""

    start: float
    end: float
    token: str
    verdict: Verdict
    process: str = ""


@dataclass(frozen=True, slots=True)
class Revocation:
    """One call that kills tokens.

    Attributes:
        began: before the call.
        doubtful: tokens that were issued afterwards and may all the same be refused, which is counted and not forgiven.
        killed: tokens that must be dead from ``dead_from`` on.
        touched: tokens that may be refused from ``began`` on; those killed are among them without being named.
        dead_from: a receipt that holds everywhere: when it was returned; another: its ``effective_by``, or one reach after
            it was returned if that is earlier. None: nothing was promised (the call raised).
        returned: when the receipt was; None as above.
        is_everywhere: what the receipt says.
        lifted_from, lifted_until: a suspension: before the call that lifts it; from when nothing of it may linger.
    """

    began: float
    killed: frozenset[str] = frozenset()
    touched: frozenset[str] = frozenset()
    dead_from: float | None = None
    lifted_from: float = inf
    lifted_until: float = inf
    name: str = ""
    returned: float | None = None
    is_everywhere: bool = False
    doubtful: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Absence:
    """A stretch in which a process was late to run, and the part of it in which it did not run at all."""

    start: float
    end: float
    seconds: float

    def within(self, start: float, end: float) -> float:
        """What of it can have held up a request."""
        return min(self.seconds, max(0.0, min(end, self.end) - max(start, self.start)))


@dataclass(slots=True)
class Findings:
    """What is wrong, and how much was seen at all."""

    violations: list[str] = field(default_factory=list)
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    tested_kills: int = 0
    """Revoked tokens that were admitted before and shown again after their receipt."""

    latest_after_receipt: float = -inf
    """Longest from a receipt that holds everywhere to the last request that began later and was admitted."""

    latest_after_call: float = -inf
    """The same for those receipts that only promise to hold soon."""

    doubtful: int = 0
    """Refusals that only a cut-off from before the token was issued explains, since its history was lost."""

    slowest: float = 0.0
    """Longest that a request took, without what its process was not running for."""

    proofs: int = 0
    """Proofs of possession that were admitted; each was shown by every worker, twice."""

    shown_again: int = 0
    """Requests that showed one after it was admitted."""


def check(
    decisions: Iterable[Decision],
    revocations: Iterable[Revocation],
    *,
    patience: float = inf,
    absences: Mapping[str, Sequence[Absence]] | None = None,
) -> Findings:
    """Holds each decision against every revocation of its token.

    (a, b) none is admitted that began after the receipt held, everywhere (a) or at the time it named (b); (c) every answer
    is one of the gate's; (d) none takes longer than ``patience`` seconds; (e) none is refused that nobody revoked.
    """
    found = Findings()
    killing: dict[str, list[Revocation]] = defaultdict(list)
    touching: dict[str, list[Revocation]] = defaultdict(list)
    doubting: dict[str, list[Revocation]] = defaultdict(list)
    for revocation in revocations:
        for token in revocation.killed:
            killing[token].append(revocation)
        for token in revocation.killed | revocation.touched:
            touching[token].append(revocation)
        for token in revocation.doubtful:
            doubting[token].append(revocation)
    admitted: set[str] = set()
    shown_after: set[str] = set()
    for decision in decisions:
        found.verdicts[decision.verdict] += 1
        kills = [one for one in killing[decision.token] if _promises(one, decision)]
        if kills:
            shown_after.add(decision.token)
        match decision.verdict:
            case "other":
                found.violations.append(f"(c) neither admitted nor refused nor unavailable: {decision}")
            case "admitted":
                admitted.add(decision.token)
                _note_admission(found, decision, killing[decision.token])
                if kills:
                    letter = "a" if any(one.is_everywhere for one in kills) else "b"
                    found.violations.append(f"({letter}) admitted after its receipt: {decision} {_short(kills[0])}")
            case "refused" if any(_explains(one, decision) for one in touching[decision.token]):
                pass
            case "refused" if any(_explains(one, decision) for one in doubting[decision.token]):
                found.doubtful += 1
            case "refused":
                known = [_short(one) for one in touching[decision.token]]
                found.violations.append(f"(e) refused and never revoked: {decision} {known}")
        _note_duration(found, decision, patience, (absences or {}).get(decision.process, ()))
    found.tested_kills = len(admitted & shown_after)
    return found


def check_once(
    found: Findings,
    shown: Sequence[Mapping[str, Any]],
    *,
    since: float = 0.0,
    patience: float = inf,
    absences: Mapping[str, Sequence[Absence]] | None = None,
) -> None:
    """(g) no proof of possession is admitted a second time, in any process; (c, d) as of ``check``."""
    admitted: dict[str, Mapping[str, Any]] = {}
    for each in sorted(shown, key=lambda each: float(each["end"])):
        before = admitted.get(each["id"])
        is_due = each["end"] >= since
        if each["status"] == 200:
            admitted.setdefault(each["id"], each)
        if not is_due:
            continue
        if before is not None:
            found.shown_again += 1
        elif each["status"] == 200:
            found.proofs += 1
        if before is not None and each["status"] == 200:
            found.violations.append(f"(g) shown again and admitted again: {each} after {before}")
        if each["status"] not in (200, 401, 503):
            found.violations.append(f"(c) neither admitted nor refused nor unavailable: {each}")
        request = Decision(each["start"], each["end"], each["id"], "other", each["process"])
        _note_duration(found, request, patience, (absences or {}).get(each["process"], ()))


def _note_admission(found: Findings, decision: Decision, kills: list[Revocation]) -> None:
    for one in kills:
        if one.returned is None or decision.end >= one.lifted_from:
            continue
        late = decision.start - one.returned
        if one.is_everywhere:
            found.latest_after_receipt = max(found.latest_after_receipt, late)
        else:
            found.latest_after_call = max(found.latest_after_call, late)


def _note_duration(found: Findings, decision: Decision, patience: float, absences: Sequence[Absence]) -> None:
    seconds = decision.end - decision.start
    if seconds <= min(found.slowest, patience):
        return
    seconds -= sum(each.within(decision.start, decision.end) for each in absences)
    found.slowest = max(found.slowest, seconds)
    if seconds > patience:
        found.violations.append(f"(d) took {seconds:.3f} s: {decision}")


def _promises(revocation: Revocation, decision: Decision) -> bool:
    dead_from = revocation.dead_from
    return dead_from is not None and decision.start > dead_from and decision.end < revocation.lifted_from


def _explains(revocation: Revocation, decision: Decision) -> bool:
    return revocation.began <= decision.end and decision.start <= revocation.lifted_until


def _short(revocation: Revocation) -> str:
    return (
        f"by {revocation.name} began {revocation.began} dead_from {revocation.dead_from} "
        f"lifted {revocation.lifted_from} to {revocation.lifted_until}"
    )
