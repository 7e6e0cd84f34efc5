"""Live connections of the ASGI shell: what stands between an application and a WebSocket or a stream whose token may die.

Each message that passes is vouched for (``core.live``); a connection over which nothing passes is looked at when it is woken.
One whose token died is ended here and now: a WebSocket with a close frame, a stream with its last, empty part. The application
hears of it as of any client that went away: ``websocket.disconnect``, and ``OSError`` from what it sends (ASGI 2.4). While
nobody can know, nothing passes: what would, ends the connection, and what says nothing stays. What a server was given before is
out of reach: one whose client does not read keeps it, and sends it when that client does; the application, which may wait for
that client in ``send``, is told all the same.

Sources: the ASGI specification (HTTP and WebSocket message formats 2.5), RFC 6455 §7.4.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import TYPE_CHECKING, Any

from jwtgate.channel.ending import ConnectionEnded
from jwtgate.core.live import LiveConnection, nobody
from jwtgate.errors import JWTGateError, UnavailableError
from jwtgate.runtime import nonblocking

if TYPE_CHECKING:
    from jwtgate.channel.shapes import Message, Receive, Send
    from jwtgate.core.effects import Effect, Plan
    from jwtgate.core.lru import Admitted
    from jwtgate.gate import Gate
    from jwtgate.messages import Credential

__all__ = ["Open", "Socket", "Stream"]

logger = logging.getLogger("jwtgate")

TRY_AGAIN_LATER = 1013
"""Registered for RFC 6455 §7.4.2: nobody knows whether the token is still good."""

LEAST_WAIT_SECONDS = 0.001

FAREWELL_SECONDS = 1.0
"""Some servers return from a close once the client has answered it; nobody waits longer for one that does not."""


HEAD_START_SECONDS = 0.01
"""Of a goodbye before the application is told. Granian says none while somebody listens: whoever does must be told first."""


class _Connection:
    """What both have in common. Used in one loop; only ``wake`` comes from elsewhere."""

    __slots__ = (
        "_alarm",
        "_alarm_at",
        "_farewell",
        "_gate",
        "_is_called",
        "_line",
        "_live",
        "_send",
        "_told",
        "_waiting",
        "is_over",
    )

    def __init__(self, gate: Gate, entry: Admitted, credential: Credential, send: Send) -> None:
        """Of a request that was just admitted: its first message has it decided about, nearly always from memory."""
        self.is_over = False
        self._is_called = False
        self._gate = gate
        self._send = send
        self._line = gate.lines.own()
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self._farewell: asyncio.Task[None] | None = None
        self._waiting = self._told = tuple[
            tuple[asyncio.Task[Any], int], ...
        ]()  # tasks, and how often each was cancelled before
        self._live = LiveConnection(credential.token, credential.source, entry, self._wake)
        gate.view.live.watch(self._live)

    async def leave(self) -> None:
        """The application is done with it. What was ended here is ended first: else the server would do it in its own words."""
        self._forget()
        if self._farewell is not None:
            await asyncio.wait({self._farewell}, timeout=FAREWELL_SECONDS)
            self._farewell.cancel()  # a client that reads nothing would keep it for ever
            self._tell_waiting()

    def _forget(self) -> None:
        self.is_over = True
        self._gate.view.live.unwatch(self._live)
        self._live.wake = nobody  # else the two hold each other until the collector comes
        if self._alarm is not None:
            self._alarm.cancel()

    async def passes(self) -> bool:
        """Whether a message may pass now. False: it is over, or has just been ended."""
        if self.is_over:
            return False
        if self._gate.decision.vouches(self._live):
            return True
        self._gate.start()
        try:
            await nonblocking.run(self._gate.plans.again(self._live), self._gate.waiter)
            self._set_alarm()
        except JWTGateError as error:
            self._end(error)
        return not self.is_over

    def look(self) -> None:
        """Something happened that may have ended it. What memory says is done at once, else the store is asked beside."""
        self._is_called = False
        if self.is_over or self._gate.decision.vouches(self._live):
            self._set_alarm()
            return
        plan = self._gate.plans.again(self._live)
        try:
            effect = next(plan)
        except StopIteration:
            self._set_alarm()
        except JWTGateError as error:
            self._judge(error)
        else:
            self._line.run(self._look_on(plan, effect))

    async def _look_on(self, plan: Plan[None], effect: Effect) -> None:
        try:
            await nonblocking.run(plan, self._gate.waiter, effect)
            self._set_alarm()
        except JWTGateError as error:
            self._judge(error)

    def _judge(self, error: JWTGateError) -> None:
        """Where nobody knows, it stays as long as nothing passes, and is looked at again once somebody does."""
        if isinstance(error, UnavailableError):
            view, now = self._gate.view, self._gate.clock.boot()
            view.live.leave_open(self._live, now, is_trusted=view.is_live(now))
            logger.debug("a live connection is silent until its token can be decided about: %s", error)
        else:
            self._end(error)

    def _wake(self) -> None:
        """However often it is doubted, it stands in line once."""
        if not self._is_called:
            self._is_called = True
            self._line.put(self)

    def _set_alarm(self) -> None:
        """At the deadline, on the loop's clock; whether it is over the gate's clock says."""
        deadline = self._live.deadline
        if self.is_over or deadline == self._alarm_at or not abs(deadline) < inf:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = deadline
        wait = max(deadline - self._gate.clock.boot(), LEAST_WAIT_SECONDS)
        self._alarm = self._line.loop.call_later(wait, self._ring)

    def _ring(self) -> None:
        self._alarm_at = inf
        self._wake()

    def _end(self, error: JWTGateError) -> None:
        if self.is_over:
            return
        self._forget()
        logger.info("ended a live connection: %s (%s)", error.reason, error)
        self._gate.tally.count_ended(error)
        goodbye = self._goodbye(error)
        if not goodbye:
            self._tell_waiting()
            return
        self._farewell = self._line.run(self._say(goodbye))
        self._alarm = self._line.loop.call_later(HEAD_START_SECONDS, self._tell_waiting)

    async def _say(self, goodbye: tuple[Message, ...]) -> None:
        """Then the application is told: one that is told first may end before the goodbye is on its way."""
        try:
            for message in goodbye:
                await self._send(message)
        except Exception as failure:  # noqa: BLE001 - a server's way to say that the client is gone already
            logger.debug("a live connection that was ended was gone: %s", type(failure).__name__)
        self._tell_waiting()

    def __enter__(self) -> None:
        """Somebody waits for the server, but no longer than to the end. No coroutine: each idle connection would have it."""
        task = asyncio.current_task()
        assert task is not None, "in a coroutine"
        self._waiting += ((task, task.cancelling()),)

    def __exit__(self, _: object, failure: BaseException | None, __: object) -> None:
        """Raises: ConnectionEnded: it has ended; servers fail with words of their own for what is said then."""
        task = asyncio.current_task()
        self._waiting = tuple([each for each in self._waiting if each[0] is not task])
        cancelled = next((before for each, before in self._told if each is task), None)
        is_ours = task is not None and cancelled is not None and task.cancelling() == cancelled + 1
        if task is not None and cancelled is not None:
            self._told = tuple([each for each in self._told if each[0] is not task])
            task.uncancel()  # in any case, since a server may have made something else of it, or nothing
        if isinstance(failure, asyncio.CancelledError):
            if is_ours:
                raise ConnectionEnded from None
        elif isinstance(failure, Exception) and self._farewell is not None:
            raise ConnectionEnded from failure

    def _tell_waiting(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        waiting, self._waiting = self._waiting, ()
        self._told += waiting
        for task, _ in waiting:
            task.cancel()

    def _goodbye(self, error: JWTGateError) -> tuple[Message, ...]:
        raise NotImplementedError


class Open:
    """A response in parts that may outlive its token."""

    __slots__ = ("send",)

    def __init__(self, send: Send) -> None:
        self.send = send

    async def leave(self) -> None:
        """Nothing was held."""


class Stream(_Connection):
    """A response that comes in parts."""

    __slots__ = ("_rest",)

    def __init__(self, gate: Gate, entry: Admitted, credential: Credential, send: Send, rest: tuple[Message, ...]) -> None:
        """Args: rest: what ends it sooner; nothing: the server was told how long it is, and can only break it off."""
        super().__init__(gate, entry, credential, send)
        self._rest = rest

    async def send(self, message: Message) -> None:
        """Raises: ConnectionEnded."""
        if not await self.passes():
            raise ConnectionEnded
        with self:
            await self._send(message)

    def _goodbye(self, error: JWTGateError) -> tuple[Message, ...]:  # noqa: ARG002 - a response has no word for it
        """Nothing: it would be too short, which servers do not forgive: it is broken off once its application is done."""
        return self._rest


class Socket(_Connection):
    """A WebSocket, from its handshake on."""

    __slots__ = ("_code", "_receive")

    def __init__(self, gate: Gate, entry: Admitted, credential: Credential, receive: Receive, send: Send) -> None:
        """Args: receive, send: the server's."""
        super().__init__(gate, entry, credential, send)
        self._receive = receive
        self._code = gate.settings.ws_close

    async def receive(self) -> Message:
        """The next message of the client; its disconnect, too, once the gate has ended it."""
        if self.is_over:
            return self._disconnected()
        try:
            with self:
                message = await self._receive()
        except ConnectionEnded:
            return self._disconnected()
        if self.is_over:  # also where the server told of its end, in words of its own
            return self._disconnected()
        is_spoken = message["type"] == "websocket.receive"
        return message if not is_spoken or await self.passes() else self._disconnected()

    async def send(self, message: Message) -> None:
        """Raises: ConnectionEnded."""
        if self.is_over or (message["type"] != "websocket.close" and not await self.passes()):
            raise ConnectionEnded
        with self:
            await self._send(message)

    def _end(self, error: JWTGateError) -> None:
        if isinstance(error, UnavailableError):
            self._code = TRY_AGAIN_LATER
        super()._end(error)

    def _goodbye(self, error: JWTGateError) -> tuple[Message, ...]:
        return ({"type": "websocket.close", "code": self._code, "reason": error.error or ""},)

    def _disconnected(self) -> Message:
        return {"type": "websocket.disconnect", "code": self._code, "reason": ""}
