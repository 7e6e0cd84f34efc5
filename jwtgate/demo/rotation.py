"""The act in which the provider changes the key that it signs with, while requests go on: nobody notices.

Its next key is in the published set before it signs, as providers do it (OpenID Connect Core 1.0 §10.1.1), so every worker
knows it when the first token under it comes; the key before stays published for the tokens that are about.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jwtgate.demo.measuring import Track, hammered, judge
from jwtgate.demo.screen import Picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jwtgate.demo.lines import Worker
    from jwtgate.demo.rounds import Crew
    from jwtgate.demo.screen import Screen
    from jwtgate.demo.visiting import Visitor

__all__ = ["Rotation"]

PAUSE_SECONDS = 0.003
BEFORE_SECONDS = 0.4
AFTER_SECONDS = 0.8

COLUMNS = ("worker", "admitted, old key", "admitted, new key", "refused", "503")


class Rotation:
    """Plays it. ``faults`` has what went against the promise."""

    def __init__(self, crew: Crew, visitor: Visitor, token: str, screen: Screen) -> None:
        """Args: token: under the key that signs at first."""
        self.crew = crew
        self.visitor = visitor
        self.token = token
        self.screen = screen
        self.faults: list[str] = []
        self.requests = 0
        self._old: Mapping[Worker, Track] = {}
        self._new: Mapping[Worker, Track] = {}
        self._caption = "every worker admits the token; requests go on without pause"

    def play(self) -> None:
        """Under fire from tokens of the old key; then, besides, from one of the new."""
        with (
            hammered(self.crew.victims, self.token, pause_seconds=PAUSE_SECONDS) as self._old,
            self.screen.watching(self.draw),
        ):
            time.sleep(BEFORE_SECONDS)
            kid = self.visitor.rotate()
            fresh = self.visitor.log_in("alice").access_token
            self._caption = f"the provider signs with its key {kid}, published before; alice has logged in again"
            with hammered(self.crew.controls, fresh, pause_seconds=PAUSE_SECONDS) as self._new:
                time.sleep(AFTER_SECONDS)
        self._judge()
        self.screen.say()

    def draw(self) -> Picture:
        """The state of things, at any time of the act."""
        title = "[bold]The provider rotates its signing key[/]"
        return Picture(title, COLUMNS, tuple(self._row(worker) for worker in self._old), self._caption)

    def _tracks(self, worker: Worker) -> Iterator[Track]:
        yield from (tracks[worker] for tracks in (self._old, self._new) if worker in tracks)

    def _row(self, worker: Worker) -> tuple[str, ...]:
        verdicts = [judge(tuple(track.answers), None) for track in self._tracks(worker)]
        admitted = [str(verdict.admitted) for verdict in verdicts] + ["…"]
        refused = sum(verdict.refused + verdict.others for verdict in verdicts)
        return (
            str(worker),
            *admitted[:2],
            f"[bold red]{refused}[/]" if refused else "[green]none[/]",
            str(sum(verdict.unsure for verdict in verdicts)),
        )

    def _judge(self) -> None:
        """A 503 now and then is no refusal of the token: a starved worker says that it cannot know. It is shown."""
        for worker in self._old:
            for track in self._tracks(worker):
                verdict = judge(track.answers, None)
                self.requests += verdict.total
                self.faults += [track.fault] if track.fault else []
                if verdict.refused or verdict.others or verdict.admitted <= verdict.unsure:
                    self.faults.append(f"{worker} admitted only {verdict.admitted} of {verdict.total} requests")
