"""Flask applications behind the extension: what their views get, and the gate's answers, byte for byte."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from flask import Blueprint, Flask, jsonify
from flask.views import MethodView, View
from holders import Holder, aged
from shells import Answer, Sent, ask_wsgi, gate_of, token_of_claims, tokens

from jwtgate import Gate, Token, token_of
from jwtgate.errors import (
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidToken,
    JWTGateError,
    MissingToken,
    SettingsError,
    StoreUnavailable,
    SubjectSuspended,
)
from jwtgate.frameworks.flask import JWTGate, current_token, token_required
from jwtgate.testing import gate as fixture_gate
from jwtgate.wsgi import JWTGateMiddleware

GOOD = (("authorization", "Bearer {good}"),)
"""Of alice, with the scopes read and write."""


def bearer(**claims: Any) -> tuple[tuple[str, str], ...]:
    """A request with a token of these claims."""
    return (("authorization", f"Bearer {token_of_claims(**claims)}"),)


def gates_answer(gate: Gate, error: JWTGateError) -> Answer:
    """As the gate gives it."""
    rendered = gate.answer(error)
    return Answer(rendered.status, tuple(sorted(rendered.headers)), rendered.body)


def told() -> Any:
    """What a view sees."""
    return jsonify(current_token.subject)


def plain_app() -> Flask:
    """Views, and no gate yet."""
    app = Flask(__name__)

    @app.get("/me")
    @token_required
    def me() -> Any:
        return told()

    @app.get("/async")
    @token_required(scopes=["read"])
    async def waiting() -> Any:
        return told()

    @app.get("/perhaps")
    @token_required(optional=True, scopes="write")
    def perhaps() -> Any:
        return told() if current_token else jsonify(None)

    @app.get("/open")
    def open_to_all() -> Any:
        return told()

    @app.get("/admin")
    @token_required(scopes="read admin")
    def admin() -> Any:
        return told()

    @app.get("/fresh")
    @token_required(scopes="read", fresh=300)
    def fresh() -> Any:
        return told()

    blueprint = Blueprint("shop", __name__, url_prefix="/shop")

    @blueprint.get("/admin")
    @token_required(scopes=("admin",))
    def shop_admin() -> Any:
        return told()

    app.register_blueprint(blueprint)

    class Items(MethodView):
        decorators = [token_required(scopes="read")]

        def get(self, number: int) -> Any:
            return jsonify([number, current_token.subject])

        @token_required(scopes="admin")
        async def delete(self, number: int) -> Any:
            return jsonify(number)

    class Page(View):
        decorators = [token_required]

        async def dispatch_request(self) -> Any:
            return told()

    app.add_url_rule("/items/<int:number>", view_func=Items.as_view("items"))
    app.add_url_rule("/page", view_func=Page.as_view("page"))
    return app


def flask_app(gate: Gate) -> Flask:
    """Behind the extension."""
    app = plain_app()
    JWTGate(app, gate=gate)
    return app


@pytest.fixture
def gate() -> Any:
    """In optional mode, so that anonymous requests reach the views."""
    gate = gate_of("optional")
    yield gate
    gate.close()


def get(app: Any, target: str, headers: tuple[tuple[str, str], ...] = (), method: str = "GET") -> Answer:
    """One request through the server's door."""
    return ask_wsgi(app, Sent(method, target, headers))


# --- tokens and refusals


def test_view_gets_the_very_token_of_the_middleware(gate: Gate) -> None:
    """Decided once: the view asks the gate nothing, on a first sight or a second."""
    app = flask_app(gate)
    assert gate.ready()
    for hits in range(3):
        assert json.loads(get(app, "/me", GOOD).body) == "alice"
        status = gate.status()
        assert (status.hits, status.misses, status.look_ups) == (hits, 1, 0)


def test_anonymous_request_gets_the_answer_of_a_gate_that_requires_tokens(gate: Gate) -> None:
    """Interface §4: 401 with a challenge that has no error, the same bytes as the middleware's own."""
    strict = gate_of()
    app, own = flask_app(gate), flask_app(strict)
    for target in ("/me", "/async", "/admin", "/fresh", "/shop/admin", "/items/1", "/page"):
        for method in ("GET", "HEAD"):
            assert get(app, target, method=method) == get(own, target, method=method), target
    assert get(app, "/me") == gates_answer(gate, MissingToken())
    bad = (("authorization", "Bearer a.b.c"),)
    assert get(app, "/me", bad) == get(own, "/me", bad)
    strict.close()


