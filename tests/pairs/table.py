"""What is asked of every framework on every server, and the few answers that are a server's own."""

from __future__ import annotations

from dataclasses import dataclass

from shell_table import BEARER, EVIL_ORIGIN, OURS, OWN_ORIGIN, PREFLIGHT
from shells import COOKIE, Sent


@dataclass(frozen=True)
class Row:
    """One request, and the status that a correct answer has; all else of it the shell in process says."""

    name: str
    status: int
    sent: Sent


def _row(status: int, name: str, *headers: tuple[str, str], target: str = "/here", method: str = "GET") -> Row:
    return Row(name, status, Sent(method, target, headers))


def _bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {{{token}}}")


def _exempt(status: int, *targets: str) -> list[Row]:
    return [_row(status, f"GET {target}", target=target) for target in targets]


HUGE = "a hundred thousand bytes"

ROWS = [
    _row(200, "header", BEARER),
    _row(200, "cookie", OURS),
    _row(200, "the same token in both", BEARER, OURS),
    _row(200, "header by POST", BEARER, method="POST"),
    _row(200, "header and identity from outside", BEARER, ("remote-user", "root"), ("x-forwarded-user", "root")),
    _row(401, "no token"),
    _row(401, "no token, and identity from outside", ("remote-user", "root"), ("jwtgate.token", "root")),
    _row(401, "no token, on the root", target="/"),
    *(_row(401, each, _bearer(each)) for each in ("forged", "unsigned", "tampered", "expired", "early", "revoked", "refresh", "named")),
    _row(401, "revoked cookie", ("cookie", f"{COOKIE}={{revoked}}")),
    _row(401, "no JWT", ("authorization", "Bearer abc")),
    _row(401, "Basic", ("authorization", "Basic eDp5")),
    _row(401, "in the query", target="/here?access_token={good}"),
    _row(401, "longer than tokens may be", _bearer("long")),
    _row(401, HUGE, ("authorization", "Bearer " + "a" * 100_000)),
    _row(400, "two tokens", BEARER, ("cookie", f"{COOKIE}={{other}}")),
    _row(400, "two tokens in one header", ("authorization", "Bearer {good}, Bearer {other}")),
    _row(400, "repeated Authorization", BEARER, BEARER),
    _row(400, "repeated Authorization, Basic first", ("authorization", "Basic eDp5"), BEARER),
    _row(400, "scheme alone", ("authorization", "Bearer")),
    _row(400, "UTF-8 in the token", ("authorization", "Bearer \xc3\xa9")),
    _row(400, "bytes that are no text", ("authorization", "\xff\xfe")),
    _row(403, "cookie by POST that nothing vouches for", OURS, method="POST"),
    _row(403, "cookie by POST from another origin", OURS, EVIL_ORIGIN, method="POST"),
    _row(200, "cookie by POST from our origin", OURS, OWN_ORIGIN, method="POST"),
    _row(401, "HEAD", method="HEAD"),
    _row(200, "HEAD with a token", BEARER, method="HEAD"),
    _row(200, "preflight", PREFLIGHT, OWN_ORIGIN, method="OPTIONS"),
    _row(200, "preflight with a forged token", PREFLIGHT, _bearer("forged"), method="OPTIONS"),
    _row(401, "OPTIONS", method="OPTIONS"),
    _row(200, "exempt with a forged token", _bearer("forged"), target="/health"),
    _row(200, "exempt, and identity from outside", ("remote-user", "root"), target="/health"),
    *_exempt(200, "/health", "/health?x=/../", "/%68ealth", "/public/a/b.css", "/public/%C3%A9"),
    *_exempt(401, "/health/", "/Health", "/health.", "/health%20", "/health;x", "/health%00", "/health%2F", "/health%3Fx"),
    _row(401, "root path that a client names", ("daphne-root-path", "/x"), target="/x/public/a"),
    *_exempt(401, "//health", "/x/../health", "/./health", "/public", "/publicity", "/public//a", "//public/a"),
    *_exempt(401, "/public/../here", "/public/..%2Fhere", "/public/%2e%2e/here", "/public/..;/here", "/public/a%5C..%5Chere"),
    *_exempt(401, "/public\\..\\here", "/public/%252e%252e/here", "/public/%FF", "/public/\xff", "/public/a%0D%0Ab"),
    *_exempt(401, "/public/%E2%80%AEa", "/public/\xe2\x80\xaea", "http://app.example/public/../here", "http://health/here"),
    _row(200, "GET /auth/jwks.json", target="/auth/jwks.json"),
    _row(401, "GET /auth/sessions", target="/auth/sessions"),
    _row(200, "GET /auth/sessions with a token", BEARER, target="/auth/sessions"),
    _row(401, "GET /auth/sessions revoked", _bearer("revoked"), target="/auth/sessions"),
    _row(401, "GET /auth//sessions", target="/auth//sessions"),
    _row(405, "POST /auth/jwks.json", target="/auth/jwks.json", method="POST"),
]  # fmt: skip

