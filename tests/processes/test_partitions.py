"""A real server with several partitions: gates that share it keep the promise, whichever partition holds what."""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from processes.gates import answer_of, judged, made, started
from processes.world import wait_until
from servers import Server, valkey_binary

from jwtgate.errors import GrantError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jwtgate import Gate

pytestmark = pytest.mark.server

COUNT = 3
LEASE = 0.4


@pytest.fixture(scope="module")
def valkey() -> Iterator[Server]:
    """One for the module."""
    with Server(valkey_binary()) as server:
        yield server


_names = count()


def named(prefix: str) -> str:
    """Of its own, also where a test is asked once more: the first time has left its rulings and sessions."""
    return f"{prefix}-{next(_names)}"


@contextmanager
def two(server: Server, prefix: str, **settings: Any) -> Iterator[tuple[Gate, Gate]]:
    """Live gates, each as of a process of its own."""
    settings = {"lease": LEASE, "prefix": prefix, "partitions": COUNT, **settings}
    with started(server.url, **settings) as one, started(server.url, **settings) as other:
        yield one, other


@pytest.mark.parametrize("validity", ["denylist", "allowlist"])
@pytest.mark.parametrize("how", ["jti", "token", "sid", "end", "end_all", "sub", "claim", "everything", "suspend"])
def test_revoked_in_one_process_is_dead_in_the_other(valkey: Server, how: str, validity: str) -> None:
    """Once a receipt says so, for subjects and tokens in every partition; a login right afterwards lives."""
    with two(valkey, named(how), validity=validity) as (one, other):
        for subject in [f"user-{number}" for number in range(2 * COUNT)]:
            pair = one.sessions.start(subject, claims={"tenant": subject})
            token = other.verify(pair.access_token)
            receipt = {
                "jti": lambda: one.revoke(jti=token.token_id, wait=True),
                "token": lambda: one.revoke(token=pair.access_token, wait=True),
                "sid": lambda: one.revoke(sid=pair.session_id, wait=True),
                "end": lambda: one.sessions.end(pair.session_id, wait=True),
                "end_all": lambda: one.sessions.end_all(subject, wait=True),
                "sub": lambda: one.revoke(sub=subject, wait=True),
                "claim": lambda: one.revoke(claim=("tenant", subject), wait=True),
                "everything": lambda: one.revoke(everything=True, wait=True),
                "suspend": lambda: one.suspend(subject, wait=True),
            }[how]()
            assert receipt.effective_everywhere and receipt.workers == 2
            assert judged(other, pair.access_token) == "refused"
            if how in {"jti", "token"}:
                assert other.sessions.refresh(pair.refresh_token)
                continue
            with pytest.raises(GrantError):
                other.sessions.refresh(pair.refresh_token)
            if how == "suspend":
                other.reinstate(subject, wait=True)
            again = other.sessions.start(subject)
            assert judged(one, again.access_token) == judged(other, again.access_token) == "admitted"


def test_sessions_and_their_rulings_are_spread(valkey: Server) -> None:
    """Every partition gets some, each key on the slot of its partition."""
    with two(valkey, prefix := named("spread")) as (one, _), valkey.client() as client:
        for number in range(30):
            pair = one.sessions.start(f"user-{number}")
            one.sessions.end(pair.session_id)
        for partition in range(COUNT):
            assert client.hlen(f"{{{prefix}:{partition}}}:rulings") > 2
            assert list(client.scan_iter(f"{{{prefix}:{partition}}}:s:*", count=1000))


@pytest.mark.parametrize("lost", range(COUNT))
def test_history_lost_in_one_partition_is_written_back(valkey: Server, lost: int) -> None:
    """L1, L2: those who know heal it, and until then nobody is admitted by what it lacks; the others' epochs stand."""
    with two(valkey, prefix := named("lost")) as (one, other), valkey.client() as client:
        pairs = [one.sessions.start(f"user-{number}") for number in range(12)]
        for pair in pairs[::2]:
            one.sessions.end(pair.session_id, wait=True)
        names = [part.workers()[0].name for part in one.parts]
        client.delete(f"{{{prefix}:{lost}}}:rulings")
        answers = {answer_of(gate, pair.access_token) for gate in (one, other) for pair in pairs[::2]}
        assert "admitted" not in answers
        epoch = one.parts[lost].workers()[0].name
        assert epoch != names[lost]
        for gate in (one, other):
            wait_until(lambda gate=gate: gate.view.parts[lost].epoch == epoch and gate.status().live, 10.0, "it has healed")
        assert [part.workers()[0].name for index, part in enumerate(one.parts) if index != lost] == [
            name for index, name in enumerate(names) if index != lost
        ]
        with started(valkey.url, lease=LEASE, prefix=prefix, partitions=COUNT) as fresh:
            assert {judged(fresh, pair.access_token) for pair in pairs[::2]} == {"refused"}
            assert {judged(fresh, pair.access_token) for pair in pairs[1::2]} == {"admitted"}


def test_lost_session_is_unavailable_and_not_refused(valkey: Server) -> None:
    """L3: an absent session that is older than its partition's history may have been lost with it."""
    with two(valkey, prefix := named("lost-sessions"), validity="allowlist") as (one, other), valkey.client() as client:
        pairs = [one.sessions.start(f"user-{number}") for number in range(9)]
        ended = one.sessions.start("ended")
        one.sessions.end(ended.session_id, wait=True)
        before = [part.epoch for part in one.view.parts]
        client.delete(*client.scan_iter(f"{{{prefix}:*", count=1000))

        def has_healed(gate: Gate) -> bool:
            return gate.status().live and all(part.epoch not in before for part in gate.view.parts)

        for gate in (one, other):
            wait_until(lambda gate=gate: has_healed(gate), 10.0, "it has healed")
        for pair in pairs:
            assert answer_of(other, pair.access_token) == "unavailable"
            with pytest.raises(StoreUnavailable):
                other.sessions.refresh(pair.refresh_token)
        assert judged(other, ended.access_token) == "refused"
        one.revoke(everything=True, wait=True)
        with pytest.raises(GrantError):
            other.sessions.refresh(pairs[0].refresh_token)


def test_another_number_of_partitions_is_refused_and_said(valkey: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Who spreads otherwise would look for rulings where they are not: it neither reads nor writes."""
    with two(valkey, prefix := named("other")) as (one, _):
        token = one.issue("alice")
        with closing(made(valkey.url, prefix=prefix, partitions=COUNT + 1, lease=LEASE)) as other:
            with pytest.raises(StoreUnavailable):
                other.revoke(sub="alice")
            assert answer_of(other, token) == "unavailable"
    assert f"JWTGATE_PARTITIONS={COUNT}, not {COUNT + 1}" in caplog.text


def test_one_slow_partition_suspends_all_and_nothing_else(valkey: Server) -> None:
    """The lease is the least of all: while one log cannot be read nothing is admitted from memory."""
    with two(valkey, prefix := named("slow")) as (one, other), valkey.client() as client:
        token = one.issue("alice")
        assert judged(other, token) == "admitted"
        client.set(f"{{{prefix}:1}}:log", b"no stream")
        wait_until(lambda: not other.status().live, 5.0, "the lease has lapsed")
        client.delete(f"{{{prefix}:1}}:log")
        wait_until(lambda: other.status().live, 10.0, "it follows again")
        assert judged(other, token) == "admitted"
