"""What a FastAPI user writes. The gate reads ``JWTGATE_*``; nothing else is configured."""

import os
from typing import Any

from fastapi import FastAPI, Request
from starlette.authentication import requires

from jwtgate import Receipt, token_of
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.demo.chat import Chat

app = FastAPI()
app.add_middleware(JWTGateMiddleware)
if "DEMO_CHAT" in os.environ:
    app.include_router(Chat.from_env().router)


@app.get("/")
async def me(request: Request) -> dict[str, Any]:
    """Protected: the middleware has let the request in, so there is a token."""
    token = token_of(request.scope)
    return {"subject": token and token.subject, "worker": os.getpid()}


@app.post("/revoke")
@requires("admin")
async def revoke(request: Request) -> Receipt:
    """Takes ``{"jti": …}``, ``{"sid": …}``, ``{"sub": …}`` or ``{"everything": true}``; returns the receipt."""
    receipt: Receipt = await request.scope["jwtgate.gate"].aio.revoke(**await request.json(), wait=True)
    return receipt


@app.get("/worker")
async def worker() -> int:
    """Exempt (``JWTGATE_EXEMPT=/worker``): which process answers."""
    return os.getpid()
