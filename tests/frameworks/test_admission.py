"""What every framework's dress stands on: the middleware's word about one request, and insisting on more."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
from shells import gate_of, tokens

from jwtgate.checks import scope
from jwtgate.errors import InsufficientScope, MissingToken, RefusedByCheck, SettingsError
from jwtgate.frameworks.admission import Admission, admission_of


def test_admission_is_what_the_middleware_left() -> None:
    """The very gate and token."""
    gate = gate_of()
    token = gate.verify(tokens()["good"])
    assert admission_of({"jwtgate.gate": gate, "jwtgate.token": token}, "") == Admission(gate, token)
    assert admission_of({"jwtgate.gate": gate, "jwtgate.token": None}, "").token is None


@pytest.mark.parametrize("left", [{}, {"jwtgate.token": "x"}, {"jwtgate.gate": None}, {"jwtgate.gate": "x"}])
def test_without_a_gate_there_is_no_admission(left: dict[str, object]) -> None:
    """Whatever else is there; the error names the line."""
    with pytest.raises(LookupError, match="missing is: the line"):
        admission_of(left, "the line")


def test_only_true_lets_a_token_pass() -> None:
    """A check that says anything else refuses, and each refusal is counted by its reason."""
    gate = gate_of()
    token = gate.verify(tokens()["good"])
    admission = Admission(gate, token)
    assert admission.insist([scope("read"), lambda *_: True]) is token
    for said in (False, None, 1, "yes"):
        with pytest.raises(RefusedByCheck):
            admission.insist([lambda *_, said=said: said])  # type: ignore[misc]
    with pytest.raises(InsufficientScope):
        admission.insist([scope("admin"), lambda *_: False])
    with pytest.raises(MissingToken):
        Admission(gate, None).insist()
    assert gate.status().refused == {"refused_by_check": 4, "insufficient_scope": 1, "missing_token": 1}


def test_operators_mistake_is_logged_as_one(caplog: pytest.LogCaptureFixture) -> None:
    """A client's is told at INFO, as the shells do."""
    caplog.set_level(logging.INFO, "jwtgate")
    admission = Admission(gate_of(), None)
    assert admission.answer(SettingsError("JWTGATE_SECRET is not set")).status == 503
    assert admission.answer(MissingToken("none")).status == 401
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "refused: settings (JWTGATE_SECRET is not set)"),
        ("INFO", "refused: missing_token (none)"),
    ]


@pytest.mark.parametrize(("module", "library"), [("flask", "flask"), ("django", "asgiref")])
def test_missing_framework_names_the_line_that_installs_it(module: str, library: str) -> None:
    """Whoever copies it has what is missing."""
    program = f"import sys; sys.modules[{library!r}] = None; import jwtgate.frameworks.{module}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"pip install 'jwtgate[{module}]'" in ended.stderr.splitlines()[-1]
