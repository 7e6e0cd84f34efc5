"""What a developer sees of refusals on the first day: the first of each kind that a setting often causes, and no flood."""

from __future__ import annotations

import logging

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from werkzeug.test import Client

from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware as ASGIGate
from jwtgate.errors import CrossSiteRequest, Expired, MissingToken, WrongAudience, WrongIssuer
from jwtgate.runtime.refusals import Refusals
from jwtgate.wsgi import JWTGateMiddleware as WSGIGate

SECRET = "k3Jd8-sS9aQpLz7vXcVbNmQwErTyUiOp0192837465"


def test_first_of_each_kind_that_a_setting_often_causes_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """And the next ones are told at INFO; what clients and thieves do is never more than that."""
    caplog.set_level(logging.INFO, "jwtgate")
    refusals = Refusals()
    kinds = [MissingToken, WrongIssuer, WrongAudience, CrossSiteRequest]
    for kind in [*kinds, Expired, *kinds]:
        refusals.tell(kind("for a reason"))
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING"] * 4 + ["INFO"] * 5
    assert caplog.messages[0] == "refused: missing_token (for a reason); from now on told at INFO"
    assert caplog.messages[4] == "refused: expired (for a reason)"


@pytest.mark.parametrize("shell", ["asgi", "wsgi"])
def test_forgotten_exemption_is_told_with_the_setting(shell: str, caplog: pytest.LogCaptureFixture) -> None:
    """A login behind the gate: the client learns nothing, the developer what to set."""
    gate = Gate(Settings(secret=SECRET))
    caplog.set_level(logging.WARNING, "jwtgate")
    if shell == "asgi":
        status = TestClient(ASGIGate(Starlette(), gate=gate)).post("/login").status_code
    else:
        status = Client(WSGIGate(lambda environ, start: [], gate=gate)).post("/login").status_code
    assert status == 401
    (told,) = [message for message in caplog.messages if message.startswith("refused: ")]
    assert "the path is none of JWTGATE_EXEMPT" in told
    gate.close()


@pytest.mark.parametrize("shell", [ASGIGate, WSGIGate])
def test_shell_takes_no_settings_in_place_of_a_gate(shell: type) -> None:
    """One clear line where the application is put together."""
    with pytest.raises(
        TypeError, match=r"gate must be a Gate, for example Gate\(Settings.from_env\(\)\), and is of type Settings"
    ):
        shell(Starlette(), gate=Settings(secret=SECRET))
