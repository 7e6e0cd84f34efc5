"""FastAPI and Starlette applications behind the middleware: what their handlers get, and the gate's answers, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Security, WebSocket
from fastapi.security import HTTPBearer
from fastapi.testclient import TestClient
from holders import Holder, aged
from shells import Answer, gate_of, token_of_claims, tokens
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from jwtgate import Gate, Token
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.errors import InsufficientScope, InvalidToken, JWTGateError, MissingToken, StoreUnavailable, SubjectSuspended
from jwtgate.frameworks.starlette import admitted, admitted_or_anonymous, render_errors, require

Admitted = Annotated[Token, Depends(admitted)]
GOOD = {"authorization": f"Bearer {tokens()['good']}"}
"""Of alice, with the scopes read and write."""


def answer_of(response: Any) -> Answer:
    """As it came."""
    return Answer(response.status_code, tuple(sorted(response.headers.multi_items())), response.content)


def gates_answer(gate: Gate, error: JWTGateError) -> Answer:
    """As the gate gives it."""
    rendered = gate.answer(error)
    return Answer(rendered.status, tuple(sorted(rendered.headers)), rendered.body)


async def user(token: Admitted) -> str:
    """A dependency of the application's own."""
    return token.subject or ""


def fastapi_app(gate: Gate) -> FastAPI:
    """Nothing is set up but the middleware."""
    app = FastAPI()
    app.add_middleware(JWTGateMiddleware, gate=gate)
    router = APIRouter(prefix="/items", dependencies=[Depends(require("write"))])
    inner = FastAPI()

    @app.get("/me")
    @app.head("/me")
    async def me(token: Admitted) -> Any:
        return {"sub": token.subject}

    @app.get("/perhaps")
    def perhaps(token: Annotated[Token | None, Depends(admitted_or_anonymous)]) -> Any:
        return {"sub": token and token.subject}

    @app.get("/perhaps-scoped")
    def perhaps_scoped(token: Annotated[Token | None, Security(admitted_or_anonymous, scopes=["write"])]) -> Any:
        return {"sub": token and token.subject}

    @app.get("/admin")
    def admin(token: Annotated[Token, Depends(require("read", "admin"))]) -> Any:
        return {"sub": token.subject}

    @app.get("/native")
    def native(token: Annotated[Token, Security(admitted, scopes=["admin"])]) -> Any:
        return {"sub": token.subject}

    @app.get("/through")
    def through(name: Annotated[str, Security(user, scopes=["admin"])]) -> Any:
        return {"sub": name}

    @app.get("/user")
    def name(request: Request) -> Any:
        return {"identity": request.user.identity, "scopes": request.auth.scopes}

    @router.get("/{number}")
    def item(number: int) -> Any:
        return number

    @router.get("/{number}/price", dependencies=[Depends(require("prices"))])
    def price(number: int) -> Any:
        return number

    @inner.get("/admin")
    def inner_admin(token: Annotated[Token, Depends(require("admin"))]) -> Any:
        return {"sub": token.subject}

    @app.websocket("/ws")
    async def chat(websocket: WebSocket, token: Annotated[Token, Depends(require("write"))]) -> None:
        await websocket.accept()
        await websocket.send_json({"sub": token.subject})
        await websocket.close()

    app.include_router(router)
    app.mount("/inner", inner)
    return app


async def starlette_me(request: Any) -> JSONResponse:
    """The same without FastAPI's injection."""
    token = await admitted(request)
    return JSONResponse({"sub": token.subject})


async def starlette_admin(request: Any) -> JSONResponse:
    """And with scopes."""
    token = await require("read", "admin")(request)
    return JSONResponse({"sub": token.subject})


@requires("admin")
async def starlette_requires(request: Any) -> JSONResponse:
    """Starlette's own way."""
    return JSONResponse({"sub": request.user.identity})


@requires(["read", "authenticated"])
async def starlette_requires_read(request: Any) -> JSONResponse:
    """Of two, the second is none that a token has."""
    return JSONResponse({"sub": request.user.identity})


@requires("read")
async def starlette_ws(websocket: Any) -> None:
    """The middleware has put the scopes into a WebSocket's scope, too."""
    await websocket.accept()
    await websocket.send_json({"sub": (await require("write")(websocket)).subject})
    await websocket.close()


