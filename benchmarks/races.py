"""Row 12: one refresh token, shown at once by racers in several processes, thousands of times.

Half of the processes use the blocking face, half the asyncio one. For each batch of sessions they wait for each other, then
each shows every token of the batch at once. Whether they really met is seen where they ask the store: a racer that was told
``no`` by a write had seen the token current, and somebody else was first. Afterwards every racer must hold the same pair, the
pair must work, and the subject must have one session.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import Line, Options
from benchmarks.tokens import SECRET
from jwtgate import Gate, Settings

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

__all__ = ["double_refreshes"]

PREFIX = "races"
RACERS = 4
BATCH = 8
START_SECONDS, PATIENCE_SECONDS = 60.0, 900.0


def double_refreshes(options: Options) -> list[Line]:
    """No fork, no false logout, every racer the same pair."""
    count = options.pick(10_000, 400)
    with closing(_gate(options.url)) as gate:
        tokens = [gate.sessions.start(f"user-{number}").refresh_token for number in range(count)]
        began = time.monotonic()
        answers, losers = _raced(options.url, tokens)
        seconds = time.monotonic() - began
        found = {"sessions": count, "same pair": 0, "false logouts": 0, "pairs that work": 0, "one live session": 0}
        for number, pairs in enumerate(zip(*answers, strict=True)):
            found["false logouts"] += sum(isinstance(pair, str) for pair in pairs)
            found["same pair"] += len(set(pairs)) == 1 and not isinstance(pairs[0], str)
            if isinstance(pairs[0], tuple):
                found["pairs that work"] += _works(gate, *pairs[0])
            found["one live session"] += len(gate.sessions.list(f"user-{number}")) == 1
    met = sum(any(lost) for lost in zip(*losers, strict=True))
    whole = {name: number == count for name, number in found.items() if name not in ("sessions", "false logouts")}
    return [
        Line(
            f"12 {count:,} double refreshes, {RACERS} processes, both faces",
            "; ".join(f"{name}: {number:,}" for name, number in found.items() if name != "sessions"),
            f"{met:,} truly met: several racers saw the token current; {sum(map(sum, losers)):,} lost a write; {seconds:.0f} s",
            "",
            "no fork, no false logout, every racer the same pair",
            all(whole.values()) and not found["false logouts"],
            {**found, "met": met, "seconds": seconds},
        )
    ]


def _works(gate: Gate, access_token: str, refresh_token: str) -> bool:
    gate.verify(access_token)
    return gate.sessions.refresh(refresh_token).refresh_token != refresh_token


def _gate(url: str) -> Gate:
    """With a grace in which even a starved racer gets its answer."""
    gate = Gate(Settings(secret=SECRET, store=url, prefix=PREFIX, lease=3.0, refresh_grace=120.0))
    if not gate.ready(20.0):
        raise AssertionError("the view did not become live")
    return gate


def _raced(url: str, tokens: list[str]) -> tuple[list[list[Any]], list[list[bool]]]:
    """Of each racer: a pair, or the name of an error, for each token; and where it lost a write."""
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=_race, args=(number, url, SECRET, tokens, barrier, queue)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    try:
        told = [queue.get(timeout=PATIENCE_SECONDS) for _ in racers]
    finally:
        for racer in racers:
            racer.join(START_SECONDS)
            racer.kill()
    return [answers for answers, _ in told], [losers for _, losers in told]


# --- a racer's process


def _race(number: int, url: str, secret: str, tokens: list[str], barrier: Barrier, queue: Queue[Any]) -> None:
    gate = Gate(Settings(secret=secret, store=url, prefix=PREFIX, lease=3.0, refresh_grace=120.0))
    lost = _watched(gate)
    gate.ready(20.0)
    batches = [tokens[first : first + BATCH] for first in range(0, len(tokens), BATCH)]
    shown = _blocking(gate, batches, barrier) if number % 2 else asyncio.run(_awaiting(gate, batches, barrier))
    sids = [answer[2] if isinstance(answer, tuple) else "" for answer in shown]
    queue.put(([answer[:2] if isinstance(answer, tuple) else answer for answer in shown], [sid in lost for sid in sids]))
    gate.close()


def _watched(gate: Gate) -> set[str]:
    """The sessions of which a write of this process came second."""
    write, lost = gate.store.write, set[str]()

    def watched(changes: Any, now: float, sessions: Any = (), guard: Any = None) -> Any:
        written = write(changes, now, sessions, guard)
        if written is None:
            lost.update(session.sid for session in sessions)
        return written

    gate.store.write = watched  # type: ignore[method-assign]
    return lost


def _blocking(gate: Gate, batches: list[list[str]], barrier: Barrier) -> list[Any]:
    def show(token: str) -> Any:
        try:
            pair = gate.sessions.refresh(token)
        except Exception as error:
            return type(error).__name__
        return (pair.access_token, pair.refresh_token, pair.session_id)

    answers: list[Any] = []
    with ThreadPoolExecutor(BATCH) as pool:
        for batch in batches:
            barrier.wait(START_SECONDS)
            answers += pool.map(show, batch)
    return answers


async def _awaiting(gate: Gate, batches: list[list[str]], barrier: Barrier) -> list[Any]:
    async def show(token: str) -> Any:
        try:
            pair = await gate.aio.sessions.refresh(token)
        except Exception as error:
            return type(error).__name__
        return (pair.access_token, pair.refresh_token, pair.session_id)

    answers: list[Any] = []
    for batch in batches:
        barrier.wait(START_SECONDS)
        answers += await asyncio.gather(*map(show, batch))
    return answers
