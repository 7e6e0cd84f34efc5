"""Redis serves, SQL remembers: what a Redis without its data knows again, and what happens where one of the two is away."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING

import jwt
import pytest
from beside import together
from conftest import required
from holders import URL, Holder

from jwtgate import Gate, Request
from jwtgate.core.healing import NO_JOURNAL
from jwtgate.core.history import NotDurable
from jwtgate.core.possession.errors import InvalidProof
from jwtgate.core.rulings import Ruling, Toggle
from jwtgate.errors import GrantError, ReusedRefreshToken, Revoked, StoreUnavailable
from jwtgate.runtime import blocking
from jwtgate.stores.sql.dialects import TIMEOUT_SECONDS
from jwtgate.stores.sql.journal import SqlJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers import Server

pytestmark = pytest.mark.server

LEASE = 0.3
PROVIDER = "https://id.example"


@pytest.fixture
def gates(gates: Callable[..., Gate]) -> Callable[..., Gate]:
    """Those of all, each as good as a process; without a grace, so that a second use is theft at once."""
    return partial(gates, refresh_grace=0.0)


def ready(gate: Gate) -> Gate:
    """A live view."""
    assert gate.ready(10.0), gate.status()
    return gate


def forget(server: Server, *gates: Gate) -> None:
    """Every process ends, and the server comes back without its data: nobody is left who knows."""
    for gate in gates:
        gate.close()
    server.restart(keep_data=False)


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("validity", ["denylist", "allowlist"])
def test_fresh_process_on_an_empty_server_knows_what_was_revoked(
    gates: Callable[..., Gate], own_server: Server, validity: str, partitions: int
) -> None:
    """A process that has never known it, on a server that knows it no more; each partition gets its own back."""
    first = ready(gates(validity=validity, partitions=partitions))
    pairs = {name: first.sessions.start(name) for name in ("alice", "bob", "carol", "dave")}
    first.revoke(token=pairs["alice"].access_token)
    first.revoke(sub="bob")
    first.sessions.end(pairs["carol"].session_id)
    forget(own_server, first)
    fresh = ready(gates(validity=validity, partitions=partitions))
    for name in ("alice", "bob", "carol"):
        with pytest.raises(Revoked):
            fresh.verify(pairs[name].access_token)
    assert fresh.sessions.refresh(pairs["dave"].refresh_token).session_id == pairs["dave"].session_id
    with pytest.raises(GrantError):
        fresh.sessions.refresh(pairs["carol"].refresh_token)
    assert fresh.verify(pairs["dave"].access_token).subject == "dave"
    assert [each.sid for each in fresh.sessions.list("dave")] == [pairs["dave"].session_id]


def test_before_the_journal_was_read_nobody_is_admitted(gates: Callable[..., Gate], own_server: Server) -> None:
    """Fail closed: 503, never 401 and never an admission."""
    first = ready(gates())
    token = first.issue("alice")
    forget(own_server, first)
    fresh = gates()
    while True:
        is_live = fresh.status().live
        try:
            fresh.verify(token)
        except StoreUnavailable:
            continue
        break
    assert is_live or fresh.store.workers()[0].is_restored


def test_refresh_tokens_live_on_spent_ones_do_not(gates: Callable[..., Gate], own_server: Server) -> None:
    """A session goes on where it was: its current refresh token is good, and any other one is theft."""
    first = ready(gates())
    one = first.sessions.start("alice", device="phone")
    two = first.sessions.refresh(one.refresh_token)
    three = first.sessions.refresh(two.refresh_token)
    other = first.sessions.start("alice", device="laptop")
    another = first.sessions.refresh(other.refresh_token)
    gone = first.sessions.start("alice")
    first.sessions.end(gone.session_id)
    forget(own_server, first)
    fresh = ready(gates())
    four = fresh.sessions.refresh(three.refresh_token)
    assert fresh.verify(four.access_token).session_id == one.session_id
    assert fresh.sessions.refresh(four.refresh_token).session_id == one.session_id
    with pytest.raises(ReusedRefreshToken):
        fresh.sessions.refresh(other.refresh_token)
    with pytest.raises(GrantError):
        fresh.sessions.refresh(another.refresh_token)
    with pytest.raises(GrantError) as caught:
        fresh.sessions.refresh(gone.refresh_token)
    assert type(caught.value) is GrantError


def test_log_out_everywhere_holds_for_restored_sessions_and_not_for_the_next_login(
    gates: Callable[..., Gate], own_server: Server
) -> None:
    """Stamps and cut-offs of a past epoch are compared by position, as before."""
    first = ready(gates())
    old = first.sessions.start("alice")
    first.sessions.end_all("alice")
    new = first.sessions.start("alice")
    forget(own_server, first)
    fresh = ready(gates())
    with pytest.raises(Revoked):
        fresh.verify(old.access_token)
    with pytest.raises(GrantError):
        fresh.sessions.refresh(old.refresh_token)
    assert fresh.verify(new.access_token).subject == "alice"
    assert fresh.sessions.refresh(new.refresh_token).session_id == new.session_id
    fresh.sessions.end_all("alice")
    with pytest.raises(GrantError):
        fresh.sessions.refresh(new.refresh_token)


def logout_token(gate: Gate, at: float, **whom: str) -> str:
    """Of a provider that signs with the secret of the gates."""
    events = {"http://schemas.openid.net/event/backchannel-logout": {}}
    times = {"iat": int(at), "exp": int(at) + 600, "jti": f"{at}"}
    claims = {"iss": PROVIDER, "aud": "web", "events": events, **times, **whom}
    return jwt.encode(claims, gate.settings.secret, "HS256", headers={"typ": "logout+jwt"})


def told(gate: Gate, began: float, jti: str, **claims: str) -> str:
    """An access token of that provider."""
    made = {"iss": PROVIDER, "iat": int(began), "exp": int(began) + 7200, "jti": jti, "sub": "u1", **claims}
    return jwt.encode(made, gate.settings.secret, "HS256")


@pytest.mark.parametrize("partitions", [1, 4])
def test_what_a_provider_told_is_known_again(gates: Callable[..., Gate], own_server: Server, partitions: int) -> None:
    """A cut-off by a time: what began by then is dead, sessions of ours that hang on it too, and what began since is not."""
    make = partial(gates, issuer=PROVIDER, logout_audience="web", endpoints="/auth", partitions=partitions)
    first, now = ready(make()), time.time()
    hung = first.sessions.start("alice", upstream=(PROVIDER, None, "u1"))
    free = first.sessions.start("bob", upstream=(PROVIDER, None, "u2"))
    old, young = told(first, now - 60, "one"), told(first, now - 5, "two")
    assert first.verify(old).subject == first.verify(young).subject == "u1"
    for at in (now - 30, now - 40):  # the second says less
        assert blocking.run(first.plans.hear_logout(logout_token(first, at, sub="u1")), first.performer) is not None
    with pytest.raises(Revoked):
        first.verify(old)
    assert blocking.run(first.plans.hear_logout(logout_token(first, time.time(), sub="u2")), first.performer) is not None
    forget(own_server, first)
    fresh = ready(make())
    with pytest.raises(Revoked):
        fresh.verify(old)
    with pytest.raises(GrantError):
        fresh.sessions.refresh(free.refresh_token)
    assert fresh.verify(young).subject == "u1"
    assert fresh.sessions.refresh(hung.refresh_token).session_id == hung.session_id, "it began since"


def test_proof_that_was_shown_before_is_never_taken_again(gates: Callable[..., Gate], own_server: Server) -> None:
    """What may be used once is in no journal: of a proof that may have been shown before the loss nobody knows, so it is 503."""
    make = partial(gates, dpop="on", public_url=URL)
    holder, first = Holder(), ready(make())
    deadline = time.monotonic() + 10.0
    while (answer := examined(first, request := proving(holder, first))) == "unavailable":
        assert time.monotonic() < deadline, "its history is old enough by now"
        time.sleep(0.1)
    assert (answer, examined(first, request)) == ("admitted", "refused")
    forget(own_server, first)
    fresh = ready(make())
    assert [examined(fresh, request) for _ in range(3)] == ["unavailable", "refused", "refused"]


def proving(holder: Holder, gate: Gate) -> Request:
    """A request with a new token and its proof, of a client whose clock is fast: such a one is soon taken in a new history."""
    headers = holder.request(holder.bound(str(gate.settings.secret)), iat=int(time.time()) + 4)
    return Request("GET", "/", b"/", tuple((name.encode(), value.encode()) for name, value in headers))


def examined(gate: Gate, request: Request) -> str:
    """Through the one decision."""
    try:
        blocking.run(gate.plans.examine(request), gate.performer)
    except InvalidProof:
        return "refused"
    except StoreUnavailable:
        return "unavailable"
    return "admitted"


def test_session_that_the_journal_does_not_know_has_ended(gates: Callable[..., Gate], own_server: Server) -> None:
    """L3 with a journal: absent is ended, and no longer 503; without one it stays so."""
    first = ready(gates(validity="allowlist"))
    pair = first.sessions.start("alice")
    with closing(sqlite3.connect(first.settings.journal.removeprefix("sqlite:///"))) as database, database:  # type: ignore[union-attr]
        database.execute("DELETE FROM jwtgate_session_journal")
    forget(own_server, first)
    fresh = ready(gates(validity="allowlist"))
    with pytest.raises(Revoked):
        fresh.verify(pair.access_token)
    with pytest.raises(GrantError):
        fresh.sessions.refresh(pair.refresh_token)
    forget(own_server, fresh)
    without = ready(gates(validity="allowlist", journal=None))
    with pytest.raises(StoreUnavailable):
        without.verify(pair.access_token)
    with pytest.raises(StoreUnavailable):
        without.sessions.refresh(pair.refresh_token)


def test_living_process_and_journal_put_back_together(gates: Callable[..., Gate], own_server: Server) -> None:
    """FLUSHALL under a process that knows its own, beside a fresh one that has the journal."""
    first = ready(gates())
    tokens = [first.issue("alice") for _ in range(3)]
    for token in tokens:
        first.revoke(token=token)
    pair = first.sessions.start("bob")
    with own_server.client() as client:
        client.flushall()
    fresh = ready(gates())
    deadline = time.monotonic() + 10.0
    while not first.status().live:
        assert time.monotonic() < deadline, first.status()
        time.sleep(0.02)
    for gate in (first, fresh):
        for token in tokens:
            with pytest.raises(Revoked):
                gate.verify(token)
    assert fresh.sessions.refresh(pair.refresh_token).session_id == pair.session_id


def test_crash_between_store_and_journal_loses_only_what_nobody_was_promised(
    gates: Callable[..., Gate], own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller has no receipt; the ruling holds all the same while the server has its data."""
    first = ready(gates())
    token = first.issue("alice")

    class Crash(BaseException):
        """The process ends here."""

    def record(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(SqlJournal, "record", record)
        with pytest.raises(Crash):
            first.revoke(token=token)
    second = ready(gates())
    with pytest.raises(Revoked):
        second.verify(token)
    assert second.revoke(token=token, wait=True).effective_everywhere
    forget(own_server, first, second)
    with pytest.raises(Revoked):
        ready(gates()).verify(token)


def test_journal_that_is_away_at_start_keeps_everybody_out_until_it_is_there(
    gates: Callable[..., Gate], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty server could be one that lost everything."""
    gate = gates(journal=f"sqlite:///{tmp_path}/later/journal.sqlite")
    token = gate.issue("alice")
    with caplog.at_level(logging.ERROR, "jwtgate"):
        assert not gate.ready(8 * LEASE)
        with pytest.raises(StoreUnavailable):
            gate.verify(token)
        assert [record.message for record in caplog.records].count(f"follower: {NO_JOURNAL}") == 1
    (tmp_path / "later").mkdir()
    ready(gate)
    assert gate.verify(token).subject == "alice"


def test_journal_that_goes_away_later(gates: Callable[..., Gate], own_server: Server, tmp_path: Path) -> None:
    """Requests are served; a logout holds and says that the journal lacks it; nobody can log in or refresh in between."""
    gate = ready(gates(refresh_grace=30.0))
    pair = gate.sessions.start("alice")
    other = gate.sessions.start("bob")
    lock = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    assert gate.verify(pair.access_token).subject == "alice"
    with pytest.raises(NotDurable):
        gate.sessions.end(other.session_id)
    with pytest.raises(Revoked):
        gate.verify(other.access_token)
    with pytest.raises(StoreUnavailable):
        gate.sessions.start("carol")
    with pytest.raises(StoreUnavailable):
        gate.sessions.refresh(pair.refresh_token)
    assert gate.sessions.list("carol") == []
    lock.execute("ROLLBACK")
    lock.close()
    assert gate.sessions.end(other.session_id, wait=True).effective_everywhere
    successor = gate.sessions.refresh(pair.refresh_token)
    assert gate.verify(successor.access_token).session_id == pair.session_id


def test_refresh_whose_journal_fails_can_be_asked_again_and_is_known_to_both_then(
    gates: Callable[..., Gate], own_server: Server, tmp_path: Path
) -> None:
    """The rotation stands: within the grace the same pair, but only once the journal has it."""
    gate = ready(gates(refresh_grace=30.0))
    pair = gate.sessions.start("alice")
    lock = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    for _ in range(2):  # the first rotates; the second would get the pair, and must not
        with pytest.raises(StoreUnavailable):
            gate.sessions.refresh(pair.refresh_token)
    lock.execute("ROLLBACK")
    lock.close()
    successor = gate.sessions.refresh(pair.refresh_token)
    forget(own_server, gate)
    fresh = ready(gates())
    assert fresh.sessions.refresh(successor.refresh_token).session_id == pair.session_id
    with pytest.raises(ReusedRefreshToken):
        fresh.sessions.refresh(pair.refresh_token)


def test_two_processes_race_and_both_memories_agree(gates: Callable[..., Gate], own_server: Server) -> None:
    """Suspended and reinstated by both at once, as fast as they can: what the server says last is what the journal says."""
    one, other = ready(gates()), ready(gates())

    def race(gate: Gate) -> None:
        for _ in range(20):
            gate.suspend("alice")
            gate.reinstate("alice")

    together(*[partial(race, gate) for gate in (one, other)])
    (receipt,) = [one.suspend("alice", wait=True)]
    assert receipt.effective_everywhere
    journal = one.journal
    assert journal is not None
    told = dict(page for pages in journal.pages(10) for page in pages)
    stored = one.store.look_up(list(told)).rulings
    assert [Ruling.decode(each) for each in told.values()] == [Ruling.decode(each) for each in stored if each]


def test_twenty_thousand_rulings_come_back_in_bounded_time_and_no_renewal_is_late(
    gates: Callable[..., Gate], own_server: Server
) -> None:
    """The healers stay registered all the time: nobody takes one for gone."""
    lease = 3.0
    first = gates(lease=lease)
    journal = first.journal
    assert journal is not None
    until = time.time() + 3600.0
    texts = [
        (number.to_bytes(16, "big"), Ruling(Toggle(True, "gone", number, 1.0), until=until).encode())
        for number in range(20_000)
    ]
    for start in range(0, len(texts), 1000):
        journal.record(texts[start : start + 1000], [])
    second = gates(lease=lease)
    began = time.monotonic()
    for gate in (first, second):
        gate.start()
    beats: dict[str, tuple[int, float]] = {}
    longest, workers = 0.0, first.store.workers()[2]
    while not (first.status().live and second.status().live):
        now = time.monotonic()
        assert now - began < 60.0, (first.status(), second.status())
        with suppress(StoreUnavailable):  # a busy machine's
            epoch, _, workers = first.store.workers()
            assert epoch.is_restored or not epoch.is_healed
        for worker in workers:
            beat, since = beats.get(worker.name, (worker.beat, now))
            beats[worker.name] = (worker.beat, now if worker.beat != beat else since)
            longest = max(longest, now - since)
        time.sleep(0.02)
    assert first.status().rulings == second.status().rulings == 20_000
    assert longest < 2 * lease, f"a beat took {longest:.2f} s: others take a healer for gone"


def test_journal_that_hangs_holds_nobody_up_for_long(gates: Callable[..., Gate]) -> None:
    """A server that stands still with open connections: the gate serves, a new process goes live, errors come in time."""
    with required("postgresql")() as database:
        gate = ready(gates(journal=database.url, lease=1.0))
        pair, other = gate.sessions.start("alice"), gate.sessions.start("bob")
        database.pause()
        try:
            fresh = ready(gates(journal=database.url, lease=1.0))
            began = time.monotonic()
            with pytest.raises(NotDurable):
                gate.sessions.end(other.session_id)
            with pytest.raises(StoreUnavailable):
                fresh.sessions.start("carol")
            assert time.monotonic() - began < 4 * TIMEOUT_SECONDS
            for each in (gate, fresh):
                assert each.verify(pair.access_token).subject == "alice"
        finally:
            database.resume()
        assert gate.sessions.end(other.session_id, wait=True).effective_everywhere
        assert fresh.sessions.refresh(pair.refresh_token).session_id == pair.session_id
