"""The follower's plan: every way from one place to the next, and what it asks for on the way."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from math import inf

import pytest
from core.scripted import ScriptedClock, ScriptedServer, ScriptedStore, Time, perform

import jwtgate.core.following as following_module
import jwtgate.core.healing as healing_module
from jwtgate.core.effects import Forget, Lose, NextPage, OpenPages, Pause, Read, Renew, Restore, Saw
from jwtgate.core.followed import Followed
from jwtgate.core.following import TELL_SECONDS, TOLD_AT_ONCE, Following, _fault
from jwtgate.core.history import Entry, LogEnd, Watch, Worker
from jwtgate.core.lru import Admitted
from jwtgate.core.rulings import Change, Ruling, Toggle
from jwtgate.core.sessions.seen import SeenSessions
from jwtgate.core.view import View
from jwtgate.errors import StoreUnavailable
from jwtgate.messages import Token


class Follower:
    """One follower on a scripted server; a test takes its effects one by one."""

    def __init__(
        self,
        server: ScriptedServer | None = None,
        *,
        lease: float = 1.0,
        reach: float = 1.0,
        name: str = "me",
        drawn: float = 0.5,
        **limits,
    ) -> None:
        self.server = server or ScriptedServer(Time(), is_own=True)
        self.time = self.server.time
        self.clock = ScriptedClock(self.time)
        self.view = View(
            nullcontext(),
            lease_seconds=lease,
            grace_seconds=0.0,
            admitted_limit=9,
            wide_handles=frozenset(),
            **{"rulings_limit": 99, **limits},
        )
        self.store = ScriptedStore(self.server, Watch(lease, reach))
        self.following = Following(Followed(self.view), self.clock, name=name, reach_seconds=reach, draw=lambda: drawn)
        self.plan = self.following.follow()
        self.effect = next(self.plan)
        self.taken: list[object] = []

    def step(self, *, seconds: float = 0.0):
        """Performs the effect at hand; time passes before its answer. Returns the effect."""
        effect = self.effect
        self.taken.append(effect)
        if isinstance(effect, Pause):
            self.time.now += effect.seconds
            answer = None
        else:
            try:
                answer = perform(self.store, effect)
            except StoreUnavailable as error:
                self.time.now += seconds
                self.effect = self.plan.throw(error)
                return effect
        self.time.now += seconds
        self.effect = self.plan.send(answer)
        return effect

    def to(self, kind: type, limit: int = 400):
        """Steps until an effect of this kind is at hand, and returns it."""
        for _ in range(limit):
            if isinstance(self.effect, kind):
                return self.effect
            self.step()
        raise AssertionError(f"no {kind.__name__}: {self.following.condition}")

    def after(self, kind: type):
        """Performs the next effect of this kind."""
        self.to(kind)
        return self.step()

    def live(self):
        """Until the first grant."""
        for _ in range(400):
            if self.is_live:
                return self
            self.step()
        raise AssertionError(self.following.condition)

    def read_later(self):
        """Until the next read is at hand, which is sent later than the one that granted: whether it grants can be seen."""
        self.after(Read)
        self.time.now += 0.1
        self.to(Read)
        assert self.view.lease_until < self.clock.boot() + self.view.lease_seconds
        return self

    @property
    def is_live(self) -> bool:
        return self.view.is_live(self.clock.boot())

    def kinds(self) -> list[str]:
        return [type(effect).__name__ for effect in self.taken]

    def write(self, *digests: bytes, **options) -> None:
        changes = [Change(digest, revoked=True, **options) for digest in digests or (b"x" * 16,)]
        self.store.write(changes, self.server.now())


def fresh() -> Follower:
    """On a server whose history is nobody's own: unhealed."""
    return Follower(ScriptedServer(Time()))


# --- going live -------------------------------------------------------------------------------------------------------


def test_way_to_the_first_grant() -> None:
    """F1, F2: register, note the end, scan, the same epoch at its end, register again, read, renew; no jitter at the start."""
    follower = Follower()
    follower.write(b"a" * 16)
    follower.live()
    assert follower.kinds() == ["Renew", "OpenPages", "NextPage", "NextPage", "Renew", "Renew", "Read", "Renew"]
    assert follower.following.condition == "following"
    assert set(follower.view.rulings) == {b"a" * 16}


