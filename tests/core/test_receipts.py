"""Receipts: what is proven, when it is not, and what a caller is told (W1, W2, W3, W5)."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
from core.scripted import START, ScriptedClock, Time

from jwtgate.core.effects import Pause, Roster, Write
from jwtgate.core.followed import Followed
from jwtgate.core.history import Epoch, LogEnd, NotDurable, Worker, Written
from jwtgate.core.receipts import Revoker, noting
from jwtgate.core.rulings import Change, Ruling, Toggle
from jwtgate.core.view import View
from jwtgate.errors import StoreUnavailable

DIGEST = b"h" * 16
CHANGES = (Change(DIGEST, revoked=True),)
TEXT = Ruling(Toggle(True, "E", 7, START)).encode()
END = LogEnd(7, "l7", "7")


def epoch(name: str = "E", *, settled: bool = True, reach: float = 1.0) -> Epoch:
    return Epoch(name, 1.0, reach, True, settled)


def worker(name: str, acknowledged: int = -1, reach: float = 1.0) -> Worker:
    return Worker(name, reach, acknowledged, 1, False)


def written(*workers: Worker, of: Epoch | None = None) -> Written:
    return Written(of or epoch(), END, START + 0.5, (TEXT,), workers)


class Caller:
    """A process that revokes; a test answers its effects one by one."""

    def __init__(self, *, own: str | None = None, reach: float = 1.0) -> None:
        self.time = Time()
        self.clock = ScriptedClock(self.time)
        self.view = View(
            nullcontext(), lease_seconds=1.0, grace_seconds=0.0, admitted_limit=9, rulings_limit=9, wide_handles=frozenset()
        )
        self.revoker = Revoker(self.view, self.clock, reach, lambda _: own)

    def begin(self, *, wait: bool = True) -> None:
        self.plan = self.revoker.revoke(CHANGES, events=(), wait=wait)
        self.receipt = None
        self.effect = next(self.plan)

    def tell(self, answer, at: float | None = None) -> None:
        if at is not None:
            self.time.now = at
        try:
            self.effect = self.plan.throw(answer) if isinstance(answer, Exception) else self.plan.send(answer)
        except StopIteration as end:
            self.effect, self.receipt = None, end.value

    def roster(self, *workers: Worker, of: Epoch | None = None, at: float | None = None) -> None:
        while isinstance(self.effect, Pause):
            self.tell(None)
        assert self.effect == Roster()
        self.tell((of or epoch(), END, workers), at)


def waiting(*workers: Worker, **options) -> Caller:
    caller = Caller(**options)
    caller.begin()
    caller.tell(written(*workers))
    return caller


def test_write_comes_first_and_is_applied_here() -> None:
    """W1; this process refuses before the receipt is out."""
    caller = Caller()
    caller.begin()
    assert caller.effect == Write(CHANGES, START)
    caller.tell(written())
    assert caller.view.rulings == {DIGEST: TEXT}


def test_write_that_stands_without_all_that_was_asked_is_applied_here_and_raises() -> None:
    """W5: no receipt, but what stands is known."""
    caller = Caller()
    caller.begin()
    with pytest.raises(NotDurable):
        caller.tell(NotDurable(written(), "the journal lacks it"))
    assert caller.view.rulings[DIGEST] == TEXT


def test_receipt_tells_what_was_written() -> None:
    """Position, time, and how many have acknowledged."""
    caller = waiting(worker("a", 6), worker("b", 5))
    caller.roster(worker("a", 7), worker("b", 9), at=0.25)
    receipt = caller.receipt
    assert (receipt.position, receipt.at) == ("E:7", START + 0.5)
    assert (receipt.effective_everywhere, receipt.workers, receipt.waited_seconds) == (True, 2, 0.25)
    assert receipt.effective_by == START + 0.25


@pytest.mark.parametrize("end", [LogEnd(6, "l6", "6"), LogEnd(7, "other", "7")])
def test_write_that_is_gone_is_written_again(end: LogEnd) -> None:
    """W3, H2: in the same epoch, too: an older copy of the data was put back."""
    caller = waiting(worker("a", 6))
    while isinstance(caller.effect, Pause):
        caller.tell(None)
    caller.tell((epoch(), end, (worker("a", 9),)))
    assert caller.effect == Write(CHANGES, START)


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("how", ["a worker's acknowledgement", "the caller's log", "the caller's own write"])
def test_position_that_was_known_before_is_of_another_branch(how: str, wait: bool) -> None:
    """W1: older data were put back, so tokens of the lost branch are no older by position: written again in the next epoch."""
    caller = Caller()
    if how == "the caller's log":
        Followed(caller.view).load({}, "E", END)
    if how == "the caller's own write":
        caller.begin(wait=False)
        caller.tell(written())
    caller.begin(wait=wait)
    caller.tell(written(*([worker("a", 9)] if how == "a worker's acknowledgement" else [])))
    caller.roster(worker("a", 9), at=0.5)
    assert caller.receipt is None
    caller.roster(of=epoch("F"), at=0.75)
    assert caller.effect == Write(CHANGES, START + 0.75)
    caller.tell(written(of=epoch("F")))
    if wait:
        caller.roster(of=epoch("F"))
    assert caller.receipt.position == "F:7"


def test_rewritten_history_that_nobody_notices_gives_no_receipt() -> None:
    """W1: two leases are more than any follower needs."""
    caller = waiting(worker("a", 9))
    with pytest.raises(StoreUnavailable, match="rewritten"):
        for step in range(1, 99):
            caller.roster(worker("a", 9), at=step / 10)


def test_receipt_waits_for_an_acknowledgement() -> None:
    """W2: the position itself, not the one before."""
    caller = waiting(worker("a", 6))
    caller.roster(worker("a", 6))
    assert caller.receipt is None
    caller.roster(worker("a", 7))
    assert caller.receipt.effective_everywhere
    assert caller.receipt.workers == 1


def test_deregistered_worker_is_not_waited_for() -> None:
    """W2: it gave up its lease before (W4); it is not counted as one that has acknowledged."""
    caller = waiting(worker("a"))
    caller.roster()
    assert caller.receipt.effective_everywhere
    assert caller.receipt.workers == 0


def test_late_comer_is_not_waited_for() -> None:
    """W1: whoever registers after the write reads the log with the entry in it."""
    caller = waiting(worker("a", 6))
    caller.roster(worker("a", 7), worker("late"))
    assert caller.receipt.effective_everywhere


@pytest.mark.parametrize("reach", [1.0, 4.0])
def test_silent_worker_is_gone_after_its_whole_reach(reach: float) -> None:
    """W2: on the caller's clock, from the reply to the write."""
    caller = waiting(worker("a", reach=reach))
    caller.roster(worker("a", reach=reach), at=reach - 0.001)
    assert caller.receipt is None
    caller.roster(worker("a", reach=reach), at=reach)
    assert caller.receipt.effective_everywhere
    assert caller.receipt.workers == 0


