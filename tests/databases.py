"""Real PostgreSQL and MariaDB servers for tests, each a child process on a free loopback port with its own folder.

They are not dependencies of the tests: ``missing`` says which is not installed. A fresh data folder is a copy of one that
the server's own installer made once in this run.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

from servers import closed_on_failure, free_port
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

START_SECONDS = 30.0

REQUIRE_ALL = "JWTGATE_TEST_REQUIRE_ALL"
"""Set to 1 where all servers are installed: a missing one fails instead of being skipped."""

IS_ROOT = os.geteuid() == 0


class Database:
    """One database server process, with an empty database ``jwtgate``.

    Attributes:
        port: stays the same over restarts.
        folder: its data and socket, removed by ``close``.
    """

    name: ClassVar[str]
    scheme: ClassVar[str]
    account: ClassVar[str | None]
    """Whom the server runs as where the tests run as root; None: as root."""

    end_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, *options: str, port: int | None = None) -> None:
        """Args: options: more of the command line. Does not start anything."""
        self.options = options
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="jwtgate-database-"))
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def missing(cls) -> str | None:
        """The program that is not installed."""
        raise NotImplementedError

    @property
    def user_info(self) -> str:
        """User and password, as in a URL."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """As ``JWTGATE_STORE`` takes it."""
        return self.url_at(self.port)

    def url_at(self, port: int, *, database: str = "jwtgate", user_info: str | None = None) -> str:
        """The same database through another port, such as a proxy's, or what differs from it."""
        return f"{self.scheme}://{user_info or self.user_info}@127.0.0.1:{port}/{database}"

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _template(self) -> Path:
        raise NotImplementedError

    def _is_ready(self) -> bool:
        """Whether it serves; makes the database ``jwtgate`` if it is not there."""
        raise NotImplementedError

    @property
    def data(self) -> Path:
        """The server's own folder."""
        return self.folder / "data"

    def start(self) -> Self:
        """Returns once the server serves."""
        if not self.data.exists():
            shutil.copytree(self._template(), self.data)
            self._give_away(self.folder)
        self.process = subprocess.Popen(
            self._command(), user=_user(self.account), stdout=subprocess.DEVNULL, stderr=self._log(), start_new_session=True
        )
        with closed_on_failure(self.kill):
            deadline = time.monotonic() + START_SECONDS
            while not self._is_ready():
                assert self.process.poll() is None, f"{self.name} ended with {self.process.returncode}: {self.log()}"
                assert time.monotonic() < deadline, f"{self.name} did not answer in {START_SECONDS} s: {self.log()}"
                time.sleep(0.05)
        return self

    def _give_away(self, folder: Path) -> None:
        if _user(self.account) is not None:
            subprocess.run(["chown", "-R", f"{self.account}:", str(folder)], check=True)
        self.data.chmod(0o700)

    def _log(self) -> int:
        return os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def log(self) -> str:
        """The end of what it wrote."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended, by itself either."""
        return self.process is not None and self.process.poll() is None

    def pids(self) -> list[int]:
        """Of the server and of its own children: PostgreSQL has a process for each connection."""
        assert self.process is not None
        return [self.process.pid, *_children(self.process.pid)]

    def pause(self) -> None:
        """Every process stands still; connections stay open."""
        for pid in self.pids():
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Ends ``pause``."""
        for pid in self.pids():
            _signal(pid, signal.SIGCONT)

    def stop(self) -> None:
        """An orderly end, which waits for no client."""
        if self.process is None:
            return
        self.resume()
        self.process.send_signal(self.end_signal)
        self._wait()

    def kill(self) -> None:
        """The end that nobody could prepare for (SIGKILL), of every process."""
        if self.process is None:
            return
        pids = self.pids()
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        self._wait()
        deadline = time.monotonic() + START_SECONDS
        while any(_is_running(pid) for pid in pids):
            assert time.monotonic() < deadline, f"{self.name} did not die"
            time.sleep(0.01)

    def _wait(self) -> None:
        assert self.process is not None
        self.process.wait(START_SECONDS)
        self.process = None

    def restart(self, *, keep_data: bool = True) -> None:
        """An orderly end and a new process on the same port."""
        self.stop()
        if not keep_data:
            shutil.rmtree(self.data)
        self.start()

    def close(self) -> None:
        """Ends the process and removes its folder. May be called twice."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


