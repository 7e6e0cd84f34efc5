"""Sender-constrained tokens on real servers: several processes, one store, real TLS."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from beside import beside, together
from certificates import written
from conftest import emptied
from holders import SECRET, URL, Holder, token
from servers import free_port
from shells import Answer, Sent, wsgi_application
from test_shells_served import COMMANDS, exchange
from werkzeug.serving import make_server

from jwtgate import Gate, Settings
from jwtgate.wsgi import JWTGateMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Server

pytestmark = pytest.mark.server

TESTS = Path(__file__).parent
START_SECONDS = 30.0
RACERS = 16


class Worker:
    """One server process before the shared store."""

    def __init__(self, name: str, store: str, *arguments: str, **settings: str) -> None:
        self.port = free_port()
        command = [*COMMANDS[name], str(self.port), *arguments]
        if name != "uvicorn":
            command = [*COMMANDS[name], f"127.0.0.1:{self.port}", "served:wsgi()"]
        own = {"SECRET": SECRET, "STORE": store, "DPOP": "on", "PUBLIC_URL": URL, "EXEMPT": "/health", **settings}
        environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]),
            **{f"JWTGATE_{field}": value for field, value in own.items()},
        }
        self.process = subprocess.Popen([sys.executable, *command], env=environ, start_new_session=True)

    def ask(self, *headers: tuple[str, str], target: str = "/", method: str = "GET") -> Answer:
        """One request on a connection of its own."""
        import socket

        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
            return exchange(connection, Sent(method, target, headers))

    def wait(self) -> None:
        """Until it takes proofs: the history of an empty store begins with its first use."""
        holder, until = Holder(), time.monotonic() + START_SECONDS
        while True:
            try:
                if self.ask(*holder.request(holder.bound())).status == 200:
                    return
            except OSError:
                pass
            assert self.process.poll() is None, f"it ended with {self.process.returncode}"
            assert time.monotonic() < until, "it takes no proof"
            time.sleep(0.1)

    def close(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def workers(running_servers: dict[str, Server]) -> Iterator[list[Worker]]:
    """Two of one kind and one of another."""
    store = emptied("valkey", running_servers).url
    with ExitStack() as stack:
        found = [stack.enter_context(closing(Worker(name, store))) for name in ("uvicorn", "uvicorn", "gunicorn-gthread")]
        for worker in found:
            worker.wait()
        yield found


def test_proof_used_on_one_worker_is_refused_on_all(workers: list[Worker]) -> None:
    """The store remembers it for all of them."""
    holder = Holder()
    for first in workers:
        shown = holder.bound()
        headers = holder.request(shown)
        assert first.ask(*headers).status == 200
        for each in workers:
            answer = each.ask(*headers)
            assert answer.status == 401 and 'error="invalid_dpop_proof"' in str(answer.header("www-authenticate"))
            assert each.ask(*holder.request(shown)).status == 200


def test_one_of_sixteen_uses_on_several_workers_passes(workers: list[Worker]) -> None:
    """All at once."""
    holder = Holder()
    headers = holder.request(holder.bound())
    barrier = threading.Barrier(RACERS)
    statuses: list[int] = []

    def use(number: int) -> None:
        barrier.wait()
        statuses.append(workers[number % len(workers)].ask(*headers).status)

    together(*[partial(use, number) for number in range(RACERS)])
    assert sorted(statuses) == [200, *[401] * (RACERS - 1)]


def test_line_of_the_request_is_what_counts(workers: list[Worker]) -> None:
    """As real servers tell it: escapes, queries, absolute forms, dot segments; repeated headers."""
    holder = Holder()
    shown = holder.bound()
    for worker in workers:
        assert worker.ask(*holder.request(shown, htu=f"{URL}/a%20b"), target="/a%20b?x=1").status == 200
        assert worker.ask(*holder.request(shown, htu=f"{URL}/a/b"), target="/a/../a/b").status == 401
        assert worker.ask(*holder.request(shown, htu=f"{URL}/a"), target="/a%2e/../a").status == 401
        assert worker.ask(*holder.request(shown, htu=f"{URL}/a"), ("host", "evil.example"), target="/a").status == 200
        assert worker.ask(*holder.request(shown), ("dpop", holder.proof(shown))).status == 401
        assert worker.ask(*holder.request(shown, htm="DELETE"), method="DELETE").status == 200
        assert worker.ask(*holder.request(shown, htm="DELETE")).status == 401


def test_root_path_of_a_server_is_part_of_the_uri(running_servers: dict[str, Server]) -> None:
    """What uvicorn puts before each path a proxy has taken away."""
    holder = Holder()
    shown = holder.bound()
    store = emptied("valkey", running_servers).url
    with closing(Worker("uvicorn", store, "--root-path", "/v1", EXEMPT="/health", PUBLIC_URL=URL)) as worker:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                answer = worker.ask(*holder.request(shown, htu=f"{URL}/v1/a"), target="/a")
                if answer.status == 200:
                    break
                assert answer.status == 503
            except OSError:
                pass
            assert time.monotonic() < until
            time.sleep(0.1)
        assert worker.ask(*holder.request(shown, htu=f"{URL}/a"), target="/a").status == 401


def test_store_that_is_gone_admits_nobody(running_servers: dict[str, Server], own_server: Server) -> None:
    """503, and the same again when it comes back empty, until proofs are younger than its history."""
    own_server.start()
    holder = Holder()
    shown = holder.bound()
    with closing(Worker("uvicorn", own_server.url, ON_STORE_DOWN="admit")) as worker:
        worker.wait()
        used = holder.request(shown)
        assert worker.ask(*used).status == 200
        own_server.kill()
        assert worker.ask(*holder.request(shown)).status == 503
        own_server.start()
        until = time.monotonic() + START_SECONDS
        while (status := worker.ask(*holder.request(shown)).status) == 503:
            assert worker.ask(*used).status in {401, 503}
            assert time.monotonic() < until
            time.sleep(0.1)
        assert status == 200
        assert worker.ask(*used).status != 200, "a proof from before"


# --- TLS


def test_certificate_of_a_real_handshake_is_asked_for(tmp_path: Path) -> None:
    """Werkzeug's server tells it; another client's certificate, or none, is 401, on the same gate."""
    own, own_key, _ = written(tmp_path, "server")
    one, other = written(tmp_path, "one"), written(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, own_key)
    context.verify_mode = ssl.CERT_OPTIONAL
    for pem, _, _ in (one, other):
        context.load_verify_locations(pem)
    gate = Gate(Settings(secret=SECRET, lease=0.25))
    app: Any = JWTGateMiddleware(wsgi_application, gate=gate)
    server = make_server("127.0.0.1", 0, app, threaded=True, ssl_context=context)

    def ask(certificate: tuple[Path, Path, str] | None, shown: str, **headers: str) -> int:
        trusting = ssl.create_default_context(cafile=str(own))
        if certificate is not None:
            trusting.load_cert_chain(certificate[0], certificate[1])
        connection = http.client.HTTPSConnection("127.0.0.1", server.server_port, context=trusting, timeout=10)
        with closing(connection):
            connection.request("GET", "/", headers={"Authorization": f"Bearer {shown}", **headers})
            return connection.getresponse().status

    with closing(gate), closing(server.socket), beside(server.serve_forever, end=server.shutdown):
        shown = token({"cnf": {"x5t#S256": one[2]}})
        for _ in range(2):
            assert ask(one, shown) == 200
            assert ask(other, shown) == 401
            assert ask(None, shown) == 401
            assert ask(None, shown, **{"SSL-Client-Cert": one[0].read_text().replace("\n", " ")}) == 401
        assert ask(None, token({})) == 200
