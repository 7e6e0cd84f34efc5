"""Connections that fail, hang, end or are inherited: StoreUnavailable, in time, and no answer is crossed."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from beside import beside, hung_up, together
from servers import WATCH, Server, free_port

from jwtgate.core.history import Worker
from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import Store, open_store
from jwtgate.stores.redis import wire
from jwtgate.stores.redis.dialling import TIMEOUT_SECONDS, Address, dial_settings
from jwtgate.stores.redis.places import Fixed
from jwtgate.stores.redis.scripting import Script
from jwtgate.stores.redis.wire import MAX_LINES, Line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

A, B = b"A" * 16, b"B" * 16
WORKER = Worker("one", 1.0, -1, 1, is_healing=False)


@pytest.fixture
def paused_store(own_server: Server) -> Iterator[Store]:
    """A store with a ruling on A and one pooled connection; the test may pause its server."""
    own_server.start()
    store = opened(own_server)
    store.write([Change(A, revoked=True)], time.time())
    yield store
    store.close()


def opened(server: Server) -> Store:
    """A store on ``server``, to be closed by the caller."""
    return open_store(server.url, prefix="jwtgate", watch=WATCH)


def unchanged(answer: Any) -> Any:
    """Decodes nothing."""
    return answer


# Nobody there, nobody answering


def test_unreachable_server_is_unavailable_in_time() -> None:
    """A refused connection raises at once, from every method, and names the variable."""
    store = open_store(f"redis://127.0.0.1:{free_port()}", prefix="jwtgate", watch=WATCH)
    feed = store.feed()
    steps: list[Callable[[], Any]] = [
        lambda: store.look_up([A]),
        lambda: store.write([Change(A)], time.time()),
        store.workers,
        lambda: store.forget(WORKER),
        store.audit,
        lambda: feed.renew(WORKER, None),
    ]
    began = time.monotonic()
    for step in steps:
        with pytest.raises(StoreUnavailable, match="JWTGATE_STORE") as caught:
            step()
        assert caught.value.__cause__ is not None
    assert time.monotonic() - began < TIMEOUT_SECONDS * len(steps)
    store.close()


def test_deaf_listener_is_unavailable_in_time() -> None:
    """Somebody accepts and never answers: one timeout, not two."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        store = open_store(f"redis://127.0.0.1:{listener.getsockname()[1]}", prefix="jwtgate", watch=WATCH)
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.look_up([A])
        assert time.monotonic() - began < 2 * TIMEOUT_SECONDS
        store.close()


def test_answer_that_is_not_redis_is_unavailable() -> None:
    """A web server on that port is not a store."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            line, _ = listener.accept()
            with line:
                line.recv(4096)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        store = open_store(f"redis://127.0.0.1:{listener.getsockname()[1]}", prefix="jwtgate", watch=WATCH)
        with closing(store), beside(speak, end=hung_up(listener)), pytest.raises(StoreUnavailable):
            store.look_up([A])


@pytest.mark.server
def test_first_exchange_has_the_timeouts_of_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that took its time leaves less for the first answer; the ones after it have theirs whole again."""
    late, short = 0.5, 0.25
    monkeypatch.setattr(wire, "TIMEOUT_SECONDS", 10 * late)
    pauses = [0.0, late, late]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            for count in (2, 1):
                connection, _ = listener.accept()
                with connection:
                    for _ in range(count):
                        connection.recv(100)
                        time.sleep(pauses.pop(0))
                        connection.sendall(b"+yes\r\n")

        host, port = listener.getsockname()
        place = Fixed(dial_settings(f"redis://{host}:{port}").at(Address(host, port), seconds=short))
        with beside(speak, end=hung_up(listener)), closing(Line(place)) as line, closing(Line(place)) as another:
            assert [line.ask(("PING",), unchanged) for _ in range(2)] == [b"yes"] * 2
            with pytest.raises(StoreUnavailable):
                another.ask(("PING",), unchanged)


def test_late_answer_never_meets_another_question(own_server: Server, paused_store: Store) -> None:
    """Threat 13: after a timeout the connection is gone, so the late answer about A is nobody's. The error says what it was."""
    own_server.pause()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        paused_store.look_up([A])
    assert time.monotonic() - began < 3 * TIMEOUT_SECONDS
    own_server.resume()
    for _ in range(5):
        assert paused_store.look_up([B]).rulings == (None,)
        assert paused_store.look_up([A]).rulings[0] is not None


@pytest.mark.server
def test_hanging_server_holds_a_bounded_number(own_server: Server, paused_store: Store) -> None:
    """Callers beyond the pool wait for a connection no longer than for an answer."""
    own_server.pause()
    failures: list[StoreUnavailable] = []

    def look() -> None:
        with pytest.raises(StoreUnavailable) as caught:
            paused_store.look_up([A])
        failures.append(caught.value)

    began = time.monotonic()
    together(*[look] * (MAX_LINES + 8))
    assert time.monotonic() - began < 6 * TIMEOUT_SECONDS
    own_server.resume()
    assert len(failures) == MAX_LINES + 8
    assert paused_store.look_up([A]).rulings[0] is not None


