"""What Starlette calls a user and credentials: ``request.user`` and ``request.auth`` of an admitted request. Immutable."""

from __future__ import annotations

from typing import NoReturn

from starlette.authentication import AuthCredentials, BaseUser

from jwtgate.claims import freeze

__all__ = ["Credentials", "User"]


def _refuse_change(self: object, _name: str, _value: object = None) -> NoReturn:
    raise TypeError(f"{type(self).__name__} cannot be changed: all requests that carry the token share it")


class User(BaseUser):
    """Starlette's user: the subject, or nobody."""

    __slots__ = ("_identity", "_is_authenticated")

    _identity: str
    _is_authenticated: bool

    def __init__(self, identity: str, *, is_authenticated: bool) -> None:
        object.__setattr__(self, "_identity", identity)
        object.__setattr__(self, "_is_authenticated", is_authenticated)

    __setattr__ = _refuse_change
    __delattr__ = _refuse_change

    @property
    def is_authenticated(self) -> bool:
        return self._is_authenticated

    @property
    def display_name(self) -> str:
        return self._identity

    @property
    def identity(self) -> str:
        return self._identity


class Credentials(AuthCredentials):
    """Starlette's credentials, their scopes sorted in a list that cannot be changed."""

    __slots__ = ("scopes",)

    def __init__(self, scopes: frozenset[str]) -> None:
        object.__setattr__(self, "scopes", freeze(sorted(scopes)))

    __setattr__ = _refuse_change
    __delattr__ = _refuse_change
