"""The same in each WSGI framework."""

from __future__ import annotations

from typing import Any

from shells import seen, wsgi_application

from jwtgate.errors import SubjectSuspended
from jwtgate.frameworks.flask import JWTGate, current_token, token_required
from jwtgate.wsgi import JWTGateMiddleware

METHODS = ["GET", "HEAD", "POST", "OPTIONS"]
JSON = "application/json"


def told(environ: Any) -> bytes:
    """By an environ; ``REMOTE_USER`` is UTF-8 as latin-1 (PEP 3333)."""
    return seen(environ["jwtgate.token"], environ.get("REMOTE_USER", "").encode("latin-1").decode())


def flask() -> Any:
    """``current_token``, and the environ."""
    from flask import Flask, Response, request

    app = Flask(__name__)
    JWTGate(app)

    @app.route("/", defaults={"path": ""}, methods=METHODS, provide_automatic_options=False)
    @app.route("/<path:path>", methods=METHODS, provide_automatic_options=False)
    def tell(path: str) -> Response:
        assert bool(current_token) is (request.environ["jwtgate.token"] is not None)
        return Response(told(request.environ), content_type=JSON)

    @app.get("/admin")
    @token_required(scopes="admin")
    def admin() -> Any:
        return current_token.subject

    @app.get("/public/insist")
    @token_required
    def insist() -> Any:
        return current_token.subject

    @app.get("/login")
    def suspended() -> None:
        raise SubjectSuspended

    return app


def falcon() -> Any:
    """``req.env``."""
    from falcon import App

    def tell(req: Any, resp: Any) -> None:
        resp.data = told(req.env)
        resp.content_type = JSON

    app = App()
    app.add_sink(tell, "/")
    return JWTGateMiddleware(app)


def pyramid() -> Any:
    """``request.environ``; ``request.remote_user`` is the subject's bytes."""
    from pyramid.config import Configurator
    from pyramid.response import Response

    def tell(request: Any) -> Response:
        return Response(told(request.environ), content_type=JSON, charset=None)

    with Configurator() as config:
        config.add_route("all", "/*path")
        config.add_view(tell, route_name="all")
    return JWTGateMiddleware(config.make_wsgi_app())


def bottle() -> Any:
    """``request.environ``."""
    from bottle import Bottle, request, response

    app = Bottle()

    @app.route("/", METHODS)
    @app.route("/<path:path>", METHODS)
    def tell(path: str = "") -> bytes:
        response.content_type = JSON
        return told(request.environ)

    return JWTGateMiddleware(app)


def django() -> Any:
    """``request.auth`` and ``request.user``, by Django's middleware of ours."""
    from django.core.handlers.wsgi import WSGIHandler
    from pairs import django_urls

    django_urls.take()
    return JWTGateMiddleware(WSGIHandler())


FRAMEWORKS = {
    "plain": lambda: JWTGateMiddleware(wsgi_application),
    **{made.__name__: made for made in (flask, falcon, pyramid, bottle, django)},
}


def application() -> Any:
    """One that hands on by the header ``X-Framework``."""
    apps = {name: make() for name, make in FRAMEWORKS.items()}
    return lambda environ, start_response: apps[environ["HTTP_X_FRAMEWORK"]](environ, start_response)
