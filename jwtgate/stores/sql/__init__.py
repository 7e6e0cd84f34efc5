"""SQLite, PostgreSQL, MySQL and MariaDB as a store, through SQLAlchemy Core."""

from jwtgate.stores.sql.store import SqlStore

__all__ = ["SqlStore"]