def test_first_read_does_not_block_and_later_ones_do_for_a_part_of_the_lease() -> None:
    """F4: 0.3 lease at the most; a view that is not live must not wait."""
    follower = Follower(lease=2.0, reach=2.0)
    assert follower.to(Read).block_seconds == 0.0
    follower.live()
    assert follower.to(Read).block_seconds == 2.0 * 0.3


def test_lease_counts_from_the_sending_of_the_read() -> None:
    """F3."""
    follower = Follower()
    follower.to(Read)
    sent_at = follower.clock.boot()
    follower.step(seconds=0.25)
    follower.live()
    assert follower.view.lease_until == sent_at + 1.0


def test_registration_names_the_whole_reach() -> None:
    """F2: in the very first renewal."""
    follower = Follower(reach=31.0)
    assert follower.effect.worker == Worker("me", 31.0, -1, 1, is_healing=False)


def test_position_is_acknowledged_once_it_is_applied() -> None:
    """F4: the renewal after a read tells it; one before the load tells nothing."""
    follower = Follower().live()
    follower.write(b"a" * 16)
    follower.after(Read)
    assert follower.view.parts[0].end.position == 1
    assert follower.effect.worker.acknowledged == 1


def test_read_that_stopped_at_its_limit_grants_nothing(monkeypatch) -> None:
    """F3: only the log's end does."""
    monkeypatch.setattr(following_module, "ENTRIES_PER_READ", 2)
    follower = Follower().live().read_later()
    until = follower.view.lease_until
    follower.write(*(b"%016d" % number for number in range(5)))
    for position in (2, 4):
        follower.after(Read)
        follower.after(Renew)
        assert follower.view.parts[0].end.position == position
        assert follower.view.lease_until == until
    follower.after(Read)
    follower.after(Renew)
    assert follower.view.lease_until > until


@pytest.mark.parametrize("is_healed", [False, True])
def test_snapshot_of_a_changed_epoch_is_not_loaded(is_healed: bool) -> None:  # noqa: FBT001
    """F1: the same epoch at start and end, be the other healed or not."""
    follower = Follower()
    follower.to(NextPage)
    follower.server.flush()
    if is_healed:
        follower.server.open_epoch(follower.store.watch, is_own=True)
    follower.after(Renew)
    assert follower.view.parts[0].epoch is None


# --- H2: what is wrong with a read --------------------------------------------------------------------------------------


def end(position: int, link: str | None = None) -> LogEnd:
    return LogEnd(position, link or f"l{position}", str(position))


def entries(*positions: int, first: str | None = None) -> tuple[Entry, ...]:
    found = [Entry(position, f"l{position}", f"l{position - 1}", str(position), b"x", b"{}") for position in positions]
    if first is not None:
        found[0] = replace(found[0], previous=first)
    return tuple(found)


@pytest.mark.parametrize(
    ("own", "reported", "read", "fault"),
    [
        (end(5), end(5), (), None),
        (end(5), end(5), (6, 7), None),
        (end(5), end(7), (6, 7), None),
        (end(5), end(7), (6, 7, 8), None),
        (end(5), end(7), (6,), "gap"),
        (end(5), end(7), (), "gap"),
        (end(5), end(7), (7,), "gap"),
        (end(5), end(7), (6, 8), "gap"),
        (end(5), end(4), (), "fork"),
        (end(5), end(5, "other"), (), "fork"),
        (end(5), end(5), (5,), "fork"),
        (end(5), end(5), (4, 5, 6), "fork"),
        (None, end(5), (), "fork"),
    ],
)
def test_fault_of_a_read(own, reported, read, fault) -> None:
    """A hole is a gap, another history is a fork."""
    assert _fault(own, reported, entries(*read)) == fault


def test_foreign_predecessor_is_a_fork() -> None:
    """Positions may agree where links do not."""
    assert _fault(end(5), end(5), entries(6, 7, first="other")) == "fork"


def test_full_batch_is_no_gap(monkeypatch) -> None:
    """It ends where it ends."""
    monkeypatch.setattr(following_module, "ENTRIES_PER_READ", 2)
    assert _fault(end(5), end(9), entries(6, 7)) is None


