"""An application behind the gate, two workers of a real server, that knows of the provider its issuer and nothing else."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import tempfile
import threading
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from beside import beside
from idp.providing import API, CLIENTS, IdentityProvider, wait_until
from servers import free_port

import jwtgate
from jwtgate.demo.lines import Answer, Line, Worker, open_lines
from jwtgate.demo.processes import ServerProcess
from jwtgate.demo.servers import App

if TYPE_CHECKING:
    from collections.abc import Mapping

START_SECONDS = 60.0
PAUSE_SECONDS = 0.01
"""Between two turns of a connection under load: other tests share the machine."""

WORKERS = 2
LEASE = "3"
"""Seconds: a machine that others starve must not make a test of keys one of lapses."""

LISTENING = {"ENDPOINTS": "/auth", "LOGOUT_AUDIENCE": ",".join(CLIENTS), "PRESET": "rfc9068"}
"""Settings of an application that hears of logouts, and takes only what is an access token by its profile."""

TESTS = Path(__file__).parents[1]


def _command(server: str, port: int) -> list[str]:
    if server == "uvicorn":
        options = [
            "--log-level",
            "warning",
            "--no-access-log",
            "--timeout-keep-alive",  # between two tests that share the site, on however busy a machine
            "900",
            "--timeout-worker-healthcheck",  # of a machine that is busy; five seconds are short
            "90",
            "--timeout-graceful-shutdown",
            "1",
        ]
        return ["uvicorn", "idp.asgi_app:app", "--workers", str(WORKERS), "--port", str(port), *options]
    options = ["--log-level", "warning", "--keep-alive", "900", "--graceful-timeout", "1"]
    return [
        "gunicorn",
        "-w",
        str(WORKERS),
        "-k",
        "gthread",
        "--threads",
        "8",
        "-b",
        f"127.0.0.1:{port}",
        *options,
        "idp.wsgi_app:app",
    ]


class Site:
    """One application. ``lines``: two connections to each worker for load; ``probes``: one more for questions."""

    def __init__(self, server: str, provider: IdentityProvider, store: str, **settings: str) -> None:
        """Args: server: uvicorn (FastAPI) or gunicorn (Flask). settings: without the prefix JWTGATE_."""
        self.folder = Path(tempfile.mkdtemp(prefix="jwtgate-site-"))
        self.port = free_port()
        given = {"ISSUER": provider.issuer, "AUDIENCE": API, "JWKS_HTTP": "1", "STORE": store, **settings}
        given = {"EXEMPT": "/worker,/kids", "LEASE": LEASE, **given}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("JWTGATE_")}
        path = (str(Path(jwtgate.__file__).parents[1]), str(TESTS), os.environ.get("PYTHONPATH", ""))
        environment = {
            **inherited,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "XDG_RUNTIME_DIR": str(self.folder),  # gunicorn puts a socket there
            **{f"JWTGATE_{name}": value for name, value in given.items()},
        }
        self.process = ServerProcess(server, [sys.executable, "-m", *_command(server, self.port)], environment, self.folder)
        self.app = App(server, self.port, self.process)
        self.lines: dict[Worker, list[Line]] = {}
        self.probes: tuple[Line, ...] = ()
        self._undo = ExitStack()

    def start(self) -> Self:
        """Returns once both workers answer; whether they admit anybody is another question."""
        self._undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._undo.callback(self.process.stop)
        try:
            self.process.start()
            wait_until(self._answers, "the application answers", START_SECONDS)
            opened = open_lines([self.app], WORKERS, 3)
        except BaseException:
            print(self.process.tail())
            self.close()
            raise
        for line in (line for lines in opened.values() for line in lines):
            self._undo.callback(line.close)
        self.lines = {worker: lines[:2] for worker, lines in opened.items()}
        self.probes = tuple(lines[2] for lines in opened.values())
        return self

    def _answers(self) -> bool:
        self.process.check()
        with (
            suppress(OSError, http.client.HTTPException),
            closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as connection,
        ):
            connection.request("GET", "/worker")
            return connection.getresponse().status == 200
        return False

    def close(self) -> None:
        """Nothing is left. May be called twice."""
        self._undo.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def log(self) -> str:
        """All that its processes wrote."""
        return self.process.log.read_text(errors="replace")

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return self.app.url

    def ask(self, token: str | None) -> list[Answer]:
        """The same of every worker."""
        return [line.ask(token) for line in self.probes]

    def statuses(self, token: str | None) -> set[int]:
        """What the workers say to it."""
        return {answer.status for answer in self.ask(token)}

    def subjects(self, token: str) -> list[tuple[int, str | None]]:
        """Status and whom the application sees, by worker."""
        return [(answer.status, json.loads(answer.body).get("subject")) for answer in self.ask(token)]

    def kids(self) -> list[set[str]]:
        """The keys that each worker knows."""
        return [set(json.loads(line.ask(None, "/kids").body)) for line in self.probes]

    def await_status(self, token: str, status: int, seconds: float = 30.0) -> set[int]:
        """Asks all workers until all say so; returns what else was said meanwhile."""
        said: set[int] = set()

        def is_said() -> bool:
            now = self.statuses(token)
            said.update(now)
            return now == {status}

        wait_until(is_said, f"every worker answers {status}", seconds)
        return said - {status}

    def await_refusal(self, token: str, seconds: float = 60.0) -> set[int]:
        """Until no worker admits it and each has said 401, once; returns what else was said.

        While a set of keys is older than a cool-down nobody knows whether a key is gone for good: 503 comes in between.
        """
        said: set[int] = set()
        refusing: set[int] = set()

        def is_refused() -> bool:
            statuses = [answer.status for answer in self.ask(token)]
            said.update(statuses)
            refusing.update(number for number, status in enumerate(statuses) if status == 401)
            return 200 not in statuses and len(refusing) == len(statuses)

        wait_until(is_refused, "every worker refuses it", seconds)
        return said - {401}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request under load. ``who``: the name of the token it showed."""

    worker: Worker
    who: str
    answer: Answer


