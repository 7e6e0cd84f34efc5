"""The command line: what it prints, and its exit status (interface.md §6)."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jwtgate import cli
from jwtgate.settings import variables


def test_env_prints_every_variable_with_default_and_meaning(capsys):
    assert cli.main(["env"]) == 0
    printed = capsys.readouterr().out
    for variable in variables():
        assert variable.name in printed
        assert variable.meaning in printed
    assert "JWTGATE_LEASE=1\n" in printed
    assert "JWTGATE_SECRET (no default)\n" in printed


def test_env_says_what_this_version_cannot_vary(capsys):
    cli.main(["env"])
    assert capsys.readouterr().out.count("default only") == sum(not variable.is_available for variable in variables())


def test_env_as_json_is_a_list_of_objects(capsys):
    assert cli.main(["env", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [variable.name for variable in variables()]
    assert set(rows[0]) == {"name", "default", "meaning", "allowed", "is_available"}


def test_no_command_is_wrong_usage(capsys):
    assert cli.main([]) == 2
    assert "usage: jwtgate" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nothing"], ["demo", "--twice"], ["env", "more"]])
def test_wrong_usage_has_status_2(arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2


def test_version_is_told(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("jwtgate ")


def test_version_of_a_package_that_is_not_installed_is_no_error(capsys, monkeypatch):
    def version(name):
        raise cli.PackageNotFoundError(name)

    monkeypatch.setattr(cli, "version", version)
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == "jwtgate (not installed)\n"


def test_demo_without_its_extra_prints_the_pip_line(capsys, monkeypatch):
    monkeypatch.setattr(cli, "DEMO_MODULES", ("json", "never_installed"))
    assert cli.main(["demo", "--once"]) == 2
    printed = capsys.readouterr().err
    assert "pip install 'jwtgate[demo]'" in printed
    assert "never_installed" in printed
    assert "json" not in printed


def test_modules_of_the_demo_are_those_of_its_extra():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["demo"]
    assert sorted(cli.DEMO_MODULES) == sorted(requirement.partition(">=")[0] for requirement in extra)


@pytest.mark.parametrize("once", [True, False])
def test_demo_returns_the_status_of_the_show(monkeypatch, once):
    monkeypatch.setattr("jwtgate.demo.show.run", lambda *, once: 7 if once else 8)
    assert cli.main(["demo", *(["--once"] if once else [])]) == (7 if once else 8)


def test_interruption_has_the_status_that_shells_expect(monkeypatch):
    def run(*, once):
        raise KeyboardInterrupt

    monkeypatch.setattr("jwtgate.demo.show.run", run)
    assert cli.main(["demo"]) == 130


def test_module_is_the_command_and_survives_a_reader_that_leaves():
    command = [sys.executable, "-m", "jwtgate", "env"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        complaint = process.stderr.read()
    assert process.returncode == 1
    assert complaint == b""