@pytest.mark.parametrize(
    ("target", "method", "scopes"),
    [("/admin", "GET", ("read", "admin")), ("/shop/admin", "GET", ("admin",)), ("/items/1", "DELETE", ("admin",))],
)
def test_scope_too_small_is_the_gates_403(gate: Gate, target: str, method: str, scopes: tuple[str, ...]) -> None:
    """RFC 6750 §3.1: ``insufficient_scope`` names the scopes, in blueprints and methods, too."""
    app = flask_app(gate)
    assert get(app, target, GOOD, method) == gates_answer(gate, InsufficientScope(*scopes))
    assert gate.status().refused == {"insufficient_scope": 1}
    assert get(app, target, bearer(sub="root", scope="admin read"), method).status == 200


@pytest.mark.parametrize("target", ["/async", "/page", "/items/7"])
def test_views_of_every_kind_are_served(gate: Gate, target: str) -> None:
    """Plain and async, functions and classes."""
    assert b"alice" in get(flask_app(gate), target, GOOD).body


def test_old_login_is_asked_to_log_in_again(gate: Gate) -> None:
    """RFC 9470 §3: ``insufficient_user_authentication`` with ``max_age``; a scope that is missing is said first."""
    app = flask_app(gate)
    now = int(time.time())
    stale = gates_answer(gate, InsufficientUserAuthentication(300))
    assert get(app, "/fresh", bearer(sub="alice", scope="read", auth_time=now - 10)).status == 200
    assert get(app, "/fresh", bearer(sub="alice", scope="read", auth_time=now - 400)) == stale
    assert get(app, "/fresh", GOOD) == stale, "a token that does not say when"
    assert 'max_age="300"' in (stale.header("www-authenticate") or "")
    assert get(app, "/fresh", bearer(sub="alice", auth_time=now - 400)) == gates_answer(gate, InsufficientScope("read"))


def test_freshness_is_by_the_clock_of_the_gate() -> None:
    """Which the tests of an application may stop, and move."""
    with fixture_gate() as gate:
        app = flask_app(gate)
        token = gate.token_for("alice", scopes=["read"], claims={"auth_time": int(gate.clock.wall())}, ttl=3600)
        shown = (("authorization", f"Bearer {token}"),)
        gate.clock.advance(300)
        assert get(app, "/fresh", shown).status == 200
        gate.clock.advance(1)
        assert get(app, "/fresh", shown) == gates_answer(gate, InsufficientUserAuthentication(300))


def test_optional_view_lets_the_anonymous_pass(gate: Gate) -> None:
    """And a bad token is no absent one; a token must have the scopes."""
    app = flask_app(gate)
    assert json.loads(get(app, "/perhaps").body) is None
    assert json.loads(get(app, "/perhaps", GOOD).body) == "alice"
    assert get(app, "/perhaps", (("authorization", "Bearer x"),)).status == 401
    assert get(app, "/perhaps", bearer(sub="bob")) == gates_answer(gate, InsufficientScope("write"))


def test_optional_view_does_not_open_a_gate_that_requires_tokens() -> None:
    """The middleware decides who comes in; a view can only ask for more."""
    gate = gate_of()
    assert get(flask_app(gate), "/perhaps") == gates_answer(gate, MissingToken())
    gate.close()


def test_exempt_path_is_anonymous_whatever_is_sent() -> None:
    """Interface §1: no credential is read there."""
    gate = gate_of(exempt=("/me", "/perhaps"))
    app = flask_app(gate)
    assert json.loads(get(app, "/perhaps", GOOD).body) is None
    assert get(app, "/me", GOOD) == gates_answer(gate, MissingToken())
    gate.close()


def test_revoked_token_never_reaches_a_view(gate: Gate) -> None:
    """The middleware refuses it, with its own words."""
    app = flask_app(gate)
    assert get(app, "/me", GOOD).status == 200
    gate.revoke(jti="good", wait=True)
    assert get(app, "/me", GOOD) == gates_answer(gate, InvalidToken())


