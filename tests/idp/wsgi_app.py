"""Flask behind the gate, as a user writes it; the gate reads ``JWTGATE_*``."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, Response, jsonify, request
from idp.asgi_app import kids_of
from idp.hurrying import hurry

from jwtgate import Gate, token_of
from jwtgate.wsgi import JWTGateMiddleware

hurry()
app = Flask(__name__)
app.wsgi_app = JWTGateMiddleware(app.wsgi_app)  # type: ignore[method-assign]  # the way Flask documents it


@app.get("/")
def me() -> dict[str, Any]:
    """Protected."""
    token = token_of(request.environ)
    assert token is not None
    return {"subject": token.subject, "session": token.session_id, "scopes": sorted(token.scopes), "worker": os.getpid()}


@app.get("/worker")
def worker() -> Response:
    """Exempt: which process answers."""
    return jsonify(os.getpid())


@app.get("/kids")
def kids() -> Response:
    """Exempt: the keys that this process knows."""
    return jsonify(kids_of(Gate.from_env()))
