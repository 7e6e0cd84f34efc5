"""What users write: suites for a FastAPI and for a Flask application, run as they would run them."""

from __future__ import annotations

from importlib.metadata import entry_points

import fastapi.testclient  # noqa: F401 - here once, since each run inside forgets what it imported first
import flask  # noqa: F401
import pytest

import jwtgate.asgi
import jwtgate.testing
import jwtgate.wsgi  # noqa: F401

pytest_plugins = ["pytester"]

IS_INSTALLED = any(each.value == "jwtgate.pytest_plugin" for each in entry_points(group="pytest11"))
PLUGIN = () if IS_INSTALLED else ("-p", "jwtgate.pytest_plugin")
"""What a run needs where the package is not installed, or an older one is."""

INI = """
[pytest]
addopts = --strict-markers
filterwarnings =
    error
    ignore:Using `httpx` with `starlette.testclient`
    ignore:The anyio.abc.BlockingPortal alias:DeprecationWarning
"""

AWAKE = '''
import threading, time
import pytest

@pytest.fixture(autouse=True)
def awake(monkeypatch):
    """No example sleeps, and none has a thread that follows the store."""
    def sleep(seconds):
        raise AssertionError("a test slept")
    monkeypatch.setattr(time, "sleep", sleep)
    before = threading.enumerate()
    yield
    assert not [each for each in threading.enumerate() if each.name == "jwtgate-follower" and each not in before]
'''

FASTAPI_APP = """
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.authentication import requires
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.errors import JWTGateError

app = FastAPI()
app.add_middleware(JWTGateMiddleware)
app.add_exception_handler(JWTGateError, lambda _, error: JSONResponse({"error": error.error}, error.status))


@app.get("/hello")
def hello(request: Request):
    return {"hello": request.user.identity, "tenant": request.scope["jwtgate.token"].claims.get("tenant")}


@app.get("/items")
@requires("items:read")
async def items(request: Request):
    return ["one"]


@app.post("/auth/login")
def login(request: Request):
    return request.scope["jwtgate.gate"].sessions.start("alice", scope="read").as_dict()


@app.post("/ban/{sub}")
async def ban(request: Request, sub: str):
    receipt = await request.scope["jwtgate.gate"].aio.revoke(sub=sub, wait=True)
    return {"everywhere": receipt.effective_everywhere}
"""

FLASK_APP = """
from flask import Flask, abort, request
from jwtgate import token_of
from jwtgate.errors import JWTGateError
from jwtgate.wsgi import JWTGateMiddleware

app = Flask(__name__)
app.wsgi_app = JWTGateMiddleware(app.wsgi_app)
app.register_error_handler(JWTGateError, lambda error: ({"error": error.error}, error.status))


@app.get("/hello")
def hello():
    token = token_of(request.environ)
    return {"hello": token.subject, "tenant": token.claims.get("tenant")}


@app.get("/items")
def items():
    if "items:read" not in token_of(request.environ).scopes:
        abort(403)
    return ["one"]


@app.post("/auth/login")
def login():
    return request.environ["jwtgate.gate"].sessions.start("alice", scope="read").as_dict()


@app.post("/ban/<sub>")
def ban(sub):
    receipt = request.environ["jwtgate.gate"].revoke(sub=sub, wait=True)
    return {"everywhere": receipt.effective_everywhere}
"""

FASTAPI_CLIENT = """
import pytest
from fastapi.testclient import TestClient
from jwtgate.errors import StoreUnavailable
from app import app


@pytest.fixture
def jwt_settings():
    return {"endpoints": "/auth", "exempt": ["/auth/login"]}


@pytest.fixture
def client(jwt_gate):
    with TestClient(app) as client:
        yield client


def body(answer):
    return answer.json()
"""

FLASK_CLIENT = """
import pytest
from jwtgate.errors import StoreUnavailable


@pytest.fixture
def jwt_settings():
    return {"endpoints": "/auth", "exempt": ["/auth/login"]}


@pytest.fixture
def client(jwt_gate):
    from app import app  # the module is imported once, and holds the gate of the first test
    return app.test_client()


def body(answer):
    return answer.get_json()
"""

