"""Two real worker processes under one configuration, on one store: uvicorn with Starlette, gunicorn with Flask.

A worker is told everything by its environment. Pairs are started when a row first asks for their configuration and live on
for the rows that ask for the same.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from servers import Server, valkey_binary
from strategies.database import OPERATOR, PASSWORD, Database

import jwtgate
from jwtgate import Gate, Receipt, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

START_SECONDS = 40.0
TESTS = Path(__file__).parents[1]
SECRET = "the secret of an application, of more than thirty-two bytes"
OPEN_PAIRS = 2
MIXED = ("uvicorn", "gunicorn")


@dataclass(frozen=True)
class Answer:
    """What came back over a connection. ``headers``: lower-case name to every value, in order."""

    status: int
    headers: Mapping[str, list[str]]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, headers: Mapping[str, str], body: bytes | None
) -> Answer:
    """One request on a connection that may live on."""
    connection.request(method, path, body=body, headers=dict(headers))
    response = connection.getresponse()
    found: dict[str, list[str]] = {}
    for name, value in response.getheaders():
        found.setdefault(name.lower(), []).append(value)
    return Answer(response.status, found, response.read())


@dataclass
class Device:
    """One login, as the device that made it holds it.

    Attributes:
        cookies: those that it was given; sent instead of the header where there are any.
        address: its own, of this machine's many.
    """

    access_token: str
    refresh_token: str = ""
    sid: str = ""
    subject: str = ""
    cookies: dict[str, str] = field(default_factory=dict)
    address: str = "127.0.0.1"

    @property
    def headers(self) -> dict[str, str]:
        """What it shows."""
        if self.cookies:
            return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        return {"Authorization": f"Bearer {self.access_token}"}

    def take(self, answer: Answer) -> Self:
        """Keeps what an answer brings: tokens in its body, cookies."""
        shown = answer.json
        self.access_token = shown.get("access_token", self.access_token)
        self.refresh_token = shown.get("refresh_token", self.refresh_token)
        self.sid = shown.get("session_id", self.sid)
        for line in answer.headers.get("set-cookie", []):
            name, _, rest = line.partition("=")
            self.cookies[name] = rest.partition(";")[0]
        return self


class Worker:
    """One server process with one worker in it. ``name``: uvicorn or gunicorn.

    It is handed a socket that listens already: no other program can take the port while it starts, or starts again.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted ones inherit it
        self.port = int(self.socket.getsockname()[1])
        self.folder = folder
        self.log = folder / f"{name}-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, environ: Mapping[str, str]) -> None:
        """Returns at once; ``wait`` waits."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("JWTGATE_", "APP_"))}
        path = (str(Path(jwtgate.__file__).parents[1]), str(TESTS), os.environ.get("PYTHONPATH", ""))
        own = {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "XDG_RUNTIME_DIR": str(self.folder),  # gunicorn puts a socket there
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self._command()],
                env={**inherited, **own, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(self.socket.fileno(),),
                start_new_session=True,
            )

    def _command(self) -> list[str]:
        place = self.socket.fileno()
        if self.name == "uvicorn":
            options = ["--log-level", "warning", "--no-access-log", "--timeout-keep-alive", "60"]
            return ["uvicorn", "strategies.asgi_app:app", "--fd", str(place), "--timeout-graceful-shutdown", "1", *options]
        options = ["--log-level", "warning", "--keep-alive", "60", "--graceful-timeout", "1", "--threads", "8"]
        return ["gunicorn", "-w", "1", "-k", "gthread", "-b", f"fd://{place}", *options, "strategies.wsgi_app:app"]

    def wait(self) -> None:
        """Until it answers and its view is live. A request that comes too early waits in the socket's queue."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if self.ask("GET", "/status", seconds=1.0).json["live"]:
                    return
            except (OSError, http.client.HTTPException):
                pass
            assert self.process is not None and self.process.poll() is None, f"{self.name} ended:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"{self.name} is not live:\n{self.log.read_text()}"
            time.sleep(0.03)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """May be called twice. A killed gunicorn must not leave its worker behind: the signal goes to both."""
        if self.process is None:
            return
        try:
            if number == signal.SIGTERM:
                self.process.terminate()
            else:
                os.killpg(self.process.pid, number)
            self.process.wait(15)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    def connect(self, address: str = "127.0.0.1", seconds: float = 15.0) -> http.client.HTTPConnection:
        """A new connection, to be closed by the caller."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds, source_address=(address, 0))

    def ask(
        self,
        method: str,
        path: str,
        device: Device | None = None,
        *,
        data: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        address: str = "127.0.0.1",
        seconds: float = 15.0,
    ) -> Answer:
        """One request on a connection of its own. Args: data: sent as JSON. address: where there is no device that has one."""
        sent = {**(device.headers if device is not None else {}), **(headers or {})}
        body = None
        if data is not None:
            body, sent["Content-Type"] = json.dumps(data).encode(), "application/json"
        if form is not None:
            body, sent["Content-Type"] = urlencode(form).encode(), "application/x-www-form-urlencoded"
        connection = self.connect(address if device is None else device.address, seconds)
        try:
            return ask(connection, method, path, sent, body)
        finally:
            connection.close()

    def status(self) -> dict[str, Any]:
        """What it knows."""
        return self.ask("GET", "/status").json

    def operate(self, call: str, *arguments: Any, **named: Any) -> Receipt:
        """An operator calls a method of this worker's gate."""
        said = {"call": call, "arguments": arguments, "named": named}
        answer = self.ask("POST", "/operate", data=said, headers={"X-Operator": OPERATOR})
        assert answer.status == 200, (answer.status, answer.body, self.log.read_text()[-2000:])
        return Receipt(**answer.json)