def test_gap_fences_and_loads_anew() -> None:
    """Entries were trimmed: the same epoch, a new snapshot, after a jitter."""
    follower = Follower().live()
    follower.to(Read)
    follower.write(b"a" * 16, b"b" * 16)
    follower.server.trim(1)
    follower.step()
    assert (follower.is_live, follower.following.condition) == (False, "gap")
    assert follower.view.tally.fences == {"gap": 1}
    follower.taken.clear()
    follower.live()
    assert follower.kinds()[:3] == ["Renew", "Pause", "OpenPages"]
    assert follower.taken[1] == Pause(0.05)
    assert len(follower.view.rulings) == 2


@pytest.mark.parametrize("is_foreign", [False, True])
def test_empty_read_grants_nothing_where_the_end_is_another(is_foreign: bool) -> None:
    """H2: what was written between the read and the renewal is read at once; a foreign link is no end of ours."""
    follower = Follower()
    follower.write(b"a" * 16)
    follower.live().read_later()
    until = follower.view.lease_until
    follower.after(Read)
    if is_foreign:
        follower.server.end = replace(follower.server.end, link="other")
    else:
        follower.write()
    follower.after(Renew)
    assert follower.view.lease_until == until


def test_own_write_that_is_gone_opens_a_new_epoch() -> None:
    """H2: an older copy was put back before the log was read: only who wrote it can know."""
    follower = Follower().live()
    follower.to(Read)
    written = follower.store.write([Change(b"x" * 16, revoked=True)], follower.server.now())
    follower.view.learn(written, [b"x" * 16])
    follower.server.cut_tail(1)
    lost = follower.after(Lose)
    assert lost == Lose(written.epoch.name)
    assert not follower.is_live
    follower.live()
    assert follower.view.parts[0].epoch != written.epoch.name
    assert follower.store.look_up([b"x" * 16]).rulings[0] is not None


def test_own_write_that_is_there_changes_nothing() -> None:
    """Before its log is read so far, and afterwards."""
    follower = Follower().live()
    written = follower.store.write([Change(b"x" * 16, revoked=True)], follower.server.now())
    follower.view.learn(written, [b"x" * 16])
    for _ in range(3):
        follower.after(Renew)
        assert follower.is_live
    assert follower.view.tally.fences == {}
    assert follower.view.parts[0].epoch == written.epoch.name


def test_fork_opens_a_new_epoch() -> None:
    """History was rewritten under one epoch: nobody may trust it any more."""
    follower = Follower()
    follower.write(b"a" * 16)
    follower.live()
    epoch = follower.view.parts[0].epoch
    follower.server.cut_tail(1)
    assert follower.to(Lose) == Lose(epoch)
    assert not follower.is_live
    assert follower.view.tally.fences == {"fork": 1}
    follower.step()
    assert follower.store.workers()[0].name != epoch
    follower.live()
    assert b"a" * 16 in follower.server.rulings
    assert (follower.view.tally.healings, follower.view.tally.fences) == (1, {"fork": 1})


# --- other histories ----------------------------------------------------------------------------------------------------


def test_new_epoch_fences_at_the_renewal_after_the_read() -> None:
    """H2: a read sleeps through a flush."""
    follower = Follower().live()
    follower.server.flush()
    follower.after(Read)
    follower.after(Renew)
    assert not follower.is_live
    assert follower.following.condition == "history lost"


def test_epoch_that_others_have_healed_meanwhile_is_loaded_first() -> None:
    """H2: what was read is of the one before."""
    follower = Follower().live()
    follower.after(Read)
    follower.server.flush()
    follower.server.open_epoch(follower.store.watch, is_own=True)
    follower.after(Renew)
    assert (follower.is_live, follower.following.condition) == (False, "history lost")


@pytest.mark.parametrize("is_healed", [False, True])
@pytest.mark.parametrize("digests", [(), (b"a" * 16,)], ids=["with nothing to write back", "with a ruling"])
def test_new_epoch_fences_at_the_first_renewal_after_a_failure(digests: tuple[bytes, ...], is_healed: bool) -> None:  # noqa: FBT001
    """H2: at once, and not when the lease ends, which a short outage leaves running."""
    follower = Follower()
    if digests:
        follower.write(*digests)
    follower.live()
    follower.to(Read)
    follower.store.is_down = True
    follower.step()
    follower.store.is_down = False
    follower.server.flush()
    if is_healed:
        follower.server.open_epoch(follower.store.watch, is_own=True)
    follower.to(Renew)
    assert follower.is_live
    follower.step()
    assert not follower.is_live


