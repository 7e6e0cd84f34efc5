"""Real servers in processes of their own, and ``wrk`` to load them. Loopback only; everything ends with its block."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.tokens import SECRET
from benchmarks.valkey import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["gunicorn", "loading", "requests_per_second", "serving", "uvicorn"]

START_SECONDS = 20.0
CONNECTIONS = 16


def uvicorn(factory: str, workers: int = 1, *, loop: str = "uvloop", http: str = "httptools") -> list[str]:
    """The command, but for the port. On uvicorn's fastest loop and parser, so that nothing slow hides the gate."""
    options = ("--workers", str(workers), "--loop", loop, "--http", http, "--no-access-log", "--log-level", "warning")
    return [sys.executable, "-m", "uvicorn", f"benchmarks.apps:{factory}", "--factory", *options, "--port"]


def gunicorn(factory: str, workers: int = 1, threads: int = 4) -> list[str]:
    """The command, but for the port."""
    options = ("--workers", str(workers), "--worker-class", "gthread", "--threads", str(threads), "--log-level", "warning")
    return [sys.executable, "-m", "gunicorn", f"benchmarks.apps:{factory}()", *options, "--bind"]


@contextmanager
def serving(command: list[str], store: str, token: str, **variables: str) -> Iterator[str]:
    """The base URL of the server, once it admits the token."""
    port = free_port()
    address = f"127.0.0.1:{port}" if "gunicorn" in command else str(port)
    surroundings = {**os.environ, "JWTGATE_SECRET": SECRET, "JWTGATE_STORE": store, **variables}
    folder = Path(__file__).parents[1]
    process = subprocess.Popen([*command, address], env=surroundings, cwd=folder, start_new_session=True)
    try:
        _await_admission(process, port, token)
        yield f"http://127.0.0.1:{port}"
    finally:
        _end(process)


def _await_admission(process: subprocess.Popen[bytes], port: int, token: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode}")
        try:
            if _status(port, token) == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("the server did not admit the token in time")


def _status(port: int, token: str) -> int:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", "/", headers={"Authorization": f"Bearer {token}"})
        return line.getresponse().status
    finally:
        line.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the master, and SIGKILL to what is left of its own process group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _wrk(url: str, token: str, seconds: int) -> list[str]:
    found = shutil.which("wrk")
    if found is None:
        raise SystemExit("this row needs wrk (Debian: apt-get install wrk)")
    return [found, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", f"Authorization: Bearer {token}", url]


def requests_per_second(url: str, token: str, seconds: int) -> float:
    """Of one run of wrk. Anything but 2xx is an error of the benchmark."""
    answer = subprocess.run(_wrk(url, token, seconds), capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in answer:
        raise AssertionError(answer)
    found = re.search(r"Requests/sec:\s+([\d.]+)", answer)
    if found is None:
        raise AssertionError(answer)
    return float(found[1])


@contextmanager
def loading(url: str, token: str, seconds: int) -> Iterator[None]:
    """wrk loads the URL while the block runs, ``seconds`` at the most."""
    process = subprocess.Popen(_wrk(url, token, seconds), stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield
        if process.poll() is not None:
            raise AssertionError("the load ended before the measurement")
    finally:
        process.kill()
        process.wait(10)
