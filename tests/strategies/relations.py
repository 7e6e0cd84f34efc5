"""The application's own tables, in the database that the gate's stand in: its users, and to whom it issued which session.

A user's row takes those of the sessions with it (``ON DELETE CASCADE``), and whoever shows a token of such a session is asked
about here. Nothing of the gate's tables is touched.
"""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import Column, ForeignKey, MetaData, String, Table, create_engine, delete, event, insert, select

from jwtgate import Gate
from jwtgate.errors import GrantError
from jwtgate.messages import Request, Session, Token

metadata = MetaData()
users = Table("users", metadata, Column("name", String(64), primary_key=True))
issued = Table(
    "issued",
    metadata,
    Column("sid", String(22), primary_key=True),
    Column("user_name", String(64), ForeignKey("users.name", ondelete="CASCADE"), nullable=False, index=True),
)


class Relations:
    """What the application does with them. Each method is one transaction, committed."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        if url.startswith("sqlite"):  # which keeps no foreign keys unless it is told to, on each connection
            event.listen(self.engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))

    def make(self) -> None:
        """The tables."""
        metadata.create_all(self.engine)

    def close(self) -> None:
        """Takes them away, and the connections."""
        metadata.drop_all(self.engine)
        self.engine.dispose()

    def add_user(self, name: str) -> None:
        """Signs up."""
        with self.engine.begin() as connection:
            connection.execute(insert(users), {"name": name})

    def delete_user(self, name: str) -> None:
        """One row, in plain SQL; what was issued goes with it."""
        with self.engine.begin() as connection:
            connection.execute(delete(users).where(users.c.name == name))

    def relate(self, sid: str, name: str) -> None:
        """After a login, before anybody has its tokens. Raises: IntegrityError: the user is gone."""
        with self.engine.begin() as connection:
            connection.execute(insert(issued), {"sid": sid, "user_name": name})

    def issued_to(self, name: str) -> set[str]:
        """Names of sessions."""
        with self.engine.connect() as connection:
            return set(connection.execute(select(issued.c.sid).where(issued.c.user_name == name)).scalars())

    def is_issued(self, sid: str | None) -> bool:
        """Whether the row is there."""
        with self.engine.connect() as connection:
            return connection.execute(select(issued.c.sid).where(issued.c.sid == sid)).first() is not None

    # --- what the gate asks

    def check(self, token: Token, _request: Request | None) -> bool:
        """Whether this token's session is still issued to somebody: asked about remembered tokens, too."""
        return self.is_issued(token.session_id)

    async def check_awaited(self, token: Token, _request: Request | None) -> bool:
        """As ``check``, where a loop must not wait for a database."""
        return await asyncio.to_thread(self.is_issued, token.session_id)

    def claims(self, session: Session) -> dict[str, Any]:
        """The provider, at each refresh. Raises: GrantError: there is nobody to give claims to."""
        if not self.is_issued(session.sid):
            raise GrantError("the user is gone")
        return {}

    def furnish(self, gate: Gate, *, is_awaited: bool) -> None:
        """Two lines in the application."""
        gate.check(self.check_awaited if is_awaited else self.check)
        gate.claims(self.claims)
