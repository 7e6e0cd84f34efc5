"""Calls the application's checks, and makes of whatever they do one of three things: it may pass, it may not, nobody knows.

Fails closed: what a check raises by accident, or returns by mistake, is logged with its traceback and becomes 503; never
500, and never an answer that lets the request pass. The line itself names the check and nothing of the token; a traceback
ends with the words of the application's own exception.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from inspect import isawaitable, signature
from typing import TYPE_CHECKING, Any, cast

from jwtgate.errors import JWTGateError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator

    from jwtgate.core.effects import Ask, Check

__all__ = ["ask", "ask_awaiting", "checked"]

logger = logging.getLogger("jwtgate")

NOT_AN_ANSWER = 500
"""``JWTGateError`` itself, and a subclass that says no better: none of the answers of the gate."""


def checked(check: Any) -> Check:
    """What an application gives as a check, if it can be one.

    Raises: TypeError: it cannot be called, or not with two arguments in their place.
    """
    if not callable(check):
        raise TypeError(f"a check is a function of a token and a request, not {type(check).__name__}")
    try:
        shape = signature(check)
    except (TypeError, ValueError):  # some written in C tell none
        return cast("Check", check)
    try:
        shape.bind(None, None)
    except TypeError:
        raise TypeError(f"the check {_name(check)} must take two arguments: a token, and a request or None") from None
    return cast("Check", check)


def ask(effect: Ask) -> bool:
    """For the blocking face.

    Raises: what the check refuses with; UnavailableError: it failed, or can only be awaited.
    """
    check = effect.check
    with _failing_closed(check):
        said: Any = check(effect.token, effect.request)
    if isawaitable(said):
        close = getattr(said, "close", None)  # a coroutine that is never awaited would warn
        if close is not None:
            close()
        raise _mistake(check, "must be awaited, and only gate.aio and the ASGI shell can: give a plain function")
    return _read(check, said)


async def ask_awaiting(effect: Ask) -> bool:
    """For an event loop: a coroutine function is awaited, a plain function called where it stands, so it must not block.

    Raises: as ``ask``; ``CancelledError`` passes through.
    """
    check = effect.check
    with _failing_closed(check):
        said: Any = check(effect.token, effect.request)
        if isawaitable(said):
            said = await said
    return _read(check, said)


@contextmanager
def _failing_closed(check: Check) -> Generator[None]:
    try:
        yield
    except JWTGateError as error:
        if error.status != NOT_AN_ANSWER:
            raise
        raise _failed(check, error) from error
    except Exception as error:  # whatever it is: StopIteration would end the plan, and let the request pass
        raise _failed(check, error) from error


def _failed(check: Check, error: Exception) -> UnavailableError:
    logger.error("the check %s failed, so the request is refused", _name(check), exc_info=error)
    return UnavailableError("a check of the application failed")


def _read(check: Check, said: Any) -> bool:
    if said is None:
        return True
    if said is True or said is False:
        return bool(said)
    raise _mistake(check, f"must return True, False or None, not {type(said).__name__}")


def _mistake(check: Check, what: str) -> UnavailableError:
    text = f"the check {_name(check)} {what}"
    logger.error("%s; until then the request is refused", text)
    return UnavailableError(text)


def _name(check: object) -> str:
    """Never its ``repr``: a partial shows its arguments."""
    return str(getattr(check, "__qualname__", type(check).__qualname__))
