"""The provider of these tests is there or is missed loudly, and never outlives the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from idp import node
from idp.providing import IdentityProvider, wait_until

TESTS = Path(__file__).parents[1]

STARTED = """
from idp.providing import IdentityProvider
provider = IdentityProvider().start()
print(provider.process.pid, provider.folder, flush=True)
input()
"""


@pytest.mark.server
def test_provider_ends_with_the_run_that_is_killed() -> None:
    """Nobody is left to end it: its standard input closes."""
    with IdentityProvider():
        """Skips here, and loudly, where it cannot run at all."""
    path = os.pathsep.join((str(TESTS), os.environ.get("PYTHONPATH", ""), *filter(None, sys.path)))
    run = subprocess.Popen(
        [sys.executable, "-c", STARTED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    )
    assert run.stdout is not None
    with run:
        pid, folder = run.stdout.readline().decode().split()
        os.kill(int(pid), 0)
        run.kill()
    wait_until(lambda: not _runs(int(pid)), "the provider ends")
    subprocess.run(["rm", "-r", folder], check=True)  # what a killed run could not remove


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def test_old_node_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skipped with one line that says what to install; where everything must be, it fails."""
    monkeypatch.setattr(node, "_nodes", lambda: iter(["old", "ancient"]))
    monkeypatch.setattr(node, "_version", {"old": (20, 18), "ancient": (8, 1)}.__getitem__)
    monkeypatch.delenv("JWTGATE_TEST_REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"NOT TESTED: .*apt-get install nodejs npm"):
        node.node.__wrapped__()
    monkeypatch.setenv("JWTGATE_TEST_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="NOT TESTED"):
        node.node.__wrapped__()


def test_lock_file_names_no_place_to_download_from() -> None:
    """Each package by its digest alone, from whatever registry npm is told to ask."""
    text = (node.HERE / "package-lock.json").read_text()
    assert '"resolved"' not in text and text.count('"integrity"') > 20
