"""The WSGI shell: PEP 3333 to the letter, REMOTE_USER, Flask, and whatever goes wrong around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from typing import Any
from wsgiref.validate import validator

import pytest
from flask import Flask, jsonify, request
from shell_table import BEARER, ROWS, Row
from shells import (
    SECRET,
    SUBJECT,
    Sent,
    ask_wsgi,
    environ_of,
    gate_of,
    seen,
    send_wsgi,
    token_of_claims,
    tokens,
    wsgi_application,
)

import jwtgate.gate
from jwtgate import Gate, token_of
from jwtgate.errors import Expired, SettingsError, StoreUnavailable
from jwtgate.wsgi import JWTGateMiddleware

GOOD = {"Authorization": f"Bearer {tokens()['good']}"}


@pytest.fixture(scope="module")
def gate() -> Any:
    """A live gate that reads headers and cookies."""
    gate = gate_of("both")
    assert gate.ready()
    yield gate
    gate.close()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings in ``JWTGATE_*``; the gate made from them is closed and forgotten."""
    monkeypatch.setattr(jwtgate.gate, "_environment_gates", {})
    monkeypatch.setenv("JWTGATE_SECRET", SECRET)
    monkeypatch.setenv("JWTGATE_LEASE", "0.25")
    yield monkeypatch
    for gate in jwtgate.gate._environment_gates.values():
        gate.close()


# --- PEP 3333


@pytest.mark.parametrize("row", [row for row in ROWS if row.settings in {"both", "header"}], ids=str)
def test_shell_is_clean_to_the_validator_on_both_sides(gate: Gate, row: Row) -> None:
    """PEP 3333: ``wsgiref.validate`` finds nothing, neither above the gate nor below it."""
    app = validator(JWTGateMiddleware(validator(wsgi_application), gate=gate))
    environ = environ_of(row.sent)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unknown REQUEST_METHOD")
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started.append(status)
            return lambda data: None

        parts = app(environ, start_response)
        body = b"".join(parts)
        parts.close()
    assert len(started) == 1
    assert not body or row.sent.method != "HEAD"


def test_iterable_of_the_application_is_iterated_and_closed_as_the_server_does(gate: Gate) -> None:
    """Nothing is read ahead, and its ``close`` is the server's to call."""
    calls: list[str] = []

    class Parts:
        def __iter__(self) -> Any:
            calls.append("iter")
            yield b"x"
            calls.append("end")

        def close(self) -> None:
            calls.append("close")

    app = JWTGateMiddleware(lambda environ, start_response: Parts(), gate=gate)  # type: ignore[arg-type,return-value]
    parts: Any = app(environ_of(Sent(headers=(BEARER,))), lambda *_: lambda data: None)  # type: ignore[arg-type]
    assert calls == []
    assert list(parts) == [b"x"]
    parts.close()
    assert calls == ["iter", "end", "close"]


def test_start_response_is_the_servers_own(gate: Gate) -> None:
    """So ``exc_info`` and the ``write`` callable pass as they are."""
    calls: list[Any] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Internal Server Error", [], sys.exc_info())
        return [b""]

    def start_response(*arguments: Any) -> Any:
        calls.append(arguments)

    JWTGateMiddleware(application, gate=gate)(environ_of(Sent(headers=(BEARER,))), start_response)
    assert [len(call) for call in calls] == [2, 3]
    assert calls[1][2][0] is ValueError


@pytest.mark.parametrize("error", [ValueError("theirs"), Expired("ours"), KeyboardInterrupt()])
def test_exception_of_the_application_passes_untouched(gate: Gate, error: BaseException) -> None:
    """Threat 28: the very object; the application's errors are not the gate's to answer, even of our kind."""

    def application(environ: Any, start_response: Any) -> Any:
        raise error

    with pytest.raises(type(error)) as caught:
        ask_wsgi(JWTGateMiddleware(application, gate=gate), Sent(headers=(BEARER,)))
    assert caught.value is error


def test_body_of_a_refused_request_is_not_read(gate: Gate) -> None:
    """Who shows no token makes nobody read."""
    environ = environ_of(Sent("POST", body=b"x" * 100))
    assert send_wsgi(JWTGateMiddleware(wsgi_application, gate=gate), environ).status == 401
    assert environ["wsgi.input"].tell() == 0


