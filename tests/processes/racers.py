"""Processes that each do what they are told at the moment they are told, through a gate of their own, and say how it went.

Half of them use the blocking face with a thread per call, half the asyncio face. All times are CLOCK_MONOTONIC, which every
process of a machine shares.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import multiprocessing.connection
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from processes.gates import made
from processes.world import wait_until

from jwtgate.errors import JWTGateError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from multiprocessing.connection import Connection

    from jwtgate import Gate

THREADS = 32
SECONDS = 60.0
AGAIN_SECONDS = 0.02

_uses = itertools.count(1)


class Call(NamedTuple):
    """``name`` of a method of the gate or of its sessions, at a time."""

    at: float
    name: str
    positional: tuple[Any, ...] = ()
    named: dict[str, Any] = {}


class Outcome(NamedTuple):
    """``value``: what was returned, as plain data. ``error``: the class of a refusal, else empty."""

    began: float
    ended: float
    value: Any
    error: str


class Pair(NamedTuple):
    """A ``TokenPair``, plain."""

    access_token: str
    refresh_token: str
    sid: str


class Racers:
    """So many processes on one store."""

    def __init__(self, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.lines: list[Connection] = []
        self.processes = []
        for number in range(count):
            here, there = context.Pipe()
            process = context.Process(target=_main, args=(there, number % 2 == 1), daemon=True)
            process.start()
            there.close()
            self.lines.append(here)
            self.processes.append(process)

    def use(self, url: str, **settings: Any) -> None:
        """Each closes its gate and makes another, which is live when this returns.

        In a history of its own: a test that is asked once more does not find that of the first time, and who followed it.
        """
        use = next(_uses)
        settings["prefix"] = f"racers-{use}"
        with_short_lease = made(url, **{**settings, "lease": 0.1})
        try:  # an empty store takes two leases to be believed
            assert with_short_lease.ready(15.0)
            wait_until(lambda: with_short_lease.store.workers()[0].is_settled, 10.0, "the epoch has settled")
        finally:
            with_short_lease.close()
        live = ("live", use)
        for line in self.lines:
            line.send(("use", url, {**settings, "use": use}))
        for number in range(len(self.lines)):
            while (said := self.answer(number)) != live:  # a test that failed may have left answers
                assert not (isinstance(said, tuple) and said[1:] == live[1:]), said

    def tell_all(self, message: Any) -> list[Any]:
        """The same to each; their answers."""
        for line in self.lines:
            line.send(message)
        return [self.answer(number) for number in range(len(self.lines))]

    def answer(self, number: int) -> Any:
        """The next message of one of them."""
        assert self.lines[number].poll(SECONDS), f"racer {number} says nothing"
        return self.lines[number].recv()

    def listen(self, seconds: float, heard: list[list[Any]]) -> None:
        """Takes all that is sent for so long: a pipe that nobody reads would hold up whoever writes to it."""
        until = time.monotonic() + seconds
        numbers = {line: number for number, line in enumerate(self.lines) if number < len(heard)}
        while (left := until - time.monotonic()) > 0:
            for line in multiprocessing.connection.wait(list(numbers), left):
                try:
                    heard[numbers[line]].append(line.recv())
                except (EOFError, OSError):  # it was killed, perhaps in the middle of a word
                    del numbers[line]
            if not numbers:
                time.sleep(max(0.0, until - time.monotonic()))

    def listen_until(self, is_enough: Callable[[list[Any]], bool], heard: list[list[Any]], what: str) -> None:
        """Until it is enough of each."""
        deadline = time.monotonic() + SECONDS
        while not all(answers and is_enough(answers) for answers in heard):
            assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
            self.listen(0.05, heard)

    def race(self, *calls: Sequence[Call]) -> list[list[Outcome]]:
        """Gives each of the first racers its calls, all of which wait for their time; the outcomes in the same order."""
        for line, own in zip(self.lines, calls, strict=False):
            line.send(("race", list(own), None))
        return [self.answer(number) for number in range(len(calls))]

    def everywhere(self, calls: Iterable[Call]) -> list[list[Outcome]]:
        """The same calls in every process."""
        return self.race(*[list(calls)] * len(self.lines))

    def kill(self, number: int) -> None:
        """SIGKILL, to one of our own."""
        self.processes[number].kill()
        self.processes[number].join(SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for line in self.lines:
            line.close()
        for process in self.processes:
            process.join(10.0)
            process.kill()
            process.join()


# --- a racer's process


def _main(line: Connection, is_awaited: bool) -> None:
    gate = None
    while True:
        try:
            message, what, settings = line.recv()
        except EOFError:
            break
        if message == "use":
            if gate is not None:
                gate.close()
            use = settings.pop("use")
            gate = made(what, **settings)
            line.send(("live" if gate.ready(15.0) else repr(gate.status()), use))
        elif message == "race":
            assert gate is not None
            line.send(asyncio.run(_raced_awaited(gate, what)) if is_awaited else _raced(gate, what))
        elif message == "live":
            assert gate is not None
            line.send(gate.ready(15.0) and gate.status().store == "up")
        elif message == "stop":
            line.send("stopped")
        else:
            assert gate is not None
            {"chain": _chain, "hammer": _hammer}[message](gate, line, what)
    if gate is not None:
        gate.close()


def _method(face: Any, name: str) -> Any:
    return getattr(face.sessions, name[len("sessions.") :]) if name.startswith("sessions.") else getattr(face, name)


def _plain(value: Any) -> Any:
    if hasattr(value, "refresh_token"):
        return Pair(value.access_token, value.refresh_token, value.session_id)
    if hasattr(value, "effective_everywhere"):
        return value.effective_everywhere
    if isinstance(value, list):
        return [session.sid for session in value]
    return value.session_id


def _raced(gate: Gate, calls: list[Call]) -> list[Outcome]:
    def make(call: Call) -> Outcome:
        method = _method(gate, call.name)
        time.sleep(max(0.0, call.at - time.monotonic()))
        began, value, error = time.monotonic(), None, ""
        try:
            value = _plain(method(*call.positional, **call.named))
        except Exception as refusal:
            error = type(refusal).__name__
        return Outcome(began, time.monotonic(), value, error)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(make, calls))


async def _raced_awaited(gate: Gate, calls: list[Call]) -> list[Outcome]:
    async def make(call: Call) -> Outcome:
        method = _method(gate.aio, call.name)
        await asyncio.sleep(max(0.0, call.at - time.monotonic()))
        began, value, error = time.monotonic(), None, ""
        try:
            value = _plain(await method(*call.positional, **call.named))
        except Exception as refusal:
            error = type(refusal).__name__
        return Outcome(began, time.monotonic(), value, error)

    return list(await asyncio.gather(*map(make, calls)))


def _chain(gate: Gate, line: Connection, refresh_token: str) -> None:
    """Refreshes one session over and over and sends every answer on; until something is sent to it."""
    while not line.poll():
        try:
            pair = gate.sessions.refresh(refresh_token)
        except StoreUnavailable:
            line.send("StoreUnavailable")
            time.sleep(AGAIN_SECONDS)
        except JWTGateError as error:
            line.send(type(error).__name__)
            time.sleep(AGAIN_SECONDS)
        else:
            refresh_token = pair.refresh_token
            line.send(_plain(pair))


def _hammer(gate: Gate, line: Connection, tokens: list[str]) -> None:
    """Decides all tokens over and over, until something is sent to it; tells (start, end, number, verdict) of each."""
    decisions: list[tuple[float, float, int, str]] = []
    while not line.poll():
        for number, token in enumerate(tokens):
            start, verdict = time.monotonic(), "admitted"
            try:
                gate.verify(token)
            except StoreUnavailable:
                verdict = "unavailable"
            except JWTGateError:
                verdict = "refused"
            decisions.append((start, time.monotonic(), number, verdict))
        time.sleep(0.002)
    line.send(decisions)
