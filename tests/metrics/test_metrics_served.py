"""Metrics of real servers with two workers each, spawned or forked: a scrape that reaches any tells the numbers of all."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from processes.world import ended, python_path, wait_until
from prometheus_client.parser import text_string_to_metric_families
from servers import free_port
from shells import SECRET, token_of_claims

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.server

COMMANDS = {
    "uvicorn": (
        "uvicorn",
        "--workers",
        "2",
        "--timeout-worker-healthcheck",
        "90",
        "--log-level",
        "warning",
        "--port",
        "{}",
        "metrics.scraped:asgi",
    ),
    "gunicorn": (
        *("gunicorn", "--preload", "--workers", "2", "--log-level", "warning"),
        *("--bind", "127.0.0.1:{}", "metrics.scraped:wsgi"),
    ),
}


class Serving:
    """One server and its folder."""

    def __init__(self, name: str, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        module, *arguments = (part.format(self.port) for part in COMMANDS[name])
        environment = {
            **os.environ,
            "PYTHONPATH": python_path(),
            "PROMETHEUS_MULTIPROC_DIR": str(folder),
            "JWTGATE_SECRET": SECRET,
            "JWTGATE_EXEMPT": "/metrics,/metrics/*",
        }
        self.process = subprocess.Popen([sys.executable, "-m", module, *arguments], env=environment)

    def get(self, path: str, token: str | None = None) -> tuple[int, str]:
        """On a connection of its own: any worker's."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def answers(self) -> bool:
        """Whether it does by now."""
        assert self.process.poll() is None
        try:
            return self.get("/metrics/")[0] == 200
        except OSError:
            return False

    def told(self) -> dict[str, float]:
        """A scrape: requests by verdict, and how many gates there are."""
        families = text_string_to_metric_families(self.get("/metrics/")[1])
        samples = [sample for family in families for sample in family.samples]
        told = {sample.labels["verdict"]: 0.0 for sample in samples if sample.name == "jwtgate_requests_total"}
        for sample in samples:
            if sample.name == "jwtgate_requests_total":
                told[sample.labels["verdict"]] += sample.value
        return {**told, "gates": next(sample.value for sample in samples if sample.name == "jwtgate_gates")}

    def stop(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        ended(self.process)


def test_scrape_of_any_worker_tells_all_and_forgets_none(tmp_path: Path) -> None:
    """Also what one had counted that was killed, but for the second since it last told, while another takes its place."""
    with ExitStack() as stack:
        servers = {}
        for name in COMMANDS:
            servers[name] = Serving(name, tmp_path / name)
            stack.callback(servers[name].stop)
        for name, server in servers.items():
            wait_until(server.answers, 30.0, f"{name} answers")
            by_worker: dict[str, int] = {}
            token, refused = token_of_claims(sub="alice", jti="7"), 0
            while len(by_worker) < 2 or sum(by_worker.values()) < 20:
                status, pid = server.get("/", token)
                assert status == 200
                by_worker[pid] = by_worker.get(pid, 0) + 1
            for _ in range(4):
                refused += server.get("/", "x")[0] == 401
            expected = {"admitted": sum(by_worker.values()), "refused": refused, "gates": 2}

            def is_all_told(server: Serving = server, expected: dict[str, float] = expected) -> bool:
                told = [server.told() for _ in range(4)]
                return all(expected.items() <= each.items() for each in told)

            wait_until(is_all_told, 10.0, f"{name}: any worker tells {expected}, not {server.told()}")
            os.kill(int(next(iter(by_worker))), signal.SIGKILL)
            wait_until(server.answers, 10.0, f"{name} answers again")
            wait_until(is_all_told, 15.0, f"{name} forgets nothing of {expected}: {server.told()}")
