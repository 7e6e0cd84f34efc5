"""Sender-constrained tokens through both shells: RFC 9449 and RFC 8705 §3, the same answers from each."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import jwt
import pytest
from beside import together
from certificates import certificate, pem_of, thumbprint_of
from holders import SECRET, URL, Holder, aged, encoded, token
from proof_table import TABLE, Row
from shells import (
    Answer,
    Sent,
    asgi_application,
    ask_asgi,
    ask_wsgi,
    environ_of,
    scope_of,
    send_asgi,
    send_wsgi,
    wsgi_application,
)

from jwtgate import Gate, Request, Settings
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.errors import InvalidToken, StoreUnavailable
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

ALGS = "ES256 EdDSA ES384 ES512 PS256 RS256"
DESCRIBED = 'error_description="The access token is invalid, expired or revoked."'
REFUSED_BEARER = f'Bearer realm="jwtgate", error="invalid_token", {DESCRIBED}'
REFUSED_DPOP = f'DPoP realm="jwtgate", error="invalid_token", {DESCRIBED}, algs="{ALGS}"'
BAD_PROOF = (
    'DPoP realm="jwtgate", error="invalid_dpop_proof", '
    f'error_description="The DPoP proof is missing, invalid or not for this request.", algs="{ALGS}"'
)
OFFERED = f', DPoP algs="{ALGS}"'

NONCE_SECRET = "a-secret-of-all-workers-for-their-nonces"

MODES: dict[str, dict[str, Any]] = {
    "off": {},
    "on": {"dpop": "on", "public_url": URL},
    "required": {"dpop": "required", "public_url": URL},
    "nonce": {"dpop": "on", "public_url": URL, "dpop_nonce_secret": NONCE_SECRET},
    "cookie": {"dpop": "on", "public_url": URL, "locations": ("header", "cookie"), "csrf": "off"},
    "endpoints": {"dpop": "on", "public_url": URL, "endpoints": "/auth", "clients": (f"api:{'0' * 64}",)},
    "proxy": {"client_cert": "Client-Cert", "trusted_proxies": ("10.0.0.0/8",)},
}


def gate_of(mode: str, **more: Any) -> Gate:
    """A new one; nothing was shown before."""
    return aged(Gate(Settings(**{"secret": SECRET, "lease": 0.25, **MODES[mode], **more})))


class Both:
    """Both shells, each before a gate of its own: a proof is good for one request."""

    def __init__(self, mode: str, **more: Any) -> None:
        self.gates = gate_of(mode, **more), gate_of(mode, **more)
        self.asgi = ASGIMiddleware(asgi_application, gate=self.gates[0])
        self.wsgi = WSGIMiddleware(wsgi_application, gate=self.gates[1])

    def ask(self, sent: Sent, scope: dict[str, Any] | None = None, environ: dict[str, Any] | None = None) -> Answer:
        """The one answer."""
        one = ask_asgi(self.asgi, sent, **(scope or {}))
        other = ask_wsgi(self.wsgi, sent, **(environ or {}))
        assert one == other
        return one

    def get(self, *headers: tuple[str, str], **how: Any) -> Answer:
        """GET /."""
        return self.ask(Sent(headers=headers), **how)


@cache
def both(mode: str) -> Both:
    """The same for the whole run."""
    return Both(mode)


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    for mode in MODES:
        for gate in both(mode).gates:
            gate.close()


def challenge(answer: Answer) -> str | None:
    """Of a refusal."""
    assert answer.status == 401
    return answer.header("www-authenticate")


def bearer(shown: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {shown}")


def dpop(shown: str) -> tuple[str, str]:
    return ("authorization", f"DPoP {shown}")


# --- proofs


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_both_shells_judge_a_proof_alike(row: Row) -> None:
    """The table of twelve checks, over HTTP: 200, or 401 with one challenge for all causes (RFC 9449 §7.1)."""
    holder = Holder(row.algorithm)
    shown = holder.bound()
    answer = both("on").get(dpop(shown), *[("dpop", line) for line in row.lines(holder, shown)])
    if row.is_good:
        assert answer.status == 200
        assert json.loads(answer.body)["identity"] == "alice"
    else:
        assert challenge(answer) == BAD_PROOF
        assert json.loads(answer.body)["error"] == "invalid_dpop_proof"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "get", "PROPFIND"])
def test_method_is_compared_as_it_was_sent(method: str) -> None:
    """Check 8: with its case."""
    holder = Holder()
    shown = holder.bound()
    sent = Sent(method, headers=holder.request(shown, htm=method))
    assert both("on").ask(sent).status == 200
    sent = Sent(method, headers=holder.request(shown, htm=method.swapcase()))
    assert challenge(both("on").ask(sent)) == BAD_PROOF


@pytest.mark.parametrize(
    ("target", "htu"),
    [
        ("/a/b?x=1", f"{URL}/a/b"),
        ("/a%20b", f"{URL}/a%20b"),
        ("/%7Ea", f"{URL}/~a"),
        ("/~a", f"{URL}/%7ea"),
        ("/a%2fb", f"{URL}/a%2Fb"),
        ("/%C3%A9", f"{URL}/%c3%a9"),
        ("//a", f"{URL}//a"),
        ("/a", "HTTPS://API.EXAMPLE.COM:443/a#x"),
    ],
)
def test_path_is_compared_in_its_normal_form(target: str, htu: str) -> None:
    """Check 9: RFC 3986 §6.2.2, over the path as it stood on the request line."""
    holder = Holder()
    shown = holder.bound()
    assert both("on").ask(Sent(target=target, headers=holder.request(shown, htu=htu))).status == 200


@pytest.mark.parametrize(
    ("target", "htu"),
    [
        ("/a", f"{URL}/A"),
        ("/a/", f"{URL}/a"),
        ("/a/../b", f"{URL}/b"),
        ("/a/../b", f"{URL}/a/../b"),
        ("/a/%2e%2e/b", f"{URL}/b"),
        ("/./b", f"{URL}/b"),
        ("//a", f"{URL}/a"),
        ("/a%2fb", f"{URL}/a/b"),
        ("/a/b", f"{URL}/a%2fb"),
        ("/a%00", f"{URL}/a"),
        ("/a%", f"{URL}/a%25"),
        ("/a;x", f"{URL}/a%3Bx"),
        ("http://evil.example/a", f"{URL}/a"),
        ("*", f"{URL}/"),
    ],
)
def test_path_that_is_another_one_is_refused(target: str, htu: str) -> None:
    """Also one that might be the same to somebody else."""
    holder = Holder()
    shown = holder.bound()
    answer = both("on").ask(Sent(target=target, headers=holder.request(shown, htu=htu)))
    assert challenge(answer) == BAD_PROOF


def test_host_plays_no_part() -> None:
    """Only the configured URL does: a client may write anything into Host and its like."""
    holder = Holder()
    shown = holder.bound()
    lies = (("host", "evil.example"), ("x-forwarded-host", "evil.example"), ("x-forwarded-proto", "http"))
    assert both("on").get(*holder.request(shown), *lies).status == 200
    answer = both("on").get(*holder.request(shown, htu="https://evil.example/"), *lies)
    assert challenge(answer) == BAD_PROOF


def test_mounted_application_has_the_uri_of_the_request_line() -> None:
    """``root_path`` and ``SCRIPT_NAME`` change what the application routes on, not what the client called."""
    holder = Holder()
    shown = holder.bound()
    scope = {"root_path": "/mounted", "path": "/mounted/a", "raw_path": b"/mounted/a"}
    environ = {"SCRIPT_NAME": "/mounted", "PATH_INFO": "/a", "RAW_URI": "/mounted/a?q"}
    how = {"scope": scope, "environ": environ}
    assert both("on").get(*holder.request(shown, htu=f"{URL}/mounted/a"), **how).status == 200
    assert challenge(both("on").get(*holder.request(shown, htu=f"{URL}/a"), **how)) == BAD_PROOF


def test_mount_counts_where_the_server_tells_no_request_line() -> None:
    """Else a proof for ``/a`` would open ``/mounted/a``: many servers tell only where the application is, and the rest."""
    holder = Holder()
    shown = holder.bound()
    scope = {"root_path": "/mounted", "path": "/mounted/\u00e9", "raw_path": None}
    environ = {"SCRIPT_NAME": "/mounted", "PATH_INFO": "/\xc3\xa9", "RAW_URI": "", "path": "/of/the/process"}
    how = {"scope": scope, "environ": environ}
    assert both("on").get(*holder.request(shown, htu=f"{URL}/mounted/%C3%A9"), **how).status == 200
    assert challenge(both("on").get(*holder.request(shown, htu=f"{URL}/%C3%A9"), **how)) == BAD_PROOF
    uncertain = {"scope": {**scope, "path": "/a/mounted"}, "environ": {**environ, "PATH_INFO": "/a/mounted", "SCRIPT_NAME": ""}}
    uncertain["environ"]["HTTP_X_VHM_ROOT"] = "/a"
    assert both("on").get(*holder.request(shown, htu=f"{URL}/a/mounted"), **uncertain).status == 200
    how["environ"] = {**environ, "SCRIPT_NAME": "/\xff"}
    how["scope"] = {**scope, "path": "/\ufffd/\u00e9"}
    assert challenge(both("on").get(*holder.request(shown, htu=f"{URL}/%C3%A9"), **how)) == BAD_PROOF


def test_public_url_may_have_a_path() -> None:
    """Which a proxy takes off."""
    holder = Holder()
    shown = holder.bound()
    shells = Both("on", public_url=f"{URL}/v1/")
    assert shells.get(*holder.request(shown, htu=f"{URL}/v1/")).status == 200
    assert challenge(shells.get(*holder.request(shown))) == BAD_PROOF


@pytest.mark.parametrize(
    ("version", "method", "let_in"), [("1.1", "GET", 1), ("2", "GET", 1), ("3", "GET", 1), ("2", "CONNECT", 0)]
)
def test_websocket_handshake_is_a_get_over_https(version: str, method: str, let_in: int) -> None:
    """Its htu has the scheme https, and the proof is as good for one handshake; whatever HTTP carries it (RFC 8441)."""
    holder = Holder()
    shown = holder.bound()
    called: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope["jwtgate.token"].subject)

    app = ASGIMiddleware(application, gate=both("on").gates[0])
    headers = holder.request(shown, htu=f"{URL}/ws", htm=method)
    for _ in range(2):
        scope = {**scope_of(Sent(target="/ws", headers=headers)), "type": "websocket", "http_version": version}
        del scope["method"]
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any, messages: list[Any] = messages) -> None:
            messages.append(message)

        asyncio.run(app(scope, receive, send))
    assert called == ["alice"] * let_in
    assert messages == [{"type": "websocket.close", "code": 1008, "reason": ""}]


# --- challenges


def test_both_schemes_are_offered() -> None:
    """RFC 9449 §7.2; in answers to Bearer the error belongs to Bearer, in answers to DPoP to DPoP."""
    shells, holder = both("on"), Holder()
    assert challenge(shells.get()) == f'Bearer realm="jwtgate"{OFFERED}'
    assert challenge(shells.get(bearer("a.b.c"))) == REFUSED_BEARER + OFFERED
    assert challenge(shells.get(dpop("a.b.c"))) == REFUSED_DPOP
    assert challenge(shells.get(dpop(holder.bound(exp=int(time.time()) - 5)))) == REFUSED_DPOP
    assert challenge(shells.get(dpop(holder.bound()))) == BAD_PROOF


def test_only_dpop_is_offered_where_it_is_required() -> None:
    """An unbound token is refused, too."""
    shells = both("required")
    assert challenge(shells.get()) == f'DPoP realm="jwtgate", algs="{ALGS}"'
    assert challenge(shells.get(bearer(token({})))) == REFUSED_DPOP
    holder = Holder()
    assert shells.get(*holder.request(shown := holder.bound())).status == 200
    assert challenge(shells.get(bearer(shown))) == REFUSED_DPOP


def test_nothing_is_offered_where_it_is_off() -> None:
    """Every byte of every answer is as ever: the scheme is somebody else's."""
    holder = Holder()
    shells = both("off")
    assert challenge(shells.get()) == 'Bearer realm="jwtgate"'
    assert challenge(shells.get(*holder.request(holder.bound()))) == 'Bearer realm="jwtgate"'
    assert challenge(shells.get(bearer(holder.bound()))) == REFUSED_BEARER
    assert shells.get(bearer(token({})), ("dpop", "x")).status == 200


