"""Cookies on the responses of frameworks, none of which is imported: only what their headers can do matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CookieResponse", "add_cookies"]


class CookieResponse(Protocol):
    """A response whose headers take several of one name: Starlette's (``append``), Werkzeug's (``add``). Or Django's, which
    has ``cookies`` of http.cookies (``load``)."""

    @property
    def headers(self) -> Any: ...


def add_cookies(response: CookieResponse, values: Iterable[str]) -> None:
    """One ``Set-Cookie`` for each, and that nobody may store them (RFC 6749 §5.1).

    Raises: TypeError: the response cannot hold several.
    """
    headers = getattr(response, "headers", None)
    add = getattr(headers, "append", None) or getattr(headers, "add", None)
    load = getattr(getattr(response, "cookies", None), "load", None)
    if (add is None and load is None) or isinstance(headers, list):
        raise TypeError("the response must be Starlette's, Werkzeug's or Django's, to which a Set-Cookie can be added")
    for value in values:
        if add is not None:
            add("Set-Cookie", value)
        elif load is not None:
            load(value)
    response.headers["Cache-Control"] = "no-store"
