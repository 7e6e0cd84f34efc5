"""Tokens that the packages themselves have made are admitted by a gate under the lines that the command printed for their file."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import pytest
from moving.test_tables import needed
from shells import Sent, ask_wsgi, wsgi_application

from jwtgate import Gate, Settings
from jwtgate.cli.entry import main
from jwtgate.errors import InvalidToken, Revoked, WrongType
from jwtgate.wsgi import JWTGateMiddleware

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "a-secret-of-at-least-32-bytes-for-hs256"


@pytest.fixture
def moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Gate]]:
    """A gate under what is printed for a file."""
    gates: list[Gate] = []

    def move(name: str, text: str, file: str = "settings.py") -> Gate:
        path = tmp_path / file
        path.write_text(text)
        assert main(["env", "--from", name, str(path), "--show-secrets"]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith("#")]
        environ = dict(shlex.split(line)[0].partition("=")[::2] for line in lines)
        gates.append(Gate(Settings.from_env(environ)))
        return gates[-1]

    yield move
    for gate in gates:
        gate.close()


FLASK = f"""
from datetime import timedelta
JWT_SECRET_KEY = "{SECRET}"
JWT_ALGORITHM = "HS256"
JWT_ENCODE_AUDIENCE = "shop"
JWT_ENCODE_ISSUER = "https://shop.example"
JWT_ACCESS_TOKEN_EXPIRES = timedelta(minutes=5)
JWT_TOKEN_LOCATION = ["headers", "cookies"]
"""


def flask_app(tmp_path: Path) -> Any:
    """Configured by the file that the command reads."""
    from flask import Flask
    from flask_jwt_extended import JWTManager

    app = Flask(__name__)
    app.config.from_pyfile(str(tmp_path / "settings.py"))
    JWTManager(app)
    return app


def test_tokens_of_flask_jwt_extended_go_on(tmp_path: Path, moved: Callable[..., Gate]) -> None:
    """Access tokens, fresh or not, with their subject; refresh tokens are none."""
    needed("flask_jwt_extended")
    from flask_jwt_extended import create_access_token, create_refresh_token

    gate = moved("flask-jwt-extended", FLASK)
    with flask_app(tmp_path).app_context():
        for fresh in (True, False):
            token = gate.verify(create_access_token("alice", fresh=fresh))
            assert (token.subject, token.issuer) == ("alice", "https://shop.example")
        with pytest.raises(WrongType):
            gate.verify(create_refresh_token("alice"))
        spoken = create_access_token("alice")
        gate.verify(spoken)
        gate.revoke(sub="alice", wait=True)
        with pytest.raises(Revoked):
            gate.verify(spoken)


def test_cookies_of_flask_jwt_extended_go_on(tmp_path: Path, moved: Callable[..., Gate]) -> None:
    """Under the same name, with the same value in the same header."""
    needed("flask_jwt_extended")
    from flask_jwt_extended import create_access_token, get_csrf_token

    gate = moved("flask-jwt-extended", FLASK)
    with flask_app(tmp_path).app_context():
        token = create_access_token("alice")
        proof = get_csrf_token(token)
    app = JWTGateMiddleware(wsgi_application, gate=gate)
    cookie = ("cookie", f"access_token_cookie={token}")
    assert ask_wsgi(app, Sent("POST", "/x", (cookie, ("x-csrf-token", proof)))).status == 200
    assert ask_wsgi(app, Sent("POST", "/x", (cookie,))).status == 403


def test_tokens_of_simplejwt_go_on(moved: Callable[..., Gate]) -> None:
    """They have no subject: a user's are ended by the claim that names it; refresh tokens are none."""
    needed("rest_framework_simplejwt")
    from frameworks.django_project import User, settings
    from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

    gate = moved("simplejwt", f'SECRET_KEY = "{settings.SECRET_KEY}"\nSIMPLE_JWT = {{}}\n')
    hers, his = (str(AccessToken.for_user(User(pk=number))) for number in (7, 8))
    token = gate.verify(hers)
    assert (token.subject, token.claims["user_id"]) == (None, "7")
    with pytest.raises(WrongType):
        gate.verify(str(RefreshToken.for_user(User(pk=7))))
    gate.revoke(claim=("user_id", "7"), wait=True)
    with pytest.raises(Revoked):
        gate.verify(hers)
    assert gate.verify(his).claims["user_id"] == "8"


def test_tokens_of_authx_go_on(moved: Callable[..., Gate]) -> None:
    """With their subject and their scopes; refresh tokens are none."""
    needed("authx")
    from authx import AuthX, AuthXConfig

    gate = moved("authx", f'JWT_SECRET_KEY={SECRET}\nJWT_ENCODE_ISSUER="https://shop.example"\n', ".env")
    auth = AuthX(config=AuthXConfig(JWT_SECRET_KEY=SECRET, JWT_ENCODE_ISSUER="https://shop.example"))
    token = gate.verify(auth.create_access_token("alice", scopes=["read"]))
    assert (token.subject, token.issuer) == ("alice", "https://shop.example")
    with pytest.raises(WrongType):
        gate.verify(auth.create_refresh_token("alice"))
    other = AuthX(config=AuthXConfig(JWT_SECRET_KEY="another secret, of which nobody knows anything"))
    with pytest.raises(InvalidToken):
        gate.verify(other.create_access_token("alice"))