def test_scheme_is_read_in_any_case() -> None:
    """RFC 9110 §11.1."""
    holder = Holder()
    for scheme in ("dpop", "DPOP", "dPoP"):
        shown = holder.bound()
        answer = both("on").get(("authorization", f"{scheme}   {shown}"), ("dpop", holder.proof(shown)))
        assert answer.status == 200


# --- what a token is bound to

STRANGE = [
    *({"cnf": each} for each in (None, "x", 5, [], {}, True, [{"jkt": "x"}])),
    *({"cnf": {"jkt": each}} for each in (None, "", "x", 5, "A" * 42, "A" * 44, "A" * 42 + "=", "é" * 43, ["A" * 43])),
    *({"cnf": {"x5t#S256": each}} for each in (None, "", "A" * 42, {"a": 1})),
    *({"cnf": {name: "A" * 43}} for name in ("kid", "jwk", "jku", "x5t", "osc", "JKT", "x5t#s256")),
    {"cnf": {"jkt": "A" * 43, "kid": "x"}},
    {"cnf": {"jkt": "A" * 43, "x5t#S256": "A"}},
]


@pytest.mark.parametrize("mode", ["off", "on", "required"])
@pytest.mark.parametrize("claims", STRANGE, ids=repr)
def test_what_nobody_can_show_is_refused(claims: dict[str, Any], mode: str) -> None:
    """Whatever the settings, in any way of showing it."""
    shown = token(claims)
    for headers in ((bearer(shown),), (dpop(shown), ("dpop", Holder().proof(shown)))):
        assert both(mode).get(*headers).status == 401
    with pytest.raises(InvalidToken):
        both(mode).gates[0].verify(shown)


