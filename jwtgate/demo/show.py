"""The order of events of ``jwtgate demo``, and its exit status."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from jwtgate.demo.conversation import Conversation
from jwtgate.demo.interruption import Interruption
from jwtgate.demo.outage import Outage, Tokens
from jwtgate.demo.play import Play
from jwtgate.demo.processes import ServerError
from jwtgate.demo.rounds import Cast
from jwtgate.demo.screen import Screen
from jwtgate.demo.servers import Servers
from jwtgate.demo.talking import Talker
from jwtgate.demo.tokens import Mint, token_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from jwtgate.demo.lines import Line

__all__ = ["run"]

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


def run(*, once: bool, idp: bool = False) -> int:
    """The whole demo.

    Args:
        once: end after the show.
        idp: the show in which an identity provider signs, rotates its keys and logs users out.

    Returns: the exit status: 0, 1, or 130 after Ctrl-C in the show.
    """
    screen = Screen()
    # What the demo's own gate logs would tear the tables; the applications log as ever, to their files.
    logging.getLogger("jwtgate").addHandler(logging.NullHandler())
    try:
        with (
            Interruption() as interruption,
            Servers(interruption, with_provider=idp, with_console=not (once or idp)) as servers,
        ):
            show = _identity_show(servers, screen) if idp else _Show(servers, screen)
            faults = show.play()
            if not faults and not once:
                _stay(show)
    except ServerError as failure:
        screen.write(str(failure))
        return 1
    except KeyboardInterrupt:
        screen.say("Interrupted; nothing is left running.")
        return INTERRUPTED
    return 1 if faults else 0


def _identity_show(servers: Servers, screen: Screen) -> Play:
    from jwtgate.demo.identity import IdentityShow  # here, since httpx takes 0.1 s

    return IdentityShow(servers, screen)


class _Show(Play):
    """The rounds and the outage."""

    def start_issuer(self, undo: ExitStack) -> str:
        self.revoked: dict[str, str] = {}
        self.mint = Mint(self.servers.settings)
        undo.callback(self.mint.close)
        return self.mint.issue("newcomer")

    def perform(self) -> None:
        self._open_doors()
        self.play_rounds(self._rounds())
        self._play_conversation()
        self._play_outage()

    def _open_doors(self) -> None:
        """What can be looked at from now on, where the demo stays up."""
        if self.servers.has_console:
            with self.screen.waiting("Starting the console"):
                self.servers.start_console()
            self.screen.write(_doors(self.servers))
            self.screen.write("The show goes on meanwhile: it throws everybody out once, and kills the store once.\n")

    def _rounds(self) -> Iterator[tuple[Cast, Line]]:
        for number, cast in enumerate(self._casts()):
            yield cast, self._revoker(number)
            self.revoked[cast.title] = cast.victim

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

    def _play_conversation(self) -> None:
        first, second = self.servers.apps
        lines = [line for line in self.crew.probes if line.worker.app == first.name]
        ender = next(line for line in self.crew.probes if line.worker.app == second.name)
        conversation = Conversation(lines, ender, partial(Talker, first.port), self.screen)
        conversation.play()
        self.faults += [f"the chat: {fault}" for fault in conversation.faults]

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

    def invitation(self) -> str:
        mint = Mint(self.servers.settings)
        try:
            return _invitation(self.servers, mint.issue("alice"), mint.issue("root", scope="admin"))
        finally:
            mint.close()


def _stay(show: Play) -> None:
    """Until Ctrl-C. Raises: ServerError: a server ended by itself."""
    show.screen.write(show.invitation())
    try:
        while True:
            show.servers.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        show.screen.say("Stopping.")


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
{_doors(servers)}
Ctrl-C ends everything."""


def _doors(servers: Servers) -> str:
    """Addresses on lines of their own, whole: terminals make links of them."""
    return f"""
In a browser: a chat on two devices of alice's. End one, and watch it close.
  {servers.chat_link}
The operator's console. The link works once, for ten minutes.
  {servers.console_link}
"""