def test_bound_token_is_answered_under_its_own_scheme() -> None:
    """RFC 9449 §7.1: who came with DPoP is challenged in it, and told one nonce."""
    holder = Holder()
    gate = aged(gate_of(dpop="on", dpop_nonce_secret="n" * 32, public_url="http://app.example"))
    token = token_of_claims(sub="alice", scope="read", cnf={"jkt": holder.thumbprint})
    app = flask_app(gate)

    def ask(**claims: Any) -> Answer:
        return get(app, "/admin", holder.request(token, htu="http://app.example/admin", **claims))

    error = InsufficientScope("read", "admin")
    error.is_dpop = True
    answer = ask(nonce=ask().header("dpop-nonce"))
    assert answer == gates_answer(gate, error)
    assert str(answer.header("www-authenticate")).startswith("DPoP ")
    gate.close()


# --- the token of the request


def test_current_token_is_the_token(gate: Gate) -> None:
    """In every way but identity."""
    app = flask_app(gate)
    found: list[Any] = []

    @app.get("/look")
    def look() -> str:
        verified = replace(gate.verify(tokens()["good"]), source="header")
        found.append((bool(current_token), isinstance(current_token, Token), current_token == verified))
        found.append(repr(current_token))
        found.append(current_token.scopes)
        return ""

    get(app, "/look", GOOD)
    assert found == [(True, True, True), "<Token source='header'>", {"read", "write"}]


def test_claim_of_an_anonymous_request_is_refused(gate: Gate) -> None:
    """Who forgets to ask whether there is a token lets nobody in, and the answer is the gate's."""
    app = flask_app(gate)
    seen: list[Any] = []

    @app.get("/look")
    def look() -> str:
        seen.append((bool(current_token), isinstance(current_token, Token)))
        return str(current_token.claims["sub"])

    assert get(app, "/look") == gates_answer(gate, MissingToken())
    assert get(app, "/open") == gates_answer(gate, MissingToken())
    assert seen == [(False, False)]
    assert not current_token, "nor is there one outside of requests"


def test_no_token_crosses_from_one_request_to_another(gate: Gate) -> None:
    """The proxy looks at the request it is in."""
    app = flask_app(gate)
    for headers, subject in [(GOOD, "alice"), ((), None), (bearer(sub="bob", scope="write"), "bob"), ((), None)]:
        assert json.loads(get(app, "/perhaps", headers).body) == subject


# --- errors of views


@pytest.mark.parametrize("error", [SubjectSuspended(), StoreUnavailable(), InvalidToken(), InsufficientScope("x")])
def test_errors_of_views_get_the_gates_answer(gate: Gate, error: JWTGateError) -> None:
    """The extension has registered the handler."""
    app = flask_app(gate)

    @app.get("/login")
    def login() -> None:
        raise error

    assert get(app, "/login") == gates_answer(gate, error)


def test_handler_of_the_application_stays(gate: Gate) -> None:
    """Whoever has an answer of their own for one kind of error keeps it; one for all exceptions takes none of ours."""
    app = flask_app(gate)
    app.register_error_handler(InsufficientScope, lambda error: (list(error.scopes), 418))
    app.register_error_handler(Exception, lambda _: ("broken", 500))
    assert get(app, "/me") == gates_answer(gate, MissingToken())
    assert json.loads(get(app, "/admin", GOOD).body) == ["read", "admin"]


def test_views_are_answered_behind_the_bare_middleware(gate: Gate) -> None:
    """Without the extension there is no handler, and the answers are the same."""
    app = plain_app()
    app.wsgi_app = JWTGateMiddleware(app.wsgi_app, gate=gate)  # type: ignore[method-assign]
    assert json.loads(get(app, "/me", GOOD).body) == "alice"
    assert get(app, "/me") == gates_answer(gate, MissingToken())
    assert get(app, "/admin", GOOD) == gates_answer(gate, InsufficientScope("read", "admin"))


# --- the extension


def test_extension_is_configured_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a factory: one gate for all applications."""
    extension = JWTGate()
    with pytest.raises(RuntimeError, match="init_app"):
        _ = extension.gate
    monkeypatch.setenv("JWTGATE_SECRET", "the secret of an environment, of more than thirty-two bytes")
    first, second = plain_app(), plain_app()
    extension.init_app(first)
    extension.init_app(second)
    assert extension.gate is Gate.from_env() is first.extensions["jwtgate"].gate
    token = extension.gate.issue("alice", scope="read")
    for app in (first, second):
        assert json.loads(get(app, "/me", (("authorization", f"Bearer {token}"),)).body) == "alice"
    extension.gate.close()


def test_wrong_settings_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interface §4: when it is built, not at the first request."""
    monkeypatch.setenv("JWTGATE_SECRET", "short")
    app = plain_app()
    with pytest.raises(SettingsError):
        JWTGate(app)
    assert "jwtgate" not in app.extensions