@pytest.mark.parametrize("mode", ["on", "required", "off"])
def test_bound_token_is_no_bearer_token(mode: str) -> None:
    """RFC 9449 §7.2: also with a good proof beside it, and also once it is remembered."""
    holder = Holder()
    shown = holder.bound()
    assert both(mode).get(bearer(shown)).status == 401
    if mode != "off":
        assert both(mode).get(*holder.request(shown)).status == 200
    for headers in ((bearer(shown),), (bearer(shown), ("dpop", holder.proof(shown)))):
        assert challenge(both(mode).get(*headers)).startswith("DPoP" if mode == "required" else "Bearer")  # type: ignore[union-attr]
    with pytest.raises(InvalidToken):
        both(mode).gates[0].verify(shown)


def test_unbound_token_is_no_dpop_token() -> None:
    """Check 12, also once it is remembered as a Bearer token."""
    holder = Holder()
    shown = token({})
    for _ in range(2):
        assert challenge(both("on").get(*holder.request(shown))) == REFUSED_DPOP
        assert both("on").get(bearer(shown)).status == 200


def test_proof_beside_an_unbound_token_is_not_read() -> None:
    """It is a header like any other then: the token is a Bearer token to everybody."""
    for value in ("x", Holder().proof("other")):
        assert both("on").get(bearer(token({})), ("dpop", value), ("dpop", value)).status == 200


