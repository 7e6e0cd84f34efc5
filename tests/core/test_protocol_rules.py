"""Every rule of the protocol by its letter: one interleaving each, with the rule and without it.

Each scenario is deterministic and is run twice. With the rule no promise is broken; with the rule's own code taken away the
same steps break one, which proves that the scenario can fail and that the rule is needed.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from math import inf

import pytest
from core.scripted import ScriptedServer
from core.world import LEASE, Actor, World

import jwtgate.core.following as following_module
import jwtgate.core.healing as healing_module
from jwtgate.core.effects import LookUp, Pause, Renew
from jwtgate.core.followed import Followed
from jwtgate.core.following import Following
from jwtgate.core.history import Worker
from jwtgate.core.receipts import Revoker
from jwtgate.core.rulings import Change
from jwtgate.core.view import View
from jwtgate.errors import StoreUnavailable


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of simulated outages would each say so."""
    caplog.set_level(logging.CRITICAL, "jwtgate")


HELD = "no promise is broken"
BROKEN = "a promise is broken"


def outcome(world: World) -> str:
    return BROKEN if world.broken else HELD


def pair(world: World, **options):
    """An anchor and ``b``, both following, and a token that both remember."""
    a = world.process("a", is_anchor=True, **options).follow()
    b = world.process("b", **options).follow()
    world.run(1.0)
    token = world.issue(a, "alice")
    assert (world.ask(a, token), world.ask(b, token)) == ("admitted", "admitted")
    return a, b, token


def make_noise(process, rulings: int = 1) -> None:
    """Rulings that matter to nobody here."""
    process.store.write([Change(b"%016d" % number, revoked=True) for number in range(rulings)], process.store.server.now())


def step_until(world: World, is_so, limit: float = 5.0) -> None:
    """One event at a time."""
    until = world.time.now + limit
    while not is_so() and world.queue and world.time.now < until:
        world.run(max(0.0, world.queue[0][0] - world.time.now))
    assert is_so()


def pause_between_reads(world: World, process, seconds: float) -> None:
    """Stops a process whose next read of the log is not yet sent."""
    step_until(world, lambda: isinstance(process.follower.effect, Renew))
    process.paused_until = world.time.now + seconds


# --- H: history -------------------------------------------------------------------------------------------------------


class TrustingServer(ScriptedServer):
    """Without H1: an epoch record is an epoch record."""

    def is_current(self, record) -> bool:
        return record is not None and self.end is not None


def tail_lost_before_a_look_up(**classes) -> World:
    world = World(**classes)
    a, _, token = pair(world)
    assert world.finish(world.revoke(a, token)).effective_everywhere
    assert world.lose(lambda: world.server.lose_tail(1))
    stranger = world.process("c")
    world.ask(stranger, token)
    return world


def test_h1_epoch_is_bound_to_the_servers_identity() -> None:
    """H1: after a failover that lost the tail, a look-up is no proof, though the epoch record has survived."""
    assert outcome(tail_lost_before_a_look_up()) == HELD
    assert outcome(tail_lost_before_a_look_up(server_class=TrustingServer)) == BROKEN


def trimmed_while_paused(monkeypatch, *, is_without: bool) -> World:
    with monkeypatch.context() as patch:
        if is_without:
            patch.setattr(following_module, "_fault", lambda own, reported, entries: None)
        world = World()
        a, b, token = pair(world)
        pause_between_reads(world, b, 1.8)
        assert world.finish(world.revoke(a, token)).effective_everywhere
        make_noise(a)
        world.server.trim(1)
        world.run_until(lambda: b.paused_until < world.time.now)
        for _ in range(20):
            world.ask(b, token)
            world.run(0.02)
        return world


def test_h2_links_show_a_hole_in_the_log(monkeypatch) -> None:
    """H2: a follower fences when its next entry does not follow its last."""
    assert outcome(trimmed_while_paused(monkeypatch, is_without=False)) == HELD
    assert outcome(trimmed_while_paused(monkeypatch, is_without=True)) == BROKEN


