"""``STRICT=1``: refused at start where the store answers and is unsafe; else nothing is asked before it was found safe."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from servers import WATCH, Server

from jwtgate import Gate, Settings
from jwtgate.errors import SettingsError, StoreUnavailable
from jwtgate.stores import open_store
from jwtgate.stores.redis import RedisStore
from jwtgate.stores.strict import StrictStore, insisted

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "kT0Zb8yqW3v-XrLm5Jd7uHf2_PcGnE9aQsVtB4iC"


def gate(server: Server, *, strict: bool = True) -> Gate:
    """On that server, with settings that are good otherwise."""
    return Gate(Settings(secret=SECRET, audience=["api"], store=server.url, strict=strict))


def wait_for(is_so: Callable[[], bool]) -> None:
    """The follower and the audit try again by themselves."""
    until = time.monotonic() + 15
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_unsafe_store_is_refused_at_start_with_all_its_problems(own_server: Server) -> None:
    """In one error, each with its remedy; without STRICT they are logged."""
    own_server.options = ("--maxmemory-policy", "allkeys-lru")
    own_server.start()
    with pytest.raises(SettingsError) as caught:
        gate(own_server)
    assert [line in str(caught.value) for line in ("maxmemory-policy noeviction", "appendonly yes")] == [True, True]
    assert len(caught.value.mistakes) == 2
    assert all(each.startswith("JWTGATE_STORE: ") for each in caught.value.mistakes)


def test_safe_store_is_taken_as_it_is(own_server: Server) -> None:
    """Hints refuse nothing, nor do settings of the gate: STRICT judges the store."""
    own_server.options = ("--appendonly", "yes")
    own_server.start()
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "gate", "on", ">word", "~*", "+@all", "-config")
    own_server_url = own_server.url.replace("//", "//gate:word@")
    with closing(Gate(Settings(secret=SECRET, store=own_server_url, strict=True))) as made:
        assert made.ready(10)


def test_memory_is_refused() -> None:
    """It is one process's."""
    with pytest.raises(SettingsError, match="memory of one process"):
        Gate(Settings(secret=SECRET, strict=True))


def test_store_that_comes_late_and_unsafe_serves_nothing_until_it_is_mended(
    own_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """A start does not fail for an outage, and an outage is no way around STRICT."""
    own_server.options = ("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru")
    with closing(gate(own_server)) as made:
        assert "until the store answers and is found safe" in caplog.text
        with pytest.raises(StoreUnavailable):
            made.revoke(sub="alice")
        own_server.start()
        made.start()
        wait_for(lambda: "CONFIG SET maxmemory-policy noeviction" in caplog.text)
        with pytest.raises(StoreUnavailable, match="JWTGATE_STRICT"):
            made.revoke(sub="alice")
        assert not made.status().live
        with own_server.client() as client:
            assert client.dbsize() == 0, "nothing was written"
            client.config_set("maxmemory-policy", "noeviction")
        assert made.ready(15)
        assert made.revoke(sub="alice").position
        pair = made.sessions.start("bob")
        assert [session.sid for session in made.sessions.list("bob")] == [pair.session_id]
    told = [
        record for record in caplog.records if record.levelno == logging.ERROR and "maxmemory-policy" in record.getMessage()
    ]
    assert len(told) == 1, "said once, however often it was audited"


def test_at_start_problems_are_logged_once(own_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Of the store and of the settings, as warnings with their remedies."""
    own_server.start()
    with closing(Gate(Settings(secret=SECRET, store=own_server.url))) as made:
        for _ in range(2):
            assert made.ready(10)
        wait_for(lambda: "CONFIG SET appendonly yes" in caplog.text)
        told = [record.getMessage() for record in caplog.records if "Remedy" in record.getMessage()]
        assert [text.split(":")[0] for text in told] == ["unsafe settings", "unsafe store"]
        assert "JWTGATE_AUDIENCE=" in told[0]


def test_forked_child_audits_for_itself(own_server: Server) -> None:
    """The lock may be held by a thread of the parent, which is not in the child."""
    own_server.options = ("--appendonly", "yes")
    own_server.start()
    inner = open_store(own_server.url, prefix="jwtgate", watch=WATCH)
    strict = StrictStore(inner)
    strict._lock.acquire()
    with pytest.raises(StoreUnavailable, match="being audited"):
        strict.look_up([])
    strict.reset_after_fork()
    assert strict.look_up([]).end == strict.workers()[1]
    strict.close()
    assert strict.audit() == (), "closed is not the end, as for any store"
    strict.close()


def test_store_that_is_lost_in_the_midst_of_the_audit_is_not_found_safe(own_server: Server) -> None:
    """What was not asked may be a problem."""
    own_server.options = ("--appendonly", "yes", "--appendfsync", "no")
    own_server.start()
    store = open_store(own_server.url, prefix="jwtgate", watch=WATCH)
    assert isinstance(store, RedisStore)
    asked = store._lines.ask

    def ask(command: tuple[object, ...], decode: object) -> object:
        if command[0] == "CONFIG":
            raise StoreUnavailable("no answer in time")
        return asked(command, decode)  # type: ignore[arg-type]

    store._lines.ask = ask  # type: ignore[method-assign, assignment]
    strict = insisted(store)
    with pytest.raises(StoreUnavailable, match="JWTGATE_STRICT"):
        strict.look_up([])
    store._lines.ask = asked  # type: ignore[method-assign]
    with pytest.raises(SettingsError, match="appendfsync"):
        insisted(store)
    strict.close()
