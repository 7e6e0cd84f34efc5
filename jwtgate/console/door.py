"""The door of ``jwtgate console``: a private gate in front of the console, and a code in an address that opens it once.

The application's own settings may not sign, or may not know operators at all, so the door has keys of its own: a secret drawn
at start, a store in memory, a cookie. Whoever runs the command gets the code from it: 256 bits, good for ten minutes, once.
Only requests whose ``Host`` is the address that is listened on are served: a page of a name that an attacker has pointed at
this machine (DNS rebinding) never gets through. Cookies know no port (RFC 6265 §8.5): a page that the same browser opens on
another port, of another user of this machine, is sent the cookie: where others share the machine, come to it by a tunnel.
"""

from __future__ import annotations

import secrets
from hmac import compare_digest
from typing import TYPE_CHECKING

from jwtgate.asgi import JWTGateMiddleware
from jwtgate.channel.sending import say
from jwtgate.console.application import SCOPE, Console
from jwtgate.console.visiting import Problem, read_query
from jwtgate.errors import JWTGateError
from jwtgate.gate import Gate
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from jwtgate.channel.shapes import Message, Receive, Scope, Send
    from jwtgate.core.effects import Clock
    from jwtgate.messages import Response


__all__ = ["COOKIE", "Door"]

COOKIE = "jwtgate_console"
"""Without a prefix: on the loopback interface there is no TLS, and browsers would not take it."""

LOGGED_OUT = (
    "Come in by the link",
    "Open the address that the command has printed. It works once; start the command again for another.",
)

FORETOLD = (b"sec-purpose", b"purpose", b"x-moz")
"""What browsers say by when they fetch an address that nobody has opened yet (Fetch, "Sec-Purpose", and its forerunners)."""

CODE_SECONDS = 600.0
LOGIN_SECONDS = 28_800.0
"""A working day; then the command is started again."""


class Door:
    """An ASGI application: the console, behind its own gate."""

    def __init__(self, gate: Gate, *, by: str, hosts: frozenset[bytes]) -> None:
        """Args: gate: that is looked at. by: who is let in, in words. hosts: values of ``Host``, lower-case."""
        self.by = by
        self.hosts = hosts
        self.code = secrets.token_urlsafe(32)
        self.own = Gate(
            Settings(
                secret=secrets.token_urlsafe(48),
                locations=("cookie",),
                cookie=COOKIE,
                cookie_secure=False,
                access_ttl=LOGIN_SECONDS,
                realm="jwtgate console",
            )
        )
        self.console = Console(gate=gate)
        self.app = JWTGateMiddleware(self.console, gate=self.own)
        self.clock: Clock = self.own.clock
        self._is_used = False
        self._ends_at = self.clock.boot() + CODE_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "http":
            response = await self._before(scope)
            if response is not None:
                await say("http.response", response, response.body, send)
                return
            send = self._in_words(send)
        await self.app(scope, receive, send)

    def _in_words(self, send: Send) -> Send:
        """A page in place of the gate's own 401: people read it."""
        is_refused = False

        async def send_page(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start" and message["status"] == 401:
                is_refused = True
                page = self._page(401, *LOGGED_OUT)
                await say("http.response", page, page.body, send)
            elif not is_refused:
                await send(message)

        return send_page

    async def _before(self, scope: Scope) -> Response | None:
        """What is answered here; None: all else is for the gate."""
        headers = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
        hosts = [value.lower() for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return self._page(
                421, "Not this name", "The console is served only under the address that the command has printed."
            )
        path: str = scope["path"]
        if path == "/enter" and scope["method"] == "GET":
            if any(name in FORETOLD and b"prefetch" in value.lower() for name, value in headers):
                return self._page(503, "Not yet", "The link is spent by whoever opens it, not by who fetches it ahead.")
            return await self._enter(scope.get("query_string", b""))
        if path.startswith("/static/") and scope["method"] in ("GET", "HEAD"):
            file = self.console.static.get(path.removeprefix("/static/"))
            return None if file is None else file.response
        return None

    async def _enter(self, query: bytes) -> Response:
        """Once: a code that was shown right is spent, whoever comes after."""
        try:
            shown = read_query(query).get("code", "")
        except (JWTGateError, Problem):  # whatever is wrong with it, it is not the code
            shown = ""
        is_right = compare_digest(shown.encode(), self.code.encode())
        if not is_right or self._is_used or self.clock.boot() > self._ends_at:
            text = "The link works once, for ten minutes. Start the command again for another."
            return self._page(403, "This link does not open", text)
        self._is_used = True
        token = await self.own.aio.issue(self.by, scope=SCOPE)
        cookie = f"{COOKIE}={token}; Max-Age={LOGIN_SECONDS:.0f}; Path=/; HttpOnly; SameSite=Strict"
        return self.console.pages.draw("console/entered.html", 200, (("set-cookie", cookie),), files=self._files())

    def _page(self, status: int, title: str, text: str) -> Response:
        return self.console.pages.draw("console/outside.html", status, title=title, text=text, files=self._files())

    def _files(self) -> dict[str, str]:
        return {name: f"/static/{name}?v={version}" for name, version in self.console.versions.items()}

    def close(self) -> None:
        """Ends its own gate; not the one that is looked at."""
        self.own.close()
