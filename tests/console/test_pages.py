"""The console's pages: who may enter, what they show, what their buttons do, and what becomes of bad input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from html import escape
from typing import Any

import pytest
from console.visited import Operator, console, text_of
from cryptography.hazmat.primitives.asymmetric import ed25519
from keymaking import pair_of
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.console import Console
from jwtgate.console.actions import ACTIONS
from jwtgate.console.visiting import PAGE_SIZE
from jwtgate.core.history import NotWritten
from jwtgate.errors import SubjectSuspended
from jwtgate.testing import FixtureGate, gate

PATHS = ("", "subject?sub=alice", "session?sid=x", "confirm?action=suspend&sub=alice")
"""Pages that ask the store."""


@pytest.fixture
def ops() -> Any:
    """An operator at a console with no issuer named."""
    with console() as operator:
        yield operator


def is_alive(operator: Operator, token: str) -> bool:
    """Whether the gate admits it."""
    return operator.client.get("/ops/", headers={"Authorization": f"Bearer {token}"}).status_code != 401


# --- who may enter


def test_only_who_has_the_scope_may_enter() -> None:
    """401 without a token by the gate itself, 403 without the scope; neither page tells anything of the console."""
    with console(scope="read") as operator:
        page = operator.get(status=403)
        assert "needs the scope jwtgate:admin" in text_of(page)
        assert "<nav" not in page
        assert operator.client.get("/ops/", headers={"Authorization": ""}).status_code == 400
        assert operator.client.post("/ops/do").status_code == 403


def test_anonymous_request_gets_a_page_of_its_own() -> None:
    """Under MODE=optional the gate lets it pass; the console does not, and challenges as the gate would."""
    with (
        gate(mode="optional") as own,
        TestClient(JWTGateMiddleware(Starlette(routes=[Mount("/ops", Console())]), gate=own)) as client,
    ):
        answer = client.get("/ops/")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="jwtgate"')
        assert "Log in first" in answer.text


def test_console_without_a_gate_in_front_serves_nothing() -> None:
    """An identity that no gate has put there is none."""
    client = TestClient(Starlette(routes=[Mount("/ops", Console())]))
    answer = client.get("/ops/")
    assert answer.status_code == 503
    assert "No gate in front" in answer.text


def test_scope_is_configurable() -> None:
    """Of the operator's own naming."""
    with console(scope="staff", console=Console(scope="staff")) as operator:
        operator.get()


def test_pages_keep_everything_foreign_out(ops: Operator) -> None:
    """A strict policy without anything inline, no caching, no sniffing, no referrer."""
    for path in PATHS:
        answer = ops.client.get("/ops/" + path)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son[a-z]+=|javascript:", answer.text)


def test_files_are_served_with_their_types(ops: Operator) -> None:
    """What the pages link to is there, and nothing beside it."""
    page = ops.get()
    links = [link for link in re.findall(r'(?:href|src)="([^"]+)"', page) if "/static/" in link]
    assert len(links) == 3
    kinds = {ops.client.get(link).headers["content-type"].partition(";")[0] for link in links}
    assert kinds == {"text/css", "text/javascript", "image/svg+xml"}
    assert ops.client.get("/ops/static/../drawing.py").status_code == 404
    assert ops.client.get("/ops/static/nothing.css").status_code == 404


def test_links_stay_below_wherever_it_is_mounted() -> None:
    """By the root path, whatever it is; without a slash at the end it leads to the one with it."""
    with gate() as own:
        app = Starlette(routes=[Mount("/a/b", Starlette(routes=[Mount("/ops", Console())]))])
        headers = own.bearer("ops", scopes="jwtgate:admin")
        with TestClient(JWTGateMiddleware(app, gate=own), headers=headers, root_path="/proxied") as client:
            page = client.get("/proxied/a/b/ops/").text
            links = [link for link in re.findall(r'(?:href|src|action)="([^"#]+)"', page)]
            assert links and all(link.startswith("/proxied/a/b/ops/") for link in links)


def test_mount_of_any_name_works() -> None:
    """What is not ASCII is escaped in links and in where answers lead."""
    with gate() as own:
        app = Starlette(routes=[Mount("/администрация", Console())])
        headers = own.bearer("ops", scopes="jwtgate:admin")
        with TestClient(JWTGateMiddleware(app, gate=own), headers=headers) as client:
            operator = Operator(own, client, "/администрация/")
            assert "Subject suspended" in operator.does("suspend", sub="алиса")


