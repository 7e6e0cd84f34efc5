"""jwtgate: the gate in front of a Python web application. A logged-out token is refused everywhere, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jwtgate.gate import Gate
from jwtgate.messages import Receipt, Request, Session, Status, Token, TokenPair
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Gate", "Receipt", "Request", "Session", "Settings", "Status", "Token", "TokenPair", "token_of"]


def token_of(scope_or_environ: Mapping[str, Any]) -> Token | None:
    """The token of an admitted request; None if it is anonymous.

    Args: scope_or_environ: the ASGI scope or WSGI environ that the application received.
    Raises: LookupError: no gate stands in front of this application.
    """
    try:
        token: Token | None = scope_or_environ["jwtgate.token"]
    except KeyError:
        raise LookupError("no jwtgate middleware has seen this request") from None
    return token
