"""How a dependency shows in OpenAPI: as a security scheme of FastAPI's, with its scopes. Without FastAPI it shows nowhere."""

from __future__ import annotations

from importlib.util import find_spec
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Annotated, Any

from starlette.requests import HTTPConnection

from jwtgate.messages import Token

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEME = "jwtgate"

LOGIN_SCHEME = "jwtgate_login"

METHODS = frozenset(("get", "put", "post", "delete", "options", "head", "patch", "trace"))
"""Fields of a path item that are operations (OpenAPI 3.1 §4.8.9)."""

if TYPE_CHECKING or find_spec("fastapi") is not None:
    from fastapi import Security
    from fastapi.openapi.models import HTTPBearer
    from fastapi.security import SecurityScopes
    from fastapi.security.base import SecurityBase

    class BearerScheme(SecurityBase):
        """``type: http, scheme: bearer`` (OpenAPI 3.1 §4.8.27): what the middleware in front asks for."""

        model = HTTPBearer(bearerFormat="JWT", description="An access token (RFC 6750).")
        scheme_name = SCHEME

        __signature__ = Signature(
            [
                Parameter("connection", Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection),
                Parameter("security_scopes", Parameter.POSITIONAL_OR_KEYWORD, annotation=SecurityScopes),
            ]
        )

    def signature_under(scheme: Callable[..., object], scopes: tuple[str, ...]) -> Signature:
        """Of a dependency that has FastAPI ask the scheme, under these scopes, for its token."""
        asked = Annotated[Token, Security(scheme, scopes=list(scopes))]
        return Signature(
            [
                Parameter("connection", Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection),
                Parameter("token", Parameter.POSITIONAL_OR_KEYWORD, annotation=asked),
            ]
        )

else:

    class BearerScheme:
        """Nothing asks for it."""

    def signature_under(_scheme: Callable[..., object], _scopes: tuple[str, ...]) -> Signature:
        """Nobody reads it."""
        return Signature([Parameter("connection", Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection)])


def add_login(told: dict[str, Any], token_url: str) -> None:
    """Puts the password flow beside the bearer scheme, as the other way to the same token. A second time changes nothing.

    Operations that name no scheme are shown as asking for a token, as the middleware does; the login itself is not.

    Args: told: an OpenAPI document. token_url: the path of the login.
    """
    schemes = told.setdefault("components", {}).setdefault("securitySchemes", {})
    if LOGIN_SCHEME in schemes:
        return
    paths: dict[str, dict[str, dict[str, Any]]] = told.get("paths", {})
    operations = [operation for item in paths.values() for method, operation in item.items() if method in METHODS]
    scopes: dict[str, str] = {}
    for operation in operations:
        asked = [each[SCHEME] for each in operation.get("security", ()) if SCHEME in each]
        operation.get("security", []).extend({LOGIN_SCHEME: list(each)} for each in asked)
        scopes.update((scope, "") for each in asked for scope in each)
    schemes.setdefault(SCHEME, {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"})
    schemes[LOGIN_SCHEME] = {"type": "oauth2", "flows": {"password": {"tokenUrl": token_url, "scopes": scopes}}}
    told.setdefault("security", [{SCHEME: []}, {LOGIN_SCHEME: []}])
    login = paths.get(f"/{token_url.removeprefix('/')}", {}).get("post")
    if login is not None:
        login.setdefault("security", [])


__all__ = ["BearerScheme", "add_login", "signature_under"]
