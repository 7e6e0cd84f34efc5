"""The last act: the store is killed and comes back, and no revocation is forgotten meanwhile.

Without its store a worker may trust its memory for one lease; then it answers 503, never 401, to what it cannot judge.
What it knows to be revoked it refuses all along. A store that was away may have lost history, so after its return the
workers watch it for two leases, and write back what it lacks, before anything is admitted again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from jwtgate.demo.measuring import Track, hammered
from jwtgate.demo.screen import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jwtgate.demo.lines import Answer, Worker
    from jwtgate.demo.rounds import Crew
    from jwtgate.demo.screen import Screen
    from jwtgate.demo.servers import Servers

__all__ = ["Outage", "Tokens"]

PAUSE_SECONDS = 0.01
BEFORE_SECONDS = 0.3
UNSURE_SECONDS = 0.7
"""How long the 503s are watched."""

AFTER_SECONDS = 0.3
PATIENCE_SECONDS = 20.0
"""For what must happen within a few leases: on a small machine processes may have to wait for a processor."""

COLUMNS = (
    "worker",
    "admitted",
    "503",
    "went on after the kill",
    "Retry-After",
    "admits again after the restart",
    "revoked token admitted",
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Attributes: living: must be admitted again. revoked: just revoked. earlier: revoked in the rounds before, by title."""

    living: str
    revoked: str
    earlier: Mapping[str, str]


class Outage:
    """Plays it. ``faults`` has what went against the promise."""

    def __init__(self, crew: Crew, tokens: Tokens, servers: Servers, screen: Screen, lease_seconds: float) -> None:
        self.crew = crew
        self.tokens = tokens
        self.servers = servers
        self.screen = screen
        self.lease_seconds = lease_seconds
        self.faults: list[str] = []
        self.requests = 0
        self._living: Mapping[Worker, Track] = {}
        self._revoked: Mapping[Worker, Track] = {}
        self._killed_at = inf
        self._restarted_at = inf
        self._stage = ""

    def play(self) -> None:
        """Kill, wait for the 503s, start again, wait for the admissions; then ask for every revoked token."""
        with (
            hammered(self.crew.victims, self.tokens.living, pause_seconds=PAUSE_SECONDS) as self._living,
            hammered(self.crew.controls, self.tokens.revoked, pause_seconds=PAUSE_SECONDS) as self._revoked,
            self.screen.watching(self.draw),
        ):
            self._stage = "Valkey is up"
            time.sleep(BEFORE_SECONDS)
            self._stage = "Valkey is killed"
            self.servers.kill_store()
            self._killed_at = time.monotonic()
            self._await("answered 503 while the store was away", lambda track: _is_unsure(track, self._killed_at))
            time.sleep(UNSURE_SECONDS)
            self._stage = "Valkey is back, with its data; the workers watch it for two leases"
            self.servers.start_store()
            self._restarted_at = time.monotonic()
            self._await("admitted again after the restart", lambda track: _again_at(track, self._restarted_at) is not None)
            self._stage = "Valkey was killed and came back"
            time.sleep(AFTER_SECONDS)
        self._judge()
        self._ask_for_the_dead()

    def _await(self, words: str, has_happened: Callable[[Track], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        waiting = list(self._living.values())
        while waiting and time.monotonic() < deadline:
            time.sleep(0.02)
            waiting = [track for track in waiting if not (track.fault or has_happened(track))]
        self.faults += [f"{track.worker} never {words}" for track in waiting]

    # --- what is shown

    def draw(self) -> Picture:
        """The state of things, at any time of the act."""
        rows = tuple(self._row(track, self._revoked[worker]) for worker, track in self._living.items())
        return Picture("[bold]The store is killed, and comes back[/]", COLUMNS, rows, self._stage)

    def _row(self, living: Track, revoked: Track) -> tuple[str, ...]:
        answers = tuple(living.answers)
        last = _last_before_restart(answers, self._restarted_at)
        again_at = _again_at(living, self._restarted_at)
        wrongly = sum(answer.is_admitted for answer in tuple(revoked.answers))
        return (
            str(living.worker),
            str(sum(answer.is_admitted for answer in answers)),
            str(sum(answer.is_unsure for answer in answers)),
            "…" if self._killed_at == inf else f"{max(0.0, last - self._killed_at):.2f} s",
            " ".join(sorted({f"{answer.retry_after} s" for answer in answers if answer.is_unsure})) or "…",
            "…" if again_at is None else f"{again_at - self._restarted_at:.2f} s",
            f"[bold red]{wrongly} times[/]" if wrongly else "[green]never[/]",
        )

    # --- what is proved

    def _judge(self) -> None:
        for track in self._living.values():
            self.requests += len(track.answers)
            self.faults += self._faults_of_living(track)
        for track in self._revoked.values():
            self.requests += len(track.answers)
            self.faults += [track.fault] if track.fault else []
            if any(not (answer.is_refused or answer.is_unsure) for answer in track.answers):
                self.faults.append(f"{track.worker} did not refuse a revoked token all along")

    def _faults_of_living(self, track: Track) -> Iterable[str]:
        if track.fault:
            yield track.fault
        if any(not (answer.is_admitted or answer.is_unsure) for answer in track.answers):
            yield f"{track.worker} answered neither 200 nor 503 to a living token"
        if any(answer.is_unsure and not answer.retry_after for answer in track.answers):
            yield f"{track.worker} gave a 503 without Retry-After"
        last = _last_before_restart(track.answers, self._restarted_at)
        if last > self._killed_at + self.lease_seconds:
            yield f"{track.worker} went on for {last - self._killed_at:.2f} s without the store: more than a lease"

    def _ask_for_the_dead(self) -> None:
        dead = {**self.tokens.earlier, "a token revoked just before the kill": self.tokens.revoked}
        questions = [(line, title, token) for title, token in dead.items() for line in self.crew.probes]
        answers = [(line.worker, title, line.ask_until_sure(token)) for line, title, token in questions]
        wrong = [f"{worker} answered {answer.status}: {title}" for worker, title, answer in answers if not answer.is_refused]
        self.faults += [f"revoked before the kill, but after it {words}" for words in wrong]
        refused = len(answers) - len(wrong)
        self.screen.say(f"  revoked before the kill, asked for after it: {refused} of {len(answers)} answers are 401\n")


def _is_unsure(track: Track, since: float) -> bool:
    return any(answer.is_unsure and answer.began_at > since for answer in tuple(track.answers))


def _last_before_restart(answers: Iterable[Answer], restarted_at: float) -> float:
    """When the last admitted request began that did so before the restart."""
    return max((a.began_at for a in answers if a.is_admitted and a.began_at < restarted_at), default=-inf)


def _again_at(track: Track, restarted_at: float) -> float | None:
    """When the first request was admitted after the restart."""
    return next((a.ended_at for a in tuple(track.answers) if a.is_admitted and a.began_at > restarted_at), None)
