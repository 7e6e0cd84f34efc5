"""What one says, all hear, whichever worker they are at: one channel of the store's server, one subscription a worker.

Nothing is kept, and nobody is decided about: what passes to whom is the gate's business.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

__all__ = ["Away", "Relay"]

CHANNEL = "jwtgate-demo-chat"
TIMEOUT_SECONDS = 1.0
PAUSE_SECONDS = 0.2
"""Between two attempts to reach a store that is away."""

MOST_WAITING = 100
"""Messages for one who does not read: what comes then is lost to that one."""

Message = dict[str, Any]


class Away(Exception):
    """The store's server does not answer: nobody has heard it."""


class Relay:
    """Of one worker. Subscribed as long as anybody is there."""

    def __init__(self, url: str) -> None:
        """Args: url: of the store. Opens nothing yet."""
        self._url = url
        self._ears: set[asyncio.Queue[Message]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._is_subscribed = asyncio.Event()

    @asynccontextmanager
    async def joined(self, ready: Callable[[], Awaitable[object]]) -> AsyncGenerator[asyncio.Queue[Message]]:
        """Whatever is said meanwhile, from the moment at which this is entered; later only while the store does not answer.

        Args: ready: waited for before it is said that the store is back.
        """
        ear: asyncio.Queue[Message] = asyncio.Queue(MOST_WAITING)
        self._ears.add(ear)
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(ready))
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_subscribed.wait(), TIMEOUT_SECONDS)
            yield ear
        finally:
            self._ears.discard(ear)
            if not self._ears:
                self._listening.cancel()
                self._listening = None
                self._is_subscribed.clear()

    async def say(self, message: Message) -> None:
        """To all, at every worker. Raises: Away."""
        try:
            async with self._client(TIMEOUT_SECONDS) as client:
                await client.publish(CHANNEL, json.dumps(message))  # pyright: ignore[reportUnknownMemberType] - untyped there
        except (RedisError, OSError) as error:
            raise Away from error

    def _tell(self, message: Message) -> None:
        for ear in self._ears:
            if not ear.full():
                ear.put_nowait(message)

    async def _listen(self, ready: Callable[[], Awaitable[object]]) -> None:
        is_away = False
        while True:
            try:
                async with self._client(None) as client, client.pubsub() as heard:  # pyright: ignore[reportUnknownMemberType] - untyped there
                    await heard.subscribe(CHANNEL)
                    if is_away:
                        await ready()  # until then whatever is sent ends its connection
                        is_away = False
                        self._tell({"kind": "store", "is_up": True})
                    messages = cast("AsyncIterator[dict[str, Any]]", heard.listen())  # pyright: ignore[reportUnknownMemberType] - likewise
                    async for each in messages:
                        if each["type"] == "subscribe":
                            self._is_subscribed.set()
                        if each["type"] == "message":
                            self._tell(json.loads(each["data"]))
            except (RedisError, OSError):
                self._is_subscribed.clear()
                if not is_away:
                    is_away = True
                    self._tell({"kind": "store", "is_up": False})
            await asyncio.sleep(PAUSE_SECONDS)

    def _client(self, timeout_seconds: float | None) -> Redis:
        """Tries once: who is away is told of."""
        retry = Retry(NoBackoff(), 0)
        return Redis.from_url(  # pyright: ignore[reportUnknownMemberType] - untyped there
            self._url, retry=retry, socket_timeout=timeout_seconds, socket_connect_timeout=TIMEOUT_SECONDS
        )