# --- subjects and sessions


def test_subject_is_found_with_its_sessions(ops: Operator) -> None:
    """Newest first, with what each told of itself."""
    sid = ops.gate.sessions.start("alice", device="laptop", ip="192.0.2.1").session_id
    ops.gate.clock.advance(5)
    ops.gate.sessions.start("alice", user_agent="Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
    text = text_of(ops.get("subject", sub="alice"))
    assert text.index("Firefox on Linux") < text.index("laptop")
    assert "192.0.2.1" in text
    assert "No ruling stands here" in text
    assert "laptop" in text_of(ops.get("session", sid=sid))


def test_subject_without_sessions_is_told_so(ops: Operator) -> None:
    """The store holds digests: nobody can say whether there is such a subject."""
    assert "No live sessions" in text_of(ops.get("subject", sub="nobody"))
    assert "holds digests" in text_of(ops.get("subject"))
    assert "There is no such session" in text_of(ops.get("session", sid="nothing"))


def test_sessions_are_paged(ops: Operator) -> None:
    """Each on exactly one page; the links lead from one to the next."""
    for number in range(PAGE_SIZE + 3):
        ops.gate.sessions.start("alice", device=f"device-{number}-")
    first = ops.get("subject", sub="alice")
    assert 'rel="next"' in first
    assert 'rel="prev"' not in first
    second = ops.get("subject", sub="alice", page="2")
    assert 'rel="next"' not in second
    found = re.findall(r"device-\d+-", first) + re.findall(r"device-\d+-", second)
    assert len(found) == len(set(found)) == PAGE_SIZE + 3
    assert "nothing on this page any more" in text_of(ops.get("subject", sub="alice", page="1000"))


@pytest.mark.parametrize("page", ["0", "-1", "NaN", "1e3", "1000000000", "٣", "1 ", "0x1"])
def test_bad_page_number_gets_a_page(ops: Operator, page: str) -> None:
    """400 in words."""
    assert "No such page" in ops.get("subject", status=400, sub="alice", page=page)


# --- what can be done


def test_session_is_ended(ops: Operator) -> None:
    """After a page that asks; its access token dies, the other's lives; the receipt says that it holds everywhere."""
    one, other = [ops.gate.sessions.start("alice", device=name) for name in ("laptop", "phone")]
    page = ops.does("end", sid=one.session_id)
    assert "Session ended" in page
    assert "Effective everywhere" in text_of(page)
    assert "By ops" in text_of(page)
    assert not is_alive(ops, one.access_token)
    assert is_alive(ops, other.access_token)
    assert [session.device for session in ops.gate.sessions.list("alice")] == ["phone"]


def test_all_sessions_are_ended(ops: Operator) -> None:
    """And every token with them."""
    pairs = [ops.gate.sessions.start("alice") for _ in range(3)]
    ops.does("end-all", sub="alice")
    assert not any(is_alive(ops, pair.access_token) for pair in pairs)
    assert ops.gate.sessions.list("alice") == []


def test_access_tokens_are_revoked_and_sessions_stay(ops: Operator) -> None:
    """The next refresh gives another."""
    pair = ops.gate.sessions.start("alice")
    page = ops.does("renew", sub="alice")
    assert "Access tokens revoked" in page
    assert not is_alive(ops, pair.access_token)
    assert is_alive(ops, ops.gate.sessions.refresh(pair.refresh_token).access_token)
    assert "not before" in text_of(ops.get("subject", sub="alice"))


def test_subject_is_suspended_and_reinstated(ops: Operator) -> None:
    """The page shows which of the two can be done."""
    token = ops.gate.issue("alice")
    assert "Suspend…" in ops.get("subject", sub="alice")
    ops.does("suspend", sub="alice")
    assert not is_alive(ops, token)
    page = text_of(ops.get("subject", sub="alice"))
    assert "suspended" in page
    assert "for good" in page
    assert "Suspend…" not in page
    ops.does("reinstate", sub="alice")
    assert is_alive(ops, token)
    assert "lifted" in text_of(ops.get("subject", sub="alice"))


@pytest.mark.parametrize("typed", [None, "", "revoke", "revoke everythin"])
def test_everything_wants_words(ops: Operator, typed: str | None) -> None:
    """One press of a button does not log everybody out."""
    token = ops.gate.issue("alice")
    page = ops.get("confirm", action="everything")
    assert "Nothing was done" in ops.press(page, status=400, typed=typed)
    assert is_alive(ops, token)


def test_everything_is_revoked_with_the_words(ops: Operator) -> None:
    """The operator's own token, too: the answer to the next request is the gate's."""
    token = ops.gate.issue("alice")
    answer = ops.post(ops.get("confirm", action="everything"), typed=" Revoke everything ")
    assert answer.status_code == 401
    ops.gate.clock.advance(2)
    ops.client.headers.update(ops.gate.bearer("ops", scopes="jwtgate:admin"))
    assert not is_alive(ops, token)


def test_receipt_fills(ops: Operator) -> None:
    """A worker that has not heard is counted and named; once it is gone it holds everywhere, by the rules of receipts."""
    with ops.gate.faults.lag(reach_seconds=5.0):
        answer = ops.post(ops.get("confirm", action="suspend", sub="alice"))
        page = answer.text
        assert "1 of 2 workers acknowledged" in page
        assert "On its way" in page
        assert "lags-1" in page
        assert 'http-equiv="refresh"' in page
        ops.gate.clock.advance(5.1)
        page = ops.client.get(answer.url).text
        assert "Effective everywhere" in page
        assert 'http-equiv="refresh"' not in page


def test_receipt_without_an_end_says_so(ops: Operator) -> None:
    """Under ON_STORE_DOWN=admit nothing can be promised."""
    with ops.gate.faults.lag(reach_seconds=float("inf")):
        assert "Not everybody may hear of it" in ops.does("suspend", sub="alice")


def test_unknown_receipt_is_told(ops: Operator) -> None:
    """Another process may have given it: what it was for stands."""
    page = ops.get("receipt", status=404, id="nothing")
    assert "This receipt is not here" in page
    assert '/receipt?id=nothing">Look again</a>' in page
    assert "This receipt is not here" in ops.get("receipt", status=404)


# --- pages that are out of date


def test_stale_page_ends_nothing_twice(ops: Operator) -> None:
    """The session has ended meanwhile: a page says so, and nothing is written."""
    sid = ops.gate.sessions.start("alice").session_id
    page = ops.get("confirm", action="end", sid=sid)
    ops.gate.sessions.end(sid)
    position = ops.gate.status().position
    assert "There is no such session any more" in ops.press(page)
    assert "There is no such session any more" in ops.get("confirm", action="end", sid=sid)
    assert ops.gate.status().position == position


def test_stale_page_does_not_reinstate_twice(ops: Operator) -> None:
    """Nor suspend."""
    ops.gate.suspend("alice")
    page = ops.get("confirm", action="reinstate", sub="alice")
    ops.gate.reinstate("alice")
    assert "not suspended" in text_of(ops.press(page))
    page = ops.get("confirm", action="suspend", sub="alice")
    ops.gate.suspend("alice")
    assert "suspended already" in text_of(ops.press(page))


# --- forged and broken forms


@pytest.mark.parametrize("csrf", ["fetch-metadata", "double-submit", "off"])
@pytest.mark.parametrize("token", [None, "", "0" * 64, "é", "x" * 10_000], ids=["none", "empty", "zeros", "accent", "long"])
def test_forged_form_does_nothing(csrf: str, token: str | None) -> None:
    """Whatever the gate's own rule is: every button carries the operator's form token."""
    with console(csrf=csrf) as operator:
        page = operator.get("confirm", action="suspend", sub="alice")
        assert "This form is out of date" in operator.press(page, status=403, form_token=token)
        assert operator.gate.issue("alice")


def test_form_of_another_operator_does_nothing(ops: Operator) -> None:
    """It is bound to who was shown it."""
    page = ops.get("confirm", action="suspend", sub="alice")
    ops.client.headers.update(ops.gate.bearer("other", scopes="jwtgate:admin"))
    ops.press(page, status=403)
    assert ops.gate.issue("alice")


@pytest.mark.parametrize("action", ACTIONS)
def test_nothing_is_done_by_get(ops: Operator, action: str) -> None:
    """A link is no button."""
    answer = ops.client.get("/ops/do", params={"action": action, "sub": "alice", "sid": "x"})
    assert answer.status_code == 405
    assert "reached by the links and buttons" in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "BREW"])
