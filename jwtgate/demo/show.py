"""The order of events of ``jwtgate demo``, and its exit status."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from functools import partial
from http.client import HTTPException
from typing import TYPE_CHECKING

from jwtgate.demo.interruption import Interruption
from jwtgate.demo.lines import Line, open_lines
from jwtgate.demo.outage import Outage, Tokens
from jwtgate.demo.processes import ServerError
from jwtgate.demo.rounds import Cast, Crew, Round
from jwtgate.demo.screen import Screen
from jwtgate.demo.servers import WORKERS, Servers
from jwtgate.demo.tokens import Mint, token_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["run"]

LIVE_SECONDS = 30.0
"""For a first start: two leases of watching an empty store, and whatever a small machine needs."""

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


def run(*, once: bool) -> int:
    """The whole demo. Args: once: end after the show. Returns: the exit status: 0, 1, or 130 after Ctrl-C in the show."""
    screen = Screen()
    # What the demo's own gate logs would tear the tables; the applications log as ever, to their files.
    logging.getLogger("jwtgate").addHandler(logging.NullHandler())
    try:
        with Interruption() as interruption, Servers(interruption) as servers:
            faults = _Show(servers, screen).play()
            if not faults and not once:
                _stay(servers, screen)
    except ServerError as failure:
        screen.write(str(failure))
        return 1
    except KeyboardInterrupt:
        screen.say("Interrupted; nothing is left running.")
        return INTERRUPTED
    return 1 if faults else 0


class _Show:
    """The rounds and the outage, over one set of connections."""

    def __init__(self, servers: Servers, screen: Screen) -> None:
        self.servers = servers
        self.screen = screen
        self.faults: list[str] = []
        self.requests = 0
        self.revoked: dict[str, str] = {}

    def play(self) -> list[str]:
        """Returns: what went against the promise. Raises: ServerError."""
        began_at = time.monotonic()
        with ExitStack() as undo:
            try:
                self._start(undo)
                self._play_rounds()
                self._play_outage()
            except (OSError, HTTPException) as error:
                self.servers.check()
                self.faults.append(f"the show broke off: {error!r}")
        self._conclude(time.monotonic() - began_at)
        return self.faults

    def _start(self, undo: ExitStack) -> None:
        servers, screen = self.servers, self.screen
        with screen.waiting("Starting Valkey"):
            servers.start_store()
        with screen.waiting("Starting FastAPI under uvicorn and Flask under gunicorn, two workers each"):
            servers.start_apps()
        self.mint = Mint(servers.settings)
        undo.callback(self.mint.close)
        with screen.waiting("Finding the four workers"):
            lines = open_lines(servers.apps, WORKERS, 3)
        for line in (line for opened in lines.values() for line in opened):
            undo.callback(line.close)
        victims, controls, probes = zip(*lines.values(), strict=True)
        self.crew = Crew(victims, controls, probes)
        with screen.waiting("Waiting until all admit (an empty store is watched for two leases)"):
            self._await_live()
        screen.say("Ready: " + ", ".join(str(worker) for worker in lines) + "\n")

    def _await_live(self) -> None:
        token = self.mint.issue("newcomer")
        deadline = time.monotonic() + LIVE_SECONDS
        for line in self.crew.probes:
            while not (answer := line.ask(token)).is_admitted:
                if time.monotonic() > deadline:
                    raise ServerError(f"{line.worker} still answers {answer.status}.\n{self.servers.tails()}")
                time.sleep(0.05)

    def _play_rounds(self) -> None:
        for number, cast in enumerate(self._casts()):
            game = Round(self.crew, cast, self._revoker(number), self.screen)
            game.play()
            self.revoked[cast.title] = cast.victim
            self.faults += [f"{cast.title}: {fault}" for fault in game.faults]
            self.requests += game.requests

    def _revoker(self, number: int) -> Line:
        """FastAPI and Flask in turns."""
        app = self.servers.apps[number % 2].name
        return next(line for line in self.crew.probes if line.worker.app == app)

    def _casts(self) -> Iterator[Cast]:
        """Each is made when its turn has come: the last revokes whatever was issued before."""
        issue, sign = self.mint.issue, self.mint.sign
        alice, second = issue("alice"), ("alice's second", issue("alice"))
        yield Cast("one token (jti)", {"jti": token_id_of(alice)}, alice, second, partial(issue, "alice"), self._admin())
        phone, laptop = sign("bob", "bob-phone"), ("of bob's laptop", sign("bob", "bob-laptop"))
        renew = partial(sign, "bob", "bob-phone-again")
        yield Cast("one session (sid)", {"sid": "bob-phone"}, phone, laptop, renew, self._admin())
        carol, dave = issue("carol"), ("dave's", issue("dave"))
        yield Cast("one user (sub)", {"sub": "carol"}, carol, dave, partial(issue, "carol"), self._admin())
        yield Cast("everybody", {"everything": True}, issue("erin"), None, partial(issue, "erin"), self._admin())

    def _admin(self) -> str:
        return self.mint.issue("root", scope="admin")

    def _play_outage(self) -> None:
        living, revoked = self.mint.issue("frank"), self.mint.issue("frank")
        receipt = self._revoker(0).ask(self._admin(), "/revoke", {"jti": token_id_of(revoked)})
        if not receipt.is_admitted:
            self.faults.append(f"the revocation before the kill was answered with {receipt.status}")
        tokens = Tokens(living, revoked, self.revoked)
        outage = Outage(self.crew, tokens, self.servers, self.screen, self.mint.lease_seconds)
        outage.play()
        self.faults += [f"the outage: {fault}" for fault in outage.faults]
        self.requests += outage.requests

    def _conclude(self, seconds: float) -> None:
        if self.faults:
            self.screen.say(f"[bold red]FAILED[/] after {seconds:.1f} s:")
            self.screen.write("\n".join(f"  - {fault}" for fault in self.faults) + "\n" + self.servers.tails())
            return
        self.screen.say(
            f"[bold green]Held[/]: {self.requests} requests to four workers in {seconds:.1f} s; "
            "none that began after its receipt was admitted."
        )


def _stay(servers: Servers, screen: Screen) -> None:
    """Until Ctrl-C. Raises: ServerError: a server ended by itself."""
    mint = Mint(servers.settings)
    try:
        screen.write(_invitation(servers, mint.issue("alice"), mint.issue("root", scope="admin")))
    finally:
        mint.close()
    try:
        while True:
            servers.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        screen.say("Stopping.")


def _invitation(servers: Servers, token: str, admin: str) -> str:
    first, second = servers.apps
    return f"""
{first.name} is at {first.url}, {second.name} at {second.url}. Try it in another terminal:

TOKEN={token}
ADMIN={admin}

# call
curl -i {first.url}/ -H "Authorization: Bearer $TOKEN"
curl -i {second.url}/ -H "Authorization: Bearer $TOKEN"

# revoke, at the one
curl {first.url}/revoke -H "Authorization: Bearer $ADMIN" -H "Content-Type: application/json" -d '{{"sub": "alice"}}'

# call again, at the other
curl -i {second.url}/ -H "Authorization: Bearer $TOKEN"

Ctrl-C ends everything."""