class TrustsAnEmptyRead(Following):
    """Without H2's other half: nothing read is nothing written."""

    def _may_grant(self, before, after, read: int) -> bool:
        return (
            self.view.parts[0].end is not None
            and after.was_registered
            and self.view.parts[0].end.position >= before.end.position
        )


def trimmed_to_nothing(**classes) -> World:
    world = World(**classes)
    a, b, token = pair(world)
    pause_between_reads(world, b, 1.8)
    assert world.finish(world.revoke(a, token)).effective_everywhere
    world.server.trim(0)
    world.run_until(lambda: b.paused_until < world.time.now)
    for _ in range(20):
        world.ask(b, token)
        world.run(0.01)
    return world


def test_h2_empty_read_grants_nothing_short_of_the_end() -> None:
    """H2: a process paused between renewal and read, whose log is gone when it reads, has not heard what was in it."""
    assert outcome(trimmed_to_nothing()) == HELD
    assert outcome(trimmed_to_nothing(following_class=TrustsAnEmptyRead)) == BROKEN


def rewritten(monkeypatch, *, is_without: bool) -> World:
    with monkeypatch.context() as patch:
        if is_without:
            patch.setattr(following_module, "_fault", lambda own, reported, entries: None)
        world = World()
        _, _, token = pair(world)
        assert world.finish(world.revoke(world.process("command line"), token)).effective_everywhere
        assert world.lose(lambda: world.server.cut_tail(1))
        world.run(1.0)
        stranger = world.process("c")
        for _ in range(30):
            world.ask(stranger, token)
            world.run(0.1)
        return world


def test_h2_links_show_a_rewritten_history(monkeypatch) -> None:
    """H2: a log that ends before what was already read is another history, though epoch and server are the same."""
    assert outcome(rewritten(monkeypatch, is_without=False)) == HELD
    assert outcome(rewritten(monkeypatch, is_without=True)) == BROKEN


class EpochBefore(Following):
    """Without H2's second half: what the renewal after the read says of the epoch is not heard."""

    def _is_same_history(self, after) -> bool:
        return True


def tail_lost_unread(**classes) -> World:
    """``b`` had not read the tail: the shorter log of the new epoch ends where it stands, link by link."""
    world = World(**classes)
    a, b, token = pair(world)
    pause_between_reads(world, b, 1.1)
    assert world.finish(world.revoke(a, token)).effective_everywhere
    assert world.lose(lambda: world.server.lose_tail(1))
    world.run_until(lambda: b.paused_until < world.time.now)
    for _ in range(20):
        world.ask(b, token)
        world.run(0.05)
    return world


def test_h2_epoch_is_checked_after_each_read() -> None:
    """H2: a read that found nothing grants nothing in an epoch that is not the view's."""
    assert outcome(tail_lost_unread()) == HELD
    assert outcome(tail_lost_unread(following_class=EpochBefore)) == BROKEN


def test_h3_another_lease_never_lives_and_says_so() -> None:
    """H3: a process configured with another lease does not follow; its requests ask the store and are right."""
    world = World()
    a, _, token = pair(world)
    other = world.process("other", lease=2.0).follow()
    for _ in range(20):
        world.run(0.25)
        assert not other.view.is_live(other.clock.boot())
    assert other.following.condition == "lease of the store is 1 s, JWTGATE_LEASE says 2 s"
    assert other.following.worker.name not in {worker.name for worker in other.store.workers()[2]}
    assert world.ask(other, token) == "admitted"
    assert world.finish(world.revoke(a, token)).effective_everywhere
    assert world.ask(other, token) == "revoked"
    assert not world.broken


# --- F: the follower --------------------------------------------------------------------------------------------------


class EndAfterScan(Following):
    """Without F1: the end is noted after the scan."""

    def _load(self, before):
        snapshot = yield from self._snapshot()
        after = yield from self._renew()
        Followed(self.view).load(snapshot, before.epoch.name, after.end)
        self._loaded = True


