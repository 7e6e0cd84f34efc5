"""The README says what the code does: its table of settings is the one in ``jwtgate.settings``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from servers import Server, free_port, valkey_binary

from jwtgate import Gate, Settings
from jwtgate.settings import variables

README = Path(__file__).parent.parent / "README.md"


def settings_table() -> str:
    """The table as the README must show it; later versions' settings are left out."""
    rows = ["| variable `JWTGATE_…` | default | meaning |", "|---|---|---|"]
    for each in variables():
        if each.is_available:
            name = each.name.removeprefix("JWTGATE_")
            default = f"`{each.default}`" if each.default else "–"
            rows.append(f"| `{name}` | {default} | {each.meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)


def test_readme_shows_every_setting_with_its_default_and_meaning() -> None:
    """A newcomer reads one table, and it is true."""
    shown = re.search(r"<!-- settings -->\n(.*)\n<!-- /settings -->", README.read_text(), re.DOTALL)
    assert shown is not None
    assert shown[1] == settings_table()


def test_readme_is_short() -> None:
    """Under 250 lines: it is read top to bottom."""
    assert len(README.read_text().splitlines()) < 250


def code_with(word: str) -> str:
    """The README's one Python block that holds ``word``."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (block,) = [each for each in blocks if word in each]
    return str(block)


def call(url: str, token: str | None = None, method: str = "GET") -> tuple[int, dict[str, object]]:
    """Status and JSON body."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urlopen(Request(url, headers=headers, method=method), timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)


SERVERS = {
    "FastAPI()": ("app", ["uvicorn", "app:app", "--workers", "2", "--port"]),
    "Flask(__name__)": ("flask_app", ["gunicorn", "-w", "2", "-k", "gthread", "flask_app:app", "--bind"]),
}


@pytest.mark.server
@pytest.mark.parametrize("framework", SERVERS)
def test_readme_applications_log_out(framework: str, tmp_path: Path) -> None:
    """The applications of the README, word for word, on two real workers: a call, a logout, a refusal."""
    store = Server(valkey_binary()).start()
    module, command = SERVERS[framework]
    (tmp_path / f"{module}.py").write_text(code_with(framework))
    port = free_port()
    address = f"127.0.0.1:{port}"
    environ = dict(os.environ, JWTGATE_SECRET="s" * 32, JWTGATE_STORE=store.url)
    place = str(port) if command[0] == "uvicorn" else address
    process = subprocess.Popen(
        [sys.executable, "-m", *command, place], cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        token = issue(store.url)
        wait_for(lambda: call(f"http://{address}/hello", token) == (200, {"hello": "alice"}))
        assert call(f"http://{address}/hello")[0] == 401
        assert call(f"http://{address}/logout", token, "POST") == (200, {"logged_out_everywhere": True})
        assert {call(f"http://{address}/hello", token)[0] for _ in range(20)} == {401}
        assert call(f"http://{address}/hello", issue(store.url)) == (200, {"hello": "alice"})
    finally:
        process.terminate()
        process.wait(20)
        store.close()


def issue(store: str) -> str:
    """A token, as an operator's script gets one."""
    gate = Gate(Settings(secret="s" * 32, store=store))
    try:
        return gate.issue("alice")
    finally:
        gate.close()


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Until it holds; a server that is not up yet refuses the connection."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("it never came true")
