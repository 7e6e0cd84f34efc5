"""``jwtgate env --from``: what is printed, what is not, and the exit status."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from jwtgate.cli.entry import main
from jwtgate.cli.moving import Origin
from jwtgate.moving import PACKAGES

SECRET = "s3cret-of-at-least-32-bytes-for-hs256 'quoted'"
GOOD = f"JWT_SECRET_KEY = {SECRET!r}\nJWT_DECODE_AUDIENCE = 'the shop'\n"


def file_of(folder: Path, text: str, name: str = "config.py") -> str:
    """Its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


def test_packages_are_those_that_can_be_named() -> None:
    """No more, no fewer."""
    assert {origin.value for origin in Origin} == set(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_without_a_file_the_tables_are_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row of both."""
    assert main(["env", "--from", name]) == 0
    printed = capsys.readouterr().out
    assert all(row.theirs in printed for row in (*PACKAGES[name].settings, *PACKAGES[name].names))
    assert main(["env", "--from", name, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["settings"]) == len(PACKAGES[name].settings)
    assert len(told["names"]) == len(PACKAGES[name].names)


def test_secret_is_printed_to_who_asks_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Terminals are shared and recorded; what is printed then is a line for a shell."""
    path = file_of(tmp_path, GOOD)
    for more in ([], ["--json"]):
        assert main(["env", "--from", "flask-jwt-extended", path, *more]) == 0
        printed = capsys.readouterr()
        assert "s3cret" not in printed.out + printed.err
    assert main(["env", "--from", "flask-jwt-extended", path, "--show-secrets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert shlex.split(next(line for line in lines if line.startswith("JWTGATE_SECRET="))) == [f"JWTGATE_SECRET={SECRET}"]
    assert "JWTGATE_AUDIENCE='the shop'" in lines
    assert main(["env", "--from", "flask-jwt-extended", path, "--show-secrets", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {line["variable"]: line["value"] for line in told["lines"]}["SECRET"] == SECRET


def test_what_matters_and_is_left_has_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines are printed all the same, and the first of what is left is what matters."""
    path = file_of(tmp_path, f"{GOOD}JWT_COOKIE_DOMAIN = 'x'\nJWT_DECODE_ISSUER = issuer()\n")
    assert main(["env", "--from", "flask-jwt-extended", path]) == 1
    printed = capsys.readouterr()
    left = [line for line in printed.out.splitlines() if "Not carried over" in line]
    assert left[0].startswith("# ! Not carried over: JWT_DECODE_ISSUER")
    assert left[1].startswith("# Not carried over: JWT_COOKIE_DOMAIN")
    assert "# !" in printed.err


def test_what_the_gate_would_refuse_has_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A secret that is too short for its hash: said as the gate says it, without its value."""
    path = file_of(tmp_path, "JWT_SECRET_KEY=too-short\n", ".env")
    assert main(["env", "--from", "authx", path]) == 1
    printed = capsys.readouterr().out
    assert "# ! JWTGATE_SECRET" in printed
    assert "too-short" not in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["env", "config.py"],
        ["env", "--show-secrets"],
        ["env", "--from", "nobody"],
        ["env", "--from", "authx", "/nowhere/config.py"],
        ["env", "--from", "authx", "/"],
    ],
)
def test_wrong_usage_has_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And one clear line."""
    assert main(arguments) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("text", "name"), [("JWT_SECRET_KEY = ", "c.py"), ("{", "c.json"), ("x" * 1_100_000, "c.py")])
def test_file_that_cannot_be_read_has_status_2(
    text: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of it is repeated."""
    assert main(["env", "--from", "authx", file_of(tmp_path, text, name)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert text not in printed.err
    (tmp_path / "bytes.py").write_bytes(b"\xff\xfe")
    assert main(["env", "--from", "authx", str(tmp_path / "bytes.py")]) == 2


def test_what_somebody_wrote_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names in the file are printed with their control characters escaped."""
    path = file_of(tmp_path, json.dumps({"JWT_SECRET_KEY": SECRET, "JWT_\x1b[2J": 1}), "c.json")
    assert main(["env", "--from", "authx", path]) == 0
    assert "\x1b" not in capsys.readouterr().out