def test_wall_clocks_take_no_part() -> None:
    """W2: no server clock, and no wall clock of the caller's either."""
    caller = waiting(worker("a"))
    caller.clock.step(3600.0)
    caller.roster(worker("a"), at=0.9)
    assert caller.receipt is None


def test_own_worker_has_applied_it() -> None:
    """This process has applied its write before it waits."""
    caller = waiting(worker("own", 3), own="own")
    caller.roster(worker("own", 3))
    assert caller.receipt.effective_everywhere
    assert caller.receipt.workers == 1


def test_receipt_without_waiting_says_from_when() -> None:
    """``effective_by``: the longest reach of those who have not heard, at the latest."""
    caller = Caller(own="own")
    caller.begin(wait=False)
    caller.tell(written(worker("own", 6), worker("b", reach=4.0), worker("c")), at=0.5)
    assert not caller.receipt.effective_everywhere
    assert caller.receipt.effective_by == START + 0.5 + 4.0
    assert caller.receipt.workers == 1


def test_receipt_without_waiting_may_be_effective_already() -> None:
    """Nobody else is registered."""
    caller = Caller(own="own")
    caller.begin(wait=False)
    caller.tell(written(worker("own")))
    assert caller.receipt.effective_everywhere
    assert caller.receipt.effective_by == START


def test_unbounded_reach_is_not_waited_for_and_told() -> None:
    """``admit``: it might never hear of it, so there is no moment to name."""
    caller = waiting(worker("a", reach=inf))
    caller.roster(worker("a", reach=inf), at=1.9)
    assert caller.receipt is None
    caller.roster(worker("a", reach=inf), at=2.1)
    assert not caller.receipt.effective_everywhere
    assert caller.receipt.effective_by is None


