"""``jwtgate demo --idp``: an identity provider signs the tokens, rotates its keys live, and logs users out of the applications.

The applications know its issuer and their audience, and no key. The provider tells one worker of one application of a logout,
and all four refuse.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jwtgate.demo.commands import LOGOUT_PATH
from jwtgate.demo.play import Play
from jwtgate.demo.rotation import Rotation
from jwtgate.demo.rounds import Cast
from jwtgate.demo.visiting import Visitor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

    from jwtgate.demo.lines import Answer
    from jwtgate.demo.visiting import Login

__all__ = ["IdentityShow"]


@dataclass(frozen=True, slots=True)
class ProviderLogout:
    """Who ends a session in this show: its owner, at the provider."""

    visitor: Visitor
    login: Login
    worker: str = "the identity provider, which tells one worker"

    def ask(self, token: str | None, path: str = "/", posted: dict[str, Any] | None = None) -> Answer:  # noqa: ARG002 - see Revoker
        """Its body is the receipt that the application gave the provider."""
        answer, receipt = self.visitor.log_out(self.login)
        return replace(answer, body=json.dumps(receipt).encode())


class IdentityShow(Play):
    """A rotation, and logouts."""

    def start_issuer(self, undo: ExitStack) -> str:  # noqa: ARG002 - nothing stays open
        servers, screen = self.servers, self.screen
        with screen.waiting("Starting a small OpenID provider of this demo"):
            servers.start_provider()
        self.visitor = Visitor(servers.issuer or "")
        self.alice, self.bob = (self.visitor.log_in(user) for user in ("alice", "bob"))
        screen.say("Alice and Bob have logged in there, by the code flow with PKCE. What the applications know of it:")
        screen.write("\n".join(f"  {name}={value}" for name, value in servers.settings.items() if name not in UNRELATED))
        return self.alice.access_token

    def perform(self) -> None:
        self._rotate()
        self.play_rounds(self._rounds())

    def _rotate(self) -> None:
        rotation = Rotation(self.crew, self.visitor, self.alice.access_token, self.screen)
        rotation.play()
        self.faults += [f"the rotation: {fault}" for fault in rotation.faults]
        self.requests += rotation.requests

    def _rounds(self) -> Iterator[tuple[Cast, ProviderLogout]]:
        """The provider signs with its second key by now; Alice's phone still has a token under the first."""
        log_in = self.visitor.log_in
        laptop = log_in("alice")
        yield (
            Cast(
                "alice's session on her phone",
                {},
                self.alice.access_token,
                ("of alice's laptop", laptop.access_token),
                lambda: log_in("alice").access_token,
                "",
            ),
            ProviderLogout(self.visitor, self.alice),
        )
        yield (
            Cast(
                "bob's session",
                {},
                self.bob.access_token,
                ("of alice's laptop", laptop.access_token),
                lambda: log_in("bob").access_token,
                "",
            ),
            ProviderLogout(self.visitor, self.bob),
        )

    def invitation(self) -> str:
        first, second = self.servers.apps
        login = self.visitor.log_in("alice")
        return f"""
The provider is at {self.servers.issuer}, {first.name} at {first.url}, {second.name} at {second.url}.
Try it in another terminal:

TOKEN={login.access_token}
ID_TOKEN={login.id_token}

# call
curl -i {first.url}/ -H "Authorization: Bearer $TOKEN"
curl -i {second.url}/ -H "Authorization: Bearer $TOKEN"

# log out, at the provider; it posts to {first.url}{LOGOUT_PATH}
curl {self.servers.issuer}/logout -d "id_token_hint=$ID_TOKEN"

# call again, at the other
curl -i {second.url}/ -H "Authorization: Bearer $TOKEN"

Ctrl-C ends everything."""


UNRELATED = ("JWTGATE_STORE",)
"""Settings that have nothing to do with the provider."""
