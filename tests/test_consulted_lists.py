"""Status lists of another issuer: consulted in the background, through outage and nonsense (draft-ietf-oauth-status-list §8)."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from beside import together
from listed import ListServer, bomb
from published import Provider

from jwtgate import Gate, Settings
from jwtgate.core.keys import fetching as key_fetching
from jwtgate.core.statuses.held import Statuses
from jwtgate.errors import JWTGateError, SettingsError
from jwtgate.runtime import list_fetching

if TYPE_CHECKING:
    from collections.abc import Iterator

BAD = ("fail", "redirect", "html", "gzip", "huge", "bomb", "hang", "drip", "headers")


@pytest.fixture
def provider() -> Iterator[Provider]:
    """The issuer and its keys."""
    with Provider() as made:
        yield made


@pytest.fixture
def lists(provider: Provider) -> Iterator[ListServer]:
    """Where its lists stand."""
    with ListServer(provider) as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def made_bomb() -> None:
    """It takes long to make."""
    assert len(bomb()["lst"]) > 100_000


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds instead of minutes; the bounds' order stays."""
    for name, seconds in {"COOL_DOWN_SECONDS": 1.0, "FIRST_PAUSE_SECONDS": 0.2}.items():
        monkeypatch.setattr(key_fetching, name, seconds)
    monkeypatch.setattr(list_fetching, "FETCH_SECONDS", 0.5)


@contextmanager
def gate_of(lists: ListServer, **settings: Any) -> Iterator[Gate]:
    """A gate that consults them."""
    signer = lists.signer
    given = {"jwks_url": signer.url, "jwks_http": True, "issuer": signer.issuer, "status_from": [lists.issuer], **settings}
    with closing(Gate(Settings(**given))) as gate:
        assert gate.ready()
        yield gate


def answer(gate: Gate, token: str) -> str:
    """``admitted``, or the reason."""
    try:
        gate.verify(token)
    except JWTGateError as error:
        return error.reason
    return "admitted"


def eventually(gate: Gate, token: str, wanted: str, seconds: float = 10.0) -> set[str]:
    """All answers until the one that is waited for."""
    answers = set()
    deadline = time.monotonic() + seconds
    while (found := answer(gate, token)) != wanted:
        assert time.monotonic() < deadline, f"{found} in place of {wanted}"
        answers.add(found)
        time.sleep(0.02)
    return answers


def test_first_request_waits_for_the_list(lists: ListServer) -> None:
    """One fetch serves all tokens of the list, live and dead."""
    lists.dead, lists.ttl = {8}, 60
    with gate_of(lists) as gate:
        assert answer(gate, lists.token(7)) == "admitted"
        assert answer(gate, lists.token(8)) == "revoked"
        assert answer(gate, lists.token(10**6)) == "invalid_token"
        assert answer(gate, lists.signer.token()) == "admitted"
    assert lists.paths == ["/status/1"]


@pytest.mark.usefixtures("quick")
def test_address_that_never_ends_keeps_no_other_from_being_fetched(lists: ListServer) -> None:
    """Its own thread is left where it is, once; the next list has another."""
    lists.hung = {"/status/2"}
    try:
        with gate_of(lists) as gate:
            assert answer(gate, lists.token(number=2)) == "status_unavailable"
            eventually(gate, lists.token(7), "admitted")
            lists.dead = {7}
            eventually(gate, lists.token(7), "revoked")
            assert lists.paths.count("/status/2") == 1
    finally:
        lists.hung = set()


