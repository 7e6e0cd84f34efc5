"""The tables against the packages themselves: no name of theirs is missing, and none of ours is invented."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Any

import pytest
from servers import missing

from jwtgate.moving import PACKAGES
from jwtgate.settings import variables

OURS = {variable.name.removeprefix("JWTGATE_") for variable in variables()}


def needed(module: str) -> None:
    """Skips loudly where it is not installed."""
    if find_spec(module) is None:
        missing(f"no {module} is installed")


def names_of(name: str) -> set[str]:
    """Every word in the left column, settings and what one writes."""
    rows = (*PACKAGES[name].settings, *PACKAGES[name].names)
    return {word for row in rows for word in re.findall(r"\w+", row.theirs)}


def settings_of(name: str) -> set[str]:
    """The left column of the settings."""
    return {row.theirs for row in PACKAGES[name].settings}


def test_flask_jwt_extended_is_there_whole() -> None:
    """Each setting that it has a default for, each public function, each loader."""
    needed("flask_jwt_extended")
    import flask_jwt_extended
    from flask import Flask

    app = Flask(__name__)
    known = set(app.config)
    manager = flask_jwt_extended.JWTManager(app)
    assert set(app.config) - known == settings_of("flask-jwt-extended")
    public = {name for name, value in vars(flask_jwt_extended).items() if callable(value)} | {"current_user"}
    loaders = {name for name in dir(manager) if name.endswith("_loader")}
    assert public | loaders <= names_of("flask-jwt-extended")


def test_simplejwt_is_there_whole() -> None:
    """Each setting that it has a default for, each view, each class of tokens and of authentication."""
    needed("rest_framework_simplejwt")
    from frameworks import django_project  # noqa: F401 - Django is configured
    from rest_framework_simplejwt import authentication, settings, tokens, views

    assert set(settings.DEFAULTS) == settings_of("simplejwt")

    def own(module: Any, ending: str) -> set[str]:
        classes = (each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__)
        return {each.__name__ for each in classes if each.__name__.endswith(ending)}

    public = own(authentication, "Authentication") | own(views, "View") | own(tokens, "Token") | {"BlacklistMixin"}
    assert public - {"Token"} <= names_of("simplejwt")


def test_authx_is_there_whole() -> None:
    """Each setting, each public attribute of its one class."""
    needed("authx")
    from authx import AuthX, AuthXConfig

    assert set(AuthXConfig.model_fields) == settings_of("authx")
    public = {name for name in dir(AuthX) if not name.startswith(("_", "MSG_"))} - {"config"}
    assert public <= names_of("authx")


@pytest.mark.parametrize("name", PACKAGES)
def test_what_stands_on_our_side_is_ours(name: str) -> None:
    """Variables of the settings table; and for every setting a counterpart or the reason why there is none."""
    for row in PACKAGES[name].settings:
        assert row.ours in OURS or (row.ours == "" and row.note), row
    for row in PACKAGES[name].names:
        capitals = set(re.findall(r"\b[A-Z]{3,}(?:_[A-Z]+)*\b", row.ours)) - {"POST", "JWTGATE_"}
        assert capitals <= OURS, row


@pytest.mark.parametrize("name", PACKAGES)
def test_each_name_stands_once(name: str) -> None:
    """A setting has one line."""
    theirs = [row.theirs for row in PACKAGES[name].settings]
    assert len(theirs) == len(set(theirs))
