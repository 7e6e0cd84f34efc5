"""The views of the Django project that stands among the frameworks."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.urls import path, re_path
from frameworks.django_project import admin, insisting, suspended
from shells import seen


def tell(request: Any) -> HttpResponse:
    """``request.auth`` and ``request.user``."""
    return HttpResponse(seen(request.auth, request.user.get_username()), content_type="application/json")


def take() -> None:
    """In a process that serves nothing else of Django's."""
    settings.ROOT_URLCONF = __name__


urlpatterns = [
    path("admin", admin),
    path("public/insist", insisting),
    path("login", suspended),
    re_path("", tell),
]
