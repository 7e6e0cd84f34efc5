"""The ASGI shell: puts the gate in front of any ASGI 3 application. Speaks HTTP, WebSocket and lifespan; decides nothing.

The application finds the token in ``scope["jwtgate.token"]`` and Starlette's ``request.user`` and ``request.auth``. Whatever
an outer layer left under these names is overwritten: an identity from outside is never believed.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import lru_cache
from types import MethodType
from typing import TYPE_CHECKING, Any

from jwtgate.channel.ending import is_of_end
from jwtgate.channel.lifespan import live_through, mistake_of_loop
from jwtgate.channel.live import Open, Socket, Stream
from jwtgate.channel.mounting import told_path
from jwtgate.channel.offering import offered_in, without_token
from jwtgate.channel.sending import refuse, renewing, rest_of, say, serve, with_nonce
from jwtgate.core.http.challenge import answer
from jwtgate.core.http.exemption import routed_path
from jwtgate.core.http.extraction import CANONICAL_SCHEME
from jwtgate.errors import JWTGateError, SettingsError
from jwtgate.gate import Gate, as_gate
from jwtgate.identity import Credentials, User
from jwtgate.messages import Credential, Request, Token
from jwtgate.runtime import nonblocking

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from jwtgate.channel.shapes import ASGIApp, Message, Receive, Scope, Send
    from jwtgate.core.lru import Admitted

__all__ = ["JWTGateMiddleware"]

logger = logging.getLogger("jwtgate")

READ = frozenset(
    (
        *(b"authorization", b"cookie", b"host", b"origin", b"sec-fetch-site", b"x-csrf-token"),
        *(b"access-control-request-method", b"upgrade"),
        *(b"content-type", b"content-length", b"if-none-match"),
    )
)
"""All that the core itself ever reads. ASGI gives names in lower case; one that is not is not found, and admits nothing."""


class JWTGateMiddleware:
    """``app = JWTGateMiddleware(app)``: configured by ``JWTGATE_*``, or by a ``Gate`` of your own."""

    def __init__(self, app: ASGIApp, *, gate: Gate | None = None) -> None:
        """Never raises for wrong settings: ``lifespan.startup`` fails with the text, and requests get 503."""
        self.app = app
        self._owns_gate = gate is None
        self._mistake = SettingsError()
        self.gate = self._from_env() if gate is None else as_gate(gate)
        self._longest = 0
        self._is_on_asyncio = self._is_header_only = self._reads_subprotocol = self._looks_at_path = False
        self._nobody: dict[str, Any] = {}
        self._below: str | tuple[()] = ()
        self._resource = None if self.gate is None else self.gate.plans.resource
        self._read = READ
        if self.gate is not None:
            settings = self.gate.settings
            self._longest = settings.max_token_bytes + len(CANONICAL_SCHEME)
            self._is_header_only = settings.locations == ("header",)
            self._exemption = self.gate.decision.rules.exemption
            self._read = READ.union(self.gate.decision.rules.possession.headers)
            self._reads_subprotocol = "subprotocol" in settings.locations
            if settings.endpoints is not None:
                self._below = settings.endpoints + "/"
            self._looks_at_path = bool(self._below) or not self._exemption.is_empty or self._resource is not None
            self._nobody = _dress(self.gate, None)

    def _from_env(self) -> Gate | None:
        try:
            return Gate.from_env()
        except SettingsError as error:
            self._mistake = error
            logger.error("jwtgate is not configured: %s", error)  # noqa: TRY400 - a traceback adds nothing to the text
            return None

    def _comes_to_asyncio(self) -> bool:
        """Asked until it does, and never on a hit: nothing hits what was not examined."""
        mistake = mistake_of_loop()
        if mistake is not None and mistake is not self._mistake:
            self._mistake = mistake
            logger.error("jwtgate cannot work: %s", mistake)
        self._is_on_asyncio = mistake is None
        return self._is_on_asyncio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3. Raises: NotImplementedError: a protocol it does not know, and so cannot guard."""
        if scope["type"] != "http":
            await self._connect(scope, receive, send)
            return
        entry = self._hit(scope) if self._is_header_only else None
        if entry is None:
            passed = await self._examine(scope, receive, send)
            if passed is None:
                return
            entry, send = passed
        dress = self._nobody if entry is None else entry.dress or self._dressed(entry)
        held: list[Any] = [send, None, self, scope, entry]
        try:
            await self.app({**scope, **dress}, receive, MethodType(_watched, held))
        except Exception as error:
            if not isinstance(held[4], Stream) or not is_of_end(error):
                raise
        finally:
            if held[4] is not entry:
                await held[4].leave()

    def _hit(self, scope: Scope) -> Admitted | None:
        """The way of nearly every request. Only bytes that were found well-formed once can hit; all else goes the long way."""
        value: bytes | None = None
        for name, content in scope["headers"]:
            if name == b"authorization":
                if value is not None:
                    return None
                value = content
        if value is None or len(value) > self._longest or scope["method"] == "OPTIONS":
            return None
        if self._looks_at_path and self._is_special(scope):
            return None
        # A header is only looked at where there is a gate.
        return self.gate.decision.hit(value)  # type: ignore[union-attr] # pyright: ignore[reportOptionalMemberAccess]

    def _is_special(self, scope: Scope) -> bool:
        """Exempt, or perhaps an endpoint's."""
        path = routed_path(scope["path"], scope.get("root_path", ""))
        if self._resource is not None and self._resource.path in (path, scope["path"]):
            return True
        return path.startswith(self._below) or self._exemption.matches(path, scope.get("raw_path"))

    def _dressed(self, entry: Admitted) -> dict[str, Any]:
        """Made once per admitted token; two requests that race make two equal ones."""
        dress = entry.dress = _dress(self.gate, entry.token)
        return dress

    async def _examine(self, scope: Scope, receive: Receive, send: Send) -> tuple[Admitted | None, Send] | None:
        """What is admitted, and the send for its response; None: it is answered."""
        gate = self.gate
        if gate is None or not (self._is_on_asyncio or self._comes_to_asyncio()):
            await refuse(scope, receive, send, answer(self._mistake, realm="jwtgate", retry_after_seconds=None))
            return None
        gate.start()
        request = self._request(scope, None if gate.checks else self._read)
        try:
            if self._resource is not None and self._resource.is_at(request, scope["path"]):
                response = self._resource.answer(request, scope.get("root_path", ""))
                await say("http.response", response, b"" if request.method == "HEAD" else response.body, send)
                return None
            if self._below and await serve(gate, scope, request, receive, send):
                return None
            entry = await nonblocking.run(gate.plans.examine(request), gate.waiter)
        except JWTGateError as error:
            gate.refusals.tell(error)
            await refuse(scope, receive, send, gate.answer(error))
            return None
        if entry is not None and gate.plans.is_renewal_due(entry, request):
            send = renewing(gate, entry, send)
        if entry is not None and entry.bond is not None:
            send = with_nonce(gate, send)
        return entry, send

    # --- live connections

    async def _connect(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A WebSocket, from its handshake to its end; or the server's own life."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
            return
        if scope["type"] != "websocket":
            raise NotImplementedError(f"jwtgate guards http and websocket, and knows nothing of {scope['type']!r}")
        passed = await self._examine(scope, receive, send)
        if passed is None:
            return
        entry, send = passed
        del passed  # what stays here stays as long as the connection
        shown = {**scope, **(self._nobody if entry is None else entry.dress or self._dressed(entry))}
        if self._reads_subprotocol:
            more, send = without_token(scope, send)
            shown.update(more)
        socket = None if entry is None else self._socket(scope, entry, receive, send)
        if socket is None:
            await self.app(shown, receive, send)
            return
        try:
            await self.app(shown, socket.receive, socket.send)
        except Exception as error:
            if not is_of_end(error):
                raise
            logger.debug("an application was still at work when its WebSocket was ended")
        finally:
            await socket.leave()

    def _socket(self, scope: Scope, entry: Admitted, receive: Receive, send: Send) -> Socket | None:
        credential = self._watched(scope)
        return None if credential is None else Socket(self._own_gate(), entry, credential, receive, send)

    def stream(self, scope: Scope, entry: Admitted | None, send: Send, start: Message) -> Stream | Open:
        """Of a response that turns out to come in parts."""
        credential = None if entry is None else self._watched(scope)
        if entry is None or credential is None:
            return Open(send)
        return Stream(self._own_gate(), entry, credential, send, rest_of(scope, start))

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.gate is None or not self._comes_to_asyncio():
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(self._mistake)})
        else:
            await live_through(self.app, self.gate, scope, receive, send, is_ours=self._owns_gate)

    def _watched(self, scope: Scope) -> Credential | None:
        """The token that a connection was opened with; None: it may outlive it (``LIVE``).

        One that an application has taken out of the headers that the server holds is nobody's, and ends at once.
        """
        rules, request = self._own_gate().decision.rules, self._request(scope, self._read)
        if not rules.live_paths.closes(request.path, request.raw_path):
            return None
        return rules.extraction.find(request) or Credential(b"", "header")

    def _request(self, scope: Scope, read: frozenset[bytes] | None) -> Request:
        request = _request(scope, read)
        if not self._reads_subprotocol or not request.is_websocket:
            return request
        header = (b"sec-websocket-protocol", offered_in(scope))
        return replace(request, headers=(*(each for each in request.headers if each[0] != header[0]), header))

    def _own_gate(self) -> Gate:
        assert self.gate is not None, "nothing is admitted without one"
        return self.gate