@pytest.mark.server
def test_blocked_read_outlasts_its_wait_only_by_the_timeout(own_server: Server, paused_store: Store) -> None:
    """A feed whose server hangs raises after block + timeout, and is closed for good."""
    feed = paused_store.feed()
    cursor = feed.renew(WORKER, None).end.cursor
    assert feed.read(cursor, 2 * TIMEOUT_SECONDS, 10) == ()
    own_server.pause()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        feed.read(cursor, 0.1, 10)
    assert 0.3 < time.monotonic() - began < 1.0
    own_server.resume()
    with pytest.raises(StoreUnavailable, match="closed"):
        feed.read(cursor, 0, 10)


def test_interrupted_exchange_closes_the_connection(server: Server) -> None:
    """Threat 28: an interrupt between question and answer leaves no half-read connection."""
    line = Line(Fixed(dial_settings(server.url)))

    def interrupt(_answer: Any) -> None:
        raise KeyboardInterrupt

    assert line.ask(("ECHO", "one"), unchanged) == b"one"
    with pytest.raises(KeyboardInterrupt):
        line.ask(("ECHO", "two"), interrupt)
    assert not line.is_stale()
    assert line.ask(("ECHO", "three"), unchanged) == b"three"
    line.close()


def test_many_threads_get_their_own_answers(server: Server, server_store: Store) -> None:
    """Threat 13: more threads than connections, each asking for its own handle, no answer crossed."""
    digests = [os.urandom(16) for _ in range(MAX_LINES + 8)]
    expected = dict(
        zip(digests, server_store.write([Change(digest, cuts_off=True) for digest in digests], time.time()).rulings)
    )
    wrong: list[bytes] = []

    def look(digest: bytes) -> None:
        wrong.extend(digest for _ in range(40) if server_store.look_up([digest]).rulings != (expected[digest],))

    together(*[partial(look, digest) for digest in digests])
    assert wrong == []
    with server.client() as client:
        until = time.monotonic() + 5  # those of earlier tests take a moment to go
        while client.info("clients")["connected_clients"] > MAX_LINES + 1:
            assert time.monotonic() < until
            time.sleep(0.05)


# Connections that end, servers that forget


def test_connections_closed_by_the_server_are_replaced(server: Server, server_store: Store) -> None:
    """An idle connection that the server closed costs nobody an error."""
    server_store.look_up([A])
    with server.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal")
    time.sleep(0.02)
    assert server_store.look_up([A]).rulings == (None,)


def test_forgotten_scripts_are_sent_again(server: Server, server_store: Store) -> None:
    """NOSCRIPT is no error: the source follows, on the pool and on a feed."""
    feed = server_store.feed()
    feed.renew(WORKER, None)
    with server.client() as client:
        client.script_flush()
        assert server_store.look_up([A]).rulings == (None,)
        assert feed.renew(WORKER, None).was_registered
        assert client.script_exists(Script.load("look_up", "sessions").digest.decode()) == [True]
    feed.close()


def test_connecting_costs_no_extra_round_trip(own_server: Server) -> None:
    """The first command of a connection is ours: no HELLO, no CLIENT SETINFO."""
    own_server.start()
    store = opened(own_server)
    with own_server.client() as client:
        client.config_resetstat()
        store.look_up([])
        store.look_up([])
        commands = set(client.info("commandstats"))
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] == 2
    assert not commands & {"cmdstat_hello", "cmdstat_client|setinfo", "cmdstat_client|setname", "cmdstat_ping"}
    store.close()


def test_forked_child_leaves_the_parents_connections_alone(server: Server, server_store: Store) -> None:
    """Threat 28: the child looks up on its own connection, the parent goes on with its own."""
    server_store.write([Change(A, revoked=True)], time.time())
    child = os.fork()
    if child == 0:
        try:
            server_store.reset_after_fork()
            found = server_store.look_up([A]).rulings[0] is not None
            server_store.close()
            os._exit(0 if found else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with server.client() as client:
        before = client.info("stats")["total_connections_received"]
        assert server_store.look_up([A]).rulings[0] is not None
        assert client.info("stats")["total_connections_received"] == before


def test_connection_in_use_while_closing_is_closed_when_it_returns(server: Server) -> None:
    """``close`` during an exchange leaves no connection behind."""
    store = opened(server)
    with server.client() as client:
        before = client.info("clients")["connected_clients"]
        stop = threading.Event()

        def look() -> None:
            while not stop.is_set():
                store.look_up([A])

        with closing(store), beside(look, end=stop.set):
            for _ in range(20):
                store.close()
        until = time.monotonic() + 5
        while client.info("clients")["connected_clients"] > before:
            assert time.monotonic() < until
            time.sleep(0.02)