def test_cookie_holds_nobody() -> None:
    """A bound token in a cookie is refused; an unbound one is as good as ever."""
    holder = Holder()
    shown = holder.bound()
    name = "__Host-access_token"
    assert both("cookie").get(("cookie", f"{name}={token({})}")).status == 200
    assert challenge(both("cookie").get(("cookie", f"{name}={shown}"))) == REFUSED_BEARER + OFFERED
    answer = both("cookie").get(("cookie", f"{name}={shown}"), ("dpop", holder.proof(shown)))
    assert challenge(answer) == REFUSED_BEARER + OFFERED


@pytest.mark.parametrize(
    "make",
    [
        lambda one, two: [("authorization", f"DPoP {one}, Bearer {two}")],
        lambda one, two: [("authorization", f"Bearer {two}, DPoP {one}")],
        lambda one, two: [("authorization", f"DPoP {one}, DPoP {one}")],
        lambda one, two: [("authorization", f"Basic eDp5, DPoP {one}")],
        lambda one, two: [("authorization", f"DPoP {one}"), ("authorization", f"Bearer {two}")],
        lambda one, two: [("authorization", f"DPoP {one}"), ("authorization", f"DPoP {one}")],
        lambda one, two: [("authorization", f"DPoP {one} {two}")],
        lambda one, two: [("authorization", "DPoP")],
        lambda one, two: [("authorization", "DPoP ")],
        lambda one, two: [("authorization", f"DPoP\t{one}")],
        lambda one, two: [("authorization", f'DPoP "{one}"')],
        lambda one, two: [("authorization", f"DPoP token={one},")],
        lambda one, two: [("authorization", f"DPoP {one}"), ("cookie", f"__Host-access_token={two}")],
    ],
)
def test_token_that_can_be_read_in_two_ways_is_refused(make: Any) -> None:
    """Threat 19: 400, before anything is looked at."""
    holder = Holder()
    one, two = holder.bound(), token({})
    answer = both("cookie").get(*make(one, two), ("dpop", holder.proof(one)))
    assert answer.status == 400
    assert json.loads(answer.body)["error"] == "invalid_request"


def test_another_scheme_is_still_somebody_elses() -> None:
    """Also one that begins alike."""
    for value in ("Basic eDp5", "DPoPx abc", "DPo abc", "Digest a=b, c=d"):
        assert challenge(both("on").get(("authorization", value))) == f'Bearer realm="jwtgate"{OFFERED}'


# --- what is remembered


def test_remembered_bound_token_is_never_a_hit() -> None:
    """The fast way asks for nothing, so it never finds one; each request is asked for a proof of its own."""
    gate = gate_of("on")
    holder = Holder()
    shown = holder.bound(jti="one")
    app = WSGIMiddleware(wsgi_application, gate=gate)
    assert gate.ready()
    for _ in range(3):
        assert ask_wsgi(app, Sent(headers=holder.request(shown))).status == 200
    assert (gate.status().misses, gate.status().hits, gate.status().admitted) == (1, 2, 1)
    for value in (f"Bearer {shown}", f"DPoP {shown}", f"dpop {shown}", shown):
        assert gate.decision.hit(value.encode()) is None
    assert ask_wsgi(app, Sent(headers=(dpop(shown),))).status == 401
    assert ask_wsgi(app, Sent(headers=(dpop(shown), ("dpop", Holder.other().proof(shown))))).status == 401
    gate.close()


def test_revocation_forgets_a_bound_token() -> None:
    """As any other."""
    gate = gate_of("on")
    holder = Holder()
    app = WSGIMiddleware(wsgi_application, gate=gate)
    for kind in ("jti", "sub"):
        shown = holder.bound(jti="mine", sub="bob")
        assert gate.ready()
        assert ask_wsgi(app, Sent(headers=holder.request(shown))).status == 200
        gate.revoke(**{kind: {"jti": "mine", "sub": "bob"}[kind]}, wait=True)
        assert gate.status().admitted == 0
        assert ask_wsgi(app, Sent(headers=holder.request(shown))).status == 401
        gate.reinstate("bob")
        break
    gate.close()


