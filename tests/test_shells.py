"""The contract of the shells: one table of requests, sent through ASGI and WSGI; the same answers, byte for byte."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shell_table import BEARER, OUTCOMES, ROWS, Row
from shells import (
    COOKIE,
    OTHER_SECRET,
    SECRET,
    SUBJECT,
    Answer,
    Sent,
    asgi_application,
    ask_asgi,
    ask_wsgi,
    environ_of,
    gate_of,
    scope_of,
    seen,
    send_wsgi,
    token_of_claims,
    tokens,
    wsgi_application,
)

from jwtgate import Gate, token_of
from jwtgate.asgi import JWTGateMiddleware as ASGIMiddleware
from jwtgate.wsgi import JWTGateMiddleware as WSGIMiddleware


@pytest.fixture(scope="module")
def shells() -> Any:
    """By name of the settings: a live gate that knows of one revoked token, and both shells before it."""
    gates: list[Gate] = []

    @cache
    def of(name: str) -> tuple[Gate, ASGIMiddleware, WSGIMiddleware]:
        gate = gate_of(name)
        gates.append(gate)
        assert gate.ready()
        gate.revoke(jti="revoked")
        return gate, ASGIMiddleware(asgi_application, gate=gate), WSGIMiddleware(wsgi_application, gate=gate)

    yield of
    for gate in gates:
        gate.close()


def expected(gate: Gate, row: Row) -> Answer:
    """What the row's outcome means on the wire."""
    if row.outcome in OUTCOMES:
        refusal = gate.answer(OUTCOMES[row.outcome].__new__(OUTCOMES[row.outcome]))
        body = b"" if row.sent.method == "HEAD" else refusal.body
        return Answer(refusal.status, tuple(sorted(refusal.headers)), body)
    if row.outcome == "anonymous":
        body = seen(None, "")
    else:
        body = seen(replace(gate.verify(tokens()["good"]), source=row.outcome), SUBJECT)
    headers = (("content-length", str(len(body))), ("content-type", "application/json"))
    return Answer(200, headers, b"" if row.sent.method == "HEAD" else body)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_both_shells_give_the_answer_of_the_table(shells: Any, row: Row) -> None:
    """Interface §1 and §4: the same status, headers and bytes, first met and met again (threats 2, 19-22, 24)."""
    gate, asgi, wsgi = shells(row.settings)
    answer = expected(gate, row)
    gate.view.forget_admitted()
    assert ask_asgi(asgi, row.sent) == answer, "ASGI, first met"
    assert ask_asgi(asgi, row.sent) == answer, "ASGI, met again"
    assert ask_wsgi(wsgi, row.sent) == answer, "WSGI, met again"
    gate.view.forget_admitted()
    assert ask_wsgi(wsgi, row.sent) == answer, "WSGI, first met"
    assert ask_asgi(asgi, row.sent) == answer, "ASGI, met in WSGI first"


# --- any bytes at all


WIRE_TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="{}\r\n"), max_size=40)
FIELD = st.sampled_from(["authorization", "cookie", "origin", "sec-fetch-site", "x-csrf-token", "upgrade", "x-any"])
VALUE = st.one_of(
    WIRE_TEXT,
    st.builds("Bearer {}".format, WIRE_TEXT),
    st.builds(f"{COOKIE}={{}}".format, WIRE_TEXT),
    st.sampled_from(["Bearer {good}", f"{COOKIE}={{good}}", "Bearer {forged}", f"{COOKIE}={{expired}}", "{proof}"]),
)
METHOD = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "QUERY"])
TARGET = st.one_of(st.just("/health"), st.builds("/{}".format, WIRE_TEXT), st.builds("/public/{}".format, WIRE_TEXT))


