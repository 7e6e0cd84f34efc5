"""Stores that faults are tried on: each a real server of its own, with a handle for everything that can happen to it.

``powers`` says what can be done to a store: a fault that needs more than it has does not apply, and the report says why.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import redis
from databases import DATABASES
from redis.backoff import NoBackoff
from redis.retry import Retry
from servers import Server, redis_binary, valkey_binary
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool
from topologies import ClusterGroup, SentinelGroup, wait_for

from jwtgate.stores.sql.dialects import TIMEOUT_SECONDS as SQL_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from databases import Database

PING_SECONDS = 0.2

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

    def flush(self) -> bool:
        """Whether a server that may be away, loading, busy or read-only was there and took FLUSHALL; never carried out later."""
        try:
            with self.server.client(socket_timeout=PING_SECONDS, retry=Retry(NoBackoff(), 0)) as client:
                client.ping()
        except redis.RedisError:
            return False
        try:
            with self.server.client() as client:
                return bool(client.flushall())
        except redis.ResponseError:
            return False

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


class Group:
    """Sentinels or a cluster of Valkey servers. ``server`` is whoever serves the keys now."""

    timeout_seconds = 0.25
    tags = ("{jwtgate:0}",)

    def __init__(self, name: str, group: SentinelGroup | ClusterGroup, *more: str) -> None:
        """Args: more: powers."""
        self.name = name
        self.group = group
        self.powers = frozenset({"redis", "replicas", *more})
        self._clients: dict[int, redis.Redis] = {}
        self._place: tuple[str, ...] = self.tags if isinstance(group, ClusterGroup) else ()

    @property
    def url(self) -> str:
        """Names guides, not servers of keys."""
        return self.group.url

    @property
    def server(self) -> Server:
        """The master of our keys; on a machine that is late there may be none for a moment, whatever the fault."""
        return wait_for(lambda: self.group.master(*self._place), "there is a master")

    @property
    def admin(self) -> redis.Redis:
        """A connection to it."""
        server = self.server
        if server.port not in self._clients:
            self._clients[server.port] = server.client(single_connection_client=True)
        return self._clients[server.port]

    @property
    def replicas(self) -> list[Server]:
        """Of the master of our keys."""
        group = self.group
        if isinstance(group, ClusterGroup):
            return [group.replica(self.server)]
        return [node for node in group.nodes if node is not self.server]

    @property
    def version(self) -> str:
        """Of the servers."""
        info: Any = self.admin.info("server")
        return str(info.get("valkey_version") or info["redis_version"])

    def failover(self) -> None:
        """In order, with all data."""
        self.group.failover(*self._place)

    def wait_for_master(self, other_than: Server) -> None:
        """Until somebody else serves."""
        self.group.wait_for_master(*self._place, other_than=other_than)

    def pause_master(self) -> Server:
        """SIGSTOP."""
        return self.group.pause_master(*self._place)

    def resume(self, server: Server) -> None:
        """It comes back believing that it is master."""
        if isinstance(self.group, ClusterGroup):
            self.group.resume(server)
        else:
            server.resume()

    def close(self) -> None:
        """Ends all servers."""
        for client in self._clients.values():
            client.close()
        self.group.close()

    def __enter__(self) -> Self:
        self.group.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Relational:
    """PostgreSQL or MariaDB, durable as they are out of the box."""

    powers: ClassVar[frozenset[str]] = frozenset({"server", "proxy", "one server", "sql", "sql server"})
    timeout_seconds = SQL_TIMEOUT_SECONDS

    def __init__(self, make: type[Database]) -> None:
        self.name = make.name
        self.server = make()
        self.engine = create_engine(self.server.url, poolclass=NullPool)

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
        return self.server.url_at(port)

    @property
    def version(self) -> str:
        """Of the server."""
        with self.engine.connect() as connection:
            return str(connection.exec_driver_sql("SELECT version()").scalar()).partition(" on ")[0]

    def close(self) -> None:
        """Ends the server and removes its data."""
        self.engine.dispose()
        self.server.close()

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SqliteFile:
    """One file for all processes."""

    name = "SQLite"
    powers: ClassVar[frozenset[str]] = frozenset({"sql", "file"})
    timeout_seconds = SQL_TIMEOUT_SECONDS
    version = sqlite3.sqlite_version

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jwtgate-sqlite-"))
        self.path = self.folder / "store.db"
        self.url = f"sqlite:///{self.path}"
        self.engine = create_engine(self.url, poolclass=NullPool)

    def close(self) -> None:
        """Removes it."""
        self.engine.dispose()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
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


def _sentinel() -> Group:
    return Group("Sentinel", SentinelGroup(valkey_binary()))


def _cluster() -> Group:
    return Group("Cluster", ClusterGroup(valkey_binary()), "slots")


def _database(name: str) -> Relational | None:
    return None if DATABASES[name].missing() else Relational(DATABASES[name])


STORES: dict[str, Callable[[], Any]] = {
    "valkey": _valkey,
    "redis": _redis,
    "sentinel": _sentinel,
    "cluster": _cluster,
    "sqlite": SqliteFile,
    "postgresql": lambda: _database("postgresql"),
    "mariadb": lambda: _database("mariadb"),
}
"""Name to a function that makes one, not yet started; None where the machine lacks its server."""
