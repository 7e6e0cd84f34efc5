"""``jwtgate console`` in a process of its own: what it prints, who gets in, and how it ends."""

from __future__ import annotations

import os
import re
import signal
from html import unescape
from pathlib import Path

import httpx
import pytest
from cli.commanding import begin, run

from jwtgate import Gate, Settings
from jwtgate.cli.gates import operator

SECRET = "a-secret-of-at-least-32-bytes-for-hs256"


def test_console_opens_by_its_link_and_shows_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the store of the settings, even where they cannot sign; Ctrl-C ends it with status 130.

    What is done there is in the audit log of whoever keeps one on this machine, with who did it.
    """
    log = tmp_path / "log"
    (tmp_path / "sitecustomize.py").write_text(
        f"import logging; logging.basicConfig(filename={str(log)!r}, level=logging.INFO)"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    store = f"sqlite:///{tmp_path / 'store.db'}"
    gate = Gate(Settings(secret=SECRET, store=store))
    assert gate.ready(10)
    gate.sessions.start("alice", device="a laptop")
    process = begin("console", "--port", "0", STORE=store)
    try:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        found = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/enter\?code=[\w-]{43}", link)
        assert found is not None
        with httpx.Client(base_url=found[1], timeout=10) as client:
            assert client.get("/").status_code == 401
            assert client.get(link).status_code == 200
            assert "a laptop" in client.get("/subject", params={"sub": "alice"}).text
            page = client.get("/confirm", params={"action": "suspend", "sub": "alice"}).text
            form = re.search(
                r'<form method="post" action="([^"]*)">\s*<input type="hidden" name="form_token" value="(\w+)"', page
            )
            assert form is not None
            headers = {"sec-fetch-site": "same-origin"}
            assert client.post(unescape(form[1]), data={"form_token": form[2]}, headers=headers).status_code == 303
            assert client.get("/", headers={"host": "evil.example"}).status_code == 421
    finally:
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
        gate.close()
    assert process.returncode == 130, complaints
    assert "works once" in complaints
    assert "Traceback" not in complaints
    (line,) = [line for line in log.read_text().splitlines() if "jwtgate.audit" in line]
    assert "suspension done" in line and 'subject="alice"' in line
    assert f'actor="{operator()}"' in line


def test_console_refuses_what_others_could_read() -> None:
    """Another interface only where plain http is said aloud; and there must be something to look at."""
    for arguments, store, told in (
        (("--host", "0.0.0.0"), "sqlite:////tmp/nothing.db", "--plain-http"),
        (("--host", "0.0.0.0", "--plain-http"), "sqlite:////tmp/nothing.db", "every address"),
        (("--host", "::", "--plain-http"), "sqlite:////tmp/nothing.db", "every address"),
        (("--host", "no.such.host.invalid", "--plain-http"), "sqlite:////tmp/nothing.db", "cannot listen"),
        ((), "memory://", "memory of one process"),
        (("--port", "70000"), "memory://", "port"),
    ):
        done = run("console", *arguments, STORE=store)
        assert done.returncode == 2
        assert told in done.stderr
        assert "Traceback" not in done.stderr
