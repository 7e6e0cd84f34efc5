"""From a URL to a store. Each store's module, and the client library it needs, is imported when first asked for."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from jwtgate.errors import SettingsError
from jwtgate.stores.contract import Durability

if TYPE_CHECKING:
    from jwtgate.core.history import Watch
    from jwtgate.stores.contract import Journal, Store

__all__ = ["open_journal", "open_store"]

REDIS_SCHEMES = ("redis://", "rediss://", "redis+sentinel://", "redis+cluster://", "unix://")
SQL_SCHEMES = ("sqlite://", "postgresql+psycopg://", "mysql+pymysql://", "mariadb+pymysql://")

SQL_LIBRARIES = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
"""Besides SQLAlchemy."""


def open_store(
    url: str,
    *,
    prefix: str,
    watch: Watch,
    poll_seconds: float = 0.25,
    durability: Durability = Durability(),  # noqa: B008  # frozen
    share: tuple[int, int] = (0, 1),
) -> Store:
    """One partition of the store that ``url`` names; no connection is made yet.

    Args:
        url: memory://, of a Redis or Valkey (redis, rediss, redis+sentinel, redis+cluster, unix), or of an SQL database.
        prefix: what keys and tables begin with; no braces, which Redis reads as a hash tag.
        watch: the lease and the reach of this process.
        poll_seconds: between two looks at a change log that cannot wake its readers.
        durability: what a ruling needs besides the server's word.
        share: which partition of how many.

    Raises: SettingsError, which never repeats the URL: it may hold a password.
    """
    if url == "memory://":
        from jwtgate.stores.memory import MemoryStore

        return MemoryStore(watch=watch)
    if url.startswith(SQL_SCHEMES):
        return _sql_store(url, prefix, watch, poll_seconds)
    if not url.startswith(REDIS_SCHEMES):
        raise SettingsError(f"JWTGATE_STORE: the URL must begin with memory://, {', '.join((*REDIS_SCHEMES, *SQL_SCHEMES))}.")
    if "{" in prefix or "}" in prefix:
        raise SettingsError("JWTGATE_PREFIX, of the store's keys, must be without braces.")
    from jwtgate.stores.redis import RedisStore

    return RedisStore(url, prefix=prefix, watch=watch, durability=durability, share=share)


def _sql_store(url: str, prefix: str, watch: Watch, poll_seconds: float) -> Store:
    """Raises: SettingsError: a library is missing."""
    _insist_on_libraries(url, "JWTGATE_STORE")
    from jwtgate.stores.sql.opening import open_sql_store

    return open_sql_store(url, prefix=prefix, watch=watch, poll_seconds=poll_seconds)


def _insist_on_libraries(url: str, variable: str) -> None:
    wanted = ("sqlalchemy", SQL_LIBRARIES.get(url.partition("+")[0], "sqlite3"))
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise SettingsError(f"{variable} is an SQL database and needs {', '.join(missing)}: pip install 'jwtgate[sql]'")


def open_journal(url: str, *, prefix: str) -> Journal:
    """The journal that ``url`` names, an SQL database; no connection is made yet.

    Args: prefix: what its tables begin with.
    Raises: SettingsError, which never repeats the URL: it may hold a password.
    """
    if not url.startswith(SQL_SCHEMES):
        raise SettingsError(f"JWTGATE_JOURNAL: the URL must begin with one of {', '.join(SQL_SCHEMES)}.")
    _insist_on_libraries(url, "JWTGATE_JOURNAL")
    from jwtgate.stores.sql.opening import open_sql_journal

    return open_sql_journal(url, prefix=prefix)
