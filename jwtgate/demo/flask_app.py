"""What a Flask user writes. The gate reads ``JWTGATE_*``; nothing else is configured."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from flask import Flask, Response, abort, jsonify, redirect, request

from jwtgate import token_of
from jwtgate.wsgi import JWTGateMiddleware

app = Flask(__name__)
app.wsgi_app = JWTGateMiddleware(app.wsgi_app)  # type: ignore[method-assign]  # the way Flask documents it


@app.get("/")
def me() -> dict[str, Any]:
    """Protected: the middleware has let the request in, so there is a token."""
    token = token_of(request.environ)
    return {"subject": token and token.subject, "worker": os.getpid()}


@app.post("/revoke")
def revoke() -> dict[str, Any]:
    """Takes ``{"jti": …}``, ``{"sid": …}``, ``{"sub": …}`` or ``{"everything": true}``; returns the receipt."""
    token = token_of(request.environ)
    if token is None or "admin" not in token.scopes:
        abort(403)
    return asdict(request.environ["jwtgate.gate"].revoke(**request.get_json(), wait=True))


@app.get("/enter")
def enter() -> Any:
    """Exempt: this browser becomes one more device of alice's, by a cookie, and is led to the page that lists them all."""
    gate = request.environ["jwtgate.gate"]
    agent = request.headers.get("User-Agent", "")[:300]
    pair = gate.sessions.start("alice", device="Browser", ip=request.remote_addr, user_agent=agent)
    response = redirect("/auth/devices", 303)
    gate.set_cookies(response, pair)
    return response


@app.get("/worker")
def worker() -> Response:
    """Exempt (``JWTGATE_EXEMPT=/worker``): which process answers."""
    return jsonify(os.getpid())