def _watched(held: list[Any], message: Message) -> Awaitable[None]:
    """The send of an application: nothing but a response in parts can outlive its token.

    Bound to a list, which is the cheapest that a request can have of its own: every hit pays for it.

    Args: held: the server's send, the message that a response starts with, and what a stream is made of; once there is one,
        its send, and itself in place of what was admitted, and no middleware.
    """
    if held[1] is None:
        held[1] = message
    elif "more_body" in message and message["more_body"] and held[2] is not None:  # get() takes three times as long
        send, start, middleware, scope, entry = held
        stream = middleware.stream(scope, entry, send, start)
        held[:] = stream.send, start, None, scope, stream
    return held[0](message)  # type: ignore[no-any-return]  # of a list of anything


def _dress(gate: Gate | None, token: Token | None) -> dict[str, Any]:
    """What the application finds in the scope. Anonymous requests get Starlette's shapes, too."""
    return {
        "jwtgate.token": token,
        "jwtgate.gate": gate,
        "user": User("" if token is None else token.subject or "", is_authenticated=token is not None),
        "auth": _shared_credentials(frozenset[str]() if token is None else token.scopes),
    }


_shared_credentials = lru_cache(maxsize=1024)(Credentials)
"""Kept, since the tokens of one issuer share a few sets of scopes."""


def _request(scope: Scope, read: frozenset[bytes] | None = READ) -> Request:
    """Args: read: which headers; None: checks of the application look at it, so they get all there is."""
    if read is None:
        headers = tuple([(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]])
    else:
        headers = tuple([(name, bytes(value)) for name, value in scope["headers"] if name in read])
    client = scope.get("client") if read is None else None
    return Request(
        method=scope.get("method", "GET"),
        path=told_path(scope),
        raw_path=scope.get("raw_path"),
        headers=headers,
        is_websocket=scope["type"] == "websocket" or _asks_for_websocket(headers),
        client=client[0] if client else None,
        connection=scope,
    )


def _asks_for_websocket(headers: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Whether it is a handshake that a server without WebSocket hands on as HTTP, as every WSGI server does."""
    return any(name == b"upgrade" and b"websocket" in value.lower() for name, value in headers)