def test_nobody_is_live_before_the_epoch_is_healed() -> None:
    """L2: two leases of watching on this clock, counted from the first answer."""
    follower = fresh()
    follower.step()
    while follower.time.now < 2.0:
        assert not (isinstance(follower.effect, Renew) and follower.effect.healed)
        assert follower.following.condition in ("starting", "healing")
        follower.step()
    follower.live()
    assert 2.0 <= follower.time.now < 2.3


def test_each_epoch_is_watched_anew() -> None:
    """L2: however long the one before was watched."""
    follower = Follower().live()
    while follower.time.now < 10.0:
        follower.step(seconds=0.01)
    follower.server.flush()
    began = follower.time.now
    while not follower.store.workers()[0].is_healed:
        follower.step()
    assert began + 2.0 <= follower.time.now < began + 3.0


def test_epoch_settles_after_the_longest_reach() -> None:
    """W3: of those that the record names, and of this process."""
    follower = fresh()
    follower.step()
    other = ScriptedStore(follower.server, Watch(1.0, 4.0))
    other.renew(Worker("other", 4.0, -1, 1, False), None)
    other.forget(Worker("other", 4.0, -1, 1, False))
    while not follower.store.workers()[0].is_settled:
        follower.step(seconds=0.01)
        assert follower.time.now < 6.0
    assert follower.time.now >= 4.0


def test_unbounded_reach_never_settles() -> None:
    """Under ``admit`` nobody can say from when old knowledge is gone."""
    follower = Follower(ScriptedServer(Time()), reach=inf)
    for _ in range(100):
        follower.step(seconds=0.1)
    assert not follower.store.workers()[0].is_settled


def test_longest_reach_is_told_to_an_epoch_that_lost_it_and_only_then() -> None:
    """W3: a flush takes the record; who remembers the longest reach raises the next one, once."""
    follower = Follower().live()
    follower.store.renew(Worker("other", 4.0, -1, 1, False), None)
    follower.after(Renew)
    follower.server.flush()
    told: list[float] = []
    while len(told) < 6:
        if isinstance(follower.effect, Renew):
            told.append(follower.effect.worker.reach_seconds)
        follower.step()
    assert follower.store.workers()[0].reach_seconds == 4.0
    assert sorted(told)[-2:] == [1.0, 4.0]


# --- healing ------------------------------------------------------------------------------------------------------------


def knowing(*digests: bytes, until: float | None = None) -> Follower:
    follower = Follower()
    follower.write(*digests, until=until)
    return follower.live()


def test_healer_writes_back_what_the_store_lacks() -> None:
    """L1: announced from its first renewal in the new epoch to its last batch, then withdrawn; then it may heal."""
    follower = knowing(b"a" * 16, b"b" * 16)
    known = dict(follower.view.rulings)
    follower.server.flush()
    follower.after(Read)
    follower.after(Renew)
    follower.taken.clear()
    assert len(follower.after(Restore).repairs) == 2
    assert follower.server.rulings == known
    assert {effect.worker.is_healing for effect in follower.taken if isinstance(effect, Renew)} == {True}
    while not isinstance(follower.effect, Renew) or follower.effect.worker.is_healing:
        follower.step()
    assert not follower.effect.healed
    follower.live()
    assert follower.view.rulings == known
    assert follower.view.parts[0].epoch == follower.store.workers()[0].name


def test_batches_are_short_and_the_epoch_is_checked_at_each(monkeypatch) -> None:
    """L1: a batch is one step that nobody's request waits long for; another epoch ends the healing at once."""
    monkeypatch.setattr(healing_module, "REPAIRS_PER_BATCH", 2)
    follower = knowing(*(b"%016d" % number for number in range(5)))
    follower.server.flush()
    assert len(follower.after(Restore).repairs) == 2
    assert isinstance(follower.effect, Renew)
    follower.step()
    assert follower.effect == Pause(0.01)
    follower.server.flush()
    assert len(follower.after(Restore).repairs) == 2
    assert not follower.server.rulings
    follower.live()
    assert len(follower.server.rulings) == 5


