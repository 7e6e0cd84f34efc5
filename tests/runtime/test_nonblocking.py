"""Look-ups of several requests in one round trip: each gets what it asked for, and nothing of another's."""

from __future__ import annotations

import asyncio
import threading

import pytest

from jwtgate.core.effects import Effect, Looked, LookUp, Mark, Roster, Write
from jwtgate.core.history import Epoch, Facts, LogEnd, NotWritten
from jwtgate.errors import StoreUnavailable
from jwtgate.runtime.clock import SystemClock
from jwtgate.runtime.health import Health
from jwtgate.runtime.nonblocking import THREADS, Waiter


def epoch_of(name: str) -> Epoch:
    return Epoch(name, 1.0, 1.0, is_healed=True, is_settled=True)


class Asked:
    """Performs look-ups: each ruling is its digest, each session's history is named as the session is."""

    def __init__(self) -> None:
        self.health = Health(SystemClock(), 1.0)
        self.asked: list[int] = []
        self.is_written = threading.Event()
        self.waiting: type[Effect] = Write

    def perform(self, effect: Effect) -> Effect:
        """Those of one kind wait, as for a journal."""
        if isinstance(effect, self.waiting):
            assert self.is_written.wait(10.0)
        return effect

    def look_up(self, digests: tuple[bytes, ...], sids: tuple[str, ...] = ()) -> Looked:
        self.asked.append(len(digests))
        homes = tuple(map(epoch_of, sids))
        facts = Facts(epoch_of("first"), LogEnd(1, "link", "1"), digests, (None,) * len(sids), 1.0, homes=homes)
        return Looked(facts, 0.0)


def test_request_is_told_of_the_history_of_its_own_session() -> None:
    """L3: whether an absent session has ended or was lost depends on the partition that it stood in."""
    performer = Asked()
    waiter = Waiter(performer)  # type: ignore[arg-type]

    async def ask_together() -> list[Facts]:
        effects = [LookUp((bytes([number]),) * number, (f"home {number}",)) for number in range(1, 6)]
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in effects]
        waiter._asked.extend((effect, future, loop) for effect, future in zip(effects, futures, strict=True))
        await asyncio.to_thread(waiter._answer_waiting)
        return [looked.facts for looked in await asyncio.gather(*futures)]

    answers = asyncio.run(ask_together())
    waiter.close()
    assert performer.asked == [15]
    assert [facts.home().name for facts in answers] == [f"home {number}" for number in range(1, 6)]
    assert [facts.rulings for facts in answers] == [(bytes([number]),) * number for number in range(1, 6)]


def test_no_look_up_waits_behind_writes_of_any_kind() -> None:
    """A login or a refresh waits for a journal, as a ruling does for a disk."""
    performer = Asked()
    waiter = Waiter(performer)  # type: ignore[arg-type]

    async def write_and_look_up() -> Looked:
        writes = [asyncio.ensure_future(waiter.perform(Write((), 0.0))) for _ in range(2 * THREADS)]
        await asyncio.sleep(0)
        try:
            looked: Looked = await asyncio.wait_for(waiter.perform(LookUp((b"a",), ())), 5.0)
        finally:
            performer.is_written.set()
        await asyncio.gather(*writes)
        return looked

    assert asyncio.run(write_and_look_up()).facts.rulings == (b"a",)
    waiter.close()


def test_nothing_waits_behind_proofs() -> None:
    """Anybody with a bound token can send many: neither a look-up nor a logout stands in their line."""
    performer = Asked()
    performer.waiting = Mark
    waiter = Waiter(performer)  # type: ignore[arg-type]

    async def prove_and_do_the_rest() -> None:
        proofs = [asyncio.ensure_future(waiter.perform(Mark("dpop", b"a", b"", 1.0, 1.0))) for _ in range(100)]
        await asyncio.sleep(0)
        try:
            for effect in (LookUp((b"a",), ()), Write((), 0.0), Roster()):
                await asyncio.wait_for(waiter.perform(effect), 5.0)
        finally:
            performer.is_written.set()
        await asyncio.gather(*proofs)

    asyncio.run(prove_and_do_the_rest())
    waiter.close()


def test_write_that_no_thread_could_be_made_for_is_not_said_to_be_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has put it into the line by then: a thread that is at work takes it up when it is through."""
    done, has_done_both = list[Effect](), threading.Event()

    class Late(Asked):
        def perform(self, effect: Effect) -> Effect:
            done.append(super().perform(effect))
            if len(done) == 2:
                has_done_both.set()
            return effect

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    performer = Late()
    waiter = Waiter(performer)  # type: ignore[arg-type]

    async def write_twice() -> None:
        first = asyncio.ensure_future(waiter.perform(Write((), 1.0)))
        await asyncio.sleep(0)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(StoreUnavailable) as told:
                await waiter.perform(Write((), 2.0))
        performer.is_written.set()
        await first
        assert not isinstance(told.value, NotWritten)

    asyncio.run(write_twice())
    assert has_done_both.wait(10.0)
    waiter.close()
    assert done == [Write((), 1.0), Write((), 2.0)]
