"""Attacks that once got through, over real stores where they need one: dead tokens, foreign errors, junk under the keys."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time

import jwt
import pytest
from beside import together
from processes.proxy import Proxy

from jwtgate import Gate, Settings
from jwtgate.core.followed import Followed
from jwtgate.core.handles import digest_of
from jwtgate.core.history import Entry, LogEnd
from jwtgate.core.rulings import CutOff, Issued, Ruling, Toggle
from jwtgate.core.view import View
from jwtgate.errors import InvalidToken, Revoked, StoreUnavailable

pytestmark = pytest.mark.server

SECRET = "s" * 64
HANDLE = b"h" * 16
OLD, NEW = "old-epoch-A", "new-epoch-B"


@contextlib.contextmanager
def gate_of(skew: float = 0.0, **settings):
    gate = Gate(Settings(secret=SECRET, **settings))
    if skew:
        gate.clock.wall = lambda: time.time() + skew
    try:
        yield gate
    finally:
        gate.close()


def token_of(jti="1", sub="alice", **claims) -> str:
    now = int(time.time())
    return jwt.encode({"sub": sub, "jti": jti, "iat": now - 10, "exp": now + 600, **claims}, SECRET, algorithm="HS256")


def view_of() -> View:
    return View(
        threading.Lock(), lease_seconds=1.0, grace_seconds=0.0, admitted_limit=9, rulings_limit=99, wide_handles=frozenset()
    )


# --- the admitted tokens


def test_a_token_that_names_a_group_twice_shields_no_other_token_of_the_group() -> None:
    """Evicting the one leaves the other reachable by the handle that both carry."""
    with gate_of(handles=("group",)) as gate:
        assert gate.ready()
        twice, once = token_of("twice", group=["x", "x"]), token_of("once", group=["x"])
        gate.verify(twice)
        gate.verify(once)
        gate.revoke(jti="twice", wait=True)
        assert gate.revoke(claim=("group", "x"), wait=True).effective_everywhere
        with pytest.raises(Revoked):
            gate.verify(once)


def test_a_group_named_twice_leaves_the_index_whole() -> None:
    """No KeyError on a later request, and nothing left in the index of what was evicted."""
    with gate_of(handles=("group",), cache_size=2) as gate:
        assert gate.ready()
        gate.verify(token_of("twice", group=["x", 1, "1", "x"]))
        for number in range(6):
            gate.verify(token_of(f"once-{number}", group=["x"]))
        gate.revoke(claim=("group", "x"), wait=True)
        assert not gate.view.admitted._index


# --- two epochs, clocks apart


def test_a_suspension_of_this_epoch_beats_a_lifting_of_an_earlier_one_whatever_the_clocks() -> None:
    """The caller who lifted was five seconds ahead; the suspension came after a restart of the server."""
    lifted = Ruling(Toggle(False, OLD, 10, 1005.0)).encode()
    suspended = Ruling(Toggle(True, NEW, 11, 1003.0)).encode()
    view = view_of()
    Followed(view).load({HANDLE: lifted}, OLD, LogEnd(10, "a", "10"))
    Followed(view).load({HANDLE: lifted}, NEW, LogEnd(10, "a", "10"))
    Followed(view).apply([Entry(11, "b", "a", "11", HANDLE, suspended)])
    assert Ruling.decode(view.rulings[HANDLE]).kills(Issued(None, 900.0), NEW, 0.0)


def test_a_cut_off_of_this_epoch_goes_on_killing_beside_one_of_an_earlier_epoch_whatever_the_clocks() -> None:
    """A healer that knows the older cut-off, with a later time on it, neither loses the newer stamp nor writes over it."""
    view = view_of()
    Followed(view).load({HANDLE: Ruling(not_before=CutOff(OLD, 10, 1005.0)).encode()}, OLD, LogEnd(10, "a", "10"))
    Followed(view).load({HANDLE: Ruling(not_before=CutOff(NEW, 1, 1003.0)).encode()}, NEW, LogEnd(1, "b", "1"))
    assert Ruling.decode(view.rulings[HANDLE]).kills(Issued((NEW, 0), 1002.0), NEW, 0.0)


def test_a_suspension_after_a_restart_holds_everywhere_with_clocks_five_seconds_apart(own_server) -> None:
    """The receipt says so, and every process was asked."""
    own_server.start()
    options = {"store": own_server.url, "lease": 0.5}
    with gate_of(5.0, **options) as ahead, gate_of(**options) as second, gate_of(**options) as third:
        assert ahead.ready() and second.ready() and third.ready()
        ahead.suspend("bob", wait=True)
        ahead.reinstate("bob", wait=True)
        own_server.restart(keep_data=False)
        time.sleep(0.5)
        assert ahead.ready() and second.ready() and third.ready()
        assert second.suspend("bob", wait=True).effective_everywhere
        for gate in (ahead, second, third):
            with pytest.raises(Revoked):
                gate.verify(token_of("1", "bob"))


def test_a_log_out_in_a_new_epoch_holds_everywhere_with_clocks_five_seconds_apart(own_server) -> None:
    """Log out, FLUSHALL, log in, log out: the last receipt is true."""
    own_server.start()
    options = {"store": own_server.url, "lease": 0.5}
    with gate_of(5.0, **options) as ahead, gate_of(**options) as second, gate_of(**options) as third:
        assert ahead.ready() and second.ready() and third.ready()
        ahead.revoke(sub="alice", wait=True)
        with own_server.client() as client:
            client.flushall()
        time.sleep(0.05)
        token = second.issue("alice")
        assert second.revoke(sub="alice", wait=True).effective_everywhere
        assert ahead.ready() and second.ready() and third.ready()
        for gate in (ahead, second, third):
            with pytest.raises(Revoked):
                gate.verify(token)


# --- losing a key of the store


def test_losing_the_registrations_alone_makes_no_receipt_true(own_server) -> None:
    """Evicted or deleted, the hash of the workers is history too: whoever was in it may act on old knowledge."""
    own_server.start()
    with (
        Proxy(own_server.port) as proxy,
        gate_of(store=own_server.url, lease=3.0) as here,
        gate_of(store=proxy.url, lease=3.0) as cut_off,
    ):
        assert here.ready(15) and cut_off.ready(15)
        token = token_of()
        cut_off.verify(token)
        proxy.hold()
        with own_server.client() as client:
            client.delete("{jwtgate:0}:workers")
        receipt = here.revoke(sub="alice", wait=True)
        try:
            if receipt.effective_everywhere:
                with pytest.raises((Revoked, StoreUnavailable)):
                    cut_off.verify(token)
        finally:
            proxy.pass_on()


# --- MAX_TTL


def test_a_token_made_to_live_longer_than_max_ttl_is_refused_in_its_last_hour_too() -> None:
    """Rulings are kept for MAX_TTL: what was refused for it at first must not come alive once they are forgotten."""
    now = int(time.time())
    token = jwt.encode({"sub": "alice", "iat": now - 85_000, "exp": now + 1_000}, SECRET, algorithm="HS256")
    with gate_of(max_ttl=3600) as gate, pytest.raises(InvalidToken):
        gate.verify(token)


# --- the view


def test_what_is_known_stays_known_while_a_snapshot_is_installed() -> None:
    """R1: requests read the rulings without a lock, also in the middle of ``load``."""
    view, revoked, seen = view_of(), Ruling(Toggle(True, OLD, 1, 1.0)).encode(), []

    class Snapshot(dict):
        def items(self):
            for item in super().items():
                seen.append(view.known([HANDLE]).rulings[0])
                yield item

    Followed(view).load({HANDLE: revoked}, OLD, LogEnd(1, "a", "1"))
    Followed(view).load(Snapshot({b"x" * 16: revoked, HANDLE: revoked}), OLD, LogEnd(1, "a", "1"))
    assert seen == [revoked, revoked]


# --- what is not ours in the store

JUNK = [
    *(b"junk", b"[]", b"5", b'{"r":5}', b'{"r":[1]}', b'{"v":"x"}', b'{"v":null}', b"\xff\xfe", b"[" * 100_000, b'{"u":{}}'),
    *(b'{"n":["e",1,NaN]}', b'{"n":["e",1,Infinity]}', b'{"n":["e",1e999,1]}', b'{"n":["e",1,"z"]}'),
]


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: ascii(junk[:20]))
@pytest.mark.parametrize("is_live", [True, False])
def test_a_ruling_that_cannot_be_read_is_the_stores_fault(junk: bytes, is_live) -> None:
    """503, never 500: on every path, from memory and from the store."""
    with gate_of() as gate:
        gate.store._rulings[digest_of("", "sub", "alice")] = junk
        if is_live:
            assert gate.ready()
        with pytest.raises(StoreUnavailable):
            gate.verify(token_of())
        if b'"n"' not in junk:
            with pytest.raises(StoreUnavailable):
                gate.issue("alice")


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: ascii(junk[:20]))
def test_a_ruling_that_cannot_be_read_does_not_end_the_follower(junk: bytes) -> None:
    """Whatever stands in the log, the other rulings are applied and the position moves."""
    view = view_of()
    Followed(view).load({HANDLE: Ruling(Toggle(True, OLD, 1, 1.0)).encode()}, OLD, LogEnd(1, "a", "1"))
    Followed(view).apply([Entry(2, "b", "a", "2", HANDLE, junk)])
    Followed(view).apply([Entry(3, "c", "b", "3", HANDLE, Ruling(Toggle(True, OLD, 3, 1.0)).encode())])
    assert view.parts[0].end is not None and view.parts[0].end.position == 3


def test_a_time_that_is_no_number_is_not_written_on(server) -> None:
    """The write script refuses to carry Infinity into the log, where nobody could read it."""
    with server.client() as client, gate_of(store=server.url) as gate:
        assert gate.ready()
        client.hset("{jwtgate:0}:rulings", digest_of("", "sub", "alice").hex(), b'{"n":["e",1,Infinity]}')
        with pytest.raises(StoreUnavailable):
            gate.revoke(sub="alice")


def test_a_follower_that_cannot_go_on_says_so_once(server, caplog) -> None:
    """One log line per change of state, not one per attempt."""
    with server.client() as client, gate_of(store=server.url, lease=0.5) as gate:
        assert gate.ready()
        client.xadd("{jwtgate:0}:log", {"a": "b"}, id=f"{int(time.time() * 1000) + 5000}-99")
        with caplog.at_level(logging.WARNING, "jwtgate"):
            time.sleep(2.0)
        said = [record for record in caplog.records if "does not answer" in record.getMessage()]
        assert len(said) <= 2


# --- arguments


@pytest.mark.parametrize("wrong", [{"expires_at": "tomorrow"}, {"issuer": "https://of.nobody"}])
def test_revoking_a_token_judges_the_other_arguments_too(wrong) -> None:
    """A malformed value is a ValueError, whatever the target."""
    with gate_of() as gate, pytest.raises(ValueError, match=next(iter(wrong))):
        gate.revoke(token=token_of(), **wrong)


def test_an_issuer_that_is_no_text_is_a_value_error() -> None:
    """Not a TypeError of dict."""
    with gate_of() as gate, pytest.raises(ValueError, match="issuer"):
        gate.revoke(sub="alice", issuer=["x"])


def test_claims_nested_too_deep_are_a_value_error() -> None:
    """Not a RecursionError of json."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with gate_of() as gate, pytest.raises(ValueError, match="claims"):
        gate.issue("alice", claims={"deep": deep})