DRESSED = {"starlette", "fastapi", "flask", "django"}
"""Frameworks for which jwtgate has a module: these views insist on more than the middleware."""

INSISTING = [
    _row(403, "scope too small", BEARER, target="/admin"),
    _row(401, "an exempt path where nobody is anonymous", BEARER, target="/public/insist"),
    _row(400, "an error that a view raises", target="/login"),
]

HANDSHAKE = (
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
)

SOCKETS = [
    _row(101, "WebSocket, header", *HANDSHAKE, BEARER, target="/ws"),
    _row(101, "WebSocket, cookie from our origin", *HANDSHAKE, OURS, OWN_ORIGIN, target="/ws"),
    _row(401, "WebSocket, no token", *HANDSHAKE, target="/ws"),
    _row(401, "WebSocket, revoked", *HANDSHAKE, _bearer("revoked"), target="/ws"),
    _row(400, "WebSocket, two tokens", *HANDSHAKE, BEARER, ("cookie", f"{COOKIE}={{other}}"), target="/ws"),
    _row(403, "WebSocket, cookie that no origin vouches for", *HANDSHAKE, OURS, target="/ws"),
    _row(403, "WebSocket, cookie from another origin", *HANDSHAKE, OURS, EVIL_ORIGIN, target="/ws"),
]

INSISTING_SOCKET = _row(403, "WebSocket, scope too small", *HANDSHAKE, BEARER, target="/ws/admin")
"""Of FastAPI's."""

NO_SOCKETS = {"plain", "django"}
"""Applications that speak no WebSocket: what they are asked without a token is refused before they see it."""

SERVERS_OWN = {"date", "server", "connection", "via", "transfer-encoding"}
"""Header fields of the message or of the server (RFC 9110 §6.6.1, §10.2.4)."""

FRAMEWORKS_OWN = {"django": {"vary"}}
"""``Vary: Cookie``, since Django's session middleware was asked for the user of an anonymous request."""

NO_URI = {"GET /public/\xff": {400}, "GET /public/\xe2\x80\xaea": {400}}
"""Bytes that no request target may have (RFC 3986 §2): most servers refuse them before any application sees them."""

TOO_LONG = {0, 400, 431}
"""A server that reads no further may answer, or be gone before the client has sent all; where it is patient, the gate refuses."""

DIFFERS: dict[str, dict[str, set[int]]] = {
    **dict.fromkeys(("uvicorn-h11", "uvicorn-httptools", "hypercorn", "daphne", "waitress"), NO_URI),
    **dict.fromkeys(("gunicorn-sync", "gunicorn-gthread"), {**NO_URI, "longer than tokens may be": {431}}),  # 8190 bytes
    **dict.fromkeys(("granian", "granian-wsgi"), {"GET /public/\xff": {400}}),  # what is no UTF-8
    # http.server makes one slash of several at the beginning, and tells nobody: application and gate both see the exempt path.
    "werkzeug": {"GET //health": {200}, "GET //public/a": {200}},
}
"""Server to the rows that it answers itself, or changes before it hands them on, and with which status."""

NO_DENIAL = {"daphne"}
"""Servers without the WebSocket denial response: they make 403 of a close before accept."""

HANDSHAKES_OWN = frozenset({"sec-websocket-accept", "upgrade"})
"""Granian leaves these in a denial."""

CANNOT_OPEN = {("daphne", "quart")}
"""Quart wants a ``scheme`` in the scope, which ASGI leaves to the server and Daphne leaves out: any handshake fails."""
