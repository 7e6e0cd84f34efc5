"""What a write that failed says of itself: that nothing was written only where that is certain."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from conftest import emptied_database
from servers import WATCH, Server, free_port, missing, valkey_binary

from jwtgate.core.history import NotWritten
from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from databases import Database

A = b"A" * 16


@pytest.fixture(scope="module")
def spoiled() -> Iterator[Server]:
    """A server for this module alone, to be reconfigured."""
    with Server(valkey_binary()) as server:
        yield server


def failure(url: str, *, now: float | None = None) -> StoreUnavailable:
    """Of a write."""
    store = open_store(url, prefix="jwtgate", watch=WATCH)
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.write([Change(A, revoked=True)], time.time() if now is None else now)
    finally:
        store.close()
    return caught.value


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:{port}",
        "rediss://127.0.0.1:{port}",
        "unix:///no/such/socket",
        "redis+sentinel://127.0.0.1:{port}/mymaster",
        "redis+cluster://127.0.0.1:{port}",
        "postgresql+psycopg://gate@127.0.0.1:{port}/jwtgate",
        "mariadb+pymysql://gate@127.0.0.1:{port}/jwtgate",
        "sqlite:////no/such/folder/store.db",
    ],
)
def test_store_that_is_not_there_has_written_nothing(url: str) -> None:
    """No connection came up; the variable is named."""
    told = failure(url.format(port=free_port()))
    assert isinstance(told, NotWritten)
    assert "JWTGATE_STORE" in str(told)


@pytest.mark.server
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_database_that_does_not_let_us_in_has_written_nothing(name: str, running_databases: dict[str, Database]) -> None:
    """Another database, another password: the sentence says which, and names the variable."""
    url = emptied_database(name, running_databases)
    server, _, _ = url.partition("@")
    for wrong in (f"{url}_elsewhere", url.replace(server, f"{server.partition('//')[0]}//nobody:word")):
        told = failure(wrong)
        assert isinstance(told, NotWritten)
        assert str(told).startswith("JWTGATE_STORE: ")


@pytest.mark.server
@pytest.mark.parametrize(
    ("spoil", "mend", "said"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "OutOfMemory"),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "ReadOnly|MASTERDOWN|MasterDown"),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0"), "NOREPLICAS"),
        (("ACL", "SETUSER", "default", "-evalsha"), ("ACL", "SETUSER", "default", "+evalsha"), "NoPermission"),
    ],
)
def test_server_that_refuses_the_script_has_written_nothing(
    spoiled: Server, spoil: tuple[str, ...], mend: tuple[str, ...], said: str
) -> None:
    """A script without flags is refused before its first line."""
    with spoiled.client() as client:
        client.execute_command(*spoil)
        try:
            told = failure(spoiled.url)
        finally:
            client.execute_command(*mend)
    assert isinstance(told, NotWritten)
    assert any(word in str(told) for word in said.split("|"))


@pytest.mark.server
def test_clocks_too_far_apart_write_nothing(spoiled: Server) -> None:
    """The script says so first of all."""
    assert isinstance(failure(spoiled.url, now=time.time() - 3600), NotWritten)


@pytest.mark.server
def test_right_that_is_missing_in_the_middle_of_a_script_leaves_it_open(spoiled: Server) -> None:
    """What came before it stands: here the entry in the log."""
    with spoiled.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-hset")
        try:
            told = failure(spoiled.url)
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+hset")
    assert not isinstance(told, NotWritten)


@pytest.mark.server
def test_silence_after_the_question_leaves_it_open(own_server: Server) -> None:
    """It stands still, and does what it was sent when it goes on."""
    own_server.start()
    own_server.pause()
    told = failure(own_server.url)
    own_server.resume()
    assert not isinstance(told, NotWritten)


@pytest.mark.server
@pytest.mark.parametrize("name", ["postgresql", "mariadb"])
def test_silence_of_a_database_leaves_it_open(name: str, running_databases: dict[str, Database]) -> None:
    """The same, on a connection that there is."""
    url = emptied_database(name, running_databases)
    database = running_databases.get(name) or missing("a database of one's own that stands still")
    store = open_store(url, prefix="jwtgate", watch=WATCH)
    store.write([Change(A, revoked=True)], time.time())
    database.pause()
    try:
        with pytest.raises(StoreUnavailable) as caught:
            store.write([Change(A, revoked=True)], time.time())
    finally:
        database.resume()
        store.close()
    assert not isinstance(caught.value, NotWritten)
