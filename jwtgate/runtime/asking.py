"""Calls what the application gave: its checks, its provider of claims, its mapper of subjects.

Whatever a check does becomes one of three things: it may pass, it may not, nobody knows.

Fails closed: what one raises by accident, or returns by mistake, is logged with its traceback and becomes 503; never
500, and never an answer that lets the request pass. The line itself names the function and nothing of the token; a traceback
ends with the words of the application's own exception.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import contextmanager
from inspect import isawaitable, signature
from typing import TYPE_CHECKING, Any, cast

from jwtgate.errors import JWTGateError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator

    from jwtgate.core.effects import Ask, AskClaims, AskSubject, Check, Provider, SubjectMapper

__all__ = [
    "ask",
    "ask_awaiting",
    "ask_claims",
    "ask_claims_awaiting",
    "ask_subject",
    "ask_subject_awaiting",
    "checked",
    "mapped",
    "provided",
]

logger = logging.getLogger("jwtgate")

CHECK, PROVIDER, MAPPER = "check", "provider of claims", "mapper of subjects"

NOT_AN_ANSWER = 500
"""``JWTGateError`` itself, and a subclass that says no better: none of the answers of the gate."""


def checked(check: Any) -> Check:
    """What an application gives as a check, if it can be one.

    Raises: TypeError: it cannot be called, or not with two arguments in their place.
    """
    return cast("Check", _callable(check, CHECK, "a token, and a request or None", 2))


def provided(provider: Any) -> Provider:
    """What an application gives as its provider of claims, if it can be one.

    Raises: TypeError: it cannot be called, or not with a session.
    """
    return cast("Provider", _callable(provider, PROVIDER, "a session", 1))


def mapped(mapper: Any) -> SubjectMapper:
    """What an application gives as its mapper of subjects, if it can be one.

    Raises: TypeError: it cannot be called, or not with an identifier.
    """
    return cast("SubjectMapper", _callable(mapper, MAPPER, "a subject identifier", 1))


def _callable(given: Any, what: str, arguments: str, count: int) -> Any:
    if not callable(given):
        raise TypeError(f"a {what} is a function of {arguments}, not {type(given).__name__}")
    try:
        shape = signature(given)
    except (TypeError, ValueError):  # some written in C tell none
        return given
    try:
        shape.bind(*[None] * count)
    except TypeError:
        raise TypeError(f"the {what} {_name(given)} must take {arguments}") from None
    return given


def ask(effect: Ask) -> bool:
    """For the blocking face.

    Raises: what the check refuses with; UnavailableError: it failed, or can only be awaited.
    """
    return _read(effect.check, _said(CHECK, effect.check, effect.token, effect.request))


async def ask_awaiting(effect: Ask) -> bool:
    """For an event loop: a coroutine function is awaited, a plain function called where it stands, so it must not block.

    Raises: as ``ask``; ``CancelledError`` passes through.
    """
    return _read(effect.check, await _said_awaiting(CHECK, effect.check, effect.token, effect.request))


def ask_claims(effect: AskClaims) -> Mapping[str, Any] | None:
    """For the blocking face. Raises: UnavailableError: the provider failed, or can only be awaited."""
    return _mapping(effect.provider, _said(PROVIDER, effect.provider, effect.session))


async def ask_claims_awaiting(effect: AskClaims) -> Mapping[str, Any] | None:
    """For an event loop: a coroutine function is awaited; the caller gives all others a thread.

    Raises: as ``ask_claims``; ``CancelledError`` passes through.
    """
    return _mapping(effect.provider, await _said_awaiting(PROVIDER, effect.provider, effect.session))


def ask_subject(effect: AskSubject) -> tuple[str | None, str] | None:
    """For the blocking face. Raises: UnavailableError: the mapper failed, or can only be awaited."""
    return _subject(effect.mapper, _said(MAPPER, effect.mapper, effect.identifier))


async def ask_subject_awaiting(effect: AskSubject) -> tuple[str | None, str] | None:
    """For an event loop: a coroutine function is awaited; the caller gives all others a thread.

    Raises: as ``ask_subject``; ``CancelledError`` passes through.
    """
    return _subject(effect.mapper, await _said_awaiting(MAPPER, effect.mapper, effect.identifier))


def _said(what: str, asked: Any, *arguments: Any) -> Any:
    """What a plain function of the application says. Raises: UnavailableError: it failed, or can only be awaited."""
    with _failing_closed(what, asked):
        said: Any = asked(*arguments)
    if isawaitable(said):
        close = getattr(said, "close", None)  # a coroutine that is never awaited would warn
        if close is not None:
            close()
        raise _mistake(what, asked, "must be awaited, and only gate.aio and the ASGI shell can: give a plain function")
    return said


async def _said_awaiting(what: str, asked: Any, *arguments: Any) -> Any:
    """What a function of the application says, plain or not. Raises: UnavailableError: it failed."""
    with _failing_closed(what, asked):
        said: Any = asked(*arguments)
        return await said if isawaitable(said) else said


def _subject(mapper: SubjectMapper, told: Any) -> tuple[str | None, str] | None:
    if told is None:
        return None
    if isinstance(told, tuple) and len(told) == 2:  # pyright: ignore[reportUnknownArgumentType] - of the application
        pair: tuple[Any, Any] = told  # pyright: ignore[reportUnknownVariableType] - of the application
        issuer, sub = pair
        if (issuer is None or isinstance(issuer, str)) and isinstance(sub, str) and sub:
            return issuer, sub
    raise _mistake(MAPPER, mapper, "must return a pair of issuer and subject, or None")


def _mapping(provider: Provider, told: Any) -> Mapping[str, Any] | None:
    if told is None or isinstance(told, Mapping):
        return cast("Mapping[str, Any] | None", told)
    raise _mistake(PROVIDER, provider, f"must return a mapping or None, not {type(told).__name__}")


@contextmanager
def _failing_closed(what: str, given: object) -> Generator[None]:
    try:
        yield
    except JWTGateError as error:
        if error.status != NOT_AN_ANSWER:
            raise
        raise _failed(what, given, error) from error
    except Exception as error:  # whatever it is: StopIteration would end the plan, and let the request pass
        raise _failed(what, given, error) from error


def _failed(what: str, given: object, error: Exception) -> UnavailableError:
    logger.error("the %s %s failed, so the request is refused", what, _name(given), exc_info=error)
    return UnavailableError(f"a {what} of the application failed")


def _read(check: Check, said: Any) -> bool:
    if said is None:
        return True
    if said is True or said is False:
        return bool(said)
    raise _mistake(CHECK, check, f"must return True, False or None, not {type(said).__name__}")


def _mistake(what: str, given: object, mistake: str) -> UnavailableError:
    text = f"the {what} {_name(given)} {mistake}"
    logger.error("%s; until then the request is refused", text)
    return UnavailableError(text)


def _name(given: object) -> str:
    """Never its ``repr``: a partial shows its arguments."""
    return str(getattr(given, "__qualname__", type(given).__qualname__))
