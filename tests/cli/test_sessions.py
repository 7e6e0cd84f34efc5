"""``jwtgate sessions``: a subject's logins, for eyes and for programs."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import pytest
from cli.commanding import run

from jwtgate import Session
from jwtgate.cli import main, sessions
from jwtgate.cli.printing import moment
from jwtgate.errors import StoreUnavailable

PHONE = Session("s" * 22, "alice", "phone", "192.0.2.7", "Agent/1.0 (" + "long " * 30 + ")", 1.8e9, 1.8e9 + 60.5, 1.9e9)
ODD = Session("t" * 22, "alice", "\x1b[2J[red]tv\x9b", None, None, 1.7e9, 1.7e9, 1.9e9)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A gate that lists what it is given; returns the subjects that were asked for."""

    def put(found: list[Session] | Exception) -> list[str]:
        asked: list[str] = []

        def listed(sub: str) -> list[Session]:
            asked.append(sub)
            if isinstance(found, Exception):
                raise found
            return found

        gate = SimpleNamespace(sessions=SimpleNamespace(list=listed))
        monkeypatch.setattr(sessions, "opened", lambda errand: nullcontext(gate))
        return asked

    return put


def test_sessions_are_told_whole_even_in_a_pipe(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A sid is there to be copied to ``revoke --sid``, times are local."""
    asked = fake([PHONE, ODD])
    assert main(["sessions", "alice"]) == 0
    assert asked == ["alice"]
    (line,) = [line for line in capsys.readouterr().out.splitlines() if PHONE.sid in line]
    for text in ("phone", "192.0.2.7", PHONE.user_agent, moment(1.8e9), moment(1.8e9 + 60.5), moment(1.9e9)):
        assert text in line


@pytest.mark.parametrize("width", [80, 200])
def test_terminal_shows_every_column_and_the_sid_whole(
    fake: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    """Also a narrow one."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    fake([PHONE])
    assert main(["sessions", "alice"]) == 0
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert PHONE.sid in printed
    for at in (1.8e9, 1.8e9 + 60.5, 1.9e9):
        for part in moment(at).split(" "):
            assert part in printed
    assert PHONE.user_agent not in printed
    assert max(map(len, printed.splitlines())) <= width


def test_what_a_client_sent_does_not_command_the_terminal(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither escape sequences nor rich's markup."""
    fake([ODD])
    assert main(["sessions", "alice"]) == 0
    printed = capsys.readouterr().out
    assert "\\x1b[2J[red]tv\\x9b" in printed
    assert not {"\x1b", "\x9b"} & set(printed)


def test_sessions_as_json_are_the_records_with_numeric_dates(fake: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """One document."""
    fake([PHONE, ODD])
    assert main(["sessions", "alice", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [asdict(PHONE), asdict(ODD)]


@pytest.mark.parametrize(("options", "told"), [([], "No live sessions.\n"), (["--json"], "[]\n")])
def test_no_session_is_an_answer(fake: Any, capsys: pytest.CaptureFixture[str], options: list[str], told: str) -> None:
    """Status 0."""
    fake([])
    assert main(["sessions", "alice", *options]) == 0
    assert capsys.readouterr().out == told


@pytest.mark.parametrize(
    ("error", "status"), [(StoreUnavailable("the store failed"), 1), (ValueError("sub must be a text"), 2)]
)
def test_failure_has_its_status(fake: Any, capsys: pytest.CaptureFixture[str], error: Exception, status: int) -> None:
    """Nothing on standard output."""
    fake(error)
    assert main(["sessions", "alice"]) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert str(error) in printed.err


def test_memory_of_another_process_cannot_be_listed() -> None:
    """An empty list would be a lie."""
    ended = run("sessions", "alice")
    assert ended.returncode == 2
    assert "memory://" in ended.stderr
