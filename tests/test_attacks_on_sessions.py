"""Attacks on the life of a login: other issuers' refresh tokens, false theft, dead tokens after restarts, junk in sessions."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import time
from functools import partial

import pytest
from beside import beside
from processes.proxy import Proxy
from servers import Server, valkey_binary

from jwtgate import Gate, Settings
from jwtgate.core.effects import Write
from jwtgate.core.handles import digest_of
from jwtgate.core.rulings import Ruling
from jwtgate.core.sessions.refresh_tokens import RefreshToken, unseal
from jwtgate.errors import GrantError, InvalidToken, JWTGateError, ReusedRefreshToken, Revoked, StoreUnavailable

SECRET = "s" * 64
SESSIONS = "{jwtgate:0}:s:"


@contextlib.contextmanager
def gate_of(skew: float = 0.0, **settings):
    gate = Gate(Settings(**{"secret": SECRET, "lease": 0.25, **settings}))
    if skew:
        gate.clock.wall = lambda: time.time() + skew
    try:
        assert gate.ready(15)
        yield gate
    finally:
        gate.close()


@pytest.fixture(scope="module")
def running_server():
    with Server(valkey_binary(), "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def server(running_server):
    """Empty. One kind will do here: the conformance suite holds the two together."""
    with running_server.client() as client:
        client.flushall()
    return running_server


@contextlib.contextmanager
def two_issuers(url: str, **settings):
    """Two applications that share a store, each with its issuer and its key."""
    with (
        gate_of(store=url, issuer="https://a", secret="a" * 64, **settings) as one,
        gate_of(store=url, issuer="https://b", secret="b" * 64, **settings) as other,
    ):
        yield one, other


# --- two issuers on one store


@pytest.mark.server
def test_a_refresh_token_of_another_issuer_gives_no_tokens_of_ours(server) -> None:
    """A customer of one application becomes whoever has the same name at the other: it must be refused, and cost nothing."""
    with two_issuers(server.url) as (one, other):
        pair = one.sessions.start("alice", claims={"role": "customer"})
        with pytest.raises(GrantError):
            other.sessions.refresh(pair.refresh_token)
        assert one.sessions.refresh(pair.refresh_token)


@pytest.mark.server
def test_ending_a_session_of_another_issuer_leaves_it_whole(server) -> None:
    """Its record went and its access token stayed, behind a true receipt, and its subject could not log in any more."""
    with two_issuers(server.url, max_sessions=2) as (one, other):
        pair = one.sessions.start("alice")
        assert other.sessions.end(pair.session_id, wait=True).effective_everywhere
        assert one.verify(pair.access_token)
        assert one.sessions.refresh(pair.refresh_token)
        assert one.sessions.start("alice")


# --- dead tokens and sessions that come alive


@pytest.mark.server
def test_a_cut_off_after_a_restart_holds_after_the_next_with_clocks_fifty_seconds_apart(server) -> None:
    """A receipt was true, so the token stays dead: also where token and cut-off are of two past epochs, and the clock of
    the process that issued it runs ahead by as much as a write may."""
    options = {"store": server.url}

    def restart(gate: Gate) -> None:
        server.restart()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(StoreUnavailable):
                gate.verify(gate.sessions.start("somebody").access_token)
                break
            time.sleep(0.05)
        assert gate.ready(10)
        while gate.status().store != "up":
            time.sleep(0.01)

    with gate_of(50.0, **options) as ahead, gate_of(**options) as gate:
        pair = ahead.sessions.start("alice")
        restart(gate)
        assert gate.revoke(sub="alice", wait=True).effective_everywhere
        restart(gate)
        with pytest.raises(Revoked):
            gate.verify(pair.access_token)
        with pytest.raises(GrantError):
            gate.sessions.refresh(pair.refresh_token)


@pytest.mark.parametrize("target", [{"everything": True}, {"claim": ("tenant", "acme")}], ids=["everything", "claim"])
def test_a_cut_off_is_remembered_as_long_as_a_session_that_it_ended(target) -> None:
    """``expires_at`` tells of access tokens: once the ruling is forgotten, the sessions must not refresh again."""
    with gate_of(handles=("tenant",)) as gate:
        gate.sessions.start("alice", claims={"tenant": "acme"})
        gate.revoke(**target, expires_at=time.time() + 900)
        handle = digest_of("", *target.get("claim", ("all", "")))
        until = Ruling.decode(gate.store._rulings[handle]).until
        assert until is None or until > time.time() + gate.settings.refresh_ttl


@pytest.mark.server
def test_a_tenant_that_was_cut_off_gets_no_new_tokens_from_sessions_older_than_the_setting(server) -> None:
    """``HANDLES`` came with a deployment: sessions from before it carry the claim, and must end under it like the others."""
    with gate_of(store=server.url) as before, gate_of(store=server.url, handles=("tenant",)) as after:
        pair = before.sessions.start("alice", claims={"tenant": "acme"})
        assert after.revoke(claim=("tenant", "acme"), wait=True).effective_everywhere
        with pytest.raises(GrantError):
            after.sessions.refresh(pair.refresh_token)


@pytest.mark.server
def test_no_token_outlives_an_ending_that_it_races(server) -> None:
    """Refreshes and held look-ups of an allowlist against every way of ending: nothing passes after the receipt."""
    options = {"store": server.url}
    with gate_of(**options) as one, gate_of(**options) as two, gate_of(**options, validity="allowlist") as listed:

        def refresh(pair, got) -> None:
            with contextlib.suppress(JWTGateError):
                got.append(two.sessions.refresh(pair.refresh_token))

        def verify(pair) -> None:
            with contextlib.suppress(JWTGateError):
                listed.verify(pair.access_token)

        endings = (
            lambda pair: one.sessions.end(pair.session_id, wait=True),
            lambda pair: one.revoke(sub="alice", wait=True),
            lambda pair: one.sessions.end_all("alice", keep="A" * 22, wait=True),
            lambda pair: one.revoke(everything=True, wait=True),
        )
        for number in range(24):
            pair, got = one.sessions.start("alice"), []
            with beside(*[partial(refresh, pair, got)] * 2, partial(verify, pair)):
                time.sleep(random.random() * 0.004)
                assert endings[number % 4](pair).effective_everywhere
            for dead in (pair, *got):
                for gate in (one, two, listed):
                    with pytest.raises(Revoked):
                        gate.verify(dead.access_token)
                    with pytest.raises(GrantError):
                        gate.sessions.refresh(dead.refresh_token)


# --- logged out for nothing


def test_a_lost_answer_can_be_asked_again_however_fast_the_lineage_rotates() -> None:
    """Nine refreshes within the grace, a tab that shows the first once more: no theft, whatever the answer."""
    with gate_of() as gate:
        first = last = gate.sessions.start("alice")
        for _ in range(9):
            last = gate.sessions.refresh(last.refresh_token)
        with contextlib.suppress(StoreUnavailable):
            gate.sessions.refresh(first.refresh_token)
        assert gate.sessions.refresh(last.refresh_token)


def test_a_session_that_moved_into_a_tenant_after_its_cut_off_goes_on() -> None:
    """The provider of claims moved it and the gate gave it a living token: the next refresh must not log it out."""
    with gate_of(handles=("tenant",)) as gate:
        pair = gate.sessions.start("alice", claims={"tenant": "a"})
        gate.revoke(claim=("tenant", "b"))
        gate.claims(lambda session: {"tenant": "b"})
        moved = gate.sessions.refresh(pair.refresh_token)
        assert gate.verify(moved.access_token)
        assert gate.sessions.refresh(moved.refresh_token)


@pytest.mark.server
def test_a_session_evicted_from_the_store_keeps_nobody_from_logging_in(server) -> None:
    """Under ``MAX_SESSIONS`` its name in the subject's list made the login wait for it until its end."""
    with server.client() as client, gate_of(store=server.url, max_sessions=2) as gate:
        pair = gate.sessions.start("alice")
        client.delete(SESSIONS + pair.session_id)
        assert gate.sessions.start("alice")


