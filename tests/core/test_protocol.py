"""The promise, under thousands of random interleavings of requests, revocations and faults.

Real plans run in the world of world.py; what is checked stands there. ``JWTGATE_MODEL_RUNS`` sets the number of runs of the
explorer, ``JWTGATE_MODEL_FIRST`` the first seed; a run that breaks the promise names its seed. The same world is driven by
Hypothesis too, which shrinks what it finds to a few steps. The rules one by one, with and without: test_protocol_rules.py.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from math import inf

import pytest
from core.scripted import START
from core.world import KINDS, World
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import jwtgate.core.following as following
import jwtgate.core.healing as healing
from jwtgate.errors import SubjectSuspended

RUNS = int(os.environ.get("JWTGATE_MODEL_RUNS", "300"))
FIRST = int(os.environ.get("JWTGATE_MODEL_FIRST", "0"))
PARTS = 4


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of simulated outages would each say so."""
    caplog.set_level(logging.CRITICAL, "jwtgate")


class Explorer:
    """One random run: three processes, one of them the anchor, sometimes a command line; 6 s of true time."""

    def __init__(self, seed: int) -> None:
        world = self.world = World(seed, is_rough=True, is_old=seed % 3 != 0)
        self.draw = world.random
        self.mode = ("refuse", "cached", "refuse", "mixed")[seed % 4]
        self.grace = self.draw.choice((0.0, 1.0, 3.0))
        self.spawn("anchor", is_anchor=True).follow()
        for name in ("b", "c"):
            self.spawn(name).follow()
        self.command_line = self.spawn("command line")
        world.run(3.0 if not world.server.is_own else 0.7)
        for sub in ("alice", "alice", "bob", "innocent"):
            self.issue(sub)
        world.after(0.0, self.traffic)
        world.after(self.draw.uniform(0.0, 0.5), self.mishap)
        for _ in range(self.draw.choice((1, 2, 2, 3))):
            world.after(self.draw.uniform(0.2, 3.0), self.revoke)

    def spawn(self, name: str, **options):
        mode = self.draw.choice(("refuse", "cached")) if self.mode == "mixed" else self.mode
        return self.world.process(name, on_store_down=mode, grace=self.grace, **options)

    def issue(self, sub: str) -> None:
        process = self.world.processes[0]
        if process.is_reachable():
            with suppress(SubjectSuspended):
                self.world.issue(process, sub, tenant="acme" if sub != "innocent" else "other", ver=1)

    def living(self):
        return self.draw.choice([process for process in self.world.processes if not process.is_dead])

    def traffic(self) -> None:
        world, draw = self.world, self.draw
        for process in world.processes:
            if not process.is_dead and process.following is not None and process.paused_until <= world.time.now:
                world.request(process, draw.choice(world.tokens))
        world.after(draw.uniform(0.01, 0.15), self.traffic)

    def revoke(self) -> None:
        world, draw = self.world, self.draw
        token = draw.choice([token for token in world.tokens if token.claims["sub"] != "innocent"])
        kind = draw.choice([kind for kind in KINDS if kind != "everything" or draw.random() < 0.3])
        # Where reaches differ, a receipt that does not wait cannot know the longest one of an epoch that has just begun.
        world.revoke(self.living(), token, kind, wait=self.mode == "mixed" or draw.random() < 0.7)

    def mishap(self) -> None:
        world, draw, server = self.world, self.draw, self.world.server
        world.after(draw.uniform(0.05, 0.9), self.mishap)
        now = world.time.now
        victim = draw.choice([process for process in world.processes[1:] if not process.is_dead])
        match draw.randrange(14):
            case 0 | 1:
                victim.paused_until = now + draw.uniform(0.2, 3.0)
            case 2 if victim.following is not None:
                victim.kill()
                self.spawn(f"{victim.name}'").follow()
            case 3 if victim.following is not None:
                victim.close()
                victim.kill()
                self.spawn(f"{victim.name}'").follow()
            case 4:
                victim.cut_off_until = now + draw.uniform(0.2, 3.0)
            case 5 | 6:
                world.lose(server.flush)
            case 7 | 8:
                world.lose(lambda: server.lose_tail(draw.randrange(5)))
            case 9:
                world.lose(server.restart)
            case 10:
                server.trim(draw.randrange(3))
            case 11 if self.mode != "refuse":
                world.down_until = now + draw.uniform(0.2, 2.0)
            case 12:
                self.step_clocks(victim)
            case _:
                self.issue(draw.choice(("alice", "bob", "innocent")))
                for _ in range(draw.randrange(8)):
                    self.noise()

    def step_clocks(self, victim) -> None:
        """Once two epochs are over only times order a token and a cut-off: tokens are issued by a good clock, the anchor's,
        and the store's is never behind it. Anybody else's may say what it likes."""
        self.world.server.skew = START + self.draw.choice((1.0, 2.0, 20.0))
        victim.clock.set = START + self.draw.choice((-20.0, -3.0, 3.0, 20.0))

    def noise(self) -> None:
        """A ruling that matters to nobody here."""
        process = self.world.processes[0]
        if process.is_reachable():
            process.store.is_down = False
            from jwtgate.core.rulings import Change

            now = self.world.server.now()
            process.store.write([Change(b"%016d" % next(self.world.serial), revoked=True, until=now + 900)], now)

    def run(self) -> World:
        self.world.run(6.0)
        return self.world


