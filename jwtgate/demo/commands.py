"""How each server of the demo is started, and what it is told: ``JWTGATE_*`` and nothing else, as a user's would be."""

from __future__ import annotations

import secrets
import sys

__all__ = [
    "API",
    "CLIENT",
    "LOGOUT_PATH",
    "WORKERS",
    "application_settings",
    "common_settings",
    "console_command",
    "gunicorn_command",
    "provider_command",
    "uvicorn_command",
]

WORKERS = 2
KEEP_ALIVE_SECONDS = 60
"""Connections are kept through the show: they are how the demo knows which worker answers."""

API, CLIENT = "https://api.example", "demo"
"""The audience of the provider's access tokens, and of its ID and logout tokens: the client by which users log in."""

ENDPOINTS = "/auth"
LOGOUT_PATH = f"{ENDPOINTS}/backchannel-logout"

ACCESS_SECONDS = 90
"""Short, so that one can watch a socket outlive the token that it was opened with."""

OPEN_PATHS = ("/worker", "/chat", "/chat/login", "/chat/chat.css", "/chat/chat.js", "/chat/icon.svg")
"""Of FastAPI; the chat's socket is not among them."""

MOST_SOCKET_BYTES = 8192
"""Of one message; the chat's are shorter."""


def common_settings(issuer: str | None) -> dict[str, str]:
    """Where both have their keys from: a secret of their own, or an issuer, which is all they know of it."""
    if issuer is None:
        return {
            "JWTGATE_SECRET": secrets.token_urlsafe(48),
            "JWTGATE_ENDPOINTS": ENDPOINTS,
            "JWTGATE_ACCESS_TTL": str(ACCESS_SECONDS),
        }
    return {
        "JWTGATE_ISSUER": issuer,
        "JWTGATE_AUDIENCE": API,
        "JWTGATE_JWKS_HTTP": "1",
        "JWTGATE_ENDPOINTS": ENDPOINTS,
        "JWTGATE_LOGOUT_AUDIENCE": CLIENT,
    }


def application_settings(name: str) -> dict[str, str]:
    """What only one of them is told. FastAPI has the chat, where tokens come in the handshake; Flask a page by cookie."""
    if name == "FastAPI":
        return {"JWTGATE_EXEMPT": ",".join(OPEN_PATHS), "JWTGATE_LOCATIONS": "header,subprotocol"}
    return {
        "JWTGATE_EXEMPT": "/worker,/enter",
        "JWTGATE_LOCATIONS": "header,cookie",
        "JWTGATE_COOKIE": "demo_access_token",
        "JWTGATE_REFRESH_COOKIE": "demo_refresh_token",
        "JWTGATE_COOKIE_SECURE": "0",
        "JWTGATE_DEVICES": "1",
    }


def console_command(port: int) -> list[str]:
    """It prints the link that lets an operator in."""
    return [sys.executable, "-m", "jwtgate", "console", "--port", str(port)]


def provider_command(port: int) -> list[str]:
    """One process."""
    return [
        *(sys.executable, "-m", "uvicorn", "--factory", "jwtgate.demo.provider:application", "--port", str(port)),
        *("--no-access-log", "--log-level", "warning", "--timeout-graceful-shutdown", "1"),
    ]


def uvicorn_command(port: int) -> list[str]:
    """FastAPI."""
    return [
        *(sys.executable, "-m", "uvicorn", "jwtgate.demo.fastapi_app:app", "--workers", str(WORKERS), "--port", str(port)),
        *("--no-access-log", "--log-level", "warning", "--timeout-keep-alive", str(KEEP_ALIVE_SECONDS)),
        *("--timeout-graceful-shutdown", "1", "--ws", "wsproto", "--ws-max-size", str(MOST_SOCKET_BYTES)),
    ]


def gunicorn_command(port: int) -> list[str]:
    """Flask."""
    return [
        *(sys.executable, "-m", "gunicorn", "-w", str(WORKERS), "-k", "gthread", "--threads", "4"),
        *("-b", f"127.0.0.1:{port}", "--log-level", "warning", "--keep-alive", str(KEEP_ALIVE_SECONDS)),
        *("--graceful-timeout", "1", "jwtgate.demo.flask_app:app"),
    ]