def test_body_of_an_admitted_request_is_the_applications(gate: Gate) -> None:
    """Untouched, whole."""
    sent = Sent("POST", "/echo", (BEARER,), b"x" * 100_000)
    assert ask_wsgi(JWTGateMiddleware(wsgi_application, gate=gate), sent).body == sent.body


def test_environ_without_optional_keys_is_answered(gate: Gate) -> None:
    """PEP 3333: ``PATH_INFO``, ``RAW_URI`` and every header may be absent."""
    environ = {"REQUEST_METHOD": "GET"}
    assert send_wsgi(JWTGateMiddleware(wsgi_application, gate=gate), environ).status == 401
    exempt = gate_of("exempt")
    assert send_wsgi(JWTGateMiddleware(wsgi_application, gate=exempt), environ).status == 401
    exempt.close()


@pytest.mark.parametrize("name", ["RAW_URI", "REQUEST_URI"])
def test_path_as_sent_counts_where_the_server_tells_it(name: str) -> None:
    """Threat 24: an encoded slash that the server decoded is never exempt."""
    gate = gate_of("exempt")
    app = JWTGateMiddleware(wsgi_application, gate=gate)
    for raw, status in (("/public/a", 200), ("/public%2Fa", 401), ("/x/../public/a", 401), ("http://h/public/a?x=//", 200)):
        environ = environ_of(Sent(target="/public/a"))
        del environ["RAW_URI"]
        assert send_wsgi(app, {**environ, name: raw}).status == status
    gate.close()


def test_mounted_application_is_exempt_by_its_own_paths() -> None:
    """``SCRIPT_NAME`` is the mount's; the application routes on ``PATH_INFO``."""
    gate = gate_of("exempt")
    app = JWTGateMiddleware(wsgi_application, gate=gate)
    assert ask_wsgi(app, Sent(target="/health"), SCRIPT_NAME="/api", RAW_URI="/api/health").status == 200
    assert ask_wsgi(app, Sent(target="/x"), SCRIPT_NAME="/health", RAW_URI="/health/x").status == 401
    gate.close()


# --- REMOTE_USER


def told(gate: Gate, subject: str | None, **environ: Any) -> Any:
    """The environ that the application gets, met twice: the second time from memory."""
    environs: list[dict[str, Any]] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environs.append(environ)
        start_response("200 OK", [])
        return []

    claims = {} if subject is None else {"sub": subject}
    sent = Sent(headers=(("authorization", f"Bearer {token_of_claims(**claims)}"),))
    for _ in range(2):
        assert ask_wsgi(JWTGateMiddleware(application, gate=gate), sent, **environ).status == 200
    assert environs[0].get("REMOTE_USER") == environs[1].get("REMOTE_USER")
    return environs[1]


@pytest.mark.parametrize("subject", ["alice", "José", "日本", "a b", "a\xa0b", "👩\u200d🚀", "À"])
def test_remote_user_is_the_subject_in_utf_8_as_latin_1(gate: Gate, subject: str) -> None:
    """PEP 3333: text in environ is bytes, one character each."""
    assert told(gate, subject, REMOTE_USER="root")["REMOTE_USER"].encode("latin-1").decode() == subject


@pytest.mark.parametrize("subject", [None, "a\nb", "a\r\nX: y", "\x00", "a\x7f", "a\x85b", "a\x1b[31m", "a\u2028b"])
def test_remote_user_is_absent_without_a_subject_or_with_control_characters(gate: Gate, subject: str | None) -> None:
    """Interface §1: servers write it into logs; what an outer layer set is gone, too (threat 23)."""
    environ = told(gate, subject, REMOTE_USER="root")
    assert "REMOTE_USER" not in environ
    assert token_of(environ).subject == subject  # type: ignore[union-attr]


def test_header_that_is_named_like_an_identity_is_only_a_header(gate: Gate) -> None:
    """Threat 23: ``HTTP_REMOTE_USER`` is what a client wrote: left alone, never believed."""
    environ = told(gate, None, HTTP_REMOTE_USER="root")
    assert environ["HTTP_REMOTE_USER"] == "root"
    assert "REMOTE_USER" not in environ


# --- settings, store, frameworks


