"""What real servers load for tests: the applications of ``shells`` behind gates configured by ``JWTGATE_*``."""

from __future__ import annotations

from typing import Any

from endpoints.scripted_operations import ScriptedOperations, endpoints_of
from shells import asgi_application, wsgi_application

from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware


def asgi() -> Any:
    """For uvicorn's ``--factory``."""
    return ASGIMiddleware(asgi_application)


def wsgi() -> Any:
    """For gunicorn's ``served:wsgi()``."""
    return WSGIMiddleware(wsgi_application)


def asgi_endpoints() -> Any:
    """With endpoints over scripted operations."""
    return ASGIMiddleware(asgi_application, gate=_with_endpoints())


def wsgi_endpoints() -> Any:
    """The same in WSGI."""
    return WSGIMiddleware(wsgi_application, gate=_with_endpoints())


def _with_endpoints() -> Gate:
    settings = {name: getattr(found, name) for found in (Settings.from_env(),) for name in ("secret", "locations", "exempt")}
    gate = Gate(Settings(**settings, endpoints="/auth"))
    gate.plans.endpoints = endpoints_of(ScriptedOperations(), has_events=True)
    return gate