def test_wait_and_its_end_count_from_the_call() -> None:
    """However long the machine has been up."""
    caller = Caller()
    caller.time.now = 100.0
    caller.begin()
    settling = epoch("F", settled=False, reach=5.0)
    caller.tell(written(worker("a", reach=inf), of=settling))
    caller.roster(worker("a", reach=inf), of=settling, at=105.9)
    assert caller.receipt is None
    caller.roster(worker("a", reach=inf), of=settling, at=106.1)
    assert not caller.receipt.effective_everywhere
    assert caller.receipt.waited_seconds == pytest.approx(6.1)


def test_new_epoch_must_settle() -> None:
    """W3: in a new epoch nobody is registered, and old knowledge may be acted on for the longest reach."""
    caller = Caller()
    caller.begin()
    caller.tell(written(of=epoch("F", settled=False, reach=4.0)), at=1.0)
    caller.roster(of=epoch("F", settled=False, reach=4.0), at=4.9)
    assert caller.receipt is None
    caller.roster(of=epoch("F", settled=False, reach=4.0), at=5.0)
    assert caller.receipt.effective_everywhere


def test_settled_epoch_ends_the_wait() -> None:
    """W3: somebody else has watched it long enough."""
    caller = Caller()
    caller.begin()
    caller.tell(written(of=epoch("F", settled=False, reach=4.0)))
    caller.roster(of=epoch("F", settled=True, reach=4.0), at=0.1)
    assert caller.receipt.effective_everywhere


def test_reach_that_grew_is_waited_for() -> None:
    """W3: the longest reach may be told after the write."""
    caller = Caller()
    caller.begin()
    caller.tell(written(of=epoch("F", settled=False)))
    caller.roster(of=epoch("F", settled=False, reach=4.0), at=1.5)
    assert caller.receipt is None
    caller.roster(of=epoch("F", settled=False, reach=4.0), at=4.0)
    assert caller.receipt.effective_everywhere


def test_epoch_is_watched_from_its_first_sight_on() -> None:
    """W3: the second revocation in a new epoch does not wait anew, one without waiting says until when."""
    caller = Caller()
    for at, left in ((1.0, 4.0), (2.5, 2.5)):
        caller.begin(wait=False)
        caller.tell(replace(written(of=epoch("F", settled=False, reach=4.0)), end=LogEnd(7 + int(at), "l", "c")), at=at)
        assert not caller.receipt.effective_everywhere
        assert caller.receipt.effective_by == START + at + left


def test_own_reach_counts_in_a_new_epoch() -> None:
    """W3: the record may not have heard of this process."""
    caller = Caller(reach=9.0)
    caller.begin(wait=False)
    caller.tell(written(of=epoch("F", settled=False)))
    assert caller.receipt.effective_by == START + 9.0


def test_changed_epoch_is_written_again() -> None:
    """W3: what was written may be lost; the receipt speaks of the second write."""
    caller = waiting(worker("a"))
    caller.roster(of=epoch("F", settled=False))
    assert isinstance(caller.effect, Write)
    caller.tell(Written(epoch("F", settled=False), LogEnd(1, "l", "1"), START + 3, (TEXT,), ()), at=3.0)
    caller.roster(of=epoch("F", settled=False), at=4.5)
    assert caller.receipt.effective_everywhere
    assert (caller.receipt.position, caller.receipt.waited_seconds) == ("F:1", 4.5)


def test_refused_write_raises() -> None:
    """W5: never a silent success."""
    caller = Caller()
    caller.begin()
    with pytest.raises(StoreUnavailable):
        caller.tell(StoreUnavailable("down"))
    assert not caller.view.rulings


def test_ruling_that_is_not_durable_is_known_here_and_raised() -> None:
    """It stands, whatever replicas and disks say."""
    caller = Caller()
    caller.begin()
    with pytest.raises(NotDurable):
        caller.tell(NotDurable(written(), "the ruling stands"))
    assert caller.view.rulings == {DIGEST: TEXT}


def test_counts_of_the_write_are_on_the_receipt() -> None:
    """Replicas and disks; None where nobody asked."""
    for counts in ({"replicas": 2}, {"fsyncs": 1}, {}):
        caller = Caller()
        caller.begin(wait=False)
        caller.tell(replace(written(), **counts))
        assert (caller.receipt.replicas, caller.receipt.fsyncs) == (counts.get("replicas"), counts.get("fsyncs"))


