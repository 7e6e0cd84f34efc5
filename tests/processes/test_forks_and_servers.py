"""Forks with threads running, ``gunicorn --preload``, SIGTERM under load (threats.md 28)."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from beside import beside
from processes.gates import heal, started, worker_names
from processes.world import SECRET, child, ended, python_path, wait_until
from servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers import Server

pytestmark = pytest.mark.server

LEASE = 0.5


@pytest.mark.parametrize("view_limit", [1000, 0])
def test_forked_children_start_from_nothing_and_decide_rightly(valkey: Server, tmp_path: Path, view_limit: int) -> None:
    """Twelve forks while threads hold the gate's locks and connections; with and without a view that answers."""
    heal(valkey)
    settings = {"secret": SECRET, "store": valkey.url, "lease": LEASE, "view_limit": view_limit, "cache_size": 4}
    process = subprocess.run(
        [sys.executable, "-m", "processes.forking", json.dumps(settings)],
        env={**os.environ, "PYTHONPATH": python_path()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stdout.decode() + process.stderr.decode()[-3000:]
    wait_until(lambda: not worker_names(valkey), 5.0, "all have deregistered")


class Client:
    """Asks one server, over a new connection each time so that every worker gets its share."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, token: str) -> tuple[int, Any]:
        """Status and answer; 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()
        return response.status, json.loads(body)


@contextmanager
def serving(module: str, *arguments: str, url: str, log: Path, **environment: str) -> Iterator[Any]:
    """A real server process, with the settings in its environment."""
    settings = {"JWTGATE_SECRET": SECRET, "JWTGATE_STORE": url, "JWTGATE_LEASE": str(LEASE), "JWTGATE_HANDLES": "tenant"}
    with log.open("wb") as stderr:
        process = child(module, *arguments, stderr=stderr, environment={**settings, **environment})
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            ended(process)


COMMANDS = {
    "gunicorn --preload": ("gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:{}", "processes.preloaded:wsgi"),
    "gunicorn gthread": (
        *("gunicorn", "--workers", "2", "--threads", "4", "--bind", "127.0.0.1:{}"),
        "processes.preloaded:wsgi",
    ),
    "gunicorn gevent": (
        *("gunicorn", "--worker-class", "gevent", "--workers", "2", "--bind", "127.0.0.1:{}"),
        "processes.preloaded:wsgi",
    ),
    "uvicorn": (
        "uvicorn",
        "--workers",
        "2",
        "--timeout-worker-healthcheck",
        "90",
        "--host",
        "127.0.0.1",
        "--port",
        "{}",
        "processes.preloaded:asgi",
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_workers_of_real_servers_follow_and_leave(valkey: Server, tmp_path: Path, command: str) -> None:
    """Each worker follows by itself; a revocation reaches all; SIGTERM under load ends cleanly and deregisters."""
    heal(valkey)
    port = free_port()
    log = tmp_path / "log"
    preloads = command == "gunicorn --preload"
    module, *arguments = (part.format(port) for part in COMMANDS[command])
    with started(valkey.url, lease=LEASE) as gate:
        tokens = [gate.issue("alice") for _ in range(4)]
        more = {"PRELOADED_TOKEN": tokens[0]} if preloads else {}
        with serving(module, *arguments, url=valkey.url, log=log, **more) as process:
            client = Client(port)
            seen: dict[int, dict[str, Any]] = {}

            def both_seen() -> bool:
                assert process.poll() is None, log.read_text()
                status, answer = client.ask(tokens[1])
                if status == 200 and answer["live"]:
                    seen[answer["pid"]] = answer
                return len(seen) == 2

            wait_until(both_seen, 60.0, f"both workers have answered: {seen} {log.read_text()}")
            names = {answer["worker"] for answer in seen.values()}
            assert len(names) == 2
            assert names <= worker_names(valkey)
            if preloads:
                masters = {(answer["loaded_by"], answer["loaded_as"]) for answer in seen.values()}
                assert {pid for pid, _ in masters} == {process.pid}
                assert {name for _, name in masters} <= worker_names(valkey) - names
            assert gate.revoke(token=tokens[1], wait=True).effective_everywhere
            assert {client.ask(tokens[1])[0] for _ in range(20)} == {401}

            statuses = ended_under_load(client, process, tokens[2])
            assert set(statuses) <= {200, 0, 503}, set(statuses)
            assert 503 not in statuses, f"{statuses.count(503)} of {len(statuses)} calls failed"
            assert process.returncode in (0, -signal.SIGTERM)
        own = {gate.follower.worker_name()}
        wait_until(lambda: worker_names(valkey) <= own, 3.0, f"all have deregistered: {worker_names(valkey)}")
    assert "Traceback" not in log.read_text(), log.read_text()


def ended_under_load(client: Client, process: Any, token: str) -> list[int]:
    """The statuses that four busy clients saw until the server had ended."""
    statuses: list[int] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            statuses.append(client.ask(token)[0])

    with beside(*[ask] * 4, end=is_over.set):
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        ended(process)
    return statuses
