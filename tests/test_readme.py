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
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from servers import Server, free_port, valkey_binary

from jwtgate.settings import variables

README = Path(__file__).parent.parent / "README.md"


GROUPS = {
    "SECRET": "keys",
    "ISSUER": "tokens",
    "STORE": "store",
    "VALIDITY": "decision",
    "LOCATIONS": "where tokens are",
    "MODE": "requests",
    "LEASE": "view and lease",
    "ACCESS_TTL": "sessions",
    "ENDPOINTS": "endpoints",
    "DPOP": "bound tokens",
}
"""The first setting of each row of the README's table."""


def settings_table() -> str:
    """The table as the README must show it."""
    cells: dict[str, list[str]] = {}
    group = ""
    for each in variables():
        name = each.name.removeprefix("JWTGATE_")
        group = GROUPS.get(name, group)
        default = f" = `{each.default}`" if each.default else ""
        cells.setdefault(group, []).append(f"`{name}`{default}: {each.meaning.replace('|', chr(92) + '|')}")
    rows = [f"| {group} | {'<br>'.join(lines)} |" for group, lines in cells.items()]
    return "\n".join(["| | variable `JWTGATE_…` = default: meaning |", "|---|---|", *rows])


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


def call(
    url: str, token: str | None = None, method: str = "GET", form: dict[str, str] | None = None
) -> tuple[int, dict[str, object]]:
    """Status and JSON body."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = None if form is None else urlencode(form).encode()
    try:
        with urlopen(Request(url, body, headers, method=method), timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)


SERVERS = {
    "FastAPI()": ("app", ["uvicorn", "app:app", "--workers", "2", "--port"]),
    "Flask(__name__)": ("flask_app", ["gunicorn", "-w", "2", "-k", "gthread", "flask_app:app", "--bind"]),
}


def exported() -> dict[str, str]:
    """What the export lines beside the README's applications set, but for the secret and the store."""
    (section,) = [each for each in README.read_text().split("\n## ") if "JWTGATE_SECRET=" in each]
    lines = re.findall(r"^export (.*)$", section, re.MULTILINE)
    pairs = dict(re.findall(r"(JWTGATE_[A-Z]+)=([^ $]+)(?= |$)", " ".join(lines)))
    assert {"JWTGATE_STORE", "JWTGATE_ENDPOINTS", "JWTGATE_EXEMPT", "JWTGATE_LOCATIONS"} <= set(pairs)
    return {name: value for name, value in pairs.items() if name != "JWTGATE_STORE"}


@pytest.mark.server
@pytest.mark.parametrize("framework", SERVERS)
def test_readme_applications_log_in_refresh_and_log_out(framework: str, tmp_path: Path) -> None:
    """The applications of the README, word for word, on two real workers, called as its curl lines call them."""
    store = Server(valkey_binary()).start()
    module, command = SERVERS[framework]
    (tmp_path / f"{module}.py").write_text(code_with(framework))
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environ = {**os.environ, **exported(), "JWTGATE_SECRET": "s" * 32, "JWTGATE_STORE": store.url}
    place = str(port) if command[0] == "uvicorn" else f"127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", *command, place], cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: call(f"{address}/hello")[0] == 401)
        wait_for(lambda: login(address, "correct horse")[0] == 200)
        assert login(address, "wrong")[0] == 403
        status, pair, cookies = login(address, "correct horse")
        assert status == 200
        assert [cookie.partition("=")[0] for cookie in cookies] == ["__Host-access_token", "__Secure-refresh_token"]
        token = str(pair["access_token"])
        wait_for(lambda: call(f"{address}/hello", token) == (200, {"hello": "alice"}))  # an empty store heals first
        status, fresh = call(f"{address}/auth/refresh", method="POST", form={"refresh_token": str(pair["refresh_token"])})
        assert status == 200
        token = str(fresh["access_token"])
        assert {call(f"{address}/hello", token)[0] for _ in range(20)} == {200}
        assert call(f"{address}/auth/logout", token, "POST")[0] == 200
        assert {call(f"{address}/hello", token)[0] for _ in range(20)} == {401}
        assert call(f"{address}/auth/refresh", method="POST", form={"refresh_token": str(fresh["refresh_token"])})[0] == 400
        assert login(address, "correct horse")[0] == 200
    finally:
        process.terminate()
        process.wait(20)
        store.close()


def login(address: str, password: str) -> tuple[int, dict[str, object], list[str]]:
    """As the README's curl line does it: status, body, cookies."""
    body = json.dumps({"name": "alice", "password": password}).encode()
    request = Request(f"{address}/auth/login", body, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer), answer.headers.get_all("set-cookie") or []
    except HTTPError as refusal:
        with refusal:
            return refusal.code, {}, []


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