@settings(max_examples=150)
@given(
    st.sampled_from(["header", "both", "double-submit", "exempt"]), METHOD, TARGET, st.dictionaries(FIELD, VALUE, max_size=4)
)
def test_any_bytes_get_the_same_answer_from_both_shells(name: str, method: str, target: str, headers: dict[str, str]) -> None:
    """Threat 2: an answer of the interface, whatever a client sends; the same from ASGI and WSGI (threat 19)."""
    asgi, wsgi = _any_shells(name)
    sent = Sent(method, target, tuple(headers.items()))
    answer = ask_asgi(asgi, sent)
    assert answer == ask_wsgi(wsgi, sent)
    assert answer.status in {200, 400, 401, 403}
    if answer.status != 200:
        assert dict(answer.headers).keys() <= {"content-type", "content-length", "cache-control", "www-authenticate"}


@cache
def _any_shells(name: str) -> tuple[ASGIMiddleware, WSGIMiddleware]:
    gate = gate_of(name)
    return ASGIMiddleware(asgi_application, gate=gate), WSGIMiddleware(wsgi_application, gate=gate)


def test_refusals_are_few_fixed_bodies(shells: Any) -> None:
    """Threat 3: one answer per kind of refusal, ASCII in every header, and nothing of the request in any."""
    answers: dict[str, set[Answer]] = {}
    for row in ROWS:
        if row.outcome in OUTCOMES and row.sent.method != "HEAD":
            _, asgi, wsgi = shells(row.settings)
            answers.setdefault(row.outcome, set()).update({ask_asgi(asgi, row.sent), ask_wsgi(wsgi, row.sent)})
    assert answers.keys() == OUTCOMES.keys()
    for outcome, found in answers.items():
        assert len(found) == 1, outcome
        for name, value in next(iter(found)).headers:
            assert (name + value).isascii() and (name + value).isprintable()


# --- who it is


@pytest.mark.parametrize("subject", ["alice", "José", "日本 語", "a\u200db", "x" * 300])
def test_both_shells_give_the_same_identity(subject: str) -> None:
    """``request.user.identity`` and ``REMOTE_USER`` (UTF-8 as latin-1, PEP 3333) are the subject."""
    gate = gate_of()
    sent = Sent(headers=(("authorization", f"Bearer {token_of_claims(sub=subject)}"),))
    answer = ask_asgi(ASGIMiddleware(asgi_application, gate=gate), sent)
    assert answer.status == 200
    assert f'"identity": {json.dumps(subject)}'.encode() in answer.body
    assert ask_wsgi(WSGIMiddleware(wsgi_application, gate=gate), sent) == answer


@pytest.mark.parametrize("row", [row for row in ROWS if row.outcome not in OUTCOMES], ids=str)
def test_identity_of_an_outer_layer_is_never_believed(shells: Any, row: Row) -> None:
    """Threat 23: token, user, auth and ``REMOTE_USER`` are ours to set or clear, on every way a request can go."""
    gate, asgi, wsgi = shells(row.settings)
    forged = {"jwtgate.token": "forged", "jwtgate.gate": "forged", "user": "forged", "auth": "forged"}
    assert ask_asgi(asgi, row.sent, **forged) == expected(gate, row)
    forged = {"jwtgate.token": "forged", "jwtgate.gate": "forged", "REMOTE_USER": "root"}
    assert ask_wsgi(wsgi, row.sent, **forged) == expected(gate, row)


def test_two_gates_in_a_row_leave_the_inner_ones_word(shells: Any) -> None:
    """An exempt path of the inner gate is anonymous, whatever the outer one found."""
    outer, inner = gate_of(), gate_of("exempt")
    sent = Sent(target="/health", headers=(BEARER,))
    asgi = ASGIMiddleware(ASGIMiddleware(asgi_application, gate=inner), gate=outer)
    wsgi = WSGIMiddleware(WSGIMiddleware(wsgi_application, gate=inner), gate=outer)
    for _ in range(2):
        assert ask_asgi(asgi, sent).body == ask_wsgi(wsgi, sent).body == seen(None, "")