def written_during_the_scan(monkeypatch, **classes) -> World:
    monkeypatch.setattr(healing_module, "PAGE_SIZE", 1)
    world = World(**classes)
    a = world.process("a", is_anchor=True).follow()
    world.run(1.0)
    token = world.issue(a, "alice")
    make_noise(a, 5)
    b = world.process("b").follow()
    step_until(world, lambda: type(b.follower.effect).__name__ == "NextPage" and b.follower.stage == "sent")
    world.run(0.004)
    assert not b.following._loaded
    assert world.finish(world.revoke(a, token)).effective_everywhere
    for _ in range(10):
        world.ask(b, token)
        world.run(0.05)
    return world


def test_f1_end_is_noted_before_the_scan(monkeypatch) -> None:
    """F1: what is written while the snapshot is read comes from the log afterwards."""
    assert outcome(written_during_the_scan(monkeypatch)) == HELD
    assert outcome(written_during_the_scan(monkeypatch, following_class=EndAfterScan)) == BROKEN


def reloaded(monkeypatch, *, is_without: bool) -> World:
    with monkeypatch.context() as patch:
        world = World()
        a, b, token = pair(world)
        if is_without:
            real = Followed.load

            def load(self, snapshot, epoch, end) -> None:
                entries = dict(self.view.admitted._entries)
                real(self, snapshot, epoch, end)
                for key, entry in entries.items():
                    self.view.admitted.insert(key, entry)

            patch.setattr(Followed, "load", load)
        pause_between_reads(world, b, 3.0)
        assert world.finish(world.revoke(a, token)).effective_everywhere
        world.server.trim(0)
        world.run(3.5)
        assert b.view.is_live(b.clock.boot())
        world.ask(b, token)
        return world


def test_f1_reload_forgets_the_admitted(monkeypatch) -> None:
    """F1: after a hole in the log nobody knows which remembered tokens were killed in it."""
    assert outcome(reloaded(monkeypatch, is_without=False)) == HELD
    assert outcome(reloaded(monkeypatch, is_without=True)) == BROKEN