def test_other_methods_get_a_page(ops: Operator, method: str) -> None:
    """405 where the path is known, 404 where not; with the frame of the console around."""
    answer = ops.client.request(method, "/ops/subject", data={"form_token": "x"} if method == "POST" else None)
    assert answer.status_code == 405
    assert "</html>" in answer.text
    assert ops.client.request(method, "/ops/nothing").status_code == 404


def test_head_is_get_without_a_body(ops: Operator) -> None:
    """RFC 9110 §9.3.2."""
    answer = ops.client.head("/ops/")
    assert (answer.status_code, answer.content) == (200, b"")


def test_form_with_an_unknown_button_does_nothing(ops: Operator) -> None:
    """Or with none, or with nobody in it."""
    page = ops.get("confirm", action="suspend", sub="alice")
    for changed in ({"action": "drop"}, {"action": None}, {"sub": None}, {"sub": ""}):
        ops.press(page, status=400, **changed)
    assert ops.gate.issue("alice")


def test_body_that_is_no_form_gets_a_page(ops: Operator) -> None:
    """Too long, of another type, broken: in words, and nothing is done."""
    for body, kind, status in (
        (b"x=" + b"a" * 1_000_000, "application/x-www-form-urlencoded", 413),
        (b"{}", "application/json", 415),
        (b"action=%ZZ", "application/x-www-form-urlencoded", 400),
        (b"action=suspend&action=suspend", "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
    ):
        answer = ops.client.post("/ops/do", content=body, headers={"content-type": kind})
        assert answer.status_code == status
        assert "</html>" in answer.text


# --- hostile texts

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>',
    "template": "{{7*7}}{% raw %}",
    "quote": "' or 1=1 --",
    "bidi": "user\u202egnp.exe",
    "crlf": "a\r\nSet-Cookie: x=1",
    "long": "a" * 2000,
    "astral": "\U0001f600\u0301" * 20,
    "javascript": "javascript:alert(1)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_search_text_is_only_text(ops: Operator, name: str) -> None:
    """It is shown, escaped and with its controls spelt out, as a subject and in every form that it gets into."""
    text = HOSTILE[name]
    ops.gate.sessions.start(text, device=text[:1000], user_agent=text[:1000], ip=text[:1000])
    for page in (ops.get("subject", sub=text), ops.get("confirm", action="suspend", sub=text), ops.does("suspend", sub=text)):
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "\u202e" not in re.sub(r'(?:value|href)="[^"]*"', "", page)
    assert "suspended" in text_of(ops.get("subject", sub=text))
    with pytest.raises(Exception, match="suspended"):
        ops.gate.issue(text)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("sub=%00", 400),
        ("sub=a%00b", 400),
        ("sub=%ED%A0%80", 400),
        ("sub=%FF", 400),
        ("sub=%zz", 400),
        ("sub=a&sub=b", 400),
        ("sub=" + "a" * 40_000, 414),
        ("sub=" + "a" * 20_000, 400),
        ("sub=", 200),
        ("", 200),
        ("sub=a&issuer=https://unknown.example", 400),
    ],
)
def test_query_that_cannot_be_read_gets_a_page(ops: Operator, query: str, status: int) -> None:
    """NUL, lone surrogates, bytes that are no text, repeated fields, a megabyte, an issuer that is none."""
    answer = ops.client.get(f"/ops/subject?{query}")
    assert answer.status_code == status
    assert "</html>" in answer.text
    assert len(answer.text) < 20_000


