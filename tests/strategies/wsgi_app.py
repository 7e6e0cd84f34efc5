"""The same application under gunicorn: Flask, blocking."""

from __future__ import annotations

import hmac
from functools import reduce
from typing import Any

from flask import Flask, Response, jsonify, request
from strategies.application import furnish, is_related, login_of, me_of, operation_of, status_of, told
from strategies.database import OPERATOR

from jwtgate import Gate, token_of
from jwtgate.errors import JWTGateError
from jwtgate.wsgi import JWTGateMiddleware

gate = Gate.from_env()
furnish(gate)
app = Flask(__name__)
app.wsgi_app = JWTGateMiddleware(app.wsgi_app)  # type: ignore[method-assign]  # the way Flask documents it


@app.post("/login")
def log_in() -> tuple[Response, int]:
    """The application's own password check, then a session."""
    login = login_of(request.get_json(), request.remote_addr)
    if login is None:
        return jsonify(error="wrong password"), 403
    pair = gate.sessions.start(**login)
    if not is_related(pair.session_id, request.get_json()):
        gate.sessions.end(pair.session_id)
        return jsonify(error="no such user"), 403
    response = jsonify({**pair.as_dict(), "session_id": pair.session_id})
    if "cookie" in gate.settings.locations:
        gate.set_cookies(response, pair)
    return response, 200


@app.post("/refresh")
def refresh() -> dict[str, Any]:
    """A new pair."""
    pair = gate.sessions.refresh(request.get_json()["refresh_token"])
    return {**pair.as_dict(), "session_id": pair.session_id}


@app.post("/log-out-everywhere")
def log_out_everywhere() -> dict[str, Any]:
    """The user is out, on every device."""
    token = token_of(request.environ)
    assert token is not None and token.subject is not None
    return told(gate.sessions.end_all(token.subject, wait=True))


@app.post("/operate")
def operate() -> tuple[dict[str, Any], int]:
    """Whatever the operator calls on the gate of this worker."""
    if not hmac.compare_digest(request.headers.get("X-Operator", ""), OPERATOR):
        return {"error": "not the operator"}, 403
    path, arguments, named = operation_of(request.get_json())
    return told(reduce(getattr, path, gate)(*arguments, **named)), 200


@app.get("/me")
@app.get("/account")
def me() -> dict[str, Any]:
    """Protected."""
    return me_of(token_of(request.environ))


@app.get("/status")
def status() -> dict[str, Any]:
    """Exempt: what this worker knows."""
    return status_of(gate)


@app.errorhandler(JWTGateError)
def refused(error: JWTGateError) -> tuple[dict[str, Any], int]:
    """A login or refresh that is not granted, or cannot be now."""
    return {"error": error.error}, error.status