class Load:
    """Requests one after the other on two connections to every worker, with every token that is in hand at the moment.

    Attributes:
        asked: all that was asked and answered.
    """

    def __init__(self, site: Site, tokens: Mapping[str, str]) -> None:
        self.asked: list[Asked] = []
        self._tokens = dict(tokens)
        self._turns: dict[int, int] = {}
        self._faults: list[Exception] = []
        self._end = threading.Event()
        self._lines = [line for opened in site.lines.values() for line in opened]

    def __enter__(self) -> Self:
        self._turns = dict.fromkeys(range(len(self._lines)), 0)
        with ExitStack() as stack:
            stack.enter_context(beside(*[partial(self._run, *each) for each in enumerate(self._lines)], end=self._end.set))
            self.await_turn()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.__exit__(*raised)
        if self._faults:
            raise self._faults[0]

    def show(self, **tokens: str) -> None:
        """These as well, from now on; returns once every connection has shown them."""
        self._tokens = {**self._tokens, **tokens}
        self.await_turn()

    def drop(self, *names: str) -> None:
        """Returns once none of them is on its way any more."""
        self._tokens = {name: token for name, token in self._tokens.items() if name not in names}
        self.await_turn()

    def await_turn(self) -> None:
        """Until every connection has shown every token that is in hand now."""
        before = dict(self._turns)
        wait_until(
            lambda: self._faults or all(self._turns[number] > turn + 1 for number, turn in before.items()), "a turn of the load"
        )

    def _run(self, number: int, line: Line) -> None:
        try:
            while not self._end.is_set():
                for who, token in self._tokens.items():
                    self.asked.append(Asked(line.worker, who, line.ask(token)))
                self._turns[number] += 1
                self._end.wait(PAUSE_SECONDS)
        except Exception as error:  # raised again where the load ends
            self._faults.append(error)

    # --- what is true of it

    def answers(self, who: str | None = None, since: float = 0.0) -> dict[Worker, list[Answer]]:
        """By worker, of requests that began at a monotonic moment or later."""
        found: dict[Worker, list[Answer]] = {}
        for each in list(self.asked):
            if who in (None, each.who) and each.answer.began_at >= since:
                found.setdefault(each.worker, []).append(each.answer)
        return found

    def statuses(self, who: str | None = None, since: float = 0.0) -> dict[int, int]:
        """Each status and how often it came."""
        counts: dict[int, int] = {}
        for answers in self.answers(who, since).values():
            for answer in answers:
                counts[answer.status] = counts.get(answer.status, 0) + 1
        return counts