@pytest.mark.parametrize("part", range(PARTS))
def test_no_promise_is_broken(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a receipt says holds for every request that begins afterwards; nobody else is called revoked."""
    admitted = receipts = effective = 0
    for seed in range(FIRST + part, FIRST + RUNS, PARTS):
        monkeypatch.setattr(following, "ENTRIES_PER_READ", (1000, 3)[seed % 5 == 0])
        monkeypatch.setattr(healing, "PAGE_SIZE", (1000, 2)[seed % 4 == 0])
        monkeypatch.setattr(healing, "REPAIRS_PER_BATCH", (200, 2)[seed % 4 == 1])
        world = Explorer(seed).run()
        assert not world.broken, f"seed {seed}: {world.broken[:3]}"
        admitted += world.admitted
        receipts += world.receipts
        effective += sum(
            operation.receipt is not None and operation.receipt.effective_everywhere for operation in world.operations
        )
    runs = len(range(FIRST + part, FIRST + RUNS, PARTS))
    assert admitted > 40 * runs, "the world stood still"
    assert receipts > runs / 2
    assert effective > runs / 4


SECONDS = st.sampled_from([0.001, 0.01, 0.1, 0.3, 0.7, 1.0, 1.5, 2.5])


class Protocol(RuleBasedStateMachine):
    """The same world under Hypothesis: every rule is one thing that can happen next."""

    @initialize(is_cached=st.booleans(), seed=st.integers(0, 3), is_partial=st.booleans())
    def begin(self, is_cached: bool, seed: int, is_partial: bool) -> None:
        following.ENTRIES_PER_READ = 2 if is_partial else 1000
        self.mode = "cached" if is_cached else "refuse"
        self.world = World(seed)
        self.spawn("anchor", is_anchor=True).follow()
        self.spawn("b").follow()
        self.spawn("command line")
        self.world.run(0.7)
        for sub in ("alice", "bob", "innocent"):
            self.world.issue(self.world.processes[0], sub, tenant=sub, ver=1)
            for process in self.world.processes[:2]:
                self.world.ask(process, self.world.tokens[-1])

    def teardown(self) -> None:
        following.ENTRIES_PER_READ = 1000

    def spawn(self, name: str, **options):
        return self.world.process(name, on_store_down=self.mode, grace=2.0, **options)

    def pick(self, number: int):
        living = [process for process in self.world.processes if not process.is_dead]
        return living[number % len(living)]

    def victim(self, number: int):
        living = [process for process in self.world.processes[1:] if not process.is_dead]
        return living[number % len(living)]

    def actor(self, number: int, *, spared: bool):
        """Of those under way, in the order in which they come to something; an anchor's follower may not be slowed."""
        under_way = [actor for actor in self.world.actors if not (spared and actor.is_follower and actor.process.is_anchor)]
        under_way.sort(key=lambda actor: actor.event[:2] if actor.event else [inf, 0])
        return under_way[number % len(under_way)] if under_way else None

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(process=st.integers(0, 3), token=st.integers(0, 4))
    def start_request(self, process: int, token: int) -> None:
        self.world.request(self.pick(process), self.world.tokens[token % len(self.world.tokens)])

    @rule(process=st.integers(0, 3), token=st.integers(0, 4))
    def request(self, process: int, token: int) -> None:
        self.world.ask(self.pick(process), self.world.tokens[token % len(self.world.tokens)], 0.01)

    @rule(number=st.integers(0, 5))
    def step_effect(self, number: int) -> None:
        actor = self.actor(number, spared=False)
        if actor is not None and actor.stage != "new" and type(actor.effect).__name__ not in ("Pause", "Read"):
            self.world.shift(actor, -inf)
            self.world.run(0.0)

    @rule(number=st.integers(0, 5), seconds=SECONDS)
    def slow_effect(self, number: int, seconds: float) -> None:
        actor = self.actor(number, spared=True)
        if actor is not None:
            self.world.shift(actor, seconds)

    @rule(process=st.integers(0, 3), token=st.integers(0, 4), kind=st.sampled_from(KINDS), wait=st.booleans())
    def revoke(self, process: int, token: int, kind: str, wait: bool) -> None:
        self.world.revoke(self.pick(process), self.world.tokens[token % len(self.world.tokens)], kind, wait=wait)

    @rule(process=st.integers(0, 3), token=st.integers(0, 4), kind=st.sampled_from(KINDS))
    def revoke_and_go_on(self, process: int, token: int, kind: str) -> None:
        operation = self.world.revoke(self.pick(process), self.world.tokens[token % len(self.world.tokens)], kind)
        self.world.run_until(lambda: operation.ended_at < inf, 0.3)

    @rule(sub=st.sampled_from(["alice", "bob"]))
    def issue(self, sub: str) -> None:
        with suppress(SubjectSuspended):
            self.world.issue(self.world.processes[0], sub, tenant=sub, ver=1)

    @rule(process=st.integers(0, 2), seconds=SECONDS)
    def pause(self, process: int, seconds: float) -> None:
        self.victim(process).paused_until = self.world.time.now + seconds

    @rule(process=st.integers(0, 2), seconds=SECONDS)
    def cut_off(self, process: int, seconds: float) -> None:
        self.victim(process).cut_off_until = self.world.time.now + seconds

    @precondition(lambda self: len(self.world.processes) < 7)
    @rule(process=st.integers(0, 2), gently=st.booleans())
    def end(self, process: int, gently: bool) -> None:
        victim = self.victim(process)
        if victim.following is not None:
            if gently:
                victim.close()
            victim.kill()
            self.spawn(f"{victim.name}'").follow()

    @rule()
    def flush(self) -> None:
        self.world.lose(self.world.server.flush)

    @rule(entries=st.integers(0, 3))
    def lose_tail(self, entries: int) -> None:
        self.world.lose(lambda: self.world.server.lose_tail(entries))

    @rule()
    def restart(self) -> None:
        self.world.lose(self.world.server.restart)

    @rule(kept=st.integers(0, 2))
    def trim(self, kept: int) -> None:
        self.world.server.trim(kept)

    @rule(process=st.integers(0, 2), seconds=st.sampled_from([-20.0, 3.0, 20.0]), is_servers=st.booleans())
    def step_wall_clock(self, process: int, seconds: float, is_servers: bool) -> None:
        if is_servers:
            self.world.server.skew = START + abs(seconds)
        else:
            self.victim(process).clock.set = START + seconds

    @invariant()
    def nothing_is_broken(self) -> None:
        if hasattr(self, "world"):
            assert not self.world.broken, self.world.broken


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(
    max_examples=max(60, RUNS // 5), stateful_step_count=25, suppress_health_check=list(HealthCheck)
)