@pytest.mark.server
def test_a_rotation_whose_answer_was_lost_is_found_again(server) -> None:
    """The store wrote and the gate heard nothing: 503, and then the same pair for whoever asks again, anywhere."""
    with Proxy(server.port) as proxy, gate_of(store=proxy.url) as gate, gate_of(store=server.url) as other:
        pair = other.sessions.start("alice")
        perform = gate.performer.perform

        def deaf(effect):
            if isinstance(effect, Write):
                proxy.hold(questions=False)
            return perform(effect)

        gate.performer.perform = deaf
        with pytest.raises(StoreUnavailable):
            gate.sessions.refresh(pair.refresh_token)
        gate.performer.perform = perform
        proxy.pass_on()
        assert gate.ready(10)
        assert gate.sessions.refresh(pair.refresh_token) == other.sessions.refresh(pair.refresh_token)


def test_a_second_use_after_the_grace_is_still_theft() -> None:
    """Whatever is done about fast lineages."""
    with gate_of(refresh_grace=0.0) as gate:
        pair = gate.sessions.start("alice")
        gate.sessions.refresh(pair.refresh_token)
        with pytest.raises(ReusedRefreshToken):
            gate.sessions.refresh(pair.refresh_token)


# --- state and secrets


def test_a_lineage_that_rotates_often_leaves_nothing_behind_in_memory() -> None:
    """Under ``IDLE_TTL`` each refresh moves the end: ends that were moved must not pile up."""
    with gate_of(idle_ttl=86400) as gate:
        pair = gate.sessions.start("alice")
        for _ in range(100):
            pair = gate.sessions.refresh(pair.refresh_token)
        assert len(gate.store._sessions._ends) < 50


