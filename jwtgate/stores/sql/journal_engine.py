"""How a journal's connections are made: few, and each short of patience."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

__all__ = ["open_engine"]

TIMEOUT_SECONDS = 1

_OPTIONS: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": TIMEOUT_SECONDS, "check_same_thread": False},
    "postgresql": {"connect_timeout": 2, "options": "-c statement_timeout=1000 -c lock_timeout=1000", "tcp_user_timeout": 2000},
    "mysql": {"connect_timeout": TIMEOUT_SECONDS, "read_timeout": TIMEOUT_SECONDS, "write_timeout": TIMEOUT_SECONDS},
}


def open_engine(url: str) -> Engine:
    """No connection is made yet."""
    family = "sqlite" if url.startswith("sqlite") else "postgresql" if url.startswith("postgresql") else "mysql"
    engine = create_engine(
        url, connect_args=_OPTIONS[family], hide_parameters=True, pool_size=4, max_overflow=0, pool_timeout=TIMEOUT_SECONDS
    )
    if family == "sqlite":
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
