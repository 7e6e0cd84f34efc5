"""The metadata of the resource through both shells: for anybody, at the root, and said in every challenge (RFC 9728)."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from keymaking import make_pairs
from shells import Answer, Sent, Sink, asgi_application, ask_asgi, ask_wsgi, gate_of, scope_of, tokens, wsgi_application

from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

if TYPE_CHECKING:
    from jwtgate import Gate

RESOURCE = "https://a.example/api"
PATH = "/.well-known/oauth-protected-resource/api"
METADATA = f"https://a.example{PATH}"


@cache
def gate(**settings: Any) -> Gate:
    return gate_of(resource=RESOURCE, **settings)


def ask(sent: Sent, root: str = "", **settings: Any) -> Answer:
    """The answer, which is the same from both shells."""
    gate_ = gate(**settings)
    by_asgi = ask_asgi(ASGIMiddleware(asgi_application, gate=gate_), sent, root_path=root)
    by_wsgi = ask_wsgi(WSGIMiddleware(wsgi_application, gate=gate_), sent, SCRIPT_NAME=root)
    assert by_asgi == by_wsgi
    return by_asgi


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("authorization", "Bearer {good}"),),
        (("authorization", "Bearer {revoked}"),),
        (("authorization", "nonsense"), ("host", "evil.example")),
    ],
)
def test_anybody_may_ask(headers: tuple[tuple[str, str], ...]) -> None:
    """With a token, with a bad one, with none; the Host says nothing."""
    for _ in range(2):  # the second time a good token is remembered
        answer = ask(Sent(target=f"{PATH}?x=1", headers=headers))
        assert (answer.status, json.loads(answer.body)) == (200, {"resource": RESOURCE, "bearer_methods_supported": ["header"]})
        assert (answer.header("access-control-allow-origin"), answer.header("www-authenticate")) == ("*", None)


def test_remembered_token_does_not_lead_past_it() -> None:
    """The hot path looks at the path where there is one of ours."""
    headers = (("authorization", "Bearer {good}"),)
    assert ask(Sent(headers=headers)).status == 200
    assert "resource" in json.loads(ask(Sent(target=PATH, headers=headers)).body)


@pytest.mark.parametrize("root", ["/api", "/elsewhere"])
def test_it_is_at_the_root_of_the_host(root: str) -> None:
    """Also where the application is mounted below one. Servers put the root into the path, or leave it out of it."""
    gate_ = gate()
    asgi, wsgi = ASGIMiddleware(asgi_application, gate=gate_), WSGIMiddleware(wsgi_application, gate=gate_)
    for target in (PATH, root + PATH):
        assert ask_asgi(asgi, Sent(target=target), root_path=root).status == 200
    assert ask_wsgi(wsgi, Sent(target=PATH), SCRIPT_NAME=root).status == 200
    script_name, path_info = PATH.rsplit("/", 1)
    assert ask_wsgi(wsgi, Sent(target=f"/{path_info}"), SCRIPT_NAME=script_name, RAW_URI=PATH).status == 200


def test_head_has_the_headers_alone() -> None:
    """RFC 9110 §9.3.2."""
    whole, head = ask(Sent(target=PATH)), ask(Sent("HEAD", PATH))
    assert (head.status, head.headers, head.body) == (200, whole.headers, b"")


def test_other_methods_are_405_and_preflights_the_applications() -> None:
    """Fetch §4.8: whoever serves other origins says so itself."""
    refused = ask(Sent("POST", PATH))
    assert (refused.status, refused.header("allow")) == (405, "GET, HEAD")
    preflight = Sent("OPTIONS", PATH, (("origin", "https://x.example"), ("access-control-request-method", "GET")))
    assert json.loads(ask(preflight).body)["identity"] == ""


def test_handshake_is_the_applications() -> None:
    """It needs a token as any other."""
    sink = Sink(incoming=[{"type": "websocket.connect"}])
    scope = scope_of(Sent(target=PATH), type="websocket")
    asyncio.run(ASGIMiddleware(asgi_application, gate=gate())(scope, sink.receive, sink.send))
    assert sink.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]


def test_everything_that_is_configured_stands_in_it() -> None:
    """Issuers that are URLs and whose tokens pass, scopes, and the keys where we sign and publish them."""
    pairs = make_pairs()
    issuers = (
        json.dumps(
            [
                {"issuer": "https://as.example", "public_key": pairs["rsa"].public_pem},
                {"issuer": "not-a-url", "public_key": pairs["rsa"].public_pem},
                {
                    "issuer": "https://tells.example",
                    "public_key": pairs["rsa"].public_pem,
                    "admits": "none",
                    "events_audience": "us",
                },
                {"issuer": "https://ours.example", "private_key": pairs["p256"].private_pem},
            ]
        ),
    )
    settings = {"secret": None, "issuers": issuers[0], "resource_scopes": ("read", "write"), "endpoints": "/auth"}
    told = json.loads(ask(Sent(target=PATH), root="/api", **settings).body)
    assert told == {
        "resource": RESOURCE,
        "jwks_uri": "https://a.example/api/auth/jwks.json",
        "authorization_servers": ["https://as.example", "https://ours.example"],
        "scopes_supported": ["read", "write"],
        "bearer_methods_supported": ["header"],
    }


def test_cookies_are_no_bearer_method() -> None:
    """RFC 6750 knows none; none is said as an empty list."""
    told = json.loads(ask(Sent(target=PATH), locations=("cookie",)).body)
    assert told == {"resource": RESOURCE, "bearer_methods_supported": []}


@pytest.mark.parametrize(
    ("headers", "sent"),
    [((), ""), ((("authorization", "Bearer {expired}"),), 'error="invalid_token"')],
)
def test_every_challenge_says_where(headers: tuple[tuple[str, str], ...], sent: str) -> None:
    """RFC 9728 §5.1; and without RESOURCE nothing is said."""
    answer = ask(Sent(headers=headers))
    challenge = answer.header("www-authenticate") or ""
    assert answer.status == 401 and sent in challenge
    assert challenge.endswith(f', resource_metadata="{METADATA}"')
    bare = ask_asgi(ASGIMiddleware(asgi_application, gate=gate_of()), Sent(headers=headers))
    assert challenge == f'{bare.header("www-authenticate")}, resource_metadata="{METADATA}"'
    assert (answer.body, answer.status) == (bare.body, bare.status)


def test_error_that_is_raised_says_where() -> None:
    """Who renders refusals of ``Gate.verify`` itself finds it in the error's challenge."""
    gate_ = gate()
    with pytest.raises(Exception, match="exp is past") as caught:
        gate_.verify(tokens()["expired"])
    assert METADATA in str(getattr(caught.value, "challenge", ""))


def test_without_resource_the_path_is_the_applications() -> None:
    """And needs a token."""
    bare = gate_of()
    for answer in (
        ask_asgi(ASGIMiddleware(asgi_application, gate=bare), Sent(target=PATH)),
        ask_wsgi(WSGIMiddleware(wsgi_application, gate=bare), Sent(target=PATH)),
    ):
        assert answer.status == 401