# --- several issuers


@pytest.fixture
def several() -> Any:
    """Two issuers, of which one signs."""
    public = pair_of(ed25519.Ed25519PrivateKey.generate()).public_pem
    own = {"issuer": "https://own.example", "secret": "an-own-secret-that-is-long-enough-for-hs256"}
    with console(issuers=json.dumps([own, {"issuer": "https://partner.example", "public_key": public}])) as operator:
        yield operator


def test_issuer_must_be_chosen_where_there_are_several(several: Operator) -> None:
    """A subject of one is nobody to the other; sessions are of the one that signs."""
    several.gate.sessions.start("alice", device="laptop")
    assert "Which issuer?" in several.get("subject", status=400, sub="alice")
    own = several.get("subject", sub="alice", issuer="https://own.example")
    assert "laptop" in own
    assert '<option value="https://own.example" selected>' in own
    partner = several.get("subject", sub="alice", issuer="https://partner.example")
    assert "laptop" not in partner
    assert "Sessions of this issuer are not kept here" in text_of(partner)
    assert "Revoke all tokens…" in partner
    several.does("suspend", sub="alice", issuer="https://partner.example")
    several.does("revoke", sub="alice", issuer="https://partner.example")
    assert several.gate.issue("alice")
    assert len(several.gate.sessions.list("alice")) == 1