def test_introspection_that_remembers_admits_nobody() -> None:
    """RFC 7662: what a client is told opens no door."""
    gate = gate_of("endpoints", clients=("api:" + __import__("hashlib").sha256(b"pw").hexdigest(),))
    holder = Holder()
    shown = holder.bound(scope="read")
    app = WSGIMiddleware(wsgi_application, gate=gate)
    form = urlencode({"token": shown, "client_id": "api", "client_secret": "pw"}).encode()
    for _ in range(2):
        headers = (("content-type", "application/x-www-form-urlencoded"),)
        answer = ask_wsgi(app, Sent("POST", "/auth/introspect", headers, form))
        told = json.loads(answer.body)
        assert told["active"] is True
        assert (told["token_type"], told["cnf"]) == ("DPoP", {"jkt": holder.thumbprint})
        assert ask_wsgi(app, Sent(headers=(bearer(shown),))).status == 401
        with pytest.raises(InvalidToken):
            gate.verify(shown)
    gate.close()


# --- once


def test_proof_is_good_once() -> None:
    """RFC 9449 §11.1: for the very same request, too."""
    holder = Holder()
    headers = holder.request(holder.bound())
    refused = both("on").gates[0].status().refused.get("replayed_proof", 0)
    assert both("on").get(*headers).status == 200
    for _ in range(2):
        assert challenge(both("on").get(*headers)) == BAD_PROOF
    assert both("on").gates[0].status().refused["replayed_proof"] == refused + 2


def test_jti_is_good_once_per_key() -> None:
    """Also in another proof; two keys do not disturb each other."""
    one, other = Holder(), Holder.other()
    for holder in (one, other):
        shown = holder.bound()
        assert both("on").get(*holder.request(shown, jti="the same for both")).status == 200
        assert challenge(both("on").get(*holder.request(shown, jti="the same for both"))) == BAD_PROOF


@pytest.mark.parametrize("shell", ["asgi", "wsgi"])
def test_one_of_sixteen_uses_at_once_passes(shell: str) -> None:
    """Whoever comes first."""
    gate = gate_of("on")
    holder = Holder()
    sent = Sent(headers=holder.request(holder.bound()))
    statuses: list[int] = []
    if shell == "asgi":
        app = ASGIMiddleware(asgi_application, gate=gate)

        async def race() -> list[Answer]:
            return await asyncio.gather(*(send_asgi(app, scope_of(sent)) for _ in range(16)))

        statuses += [answer.status for answer in asyncio.run(race())]
    else:
        wsgi = WSGIMiddleware(wsgi_application, gate=gate)
        barrier = threading.Barrier(16)

        def use() -> None:
            barrier.wait()
            statuses.append(send_wsgi(wsgi, environ_of(sent)).status)

        together(*[use] * 16)
    gate.close()
    assert set(statuses) <= {200, 401, 503} and statuses.count(200) <= 1
    late = statuses.count(503)
    assert not late, f"{late} of 16 calls failed"
    assert sorted(statuses) == [200, *[401] * 15]


def test_forged_proofs_cost_no_call_of_the_store() -> None:
    """Nor does a good proof with a forged token: the store hears of a proof when all else is verified."""
    gate = gate_of("on")
    holder = Holder()
    app = WSGIMiddleware(wsgi_application, gate=gate)
    assert gate.ready()
    calls: list[str] = []
    store: Any = gate.store
    store.mark = lambda group, *_: calls.append(group)
    shown, forged = holder.bound(), holder.bound("a-secret-of-somebody-else-of-32-octets")
    for headers in (
        holder.request(forged),
        (dpop(shown), ("dpop", Holder.other().proof(shown))),
        (dpop(shown), ("dpop", Holder.other().signed(holder.header(), holder.claims(shown)))),
        holder.request(shown, htm="POST"),
        (bearer(shown), ("dpop", holder.proof(shown))),
        holder.request(token({})),
    ):
        assert ask_wsgi(app, Sent(headers=headers)).status == 401
    gate.close()
    assert calls == []


@pytest.mark.parametrize("policy", ["refuse", "cached", "admit"])
def test_store_that_does_not_answer_admits_nobody(policy: str) -> None:
    """503 whatever ON_STORE_DOWN says: whether a proof was shown before is what a thief would hide."""
    gate = gate_of("on", on_store_down=policy)
    holder = Holder()
    app = WSGIMiddleware(wsgi_application, gate=gate)
    assert gate.ready()
    shown = holder.bound()
    assert ask_wsgi(app, Sent(headers=holder.request(shown))).status == 200
    store: Any = gate.store

    def silent(*_: Any) -> Any:
        raise StoreUnavailable("it does not answer")

    store.mark = silent
    answer = ask_wsgi(app, Sent(headers=holder.request(shown)))
    assert (answer.status, answer.header("www-authenticate")) == (503, None)
    assert answer.header("retry-after") is not None
    assert ask_wsgi(app, Sent(headers=(bearer(token({})),))).status == 200, "others need no mark"
    gate.close()


