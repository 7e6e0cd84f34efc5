"""The command line itself: what needs no gate, and how every command ends (interface.md §6)."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli.commanding import COMMAND, environ, run

from jwtgate.cli import answering, commands, console, entry, main
from jwtgate.errors import BadSignature, SettingsError, StoreUnavailable
from jwtgate.settings import variables

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


def extra(name: str) -> set[str]:
    """The packages of an extra."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    return {requirement.partition(">=")[0] for requirement in project["project"]["optional-dependencies"][name]}


def test_env_prints_every_variable_with_default_and_meaning(capsys):
    assert main(["env"]) == 0
    printed = capsys.readouterr().out
    for variable in variables():
        assert variable.name in printed
        assert variable.meaning in printed
    assert "JWTGATE_LEASE=1\n" in printed
    assert "JWTGATE_SECRET (no default)\n" in printed


def test_env_as_json_is_a_list_of_objects(capsys):
    assert main(["env", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [variable.name for variable in variables()]
    assert set(rows[0]) == {"name", "default", "meaning", "allowed", "set_by"}


def test_env_tells_what_is_set_and_no_value():
    """A value may be a secret, or a URL with a password."""
    settings = {"SECRET": "never-to-be-seen-in-any-list-of-settings", "STORE_FILE": "/run/secrets/store"}
    told = run("env", **settings).stdout
    rows = {row["name"]: row["set_by"] for row in json.loads(run("env", "--json", **settings).stdout)}
    assert (rows["JWTGATE_SECRET"], rows["JWTGATE_STORE"]) == ("JWTGATE_SECRET", "JWTGATE_STORE_FILE")
    assert rows["JWTGATE_ISSUER"] is None
    both = json.loads(run("env", "--json", JWKS_FILE_FILE="x", JWKS_FILE="y").stdout)
    assert [row["set_by"] for row in both if row["name"] == "JWTGATE_JWKS_FILE"] == ["JWTGATE_JWKS_FILE"]
    assert told.count("Is set.") == 1
    assert "Is set by JWTGATE_STORE_FILE." in told
    assert "never-to-be" not in told
    assert "/run/secrets" not in told


def test_env_says_how_a_clients_digest_is_made(capsys):
    main(["env"])
    told = capsys.readouterr().out.partition("JWTGATE_CLIENTS")[2]
    assert 'printf %s "$SECRET" | sha256sum' in told


def test_env_works_where_the_settings_are_wrong():
    """It is what one looks at then."""
    assert run("env", LEASE="soon", MODE="maybe").returncode == 0


@pytest.mark.parametrize("arguments", [[], ["token"]])
def test_no_command_is_wrong_usage(capsys, arguments):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert "Usage: jwtgate" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("arguments", [["nothing"], ["demo", "--twice"], ["migrate", "more"], ["sessions"], ["token", "forge"]])
def test_wrong_usage_has_status_2(capsys, arguments):
    assert main(arguments) == 2
    assert "Usage: jwtgate" in capsys.readouterr().err


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in ("demo", "doctor", "env", "migrate", "revoke", "sessions", "token", "watch"):
        assert f" {name} " in printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["token", "inspect", TOKEN],
        ["revoke", f"--token={TOKEN}"],
        [TOKEN],
        ["sessions", "alice", TOKEN],
        ["revoke", "--sub", "jgr_" + "A" * 86],
        ["token", "inspect", TOKEN.rpartition(".")[0]],
    ],
)
def test_token_on_the_command_line_is_refused_and_never_repeated(capsys, arguments):
    """It is in the shell's history by now; it need not be in the terminal's, too."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "standard input" in printed.err
    for part in (*TOKEN.split("."), "AAAA"):
        assert part not in printed.err


def test_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("jwtgate ")


def test_version_of_a_package_that_is_not_installed_is_no_error(capsys, monkeypatch):
    def version(name):
        raise commands.PackageNotFoundError(name)

    monkeypatch.setattr(commands, "version", version)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "jwtgate (not installed)\n"


@pytest.mark.parametrize("arguments", [["env"], ["--version"], [], ["revoke", "--sub", "alice"]])
def test_without_its_extra_the_command_prints_the_pip_line(capsys, monkeypatch, arguments):
    monkeypatch.setattr(entry, "MODULES", ("json", "never_installed"))
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "pip install 'jwtgate[cli]'" in printed.err
    assert "never_installed" in printed.err
    assert "json" not in printed.err


def test_demo_without_either_extra_prints_the_line_that_brings_both(capsys, monkeypatch):
    monkeypatch.setattr(entry, "MODULES", ("never_installed",))
    assert main(["demo"]) == 2
    assert "pip install 'jwtgate[demo]'" in capsys.readouterr().err


def test_demo_without_its_extra_prints_the_pip_line(capsys, monkeypatch):
    monkeypatch.setattr(commands, "DEMO_MODULES", ("json", "never_installed"))
    assert main(["demo", "--once"]) == 2
    printed = capsys.readouterr().err
    assert "pip install 'jwtgate[demo]'" in printed
    assert "never_installed" in printed
    assert "json" not in printed


def test_modules_looked_for_are_those_of_the_extras():
    assert set(entry.MODULES) == extra("cli")
    brought = {"jwtgate[cli]", "jwtgate[fastapi]", "jwtgate[jwks]"}
    assert {*commands.DEMO_MODULES, *brought} <= extra("demo") | extra("jwks") | extra("fastapi")
    assert extra("demo") <= {*commands.DEMO_MODULES, *brought}
    assert {*console.MODULES, "jwtgate[cli]"} == extra("console")
    assert {"jwtgate[cli]", "jwtgate[console]"} <= extra("test")


@pytest.mark.parametrize("module", ["jwtgate", "jwtgate.cli", "jwtgate.__main__"])
def test_package_loads_without_the_extra(module):
    """Where typer and rich cannot be imported, everything but the command's work still can."""
    program = f"""
import sys
sys.modules.update(dict.fromkeys(("typer", "rich", "pydantic"), None))
sys.argv = ["jwtgate"]
try:
    import {module}
except SystemExit as ended:
    assert ended.code == 2
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("once", [True, False])
def test_demo_returns_the_status_of_the_show(monkeypatch, once):
    monkeypatch.setattr("jwtgate.demo.show.run", lambda *, once, idp: 7 if once else 8)
    assert main(["demo", *(["--once"] if once else [])]) == (7 if once else 8)


def raising(error):
    """A show that goes wrong."""

    def run(*, once, idp):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (SettingsError("JWTGATE_A is wrong.", "JWTGATE_B, too."), 2, ["JWTGATE_A is wrong.", "JWTGATE_B, too."]),
        (StoreUnavailable("the store\nfailed"), 1, ["the store failed."]),
        (StoreUnavailable(), 1, [StoreUnavailable.description]),
        (BadSignature("the signature does not verify"), 1, ["the signature does not verify."]),
        (answering.Misuse("one, not two"), 2, ["one, not two"]),
    ],
)
def test_errors_are_told_in_one_line_each(capsys, monkeypatch, error, status, told):
    monkeypatch.setattr("jwtgate.demo.show.run", raising(error))
    assert main(["demo"]) == status
    assert capsys.readouterr().err == "".join(f"jwtgate: {line}\n" for line in told)


def test_unexpected_error_shows_its_kind_and_place_and_none_of_its_text(capsys, monkeypatch):
    """Its text could hold anything; a traceback shows locals' neighbours and frightens."""
    monkeypatch.setattr("jwtgate.demo.show.run", raising(KeyError(TOKEN)))
    assert main(["demo"]) == 1
    printed = capsys.readouterr().err
    assert "KeyError at test_entry.py, line " in printed
    assert "Traceback" not in printed
    assert TOKEN not in printed