def test_fault_of_our_own_does_not_end_the_fetching(
    lists: ListServer, quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As of keys."""
    faults = iter([ZeroDivisionError("of ours")])
    install = Statuses.install

    def failing(self: Statuses, *arguments: Any) -> Any:
        for fault in faults:
            raise fault
        return install(self, *arguments)

    monkeypatch.setattr(Statuses, "install", failing)
    with gate_of(lists) as gate:
        eventually(gate, lists.token(), "admitted")
    assert "goes on" in caplog.text and "ZeroDivisionError" in caplog.text


def test_remembered_token_dies_within_the_ttl(lists: ListServer) -> None:
    """And comes back when the list says so; those beside it never notice."""
    with gate_of(lists) as gate:
        token, other = lists.token(7), lists.token(9)
        assert answer(gate, token) == answer(gate, other) == "admitted"
        lists.dead = {7}
        began = time.monotonic()
        assert eventually(gate, token, "revoked") == {"admitted"}
        assert time.monotonic() - began < 3.0
        misses = gate.status().misses
        assert answer(gate, other) == "admitted" and gate.status().misses == misses, "still a hit"
        lists.dead = set()
        assert eventually(gate, token, "admitted") == {"revoked"}


def test_other_clients_do_not_matter_without_the_setting(lists: ListServer) -> None:
    """Unset, a claim ``status`` says nothing, of whatever shape."""
    lists.dead = {7}
    with gate_of(lists, status_from=None) as gate:
        assert answer(gate, lists.token(7)) == "admitted"
        assert answer(gate, lists.token(7, status="active", jti="2")) == "admitted"
    assert lists.asked == []


def test_forged_tokens_fetch_nothing(lists: ListServer) -> None:
    """However many, and whatever they name."""
    with Provider() as other, gate_of(lists) as gate:
        for number in range(50):
            status = {"status_list": {"idx": 7, "uri": lists.uri(number)}}
            forged = other.token(iss=lists.signer.issuer, status=status, kid=None)
            assert answer(gate, forged) in ("unknown_key", "keys_unavailable")
            expired = lists.token(number=number, exp=int(time.time()) - 5)
            assert answer(gate, expired) == "expired"
    assert lists.asked == []


@pytest.mark.parametrize("how", BAD)
def test_last_good_list_stays_whatever_comes(
    lists: ListServer, quick: None, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Bombs, drips, HTML and redirects: no token of the list suffers, few fetches, one log line a reason."""
    with gate_of(lists) as gate:
        eventually(gate, lists.token(7), "admitted")  # fetches have half a second here
        lists.how = how
        began, first = time.monotonic(), len(lists.asked)
        number = 0
        while (took := time.monotonic() - began) < 2.6 or (len(lists.asked) == first and took < 20):
            number += 1
            assert answer(gate, lists.token(7, jti=str(number))) == "admitted"
            time.sleep(0.005)  # the server is in this process
        tried = lists.asked[first:]
        assert 1 <= len(tried) <= took + 2
        lists.claims, lists.dead, lists.how = {}, {7}, "answer"
        eventually(gate, lists.token(7), "revoked")
    lines = [each.message for each in caplog.records if each.levelno == logging.WARNING and "status list" in each.message]
    assert 1 <= len(lines) <= took + 3
    assert all(line != before for before, line in pairwise(lines)), "a reason that goes on is said once"
    assert lists.uri() not in caplog.text


@pytest.mark.parametrize("how", BAD)
def test_cold_start_with_nothing_usable_is_503_and_recovers_alone(lists: ListServer, quick: None, how: str) -> None:
    """Never 401 for the publisher's fault, and never admission."""
    lists.how = how
    with gate_of(lists) as gate:
        token = lists.token(7)
        assert answer(gate, token) == "status_unavailable"
        began = time.monotonic()
        assert answer(gate, token) == "status_unavailable"
        assert time.monotonic() - began < 1.0
        lists.claims, lists.how = {}, "answer"
        assert eventually(gate, token, "admitted") == {"status_unavailable"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"typ": "JWT"},
        {"typ": "at+jwt"},
        {"content_type": "application/jwt"},
        {"claims": {"sub": "http://127.0.0.1/status/2"}},
        {"claims": {"exp": 1}},
        {"claims": {"iat": None}},
        {"claims": {"iss": "https://other.example"}},
        {"claims": {"status_list": {"bits": 1, "lst": "AAAA"}}},
    ],
)
def test_list_that_breaks_a_rule_is_none(lists: ListServer, quick: None, wrong: dict[str, Any]) -> None:
    """§8.3, by the real way."""
    for name, value in wrong.items():
        setattr(lists, name, value)
    with gate_of(lists) as gate:
        assert answer(gate, lists.token(7)) == "status_unavailable"


