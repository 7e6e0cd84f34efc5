"""How a dependency shows in OpenAPI: as a security scheme of FastAPI's, with its scopes. Without FastAPI it shows nowhere."""

from __future__ import annotations

from importlib.util import find_spec
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Annotated

from starlette.requests import HTTPConnection

from jwtgate.messages import Token

if TYPE_CHECKING:
    from collections.abc import Callable

if TYPE_CHECKING or find_spec("fastapi") is not None:
    from fastapi import Security
    from fastapi.openapi.models import HTTPBearer
    from fastapi.security import SecurityScopes
    from fastapi.security.base import SecurityBase

    class BearerScheme(SecurityBase):
        """``type: http, scheme: bearer`` (OpenAPI 3.1 §4.8.27): what the middleware in front asks for."""

        model = HTTPBearer(bearerFormat="JWT", description="An access token (RFC 6750).")
        scheme_name = "jwtgate"

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


__all__ = ["BearerScheme", "signature_under"]
