"""Requests that are cancelled while they wait for the store leave nothing behind (threats.md 13, 28)."""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from beside import beside, together
from processes.gates import answer_of, heal, judged, started
from processes.proxy import Proxy
from processes.world import wait_until

from jwtgate.errors import Revoked, StoreUnavailable

if TYPE_CHECKING:
    from servers import Server

    from jwtgate import Gate

pytestmark = pytest.mark.server

LOOK_UPS, AT_ONCE, TOKENS = 10_000, 250, 60
ASKING = {"view_limit": 0, "cache_size": 1}
"""Nothing is known and next to nothing remembered, so every request asks the store."""

MAX_CONNECTIONS = 16
SECONDS = 60.0


def issued(gate: Gate) -> list[tuple[str, bool, str]]:
    """Tokens with their names; every other one is revoked."""
    tokens = [(gate.issue("alice", claims={"tid": str(n)}), n % 2 == 1, str(n)) for n in range(TOKENS)]
    for token, is_revoked, _ in tokens:
        if is_revoked:
            gate.revoke(token=token)
    return tokens


async def verdict(gate: Gate, token: str, is_revoked: bool, name: str) -> str:
    """``crossed`` where an answer was somebody else's."""
    try:
        answer = await gate.aio.verify(token)
    except Revoked:
        return "right" if is_revoked else "crossed"
    except StoreUnavailable:
        return "unavailable"
    return "crossed" if is_revoked or answer.claims["tid"] != name else "right"


async def cancel_at_random(gate: Gate, tokens: list[tuple[str, bool, str]], longest_seconds: float) -> dict[str, int]:
    """Starts many look-ups and cancels about two thirds of them, each at its own moment."""
    counts = {"right": 0, "crossed": 0, "unavailable": 0, "cancelled": 0}
    loop = asyncio.get_running_loop()
    for _ in range(LOOK_UPS // AT_ONCE):
        tasks = [asyncio.create_task(verdict(gate, *random.choice(tokens))) for _ in range(AT_ONCE)]
        for task in tasks:
            if random.random() < 0.66:
                loop.call_later(random.random() * longest_seconds, task.cancel)
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(answer, asyncio.CancelledError):
                counts["cancelled"] += 1
            elif isinstance(answer, BaseException):
                raise answer
            else:
                counts[answer] += 1
    return counts


async def cancelled_under(gate: Gate, tokens: list[tuple[str, bool, str]], longest_seconds: float) -> dict[str, int]:
    """Collects what the loop would otherwise only log; nothing may be left on it."""
    before = asyncio.all_tasks()
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    counts = await cancel_at_random(gate, tokens, longest_seconds)
    await asyncio.sleep(0.3)
    until = time.monotonic() + 10.0
    while asyncio.all_tasks() != before:
        assert time.monotonic() < until, asyncio.all_tasks() - before
        await asyncio.sleep(0.02)
    assert complaints == []
    return counts


def connections(server: Server) -> int:
    """Of everybody but the one who asks."""
    with server.client() as client:
        return len(client.client_list()) - 1


@pytest.mark.parametrize("delay_seconds", [0.0, 0.02])
def test_cancelled_look_ups_cross_no_answers(valkey: Server, delay_seconds: float) -> None:
    """10,000 look-ups, cancelled before, during and after their round trip."""
    heal(valkey)
    with Proxy(valkey.port) as proxy, started(proxy.url, **ASKING) as gate:
        tokens = issued(gate)
        gate.verify(tokens[0][0])
        proxy.delay_seconds = delay_seconds
        counts = asyncio.run(asyncio.wait_for(cancelled_under(gate, tokens, 0.03 + 2 * delay_seconds), SECONDS))
        proxy.pass_on()
        assert counts["crossed"] == 0
        assert counts["right"] > 500, counts
        assert counts["cancelled"] > 500, counts
        assert connections(valkey) <= MAX_CONNECTIONS + 1
        wait_until(lambda: answer_of(gate, tokens[0][0]) == "admitted", 10.0, "the store is asked again")
        for token, is_revoked, _ in tokens:
            assert judged(gate, token) == ("refused" if is_revoked else "admitted")


def test_cancelled_look_ups_of_a_failing_store_leave_nothing(valkey: Server) -> None:
    """The connections are cut meanwhile, over and over."""
    heal(valkey)
    with Proxy(valkey.port) as proxy, started(proxy.url, **ASKING) as gate:
        tokens = issued(gate)
        is_over = threading.Event()

        def cut() -> None:
            while not is_over.wait(0.02):
                proxy.drop()

        with beside(cut, end=is_over.set):
            counts = asyncio.run(asyncio.wait_for(cancelled_under(gate, tokens, 0.03), SECONDS))
        assert counts["crossed"] == 0
        assert connections(valkey) <= MAX_CONNECTIONS + 1
        wait_until(lambda: answer_of(gate, tokens[0][0]) == "admitted", 10.0, "the store is asked again")


def test_two_loops_and_threads_share_one_gate(valkey: Server) -> None:
    """threats.md 28: each answer reaches its own loop; nobody waits for anybody."""
    heal(valkey)
    with started(valkey.url, **ASKING) as gate:
        tokens = issued(gate)
        answers: list[str] = []

        async def ask_all() -> None:
            for _ in range(4):
                answers.extend(await asyncio.gather(*(verdict(gate, *each) for each in tokens)))

        def ask_one_by_one() -> None:
            for token, is_revoked, _ in tokens * 4:
                answers.append("right" if judged(gate, token) == ("refused" if is_revoked else "admitted") else "crossed")

        together(*[lambda: asyncio.run(ask_all()), ask_one_by_one] * 2)
        assert answers == ["right"] * len(tokens) * 16


def test_full_cache_shared_by_threads_gives_only_answers(valkey: Server) -> None:
    """threats.md 2: a hit of one thread while another makes room is no error of anybody's."""
    heal(valkey)
    interval = sys.getswitchinterval()
    with started(valkey.url, cache_size=4) as gate:
        tokens = [gate.issue("alice") for _ in range(8)]
        others: list[BaseException] = []
        ends_at = time.monotonic() + 2.0

        def ask() -> None:
            while time.monotonic() < ends_at and not others:
                try:
                    answer_of(gate, random.choice(tokens))
                except BaseException as error:
                    others.append(error)

        try:
            sys.setswitchinterval(1e-6)
            together(*[ask] * 4)
        finally:
            sys.setswitchinterval(interval)
        assert others == []


def test_gate_closed_under_load_only_ever_gives_its_own_answers(valkey: Server) -> None:
    """``close`` may come at any time, and the next use starts again: an answer or a 503, never another exception."""
    heal(valkey)
    with started(valkey.url, lease=0.2, **ASKING) as gate:
        tokens = issued(gate)
        others: list[BaseException] = []
        counts = {"right": 0, "crossed": 0, "unavailable": 0}
        began = time.monotonic()

        def goes_on() -> bool:
            """Also where a busy machine takes longer for the first answer than it is closed again."""
            seconds = time.monotonic() - began
            return seconds < 2.5 or (counts["right"] == 0 and seconds < 30.0)

        async def ask() -> None:
            while goes_on():
                for answer in await asyncio.gather(*(verdict(gate, *each) for each in tokens), return_exceptions=True):
                    if isinstance(answer, BaseException):
                        others.append(answer)
                    else:
                        counts[answer] += 1

        def close() -> None:
            while goes_on():
                gate.close()
                time.sleep(random.random() * 0.02)

        together(close, lambda: asyncio.run(ask()))
        assert others == []
        assert counts["crossed"] == 0
        assert counts["right"] > 0
