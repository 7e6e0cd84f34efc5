"""A logout at the provider, told to one worker of several on one store: refused by all of them once it is answered.

Real servers and processes, keys that the provider publishes. No token is admitted by any request that begins after the answer.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import jwt
import pytest
from keymaking import make_pairs
from provider_tokens import LACKING, LOGOUT, SESSION_REVOKED, whole
from published import Provider
from servers import Server, free_port

import jwtgate.core.keys.fetching as key_fetching
from jwtgate import Gate, Settings
from jwtgate.errors import Revoked
from jwtgate.runtime import blocking

pytestmark = pytest.mark.server

TESTS = Path(__file__).parent.parent
START_SECONDS = 30.0
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
EVENT = {"Content-Type": "application/secevent+jwt"}


class Teller(Provider):
    """A provider that tells."""

    def signed(self, typ: str, claims: dict[str, Any]) -> str:
        return jwt.encode(whole(claims), self.keys[self.kid], "ES256", headers={"kid": self.kid, "typ": typ})

    def logout_token(self, at: float, **claims: Any) -> str:
        made = {"iss": self.issuer, "aud": "web", "iat": int(at), "exp": int(at) + 120, "jti": str(time.monotonic_ns()),
                "sub": "alice", "sid": "s1", "events": {LOGOUT: {}}, **claims}  # fmt: skip
        return self.signed("logout+jwt", made)

    def event_token(self, at: float, **claims: Any) -> str:
        who = {"format": "iss_sub", "iss": self.issuer, "sub": "alice"}
        made = {"iss": self.issuer, "aud": "api", "iat": int(at), "jti": str(time.monotonic_ns()), "sub_id": who,
                "events": {SESSION_REVOKED: {}}, **claims}  # fmt: skip
        return self.signed("secevent+jwt", made)

    def access_token(self, at: float, **claims: Any) -> str:
        made = {"iat": int(at), "jti": str(time.monotonic_ns()), "aud": "api", "sid": "s1", **claims}
        return self.token(**whole(made))

    def settings(self, store: str) -> dict[str, Any]:
        entry = {
            "issuer": self.issuer,
            "jwks_url": self.url,
            "audience": "api",
            "logout_audience": "web",
            "events_audience": "api",
        }
        own = {"issuer": "https://shop.example", "private_key": make_pairs()["p256"].private_pem}
        return {"issuers": [entry, own], "jwks_http": True, "store": store, "endpoints": "/auth", "exempt": ["/health"]}


class Worker:
    """One server process of one worker."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        self.port = free_port()
        given = {**settings, "issuers": json.dumps(settings["issuers"]), "jwks_http": "1", "exempt": "/health"}
        environ = {**os.environ, **{f"JWTGATE_{field.upper()}": value for field, value in given.items()}}
        environ["PYTHONPATH"] = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
        command = {
            "uvicorn": ["-m", "uvicorn", "--factory", "hearing_app:asgi", "--log-level", "warning", "--port", str(self.port)],
            "gunicorn": ["-m", "gunicorn", "--workers", "1", "--threads", "4", "--worker-class", "gthread", "--bind",
                         f"127.0.0.1:{self.port}", "hearing_app:wsgi()"],
        }  # fmt: skip
        self.process = subprocess.Popen([sys.executable, *command[name]], env=environ, start_new_session=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, method: str, path: str, headers: dict[str, str], body: str | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def status(self, token: str) -> int:
        return self.ask("GET", "/", {"Authorization": f"Bearer {token}"})[0]

    def wait(self, token: str) -> None:
        """Until it admits from memory: its view is live, and it has the provider's keys."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                if self.status(token) == 200:
                    return
            except OSError:
                pass
            assert self.process.poll() is None and time.monotonic() < until, "the server does not come up"
            time.sleep(0.1)

    def logout(self, token: str) -> dict[str, Any]:
        status, body = self.ask("POST", "/auth/backchannel-logout", FORM, urlencode({"logout_token": token}))
        assert status == 200, body
        told: dict[str, Any] = json.loads(body)
        return told

    def tell(self, token: str) -> None:
        status, body = self.ask("POST", "/auth/events", EVENT, token)
        assert (status, body) == (202, b"")


@pytest.fixture(scope="module")
def teller() -> Iterator[Teller]:
    """One provider for all."""
    with Teller() as teller:
        yield teller


@pytest.fixture
def workers(valkey: Server, teller: Teller) -> Iterator[list[Worker]]:
    """Three processes, of both kinds of server, that remember tokens."""
    with ExitStack() as stack:
        names = ("uvicorn", "uvicorn", "gunicorn")
        made = [stack.enter_context(Worker(name, teller.settings(valkey.url))) for name in names]
        for worker in made:
            worker.wait(teller.access_token(time.time() - 5, sub="warm", sid="warm"))
        yield made


def remembered(workers: list[Worker], token: str) -> str:
    """Admitted by each of them, and from memory since."""
    for worker in workers:
        assert [worker.status(token) for _ in range(3)] == [200] * 3
    return token


def test_logout_told_to_one_is_heard_by_all(workers: list[Worker], teller: Teller) -> None:
    """By sid and by sub, to an ASGI and to a WSGI worker; then events. What began later lives; told again nothing more."""
    now = time.time()
    started = now - 60
    kinds = {"s1": {}, "s2": {"sid": "s2"}, "none": {"sid": LACKING}, "bob": {"sub": "bob", "sid": "s9"}}
    tokens = {name: remembered(workers, teller.access_token(started, **kind)) for name, kind in kinds.items()}
    late = remembered(workers, teller.access_token(now - 5, sid="s3"))

    told = workers[0].logout(teller.logout_token(now - 30))
    assert told["effective_everywhere"] is True and told["workers"] == 3
    assert [worker.status(tokens[name]) for worker in workers for name in ("s1", "none")] == [401] * 6
    assert [worker.status(each) for worker in workers for each in (tokens["s2"], tokens["bob"], late)] == [200] * 9

    by_sub = teller.logout_token(now - 30, sid=LACKING)
    assert workers[2].logout(by_sub)["effective_everywhere"] is True
    assert [worker.status(tokens["s2"]) for worker in workers] == [401] * 3
    assert [worker.status(each) for worker in workers for each in (tokens["bob"], late)] == [200] * 6
    assert [worker.logout(by_sub) for worker in workers] == [{}] * 3

    workers[1].tell(teller.event_token(now - 2))
    assert [worker.status(late) for worker in workers] == [401] * 3
    assert [worker.status(tokens["bob"]) for worker in workers] == [200] * 3


def test_requests_under_way_never_outlive_the_answer(workers: list[Worker], teller: Teller) -> None:
    """Ten logouts one after the other, each asked about at once in each worker."""
    began = time.time() - 60
    for number in range(10):
        token = remembered(workers, teller.access_token(began, sid=f"n{number}", sub=f"u{number}"))
        teller_of = workers[number % 3]
        asked = time.monotonic()
        assert teller_of.logout(teller.logout_token(time.time(), sid=f"n{number}", sub=LACKING))["effective_everywhere"]
        assert time.monotonic() - asked < 2.5, "the provider would have given up"
        assert [worker.status(token) for worker in workers] == [401] * 3


def test_new_key_of_the_provider_is_fetched_for_its_logout(monkeypatch: pytest.MonkeyPatch) -> None:
    """It rotates and tells at once, and tells once: the token waits for the key, not the user for ever."""
    monkeypatch.setattr(key_fetching, "COOL_DOWN_SECONDS", 0.2)
    with Teller() as teller, closing(Gate(Settings(**teller.settings("memory://")))) as gate:
        assert gate.ready(10)
        assert gate.verify(teller.access_token(time.time() - 5)).subject == "alice"
        time.sleep(0.3)
        teller.rotate()
        receipt = blocking.run(gate.plans.hear_logout(teller.logout_token(time.time())), gate.performer)
        assert receipt is not None and receipt.effective_everywhere


def test_logout_over_several_partitions_is_whole(valkey: Server) -> None:
    """Cut-offs stand in one partition, sessions in another: what is remembered as heard was done in both."""
    with Teller() as teller:
        settings = {**teller.settings(valkey.url), "partitions": 4}
        with closing(Gate(Settings(**settings))) as one, closing(Gate(Settings(**settings))) as other:
            assert one.ready(20) and other.ready(20)
            for number in range(8):
                sid, began = f"p{number}", time.time() - 60
                dead = [teller.access_token(began, sid=sid), teller.access_token(began, sid=LACKING)]
                live = teller.access_token(began, sid=f"q{number}")
                token = teller.logout_token(time.time() - 50 + number, sid=sid)
                for gate in (one, other):
                    assert gate.verify(live).subject == "alice" and gate.verify(dead[0]).subject == "alice"
                receipt = blocking.run(one.plans.hear_logout(token), one.performer)
                assert receipt is not None and receipt.effective_everywhere
                for gate in (one, other):
                    for each in dead:
                        with pytest.raises(Revoked):
                            gate.verify(each)
                    assert gate.verify(live).subject == "alice"
                assert blocking.run(other.plans.hear_logout(token), other.performer) is None
