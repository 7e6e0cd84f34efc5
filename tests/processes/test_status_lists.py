"""One process issues, revokes and publishes; another, which shares no store with it, reads the list and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import jwt
import pytest
from conftest import GROUPS, SERVERS, SQL_SERVERS, emptied_url
from keymaking import make_pairs
from processes.world import ended, wait_until
from servers import Server, valkey_binary

from jwtgate import Gate, Settings
from jwtgate.core.statuses.status_list import StatusList
from jwtgate.errors import JWTGateError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.server

TTL = 2.0
TESTS = Path(__file__).parent.parent


class Publisher:
    """The other process."""

    def __init__(self, store: str, **settings: Any) -> None:
        pair = make_pairs()["ed25519"]
        self.public_key = pair.public_pem
        given = {"private_key": pair.private_pem, "store": store, "status_ttl": TTL, "lease": 0.25, **settings}
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "processes" / "list_publisher.py"), json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, name: str, **arguments: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def __enter__(self) -> Self:
        try:
            self.origin = self._answer()
            assert self.ask("ready")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        ended(self.process, 20.0)
        self.process.stdout.close()

    def consumer(self, **settings: Any) -> Gate:
        """A gate of this process."""
        given = {"public_key": self.public_key, "issuer": self.origin, "status_from": ["issuer"], "jwks_http": True, **settings}
        return Gate(Settings(**given))


def claims_of(token: str) -> dict[str, Any]:
    """Unverified."""
    return jwt.decode(token, options={"verify_signature": False})


def uri_of(token: str) -> str:
    """Of its list."""
    return str(claims_of(token)["status"]["status_list"]["uri"])


def answer(gate: Gate, token: str) -> str:
    """``admitted``, or the reason."""
    try:
        gate.verify(token)
    except JWTGateError as error:
        return error.reason
    return "admitted"


def get(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, fields, body."""
    request = Request(url, method=method, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urlopen(request, timeout=20) as response:
            return response.status, {name.lower(): value for name, value in response.headers.items()}, response.read()
    except HTTPError as error:
        with error:
            return error.code, {name.lower(): value for name, value in error.headers.items()}, error.read()


def within_ttl(gate: Gate, token: str, wanted: str) -> None:
    """As the list's ttl promises; the rest is for a busy machine."""
    began = time.monotonic()
    wait_until(lambda: answer(gate, token) == wanted, TTL + 8.0, f"{wanted}")
    assert time.monotonic() - began < TTL + 8.0


@pytest.fixture(params=[*SERVERS, "sqlite", *GROUPS, *SQL_SERVERS])
def publisher(request: pytest.FixtureRequest) -> Iterator[Publisher]:
    """On a real store."""
    with Publisher(emptied_url(request.param, request)) as made:
        yield made


def test_every_kind_of_revocation_reaches_who_reads_the_list(publisher: Publisher) -> None:
    """By jti, sid, sub, suspended and reinstated: within the ttl, though the token is remembered there."""
    (by_jti,), (bystander,), (by_sub,) = (publisher.ask("issue", sub=sub) for sub in ("alice", "bob", "carol"))
    session, suspended = publisher.ask("start", sub="dave"), publisher.ask("start", sub="erin")["access_token"]
    refreshed = publisher.ask("refresh", refresh_token=session["refresh_token"])["access_token"]
    everyone = (by_jti, by_sub, suspended, session["access_token"], refreshed, bystander)
    assert len({json.dumps(claims_of(token)["status"]) for token in everyone}) == len(everyone)
    with closing(publisher.consumer()) as gate:
        assert gate.ready()
        for token in everyone:
            assert answer(gate, token) == answer(gate, token) == "admitted"
        publisher.ask("revoke", jti=claims_of(by_jti)["jti"])
        publisher.ask("revoke", sub="carol")
        publisher.ask("suspend", sub="erin")
        publisher.ask("revoke", sid=claims_of(refreshed)["sid"])
        for token in (by_jti, by_sub, suspended, session["access_token"], refreshed):
            within_ttl(gate, token, "revoked")
        assert answer(gate, bystander) == "admitted"
        publisher.ask("reinstate", sub="erin")
        within_ttl(gate, suspended, "admitted")
        (later,) = publisher.ask("issue", sub="carol")
        assert answer(gate, later) == "admitted", "issued after the cut-off"
        publisher.ask("revoke", everything=True)
        for token in (bystander, later, suspended):
            within_ttl(gate, token, "revoked")


def test_list_is_served_as_the_draft_says(publisher: Publisher) -> None:
    """§8.1 and §8.2: type, caching, CORS; and it is no access token, though our key signed it."""
    (token,) = publisher.ask("issue", sub="alice")
    status, fields, body = get(uri_of(token), accept="application/statuslist+jwt")
    assert status == 200 and fields["content-type"] == "application/statuslist+jwt"
    assert fields["access-control-allow-origin"] == "*" and "set-cookie" not in fields
    assert 0 <= int(fields["cache-control"].removeprefix("public, max-age=")) <= TTL
    told = claims_of(body.decode())
    assert jwt.get_unverified_header(body.decode())["typ"] == "statuslist+jwt"
    assert told["sub"] == uri_of(token) and told["ttl"] == TTL and told["exp"] > told["iat"] + TTL
    assert StatusList.decode(told["status_list"]).value(claims_of(token)["status"]["status_list"]["idx"]) == 0
    assert get(uri_of(token), method="HEAD")[::2] == (200, b"")
    assert get(uri_of(token), method="POST")[0] == 405
    assert get(f"{uri_of(token)}1")[0] == get(f"{publisher.origin}/auth/status/x")[0] == 404
    assert get(f"{publisher.origin}/app", authorization=f"Bearer {body.decode()}")[0] == 401
    with closing(publisher.consumer()) as gate:
        assert answer(gate, body.decode()) == "wrong_type"


def test_lost_history_is_no_list_and_refused() -> None:
    """FLUSHALL at the publisher: 503 while it heals, then 404, never a list that calls all valid; who reads it refuses."""
    with Server(valkey_binary()) as server, Publisher(server.url) as publisher:
        (victim,), (bystander,) = publisher.ask("issue", sub="alice"), publisher.ask("issue", sub="bob")
        with closing(publisher.consumer()) as gate:
            assert gate.ready()
            publisher.ask("revoke", sub="alice")
            assert answer(gate, bystander) == "admitted"
            within_ttl(gate, victim, "revoked")
            with server.client() as client:
                client.flushall()
            seen = set()

            def is_refused() -> bool:
                seen.add(get(uri_of(victim))[0])
                verdict = answer(gate, victim)
                assert verdict in ("revoked", "status_unavailable")
                return answer(gate, bystander) == "status_unavailable"

            wait_until(is_refused, TTL + 15.0, "the list is given up")
            assert seen <= {200, 404, 503}
            wait_until(lambda: publisher.ask("ready"), 20.0, "the store has healed")
            wait_until(lambda: get(uri_of(victim))[0] == 404, 15.0, "the list is unknown")
            (fresh,) = publisher.ask("issue", sub="bob")
            assert uri_of(fresh) != uri_of(bystander)
            wait_until(lambda: answer(gate, fresh) == "admitted", 10.0, "a token of the new history")


def test_publisher_without_its_store_serves_no_list() -> None:
    """503, and the last good list goes on where it is read."""
    with Server(valkey_binary()) as server, Publisher(server.url) as publisher:
        (token,) = publisher.ask("issue", sub="alice")
        with closing(publisher.consumer()) as gate:
            assert gate.ready() and answer(gate, token) == "admitted"
            server.pause()
            wait_until(lambda: get(uri_of(token))[0] == 503, 10.0, "what is kept has gone stale")
            time.sleep(TTL)
            assert answer(gate, token) == "admitted"
            server.resume()
            wait_until(lambda: get(uri_of(token))[0] == 200, 10.0, "it is back")


def test_marks_that_are_lost_alone_end_the_list() -> None:
    """The keys of the registry are deleted, the epoch stands: 404, also once others have come to the same list's group."""
    with Server(valkey_binary()) as server, Publisher(server.url, status_ttl=1) as publisher:
        (victim,) = publisher.ask("issue", sub="alice")
        publisher.ask("revoke", sub="alice")
        assert get(uri_of(victim))[0] == 200
        with server.client() as client:
            kept = [key for pattern in ("*:m:sl-*", "*:e:sl-*") for key in client.keys(pattern)]
            assert client.delete(*kept) == 2
        wait_until(lambda: get(uri_of(victim))[0] == 404, 15.0, "the list is unknown")
        (other,) = publisher.ask("issue", sub="bob")
        assert uri_of(other) != uri_of(victim)
        # After a search in vain the next one waits for a moment, also of a list that has just begun: 503 until then.
        wait_until(lambda: get(uri_of(other))[0] == 200, 15.0, "the other list is there")
        wait_until(lambda: get(uri_of(victim))[0] == 404, 15.0, "the list is unknown still")


def test_partitions_share_one_list() -> None:
    """The registry stands with the history that the list is of, whatever is spread."""
    with Server(valkey_binary()) as server, Publisher(server.url, partitions=4) as publisher:
        tokens = publisher.ask("issue", sub="alice", count=40)
        (other,) = publisher.ask("issue", sub="bob")
        assert len({uri_of(token) for token in (*tokens, other)}) == 1
        with server.client() as client:
            assert len(client.keys("*:m:sl-*")) == 1
        with closing(publisher.consumer()) as gate:
            assert gate.ready() and answer(gate, tokens[0]) == answer(gate, other) == "admitted"
            publisher.ask("revoke", jti=claims_of(tokens[0])["jti"])
            within_ttl(gate, tokens[0], "revoked")
            publisher.ask("revoke", sub="alice")
            within_ttl(gate, tokens[39], "revoked")
            assert answer(gate, other) == "admitted"


def test_ten_thousand_tokens_of_one_list() -> None:
    """Exactly those that were revoked are dead, and the list stays small."""
    with Server(valkey_binary()) as server, Publisher(server.url) as publisher:
        _ten_thousand(publisher)


def _ten_thousand(publisher: Publisher) -> None:
    tokens = publisher.ask("issue", sub="alice", count=10_000)
    assert len({uri_of(token) for token in tokens}) == 1
    indices = [claims_of(token)["status"]["status_list"]["idx"] for token in tokens]
    assert len(set(indices)) == len(indices)
    dead = tokens[::100]
    publisher.ask("revoke_each", jtis=[claims_of(token)["jti"] for token in dead])
    publisher.ask("revoke", jti="somebody-elses")  # waits until all before it holds
    time.sleep(TTL / 2)
    status, _, body = get(uri_of(tokens[0]))
    assert status == 200
    told = StatusList.decode(claims_of(body.decode())["status_list"])
    assert {token for token, index in zip(tokens, indices, strict=True) if told.value(index)} == set(dead)
    assert sum(map(int.bit_count, told.octets)) == len(dead)
    assert len(body) < 20_000
    with closing(publisher.consumer()) as gate:
        assert gate.ready()
        assert {answer(gate, token) for token in dead} == {"revoked"}
        assert {answer(gate, token) for token in tokens[1::100]} == {"admitted"}
