"""A real PgBouncer before a real PostgreSQL, for tests: a child process on a free loopback port with its own folder.

It is no dependency of the tests: ``required_pooler`` says where it is not installed. Its databases ``session``, ``transaction``
and ``statement`` are all the one behind it, pooled in that mode.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psycopg
import pytest
from databases import IS_ROOT, REQUIRE_ALL
from servers import closed_on_failure, free_port

START_SECONDS = 10.0
ACCOUNT = "postgres"
USERS = ("postgres", "strict_one")
MODES = ("session", "transaction", "statement")


def _binary() -> str | None:
    return shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def required_pooler() -> None:
    """Skips loudly where it is not installed, fails where everything must be."""
    if _binary() is not None:
        return
    text = "PGBOUNCER NOT TESTED: no pgbouncer on this machine"
    assert os.environ.get(REQUIRE_ALL) != "1", text
    pytest.skip(text)


class PgBouncer:
    """One process.

    Attributes:
        port: stays the same over restarts.
    """

    def __init__(self, behind: int, *, size: int = 3, host: str = "127.0.0.1", database: str = "jwtgate") -> None:
        """Args: behind: the server's port. size: connections to the server, of each mode. Does not start anything."""
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="jwtgate-pooler-"))
        self.process: subprocess.Popen[bytes] | None = None
        (self.folder / "users").write_text("".join(f'"{user}" ""\n' for user in USERS))
        lines = [f"{mode} = host={host} port={behind} dbname={database} pool_mode={mode}" for mode in MODES]
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": self.folder / "users",
            "admin_users": "postgres",
            "default_pool_size": size,
            "server_login_retry": 1,
        }
        lines = ["[databases]", *lines, "[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items())]
        (self.folder / "ini").write_text("\n".join(lines) + "\n")
        if IS_ROOT:
            subprocess.run(["chown", "-R", f"{ACCOUNT}:", str(self.folder)], check=True)

    def url(self, mode: str, user_info: str = "postgres") -> str:
        """As ``JWTGATE_STORE`` takes it."""
        return f"postgresql+psycopg://{user_info}@127.0.0.1:{self.port}/{mode}"

    def start(self) -> Self:
        """Returns once it listens."""
        binary = _binary()
        assert binary is not None
        self.process = subprocess.Popen(
            [binary, str(self.folder / "ini")],
            user=ACCOUNT if IS_ROOT else None,  # it refuses to run as root
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with closed_on_failure(self.stop):
            until = time.monotonic() + START_SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                except OSError:
                    assert self.process.poll() is None and time.monotonic() < until, "pgbouncer does not run"
                    time.sleep(0.01)
                else:
                    break
        return self

    def client(self, mode: str) -> psycopg.Connection:
        """Somebody else's, of the same user."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="postgres", dbname=mode, autocommit=True, prepare_threshold=None
        )

    def say(self, command: str) -> None:
        """On its console: PAUSE, RESUME, RELOAD."""
        with psycopg.ClientCursor(self.client("pgbouncer")) as cursor:
            cursor.execute(command.encode())
        cursor.connection.close()

    def stop(self) -> None:
        """At once."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(START_SECONDS)
            self.process = None

    def close(self) -> None:
        """Ends the process and removes its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()
