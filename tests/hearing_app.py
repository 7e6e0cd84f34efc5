"""What servers serve in tests of what providers tell: the plain applications, behind a gate from the environment."""

from __future__ import annotations

from typing import Any

from shells import asgi_application, wsgi_application

from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware


def asgi() -> Any:
    """For uvicorn."""
    return ASGIMiddleware(asgi_application)


def wsgi() -> Any:
    """For gunicorn."""
    return WSGIMiddleware(wsgi_application)