def test_nothing_is_written_back_that_the_store_has_or_that_has_ended() -> None:
    """L1: only what is missing, merged with what is there, and still matters."""
    follower = knowing(b"same" * 4, b"more" * 4)
    follower.write(b"gone" * 4, until=follower.clock.wall() + 0.5)
    follower.after(Read)
    follower.after(Renew)
    same, more = follower.view.rulings[b"same" * 4], follower.view.rulings[b"more" * 4]
    there = Ruling(until=5.0, min_version=3).encode()
    follower.server.flush()
    follower.time.now += 1.0
    follower.server.rulings.update({b"same" * 4: same, b"more" * 4: there})
    (repair,) = follower.after(Restore).repairs
    assert (repair.digest, repair.expected, repair.until) == (b"more" * 4, there, None)
    assert Ruling.decode(repair.ruling).min_version == 3
    assert Ruling.decode(repair.ruling).toggle == Ruling.decode(more).toggle


def test_outdated_batch_is_looked_at_again() -> None:
    """L1: somebody wrote meanwhile; it is not through before nothing is outdated, and stays announced."""
    follower = knowing(b"a" * 16)
    follower.server.flush()
    follower.to(Restore)
    follower.server.rulings[b"a" * 16] = Ruling(min_version=3).encode()
    follower.step()
    assert Ruling.decode(follower.server.rulings[b"a" * 16]).toggle is None
    follower.taken.clear()
    follower.after(Restore)
    ruling = Ruling.decode(follower.server.rulings[b"a" * 16])
    assert ruling.toggle is not None
    assert ruling.min_version == 3
    assert {effect.worker.is_healing for effect in follower.taken if isinstance(effect, Renew)} == {True}


def test_failed_healing_stays_announced() -> None:
    """L1: between two attempts nobody may find that there is no healer."""
    follower = knowing(b"a" * 16)
    follower.server.flush()
    follower.to(Restore)
    follower.store.is_down = True
    follower.step()
    assert follower.following.condition == "unreachable"
    follower.store.is_down = False
    follower.taken.clear()
    follower.after(Restore)
    renewals = [effect for effect in follower.taken if isinstance(effect, Renew)]
    assert renewals
    assert all(effect.worker.is_healing for effect in renewals)


def test_dead_healer_is_forgotten_after_two_leases() -> None:
    """L1: it cannot block the others for ever."""
    follower = fresh()
    follower.store.renew(Worker("healer", 30.0, -1, 1, is_healing=True), None)
    assert follower.to(Forget).worker.name == "healer"
    assert 2.0 < follower.time.now < 2.5
    follower.live()


def test_process_that_knows_nothing_has_nothing_to_restore() -> None:
    """It watches, and heals."""
    follower = fresh().live()
    assert not {"Restore", "OpenPages"} & set(follower.kinds()[:-6])


# --- H3 -----------------------------------------------------------------------------------------------------------------


def test_another_lease_does_not_follow_and_says_so() -> None:
    """H3: it deregisters and tries again in a while."""
    server = ScriptedServer(Time(), is_own=True)
    Follower(server, name="first").live()
    follower = Follower(server, lease=2.0)
    for _ in range(3):
        follower.after(Renew)
        assert isinstance(follower.effect, Forget)
        assert follower.following.condition == "lease of the store is 1 s, JWTGATE_LEASE says 2 s"
        follower.step()
        assert follower.effect == Pause(0.6)
        assert {worker.name for worker in follower.store.workers()[2]} == {"first"}
    assert not follower.is_live


def test_another_lease_heals_nothing() -> None:
    """H3, L2: two of its own leases may be less than one of theirs."""
    server = ScriptedServer(Time())
    Follower(server, lease=2.0, reach=2.0, name="first").step()
    follower = Follower(server, lease=0.5, reach=0.5)
    while follower.time.now < 1.9:  # then the first one, which is silent, would be forgotten
        assert not (isinstance(follower.effect, Renew) and follower.effect.healed)
        follower.step()
    assert not follower.store.workers()[0].is_healed


def test_changed_lease_fences_a_live_follower() -> None:
    """H3: at the next renewal."""
    follower = Follower().live()
    record = follower.server.record
    follower.server.record = replace(record, epoch=replace(record.epoch, lease_seconds=5.0))
    follower.store.renew(Worker("other", 5.0, -1, 1, False), None)
    follower.after(Read)
    follower.after(Renew)
    assert not follower.is_live
    assert follower.view.tally.fences == {"other_lease": 1}


