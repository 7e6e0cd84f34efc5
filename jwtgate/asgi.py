"""The ASGI shell: puts the gate in front of any ASGI 3 application. Speaks HTTP, WebSocket and lifespan; decides nothing.

The application finds the token in ``scope["jwtgate.token"]`` and Starlette's ``request.user`` and ``request.auth``. Whatever
an outer layer left under these names is overwritten: an identity from outside is never believed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from starlette.authentication import AuthCredentials, BaseUser

from jwtgate.core.challenge import answer
from jwtgate.core.exemption import routed_path
from jwtgate.core.extraction import CANONICAL_SCHEME
from jwtgate.errors import JWTGateError, SettingsError
from jwtgate.gate import Gate
from jwtgate.messages import Request, Response, Token
from jwtgate.runtime import nonblocking

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

LEASES_AT_STARTUP = 3
"""``lifespan.startup`` waits so long for a live view: a first start on an empty store takes two."""


class _User(BaseUser):
    """Starlette's user: the subject, or nobody."""

    __slots__ = ("_identity", "_is_authenticated")

    def __init__(self, identity: str, *, is_authenticated: bool) -> None:
        self._identity = identity
        self._is_authenticated = is_authenticated

    @property
    def is_authenticated(self) -> bool:
        return self._is_authenticated

    @property
    def display_name(self) -> str:
        return self._identity

    @property
    def identity(self) -> str:
        return self._identity


class _Credentials(AuthCredentials):
    """Starlette's credentials, shared by all requests with the token and so without a list to change."""

    __slots__ = ("scopes",)

    def __init__(self, scopes: tuple[str, ...]) -> None:
        object.__setattr__(self, "scopes", scopes)

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError("the credentials of a request cannot be changed")


class JWTGateMiddleware:
    """``app = JWTGateMiddleware(app)``: configured by ``JWTGATE_*``, or by a ``Gate`` of your own."""

    def __init__(self, app: ASGIApp, *, gate: Gate | None = None) -> None:
        """Never raises for wrong settings: ``lifespan.startup`` fails with the text, and requests get 503."""
        self.app = app
        self._owns_gate = gate is None
        self._mistake: SettingsError | None = None
        self.gate: Gate | None = gate
        if gate is None:
            try:
                self.gate = Gate.from_env()
            except SettingsError as error:
                self._mistake = error
                logger.error("jwtgate is not configured: %s", error)  # noqa: TRY400 - the text says it all
        self._longest = 0
        self._is_header_only = False
        self._nobody: dict[str, Any] = {}
        if self.gate is not None:
            settings = self.gate.settings
            self._longest = settings.max_token_bytes + len(CANONICAL_SCHEME)
            self._is_header_only = settings.locations == ("header",)
            self._exemption = self.gate.decision.rules.exemption
            self._nobody = _dress(self.gate, None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
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
            await self.app(scope, receive, send)

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
        if not value.startswith(CANONICAL_SCHEME) or (not self._exemption.is_empty and self._is_exempt(scope)):
            return None
        return self.gate.decision.hit(value[len(CANONICAL_SCHEME) :], "header")  # type: ignore[union-attr]

    def _is_exempt(self, scope: Scope) -> bool:
        return self._exemption.matches(routed_path(scope["path"], scope.get("root_path", "")), scope.get("raw_path"))

    def _dressed(self, entry: Admitted) -> dict[str, Any]:
        """Made once per admitted token; two requests that race make two equal ones."""
        entry.dress = _dress(self.gate, entry.token)
        return entry.dress  # type: ignore[no-any-return]

    async def _examine(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = self.gate
        if gate is None:
            await _refuse(
                scope, receive, send, answer(self._mistake or SettingsError(), realm="jwtgate", retry_after_seconds=None)
            )
            return
        gate.start()
        try:
            entry = await nonblocking.run(gate.plans.examine(_request(scope)), gate.waiter)
        except JWTGateError as error:
            logger.info("refused: %s (%s)", error.reason, error)
            await _refuse(scope, receive, send, gate.answer(error))
            return
        dress = self._nobody if entry is None else entry.dress or self._dressed(entry)
        await self.app({**scope, **dress}, receive, send)

    # --- lifespan

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Waits for a live view before the application starts; closes, after it, a gate taken from the environment."""
        if self._mistake is not None:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(self._mistake)})
            return

        async def receive_ready() -> Message:
            message = await receive()
            if message["type"] == "lifespan.startup" and self.gate is not None:
                await self._begin(self.gate)
            return message

        async def send_closed(message: Message) -> None:
            if message["type"] in {"lifespan.shutdown.complete", "lifespan.shutdown.failed"} and self._owns_gate:
                await self._end()
            await send(message)

        try:
            await self.app(scope, receive_ready, send_closed)
        finally:
            if self._owns_gate:
                await self._end()

    async def _begin(self, gate: Gate) -> None:
        if not await gate.aio.ready(LEASES_AT_STARTUP * gate.settings.lease):
            logger.warning("the store is not there yet: requests are answered with 503 until it is")

    async def _end(self) -> None:
        if self.gate is not None:
            await self.gate.aio.close()


def _dress(gate: Gate | None, token: Token | None) -> dict[str, Any]:
    """What the application finds in the scope. Anonymous requests get Starlette's shapes, too."""
    identity = "" if token is None else token.subject or ""
    scopes = () if token is None else tuple(sorted(token.scopes))
    return {
        "jwtgate.token": token,
        "jwtgate.gate": gate,
        "user": _User(identity, is_authenticated=token is not None),
        "auth": _Credentials(scopes),
    }


def _request(scope: Scope) -> Request:
    return Request(
        method=scope.get("method", "GET"),
        path=routed_path(scope["path"], scope.get("root_path", "")),
        raw_path=scope.get("raw_path"),
        headers=tuple((bytes(name).lower(), bytes(value)) for name, value in scope["headers"]),
        is_websocket=scope["type"] == "websocket",
    )


async def _refuse(scope: Scope, receive: Receive, send: Send, response: Response) -> None:
    """An HTTP answer; for a WebSocket the denial response where the server has it, else close 1008 before accept."""
    prefix = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        prefix = "websocket.http.response"
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    await send({"type": f"{prefix}.start", "status": response.status, "headers": headers})
    await send({"type": f"{prefix}.body", "body": response.body})