SUITE = """
def test_admitted(client, bearer):
    answer = client.get("/hello", headers=bearer("alice", claims={"tenant": "acme"}))
    assert (answer.status_code, body(answer)) == (200, {"hello": "alice", "tenant": "acme"})
    assert client.get("/hello").status_code == 401


def test_wrong_scope(client, bearer):
    assert client.get("/items", headers=bearer("alice", scopes="items:write")).status_code == 403
    assert client.get("/items", headers=bearer("alice", scopes=["items:read", "x"])).status_code == 200


def test_expired(client, bearer, jwt_clock):
    headers = bearer("alice", ttl=60)
    jwt_clock.advance(59)
    assert client.get("/hello", headers=headers).status_code == 200
    jwt_clock.advance(1)
    answer = client.get("/hello", headers=headers)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_revoked(client, bearer, token_for, jwt_gate):
    token = token_for("alice")
    assert client.get("/hello", headers=bearer(token=token)).status_code == 200
    assert jwt_gate.revoke(token=token, wait=True).effective_everywhere
    assert client.get("/hello", headers=bearer(token=token)).status_code == 401
    assert client.get("/hello", headers=bearer("alice")).status_code == 200


def test_revoked_by_the_application(client, bearer):
    alice, bob = bearer("alice"), bearer("bob")
    answer = client.post("/ban/alice", headers=bob)
    assert body(answer) == {"everywhere": True}
    assert [client.get("/hello", headers=each).status_code for each in (alice, bob)] == [401, 200]


def test_logged_out_everywhere(client, bearer):
    phone, laptop = (body(client.post("/auth/login")) for _ in range(2))
    headers = [bearer(token=each["access_token"]) for each in (phone, laptop)]
    assert [client.get("/hello", headers=each).status_code for each in headers] == [200, 200]
    assert client.post("/auth/logout-all", headers=headers[0]).status_code < 300
    assert [client.get("/hello", headers=each).status_code for each in headers] == [401, 401]
    again = body(client.post("/auth/login"))
    assert client.get("/hello", headers=bearer(token=again["access_token"])).status_code == 200


def refresh(client, token):
    return client.post("/auth/refresh", data={"grant_type": "refresh_token", "refresh_token": token})


def test_refresh_and_its_grace(client, bearer, jwt_clock):
    first = body(client.post("/auth/login"))
    jwt_clock.advance(900)
    assert client.get("/hello", headers=bearer(token=first["access_token"])).status_code == 401
    second = body(refresh(client, first["refresh_token"]))
    assert client.get("/hello", headers=bearer(token=second["access_token"])).status_code == 200
    jwt_clock.advance(29)
    assert body(refresh(client, first["refresh_token"])) == second
    jwt_clock.advance(2)
    assert refresh(client, first["refresh_token"]).status_code == 400  # theft: the session is over
    assert client.get("/hello", headers=bearer(token=second["access_token"])).status_code == 401
    assert refresh(client, second["refresh_token"]).status_code == 400


def test_session_ends(client, jwt_clock, jwt_gate):
    first = body(client.post("/auth/login"))
    assert len(jwt_gate.sessions.list("alice")) == 1
    jwt_clock.advance(2592000)
    assert jwt_gate.sessions.list("alice") == []
    assert refresh(client, first["refresh_token"]).status_code == 400


def test_store_is_down(client, bearer, jwt_gate, jwt_store):
    headers = bearer("alice")
    assert client.get("/hello", headers=headers).status_code == 200
    with jwt_store.fail():
        answer = client.get("/hello", headers=headers)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert client.post("/auth/login").status_code == 503
        with pytest.raises(StoreUnavailable):
            jwt_gate.revoke(sub="alice")
    assert client.get("/hello", headers=headers).status_code == 200


@pytest.mark.jwtgate(on_store_down="cached", grace=30)
def test_store_is_down_and_the_remembered_go_on(client, bearer, jwt_clock, jwt_store):
    known, unknown = bearer("alice"), bearer("bob")
    client.get("/hello", headers=known)
    jwt_store.fail()
    assert [client.get("/hello", headers=each).status_code for each in (known, unknown)] == [200, 503]
    jwt_clock.advance(30)
    assert client.get("/hello", headers=known).status_code == 503
    jwt_store.recover()
    assert client.get("/hello", headers=known).status_code == 200


def test_receipt_is_not_complete(client, bearer, jwt_store):
    with jwt_store.lag(float("inf")):
        assert body(client.post("/ban/alice", headers=bearer("bob"))) == {"everywhere": False}
    assert body(client.post("/ban/alice", headers=bearer("bob"))) == {"everywhere": True}


@pytest.mark.jwtgate(validity="allowlist")
def test_allowlist(client, bearer, jwt_gate):
    headers = bearer("alice")
    assert client.get("/hello", headers=headers).status_code == 200
    [session] = jwt_gate.sessions.list("alice")
    jwt_gate.sessions.end(session.sid)
    assert client.get("/hello", headers=headers).status_code == 401


@pytest.mark.parametrize("order", [1, 2])
def test_nothing_is_left_of_the_test_before(client, bearer, jwt_gate, order):
    assert client.get("/hello", headers=bearer("alice")).status_code == 200
    assert jwt_gate.sessions.list("alice") == []
    jwt_gate.suspend("alice")
    jwt_gate.sessions.start("bob")
    assert client.get("/hello", headers=bearer("bob")).status_code == 200
    assert (jwt_gate.status().rulings, jwt_gate.status().hits) == (1, 0)
"""

TESTS = 14


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder of a user, whose suite is strict about warnings."""
    pytester.makefile(".ini", pytest=INI)
    pytester.makeconftest(AWAKE)
    return pytester


@pytest.mark.parametrize(
    ("application", "client"), [(FASTAPI_APP, FASTAPI_CLIENT), (FLASK_APP, FLASK_CLIENT)], ids=["fastapi", "flask"]
)
def test_suite_of_an_application_passes(suite: pytest.Pytester, application: str, client: str) -> None:
    """Requests of its own test client, no server, no sleep, no thread; each begins with nothing of the one before."""
    suite.makepyfile(app=application, test_app=client + SUITE)
    suite.runpytest_inprocess(*PLUGIN, "--durations=3", "--durations-min=0").assert_outcomes(passed=TESTS)


def test_suite_runs_under_xdist(suite: pytest.Pytester) -> None:
    """Each worker process has gates of its own."""
    suite.makepyfile(app=FASTAPI_APP, test_app=FASTAPI_CLIENT + SUITE)
    suite.runpytest_subprocess(*PLUGIN, "-n2").assert_outcomes(passed=TESTS)
