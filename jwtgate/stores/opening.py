"""From a URL to a store. Each store's module, and the client library it needs, is imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jwtgate.errors import SettingsError
from jwtgate.stores.contract import Durability

if TYPE_CHECKING:
    from jwtgate.core.history import Watch
    from jwtgate.stores.contract import Journal, Store

__all__ = ["open_journal", "open_store"]

REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def open_store(
    url: str,
    *,
    prefix: str,
    watch: Watch,
    poll_seconds: float = 0.25,  # noqa: ARG001  # for stores that are polled
    durability: Durability = Durability(),  # noqa: B008  # frozen
    share: tuple[int, int] = (0, 1),
) -> Store:
    """One partition of the store that ``url`` names; no connection is made yet.

    Args:
        url: memory://, redis://, rediss:// or unix://.
        prefix: what keys begin with; no braces, which Redis reads as a hash tag.
        watch: the lease and the reach of this process.
        poll_seconds: between two looks at a change log that cannot wake its readers.
        durability: what a ruling needs besides the server's word.
        share: which partition of how many.

    Raises: SettingsError, which never repeats the URL: it may hold a password.
    """
    if url == "memory://":
        from jwtgate.stores.memory import MemoryStore

        return MemoryStore(watch=watch)
    if not url.startswith(REDIS_SCHEMES):
        raise SettingsError(f"The store's URL must begin with memory://, {', '.join(REDIS_SCHEMES[:2])} or unix://.")
    if "{" in prefix or "}" in prefix:
        raise SettingsError("The prefix of the store's keys must be without braces.")
    from jwtgate.stores.redis import RedisStore

    return RedisStore(url, prefix=prefix, watch=watch, durability=durability, share=share)


def open_journal(url: str, *, prefix: str) -> Journal:
    """The journal that ``url`` names, an SQL database; no connection is made yet.

    Args: prefix: what its tables begin with.
    Raises: SettingsError, which never repeats the URL: it may hold a password.
    """
    from jwtgate.stores.sql.journal import SqlJournal

    return SqlJournal(url, prefix=prefix)