@pytest.mark.server
def test_a_copy_of_the_store_and_a_spent_token_give_no_successor_after_the_grace(server) -> None:
    """A later rotation keeps what was sealed for an earlier one, for its own grace and no longer: twice the grace at most."""
    with server.client() as client, gate_of(store=server.url, refresh_grace=0.4) as gate:
        first = gate.sessions.start("alice")
        second = gate.sessions.refresh(first.refresh_token)
        time.sleep(0.3)
        gate.sessions.refresh(second.refresh_token)
        time.sleep(0.5)
        kept = json.loads(client.get("{jwtgate:0}:g:" + first.session_id) or b"{}")
        spent = RefreshToken.decode(first.refresh_token)
        assert unseal(spent, kept.get(spent.digest, "")) is None


# --- junk in a session


@pytest.mark.server
@pytest.mark.parametrize("junk", [b"nan", b"junk", b"1e400"])
def test_ending_a_session_whose_end_is_junk_does_not_fork_the_log(server, caplog, junk) -> None:
    """The step failed after it had written to the log, so every process fenced: 503 for all, at each attempt."""
    with server.client() as client, gate_of(store=server.url) as gate:
        pair = gate.sessions.start("alice")
        client.hset(SESSIONS + pair.session_id, "ends", junk)
        with caplog.at_level(logging.DEBUG, "jwtgate"), contextlib.suppress(StoreUnavailable):
            gate.revoke(sub="alice")
        epoch = client.hget("{jwtgate:0}:rulings", "epoch")
        time.sleep(0.4)
        assert json.loads(client.hget("{jwtgate:0}:rulings", "epoch"))["name"] == json.loads(epoch)["name"]
        assert "fork" not in caplog.text


@pytest.mark.server
def test_a_list_whose_end_is_infinite_does_not_break_a_rotation_in_the_middle(server) -> None:
    """The record was replaced and the step failed then: the pair was lost, and asking again was theft."""
    with server.client() as client, gate_of(store=server.url) as gate:
        pair = gate.sessions.start("alice")
        (key,) = client.keys("*:u:*")
        client.zadd(key, {"nobody": float("inf")})
        assert gate.sessions.refresh(pair.refresh_token)


@pytest.mark.server
@pytest.mark.parametrize("break_it", ["type", "seen", "ends", "handles"])
def test_a_session_that_cannot_be_read_disturbs_no_other(server, break_it) -> None:
    """Whoever owns it could keep the whole process at 503 by asking, since its junk counted as a failure of the store."""
    with server.client() as client, gate_of(store=server.url, validity="allowlist") as gate:
        broken = gate.sessions.start("alice")
        if break_it == "type":
            client.delete(SESSIONS + broken.session_id)
            client.set(SESSIONS + broken.session_id, "x")
        else:
            client.hset(SESSIONS + broken.session_id, break_it, "abc")
        other = gate.sessions.start("bob")
        with pytest.raises(StoreUnavailable):
            gate.verify(broken.access_token)
        assert gate.verify(other.access_token)


@pytest.mark.server
@pytest.mark.parametrize(
    "left", [("ends",), ("record", "ends"), ("ends", "handles")], ids=["nothing", "no handles", "no record"]
)
def test_a_session_of_which_parts_are_missing_is_the_stores_fault(server, left) -> None:
    """503, never IndexError, never an admission; and it can be ended all the same."""
    with server.client() as client, gate_of(store=server.url, validity="allowlist") as gate:
        pair = gate.sessions.start("alice")
        key = SESSIONS + pair.session_id
        gone = [name for name in client.hkeys(key) if name.decode() not in left]
        client.hdel(key, *gone)
        with pytest.raises(StoreUnavailable):
            gate.verify(pair.access_token)
        with pytest.raises(StoreUnavailable):
            gate.sessions.refresh(pair.refresh_token)
        with contextlib.suppress(StoreUnavailable):
            gate.sessions.end_all("alice", keep="A" * 22)
        gate.sessions.end(pair.session_id)
        with pytest.raises(Revoked):
            gate.verify(pair.access_token)


@pytest.mark.server
@pytest.mark.parametrize("junk", [{"generation": 1e30}, {"generation": -1}, {"sub": "\ud800"}], ids=str)
def test_a_record_that_no_token_could_have_is_the_stores_fault(server, junk) -> None:
    """Neither struct.error nor ValueError."""
    with server.client() as client, gate_of(store=server.url) as gate:
        pair = gate.sessions.start("alice")
        key = SESSIONS + pair.session_id
        client.hset(key, "record", json.dumps(json.loads(client.hget(key, "record")) | junk))
        with pytest.raises(StoreUnavailable):
            gate.sessions.refresh(pair.refresh_token)
        assert gate.sessions.end(pair.session_id)
