"""Django and Django REST framework: ``request.user`` and ``request.auth`` from the admitted token. Decides nothing.

``jwtgate.wsgi.JWTGateMiddleware`` or that of ``jwtgate.asgi`` stands around Django's application and has decided before Django
sees a request. No database is asked: the user is a small object, unless ``JWTGATE_USER_FIELD`` of Django's settings names the
field of the project's user model that holds the subject.
"""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

try:
    from asgiref.sync import markcoroutinefunction
    from django.conf import settings
except ImportError as missing:
    raise ImportError("jwtgate.frameworks.django needs django: pip install 'jwtgate[django]'") from missing

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.http import HttpResponse
from django.utils.functional import SimpleLazyObject

from jwtgate.errors import JWTGateError, MissingToken, RefusedByCheck
from jwtgate.frameworks.admission import Admission, admission_of
from jwtgate.frameworks.django_app import USER_FIELD, JWTGateConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jwtgate.messages import Token

__all__ = ["JWTGateConfig", "TokenUser", "TokenUserAuthentication", "TokenUserMiddleware"]

LINE = "application = JWTGateMiddleware(application), of jwtgate.wsgi or jwtgate.asgi"

NOBODY = (ObjectDoesNotExist, ValidationError, ValueError)
"""What a look-up raises for a subject that is no user's, or that the field cannot hold: no UUID, no number."""


class TokenUser:
    """The subject of a token, in the shape of Django's users; without a token, nobody. It is in no database.

    What it may do stands in the scopes of ``request.auth``: it has no permission of Django's, and is no staff.
    """

    is_active = True
    is_staff = False
    is_superuser = False

    def __init__(self, token: Token | None) -> None:
        self._is_authenticated = token is not None
        self._username = "" if token is None else token.subject or ""

    @property
    def is_authenticated(self) -> bool:
        return self._is_authenticated

    @property
    def is_anonymous(self) -> bool:
        return not self._is_authenticated

    @property
    def username(self) -> str:
        return self._username

    @property
    def pk(self) -> str | None:
        """None: a token without ``sub``, or none at all."""
        return self._username or None

    id = pk

    def get_username(self) -> str:
        return self._username

    def has_perm(self, _perm: str, _obj: object = None) -> bool:
        return False

    def has_perms(self, _perms: Iterable[str], _obj: object = None) -> bool:
        return False

    def has_module_perms(self, _module: str) -> bool:
        return False

    async def ahas_perm(self, _perm: str, _obj: object = None) -> bool:
        return False

    async def ahas_perms(self, _perms: Iterable[str], _obj: object = None) -> bool:
        return False

    async def ahas_module_perms(self, _module: str) -> bool:
        return False

    def get_all_permissions(self, _obj: object = None) -> set[str]:
        return set()

    async def aget_all_permissions(self, _obj: object = None) -> set[str]:
        return set()

    def __str__(self) -> str:
        return self._username

    def __repr__(self) -> str:
        """Names no claim."""
        return f"<{type(self).__name__} is_authenticated={self._is_authenticated}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenUser):
            return NotImplemented
        return (self._is_authenticated, self._username) == (other._is_authenticated, other._username)

    def __hash__(self) -> int:
        return hash((self._is_authenticated, self._username))


class TokenUserMiddleware:
    """``MIDDLEWARE = […, "jwtgate.frameworks.django.TokenUserMiddleware"]``, below Django's own of users, if that is there.

    An anonymous request (an exempt path, ``MODE=optional``) keeps the user that one found in Django's session. Every
    ``JWTGateError`` that a view raises is answered as the gate itself would: ``raise InsufficientScope("admin")``, say.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        """Raises: LookupError: no gate stands around the application."""
        token = _admission(request).token
        request.auth = token
        if token is not None:
            request.user = SimpleLazyObject(lambda: _user(token)) if _field() else TokenUser(token)
            request.auser = _awaited(token)
        elif not hasattr(request, "user"):
            request.user = TokenUser(None)
            request.auser = _awaited(None)
        return self._get_response(request)

    def process_exception(self, request: Any, exception: Exception) -> Any:
        """The gate's answer; None: it is no error of the gate's."""
        if not isinstance(exception, JWTGateError):
            return None
        answer = _admission(request).answer(exception)
        return HttpResponse(answer.body, status=answer.status, headers=dict(answer.headers))


class TokenUserAuthentication:
    """``DEFAULT_AUTHENTICATION_CLASSES`` of Django REST framework: ``request.user``, and the ``Token`` as ``request.auth``."""

    def authenticate(self, request: Any) -> tuple[Any, Token] | None:
        """None: the request is anonymous.

        Raises: LookupError: no gate stands around the application. RefusedByCheck: the project's user is gone or inactive;
            ``TokenUserMiddleware`` answers it.
        """
        token = _admission(request).token
        return None if token is None else (_user(token), token)

    def authenticate_header(self, request: Any) -> str | None:
        """The gate's challenge, so that an anonymous request gets 401 and not 403."""
        return dict(_admission(request).gate.answer(MissingToken()).headers).get("www-authenticate")


def _admission(request: Any) -> Admission:
    """ASGI requests have a scope; the others' META is the environ."""
    return admission_of(getattr(request, "scope", None) or request.META, LINE)


def _field() -> str | None:
    return getattr(settings, USER_FIELD, None)


def _user(token: Token) -> Any:
    """Raises: RefusedByCheck: nobody of the project's users is the subject, or one who may not log in."""
    field = _field()
    if field is None:
        return TokenUser(token)
    try:
        found = get_user_model()._default_manager.get(**{field: _subject(token)})  # noqa: SLF001 - Django documents it
    except NOBODY:
        raise RefusedByCheck("the project has no such user") from None
    return _wanted(found, field, token)


def _awaited(token: Token | None) -> Callable[[], Any]:
    """``await request.auser()``: the same, of a database that is awaited."""

    async def auser() -> Any:
        field = _field()
        if token is None or field is None:
            return TokenUser(token)
        try:
            found = await get_user_model()._default_manager.aget(**{field: _subject(token)})  # noqa: SLF001 - Django documents it
        except NOBODY:
            raise RefusedByCheck("the project has no such user") from None
        return _wanted(found, field, token)

    return auser


def _subject(token: Token) -> str:
    if token.subject is None:
        raise RefusedByCheck("a token without a subject is nobody's")
    return token.subject


def _wanted(user: Any, field: str, token: Token) -> Any:
    """To the letter: some databases find Alice for alice."""
    if not user.is_active or str(getattr(user, field)) != token.subject:
        raise RefusedByCheck("the user is not active, or is another")
    return user