class UnderstatedReach(Following):
    """Without F2: registers one lease, though it may act for lease and grace."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **{**options, "reach_seconds": LEASE})


def cut_off_in_grace(**classes) -> World:
    world = World(**classes)
    a, b, token = pair(world, on_store_down="cached", grace=3.0)
    b.cut_off_until = world.time.now + 10.0
    world.run(1.2)
    world.ask(b, token)
    assert world.ask(b, token) == "admitted"
    operation = world.revoke(a, token)
    for _ in range(50):
        world.ask(b, token)
        world.run(0.1)
    assert operation.receipt is not None
    return world


def test_f2_whole_reach_is_registered() -> None:
    """F2: under ``cached`` the registration says lease and grace, and receipts wait for both."""
    assert outcome(cut_off_in_grace()) == HELD
    assert outcome(cut_off_in_grace(following_class=UnderstatedReach)) == BROKEN


class GrantsAnyway(Following):
    """Without F2: whether the registration stood is not heard."""

    def _renew(self):
        renewal = yield from super()._renew()
        return replace(renewal, was_registered=True)


def forgotten_between_read_and_grant(**classes) -> World:
    world = World(**classes)
    a, b, token = pair(world)
    make_noise(a)
    step_until(world, lambda: isinstance(b.follower.effect, Renew))
    world.shift(b.follower, 0.1)
    world.server.registered.pop(b.following.worker.name)
    Followed(b.view).fence()
    assert world.finish(world.revoke(a, token)).effective_everywhere
    step_until(world, lambda: not isinstance(b.follower.effect, Renew))
    world.shift(b.follower, 0.5)
    for _ in range(5):
        world.ask(b, token, 0.01)
        world.run(0.02)
    return world


def test_f2_registration_precedes_the_read() -> None:
    """F2: a read made while somebody had deregistered this worker grants nothing."""
    assert outcome(forgotten_between_read_and_grant()) == HELD
    assert outcome(forgotten_between_read_and_grant(following_class=GrantsAnyway)) == BROKEN


def answer_on_the_way(*, is_without: bool) -> World:
    class CountsFromArrival(Followed):
        def grant(self, sent_at: float) -> None:
            super().grant(world.processes[1].clock.boot() if self.view is world.processes[1].view else sent_at)

    world = World(followed_class=CountsFromArrival if is_without else Followed)
    a, b, token = pair(world)
    make_noise(a)
    step_until(world, lambda: isinstance(b.follower.effect, Renew))
    world.shift(b.follower, 0.6)
    operation = world.revoke(a, token)
    step_until(world, lambda: not isinstance(b.follower.effect, Renew))
    world.shift(b.follower, 3.0)
    world.finish(operation)
    for _ in range(10):
        world.ask(b, token, 0.01)
        world.run(0.02)
    return world


def test_f3_lease_counts_from_the_sending_of_the_read() -> None:
    """F3: while an answer was on its way the lease ran; receipts count on it."""
    assert outcome(answer_on_the_way(is_without=False)) == HELD
    assert outcome(answer_on_the_way(is_without=True)) == BROKEN


class GrantsHalfway(Following):
    """Without F3: a read that stopped at its limit grants as well."""

    def _read_on(self, before):
        step = super()._read_on(before)
        answer = None
        while True:
            try:
                effect = step.send(answer)
            except StopIteration:
                return
            answer = yield effect
            if isinstance(effect, Renew):
                Followed(self.view).grant(self.clock.boot())


def behind_a_flood(monkeypatch, **classes) -> World:
    monkeypatch.setattr(following_module, "ENTRIES_PER_READ", 2)
    world = World(**classes)
    a, b, token = pair(world)
    b.paused_until = world.time.now + 2.0
    make_noise(a, 40)
    assert world.finish(world.revoke(a, token)).effective_everywhere
    world.run_until(lambda: b.paused_until < world.time.now)
    for _ in range(30):
        world.ask(b, token, 0.002)
    return world


def test_f3_lease_is_granted_only_at_the_logs_end(monkeypatch) -> None:
    """F3: a follower that is still behind has not heard everything."""
    assert outcome(behind_a_flood(monkeypatch)) == HELD
    assert outcome(behind_a_flood(monkeypatch, following_class=GrantsHalfway)) == BROKEN


class AcknowledgesOnly(Followed):
    """Without F4: the position moves, the admitted tokens stay."""

    def apply(self, entries) -> None:
        for entry in entries:
            self.view.learn_ruling(self.view.rulings, entry.digest, entry.ruling, "")
            self.part.end = replace(self.part.end, position=entry.position, link=entry.link, cursor=entry.cursor)


def applied(**classes) -> World:
    world = World(**classes)
    a, b, token = pair(world)
    assert world.finish(world.revoke(a, token)).effective_everywhere
    world.ask(b, token)
    return world


def test_f4_entries_are_applied_before_they_are_acknowledged() -> None:
    """F4: an acknowledged position means that nothing remembered is under a ruling up to it."""
    assert outcome(applied()) == HELD
    assert outcome(applied(followed_class=AcknowledgesOnly)) == BROKEN


# --- R: requests ------------------------------------------------------------------------------------------------------


class NeverLapses(Followed):
    """Without R1: once granted, trusted."""

    def grant(self, sent_at: float) -> None:
        super().grant(sent_at)
        self.part.lease_until = self.view.lease_until = inf


def cut_off(**classes) -> World:
    world = World(**classes)
    a, b, token = pair(world)
    b.cut_off_until = world.time.now + 5.0
    assert world.finish(world.revoke(a, token)).effective_everywhere
    world.ask(b, token)
    return world


def test_r1_lapsed_lease_admits_nothing_from_memory() -> None:
    """R1: who cannot know stops trusting its memory."""
    assert outcome(cut_off()) == HELD
    assert outcome(cut_off(followed_class=NeverLapses)) == BROKEN


class Joining(Actor):
    """Without R2: a look-up that is under way serves whoever comes."""

    def _send(self) -> None:
        effect, world = self.effect, self.world
        if isinstance(effect, LookUp):
            others = [
                other
                for other in world.actors
                if other is not self and other.effect == effect and other.process is self.process
            ]
            if others:
                other, answer = others[0], others[0]._answer

                def share(value) -> None:
                    answer(value)
                    self._answer(value)

                self.stage, other._answer = "sent", share
                return
        super()._send()


def look_up_under_way(monkeypatch, actor: type[Actor]) -> World:
    monkeypatch.setattr("core.world.Actor", actor)
    world = World()
    a, _, token = pair(world)
    c = world.process("c")
    world.request(c, token)
    world.run(0.001)
    slow = next(other for other in world.actors if other.process is c)
    world.shift(slow, 0.5)
    assert world.finish(world.revoke(a, token)).effective_everywhere
    world.request(c, token)
    world.run(1.0)
    return world


def test_r2_request_uses_a_look_up_sent_after_it_began(monkeypatch) -> None:
    """R2: an answer from before the request began may be from before the ruling."""
    assert outcome(look_up_under_way(monkeypatch, Actor)) == HELD
    assert outcome(look_up_under_way(monkeypatch, Joining)) == BROKEN


class FillsLate(View):
    """Without R3: what was ruled meanwhile is not looked at."""

    def admit(self, key, entry, facts, handles, now, listed=None) -> bool:
        self.admitted.insert(key, entry)
        return True


def late_fill(**classes) -> World:
    world = World(**classes)
    a, b, token = pair(world)
    b.view.admitted.clear()
    b.view.rulings_limit, b.view.rulings.is_complete = 0, False
    world.request(b, token)
    world.run(0.001)
    slow = next(other for other in world.actors if other.process is b and not other.is_follower)
    world.shift(slow, 0.5)
    assert world.finish(world.revoke(a, token)).effective_everywhere
    world.run(0.6)
    world.ask(b, token)
    return world


def test_r3_late_fill_is_refused() -> None:
    """R3: a token is not remembered on facts from before a ruling on it."""
    assert outcome(late_fill()) == HELD
    assert outcome(late_fill(view_class=FillsLate)) == BROKEN


def test_r4_without_a_follower_everything_is_right() -> None:
    """R4: a process that cannot follow asks the store for each request, and remembers nothing."""
    world = World()
    a, _, token = pair(world)
    alone = world.process("alone")
    for _ in range(3):
        assert world.ask(alone, token) == "admitted"
    assert alone.decision.tally.look_ups == 3
    assert len(alone.view.admitted) == 0
    assert world.finish(world.revoke(a, token)).effective_everywhere
    assert world.ask(alone, token) == "revoked"
    other = world.issue(a, "bob")
    assert world.finish(world.revoke(alone, other)).effective_everywhere
    assert world.ask(a, other) == "revoked"
    assert not world.broken


# --- W: receipts ------------------------------------------------------------------------------------------------------


class ListsBefore(ScriptedServer):
    """Without W1: the workers were listed a moment before the write."""

    listed: tuple[Worker, ...] | None = None
    is_writing = False

    def put(self, digest, ruling, until) -> None:
        super().put(digest, ruling, until)
        self.is_writing = True

    def workers_now(self) -> tuple[Worker, ...]:
        is_writing, self.is_writing = self.is_writing, False
        if is_writing and self.listed is not None:
            return self.listed
        return super().workers_now()


def joined_meanwhile(**classes) -> World:
    world = World(**classes)
    a = world.process("a", is_anchor=True).follow()
    world.run(1.0)
    token = world.issue(a, "alice")
    world.server.listed = world.server.workers_now()  # type: ignore[attr-defined]
    b = world.process("b").follow()
    world.run(0.5)
    assert world.ask(b, token) == "admitted"
    b.cut_off_until = world.time.now + 5.0
    assert world.finish(world.revoke(a, token)).effective_everywhere
    world.ask(b, token)
    return world


def test_w1_write_lists_the_workers_in_its_own_step() -> None:
    """W1: who went live just before the write is waited for."""
    assert outcome(joined_meanwhile()) == HELD
    assert outcome(joined_meanwhile(server_class=ListsBefore)) == BROKEN


class WaitsForNobody(Revoker):
    """Without W2: whoever is silent counts as gone."""

    def _waits(self, parts, now, most_seconds):
        waits = super()._waits(parts, now, most_seconds)
        for wait in waits:
            wait.missing = {}
        return waits


def test_w2_silence_counts_only_after_a_whole_reach() -> None:
    """W2: a silent worker may act on old knowledge for its reach, on the caller's clock."""
    assert outcome(cut_off()) == HELD
    assert outcome(cut_off(revoker_class=WaitsForNobody)) == BROKEN