def test_forged_bound_token_costs_the_others_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none that is bound was ever admitted, none is looked for; an outage is no way to change that."""
    gate = gate_of("on")
    app = WSGIMiddleware(wsgi_application, gate=gate)
    store: Any = gate.store

    def silent(*_: Any) -> Any:
        raise StoreUnavailable("it does not answer")

    store.look_up = store.feed = silent
    forged = Holder().bound("a-secret-of-somebody-else-of-32-octets")
    assert ask_wsgi(app, Sent(headers=Holder().request(forged))).status == 503
    digested: list[bytes] = []
    monkeypatch.setattr(type(gate.decision), "bound_key_of", lambda _, shown, __: digested.append(shown) or b"")
    assert ask_wsgi(app, Sent(headers=(bearer(token({})),))).status == 503
    assert digested == []
    gate.close()


def test_proof_that_may_be_older_than_history_is_not_taken() -> None:
    """What was shown before the store lost its memory nobody knows: 503, until proofs are younger than that."""
    gate = Gate(Settings(secret=SECRET, lease=0.25, **MODES["on"]))
    holder = Holder()
    app = WSGIMiddleware(wsgi_application, gate=gate)
    shown = holder.bound()
    assert ask_wsgi(app, Sent(headers=holder.request(shown))).status == 503
    until = time.monotonic() + 10
    while (status := ask_wsgi(app, Sent(headers=holder.request(shown, iat=time.time()))).status) == 503:
        assert time.monotonic() < until
        time.sleep(0.25)
    gate.close()
    assert status == 200


# --- nonces


def test_nonce_is_given_and_must_be_used() -> None:
    """RFC 9449 §9: 401 with DPoP-Nonce, then 200 that tells the next one (§8.2); through both shells."""
    holder = Holder()
    shown = holder.bound()
    answer = both("nonce").get(*holder.request(shown))
    assert challenge(answer) == (
        'DPoP realm="jwtgate", error="use_dpop_nonce", '
        f'error_description="The DPoP proof must carry the nonce that this answer gives.", algs="{ALGS}"'
    )
    assert json.loads(answer.body)["error"] == "use_dpop_nonce"
    assert answer.header("cache-control") == "no-store"
    nonce = answer.header("dpop-nonce")
    answer = both("nonce").get(*holder.request(shown, nonce=nonce))
    assert (answer.status, answer.header("dpop-nonce")) == (200, nonce)
    for wrong in ("", "x", f"{nonce}x", encoded(b"\0" * 24), 5):
        assert both("nonce").get(*holder.request(shown, nonce=wrong)).header("dpop-nonce") is not None


def test_nonce_of_the_application_stays_alone() -> None:
    """RFC 9449 §8: never more than one. Whoever gives out its own, as an authorization server does, is not contradicted."""
    gate = gate_of("nonce")
    holder = Holder()
    shown = holder.bound()

    async def in_asgi(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"dpop-nonce", b"its-own")]
        await send({"type": "http.response.start", "status": 200, "headers": (each for each in headers)})
        await send({"type": "http.response.body", "body": b""})

    def in_wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("dpop-nonce", "its-own")])
        return []

    for ask in (
        lambda sent: ask_asgi(ASGIMiddleware(in_asgi, gate=gate), sent),
        lambda sent: ask_wsgi(WSGIMiddleware(in_wsgi, gate=gate), sent),
    ):
        nonce = ask(Sent(headers=holder.request(shown))).header("dpop-nonce")
        answer = ask(Sent(headers=holder.request(shown, nonce=nonce)))
        assert (answer.status, answer.header("dpop-nonce")) == (200, "its-own")
    gate.close()


def test_nonces_are_for_dpop_alone() -> None:
    """Answers about Bearer tokens are as ever."""
    for headers in ((), (bearer(token({})),), (bearer("a.b.c"),)):
        assert both("nonce").get(*headers).header("dpop-nonce") is None
    assert both("on").get(*(holder := Holder()).request(holder.bound())).header("dpop-nonce") is None


def test_nonce_of_another_secret_is_none() -> None:
    """It is no nonce of ours."""
    holder = Holder()
    shown = holder.bound()
    nonce = Both("nonce", dpop_nonce_secret="x" * 32).get(*holder.request(shown)).header("dpop-nonce")
    assert "use_dpop_nonce" in str(challenge(both("nonce").get(*holder.request(shown, nonce=nonce))))


def test_lost_history_is_no_fault_of_a_nonce() -> None:
    """503: a client that is told to use the nonce which it has used comes back at once, in vain, and gives its token up."""
    gate = Gate(Settings(secret=SECRET, lease=0.25, **MODES["nonce"]))
    app = WSGIMiddleware(wsgi_application, gate=gate)
    holder = Holder()
    shown = holder.bound()
    nonce = ask_wsgi(app, Sent(headers=holder.request(shown))).header("dpop-nonce")
    answer = ask_wsgi(app, Sent(headers=holder.request(shown, nonce=nonce)))
    gate.close()
    assert (answer.status, answer.header("retry-after")) == (503, "1")


# --- certificates


@cache
def client() -> tuple[str, str]:
    """PEM and thumbprint of one client."""
    pem = pem_of(certificate()[0])
    return pem, thumbprint_of(pem)


def told_by_server(pem: str) -> dict[str, Any]:
    """As the servers tell it."""
    return {"scope": {"extensions": {"tls": {"client_cert_chain": [pem]}}}, "environ": {"SSL_CLIENT_CERT": pem}}


def test_certificate_of_the_connection_is_asked_for() -> None:
    """RFC 8705 §3: 401 without it or with another, each time, whether remembered or not; no setting is needed."""
    pem, thumbprint = client()
    shown = token({"cnf": {"x5t#S256": thumbprint}})
    stranger = pem_of(certificate()[0])
    for _ in range(3):
        assert both("off").get(bearer(shown), **told_by_server(pem)).status == 200
        assert challenge(both("off").get(bearer(shown))) == REFUSED_BEARER
        assert challenge(both("off").get(bearer(shown), **told_by_server(stranger))) == REFUSED_BEARER
    for gate in both("off").gates:
        assert gate.decision.hit(f"Bearer {shown}".encode()) is None
        with pytest.raises(InvalidToken):
            gate.verify(shown)


def test_headers_prove_no_certificate_without_a_proxy() -> None:
    """Whatever a client sends under the names that proxies and servers use."""
    pem, thumbprint = client()
    shown = token({"cnf": {"x5t#S256": thumbprint}})
    line = pem.replace("\n", "")
    for name in ("client-cert", "ssl-client-cert", "x-ssl-cert", "x-forwarded-client-cert", "ssl_client_cert"):
        for value in (line, f":{''.join(pem.split(chr(10))[1:-2])}:"):
            assert challenge(both("off").get(bearer(shown), (name, value))) == REFUSED_BEARER


def test_certificate_comes_from_a_trusted_proxy() -> None:
    """RFC 9440: by the connection's peer; from anybody else the header counts nothing."""
    pem, thumbprint = client()
    shown = token({"cnf": {"x5t#S256": thumbprint}})
    header = ("client-cert", f":{''.join(pem.split(chr(10))[1:-2])}:")
    proxy = {"scope": {"client": ("10.0.0.9", 1)}, "environ": {"REMOTE_ADDR": "10.0.0.9", "SERVER_SOFTWARE": "waitress"}}
    outside = {"scope": {"client": ("192.0.2.1", 1)}, "environ": {"REMOTE_ADDR": "192.0.2.1"}}
    assert both("proxy").get(bearer(shown), header, **proxy).status == 200
    assert challenge(both("proxy").get(bearer(shown), header, **outside)) == REFUSED_BEARER
    forwarded = ("x-forwarded-for", "10.0.0.9")
    assert challenge(both("proxy").get(bearer(shown), header, forwarded, **outside)) == REFUSED_BEARER
    assert challenge(both("proxy").get(bearer(shown), header, header, **proxy)) == REFUSED_BEARER
    assert challenge(both("proxy").get(bearer(shown), **proxy)) == REFUSED_BEARER
    assert challenge(both("proxy").get(bearer(shown), **told_by_server(pem))) == REFUSED_BEARER


