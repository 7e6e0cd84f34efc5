"""What real servers load for tests: the applications of ``shells`` behind gates configured by ``JWTGATE_*``."""

from __future__ import annotations

from typing import Any

from shells import asgi_application, wsgi_application

from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware


def asgi() -> Any:
    """For uvicorn's ``--factory``."""
    return ASGIMiddleware(asgi_application)


def wsgi() -> Any:
    """For gunicorn's ``served:wsgi()``."""
    return WSGIMiddleware(wsgi_application)
