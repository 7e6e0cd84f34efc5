"""What others do, each with the revocation check that its documentation shows, on the same Valkey server.

Every maker returns (the framework without it, the same with it, a token it admits), so that what is measured is what the
peer adds. Checks ask Redis for the token's id, redis-py in blocking frameworks and its asyncio side in the others; AuthX
hands its callback the whole token. A peer that cannot be imported raises ImportError: its column is left out, loudly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import redis
import redis.asyncio

from benchmarks.tokens import SECRET, mint, verifying_key

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Made", "authx", "bare_asgi", "bare_wsgi", "decoding_asgi", "flask_jwt_extended", "litestar", "starlette"]

Made = tuple[Any, Any, str]

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain"), (b"content-length", b"2")]}
BODY = {"type": "http.response.body", "body": b"ok"}


async def bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    """The least an ASGI application can do."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    await send(START)
    await send(BODY)


async def _live(receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def bare_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """The least a WSGI application can do."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def decoding_asgi(algorithm: str) -> Callable[..., Any]:
    """``jwt.decode`` on every request and nothing else: no revocation check."""
    key = verifying_key(algorithm)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for name, value in scope["headers"]:
            if name == b"authorization":
                scope["claims"] = jwt.decode(value[7:], key, algorithms=[algorithm])
        await bare_asgi(scope, receive, send)

    return app


def starlette(url: str, *, app: Any = bare_asgi, secret: str = SECRET) -> Made:
    """Starlette's AuthenticationMiddleware, PyJWT, and EXISTS on the jti."""
    from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
    from starlette.middleware.authentication import AuthenticationMiddleware

    client = redis.asyncio.from_url(url)

    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: Any) -> Any:
            scheme, _, token = conn.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                return None
            try:
                claims = jwt.decode(token, secret, algorithms=["HS256"])
            except jwt.InvalidTokenError as error:
                raise AuthenticationError("invalid token") from error
            if await client.exists(f"revoked:{claims['jti']}"):
                raise AuthenticationError("revoked")
            return AuthCredentials(claims["scope"].split()), SimpleUser(claims["sub"])

    return app, AuthenticationMiddleware(app, backend=Backend()), mint("HS256")[0]


def authx(url: str) -> Made:
    """AuthX: its blocklist callback is given the whole token."""
    from authx import AuthX, AuthXConfig
    from fastapi import Depends, FastAPI

    client = redis.asyncio.from_url(url)
    auth = AuthX(config=AuthXConfig(JWT_SECRET_KEY=SECRET, JWT_ALGORITHM="HS256", JWT_TOKEN_LOCATION=["headers"]))

    async def is_token_revoked(token: str, **_: Any) -> bool:
        return bool(await client.exists(token))

    auth.set_callback_token_blocklist(is_token_revoked)
    bare, checked = FastAPI(), FastAPI()
    auth.handle_errors(checked)

    async def ok() -> dict[str, str]:
        return {"status": "ok"}

    bare.get("/")(ok)
    checked.get("/", dependencies=[Depends(auth.access_token_required)])(ok)
    return bare, checked, auth.create_access_token(uid="alice")


def litestar(url: str) -> Made:
    """Litestar's JWTAuth with a revoked_token_handler on the jti."""
    from litestar import Litestar, get
    from litestar.security.jwt import JWTAuth

    client = redis.asyncio.from_url(url)

    async def user_of(token: Any, _connection: Any) -> str:
        return str(token.sub)

    async def is_revoked(token: Any, _connection: Any) -> bool:
        return bool(await client.exists(f"revoked:{token.jti}"))

    @get("/")
    async def ok() -> dict[str, str]:
        return {"status": "ok"}

    auth = JWTAuth[str](retrieve_user_handler=user_of, revoked_token_handler=is_revoked, token_secret=SECRET)
    bare = Litestar([ok], openapi_config=None)
    checked = Litestar([ok], on_app_init=[auth.on_app_init], openapi_config=None)
    return bare, checked, auth.create_token("alice", token_unique_jwt_id="token-1")


def flask_jwt_extended(url: str, *, secret: str = SECRET) -> Made:
    """Flask-JWT-Extended with the Redis blocklist of its documentation: GET on the jti."""
    from flask import Flask
    from flask_jwt_extended import JWTManager, create_access_token, jwt_required

    client = redis.from_url(url, decode_responses=True)
    bare, checked = Flask("bare"), Flask("checked")
    checked.config["JWT_SECRET_KEY"] = secret
    manager = JWTManager(checked)

    @manager.token_in_blocklist_loader
    def is_revoked(_header: Any, payload: dict[str, Any]) -> bool:
        return client.get(payload["jti"]) is not None

    def ok() -> str:
        return "ok"

    bare.route("/")(ok)
    checked.route("/")(jwt_required()(ok))
    with checked.app_context():
        token = create_access_token("alice")
    return bare, checked, token