class Pair:
    """Two workers under one configuration, the application's database, and the operator's own gate in this process."""

    def __init__(self, store: Server, prefix: str, names: tuple[str, str], more: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jwtgate-pair-"))
        self.store = store
        self.prefix = prefix
        self.database = Database(self.folder / "users.json")
        self.environ = {
            "JWTGATE_SECRET": SECRET,
            "JWTGATE_STORE": store.url,
            "JWTGATE_PREFIX": prefix,
            "JWTGATE_EXEMPT": "/login,/refresh,/operate,/status",
            "APP_DATABASE": str(self.database.path),
            **more,
        }
        self.workers = tuple(Worker(name, self.folder) for name in names)
        self.users = 0
        self.gate = self._gate()

    def _gate(self) -> Gate:
        return Gate(Settings.from_env({name: text for name, text in self.environ.items() if name.startswith("JWTGATE_")}))

    def start(self) -> Self:
        """Both at once; neither is left where one fails."""
        try:
            for worker in self.workers:
                worker.start(self.environ)
            for worker in self.workers:
                worker.wait()
        except BaseException:
            self.close()
            raise
        return self

    def restart(self, **more: str) -> None:
        """Both, under a configuration that has changed."""
        self.stop()
        self.environ.update(more)
        self.gate = self._gate()
        self.start()

    def stop(self) -> None:
        """The processes and the operator's gate."""
        self.gate.close()
        for worker in self.workers:
            if worker.process is not None:
                worker.process.terminate()
        for worker in self.workers:
            worker.stop()

    def close(self) -> None:
        """Nothing is left. May be called twice."""
        self.stop()
        for worker in self.workers:
            worker.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def operate(self, call: str, *arguments: Any, **named: Any) -> Receipt:
        """An operator's script, in a process that serves nobody."""
        receipt = reduce(getattr, call.split("."), self.gate)(*arguments, **{"wait": True, **named})  # type: ignore[operator]
        assert isinstance(receipt, Receipt)
        return receipt

    def user(self, name: str, **row: Any) -> str:
        """A new user of the application, by a name that no other test knows."""
        self.users += 1
        whole = f"{name}-{self.users}"
        self.database.put(whole, **row)
        return whole

    def log_in(self, user: str, worker: int = 0, *, device: str = "phone", address: str = "127.0.0.1") -> Device:
        """A login that succeeds."""
        answer = self.attempt(user, worker, device=device, address=address)
        assert answer.status == 200, (answer.status, answer.body, self.workers[worker].log.read_text()[-2000:])
        return Device("", subject=user, address=address).take(answer)

    def attempt(self, user: str, worker: int = 0, *, device: str = "phone", address: str = "127.0.0.1") -> Answer:
        """A login."""
        form = {"user": user, "password": PASSWORD, "device": device}
        return self.workers[worker].ask("POST", "/login", data=form, address=address)

    def devices(self, user: str) -> tuple[Device, Device]:
        """A phone that logged in at one worker and a laptop that did at the other."""
        return self.log_in(user, 0, device="phone"), self.log_in(user, 1, device="laptop")

    def refresh(self, device: Device, worker: int = 0) -> int:
        """The status; on 200 the device has its new pair."""
        answer = self.workers[worker].ask("POST", "/refresh", data={"refresh_token": device.refresh_token})
        if answer.status == 200:
            device.take(answer)
        return answer.status


class House:
    """One Valkey and the pairs on it, each under a prefix of its own."""

    def __init__(self) -> None:
        self.store = Server(valkey_binary()).start()
        self.pairs: dict[Any, Pair] = {}
        self.opened = 0

    def pair(self, *, workers: tuple[str, str] = MIXED, **settings: str) -> Pair:
        """Running. Args: settings: without the prefix JWTGATE_; a name with APP_ is the application's own."""
        more = {name if name.startswith("APP_") else f"JWTGATE_{name}": value for name, value in settings.items()}
        key = (workers, tuple(sorted(more.items())))
        pair = self.pairs.pop(key, None) or self._opened(workers, more)
        self.pairs[key] = pair
        return pair

    def own_pair(self, **settings: str) -> Pair:
        """For a row that stops workers or changes what they are told; to be closed by the caller."""
        self.opened += 1
        pair = Pair(self.store, f"own{self.opened}", MIXED, {f"JWTGATE_{name}": value for name, value in settings.items()})
        settle(pair.environ)
        return pair.start()

    def _opened(self, workers: tuple[str, str], more: Mapping[str, str]) -> Pair:
        while len(self.pairs) >= OPEN_PAIRS:
            self.pairs.pop(next(iter(self.pairs))).close()
        self.opened += 1
        pair = Pair(self.store, f"pair{self.opened}", workers, more)
        settle(pair.environ)
        return pair.start()

    def close(self) -> None:
        """Everything."""
        for pair in self.pairs.values():
            pair.close()
        self.store.close()


def settle(environ: Mapping[str, str]) -> None:
    """A new history takes two leases to be believed; a process with a short lease waits for it, so that workers need not."""
    names = ("JWTGATE_SECRET", "JWTGATE_STORE", "JWTGATE_PREFIX")
    gate = Gate(Settings.from_env({**{name: environ[name] for name in names}, "JWTGATE_LEASE": "0.1"}))
    try:
        deadline = time.monotonic() + 10.0
        gate.ready(10.0)
        while not gate.store.workers()[0].is_settled:
            assert time.monotonic() < deadline, "the store's history is not settled"
            time.sleep(0.02)
    finally:
        gate.close()