def test_token_of_finds_the_token_in_scope_and_environ() -> None:
    """Interface §1: the typed way; without a gate in front it is an error, not anonymous."""
    found: list[Any] = []

    async def asgi_inner(scope: Any, receive: Any, send: Any) -> None:
        found.append(token_of(scope))
        await asgi_application(scope, receive, send)

    def wsgi_inner(environ: Any, start_response: Any) -> Any:
        found.append(token_of(environ))
        return wsgi_application(environ, start_response)

    gate = gate_of("optional")
    for sent in (Sent(), Sent(headers=(BEARER,))):
        ask_asgi(ASGIMiddleware(asgi_inner, gate=gate), sent)
        ask_wsgi(WSGIMiddleware(wsgi_inner, gate=gate), sent)
    assert [None if token is None else token.subject for token in found] == [None, None, SUBJECT, SUBJECT]
    for nothing in (scope_of(Sent()), environ_of(Sent())):
        with pytest.raises(LookupError):
            token_of(nothing)


def test_both_shells_before_one_gate_share_what_was_admitted() -> None:
    """One decision, one memory: what ASGI admitted is a hit in WSGI, and a revocation ends both."""
    gate = gate_of()
    asgi, wsgi = ASGIMiddleware(asgi_application, gate=gate), WSGIMiddleware(wsgi_application, gate=gate)
    assert gate.ready()
    sent = Sent(headers=(BEARER,))
    assert ask_asgi(asgi, sent).status == 200
    misses = gate.status().misses
    assert ask_wsgi(wsgi, sent).status == ask_asgi(asgi, sent).status == 200
    assert gate.status().misses == misses
    gate.revoke(jti="good")
    assert ask_wsgi(wsgi, sent).status == ask_asgi(asgi, sent).status == 401
    gate.close()


# --- what is written down


def test_no_secret_is_logged_or_shown(shells: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Threat 29: at DEBUG, over the whole table, no token, key, claim or password in a record or a repr."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    for row in ROWS:
        gate, asgi, wsgi = shells(row.settings)
        ask_asgi(asgi, row.sent)
        ask_wsgi(wsgi, row.sent)
        shown += map(repr, (gate, gate.settings, gate.settings.policies, gate.decision.rules, gate.status(), asgi, wsgi))
        shown += map(repr, gate.view.admitted._entries.values())
    token = gate_of().verify(tokens()["good"])
    shown += [repr(token), str(token)]
    lines = [caplog.handler.format(record) for record in caplog.records] + shown
    assert any("refused: revoked" in line for line in lines), "the operator learns the precise reason"
    secrets = [SECRET, OTHER_SECRET, SUBJECT, "bob", "carol", "read write", *_parts()]
    for line in lines:
        for secret in secrets:
            assert secret not in line


def _parts() -> list[str]:
    return [part for token in tokens().values() for part in str(token).split(".") if len(part) > 8]


def test_no_password_of_a_store_is_logged_or_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Threat 29: a store that does not answer is reported without its password."""
    caplog.set_level(logging.DEBUG)
    gate = gate_of(store="redis://user:hunter2hunter2@127.0.0.1:1/0", lease=0.2)
    for ask, application, shell in (
        (ask_asgi, asgi_application, ASGIMiddleware),
        (ask_wsgi, wsgi_application, WSGIMiddleware),
    ):
        answer = ask(shell(application, gate=gate), Sent(headers=(BEARER,)))
        assert answer.status == 503
        assert answer.header("retry-after") == "1"
        assert answer.header("www-authenticate") is None
    with pytest.raises(Exception) as caught:
        gate.verify(tokens()["good"])
    told = "".join(traceback.format_exception(caught.value))
    gate.close()
    for line in [told, repr(gate.settings), *(caplog.handler.format(record) for record in caplog.records)]:
        assert "hunter2" not in line


def test_token_can_be_pickled() -> None:
    """A task queue may carry what the handler found; it stays immutable."""
    token = gate_of().verify(tokens()["good"])
    copy = pickle.loads(pickle.dumps(token))
    assert copy == token
    with pytest.raises(TypeError):
        copy.claims["sub"] = "root"


def test_answers_do_not_depend_on_text_beyond_latin_1(shells: Any) -> None:
    """A server that breaks PEP 3333 still gets an answer, not an exception."""
    _, _, wsgi = shells("header")
    environ = environ_of(Sent(headers=(BEARER,)))
    environ["HTTP_AUTHORIZATION"] += "€"
    assert send_wsgi(wsgi, environ).status == 400
