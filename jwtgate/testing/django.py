"""Django's test client behind the gate: by itself it calls Django, and passes by what stands around it in ``wsgi.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse

from jwtgate.wsgi import JWTGateMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.test import Client

__all__ = ["behind_gate"]

C = TypeVar("C", bound="Client")


def behind_gate(client: C) -> C:
    """The same client, whose requests the process's gate (in a test: the fixture's) looks at first.

    Of Django, ``behind_gate(Client())``, or of REST framework, ``behind_gate(APIClient())``; not of async ones. ``headers=`` or
    cookies carry the token; ``force_login`` and ``force_authenticate`` are of no use: no token stands behind them.
    """
    client.handler = _Handler(client.handler)  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue] - it is only called
    return client


class _Handler:
    """In the place of a client's own."""

    def __init__(self, inner: Callable[[dict[str, Any]], Any]) -> None:
        self._inner = inner

    def __call__(self, environ: dict[str, Any]) -> Any:
        """Raises: SettingsError: the environment's settings are wrong. And what the client's handler raises."""
        admitted: list[Any] = []
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            response = self._inner(environ)
            admitted.append(response)
            start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
            return ()

        def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
            started[:] = [(status, headers)]
            return lambda _: None

        body = b"".join(JWTGateMiddleware(application)(environ, start_response))
        if admitted:
            return admitted[0]
        (status, headers) = started[0]
        response = HttpResponse(body, status=int(status[:3]), headers=dict(headers))
        response.wsgi_request = WSGIRequest(environ)  # type: ignore[attr-defined] # as Django's own handler does
        return response