class WritesOnce(Revoker):
    """Without W3: another epoch is as good as the first."""

    def _wait(self, state):
        step = super()._wait(state)
        answer = None
        while True:
            try:
                effect = step.send(answer)
            except StopIteration as end:
                return end.value
            answer = yield effect
            if not isinstance(effect, Pause):
                epoch, _, workers = answer
                answer = replace(state.written.epoch, is_settled=epoch.is_settled), state.written.end, workers


def flushed_before_the_receipt(**classes) -> World:
    world = World(**classes)
    a, b, token = pair(world)
    command_line = world.process("command line")
    operation = world.revoke(command_line, token)
    step_until(world, lambda: operation.written is not None)
    world.lose(world.server.flush)
    world.finish(operation)
    world.run(5.0)
    for process in (a, b, world.process("c")):
        world.ask(process, token)
    return world


def test_w3_changed_epoch_is_written_again() -> None:
    """W3: a ruling that was lost before the receipt is written anew."""
    assert outcome(flushed_before_the_receipt()) == HELD
    assert outcome(flushed_before_the_receipt(revoker_class=WritesOnce)) == BROKEN


class SettlesAtOnce(Revoker):
    """Without W3's last line: a new epoch is as good as an old one."""

    def _settled_from(self, partition, epoch, now) -> float:
        return -inf