# --- when the store fails -----------------------------------------------------------------------------------------------


def test_failure_lets_the_lease_lapse_by_itself() -> None:
    """F3: not fenced; it resumes from its position without a reload."""
    follower = Follower().live()
    until = follower.view.lease_until
    follower.store.is_down = True
    follower.to(Pause)
    assert follower.view.lease_until == until
    assert follower.following.condition == "unreachable"
    follower.time.now += 5.0
    follower.store.is_down = False
    follower.write(b"a" * 16)
    follower.taken.clear()
    assert follower.view.tally.lapses == 0
    follower.live()
    assert not {"OpenPages", "NextPage"} & set(follower.kinds())
    assert b"a" * 16 in follower.view.rulings
    assert (follower.view.tally.lapses, follower.view.tally.fences) == (1, {})


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 0.05), (0.5, 0.15), (0.999999, 0.25)])
def test_backoff_is_at_most_a_quarter_of_the_lease(drawn: float, seconds: float) -> None:
    """F4."""
    follower = Follower()
    follower.following.draw = lambda: drawn
    follower.store.is_down = True
    follower.step()
    assert follower.effect.seconds == pytest.approx(seconds, abs=1e-6)


# --- the house ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reach", "patience"), [(1.0, 2.0), (4.0, 4.0)])
def test_silent_worker_is_forgotten_after_its_reach(reach: float, patience: float) -> None:
    """W2: its beat stood still on this clock; never earlier than two leases."""
    follower = Follower().live()
    began = follower.time.now
    follower.store.renew(Worker("silent", reach, -1, 1, False), None)
    for _ in range(1000):
        if isinstance(follower.effect, Forget):
            break
        follower.step(seconds=0.01)
    assert follower.effect.worker.name == "silent"
    assert began + patience < follower.time.now < began + patience + 0.3
    follower.step()
    assert {worker.name for worker in follower.store.workers()[2]} == {"me"}


def test_beating_worker_is_not_forgotten() -> None:
    """Nor one that beats rarely, nor this one itself."""
    follower = Follower().live()
    for beat in range(4):
        follower.store.renew(Worker("slow", 1.0, -1, beat, False), None)
        for _ in range(120):
            assert not isinstance(follower.effect, Forget)
            follower.step(seconds=0.01)


@pytest.mark.parametrize(("seconds", "is_cleared"), [(0.9, False), (-0.9, False), (1.1, True), (-1.1, True)])
def test_step_of_the_wall_clock_clears_the_admitted(seconds: float, is_cleared: bool) -> None:
    """Their deadlines were reckoned by it."""
    follower = Follower().live()
    follower.view.admitted.insert(b"key", Admitted(None, inf, ()))  # type: ignore[arg-type]
    follower.clock.step(seconds)
    follower.after(Renew)
    assert (len(follower.view.admitted) == 0) is is_cleared


def test_ended_rulings_are_purged_in_slices(monkeypatch) -> None:
    """Every five minutes, a slice per renewal."""
    monkeypatch.setattr(following_module, "PURGE_SLICE", 2)
    follower = knowing(*(b"%016d" % number for number in range(5)), until=1_700_000_200.0)
    follower.time.now = 299.0
    follower.after(Renew)
    assert len(follower.view.rulings) == 5
    follower.time.now = 301.0
    sizes = []
    for _ in range(4):
        follower.after(Renew)
        sizes.append(len(follower.view.rulings))
    assert sizes == [3, 1, 0, 0]


def test_incomplete_view_is_loaded_anew_once_there_is_room() -> None:
    """Four fifths of the limit, so that it does not flap."""
    follower = Follower(rulings_limit=5)
    follower.write(*(b"%016d" % number for number in range(9)), until=1_700_000_200.0)
    follower.write(b"late" * 4)
    follower.live()
    assert not follower.view.is_complete
    follower.server.sweep(1_700_000_299.0)
    follower.time.now = 301.0
    follower.taken.clear()
    follower.after(OpenPages)
    follower.live()
    assert follower.view.is_complete
    assert set(follower.view.rulings) == {b"late" * 4}


