"""One round of the show: a token that every worker admits is revoked at one of them, under fire at all of them."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from jwtgate.demo.measuring import Revocation, Track, Verdict, hammered, judge
from jwtgate.demo.screen import Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jwtgate.demo.lines import Answer, Line, Worker
    from jwtgate.demo.screen import Screen

__all__ = ["Cast", "Crew", "Revoker", "Round"]

PAUSE_SECONDS = 0.003
"""Between two requests on a line: four workers and the demo may have to share two cores."""

CONTROL_PAUSE_SECONDS = 0.02
BEFORE_SECONDS = 0.4
AFTER_SECONDS = 1.2
"""Longer than a lease: a worker that had not heard would by then have had to ask."""

COLUMNS = (
    "worker",
    "admitted",
    "refused",
    "went on after the call was sent",
    "and after the receipt",
    "the other token",
)


class Revoker(Protocol):
    """Who is asked to revoke: a line to a worker, or whoever else can. ``worker``: its name on the screen."""

    @property
    def worker(self) -> object: ...
    def ask(self, token: str | None, path: str = "/", posted: dict[str, Any] | None = None) -> Answer:
        """The answer's body is a receipt. Raises: OSError, HTTPException."""
        ...


@dataclass(frozen=True, slots=True)
class Crew:
    """The lines to the workers, by their use.

    Attributes:
        victims, controls: to be hammered, in the order of the workers.
        probes: for single questions.
    """

    victims: tuple[Line, ...]
    controls: tuple[Line, ...]
    probes: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays.

    Attributes:
        title: what is revoked, in words.
        target: the same, as the argument of ``revoke``.
        victim: the token that must die.
        control: a token that must not, and who has it; None where everybody's dies.
        renew: makes a token that must live, issued after the revocation.
        admin: a token that may revoke.
    """

    title: str
    target: Mapping[str, Any]
    victim: str
    control: tuple[str, str] | None
    renew: Callable[[], str]
    admin: str


class Round:
    """Plays one cast. ``faults`` has what went against the promise."""

    def __init__(self, crew: Crew, cast: Cast, revoker: Revoker, screen: Screen) -> None:
        """Args: revoker: who is asked to revoke."""
        self.crew = crew
        self.cast = cast
        self.revoker = revoker
        self.screen = screen
        self.faults: list[str] = []
        self.requests = 0
        self._victims: Mapping[Worker, Track] = {}
        self._controls: Mapping[Worker, Track] = {}
        self._revocation: Revocation | None = None
        self._receipt: dict[str, Any] = {}

    def play(self) -> None:
        """Under fire: admitted everywhere, revoked at one place, refused everywhere; then a new token is admitted."""
        self._expect("admit the token, before its revocation", self.cast.victim)
        other = self.cast.control[1] if self.cast.control else None
        controls = self.crew.controls if other else ()
        with (
            hammered(self.crew.victims, self.cast.victim, pause_seconds=PAUSE_SECONDS) as self._victims,
            hammered(controls, other or "", pause_seconds=CONTROL_PAUSE_SECONDS) as self._controls,
            self.screen.watching(self.draw),
        ):
            time.sleep(BEFORE_SECONDS)
            self._revoke()
            time.sleep(AFTER_SECONDS)
        self._judge()
        count = self._expect("admit a token issued afterwards", self.cast.renew())
        self.screen.say(f"  a token issued afterwards is admitted by {count} of {len(self.crew.probes)} workers\n")

    def _revoke(self) -> None:
        answer = self.revoker.ask(self.cast.admin, "/revoke", dict(self.cast.target))
        if not answer.is_admitted:
            self.faults.append(f"{self.revoker.worker} answered {answer.status} to the revocation")
            return
        self._receipt = json.loads(answer.body)
        self._revocation = Revocation(answer.began_at, answer.ended_at)

    def _expect(self, words: str, token: str) -> int:
        """How many workers admit the token; a fault for each that does not."""
        answers = {line.worker: line.ask_until_sure(token) for line in self.crew.probes}
        wrong = {worker: answer.status for worker, answer in answers.items() if not answer.is_admitted}
        self.faults += [f"{worker} answered {status} where it should {words}" for worker, status in wrong.items()]
        return len(answers) - len(wrong)

    # --- what is shown

    def draw(self) -> Picture:
        """The state of things, at any time of the round."""
        title = f"[bold]Revoked: {self.cast.title}[/], at {self.revoker.worker}"
        if self.cast.control:
            title += f"; the other token: {self.cast.control[0]}"
        return Picture(title, COLUMNS, tuple(self._row(track) for track in self._victims.values()), self._caption())

    def _row(self, track: Track) -> tuple[str, ...]:
        verdict = judge(tuple(track.answers), self._revocation)
        control = self._controls.get(track.worker)
        return (
            str(track.worker),
            str(verdict.admitted),
            str(verdict.refused) + (f" ({verdict.unsure} x 503)" if verdict.unsure else ""),
            "…" if verdict.after_sent_seconds is None else f"{max(0.0, verdict.after_sent_seconds) * 1000:.1f} ms",
            _after_receipt(verdict),
            "—" if control is None else _share(judge(tuple(control.answers), None)),
        )

    def _caption(self) -> str:
        receipt, revocation = self._receipt, self._revocation
        if revocation is None:
            return "every worker admits the token; requests go on without pause"
        caption = (
            f"receipt after {(revocation.returned_at - revocation.sent_at) * 1000:.1f} ms: "
            f"effective_everywhere={receipt.get('effective_everywhere')}, workers={receipt.get('workers')}"
        )
        waited = receipt.get("waited_seconds")  # an endpoint's answer does not tell it
        return caption if waited is None else f"{caption}, waited {waited * 1000:.1f} ms"

    # --- what is proved

    def _judge(self) -> None:
        if self._revocation is not None and not self._receipt.get("effective_everywhere"):
            self.faults.append("the receipt does not say effective_everywhere")
        for track in self._victims.values():
            verdict = judge(track.answers, self._revocation)
            self.requests += verdict.total
            self.faults += _faults_of_victim(track, verdict)
        for track in self._controls.values():
            verdict = judge(track.answers, None)
            self.requests += verdict.total
            self.faults += _faults_of_control(track, verdict)


def _faults_of_victim(track: Track, verdict: Verdict) -> Sequence[str]:
    faults = [track.fault] if track.fault else []
    if verdict.late:
        faults.append(f"{track.worker} admitted {verdict.late} requests that began after the receipt")
    if not verdict.refused:
        faults.append(f"{track.worker} never refused the revoked token")
    if verdict.others:
        faults.append(f"{track.worker} gave {verdict.others} answers that are neither 200 nor 401 nor 503")
    return faults


def _faults_of_control(track: Track, verdict: Verdict) -> Sequence[str]:
    """A 503 now and then is no refusal of the token: a starved worker says that it cannot know. It is shown."""
    faults = [track.fault] if track.fault else []
    if verdict.refused or verdict.others or verdict.admitted <= verdict.unsure:
        faults.append(f"{track.worker} admitted only {_share(verdict)} requests with the other token")
    return faults


def _after_receipt(verdict: Verdict) -> str:
    seconds = verdict.after_receipt_seconds
    if seconds is None:
        return "…"
    if seconds > 0:
        return f"[bold red]{seconds * 1000:.1f} ms AFTER[/]"
    return f"[green]never[/] ({seconds * 1000:.1f} ms)"


def _share(verdict: Verdict) -> str:
    return f"{verdict.admitted} of {verdict.total}"