def starlette_app(gate: Gate) -> Starlette:
    """Plain Starlette."""
    routes = [
        Route("/me", starlette_me),
        Route("/admin", starlette_admin),
        Route("/requires", starlette_requires),
        Route("/requires-read", starlette_requires_read),
        WebSocketRoute("/ws", starlette_ws),
        Mount("/inner", Starlette(routes=[Route("/admin", starlette_admin)])),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(JWTGateMiddleware, gate=gate)
    return app


APPS = {"fastapi": fastapi_app, "starlette": starlette_app}


@pytest.fixture(params=APPS)
def client(request: pytest.FixtureRequest) -> Any:
    """In optional mode, so that anonymous requests reach the handlers."""
    gate = gate_of("optional")
    with TestClient(APPS[request.param](gate)) as client:
        client.gate = gate
        yield client
    gate.close()


@pytest.fixture
def fastapi() -> Any:
    """FastAPI alone."""
    gate = gate_of("optional")
    with TestClient(fastapi_app(gate)) as client:
        client.gate = gate
        yield client
    gate.close()


# --- tokens and refusals


def test_handler_gets_the_very_token_of_the_middleware(client: Any) -> None:
    """Decided once: the dependency asks the gate nothing, on a first sight or a second."""
    assert client.gate.ready()
    for hits in range(3):
        assert client.get("/me", headers=GOOD).json() == {"sub": "alice"}
        status = client.gate.status()
        assert (status.hits, status.misses, status.look_ups) == (hits, 1, 0)


def test_anonymous_request_gets_the_answer_of_a_gate_that_requires_tokens(client: Any) -> None:
    """Interface §4: 401 with a challenge that has no error, the same bytes as the middleware's own."""
    strict = gate_of()
    with TestClient(APPS["starlette"](strict)) as own:
        assert answer_of(client.get("/me")) == answer_of(own.get("/me")) == gates_answer(client.gate, MissingToken())
        assert answer_of(client.get("/admin")) == answer_of(own.get("/admin"))
        bad = {"authorization": "Bearer a.b.c"}
        assert answer_of(client.get("/me", headers=bad)) == answer_of(own.get("/me", headers=bad))
    strict.close()


@pytest.mark.parametrize("path", ["/admin", "/inner/admin"])
def test_scope_too_small_is_the_gates_403(client: Any, path: str) -> None:
    """RFC 6750 §3.1: ``insufficient_scope`` names the scopes; in a mounted application, too."""
    needed = ("admin",) if path == "/inner/admin" and isinstance(client.app, FastAPI) else ("read", "admin")
    assert answer_of(client.get(path, headers=GOOD)) == gates_answer(client.gate, InsufficientScope(*needed))
    assert client.gate.status().refused == {"insufficient_scope": 1}


def test_all_the_scopes_let_a_token_pass(client: Any) -> None:
    """And nothing else is asked of it."""
    able = {"authorization": f"Bearer {token_of_claims(sub='root', scope='admin read')}"}
    assert client.get("/admin", headers=able).json() == {"sub": "root"}
    assert client.get("/inner/admin", headers=able).json() == {"sub": "root"}


def test_revoked_token_never_reaches_a_dependency(client: Any) -> None:
    """The middleware refuses it, with its own words."""
    assert client.get("/me", headers=GOOD).status_code == 200
    client.gate.revoke(jti="good", wait=True)
    assert answer_of(client.get("/me", headers=GOOD)) == gates_answer(client.gate, InvalidToken())


def test_head_gets_the_headers_alone(fastapi: Any) -> None:
    """RFC 9110 §9.3.2, as from the middleware."""
    expected = gates_answer(fastapi.gate, MissingToken())
    assert answer_of(fastapi.head("/me")) == Answer(401, expected.headers, b"")


@pytest.mark.parametrize("path", ["/native", "/through"])
def test_scopes_of_fastapis_security_are_insisted_on(fastapi: Any, path: str) -> None:
    """``Security(…, scopes=…)`` documents nothing that is not held, through other dependencies, too."""
    assert answer_of(fastapi.get(path, headers=GOOD)) == gates_answer(fastapi.gate, InsufficientScope("admin"))
    assert fastapi.get(path).status_code == 401


def test_router_dependencies_add_up(fastapi: Any) -> None:
    """What the router requires and what the route requires."""
    assert fastapi.get("/items/1", headers=GOOD).json() == 1
    poor = {"authorization": f"Bearer {token_of_claims(sub='bob', scope='prices')}"}
    assert answer_of(fastapi.get("/items/1", headers=poor)) == gates_answer(fastapi.gate, InsufficientScope("write"))
    assert answer_of(fastapi.get("/items/1/price", headers=GOOD)) == gates_answer(fastapi.gate, InsufficientScope("prices"))
    assert fastapi.get("/items/1").status_code == 401


def test_optional_form_gives_none_to_the_anonymous(fastapi: Any) -> None:
    """And a bad token is no absent one; where scopes are named, nobody is anonymous."""
    assert fastapi.get("/perhaps").json() == {"sub": None}
    assert fastapi.get("/perhaps", headers=GOOD).json() == {"sub": "alice"}
    assert fastapi.get("/perhaps", headers={"authorization": "Bearer x"}).status_code == 401
    assert fastapi.get("/perhaps-scoped", headers=GOOD).json() == {"sub": "alice"}
    assert answer_of(fastapi.get("/perhaps-scoped")) == gates_answer(fastapi.gate, MissingToken())


def test_exempt_path_is_anonymous_whatever_is_sent() -> None:
    """Interface §1: no credential is read there, so ``admitted`` refuses and the optional form is None."""
    gate = gate_of(exempt=("/me", "/perhaps"))
    with TestClient(fastapi_app(gate)) as client:
        assert client.get("/perhaps", headers=GOOD).json() == {"sub": None}
        assert answer_of(client.get("/me", headers=GOOD)) == gates_answer(gate, MissingToken())
    gate.close()


def test_starlettes_user_auth_and_requires_work(client: Any) -> None:
    """The scope entries of the middleware are Starlette's shapes."""
    if isinstance(client.app, FastAPI):
        assert client.get("/user", headers=GOOD).json() == {"identity": "alice", "scopes": ["read", "write"]}
        assert client.get("/user").json() == {"identity": "", "scopes": []}
        return
    assert client.get("/requires", headers=GOOD).status_code == 403
    assert client.get("/requires-read", headers=GOOD).status_code == 403
    able = {"authorization": f"Bearer {token_of_claims(sub='root', scope='admin')}"}
    assert client.get("/requires", headers=able).json() == {"sub": "root"}


def test_answer_is_under_the_gates_realm() -> None:
    """The challenge is that of the gate in front."""
    gate = gate_of("optional", realm="shop")
    with TestClient(fastapi_app(gate)) as client:
        assert client.get("/me").headers["www-authenticate"] == 'Bearer realm="shop"'
    gate.close()


def test_bound_token_is_answered_under_its_own_scheme() -> None:
    """RFC 9449 §7.1: who came with DPoP is challenged in it, and told one nonce."""
    holder = Holder()
    gate = aged(gate_of(dpop="on", dpop_nonce_secret="n" * 32, public_url="http://testserver"))
    token = token_of_claims(sub="alice", scope="read", cnf={"jkt": holder.thumbprint})
    with TestClient(fastapi_app(gate)) as client:

        def ask(**claims: Any) -> Any:
            proof = holder.proof(token, htu="http://testserver/admin", **claims)
            return client.get("/admin", headers={"authorization": f"DPoP {token}", "dpop": proof})

        response = ask(nonce=ask().headers["dpop-nonce"])
        error = InsufficientScope("read", "admin")
        error.is_dpop = True
        assert answer_of(response) == gates_answer(gate, error)
        assert response.headers["www-authenticate"].startswith("DPoP ")
    gate.close()


# --- WebSockets


def test_websocket_route_gets_its_token(client: Any) -> None:
    """By the same dependency."""
    with client.websocket_connect("/ws", headers=GOOD) as websocket:
        assert websocket.receive_json() == {"sub": "alice"}


def test_websocket_is_denied_with_the_gates_answer(fastapi: Any) -> None:
    """The denial response where the server has the extension, as from the middleware."""
    with pytest.raises(WebSocketDenialResponse) as denied, fastapi.websocket_connect("/ws"):
        pass
    assert answer_of(denied.value) == gates_answer(fastapi.gate, MissingToken())
    poor = {"authorization": f"Bearer {token_of_claims(sub='bob')}"}
    with pytest.raises(WebSocketDenialResponse) as denied, fastapi.websocket_connect("/ws", headers=poor):
        pass
    assert answer_of(denied.value) == gates_answer(fastapi.gate, InsufficientScope("write"))


def test_websocket_without_denial_response_is_closed_before_it_opens(fastapi: Any) -> None:
    """Interface §4: 1008 before accept."""
    inner = fastapi.app

    async def poorer(scope: Any, receive: Any, send: Any) -> None:
        await inner({**scope, "extensions": {}}, receive, send)

    with (
        TestClient(poorer) as client,
        pytest.raises(WebSocketDisconnect) as closed,
        client.websocket_connect("/ws"),
    ):
        pass
    assert closed.value.code == 1008


def test_open_websocket_is_closed_when_a_scope_is_missing() -> None:
    """Refused after accept, as no dependency of FastAPI's is: nothing is left but a close."""
    gate = gate_of()
    poor = {"authorization": f"Bearer {token_of_claims(sub='bob', scope='read')}"}
    with (
        TestClient(starlette_app(gate)) as client,
        client.websocket_connect("/ws", headers=poor) as websocket,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        websocket.receive_json()
    assert closed.value.code == 1008
    gate.close()


def test_refusal_after_a_close_says_nothing_more() -> None:
    """The application has closed the WebSocket itself."""
    gate = gate_of()

    async def closing(websocket: Any) -> None:
        await websocket.accept()
        await websocket.close(4000)
        await require("admin")(websocket)

    app = Starlette(routes=[WebSocketRoute("/ws", closing)])
    app.add_middleware(JWTGateMiddleware, gate=gate)
    with (
        TestClient(app) as client,
        client.websocket_connect("/ws", headers=GOOD) as websocket,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        websocket.receive_json()
    assert closed.value.code == 4000
    gate.close()


# --- errors of handlers


@pytest.mark.parametrize("error", [SubjectSuspended(), StoreUnavailable(), InvalidToken(), InsufficientScope("x")])
@pytest.mark.parametrize("kind", [FastAPI, Starlette])
def test_errors_of_handlers_get_the_gates_answer(kind: Any, error: JWTGateError) -> None:
    """``render_errors``: one call in place of a handler of one's own."""
    gate = gate_of("optional")
    app = kind()
    app.add_middleware(JWTGateMiddleware, gate=gate)
    render_errors(app)

    async def login(request: Any) -> None:
        raise error

    app.add_route("/login", login)
    with TestClient(app) as client:
        assert answer_of(client.get("/login")) == gates_answer(gate, error)
    gate.close()


def test_handler_of_the_application_stays(fastapi: Any) -> None:
    """Whoever has an answer of their own for one kind of error, or for all, keeps it."""
    fastapi.app.add_exception_handler(InsufficientScope, lambda _, error: JSONResponse(list(error.scopes), 418))
    fastapi.app.middleware_stack = None  # built again, as it is when an application starts
    assert answer_of(fastapi.get("/me")) == gates_answer(fastapi.gate, MissingToken())
    assert fastapi.get("/admin", headers=GOOD).json() == ["read", "admin"]


# --- OpenAPI


def shows_scopes_of_bearer_schemes() -> bool:
    """Older FastAPIs keep to OpenAPI 3.0, where only OAuth 2 and OpenID Connect have scopes."""
    app = FastAPI()
    app.get("/", dependencies=[Security(HTTPBearer(), scopes=["read"])])(lambda: None)
    return app.openapi()["paths"]["/"]["get"]["security"] == [{"HTTPBearer": ["read"]}]


def test_dependencies_are_a_security_scheme_in_openapi(fastapi: Any) -> None:
    """OpenAPI 3.1 §4.8.27 and §4.8.30: bearer, JWT, and the scopes of each operation."""
    told = fastapi.app.openapi()
    scheme = told["components"]["securitySchemes"]
    assert scheme == {
        "jwtgate": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token (RFC 6750)."}
    }
    security: dict[str, Any] = {}  # by path: the scopes of its one scheme, which some FastAPIs name once for each dependency
    for path, operations in told["paths"].items():
        named = [each["jwtgate"] for each in operations["get"].get("security", ())]
        security[path] = set().union(*named) if named else None
    expected = {
        "/me": [],
        "/perhaps": [],
        "/perhaps-scoped": ["write"],
        "/admin": ["read", "admin"],
        "/native": ["admin"],
        "/through": ["admin"],
        "/items/{number}": ["write"],
        "/items/{number}/price": ["write", "prices"],
    }
    shown = shows_scopes_of_bearer_schemes()
    assert security == {"/user": None, **{path: set(shown * scopes) for path, scopes in expected.items()}}
    parameters = [each["name"] for operations in told["paths"].values() for each in operations["get"].get("parameters", ())]
    assert set(parameters) == {"number"}, "a dependency asks the client for nothing else"


def test_dependency_override_still_has_its_scopes_asked(fastapi: Any) -> None:
    """FastAPI's way to test: another token in the place of the admitted one."""
    fastapi.app.dependency_overrides[admitted] = lambda: fastapi.gate.verify(tokens()["good"])
    assert fastapi.get("/me").json() == {"sub": "alice"}
    assert fastapi.get("/items/1").json() == 1
    assert fastapi.get("/admin").status_code == 403


# --- mistakes


def test_without_the_middleware_nothing_is_admitted() -> None:
    """Never an anonymous request: an error that says which line is missing."""
    app = fastapi_app(gate_of("optional"))
    app.user_middleware.clear()
    client = TestClient(app)
    for path in ("/me", "/perhaps", "/admin", "/native", "/inner/admin"):
        with pytest.raises(LookupError, match=r"app\.add_middleware\(JWTGateMiddleware\)"):
            client.get(path, headers=GOOD)
    assert TestClient(app, raise_server_exceptions=False).get("/me", headers=GOOD).status_code == 500


def test_token_that_another_layer_left_is_none() -> None:
    """Threat 23: without our gate beside it a token in the scope is nobody's."""
    app = fastapi_app(gate_of("optional"))
    app.user_middleware.clear()
    token = gate_of().verify(tokens()["good"])

    async def forging(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "jwtgate.token": token, "jwtgate.gate": object()}, receive, send)

    with pytest.raises(LookupError):
        TestClient(forging).get("/me")


async def _asking(scope: Any, _receive: Any, _send: Any) -> None:
    await admitted(HTTPConnection(scope))


def test_application_without_starlettes_table_gets_the_error() -> None:
    """An ASGI application of one's own renders it, or not."""
    gate = gate_of("optional")
    with pytest.raises(MissingToken):
        TestClient(JWTGateMiddleware(_asking, gate=gate)).get("/")
    gate.close()


@pytest.mark.parametrize("scopes", [(), ("",), ("read write",), ('a"b',), (1,)])
def test_require_takes_scope_tokens(scopes: Any) -> None:
    """RFC 6749 §3.3; a mistake is said where it is made."""
    with pytest.raises(ValueError, match="scope tokens"):
        require(*scopes)


WITHOUT_FASTAPI = """
import sys
sys.modules["fastapi"] = None
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from shells import Sent, ask_asgi, gate_of
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.frameworks.starlette import admitted, admitted_or_anonymous, require

async def me(request):
    tokens = [await admitted(request), await admitted_or_anonymous(request), await require("read")(request)]
    assert len({id(token) for token in tokens}) == 1
    return PlainTextResponse(tokens[0].subject)

async def admin(request):
    await require("admin")(request)

app = JWTGateMiddleware(Starlette(routes=[Route("/me", me), Route("/admin", admin)]), gate=gate_of())
good = (("authorization", "Bearer {good}"),)
print(ask_asgi(app, Sent(target="/me", headers=good)).body.decode(), ask_asgi(app, Sent(target="/admin", headers=good)).status)
"""


def test_starlette_without_fastapi_works() -> None:
    """FastAPI is nobody's requirement."""
    tests = str(Path(__file__).parent.parent)
    path = os.pathsep.join([tests, str(Path(tests).parent), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_FASTAPI],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert (ended.stdout.split(), ended.returncode) == (["alice", "403"], 0), ended.stderr