def test_list_of_another_issuers_key_is_none(lists: ListServer, quick: None) -> None:
    """Two issuers of one gate: neither speaks for the other's tokens, were it to hold the other's address."""
    with Provider() as other:
        issuers = [
            {"issuer": lists.signer.issuer, "jwks_url": lists.signer.url, "status_from": [lists.issuer]},
            {"issuer": other.issuer, "jwks_url": other.url},
        ]
        with closing(Gate(Settings(issuers=issuers, jwks_http=True))) as gate:
            assert gate.ready()
            token, mine = lists.token(7), lists.signer
            lists.signer = other
            assert answer(gate, token) == "status_unavailable"
            lists.signer = mine
            eventually(gate, token, "admitted")


def test_older_list_never_replaces_a_newer_one(lists: ListServer, quick: None) -> None:
    """Whoever stands between, a cache or a thief, brings back no token that is dead."""
    lists.dead = {7}
    with gate_of(lists) as gate:
        token = lists.token(7)
        assert answer(gate, token) == "revoked"
        lists.dead, lists.claims = set(), {"iat": int(time.time()) - 300}
        asked = len(lists.asked)
        while len(lists.asked) < asked + 2:
            assert answer(gate, token) == "revoked"
            time.sleep(0.02)
        lists.claims = {}
        eventually(gate, token, "admitted")


def test_list_that_is_gone_is_503_for_what_was_remembered_too(lists: ListServer, quick: None) -> None:
    """Its publisher lost its history: nobody knows what stood in it."""
    with gate_of(lists) as gate:
        token = lists.token(7)
        eventually(gate, token, "admitted")  # fetches have half a second here
        lists.how = "none-such"
        assert eventually(gate, token, "status_unavailable") == {"admitted"}
        lists.how = "answer"
        assert eventually(gate, token, "admitted") == {"status_unavailable"}


def test_list_that_is_too_old_serves_no_longer(lists: ListServer, quick: None) -> None:
    """The stale bound: 503, never 401, also for what is remembered."""
    with gate_of(lists, jwks_stale=1) as gate:
        token = lists.token(7)
        eventually(gate, token, "admitted")  # fetches have half a second here
        lists.how = "fail"
        assert eventually(gate, token, "status_unavailable") == {"admitted"}
        lists.how = "answer"
        assert eventually(gate, token, "admitted") == {"status_unavailable"}


def test_list_past_its_exp_serves_no_longer(lists: ListServer, quick: None) -> None:
    """However long the stale bound is."""
    lists.claims = {"exp": int(time.time()) + 5}
    with gate_of(lists) as gate:
        token = lists.token(7)
        eventually(gate, token, "admitted")  # fetches have half a second here
        lists.how = "fail"
        assert eventually(gate, token, "status_unavailable") == {"admitted"}


def test_many_requests_at_once_cause_one_fetch(lists: ListServer) -> None:
    """Single flight, though each has seen the list first."""
    lists.ttl = 60
    with gate_of(lists) as gate:
        tokens = [lists.token(index) for index in range(16)]
        found: list[str] = []
        together(*[lambda each=each: found.append(answer(gate, each)) for each in tokens])
    assert found == ["admitted"] * 16 and len(lists.asked) == 1