def test_sessions_of_an_issuer_that_has_none_cannot_be_ended(several: Operator) -> None:
    """The button is not there, and a forged address does not end those of a namesake."""
    several.gate.sessions.start("alice")
    several.get("confirm", status=400, action="end-all", sub="alice", issuer="https://partner.example")
    assert len(several.gate.sessions.list("alice")) == 1


# --- a store that is down


@pytest.fixture
def apart() -> Iterator[tuple[Operator, FixtureGate]]:
    """The gate in front has a store of its own, as that of the command has, so that the page is still reached."""
    with gate() as data, console(console=Console(gate=data)) as operator:
        yield operator, data


@pytest.mark.parametrize("path", PATHS)
def test_store_that_is_down_gets_a_page_and_leaks_nothing(apart: tuple[Operator, FixtureGate], path: str) -> None:
    """503 in words, with Retry-After and the way to try again; once it is back the page is, too."""
    operator, data = apart
    operator.get(path)
    with data.faults.fail():
        answer = operator.client.get("/ops/" + path)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert "The store does not answer" in answer.text
        assert "the test has the store fail" not in answer.text
        assert "memory" not in answer.text
        assert path == "" or f'href="/ops/{escape(path)}"' in answer.text
    operator.get(path)


def test_button_works_once_the_store_is_back(apart: tuple[Operator, FixtureGate]) -> None:
    """Nothing is lost: the same form, pressed again, does it."""
    operator, data = apart
    page = operator.get("confirm", action="suspend", sub="alice")
    with data.faults.fail():
        told = operator.press(page, status=503)
        assert "to do it again does no harm" in text_of(told)
        assert 'href="/ops/confirm?action=suspend&amp;sub=alice"' in told
        assert operator.get("rulings")  # from memory
        assert "The store does not answer" in operator.get("feed") or "Nothing was ruled" in operator.get("feed")
    assert data.issue("alice")
    assert "Subject suspended" in operator.press(page)
    with pytest.raises(SubjectSuspended):
        data.issue("alice")


def test_view_that_was_never_loaded_is_not_told_as_one_without_rulings() -> None:
    """The store was away at start: nobody is to read that nothing is revoked."""
    settings = Settings(secret="a-secret-of-thirty-two-octets-or-more", store="redis://127.0.0.1:1")
    with closing(Gate(settings)) as data, console(console=Console(gate=data)) as operator:
        assert "it has not loaded them yet" in text_of(operator.get("rulings"))


def test_button_that_did_nothing_says_so(apart: tuple[Operator, FixtureGate], monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection came up: nobody need wonder."""
    operator, data = apart
    page = operator.get("confirm", action="suspend", sub="alice")

    def refuse(*_: object) -> None:
        raise NotWritten("connection refused")

    monkeypatch.setattr(data.store, "write", refuse)
    assert "Nothing was written." in text_of(operator.press(page, status=503))


def test_mounted_console_answers_as_the_gate_in_front_does() -> None:
    """Whose store cannot be asked who the operator is: 503 by the gate, and the page once it is back."""
    with console() as operator:
        with operator.gate.faults.fail():
            assert operator.client.get("/ops/").status_code == 503
        operator.get()


def test_store_that_fails_while_a_receipt_fills_is_told(apart: tuple[Operator, FixtureGate]) -> None:
    """The receipt is not lost by it."""
    operator, data = apart
    with data.faults.lag(reach_seconds=5.0):
        answer = operator.post(operator.get("confirm", action="suspend", sub="alice"))
        with data.faults.fail():
            told = operator.client.get(answer.url)
            assert (told.status_code, "The store does not answer" in told.text) == (503, True)
    assert "Effective everywhere" in operator.client.get(answer.url).text


@pytest.mark.parametrize("action", ["suspend", "reinstate", "end", "end-all", "revoke", "renew"])
def test_target_that_no_token_can_carry_is_refused(action: str) -> None:
    """By a page, before and after the question; never by 500."""
    with console() as ops:
        query = {"action": action, "sid" if action == "end" else "sub": "x" * 9000}
        asked = ops.client.get("/ops/confirm", params=query)
        (form_token,) = re.findall(r'name="form_token" value="([^"]*)"', ops.get("confirm", action="everything"))
        done = ops.client.post("/ops/do", params=query, data={"form_token": form_token})
        assert asked.status_code in (200, 400)
        assert "There is no such session" in done.text or (done.status_code, "Nothing was done" in done.text) == (400, True)
