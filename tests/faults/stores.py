"""Stores that faults are tried on: each a real server of its own, with a handle for everything that can happen to it.

``powers`` says what can be done to a store: a fault that needs more than it has does not apply, and the report says why.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, ClassVar, Self

import redis
from servers import Server, redis_binary, valkey_binary

if TYPE_CHECKING:
    from collections.abc import Callable

WHY_NOT = {
    "server": "there is no server process",
    "proxy": "clients learn the servers' own addresses, past any proxy",
    "redis": "a condition of Redis and Valkey only",
    "one server": "there are several servers; failover and resharding stand for it",
    "replicas": "there is nobody to fail over to",
    "slots": "there are no slots to move",
    "sql": "a condition of SQL databases only",
    "sql server": "there is no database server process",
    "file": "it is not a file",
}
"""Power to the sentence of the report where a store lacks it."""


class RedisLike:
    """One Redis or Valkey server, durable at each write."""

    powers: ClassVar[frozenset[str]] = frozenset({"server", "proxy", "redis", "one server"})
    timeout_seconds = 0.25
    tags = ("{jwtgate:0}",)
    OPTIONS = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")

    def __init__(self, name: str, binary: str) -> None:
        self.name = name
        self.server = Server(binary, *self.OPTIONS)
        self._admin: redis.Redis | None = None

    @property
    def url(self) -> str:
        """For those who are not behind a proxy."""
        return self.server.url

    @property
    def port(self) -> int:
        """What a proxy stands before."""
        return self.server.port

    def url_through(self, port: int) -> str:
        """The same store behind a proxy."""
        return f"redis://127.0.0.1:{port}"

    @property
    def admin(self) -> redis.Redis:
        """One connection that stays, whatever happens to new ones."""
        if self._admin is None:
            self._admin = self.server.client(single_connection_client=True)
        return self._admin

    @property
    def version(self) -> str:
        """Of the server, for the report."""
        info: Any = self.admin.info("server")
        return str(info.get("valkey_version") or info["redis_version"])

    def close(self) -> None:
        """Ends the server and removes its data."""
        if self._admin is not None:
            self._admin.close()
        self.server.close()

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _valkey() -> RedisLike:
    return RedisLike("Valkey", valkey_binary())


def _redis() -> RedisLike | None:
    binary = redis_binary()
    if binary is None or b"valkey" in subprocess.run([binary, "--version"], capture_output=True, check=True).stdout.lower():
        return None
    return RedisLike("Redis", binary)


STORES: dict[str, Callable[[], Any]] = {"valkey": _valkey, "redis": _redis}
"""Name to a function that makes one, not yet started; None where the machine lacks its server."""