def flushed_before_the_write(**classes) -> World:
    world = World(**classes)
    a, b, token = pair(world)
    b.cut_off_until = world.time.now + 5.0
    a.kill()
    world.server.flush()
    world.finish(world.revoke(world.process("command line"), token))
    world.ask(b, token)
    return world


def test_w3_new_epoch_must_settle() -> None:
    """W3: after lost history nobody is registered, yet old leases run; receipts wait for the longest reach."""
    assert outcome(flushed_before_the_write()) == HELD
    assert outcome(flushed_before_the_write(revoker_class=SettlesAtOnce)) == BROKEN


class KeepsLease(View):
    """Without W4: closing leaves the lease."""

    def give_up(self) -> None:
        """Nothing."""


def closed(**classes) -> World:
    world = World(**classes)
    a, b, token = pair(world)
    b.close()
    world.run(0.05)
    assert world.finish(world.revoke(a, token)).effective_everywhere
    world.ask(b, token)
    return world


def test_w4_close_gives_up_the_lease_before_it_deregisters() -> None:
    """W4: who deregistered is not waited for, so it must not act on memory any more."""
    assert outcome(closed()) == HELD
    assert outcome(closed(view_class=KeepsLease)) == BROKEN


@pytest.mark.parametrize("wait", [False, True])
def test_w5_write_that_was_not_accepted_raises(wait: bool) -> None:
    """W5: never a silent success; nothing is learned from a write that failed."""
    world = World()
    a, _, token = pair(world)
    world.down_until = world.time.now + 0.1
    operation = world.revoke(a, token, wait=wait)
    world.run(0.05)
    assert isinstance(operation.error, StoreUnavailable)
    assert operation.receipt is None
    assert not a.view.rulings