def test_store_may_fail_for_a_while_during_the_wait() -> None:
    """The write stands; the wait goes on for the longest reach and a lease, then it is not confirmed."""
    caller = waiting(worker("a"))
    caller.tell(StoreUnavailable("down"), at=1.9)
    assert isinstance(caller.effect, Pause)
    caller.tell(None)
    caller.roster(worker("a"), at=1.95)
    assert caller.receipt.effective_everywhere
    caller = waiting(worker("a"))
    with pytest.raises(StoreUnavailable):
        caller.tell(StoreUnavailable("down"), at=2.01)


def test_pauses_grow_to_a_bound() -> None:
    """Acknowledgements take milliseconds; polling is bounded."""
    caller = waiting(worker("a"))
    pauses = []
    for _ in range(12):
        caller.roster(worker("a"))
        pauses.append(caller.effect.seconds)
    assert pauses[0] == 0.001
    assert pauses == sorted(pauses)
    assert pauses[-1] == 0.016


# --- looked at again and again


class Pursuer:
    """A process that has written, without waiting, and looks again."""

    def __init__(self, *workers: Worker, own: str | None = None) -> None:
        self.caller = Caller(own=own)
        steps: dict[tuple[Change, ...], tuple[Written, ...]] = {}
        plan = noting(self.caller.revoker.revoke(CHANGES, wait=False, events=()), steps)
        assert next(plan) == Write(CHANGES, START)
        with pytest.raises(StopIteration) as ended:
            plan.send(written(*workers))
        self.receipt = ended.value.value
        self.pursuit = self.caller.revoker.pursue(steps.values())

    def look(self, *workers: Worker, at: float, of: Epoch | None = None, end: LogEnd = END):
        plan = self.caller.revoker.again(self.pursuit)
        assert next(plan) == Roster()
        self.caller.time.now = at
        with pytest.raises(StopIteration) as ended:
            plan.send((of or epoch(), end, workers))
        return ended.value.value


def test_receipt_fills_as_it_is_looked_at() -> None:
    """By the very rules of one that is waited for (W2): acknowledged, deregistered, silent for a whole reach."""
    pursuer = Pursuer(worker("a"), worker("b"), worker("c", reach=5.0), own="own")
    assert (pursuer.receipt.workers, pursuer.receipt.effective_everywhere) == (0, False)
    receipt = pursuer.look(worker("a", 7), worker("b"), worker("c"), at=0.1)
    assert (receipt.workers, receipt.effective_everywhere) == (1, False)
    assert {name for wait in pursuer.pursuit.waits for name in wait.missing} == {"b", "c"}
    receipt = pursuer.look(worker("c"), worker("later"), at=0.2)
    assert (receipt.workers, receipt.effective_everywhere) == (1, False)
    assert receipt.effective_by == START + 5.0
    receipt = pursuer.look(worker("c"), at=5.0)
    assert (receipt.workers, receipt.effective_everywhere) == (1, True)


def test_pursuit_that_another_process_takes_up_proves_no_more() -> None:
    """Silence is counted anew, from its own first sight, and its own follower may be behind like any other."""
    writer = Pursuer(worker("a"), worker("b", reach=5.0), worker("endless", reach=inf), worker("own"), own="own")
    other = Pursuer(own="a")
    other.caller.time.now = 100.0
    receipt, other.pursuit = other.caller.revoker.taken_up(json.loads(json.dumps(writer.pursuit.told())))
    assert (receipt.workers, receipt.effective_everywhere, receipt.effective_by) == (1, False, None)
    receipt = other.look(worker("a"), worker("b"), worker("endless"), at=100.5)
    assert (receipt.workers, receipt.effective_everywhere, receipt.effective_by) == (1, False, None)
    assert (receipt.position, receipt.at) == (writer.receipt.position, writer.receipt.at)
    assert {name for wait in other.pursuit.waits for name in wait.missing} == {"a", "b", "endless"}
    receipt = other.look(worker("a", 7), worker("b"), worker("endless", 7), at=104.5)
    assert (receipt.workers, receipt.effective_everywhere, receipt.effective_by) == (3, False, START + 105.0)
    assert other.look(worker("b"), at=105.0).effective_everywhere
    assert other.look(at=105.1, of=epoch("F")) is None


STEP = [0, "E", 5.0, 7, "link", START, None, None, 1, {"b": 5.0}]
"""As ``Pursuit.told`` says it."""


