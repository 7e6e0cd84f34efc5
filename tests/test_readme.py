"""The README says what the code does: its table of settings is the one in ``jwtgate.settings``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from live.talking import Talker
from servers import free_port

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
    "get_wsgi_application()": ("django_app", ["gunicorn", "-w", "2", "-k", "gthread", "django_app:application", "--bind"]),
}


def exported() -> dict[str, str]:
    """What the export lines beside the README's applications set, but for the secret and the store."""
    (section,) = [each for each in README.read_text().split("\n## ") if "JWTGATE_SECRET=" in each]
    lines = re.findall(r"^export (.*)$", section, re.MULTILINE)
    pairs = dict(re.findall(r"(JWTGATE_[A-Z]+)=([^ $]+)(?= |$)", " ".join(lines)))
    assert {"JWTGATE_ENDPOINTS", "JWTGATE_EXEMPT", "JWTGATE_LOCATIONS"} == set(pairs)
    return pairs


@dataclass
class Readme:
    """Its applications at work, word for word, each on two workers; their addresses in the order of ``SERVERS``."""

    addresses: list[str]
    environ: dict[str, str]

    def hello(self, token: str | None) -> list[tuple[int, object]]:
        """What each of them answers."""
        return [call(f"{address}/hello", token) for address in self.addresses]


@pytest.fixture(scope="module")
def readme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readme]:
    """All three on one store."""
    folder = tmp_path_factory.mktemp("readme")
    environ = {**os.environ, **exported(), "JWTGATE_SECRET": "s" * 32, "JWTGATE_STORE": f"sqlite:///{folder}/gate.db"}
    processes, addresses = [], []
    try:
        for framework, (module, command) in SERVERS.items():
            (folder / f"{module}.py").write_text(code_with(framework))
            port = free_port()
            place = str(port) if command[0] == "uvicorn" else f"127.0.0.1:{port}"
            run = [sys.executable, "-m", *command, place]
            quiet = subprocess.DEVNULL
            processes.append(subprocess.Popen(run, cwd=folder, env=environ, stdout=quiet, stderr=quiet))
            addresses.append(f"http://127.0.0.1:{port}")
        for address in addresses:
            wait_for(lambda address=address: call(f"{address}/hello")[0] == 401, 60)
        wait_for(lambda: login(addresses[0], "correct horse")[0] == 200)
        yield Readme(addresses, environ)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


@pytest.mark.server
def test_readme_application_logs_in_refreshes_and_logs_out(readme: Readme) -> None:
    """Called as its curl lines call it."""
    address = readme.addresses[0]
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


@pytest.mark.server
def test_one_command_throws_a_user_out_of_all_four_applications(readme: Readme) -> None:
    """FastAPI, Flask, Django and the chat, by the command line of the README."""
    token = str(login(readme.addresses[0], "correct horse")[1]["access_token"])
    wait_for(lambda: readme.hello(token) == [(200, {"hello": "alice"})] * 3)
    chat = Talker.call(int(readme.addresses[0].rpartition(":")[2]), "/chat", token)
    assert chat.answer("hello") == "alice: hello"
    command = [sys.executable, "-m", "jwtgate", "revoke", "--sub", "alice", "--wait"]
    subprocess.run(command, env=readme.environ, check=True, capture_output=True)
    assert chat.wait_closed(3) == 4401
    assert [status for status, _ in readme.hello(token)] == [401, 401, 401]
    chat.leave()


def login(address: str, password: str) -> tuple[int, dict[str, object], list[str]]:
    """As the README's curl line does it: status, body, cookies."""
    body = urlencode({"username": "alice", "password": password}).encode()
    try:
        with urlopen(Request(f"{address}/auth/login", body), timeout=10) as answer:
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