# --- L: healing -------------------------------------------------------------------------------------------------------


class KeepsToItself(Following):
    """Without L1: what is known here is not written back."""

    def _restore(self, epoch):
        self._restored_in = epoch.name
        yield Pause(0.01)


def flushed_after_the_receipt(**classes) -> World:
    world = World(**classes)
    a, _, token = pair(world)
    assert world.finish(world.revoke(a, token)).effective_everywhere
    assert world.lose(world.server.flush)
    stranger = world.process("c").follow()
    for _ in range(50):
        world.ask(stranger, token)
        world.run(0.1)
    assert stranger.view.is_live(stranger.clock.boot())
    return world


def test_l1_the_living_write_back_what_was_lost() -> None:
    """L1: the live processes are the denylist's replicas."""
    assert outcome(flushed_after_the_receipt()) == HELD
    assert outcome(flushed_after_the_receipt(following_class=KeepsToItself)) == BROKEN


class HealsAtOnce(Following):
    """Without L2: whoever sees an unhealed epoch calls it healed."""

    def _may_heal(self) -> bool:
        return self.epoch is not None and not self.epoch.is_healed


def test_l2_nobody_is_trusted_before_two_leases_of_watching() -> None:
    """L2: those who know must have had the time to come."""
    assert outcome(flushed_after_the_receipt()) == HELD
    assert outcome(flushed_after_the_receipt(following_class=HealsAtOnce)) == BROKEN


class HealsUnannounced(Following):
    """Without L1's announcement nobody can see a healer."""

    def _renew(self):
        step = super()._renew()
        answer = None
        while True:
            try:
                effect = step.send(answer)
            except StopIteration as end:
                return end.value
            if isinstance(effect, Renew):
                effect = replace(effect, worker=replace(effect.worker, is_healing=False))
            answer = yield effect


def alone_with_much_to_restore(monkeypatch, **classes) -> World:
    """One process knows forty rulings that the store has lost; each goes back in a batch of its own, X as the last one."""
    monkeypatch.setattr(healing_module, "REPAIRS_PER_BATCH", 1)
    world = World(**classes)
    a = world.process("a", is_anchor=True).follow()
    world.run(1.0)
    token = world.issue(a, "alice")
    make_noise(a, 40)
    assert world.finish(world.revoke(a, token)).effective_everywhere
    world.run(0.5)
    assert len(a.view.rulings) == 41
    a.view.rulings[token.handles[0]] = a.view.rulings.pop(token.handles[0])
    world.delay = lambda process: 0.03 if process is a else 0.001  # type: ignore[method-assign]
    assert world.lose(world.server.flush)
    world.process("c").follow()
    return world


def ask_while_healing(world: World) -> World:
    stranger = world.processes[-1]
    for _ in range(70):
        world.ask(stranger, world.tokens[0])
        world.run(0.1)
    assert stranger.view.is_live(stranger.clock.boot())
    return world


def test_l2_epoch_is_not_healed_while_a_healer_is_at_work(monkeypatch) -> None:
    """L2: two leases of watching are not enough while somebody writes back."""
    assert outcome(ask_while_healing(alone_with_much_to_restore(monkeypatch))) == HELD
    assert outcome(ask_while_healing(alone_with_much_to_restore(monkeypatch, following_class=HealsUnannounced))) == BROKEN


