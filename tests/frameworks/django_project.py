"""A Django project: its settings, urls and views. Configured when it is imported, once in a process."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path
from typing import Any

import django
from django.conf import settings

FOLDER = tempfile.TemporaryDirectory()
atexit.register(FOLDER.cleanup)

settings.configure(
    SECRET_KEY="a-secret-of-django-that-signs-no-token",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "django.contrib.sessions",
        "rest_framework",
        "jwtgate.frameworks.django.JWTGateConfig",
    ],
    STATIC_URL="/static/",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "jwtgate.frameworks.django.TokenUserMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(FOLDER.name) / "django.db")}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["jwtgate.frameworks.django.TokenUserAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": [
            "rest_framework.renderers.JSONRenderer",
            "rest_framework.renderers.BrowsableAPIRenderer",
        ],
    },
)
django.setup()

from django.contrib.auth import login  # noqa: E402 - Django must be configured first
from django.contrib.auth.decorators import login_required, permission_required  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.decorators import api_view, permission_classes  # noqa: E402
from rest_framework.permissions import AllowAny  # noqa: E402
from rest_framework.response import Response  # noqa: E402

from jwtgate.errors import InsufficientScope, MissingToken, SubjectSuspended  # noqa: E402


def seen(user: Any, auth: Any) -> dict[str, Any]:
    """What a view is told."""
    return {
        "kind": user.__class__.__name__,  # of what a lazy object stands for
        "name": user.get_username(),
        "authenticated": user.is_authenticated,
        "scopes": None if auth is None else sorted(auth.scopes),
    }


def me(request: Any) -> JsonResponse:
    """A plain view."""
    bool(request.user.is_authenticated)
    return JsonResponse(seen(request.user, request.auth))


async def waiting(request: Any) -> JsonResponse:
    """An async one."""
    return JsonResponse(seen(await request.auser(), request.auth))


@permission_required("auth.view_user", raise_exception=True)
async def waiting_permitted(request: Any) -> JsonResponse:
    """An async one that asks for a permission of Django's."""
    return JsonResponse({})


@login_required
def logged_in(request: Any) -> JsonResponse:
    """Django's own way to insist."""
    return JsonResponse(seen(request.user, request.auth))


def admin(request: Any) -> JsonResponse:
    """One that insists on a scope."""
    if request.auth is None or "admin" not in request.auth.scopes:
        raise InsufficientScope("admin")
    return JsonResponse(seen(request.user, request.auth))


def insisting(request: Any) -> None:
    """One for which nobody is anonymous."""
    if request.auth is None:
        raise MissingToken


def suspended(_request: Any) -> None:
    """As a login of one who is suspended."""
    raise SubjectSuspended


def broken(_request: Any) -> None:
    """A mistake of the project's."""
    raise ValueError


def session_login(request: Any) -> JsonResponse:
    """Django's own way to log in, on a path that the gate leaves alone."""
    login(request, User.objects.get(username="staff"), backend="django.contrib.auth.backends.ModelBackend")
    return JsonResponse({})


@api_view(["GET", "POST"])
def api(request: Any) -> Any:
    """Django REST framework's, for who is authenticated."""
    return Response(seen(request.user, request.auth))


@api_view(["GET"])
@permission_classes([AllowAny])
def api_open(request: Any) -> Any:
    """For everybody."""
    return Response(seen(request.user, request.auth))


@api_view(["GET"])
def api_admin(request: Any) -> Any:
    """That insists on a scope."""
    if "admin" not in request.auth.scopes:
        raise InsufficientScope("admin")
    return Response({})


urlpatterns = [
    path("me", me),
    path("health", me),
    path("async", waiting),
    path("permitted", waiting_permitted),
    path("logged-in", logged_in),
    path("admin", admin),
    path("public/admin", insisting),
    path("login", suspended),
    path("broken", broken),
    path("session", session_login),
    path("api", api),
    path("api/open", api_open),
    path("api/admin", api_admin),
]