def test_claims_given_as_pairs_may_not_set_what_the_gate_sets() -> None:
    """``sid``, ``scope``, ``nbf``, ``aud``: refused in every form that ``dict`` takes."""
    with gate_of() as gate, pytest.raises((TypeError, ValueError)):
        gate.issue("alice", claims=[("sid", "forged"), ("scope", "admin")])


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.9])
def test_a_fractional_max_ttl_issues_at_every_moment_of_a_second(fraction) -> None:
    """The expiry is rounded so that the gate admits it."""
    with gate_of(max_ttl=600.5) as gate:
        gate.clock.wall = lambda: 1_800_000_000 + fraction
        assert gate.issue("alice")


def test_waiting_for_no_number_of_seconds_ends() -> None:
    """NaN compares with nothing: it must be refused, or it waits for ever."""
    with gate_of(store="redis://127.0.0.1:1", lease=0.05) as gate:

        def wait() -> None:
            with contextlib.suppress(ValueError):
                gate.ready(float("nan"))

        together(wait)


def test_an_error_of_revoke_carries_the_realm() -> None:
    """As those of verify do."""
    with gate_of(realm="mine") as gate, pytest.raises(InvalidToken) as caught:
        gate.revoke(token="a.b.c")
    assert 'realm="mine"' in (caught.value.challenge or "")


def test_a_gate_that_is_dropped_leaves_no_thread() -> None:
    """Nor a connection: nobody can close it any more."""
    before = set(threading.enumerate())
    gate = Gate(Settings(secret=SECRET, lease=0.1))
    assert gate.ready()
    assert set(threading.enumerate()) - before
    del gate
    gc.collect()
    until = time.monotonic() + 10.0
    while left := set(threading.enumerate()) - before:
        assert time.monotonic() < until, left
        time.sleep(0.02)
