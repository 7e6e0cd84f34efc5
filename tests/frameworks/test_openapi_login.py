"""``/docs`` of FastAPI: Authorize logs in with user name and password, as Swagger UI does it."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import OAuth2PasswordRequestForm
from fastapi.testclient import TestClient
from shells import FORMS, gate_of
from starlette import formparsers

from jwtgate import Token
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.frameworks.starlette import admitted, render_errors, require, show_login

EXEMPT = ("/auth/login", "/docs", "/openapi.json", "/health")


def app_of(gate: Any) -> FastAPI:
    """As the README's, with a scope and an exempt path."""
    app = FastAPI()
    app.add_middleware(JWTGateMiddleware, gate=gate)
    render_errors(app)
    show_login(app, "/auth/login")

    @app.post("/auth/login")
    def login(request: Request, form: Annotated[OAuth2PasswordRequestForm, Depends()]) -> Any:
        if (form.username, form.password) != ("alice", "correct horse"):
            raise HTTPException(403)
        return request.scope["jwtgate.gate"].sessions.start(form.username, scope=form.scopes).as_dict()

    @app.get("/hello")
    def hello(token: Annotated[Token, Depends(admitted)]) -> Any:
        return {"hello": token.subject}

    @app.get("/items")
    def items(token: Annotated[Token, Depends(require("items:read", "items:list"))]) -> Any:
        return {"of": token.subject}

    @app.get("/plain")
    def plain(request: Request) -> Any:
        return {"hello": request.user.identity}

    @app.get("/health", openapi_extra={"security": []})
    def health() -> str:
        return "up"

    return app


@pytest.fixture
def client() -> Any:
    """Of an application whose gate is live."""
    gate = gate_of(exempt=EXEMPT)
    with TestClient(app_of(gate)) as client:
        yield client
    gate.close()


def asked_by(told: Any, path: str, method: str = "get") -> set[str]:
    """Names of the schemes by which an operation may be reached: its own, else those of the document (OpenAPI 3.1 §4.8.10)."""
    own = told["paths"][path][method].get("security", told["security"])
    return {name for alternative in own for name in alternative}


def test_document_has_both_ways_to_a_token(client: Any) -> None:
    """Each of them alone is enough, and neither is asked of the login or of what is said to be open."""
    told = client.get("/openapi.json").json()
    schemes = told["components"]["securitySchemes"]
    assert (schemes["jwtgate"]["type"], schemes["jwtgate"]["scheme"]) == ("http", "bearer")
    flow = schemes["jwtgate_login"]["flows"]["password"]
    assert (schemes["jwtgate_login"]["type"], flow["tokenUrl"]) == ("oauth2", "/auth/login")
    for path in ("/hello", "/items", "/plain"):
        assert asked_by(told, path) == {"jwtgate", "jwtgate_login"}
        alternatives = told["paths"][path]["get"].get("security", told["security"])
        assert all(len(each) == 1 for each in alternatives)
    assert asked_by(told, "/auth/login", "post") == set() == asked_by(told, "/health")


def test_scopes_of_the_flow_are_those_of_the_operations(client: Any) -> None:
    """As far as this FastAPI names scopes of a bearer scheme at all."""
    told = client.get("/openapi.json").json()
    of_items: dict[str, set[str]] = {"jwtgate": set(), "jwtgate_login": set()}
    for each in told["paths"]["/items"]["get"]["security"]:
        for name, scopes in each.items():
            of_items[name].update(scopes)
    assert of_items["jwtgate_login"] == of_items["jwtgate"]
    assert set(told["components"]["securitySchemes"]["jwtgate_login"]["flows"]["password"]["scopes"]) == of_items["jwtgate"]


def test_asking_twice_gives_the_same_document(client: Any) -> None:
    """FastAPI keeps it, and makes it anew when a route comes."""
    app = client.app
    assert app.openapi() == client.get("/openapi.json").json() == app.openapi()


@FORMS
def test_swagger_ui_logs_in(client: Any) -> None:
    """Its request (swagger-ui 5, password flow): a form, an empty client in Basic, and then Bearer with what came."""
    assert client.get("/docs").status_code == 200
    assert client.get("/hello").status_code == 401
    told = client.get("/openapi.json").json()
    flow = told["components"]["securitySchemes"]["jwtgate_login"]["flows"]["password"]
    answer = client.post(
        flow["tokenUrl"],
        data={"grant_type": "password", "scope": "items:read items:list", "username": "alice", "password": "correct horse"},
        headers={"Authorization": "Basic Og==", "X-Requested-With": "XMLHttpRequest"},
    )
    assert answer.status_code == 200
    authorization = f"{answer.json()['token_type']} {answer.json()['access_token']}"
    assert client.get("/hello", headers={"Authorization": authorization}).json() == {"hello": "alice"}
    assert client.get("/items", headers={"Authorization": authorization}).json() == {"of": "alice"}
    assert client.get("/plain", headers={"Authorization": authorization}).json() == {"hello": "alice"}


@FORMS
def test_wrong_password_is_the_applications_own_answer(client: Any) -> None:
    """Swagger UI shows it."""
    answer = client.post("/auth/login", data={"grant_type": "password", "username": "alice", "password": "x"})
    assert answer.status_code == 403


def test_document_without_operations_of_ours_is_told_all_the_same() -> None:
    """An application that asks no dependency, and has its login elsewhere."""
    app = FastAPI(docs_url=None)
    app.get("/")(lambda: None)
    show_login(app, "https://id.example/token")
    told = app.openapi()
    assert asked_by(told, "/") == {"jwtgate", "jwtgate_login"}
    assert told["components"]["securitySchemes"]["jwtgate_login"]["flows"]["password"] == {
        "tokenUrl": "https://id.example/token",
        "scopes": {},
    }


def test_login_of_a_mounted_application_is_below_it() -> None:
    """A path without a slash at its beginning is taken from where the document is; the login still asks for no token."""
    app = FastAPI()
    app.post("/auth/login")(lambda: None)
    show_login(app, "auth/login")
    told = app.openapi()
    assert told["components"]["securitySchemes"]["jwtgate_login"]["flows"]["password"]["tokenUrl"] == "auth/login"
    assert told["paths"]["/auth/login"]["post"]["security"] == []