def test_l1_healer_stays_announced_until_it_is_through(monkeypatch) -> None:
    """L1: a healer whose batch failed has withdrawn from nothing: it must not be seen idle before it begins anew."""
    world = alone_with_much_to_restore(monkeypatch)
    a, c = world.processes
    world.run_until(lambda: c.following._may_heal())
    assert len(world.server.rulings) < 41
    step_until(world, lambda: type(a.follower.effect).__name__ == "Restore")
    a.follower.event[2] = lambda: a.follower._answer(StoreUnavailable("one answer was lost"))
    idle: list[str] = []
    on_renew = world.on_renew

    def watch(process, effect) -> None:
        if process is a and not effect.worker.is_healing and len(world.server.rulings) < 41:
            idle.append(f"{world.time.now:.3f}")
        on_renew(process, effect)

    world.on_renew = watch  # type: ignore[method-assign]
    assert outcome(ask_while_healing(world)) == HELD
    assert not idle


# --- found by the explorer, or while it was written ---------------------------------------------------------------------


def test_receipt_hears_of_a_longer_reach_while_it_waits() -> None:
    """W3: the new epoch's longest reach is known only once those who have it are back; a waiting receipt follows it."""
    world = World()
    patient = world.process("patient", on_store_down="cached", grace=3.0).follow()
    other = world.process("other", on_store_down="cached", grace=3.0, is_anchor=True).follow()
    world.run(1.0)
    token = world.issue(other, "alice")
    assert world.ask(patient, token) == "admitted"
    world.run(0.3)
    patient.cut_off_until = world.time.now + 10.0
    world.lose(world.server.flush)
    operation = world.revoke(world.process("command line"), token)
    for _ in range(60):
        world.ask(patient, token)
        world.run(0.1)
    assert operation.receipt is not None
    assert operation.receipt.effective_everywhere
    assert outcome(world) == HELD


def test_longest_reach_survives_a_flush() -> None:
    """W3: a new epoch asks for the longest reach that any living process has heard of, not only for their own ones."""
    world = World()
    patient = world.process("patient", on_store_down="cached", grace=3.0).follow()
    other = world.process("other", is_anchor=True).follow()
    world.run(1.0)
    token = world.issue(other, "alice")
    assert world.ask(patient, token) == "admitted"
    world.run(0.3)
    patient.cut_off_until = world.time.now + 10.0
    world.lose(world.server.flush)
    operation = world.revoke(world.process("command line"), token)
    for _ in range(60):
        world.ask(patient, token)
        world.run(0.1)
    assert operation.receipt is not None
    assert operation.receipt.effective_everywhere
    assert outcome(world) == HELD


def test_view_of_an_ended_epoch_does_not_judge_a_cut_off_of_the_next() -> None:
    """R1: what this process wrote into a new epoch must not revive a token that an older cut-off had killed."""
    world = World()
    a, _, token = pair(world)
    assert world.finish(world.revoke(a, token, "sub")).effective_everywhere
    assert world.ask(a, token) == "revoked"
    assert world.lose(world.server.restart)
    operation = world.revoke(a, token, "sub", wait=False)
    step_until(world, lambda: operation.receipt is not None)
    assert a.view.is_live(a.clock.boot())
    assert world.ask(a, token) == "revoked"
    assert outcome(world) == HELD


@pytest.mark.parametrize("kind", ["jti", "sub"])
def test_admit_mode_refuses_what_it_knows_without_the_store(kind: str) -> None:
    """R1: under ``ON_STORE_DOWN=admit`` a ruling that this process has acknowledged still refuses, whatever the epochs."""
    world = World()
    a, b, token = pair(world, on_store_down="admit")
    world.lose(world.server.restart)
    world.run(4.0)
    assert b.view.parts[0].epoch == a.view.parts[0].epoch != token.claims["jgp"].split(":")[0]
    world.finish(world.revoke(a, token, "sub"))
    world.finish(world.revoke(a, token, kind))
    world.run(1.0)
    for process in (a, b):
        process.cut_off_until = world.time.now + 10.0
    world.run(1.5)
    world.ask(b, world.issue(a, "bob"))
    assert world.ask(b, token) in ("revoked", "store_unavailable")
