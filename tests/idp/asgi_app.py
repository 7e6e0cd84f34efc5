"""FastAPI behind the gate, as a user writes it; the gate reads ``JWTGATE_*``."""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI, Request
from idp.hurrying import hurry

from jwtgate import Gate, token_of
from jwtgate.asgi import JWTGateMiddleware

hurry()
app = FastAPI()
app.add_middleware(JWTGateMiddleware)


@app.get("/")
async def me(request: Request) -> dict[str, Any]:
    """Protected."""
    token = token_of(request.scope)
    assert token is not None
    return {"subject": token.subject, "session": token.session_id, "scopes": sorted(token.scopes), "worker": os.getpid()}


@app.get("/worker")
async def worker() -> int:
    """Exempt: which process answers."""
    return os.getpid()


@app.get("/kids")
async def kids() -> list[str]:
    """Exempt: the keys that this process knows."""
    return kids_of(Gate.from_env())


def kids_of(gate: Gate) -> list[str]:
    """Of every issuer."""
    return sorted(str(key.kid) for policy in gate._rules.policies.values() for key in policy.keys.keys)