def test_interruption_has_the_status_that_shells_expect(monkeypatch):
    monkeypatch.setattr("jwtgate.demo.show.run", raising(KeyboardInterrupt()))
    assert main(["demo"]) == 130


def test_interruption_before_the_command_is_at_work_has_the_same_status(monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run", interrupted)
    assert main(["env"]) == 130


@pytest.mark.parametrize("arguments", [["env"], ["env", "--json"]])
def test_module_is_the_command_and_survives_a_reader_that_leaves(arguments):
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ()) as process:
        process.stdout.close()
        complaint = process.stderr.read()
    assert process.returncode == 1
    assert complaint == b""


@pytest.mark.parametrize("arguments", [["env"], ["--help"], ["revoke", "--help"], ["nothing"]])
def test_terminal_that_knows_no_section_sign_ends_no_command(arguments):
    ended = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        env={**environ(), "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        check=False,
    )
    assert ended.returncode == (2 if arguments == ["nothing"] else 0)
    assert ended.stdout.isascii()
    assert ended.stderr.isascii()


@pytest.mark.parametrize(("command", "status"), [("env >&-", 0), ("revoke --everything <&- 2>&-", 2), ("token inspect <&-", 2)])
def test_closed_streams_end_no_command(command, status):
    """As some schedulers start their jobs."""
    shell = ["sh", "-c", f'exec "{sys.executable}" -m jwtgate {command}']
    ended = subprocess.run(shell, capture_output=True, text=True, env=environ(), check=False)
    assert ended.returncode == status
    assert "should not happen" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NO FULL DISK TO WRITE TO: this system has no /dev/full")
def test_full_disk_has_status_1_and_one_line():
    """A token that was not written is no success."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*COMMAND, "token", "mint", "alice"], stdout=full, stderr=subprocess.PIPE, text=True, env=environ(), check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == "jwtgate: the output could not be written: No space left on device\n"


def test_interruption_is_nobodys_fault(monkeypatch):
    """Nor is Ctrl-C while typing an answer a no that the shell could take for a failed check."""
    monkeypatch.setattr("sys.stdin", Interrupted())
    assert main(["revoke", "--everything"]) == 130


class Interrupted:
    """A terminal whose user presses Ctrl-C."""

    def isatty(self):
        return True

    def readline(self):
        raise KeyboardInterrupt
