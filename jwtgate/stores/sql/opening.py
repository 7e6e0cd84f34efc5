"""From a URL to the dialect that speaks it. The driver is imported here, when such a URL is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sqlalchemy import make_url

from jwtgate.errors import SettingsError
from jwtgate.stores.sql.sqlite import SQLite
from jwtgate.stores.sql.store import SqlStore

if TYPE_CHECKING:
    from sqlalchemy import URL

    from jwtgate.core.history import Watch
    from jwtgate.stores.sql.dialects import Dialect

__all__ = ["open_sql_store"]


def open_sql_store(url: str, *, prefix: str, watch: Watch, poll_seconds: float) -> SqlStore:
    """Connects to nothing yet. Raises: SettingsError, which never repeats the URL."""
    return SqlStore(_dialect(url), prefix=prefix, watch=watch, poll_seconds=poll_seconds)


def _dialect(url: str) -> Dialect:
    try:
        parts = make_url(url)
        _ = urlsplit(url).port
    except Exception as error:  # noqa: BLE001  # whatever a URL can do to the parsers; their messages may quote it
        mistake = f"JWTGATE_STORE: the URL cannot be read ({type(error).__name__})."
    else:
        return dialect_of(parts)
    raise SettingsError(mistake)


def dialect_of(parts: URL) -> Dialect:
    """Raises: SettingsError."""
    name = parts.get_backend_name()
    if name == "sqlite":
        if not parts.database or parts.database == ":memory:":
            raise SettingsError("JWTGATE_STORE: sqlite:///path needs a path; for one process alone there is memory://.")
        return SQLite(str(Path(parts.database).absolute()))
    if name == "postgresql":
        from jwtgate.stores.sql.postgresql import PostgreSQL

        return PostgreSQL(parts)
    from jwtgate.stores.sql.mysql import MySQL

    return MySQL(parts)