def test_both_bonds_ask_for_both() -> None:
    """A proof alone and a certificate alone are each too little."""
    pem, thumbprint = client()
    holder = Holder()
    shown = token({"cnf": {"jkt": holder.thumbprint, "x5t#S256": thumbprint}})
    for _ in range(2):
        assert both("on").get(*holder.request(shown), **told_by_server(pem)).status == 200
        assert challenge(both("on").get(*holder.request(shown))) == REFUSED_DPOP
        assert challenge(both("on").get(dpop(shown), **told_by_server(pem))) == BAD_PROOF
        assert challenge(both("on").get(bearer(shown), **told_by_server(pem))) == REFUSED_BEARER + OFFERED


def test_required_dpop_is_not_met_by_a_certificate() -> None:
    """It says of every token that it is bound to a key."""
    pem, thumbprint = client()
    shown = token({"cnf": {"x5t#S256": thumbprint}})
    assert challenge(both("required").get(bearer(shown), **told_by_server(pem))) == REFUSED_DPOP


# --- endpoints and checks


def test_who_came_with_dpop_is_answered_in_it() -> None:
    """RFC 9449 §7.1: also where an endpoint refuses a good token; else its client looks for a Bearer token."""
    holder = Holder()
    now = int(time.time())
    nobody = jwt.encode({"exp": now + 600, "cnf": {"jkt": holder.thumbprint}}, SECRET)
    sent = Sent("GET", "/auth/sessions", holder.request(nobody, htu=f"{URL}/auth/sessions"))
    answer = both("endpoints").ask(sent)
    assert answer.status == 403
    assert str(answer.header("www-authenticate")).startswith('DPoP realm="jwtgate", error="insufficient_scope"')
    bearer_too = both("endpoints").ask(Sent("GET", "/auth/sessions", (bearer(jwt.encode({"exp": now + 600}, SECRET)),)))
    assert str(bearer_too.header("www-authenticate")).startswith('Bearer realm="jwtgate", error="insufficient_scope"')


