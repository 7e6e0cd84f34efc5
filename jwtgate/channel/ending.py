"""The end of a live connection, as an application meets it."""

from __future__ import annotations

from typing import cast

__all__ = ["ConnectionEnded", "is_of_end"]


class ConnectionEnded(ConnectionResetError):
    """The gate has ended this connection: to the application as if the client had."""


def is_of_end(error: BaseException | None) -> bool:
    """Whether what an application fails with says no more than that its connection was ended.

    It may be in a group, where a task group sent (PEP 654), or in a framework's own words: Starlette makes ``ClientDisconnect``
    and ``WebSocketDisconnect`` of it. A fault of any other name is one, whatever it came of.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(is_of_end(each) for each in cast("BaseExceptionGroup[BaseException]", error).exceptions)
    if isinstance(error, ConnectionEnded):
        return True
    return error is not None and "Disconnect" in type(error).__name__ and is_of_end(error.__cause__ or error.__context__)
