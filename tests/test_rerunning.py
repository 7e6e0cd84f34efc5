"""Which failures of tests are asked once more: what a busy machine does to who waits, never an answer that was wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from asking import IN_THE_END, InTheEnd, waited_in_vain
from pymysql.err import OperationalError

from jwtgate.errors import Revoked, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

RULES = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]


def busy() -> None:
    raise StoreUnavailable("all 8 connections to the store are busy")


def gone() -> None:
    raise OperationalError(2003, "Can't connect to MySQL server")


def late() -> None:
    raise TimeoutError


def counted() -> None:
    failures = [StoreUnavailable("busy")]
    assert not failures


def slow() -> None:
    assert time.monotonic() < 0


def measured() -> None:
    longest = 0.377
    assert longest < 0.2, f"a turn of the loop took {longest:.2f} s"


def waited() -> None:
    is_there = False
    assert is_there, f"not within {10.0:g} s: the gate is live again"


def told_among_others() -> None:
    violations = ["(a) admitted after the receipt", "(d) took 2.100 s"]
    assert violations == []


def refused() -> None:
    failed, calls = [1], [1, 2]
    assert failed == [], f"{len(failed)} of {len(calls)} calls failed"


def let_in(error: type[Exception]) -> None:
    with pytest.raises(error):
        """A token is admitted that was to be refused."""


def among_others() -> None:
    answers = {"StoreUnavailable", "admitted"}
    assert answers == {"StoreUnavailable"}


def meanwhile() -> None:
    try:
        busy()
    except StoreUnavailable:
        answer = "admitted"
        assert answer == "refused"


@pytest.mark.parametrize(
    ("way", "is_again"),
    [
        *(
            (busy, True),
            (gone, True),
            (late, True),
            (counted, True),
            (slow, True),
            (measured, True),
            (waited, True),
            (refused, True),
        ),
        *((lambda: let_in(StoreUnavailable), False), (lambda: let_in(Revoked), False), (lambda: let_in(TimeoutError), False)),
        *((among_others, False), (told_among_others, False), (meanwhile, False)),
    ],
)
def test_only_who_waited_in_vain_is_asked_again(way: Callable[[], None], is_again: bool) -> None:
    """A token that was let in fails the run, whatever else was told with it."""
    with pytest.raises(BaseException) as caught:  # pytest's own failures are no exceptions
        way()
    assert waited_in_vain(caught.value, RULES["only_rerun"], RULES["rerun_except"]) is is_again


# In the end

COUNTED = """
import os, pathlib
import pytest

def asked(name):
    path = pathlib.Path(name)
    path.write_text(path.read_text() + "x" if path.exists() else "x")
    return len(path.read_text())

def test_other():
    pass
"""
PATIENT = "def test_patient():\n    if asked('patient') < {times}:\n        raise TimeoutError('nobody came')\n"
SETUP = """
@pytest.fixture(scope="session")
def provider():
    if asked("provider") < 3:
        raise TimeoutError("it did not start")

def test_login(provider): pass
"""
WRONG = """
def test_later():
    if asked("later") == 1:
        raise TimeoutError
    assert "admitted" == "refused"
"""


@pytest.mark.parametrize(
    ("tests", "status", "asked"),
    [
        pytest.param([PATIENT.format(times=3), SETUP], 0, {"patient": 3, "provider": 3}, id="passes"),
        pytest.param([PATIENT.format(times=9)], 1, {"patient": 4}, id="waits in vain again"),
        pytest.param([PATIENT.format(times=3), WRONG], 1, {"patient": 2, "later": 2}, id="beside a wrong answer"),
    ],
)
def test_what_waited_in_vain_twice_is_asked_in_the_end(
    tests: list[str], status: int, asked: dict[str, int], tmp_path: Path
) -> None:
    """With nothing beside it, and only where nothing else went wrong."""
    (tmp_path / "conftest.py").write_text("from asking import pytest_configure, pytest_runtest_makereport\n")
    (tmp_path / "test_it.py").write_text("\n".join([COUNTED, *tests]))
    rules = [f"{name} =\n" + "".join(f"  {rule}\n" for rule in RULES[name]) for name in ("only_rerun", "rerun_except")]
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\naddopts = -p xdist -p pytest_rerunfailures -n 1\nreruns = 1\n" + "".join(rules)
    )
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", IN_THE_END))}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    print(done.stdout)  # not in what the assertions say: it tells of errors that are waited out
    assert {name: len((tmp_path / name).read_text()) for name in asked} == asked
    assert done.returncode == status
    assert ("asked in the end, with nothing beside them" in done.stdout) is (2 not in asked.values())


def test_worker_that_died_is_no_patient_one(pytestconfig: pytest.Config) -> None:
    """Its test is reported without a kind."""
    asking = InTheEnd(pytestconfig)
    died = pytest.TestReport("test_it", ("", 0, ""), {}, "failed", "worker 'gw0' crashed", "call")
    asking.pytest_runtest_logreport(died)
    assert asking.failed == {"test_it": False}