def test_endpoints_take_bound_tokens_by_the_same_rules() -> None:
    """Whoever calls one shows possession, and the proof names the endpoint's own URI and method."""
    holder = Holder()
    shown = holder.bound()
    shells = both("endpoints")
    good = Sent("GET", "/auth/sessions", holder.request(shown, htu=f"{URL}/auth/sessions"))
    assert json.loads(shells.ask(good).body) == {"sessions": []}
    assert challenge(shells.ask(good)) == BAD_PROOF
    assert challenge(shells.ask(Sent("GET", "/auth/sessions", (bearer(shown),)))) == REFUSED_BEARER + OFFERED
    form = (("content-type", "application/x-www-form-urlencoded"),)
    proof = holder.request(shown, htu=f"{URL}/auth/logout", htm="POST")
    assert shells.ask(Sent("POST", "/auth/logout", (bearer(shown), *form))).status == 401
    assert ask_wsgi(shells.wsgi, Sent("POST", "/auth/logout", (*proof, *form))).status == 200
    answer = ask_wsgi(shells.wsgi, Sent(headers=holder.request(shown)))
    assert challenge(answer) == REFUSED_DPOP, "it was logged out"


def test_own_session_may_be_bound_to_a_key() -> None:
    """Its pair says so (RFC 9449 §5), for a racer too; the bond stays with every refresh and renewal."""
    holder = Holder()
    gate = gate_of("on", rotate_after=1)
    app = WSGIMiddleware(wsgi_application, gate=gate)
    first = gate.sessions.start("alice", claims={"cnf": {"jkt": holder.thumbprint}})
    second, racer = gate.sessions.refresh(first.refresh_token), gate.sessions.refresh(first.refresh_token)
    assert [pair.token_type for pair in (first, second, racer)] == ["DPoP"] * 3
    assert second.as_dict()["token_type"] == "DPoP"
    assert gate.sessions.start("alice").token_type == "Bearer"
    renewed = ask_wsgi(app, Sent(headers=holder.request(second.access_token))).header("x-access-token")
    assert renewed is not None
    assert ask_wsgi(app, Sent(headers=(bearer(renewed),))).status == 401
    assert ask_wsgi(app, Sent(headers=holder.request(renewed))).status == 200
    for cnf in ({"jkt": "short"}, {"kid": "x"}, {}, "x", None):
        with pytest.raises(ValueError, match="would not admit"):
            gate.issue("alice", claims={"cnf": cnf})
    gate.close()


def test_checks_are_asked_about_holders_alone() -> None:
    """With the proof among the headers they see; they are not asked who does not hold the token."""
    gate = gate_of("on")
    asked: list[Request | None] = []
    gate.check(lambda _token, request: asked.append(request))
    holder = Holder()
    shown = holder.bound()
    app = WSGIMiddleware(wsgi_application, gate=gate)
    assert ask_wsgi(app, Sent(headers=(dpop(shown),))).status == 401
    assert asked == []
    assert ask_wsgi(app, Sent(headers=holder.request(shown))).status == 200
    gate.close()
    (request,) = asked
    assert request is not None and "environ" not in repr(request)


def test_exempt_paths_ask_for_nothing() -> None:
    """Whatever is shown there."""
    shells = Both("required", exempt=("/open",))
    assert shells.ask(Sent(target="/open", headers=(dpop("x"),))).status == 200


def test_metadata_tell_what_the_resource_wants() -> None:
    """RFC 9728 §2, and challenges of either scheme say where they are (§5.1)."""
    resource = {"resource": "https://api.example.com/", "public_url": None}
    shells = Both("required", **resource)
    told = json.loads(shells.ask(Sent(target="/.well-known/oauth-protected-resource")).body)
    assert told["dpop_signing_alg_values_supported"] == ALGS.split(" ")
    assert told["dpop_bound_access_tokens_required"] is True
    where = 'resource_metadata="https://api.example.com/.well-known/oauth-protected-resource"'
    assert challenge(shells.get()) == f'DPoP realm="jwtgate", {where}, algs="{ALGS}"'
    holder = Holder()
    shown = holder.bound()
    assert where in str(challenge(shells.get(dpop(shown))))
    assert shells.get(*holder.request(shown)).status == 200
    told = json.loads(
        Both("proxy", resource="https://a.example").ask(Sent(target="/.well-known/oauth-protected-resource")).body
    )
    assert told["tls_client_certificate_bound_access_tokens"] is True
    assert not any(name.startswith("dpop") for name in told)