class PostgreSQL(Database):
    """``postgres``, which refuses to run as root."""

    name = "PostgreSQL"
    scheme = "postgresql+psycopg"
    account = "postgres"
    end_signal = signal.SIGINT  # fast: SIGTERM would wait for the clients

    @classmethod
    def missing(cls) -> str | None:
        return None if _found("postgres") and _found("initdb") else "postgres"

    @property
    def user_info(self) -> str:
        return "postgres"

    def _command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "shared_buffers": "16MB",
            "max_connections": 200,
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [_program("postgres"), "-D", str(self.data), *given, *self.options]

    def _template(self) -> Path:
        return _postgresql_template()

    def _is_ready(self) -> bool:
        import psycopg

        address = {"host": "127.0.0.1", "port": self.port, "user": "postgres", "connect_timeout": 2}
        try:
            with psycopg.connect(dbname="postgres", autocommit=True, **address) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'jwtgate'").fetchone():
                    connection.execute("CREATE DATABASE jwtgate")
        except psycopg.OperationalError:
            return False
        return True


class MariaDB(Database):
    """``mariadbd``, with nothing but a user and a database."""

    name = "MariaDB"
    scheme = "mariadb+pymysql"
    account = None

    @classmethod
    def missing(cls) -> str | None:
        return None if _found("mariadbd") and _found("mariadb-install-db") else "mariadbd"

    @property
    def user_info(self) -> str:
        return "root:word"

    def _command(self) -> list[str]:
        return [
            *(_program("mariadbd"), "--no-defaults", f"--datadir={self.data}", f"--port={self.port}"),
            *("--bind-address=127.0.0.1", f"--socket={self.folder}/socket", f"--pid-file={self.folder}/pid"),
            *("--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--max-connections=200"),
            *(("--user=root",) if IS_ROOT else ()),
            *self.options,
        ]

    def _template(self) -> Path:
        return _mariadb_template()

    def _is_ready(self) -> bool:
        import pymysql

        if not self._listens():
            return False
        words = [b"word", b""]
        for word in words:
            try:
                connection = pymysql.connect(
                    host="127.0.0.1", port=self.port, user="root", password=word, connect_timeout=2, autocommit=True
                )
            except pymysql.err.OperationalError:
                continue
            with connection, connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE IF NOT EXISTS jwtgate")
                if not word:
                    cursor.execute("CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY 'word'")
                    cursor.execute("GRANT ALL ON *.* TO root@'127.0.0.1'")
                    cursor.execute("ALTER USER root@localhost IDENTIFIED BY 'word'")
            return True
        return False


DATABASES: dict[str, type[Database]] = {"postgresql": PostgreSQL, "mariadb": MariaDB}
"""By the names that fixtures take."""

OWN: dict[str, str] = {"postgresql": "JWTGATE_TEST_POSTGRES", "mariadb": "JWTGATE_TEST_MARIADB"}
"""Environment variables with the URL of one's own database, used instead of starting one. Its tables ``jwtgate_…`` are
emptied before each test."""


def empty(url: str) -> None:
    """Takes every row out of the tables ``jwtgate_…``: faster than making them anew, and nothing of a test is left."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        for name in inspect(connection).get_table_names():
            if name.startswith("jwtgate_"):
                connection.exec_driver_sql(f"DELETE FROM {name}")


@cache
def _postgresql_template() -> Path:
    folder = _temporary()
    if _user("postgres") is not None:
        shutil.chown(folder, "postgres", "postgres")
    arguments = ["-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    _install([_program("initdb"), *arguments], "postgres", folder)
    return folder / "data"


@cache
def _mariadb_template() -> Path:
    folder = _temporary()
    arguments = [f"--datadir={folder}/data", f"--tmpdir={folder}", "--auth-root-authentication-method=normal", "--skip-test-db"]
    small = ["--innodb-log-file-size=8M", *(("--user=root",) if IS_ROOT else ())]
    _install([_program("mariadb-install-db"), "--no-defaults", *arguments, *small], None, folder)
    return folder / "data"


def _install(command: list[str], account: str | None, folder: Path) -> None:
    done = subprocess.run(command, user=_user(account), cwd=folder, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command[0]}: {(done.stdout + done.stderr).decode(errors='replace')[-2000:]}"


def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="jwtgate-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _user(account: str | None) -> str | None:
    return account if IS_ROOT else None


def _found(name: str) -> str | None:
    """On PATH, or where Debian puts it."""
    places = [os.environ.get("PATH", ""), "/usr/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin")))]
    return shutil.which(name, path=os.pathsep.join(places))


def _program(name: str) -> str:
    found = _found(name)
    assert found is not None, f"{name} is not installed"
    return str(Path(found).resolve())


def _children(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def _is_running(pid: int) -> bool:
    """A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # a connection that ended meanwhile
        pass
