"""jwtgate: the gate in front of a Python web application. A logged-out token is refused everywhere, at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jwtgate.gate import Gate
    from jwtgate.messages import Receipt, Request, Session, Status, Token, TokenPair
    from jwtgate.settings import Settings

__all__ = ["Gate", "Receipt", "Request", "Session", "Settings", "Status", "Token", "TokenPair", "token_of"]

_HOMES = {"Gate": "jwtgate.gate", "Settings": "jwtgate.settings"}
"""Where a name stands, if not in ``jwtgate.messages``."""


def __getattr__(name: str) -> Any:
    """PEP 562: loaded when it is first asked for, since a pytest run that uses no gate would wait for one, too."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES.get(name, "jwtgate.messages")), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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
