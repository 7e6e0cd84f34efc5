"""What ``manage.py check`` says of a Django project that stands behind the gate. Decides nothing.

``INSTALLED_APPS = […, "jwtgate.frameworks.django.JWTGateConfig"]``, which nothing else needs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import Error, Warning, register  # noqa: A004 - Django's name
from django.core.exceptions import FieldDoesNotExist

from jwtgate.errors import SettingsError
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.core.checks import CheckMessage

__all__ = ["USER_FIELD", "JWTGateConfig"]

USER_FIELD = "JWTGATE_USER_FIELD"

MIDDLEWARE = "jwtgate.frameworks.django.TokenUserMiddleware"
ABOVE = "django.contrib.auth.middleware.AuthenticationMiddleware"


class JWTGateConfig(AppConfig):
    """An application without models: its checks."""

    name = "jwtgate.frameworks"
    label = "jwtgate"
    verbose_name = "jwtgate"

    def ready(self) -> None:
        """Django calls it."""
        register(_check)


def _check(app_configs: object, **_: object) -> list[CheckMessage]:  # noqa: ARG001 - Django's signature
    return [*_of_environment(), *_of_names(), *_of_middleware(), *_of_user_field()]


def _of_environment() -> Iterator[CheckMessage]:
    """As the gate itself will read it; no value is shown."""
    try:
        Settings.from_env()
    except SettingsError as error:
        yield from (Error(mistake, id="jwtgate.E001") for mistake in error.mistakes)


def _of_names() -> Iterator[CheckMessage]:
    for name in dir(settings):
        if name.startswith("JWTGATE_") and name != USER_FIELD and name not in os.environ:
            hint = f"Set it in the environment of the process. {USER_FIELD} is the one setting of Django's."
            yield Warning(f"{name} stands in Django's settings, where nobody reads it.", hint=hint, id="jwtgate.W001")


def _of_middleware() -> Iterator[CheckMessage]:
    listed: Sequence[str] = list(settings.MIDDLEWARE)
    if MIDDLEWARE in listed and ABOVE in listed and listed.index(MIDDLEWARE) < listed.index(ABOVE):
        yield Error(f"{MIDDLEWARE} stands above {ABOVE}, which then overwrites request.user.", id="jwtgate.E002")


def _of_user_field() -> Iterator[CheckMessage]:
    """The field has to name one user, or nobody."""
    field = getattr(settings, USER_FIELD, None)
    if field is None:
        return
    model: Any = get_user_model()
    try:
        found = model._meta.pk if field == "pk" else model._meta.get_field(field)  # noqa: SLF001 - Django documents it
    except FieldDoesNotExist:
        yield Error(f"{USER_FIELD} names no field of {model.__name__}.", id="jwtgate.E003")
        return
    if not getattr(found, "unique", False):
        yield Error(f"{USER_FIELD} names a field that several users may share.", id="jwtgate.E004")
