"""The ASGI shell: puts the gate in front of any ASGI 3 application. Speaks HTTP, WebSocket and lifespan; decides nothing.

The application finds the token in ``scope["jwtgate.token"]`` and Starlette's ``request.user`` and ``request.auth``. Whatever
an outer layer left under these names is overwritten: an identity from outside is never believed.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jwtgate.core.challenge import answer
from jwtgate.core.exemption import routed_path
from jwtgate.core.extraction import CANONICAL_SCHEME
from jwtgate.errors import JWTGateError, SettingsError
from jwtgate.gate import Gate
from jwtgate.identity import Credentials, User
from jwtgate.messages import Request, Response, Token
from jwtgate.runtime import bodies, nonblocking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from jwtgate.core.lru import Admitted

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

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

LEASES_AT_STARTUP = 3
"""``lifespan.startup`` waits so long for a live view: a first start on an empty store takes two."""

LAST_MESSAGES = frozenset({"lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed"})
"""What an application says when it serves nothing any more."""


class JWTGateMiddleware:
    """``app = JWTGateMiddleware(app)``: configured by ``JWTGATE_*``, or by a ``Gate`` of your own."""

    def __init__(self, app: ASGIApp, *, gate: Gate | None = None) -> None:
        """Never raises for wrong settings: ``lifespan.startup`` fails with the text, and requests get 503."""
        self.app = app
        self._owns_gate = gate is None
        self._mistake = SettingsError()
        self.gate = gate if gate is not None else self._from_env()
        self._longest = 0
        self._is_header_only = False
        self._nobody: dict[str, Any] = {}
        self._looks_at_path = False
        self._below: str | tuple[()] = ()
        self._resource = None if self.gate is None else self.gate.plans.resource
        self._read = READ
        if self.gate is not None:
            settings = self.gate.settings
            self._longest = settings.max_token_bytes + len(CANONICAL_SCHEME)
            self._is_header_only = settings.locations == ("header",)
            self._exemption = self.gate.decision.rules.exemption
            self._read = READ.union(self.gate.decision.rules.possession.headers)
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3. Raises: NotImplementedError: a protocol it does not know, and so cannot guard."""
        kind = scope["type"]
        if kind == "http":
            entry = self._hit(scope) if self._is_header_only else None
            if entry is not None:
                await self.app({**scope, **(entry.dress or self._dressed(entry))}, receive, send)
                return
            await self._examine(scope, receive, send)
        elif kind == "websocket":
            await self._examine(scope, receive, send)
        elif kind == "lifespan":
            await self._live(scope, receive, send)
        else:
            raise NotImplementedError(f"jwtgate guards http and websocket, and knows nothing of {kind!r}")

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

    async def _examine(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = self.gate
        if gate is None:
            await _refuse(scope, receive, send, answer(self._mistake, realm="jwtgate", retry_after_seconds=None))
            return
        gate.start()
        request = _request(scope, None if gate.checks else self._read)
        try:
            if self._resource is not None and self._resource.is_at(request, scope["path"]):
                response = self._resource.answer(request, scope.get("root_path", ""))
                await _send("http.response", response, b"" if request.method == "HEAD" else response.body, send)
                return
            if self._below and await _serve(gate, request, receive, send):
                return
            entry = await nonblocking.run(gate.plans.examine(request), gate.waiter)
        except JWTGateError as error:
            logger.info("refused: %s (%s)", error.reason, error)
            await _refuse(scope, receive, send, gate.answer(error))
            return
        dress = self._nobody if entry is None else entry.dress or self._dressed(entry)
        if entry is not None and gate.plans.is_renewal_due(entry, request):
            send = _renewing(gate, entry, send)
        if entry is not None and entry.bond is not None:
            send = _with_nonce(gate, send)
        await self.app({**scope, **dress}, receive, send)

    # --- lifespan

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Waits for a live view before the application starts; closes, after it, a gate taken from the environment.

        An application that does not speak lifespan is called all the same, after the wait: the server hears it from itself.
        """
        first = await receive()
        gate = self.gate
        if gate is None:
            await send({"type": "lifespan.startup.failed", "message": str(self._mistake)})
            return
        await _begin(gate)
        waiting = [first]
        is_ending = False

        async def receive_waiting() -> Message:
            nonlocal is_ending
            message = waiting.pop() if waiting else await receive()
            is_ending = is_ending or message["type"] == "lifespan.shutdown"
            return message

        async def send_closed(message: Message) -> None:
            if message["type"] in LAST_MESSAGES and self._owns_gate:
                await gate.aio.close()
            await send(message)

        try:
            await self.app(scope, receive_waiting, send_closed)
        finally:
            if is_ending and self._owns_gate:
                await gate.aio.close()


async def _begin(gate: Gate) -> None:
    if not await gate.aio.ready(LEASES_AT_STARTUP * gate.settings.lease):
        logger.warning("the view is not live yet: until it is, every request asks the store")


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
    is_whole = read is None
    if read is None:
        headers = tuple([(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]])
    else:
        headers = tuple([(name, bytes(value)) for name, value in scope["headers"] if name in read])
    client = scope.get("client") if is_whole else None
    return Request(
        method=scope.get("method", "GET"),
        path=routed_path(scope["path"], scope.get("root_path", "")),
        raw_path=scope.get("raw_path"),
        headers=headers,
        is_websocket=scope["type"] == "websocket" or _asks_for_websocket(headers),
        client=client[0] if client else None,
        connection=scope,
    )


async def _serve(gate: Gate, request: Request, receive: Receive, send: Send) -> bool:
    """Answers for an endpoint; False: the request is the application's. A client that is gone gets no answer."""
    endpoint = None if gate.plans.endpoints is None else gate.plans.endpoints.find(request)
    if endpoint is None:
        return False
    body = await bodies.receive(request, receive) if endpoint.takes_body else b""
    if body is not None:
        response = await nonblocking.run(endpoint.answer(body), gate.waiter)
        await _send("http.response", response, b"" if request.method == "HEAD" else response.body, send)
    return True


def _asks_for_websocket(headers: tuple[tuple[bytes, bytes], ...]) -> bool:
    """Whether it is a handshake that a server without WebSocket hands on as HTTP, as every WSGI server does."""
    return any(name == b"upgrade" and b"websocket" in value.lower() for name, value in headers)


def _renewing(gate: Gate, entry: Admitted, send: Send) -> Send:
    """Puts a new access token into the response as it starts (``ROTATE_AFTER``)."""

    async def send_renewing(message: Message) -> None:
        if message["type"] == "http.response.start":
            lines = list(message.get("headers", ()))  # any iterable, perhaps one that is read once
            message = {**message, "headers": lines}
            headers = [(bytes(n).decode("latin-1"), bytes(v).decode("latin-1")) for n, v in lines]
            renewed = await nonblocking.run(gate.plans.renew(entry, headers), gate.waiter)
            if renewed is not None:
                more = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in renewed.added_to(headers)]
                message = {**message, "headers": more}
        await send(message)

    return send_renewing


def _with_nonce(gate: Gate, send: Send) -> Send:
    """Tells the client of a bound token the nonce for its next proof (RFC 9449 §8.2), unless the application tells one."""
    nonce = gate.decision.rules.possession.next_nonce
    if nonce is None:
        return send

    async def send_with_nonce(message: Message) -> None:
        if message["type"] == "http.response.start":
            lines = list(message.get("headers", ()))
            own = [] if any(bytes(name).lower() == b"dpop-nonce" for name, _ in lines) else [(b"dpop-nonce", nonce.encode())]
            message = {**message, "headers": [*lines, *own]}
        await send(message)

    return send_with_nonce


async def _refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """An HTTP answer; for a WebSocket the denial response where the server has it, else close 1008 before accept."""
    prefix, body = "http.response", response.body
    if scope["type"] == "websocket":
        if (await receive())["type"] == "websocket.disconnect":
            return
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        prefix = "websocket.http.response"
    elif scope["method"] == "HEAD":
        body = b""
    await _send(prefix, response, body, send)


async def _send(prefix: str, response: Response, body: bytes, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": f"{prefix}.start", "status": response.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