@pytest.mark.parametrize(
    "told",
    [
        *(None, 7, "x", {}, [], [None], [[]], [STEP[:-1]], [[*STEP, 1]]),
        *([[*STEP[:place], [], *STEP[place + 1 :]]] for place in range(len(STEP))),
        *([[*STEP[:place], "x", *STEP[place + 1 :]]] for place in (0, 2, 3, 5, 6, 7, 8, 9)),
        *([[1, *STEP[1:]]], [[-1, *STEP[1:]]], [[*STEP[:2], -1.0, *STEP[3:]]], [[*STEP[:2], nan, *STEP[3:]]]),
        *([[*STEP[:5], at, *STEP[6:]]] for at in (nan, inf, -1.0, 1e300)),
        *([[*STEP[:8], workers, *STEP[9:]]] for workers in (-1, 10**400)),
        *([[*STEP[:9], {"b": reach}]] for reach in (nan, -1, "1", [], 10**400, inf)),
    ],
)
def test_pursuit_that_nobody_wrote_is_not_taken_up(told: Any) -> None:
    """Nor one of a partition that is not here."""
    with pytest.raises(ValueError, match="written|step|span"):
        Pursuer().caller.revoker.taken_up(told)


def test_receipt_is_over_with_its_history() -> None:
    """W3: another epoch, or a log that ends before what was written: nothing is proved, and it is to be done again."""
    assert Pursuer(worker("a")).look(worker("a", 7), at=0.1, of=epoch("F")) is None
    assert Pursuer(worker("a")).look(worker("a", 7), at=0.1, end=LogEnd(6, "l6", "6")) is None
    assert Pursuer(worker("a")).look(worker("a", 7), at=0.1, end=LogEnd(7, "other", "7")) is None


def test_partition_that_loses_its_history_while_another_is_looked_at_proves_nothing() -> None:
    """W3, as for who waits: all are looked at once more before it is said that it holds everywhere."""
    caller = Caller()
    pursuit = caller.revoker.pursue([(written(worker("a")), replace(written(), partition=1))])
    plan = caller.revoker.again(pursuit)
    assert next(plan) == Roster(0)
    assert plan.send((epoch(), END, (worker("a", 7),))) == Roster(1)
    assert plan.send((epoch(), END, ())) == Roster(0)
    with pytest.raises(StopIteration) as ended:
        plan.send((epoch("F"), END, ()))
    assert ended.value.value is None


def test_partitions_that_keep_what_was_written_prove_it_together() -> None:
    """Whoever has heard of all of it counts."""
    caller = Caller()
    pursuit = caller.revoker.pursue([(written(worker("a"), worker("b")), replace(written(worker("a")), partition=1))])
    plan = caller.revoker.again(pursuit)
    assert next(plan) == Roster(0)
    assert plan.send((epoch(), END, (worker("a", 7), worker("b", 7)))) == Roster(1)
    assert plan.send((epoch(), END, (worker("a", 7),))) == Roster(0)
    assert plan.send((epoch(), END, ())) == Roster(1)
    with pytest.raises(StopIteration) as ended:
        plan.send((epoch(), END, ()))
    assert (ended.value.value.effective_everywhere, ended.value.value.workers) == (True, 1)


def test_epoch_that_has_not_settled_proves_nothing_yet() -> None:
    """W3: somebody may still act on knowledge of the one before."""
    pursuer = Pursuer()
    receipt = pursuer.look(at=0.1, of=epoch(settled=False, reach=3.0))
    assert not receipt.effective_everywhere
    assert pursuer.look(at=3.2, of=epoch(settled=False, reach=3.0)).effective_everywhere


def test_what_is_written_again_takes_the_place_of_before() -> None:
    """A write that met a rewritten history is done again in the next epoch: the first is not looked at any more."""
    caller, steps = Caller(), {}
    plan = noting(caller.revoker.revoke(CHANGES, wait=False, events=()), steps)
    next(plan)
    assert plan.send(written(worker("a", 99))) == Roster()  # it had acknowledged what was not written yet
    assert isinstance(plan.send((epoch("F"), END, ())), Write)
    with pytest.raises(StopIteration):
        plan.send(written(of=epoch("F")))
    assert [step.epoch.name for parts in steps.values() for step in parts] == ["F"]


def test_failure_passes_through_what_is_noted() -> None:
    """W5: what the store did not take raises, and nothing is noted."""
    steps: dict[tuple[Change, ...], tuple[Written, ...]] = {}
    plan = noting(Caller().revoker.revoke(CHANGES, wait=False, events=()), steps)
    next(plan)
    with pytest.raises(StoreUnavailable):
        plan.throw(StoreUnavailable("down"))
    assert steps == {}