def test_wrong_settings_raise_when_the_shell_is_built(environment: Any) -> None:
    """Interface §4: all mistakes in one error, before the first request."""
    environment.setenv("JWTGATE_SECRET", "short-secret")
    environment.setenv("JWTGATE_LEASE", "never")
    with pytest.raises(SettingsError) as caught:
        JWTGateMiddleware(wsgi_application)
    assert "JWTGATE_SECRET" in str(caught.value) and "JWTGATE_LEASE" in str(caught.value)
    assert "short-secret" not in str(caught.value)


def test_store_that_fails_gives_503() -> None:
    """Interface §4: the store's fault is never the client's: no challenge, and when to come back."""
    gate = gate_of(lease=2.5)
    gate.start = lambda: None  # type: ignore[method-assign]

    def fails(digests: Any, sids: Any = ()) -> Any:
        raise StoreUnavailable("gone")

    gate.store.look_up = fails  # type: ignore[method-assign]
    answer = ask_wsgi(JWTGateMiddleware(wsgi_application, gate=gate), Sent(headers=(BEARER,)))
    assert (answer.status, answer.header("retry-after"), answer.header("www-authenticate")) == (503, "3", None)
    assert json.loads(answer.body)["error"] == "temporarily_unavailable"
    gate.close()


def test_flask_application_is_wrapped_in_place(environment: Any) -> None:
    """Interface §1: ``app.wsgi_app = JWTGateMiddleware(app.wsgi_app)``; claims can be returned as they are."""
    app = Flask(__name__)
    app.wsgi_app = JWTGateMiddleware(app.wsgi_app)  # type: ignore[method-assign]

    @app.get("/me")
    def me() -> Any:
        token = token_of(request.environ)
        assert token is not None
        return jsonify(claims=token.claims, user=request.remote_user)

    @app.post("/logout")
    def logout() -> str:
        request.environ["jwtgate.gate"].revoke(jti=token_of(request.environ).token_id, wait=True)  # type: ignore[union-attr]
        return "bye"

    client = app.test_client()
    assert client.get("/me").status_code == 401
    assert client.get("/me").headers["WWW-Authenticate"] == 'Bearer realm="jwtgate"'
    for _ in range(2):
        answer = client.get("/me", headers=GOOD)
        assert answer.json["user"] == answer.json["claims"]["sub"] == SUBJECT  # type: ignore[index]
    assert client.post("/logout", headers=GOOD).text == "bye"
    assert client.get("/me", headers=GOOD).status_code == 401


def test_anonymous_request_has_no_user() -> None:
    """Optional mode: the token is there, and None."""
    gate = gate_of("optional")
    answer = ask_wsgi(JWTGateMiddleware(wsgi_application, gate=gate), Sent(), REMOTE_USER="root")
    assert answer.body == seen(None, "")
    gate.close()


def test_threads_share_one_gate(gate: Gate) -> None:
    """Threat 28: many threads, no deadlock, the right answers."""
    from concurrent.futures import ThreadPoolExecutor

    app = JWTGateMiddleware(wsgi_application, gate=gate)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda turn: ask_wsgi(app, Sent(headers=(BEARER,) if turn % 2 else ())).status, range(400))
        assert list(answers) == [401, 200] * 200


FORKING = """
import os, sys
from shells import Sent, ask_asgi, ask_wsgi, asgi_application, gate_of, wsgi_application
from shell_table import BEARER
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

gate = gate_of()
asgi, wsgi = ASGIMiddleware(asgi_application, gate=gate), WSGIMiddleware(wsgi_application, gate=gate)

def answers():
    found = []
    for headers in ((BEARER,), (BEARER,), ()):
        found += [ask_asgi(asgi, Sent(headers=headers)).status, ask_wsgi(wsgi, Sent(headers=headers)).status]
    return found

assert gate.ready() and answers() == [200] * 4 + [401] * 2
child = os.fork()
if child == 0:
    is_fresh = not gate.status().live and gate.status().hits == 0
    told = answers()
    is_live = gate.ready()
    gate.close()
    os._exit(0 if is_fresh and is_live and told == [200] * 4 + [401] * 2 else 1)
assert os.waitpid(child, 0)[1] == 0
assert answers() == [200] * 4 + [401] * 2 and gate.status().live
gate.close()
"""


def test_forked_child_answers_from_a_follower_of_its_own() -> None:
    """Threat 28: fork with threads running, as ``gunicorn --preload`` does; the parent goes on undisturbed."""
    environ = {"PYTHONPATH": os.pathsep.join(sys.path)}
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING]
    ended = subprocess.run(program, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
