"""What every show has in common: its servers come up, requests find the worker they mean, and at the end it says what held."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import ExitStack
from http.client import HTTPException
from typing import TYPE_CHECKING

from jwtgate.demo.commands import WORKERS
from jwtgate.demo.lines import open_lines
from jwtgate.demo.processes import ServerError
from jwtgate.demo.rounds import Crew, Round

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jwtgate.demo.rounds import Cast, Revoker
    from jwtgate.demo.screen import Screen
    from jwtgate.demo.servers import Servers

__all__ = ["Play"]

LIVE_SECONDS = 30.0
"""For a first start: two leases of watching an empty store, and whatever a small machine needs."""


class Play(ABC):
    """The acts over one set of connections.

    Attributes:
        faults: what went against the promise.
        requests: how many stand behind the verdict.
        crew: the lines to the workers, once they are up.
    """

    crew: Crew

    def __init__(self, servers: Servers, screen: Screen) -> None:
        self.servers = servers
        self.screen = screen
        self.faults: list[str] = []
        self.requests = 0

    @abstractmethod
    def start_issuer(self, undo: ExitStack) -> str:
        """Whoever signs, before the applications start. Returns: a token that they must admit. Raises: as ``perform``."""

    @abstractmethod
    def perform(self) -> None:
        """The acts. Raises: OSError, HTTPException."""

    @abstractmethod
    def invitation(self) -> str:
        """What to try by hand afterwards, while everything goes on."""

    def play(self) -> list[str]:
        """Returns: what went against the promise. Raises: ServerError."""
        began_at = time.monotonic()
        with ExitStack() as undo:
            try:
                self._start(undo)
                self.perform()
            except (OSError, HTTPException) as error:
                self.servers.check()
                self.faults.append(f"the show broke off: {error!r}")
        self._conclude(time.monotonic() - began_at)
        return self.faults

    def _start(self, undo: ExitStack) -> None:
        servers, screen = self.servers, self.screen
        with screen.waiting("Starting Valkey"):
            servers.start_store()
        token = self.start_issuer(undo)
        with screen.waiting("Starting FastAPI under uvicorn and Flask under gunicorn, two workers each"):
            servers.start_apps()
        with screen.waiting("Finding the four workers"):
            lines = open_lines(servers.apps, WORKERS, 3)
        for line in (line for opened in lines.values() for line in opened):
            undo.callback(line.close)
        victims, controls, probes = zip(*lines.values(), strict=True)
        self.crew = Crew(victims, controls, probes)
        with screen.waiting("Waiting until all admit (an empty store is watched for two leases)"):
            self._await_live(token)
        screen.say("Ready: " + ", ".join(str(worker) for worker in lines) + "\n")

    def _await_live(self, token: str) -> None:
        deadline = time.monotonic() + LIVE_SECONDS
        for line in self.crew.probes:
            while not (answer := line.ask(token)).is_admitted:
                if time.monotonic() > deadline:
                    raise ServerError(f"{line.worker} still answers {answer.status}.\n{self.servers.tails()}")
                time.sleep(0.05)

    def play_rounds(self, rounds: Iterator[tuple[Cast, Revoker]]) -> None:
        """One after the other; a cast is made when its turn has come."""
        for cast, revoker in rounds:
            game = Round(self.crew, cast, revoker, self.screen)
            game.play()
            self.faults += [f"{cast.title}: {fault}" for fault in game.faults]
            self.requests += game.requests

    def _conclude(self, seconds: float) -> None:
        if self.faults:
            self.screen.say(f"[bold red]FAILED[/] after {seconds:.1f} s:")
            self.screen.write("\n".join(f"  - {fault}" for fault in self.faults) + "\n" + self.servers.tails())
            return
        self.screen.say(
            f"[bold green]Held[/]: {self.requests} requests to four workers in {seconds:.1f} s; "
            "none that began after its receipt was admitted."
        )
