"""One run: a store, a fault that happens again and again, a seed; and what the checker says of it."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from faults import of_databases, of_groups
from faults.faults import FAULTS, LeftOut
from faults.recovery import lapsed, recovered_at
from faults.scene import Scene
from faults.stores import STORES, WHY_NOT
from processes.revoker import TOLD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.faults import Fault, Happening
    from processes.checker import Decision

assert of_databases
assert of_groups
"""They put their faults into the table."""

LEASE = 1.0
CALM_SECONDS = (0.8, 2.5)
LIVE_SECONDS = 20.0
RECOVERY_SECONDS = 2.0
HEALING_LEASES = 2.5
"""Two leases of watching, and the jitter of healers and loaders."""

MIX = "mixed"
MIX_SECONDS = 1.0
KEPT = 20


@dataclass
class Injection:
    """One time that it happened.

    Attributes:
        loses_history: whether one of those that did happen may lose it.
        waited: fault to how many seconds later than planned it could do what it does.
        left_out: fault to why it did not happen at all.
        recovered: seconds from its end, None where a worker never was.
    """

    names: list[str]
    began: float
    ended: float
    loses_history: bool
    waited: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    recovered: float | None = None


@dataclass
class Row:
    """What one run was and what it found; one line of the results file."""

    store: str
    fault: str
    seed: int
    seconds: float
    lease: float
    version: str = ""
    requests: int = 0
    per_second: float = 0.0
    verdicts: dict[str, int] = field(default_factory=dict)
    revocations: int = 0
    everywhere: int = 0
    raised: int = 0
    tested_kills: int = 0
    latest_after_receipt: float | None = None
    latest_after_call: float | None = None
    slowest: float = 0.0
    patience: float = 0.0
    away: float = 0.0
    """Longest that a worker did not get to run, faults that stop it aside."""

    calm_503: int = 0
    """Requests answered 503 while nothing was wrong and all had recovered."""

    doubtful: int = 0
    """Requests refused for a cut-off that came before the token, within a minute of it and after lost history."""

    told: int = 0
    """Of the revocations, those that a provider told of: rulings by a time."""

    proofs: int = 0
    """Proofs of possession admitted, once each."""

    shown_again: int = 0
    """Requests with a proof that had been admitted before."""

    injections: list[Injection] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    violation_count: int = 0

    @property
    def key(self) -> tuple[str, str, int, float]:
        """What is not run twice."""
        return (self.store, self.fault, self.seed, self.seconds)

    def shape(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def why_not(store: Any, fault: str) -> str | None:
    """The reason why a fault cannot happen to a store, or None."""
    if fault == MIX:
        return None
    missing = sorted(FAULTS[fault].needs - store.powers)
    return WHY_NOT[missing[0]] if missing else None


def run(store_name: str, fault: str, seed: int, seconds: float, *, lease: float = LEASE, cripple: str | None = None) -> Row:
    """Args: fault: a name in ``FAULTS``, or ``mixed``. seconds: of requests. cripple: of one worker."""
    draw = random.Random(f"{store_name} {fault} {seed}")
    store = STORES[store_name]()
    assert store is not None, f"{store_name} is not installed"
    is_proxied = "proxy" in store.powers and (fault == MIX or "proxy" in FAULTS[fault].needs)
    row = Row(store_name, fault, seed, seconds, lease, patience=2 * store.timeout_seconds)
    with store, Scene(store, lease=lease, is_proxied=is_proxied, cripple=cripple) as scene:
        row.version = store.version
        since = scene.world.mark()
        try:
            while scene.now < since + seconds:
                time.sleep(draw.uniform(*CALM_SECONDS))
                row.injections.append(inject(scene, pick(store, fault, draw), draw))
                scene.world.wait_live(row.injections[-1].ended, LIVE_SECONDS)
                time.sleep(lease)  # some faults are noticed only by the next renewal
                scene.world.wait_live(scene.now, LIVE_SECONDS)
                scene.tidy_up(after_seconds=1.0)
        except AssertionError as error:
            row.violations.append(f"(f) {error}")
        else:
            time.sleep(1.0)
            with suppress(AssertionError):
                scene.world.sweep()
        judge(scene, row, since)
    return row


def pick(store: Any, fault: str, draw: random.Random) -> list[Fault]:
    """The fault, or for a mix one each of two or three rooms that the store has."""
    if fault != MIX:
        return [FAULTS[fault]]
    possible = [each for each in FAULTS.values() if each.needs <= store.powers]
    rooms = sorted({each.room for each in possible})
    return [
        draw.choice([each for each in possible if each.room == room])
        for room in draw.sample(rooms, min(len(rooms), draw.randint(2, 3)))
    ]


def inject(scene: Scene, faults: list[Fault], draw: random.Random) -> Injection:
    """Lets them happen, side by side, each beginning a little later than the one before."""
    done = Injection([fault.name for fault in faults], scene.now, 0.0, loses_history=False)
    due: list[tuple[float, int, Happening]] = []
    start = done.began
    for index, fault in enumerate(faults):
        due.append((start, index, fault.happen(scene, draw)))
        start += draw.uniform(0.0, MIX_SECONDS)
    while due:
        due.sort()
        at, index, happening = due.pop(0)
        time.sleep(max(0.0, at - scene.now))
        try:
            pause = next(happening)
        except StopIteration as ended:
            if ended.value:
                done.waited[done.names[index]] = ended.value
        except LeftOut as reason:
            done.left_out[done.names[index]] = str(reason)
        else:
            due.append((scene.now + pause, index, happening))
    done.ended = scene.now
    done.loses_history = any(fault.loses_history for fault in faults if fault.name not in done.left_out)
    return done


def judge(scene: Scene, row: Row, since: float) -> None:
    """Everything from ``since`` on, by the histories alone."""
    world = scene.world
    with suppress(AssertionError):  # an end that is not orderly is told below, by what was recorded
        world.stop()
    decisions = world.decisions(since)
    troubled = _recoveries(scene, row, since, decisions)
    found = world.check(
        since=since,
        loses_history=any(each.loses_history for each in row.injections),
        troubled=troubled,
        patience=row.patience,
    )
    row.violations += found.violations
    row.requests = sum(found.verdicts.values())
    row.per_second = row.requests / (max(each.end for each in decisions) - since) if decisions else 0.0
    row.verdicts = dict(found.verdicts)
    row.tested_kills, row.slowest, row.doubtful = found.tested_kills, found.slowest, found.doubtful
    row.proofs, row.shown_again = found.proofs, found.shown_again
    row.latest_after_receipt = _finite(found.latest_after_receipt)
    row.latest_after_call = _finite(found.latest_after_call)
    calls = [call for call in world.calls() if call["kind"] != "reinstate"]
    row.revocations = sum("at" in call for call in calls)
    row.told = sum("at" in call for call in calls if call["kind"] in TOLD)
    row.everywhere = sum(bool(call.get("everywhere")) for call in calls)
    row.raised = sum("error" in call for call in calls)
    stopped = [(each.began, each.ended) for each in row.injections]
    row.away = max((part.seconds for part in _absences(scene) if not _overlaps(part.start, part.end, stopped)), default=0.0)
    row.violation_count = len(row.violations)
    row.violations = row.violations[:KEPT]


def _recoveries(scene: Scene, row: Row, since: float, decisions: list[Decision]) -> list[tuple[float, float]]:
    """Fills in how long each took; from when to when something was wrong."""
    statuses = {name: said for name, said in scene.world.statuses().items() if name.startswith("worker")}
    troubled = [span for said in statuses.values() for span in lapsed(said)]
    quiet_since = since
    for index, each in enumerate(row.injections):
        until = row.injections[index + 1].began if index + 1 < len(row.injections) else decisions[-1].end
        at = recovered_at(each.ended, until, decisions, statuses)
        row.calm_503 += sum(
            one.verdict == "unavailable" and quiet_since <= one.start and one.end < each.began for one in decisions
        )
        quiet_since = at
        troubled.append((each.began, at))
        each.recovered = _finite(at - each.ended)
        allowed = RECOVERY_SECONDS + (HEALING_LEASES * row.lease if each.loses_history else 0.0)
        if at - each.ended > allowed:
            row.violations.append(f"(f) recovered after {at - each.ended:.2f} s, allowed are {allowed:.2f} s: {each}")
    return troubled


def _absences(scene: Scene) -> Iterator[Any]:
    for parts in scene.world.absences().values():
        yield from parts


def _overlaps(start: float, end: float, stretches: list[tuple[float, float]]) -> bool:
    return any(start < until and begin < end for begin, until in stretches)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