def test_event_loop_waits_without_standing_still(lists: ListServer) -> None:
    """Many at once, all of one list; the loop goes on meanwhile."""
    lists.dead, lists.ttl = {3}, 60

    async def verdicts(gate: Gate) -> list[bool]:
        tasks = [asyncio.create_task(gate.aio.verify(lists.token(index))) for index in range(8)]
        turns = 0
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10
        return [not isinstance(found, JWTGateError) for found in await asyncio.gather(*tasks, return_exceptions=True)]

    with gate_of(lists) as gate:
        assert asyncio.run(verdicts(gate)) == [index != 3 for index in range(8)]
    assert len(lists.asked) == 1


def test_gate_that_is_closed_fetches_again_when_it_is_used(lists: ListServer) -> None:
    """And remembers nothing that an old list vouched for."""
    lists.ttl = 60
    with gate_of(lists) as gate:
        assert answer(gate, lists.token(7)) == "admitted"
        gate.close()
        lists.dead = {7}
        assert answer(gate, lists.token(7)) == "revoked"
    assert len(lists.asked) == 2


def test_threads_end_with_the_gate(lists: ListServer) -> None:
    """None is left behind."""
    with gate_of(lists) as gate:
        assert answer(gate, lists.token(7)) == "admitted"
    deadline = time.monotonic() + 5
    while any(each.name == "jwtgate-lists" for each in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"status_from": ["issuer"]}, "JWTGATE_STATUS_FROM says issuer, and the issuer is no URL"),
        ({"status_from": ["http://id.example"]}, "JWTGATE_STATUS_FROM is fetched by http"),
        ({"status_from": ["ftp://id.example"]}, "JWTGATE_STATUS_FROM has an item that"),
        ({"status_from": ["https://id.example/"]}, "JWTGATE_STATUS_FROM has an item that"),
        ({"status_from": ["https://id.example/a/../b"]}, "JWTGATE_STATUS_FROM has an item that"),
        ({"status_from": ["https://u:hunter2pw@id.example"]}, "JWTGATE_STATUS_FROM has an item that"),
        ({"status_from": []}, "JWTGATE_STATUS_FROM is empty"),
        ({"status_lists": "https://a.example/auth/status"}, "JWTGATE_STATUS_LISTS is set without JWTGATE_ENDPOINTS"),
        ({"status_lists": "http://a.example/s", "endpoints": "/auth"}, "JWTGATE_STATUS_LISTS is of http"),
        ({"status_lists": "https://a.example/s/", "endpoints": "/auth"}, "JWTGATE_STATUS_LISTS is"),
        ({"status_lists": "https://a.example/s?x", "endpoints": "/auth"}, "JWTGATE_STATUS_LISTS is"),
        ({"status_ttl": 0}, "JWTGATE_STATUS_TTL is 0"),
    ],
)
def test_mistakes_are_told_at_once(settings: dict[str, Any], said: str) -> None:
    """By name, without a password."""
    with pytest.raises(SettingsError) as caught:
        Settings(secret="k" * 40, **settings)
    assert any(said in mistake for mistake in caught.value.mistakes), caught.value.mistakes
    assert "hunter2pw" not in str(caught.value)


def test_mistakes_in_an_entry_name_it() -> None:
    """And a gate that only verifies has nothing to publish."""
    with pytest.raises(SettingsError, match=r"JWTGATE_ISSUERS\[0\].status_from says issuer"):
        Settings(issuers=[{"issuer": "a", "secret": "k" * 40, "status_from": ["issuer"]}])
    derived = {"secret": "k" * 40, "derived_keys": True, "endpoints": "/auth"}
    with pytest.raises(SettingsError, match="JWTGATE_STATUS_LISTS is set, and no key signs lists"):
        Settings(**derived, status_lists="https://a.example/auth/status")
    with pytest.raises(SettingsError, match="JWTGATE_STATUS_LISTS is set, and no key signs"):
        Settings(jwks_url="https://a.example/jwks", endpoints="/auth", status_lists="https://a.example/auth/status")
