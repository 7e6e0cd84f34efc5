"""``jwtgate demo`` as a user runs it: what it shows, its exit status, and that nothing of it is left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by their environment in /proc"),
]

PATIENCE_SECONDS = 120


class Demo:
    """One run in a folder for temporary files of its own; every process it starts inherits a mark."""

    def __init__(self, folder, *options):
        self.folder = folder
        self.mark = f"DEMO_{uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jwtgate", "demo", *options],
            env={**os.environ, self.mark: "1", "TMPDIR": str(folder), "JWTGATE_MODE": "not for the demo"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def read_until(self, words):
        """What it prints up to the line with ``words``."""
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if words in line:
                return "".join(lines)
        raise AssertionError("".join(lines))

    def end(self):
        """What it still prints, and that nothing is left of it."""
        printed = self.process.communicate(timeout=PATIENCE_SECONDS)[0]
        assert self.left() == []
        assert list(self.folder.iterdir()) == []
        return printed

    def left(self):
        """The command lines of what runs and carries the mark."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes())
            except OSError:
                continue
        return found


@pytest.fixture
def start(tmp_path):
    demos = []

    def start(*options):
        demos.append(Demo(tmp_path, *options))
        return demos[-1]

    yield start
    for demo in demos:
        if demo.process.poll() is None:
            demo.process.terminate()
        demo.process.communicate(timeout=PATIENCE_SECONDS)


def test_demo_shows_every_revocation_and_the_outage_and_stays_up_until_ctrl_c(start):
    demo = start()
    printed = demo.read_until("Ctrl-C ends everything.")
    assert_everything_shown(printed)
    token, admin = (re.search(f"^{name}=(.+)$", printed, re.MULTILINE)[1] for name in ("TOKEN", "ADMIN"))
    first, second = re.search(r"FastAPI is at (\S+), Flask at (\S+)\. ", printed).groups()
    assert f'curl -i {second}/ -H "Authorization: Bearer $TOKEN"' in printed
    assert call(second, "/", token)[0] == 200
    assert call(first, "/revoke", token, {"sub": "alice"})[0] == 403
    assert 'Content-Type: application/json" -d \'{"sub": "alice"}\'' in printed
    status, receipt = call(first, "/revoke", admin, {"sub": "alice"})
    assert (status, receipt["effective_everywhere"]) == (200, True)
    assert call(second, "/", token)[0] == 401
    assert_doors_open(first, printed)
    demo.process.send_signal(signal.SIGINT)
    assert demo.end().endswith("Stopping.\n")
    assert demo.process.returncode == 0


def assert_everything_shown(printed):
    """All the rounds, the outage and the chat."""
    for title in ("one token (jti)", "one session (sid)", "one user (sub)", "everybody"):
        assert f"Revoked: {title}" in printed
    after = [line for line in printed.splitlines() if "and after the receipt" in line]
    assert [line for line in after if "never" not in line] == [] and len(after) == 4 * 4
    assert printed.count("effective_everywhere=True") == 4
    assert printed.count("a token issued afterwards is admitted by 4 of 4 workers") == 4
    assert printed.count("revoked token admitted: never") == 4
    assert "asked for after it: 20 of 20 answers are 401" in printed
    assert re.search(r"chat, phone, ended at Flask \d+: closed 4401 after \d+ ms; laptop: still open, and heard by", printed)
    assert re.search(r"Held: \d+ requests to four workers", printed)


def test_demo_with_a_provider_rotates_its_keys_and_logs_users_out_of_every_worker(start):
    demo = start("--idp", "--once")
    printed = demo.end()
    assert_ended_well(demo, printed)
    assert "a small OpenID provider of this demo" in printed
    assert printed.count("refused: none") == 4
    for title in ("alice's session on her phone", "bob's session"):
        assert f"Revoked: {title}, at the identity provider" in printed
    assert "ms AFTER" not in printed
    assert printed.count("effective_everywhere=True, workers=4") == 2
    assert printed.count("a token issued afterwards is admitted by 4 of 4 workers") == 2
    assert re.search(r"Held: \d+ requests to four workers", printed)


def assert_ended_well(demo, printed):
    """Raises: TimeoutError: all that went wrong is that a store of a busy machine was late, and a revocation got 503."""
    faults = re.findall(r"^  - (.*)$", printed, re.MULTILINE)
    if faults and "no answer in time" in printed and all(text.endswith("answered 503 to the revocation") for text in faults):
        raise TimeoutError(printed)
    assert demo.process.returncode == 0, printed


@pytest.mark.parametrize(("moment", "number"), [("Starting Valkey", signal.SIGTERM), ("Revoked: one session", signal.SIGINT)])
def test_interrupted_demo_leaves_nothing_running(start, moment, number):
    demo = start("--once")
    demo.read_until(moment)
    assert demo.left()
    demo.process.send_signal(number)
    printed = demo.end()
    assert printed.endswith("Interrupted; nothing is left running.\n")
    assert demo.process.returncode == 130


def assert_doors_open(first, printed):
    """The chat's page, which nothing from elsewhere gets into; and the console, once."""
    assert f"  {first}/chat\n" in printed
    page = urlopen(f"{first}/chat", timeout=10)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert b"End one, and watch it close" in page.read()
    link = re.search(r"^  (http://\S+/enter\?code=\S+)$", printed, re.MULTILINE)[1]
    assert printed.count(link) == 2
    assert urlopen(link, timeout=10).status == 200
    with pytest.raises(HTTPError, match="403"):
        urlopen(link, timeout=10)


def call(url, path, token, posted=None):
    connection = HTTPConnection(urlsplit(url).netloc, timeout=10)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("GET" if posted is None else "POST", path, posted and json.dumps(posted), headers)
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body