def test_one_application_has_one_gate(gate: Gate) -> None:
    """A second would decide again, be the first the extension's or the bare middleware."""
    app, bare = flask_app(gate), plain_app()
    bare.wsgi_app = JWTGateMiddleware(bare.wsgi_app, gate=gate)  # type: ignore[method-assign]
    for each in (app, bare):
        with pytest.raises(RuntimeError, match="decide twice"):
            JWTGate(each, gate=gate)


def test_without_the_extension_nothing_is_admitted(gate: Gate) -> None:
    """Never an anonymous request: an error that says which line is missing."""
    app = plain_app()
    app.testing = True
    for target in ("/me", "/perhaps", "/open", "/admin", "/items/1", "/page"):
        with pytest.raises(LookupError, match=r"JWTGate\(app\)"):
            get(app, target, GOOD)
    forged = {"jwtgate.token": gate.verify(tokens()["good"]), "jwtgate.gate": object()}
    with pytest.raises(LookupError):
        ask_wsgi(app, Sent(target="/me"), **forged)
    app.testing = False
    assert get(app, "/me", GOOD).status == 500


@pytest.mark.parametrize(
    "wrong",
    [{"scopes": ""}, {"scopes": [""]}, {"scopes": ["a b"]}, {"scopes": [1]}, {"fresh": 0}, {"fresh": True}, {"fresh": "5"}],
)
def test_mistakes_are_said_where_they_are_made(wrong: dict[str, Any]) -> None:
    """RFC 6749 §3.3, RFC 9470 §3: when the view is decorated."""
    with pytest.raises((ValueError, TypeError)):
        token_required(**wrong)
    with pytest.raises(TypeError, match="by name, for example scopes='read'"):
        token_required("items:write")  # type: ignore[type-var]


def test_guard_above_the_route_guards(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    """As the source reads, though Flask was given the bare view; a line tells where it belongs."""
    app = Flask(__name__)

    @token_required(scopes="admin")
    @app.get("/above")
    def above() -> Any:
        return told()

    @app.get("/open")
    def both() -> Any:
        return told()

    app.add_url_rule("/guarded", view_func=token_required(scopes="admin")(both), endpoint="guarded")
    JWTGate(app, gate=gate)
    statuses = [get(app, path, GOOD).status for path in ("/above", "/open", "/guarded", "/above")]
    assert statuses == [403, 200, 403, 403]
    assert [record.getMessage() for record in caplog.records if "token_required" in record.getMessage()] == [
        "@token_required stands above the route of 'above', where Flask does not see it: it is served guarded; put it below"
    ]


def test_guards_above_the_route_guard_together(gate: Gate) -> None:
    """None of those that stand there is lost."""
    app = Flask(__name__)

    @token_required(scopes="admin")
    @token_required
    @app.get("/above")
    def above() -> Any:
        return told()

    JWTGate(app, gate=gate)
    assert get(app, "/above", GOOD).status == 403


def test_guard_of_another_application_takes_no_place(gate: Gate) -> None:
    """Of one view each application has its own, however little the one before it asked for."""

    def view() -> Any:
        return told()

    statuses = []
    for rules in ({}, {"scopes": "admin"}, {"scopes": "read"}):
        app = Flask(__name__)
        app.add_url_rule("/view", view_func=token_required(**rules)(view))
        JWTGate(app, gate=gate)
        statuses.append(get(app, "/view", GOOD).status)
    assert statuses == [200, 403, 200]


def test_decorated_view_keeps_its_name() -> None:
    """Flask names endpoints by it."""
    assert plain_app().view_functions.keys() >= {"me", "waiting", "perhaps", "shop.shop_admin", "items"}


def test_token_of_and_current_token_agree(gate: Gate) -> None:
    """The proxy is a way to the same entry of the environ."""
    app = flask_app(gate)
    seen: list[Any] = []
    inner = app.wsgi_app.app  # type: ignore[attr-defined]

    def looking(environ: Any, start_response: Any) -> Any:
        seen.append(token_of(environ))
        return inner(environ, start_response)

    app.wsgi_app.app = looking  # type: ignore[attr-defined]
    assert json.loads(get(app, "/me", GOOD).body) == seen[0].subject