def test_stream_of_rulings_is_read_in_breaths() -> None:
    """Eight reads at once, then one for about 5 ms of rulings; an idle follower never pauses."""
    follower = Follower().live()
    follower.taken.clear()
    for number in range(12):
        follower.to(Read)
        follower.write(b"%016d" % number)
        follower.step()
    follower.to(Read)
    pauses = [effect.seconds for effect in follower.taken if isinstance(effect, Pause)]
    assert follower.kinds().index("Pause") >= 2 * 8
    assert 3 <= len(pauses) <= 4
    assert all(0 < seconds <= 0.005 + 1e-9 for seconds in pauses)
    follower.time.now += 1.0
    follower.taken.clear()
    for _ in range(6):
        follower.step(seconds=0.3)
    assert "Pause" not in follower.kinds()


def test_toggle_of_this_store_is_what_is_applied() -> None:
    """The entry carries the merged ruling."""
    follower = Follower().live()
    follower.write(b"a" * 16)
    follower.after(Read)
    ruling = Ruling.decode(follower.view.rulings[b"a" * 16])
    assert ruling.toggle == Toggle(True, follower.view.parts[0].epoch, 1, follower.server.now())


# --- sessions seen


def seen_by(follower: Follower, *sids: str) -> None:
    """Tokens of these sessions were shown."""
    follower.view.seen = SeenSessions(10_000)
    for sid in sids:
        token = Token({}, {}, "alice", None, "j", sid, frozenset(), 1.0, "header")
        follower.view.seen.note(Admitted(token, 1.0, (), is_seen=False))


def next_telling(follower: Follower, steps: int = 400) -> Saw | None:
    """Steps, a tenth of a second each, until it wants to tell."""
    for _ in range(steps):
        if isinstance(follower.effect, Saw):
            return follower.effect
        follower.step(seconds=0.1)
    return None


def test_seen_sessions_are_told_every_few_seconds_in_batches() -> None:
    """Off the request path: between two renewals, so many at once, the rest with the next."""
    follower = Follower().live()
    seen_by(follower, *(f"sid-{number}" for number in range(TOLD_AT_ONCE + 1)))
    begun = follower.time.now
    first = next_telling(follower)
    assert first is not None and len(first.sids) == TOLD_AT_ONCE
    assert TELL_SECONDS - 0.5 <= follower.time.now - begun <= TELL_SECONDS + 1.0
    follower.step()
    second = next_telling(follower)
    assert second is not None and second.sids == (f"sid-{TOLD_AT_ONCE}",)
    assert follower.time.now - begun < 2 * TELL_SECONDS
    follower.step()
    assert next_telling(follower) is None, "nothing was seen, nothing is told"
    assert follower.is_live


def test_seen_sessions_are_not_told_while_histories_heal() -> None:
    """It takes the log's end in some stores, which all who heal wait for; it is told once the follower is live again."""
    follower = Follower().live()
    seen_by(follower, "sid")
    follower.following._told_at -= 2 * TELL_SECONDS
    follower.server.flush()
    told_live: list[bool] = []
    for _ in range(400):
        if isinstance(follower.effect, Saw):
            told_live.append(follower.following.epoch.is_healed)
        follower.step(seconds=0.1)
    assert told_live == [True]


def test_store_that_fails_to_be_told_is_as_any_failure() -> None:
    """The lease lapses by itself, and the follower resumes."""
    follower = Follower().live()
    seen_by(follower, "sid")
    assert next_telling(follower) is not None
    follower.store.is_down = True
    follower.step(seconds=2.0)
    assert not follower.is_live
    follower.store.is_down = False
    follower.live()


def test_healers_share_the_work() -> None:
    """L1: each begins somewhere else and looks again where another one has been."""
    count = 4000
    server = ScriptedServer(Time(), is_own=True)
    healers = [Follower(server, name=str(index), drawn=index / 4, rulings_limit=9999) for index in range(4)]
    for first in range(0, count, 500):
        healers[0].write(*[index.to_bytes(16) for index in range(first, first + 500)])
    for healer in healers:
        healer.live()
        healer.taken.clear()
    epoch = healers[0].view.parts[0].epoch
    server.flush()
    for _ in range(4000):
        for healer in healers:
            healer.step()
        if all(healer.is_live and healer.view.parts[0].epoch != epoch for healer in healers):
            break
    assert all(healer.view.parts[0].epoch != epoch for healer in healers) and len(server.rulings) == count
    sent = sum(len(effect.repairs) for healer in healers for effect in healer.taken if isinstance(effect, Restore))
    assert count <= sent < 1.5 * count
