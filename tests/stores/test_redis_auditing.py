"""What the audit of a Redis or Valkey finds, on real servers that are bad in one way each."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Any

import pytest
from servers import WATCH, Server, free_port

from jwtgate.core.history import Watch, Worker
from jwtgate.core.rulings import Change
from jwtgate.core.sessions.stored import SessionChange
from jwtgate.errors import StoreUnavailable
from jwtgate.stores import open_store
from jwtgate.stores.contract import Durability
from jwtgate.stores.redis import answers
from jwtgate.stores.redis.auditing import Auditing
from jwtgate.stores.redis.dialling import dial_settings
from jwtgate.stores.redis.inspecting import quoted
from jwtgate.stores.redis.places import Fixed
from jwtgate.stores.redis.probing import PROBES, WIRE
from jwtgate.stores.redis.wire import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jwtgate.stores.contract import Weakness

RULINGS, UNTIL, LOG, WORKERS = (f"{{jwtgate:0}}:{name}" for name in ("rulings", "until", "log", "workers"))
A = b"A" * 16


@pytest.fixture
def good(own_server: Server) -> Server:
    """A server of which nothing bad can be said."""
    own_server.options = ("--appendonly", "yes")
    return own_server.start()


@pytest.fixture
def client(good: Server) -> Iterator[Any]:
    """Spoils ``good``."""
    with good.client() as client:
        yield client


def audited(url: str, watch: Watch = WATCH, wall: Callable[[], float] = time.time) -> tuple[Weakness, ...]:
    """By a store's own lines."""
    dial = dial_settings(url)
    lines = Lines(Fixed(dial))
    try:
        return Auditing(lines.ask, dial, "jwtgate", watch, wall=wall).weaknesses()
    finally:
        lines.close()


def told(url: str, **options: Any) -> list[tuple[str, str, str]]:
    """What is told of each finding besides its sentence."""
    return [(finding.severity, finding.about, finding.remedy) for finding in audited(url, **options)]


def as_gate(server: Server, *rights: str) -> str:
    """The URL of a user with these rights and no others."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "gate", "reset", "on", ">word", *rights)
    return server.url.replace("//", "//gate:word@")


def used(url: str) -> None:
    """Everything a store does, once."""
    store = open_store(url, prefix="jwtgate", watch=WATCH)
    feed = store.feed()
    worker = Worker("one", 1.0, -1, 1, is_healing=False)
    feed.renew(worker, None)
    now, sid, cursor = time.time(), secrets.token_urlsafe(8), store.look_up([]).end.cursor
    put = SessionChange(sid, A, record=b"x", ends_at=now + 60, seen_at=now, successors=b"y", successors_seconds=9.0)
    assert store.write([Change(A, cuts_off=True, until=now - 7)], now, [put]) is not None
    assert store.write([Change(A, until=4e9)], now, [replace(put, expected=b"x", successors=b"", record=b"z")]) is not None
    feed.saw([sid])
    assert len(store.sessions_of(A).sessions) == 1
    assert store.write((), now, [SessionChange(sid, A)]) is not None
    epoch = store.look_up([A], [sid]).epoch.name
    assert feed.repair(epoch, []) == ()
    assert len(feed.read(cursor, 0.01, 9)) == 2
    assert len(list(feed.pages(10))) == 1
    feed.lose(epoch)
    feed.forget(worker)
    feed.close()
    store.close()


def test_good_server_has_nothing(good: Server) -> None:
    """Not even a hint, empty or in use."""
    assert told(good.url) == []
    used(good.url)
    assert told(good.url) == []


def test_audit_changes_nothing(good: Server, client: Any) -> None:
    """It leaves no key behind, and none altered."""
    audited(good.url)
    assert client.dbsize() == 0
    used(good.url)
    before = {key: client.dump(key) for key in client.keys()}
    audited(good.url)
    assert {key: client.dump(key) for key in client.keys()} == before


# The server's settings


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("maxmemory-policy", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction"),
        ("maxmemory-policy", "volatile-ttl", "CONFIG SET maxmemory-policy noeviction"),
        ("appendonly", "no", "CONFIG SET appendonly yes"),
        ("appendfsync", "no", "CONFIG SET appendfsync everysec"),
    ],
)
def test_setting_that_loses_rulings_is_a_problem(good: Server, client: Any, name: str, value: str, remedy: str) -> None:
    """Told with the line that mends it, which does."""
    client.config_set(name, value)
    assert told(good.url) == [("problem", name, remedy)]
    client.execute_command(*remedy.split())
    assert told(good.url) == []


def test_snapshots_alone_are_no_persistence(good: Server, client: Any) -> None:
    """They lose minutes."""
    client.config_set("save", "60 1")
    client.config_set("appendonly", "no")
    assert [about for _, about, _ in told(good.url)] == ["appendonly"]


def test_nearly_full_memory_is_a_problem(good: Server, client: Any) -> None:
    """Before revocations are refused; the line gives room."""
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]))
    ((severity, about, remedy),) = told(good.url)
    assert (severity, about) == ("problem", "maxmemory")
    client.execute_command(*remedy.split())
    assert told(good.url) == []


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [("timeout", "1", "CONFIG SET timeout 0"), ("busy-reply-threshold", "5", "CONFIG SET busy-reply-threshold 5000")],
)
def test_setting_that_slows_requests_is_a_hint(good: Server, client: Any, name: str, value: str, remedy: str) -> None:
    """It breaks nothing."""
    client.config_set(name, value)
    assert told(good.url, watch=Watch(2.0, 2.0)) == [("hint", name, remedy)]


def test_idle_time_above_the_lease_is_fine(good: Server, client: Any) -> None:
    """The pool notices a farewell."""
    client.config_set("timeout", "300")
    assert told(good.url) == []


def test_server_that_cannot_save_takes_no_rulings(good: Server, client: Any) -> None:
    """MISCONF: a folder stands where the snapshot is to go."""
    client.config_set("save", "3600 1")
    (good.folder / "dump.rdb").mkdir()
    client.bgsave()
    wait_for(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    assert [(severity, about) for severity, about, _ in told(good.url)] == [("problem", "persistence")]


# Replicas


def wait_for(is_so: Callable[[], bool]) -> None:
    """Replication takes its time."""
    until = time.monotonic() + 15
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_primary_with_replicas_must_notice_that_it_is_cut_off(good: Server, client: Any) -> None:
    """Split brain: both lines are told, and mend it; the replica itself is named with its primary."""
    with Server(
        good.binary, "--appendonly", "yes", "--replicaof", f"127.0.0.1 {good.port}", "--repl-diskless-sync-delay", "0"
    ) as other:
        client.config_set("repl-diskless-sync-delay", "0")
        wait_for(lambda: client.info("replication").get("slave0", {}).get("state") == "online")
        client.config_set("min-replicas-max-lag", "3600")
        found = told(good.url)
        assert found == [
            ("problem", "min-replicas-to-write", "CONFIG SET min-replicas-to-write 1"),
            ("problem", "min-replicas-max-lag", "CONFIG SET min-replicas-max-lag 10"),
        ]
        for _, _, remedy in found:
            client.execute_command(*remedy.split())
        assert told(good.url) == []
        remedy = f"JWTGATE_STORE=<the same URL with 127.0.0.1:{good.port}, its primary>"
        assert ("problem", "role", remedy) in told(other.url)
        there = Elsewhere(good.url)
        [(_, shut)] = there.audit("rediss://10.0.0.1")
        assert "masterauth on each replica" in shut, "one that cannot log in any more is lost at its next reconnection"
        there.lines.close()
        other.kill()
        wait_for(lambda: client.info("replication")["connected_slaves"] == 0)
        assert [about for _, about, _ in told(good.url)] == ["min-replicas-to-write"], "and now it takes no writes"


# Rights


def test_probes_cover_every_command_of_the_scripts() -> None:
    """What a script calls is tried, so no right that is missing goes unnoticed."""
    scripts = resources.files("jwtgate.stores.redis") / "scripts"
    called: set[str] = set()
    for script in scripts.iterdir():
        if script.name != "types.lua":  # its TYPE is the audit's own
            called.update(re.findall(r"redis\.p?call\('([A-Z]+)'", script.read_text()))
    assert called == {probe[0] for probe in PROBES}
    assert {probe[0] for probe in WIRE} == {"EVALSHA", "EVAL", "XREAD", "HSCAN"}


def test_user_without_any_right_gets_one_line_that_is_enough(good: Server, client: Any) -> None:
    """Executed as it stands, the user can do all that a store does."""
    url = as_gate(good)
    with pytest.raises(StoreUnavailable):
        used(url)
    for _ in range(2):  # commands first; which keys are denied shows only then
        for finding in audited(url):
            client.execute_command(*finding.remedy.split())
    assert told(url) == []
    used(url)


@pytest.mark.parametrize("command", sorted({probe[0] for probe in (*PROBES, *WIRE)}))
def test_each_missing_command_is_named(good: Server, client: Any, command: str) -> None:
    """Alone, in the line that grants it."""
    url = as_gate(good, "~{jwtgate:*", "+@all", f"-{command}")
    assert ("problem", "ACL", f"ACL SETUSER gate +{command.lower()}") in told(url)


@pytest.mark.parametrize("name", ["rulings", "until", "log", "workers", "s:*", "g:*", "u:*", "m:*", "e:*"])
def test_each_missing_kind_of_key_is_noticed(good: Server, name: str) -> None:
    """Patterns may be written out one by one."""
    kinds = ["rulings", "until", "log", "workers", "s:*", "g:*", "u:*", "m:*", "e:*"]
    url = as_gate(good, "+@all", *(f"~{{jwtgate:0}}:{kind}" for kind in kinds if kind != name))
    assert ("problem", "ACL", "ACL SETUSER gate ~{jwtgate:*}:*") in told(url)


def test_missing_select_is_named(good: Server) -> None:
    """It is refused when the connection is made, and hides all else."""
    url = as_gate(good, "~{jwtgate:*", "+@all", "-select")
    assert ("problem", "ACL", "ACL SETUSER gate +select") in told(f"{url}/1")


def test_refused_config_hides_nothing(good: Server, client: Any) -> None:
    """INFO tells of eviction and persistence as well; what is left unchecked is a hint."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("appendonly", "no")
    url = as_gate(good, "~{jwtgate:*", "+@all", "-config")
    assert told(url) == [
        ("problem", "maxmemory-policy", "CONFIG SET maxmemory-policy noeviction"),
        ("problem", "appendonly", "CONFIG SET appendonly yes"),
        ("hint", "CONFIG", "ACL SETUSER gate +config|get"),
    ]


def test_refused_info_hides_nothing(good: Server, client: Any) -> None:
    """The keys are looked at all the same."""
    client.set(UNTIL, "x")
    url = as_gate(good, "~{jwtgate:*", "+@all", "-info")
    assert told(url) == [("problem", "ACL", "ACL SETUSER gate +info"), ("problem", UNTIL, f"DEL {UNTIL}")]


def test_odd_version_hides_nothing(good: Server, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that speaks our protocol may number itself as it likes."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    monkeypatch.setattr(answers, "info", lambda raw, info=answers.info: info(raw) | {"redis_version": "7"})
    store = open_store(good.url, prefix="jwtgate", watch=WATCH, durability=Durability(is_synced=True))
    found = [(weakness.severity, weakness.about) for weakness in store.audit()]
    store.close()
    assert found == [("problem", "maxmemory-policy"), ("hint", "JWTGATE_STORE")]


def test_renamed_command_is_named(own_server: Server) -> None:
    """No right can bring it back."""
    own_server.options = ("--appendonly", "yes", "--rename-command", "ZADD", "", "--rename-command", "CONFIG", "")
    own_server.start()
    found = told(own_server.url)
    assert [(severity, about) for severity, about, _ in found] == [("problem", "ZADD"), ("hint", "CONFIG")]
    assert "ACL SETUSER" not in found[1][2], "no right can bring it back"


# Keys


@pytest.mark.parametrize("key", [RULINGS, UNTIL, LOG, WORKERS, "{jwtgate:0}:u:x", "{jwtgate:0}:s:x"])
def test_key_of_a_wrong_type_is_named_with_the_line_that_removes_it(good: Server, client: Any, key: str) -> None:
    """Once, and the line mends it."""
    used(good.url)
    client.delete(key)
    client.set(key, "x")
    ((severity, about, remedy),) = told(good.url)
    assert (severity, about, remedy) == ("problem", key, f"DEL {key}")
    client.execute_command(*remedy.split())
    assert told(good.url) == []
    used(good.url)


@pytest.mark.parametrize(
    ("spoil", "remedy"),
    [
        (("HSET", RULINGS, "epoch", "{"), f"HDEL {RULINGS} epoch"),
        (("HSET", RULINGS, "epoch", "[]"), f"HDEL {RULINGS} epoch"),
        (("HSET", RULINGS, "epoch", '{"name":7}'), f"HDEL {RULINGS} epoch"),
        (("HSET", RULINGS, "end", b"\xff"), f"HDEL {RULINGS} end"),
        (("HSET", WORKERS, "two", "garbage"), f"HDEL {WORKERS} two"),
        (("XADD", LOG, "9999999999999-9", "foreign", "entry"), f"XDEL {LOG} 9999999999999-9"),
    ],
)
def test_entry_that_cannot_be_read_is_named_with_the_line_that_removes_it(
    good: Server, client: Any, spoil: tuple[Any, ...], remedy: str
) -> None:
    """And with it gone the store works again."""
    open_store(good.url, prefix="jwtgate", watch=WATCH).look_up([])
    client.execute_command(*spoil)
    assert [(severity, line) for severity, _, line in told(good.url)] == [("problem", remedy)]
    client.execute_command(*remedy.split())
    assert told(good.url) == []


def test_record_of_a_newer_version_is_named(good: Server, client: Any) -> None:
    """An older one would write it back without what it does not know."""
    open_store(good.url, prefix="jwtgate", watch=WATCH).look_up([])
    record = client.hget(RULINGS, "epoch")
    client.hset(RULINGS, "epoch", record.replace(b"{", b'{"layout":2,'))
    ((severity, about, remedy),) = told(good.url)
    assert (severity, about) == ("problem", RULINGS)
    assert remedy.startswith("pip install --upgrade jwtgate")


def test_key_of_another_program_is_a_hint(good: Server, client: Any) -> None:
    """Nothing meets it; other prefixes are nobody's business."""
    client.set("{jwtgate:0}:counter", "1")
    client.set("{other:0}:rulings", "1")
    assert [(severity, about) for severity, about, _ in told(good.url)] == [("hint", "{jwtgate:0}:counter")]


def test_names_are_quoted_for_the_shell_of_the_server() -> None:
    """What a stranger named a key moves no cursor."""
    assert quoted(b"{jwtgate:0}:s:a-b_C") == "{jwtgate:0}:s:a-b_C"
    assert quoted(b'a "b"\x1b\xff') == '"a \\x22b\\x22\\x1b\\xff"'


# Clock, transport, passwords


@pytest.mark.parametrize(
    ("off", "severity"),
    [(0.0, None), (0.9, None), (-0.9, None), (5.0, "hint"), (-5.0, "hint"), (90.0, "problem"), (-9e5, "problem")],
)
def test_clock_that_is_off_is_told(good: Server, off: float, severity: str | None) -> None:
    """From a second on a word, from a minute on a problem: every write fails."""
    found = audited(good.url, wall=lambda: time.time() + off)
    assert [finding.severity for finding in found] == ([severity] if severity else [])
    for finding in found:
        assert f"{abs(off):.0f} s {'behind' if off > 0 else 'ahead of'}" in finding.problem


def test_slow_way_is_no_clock_that_is_off(good: Server) -> None:
    """Half the round trip may be on either side."""
    readings = iter([time.time() - 4.0, time.time()])
    assert audited(good.url, wall=lambda: next(readings)) == ()


class Elsewhere:
    """Lines to a server at home, whatever the address says."""

    def __init__(self, url: str) -> None:
        self.lines = Lines(Fixed(dial_settings(url)))

    def audit(self, said: str) -> list[tuple[str, str]]:
        """As if the server had been reached under that URL."""
        found = Auditing(self.lines.ask, dial_settings(said), "jwtgate", WATCH).weaknesses()
        return [(finding.severity, finding.remedy) for finding in found]


def test_way_over_a_network_wants_a_password_and_encryption(good: Server) -> None:
    """Without a password anybody lifts revocations; in clear whoever listens."""
    there = Elsewhere(good.url)
    tls, password = "JWTGATE_STORE=<the same URL with rediss://>", "CONFIG SET requirepass <a long random password"
    open_and_clear = there.audit("redis://cache.internal")
    assert [severity for severity, _ in open_and_clear] == ["problem", "hint"]
    assert open_and_clear[0][1].startswith(password) and open_and_clear[1][1] == tls
    with good.client() as client:
        client.execute_command("ACL", "SETUSER", "default", ">word")  # no longer without
    assert there.audit("redis://:word@10.0.0.1") == [("hint", tls)]
    assert there.audit("rediss://:word@10.0.0.1") == []
    assert there.audit("rediss://:word@10.0.0.1?ssl_cert_reqs=none")[0][0] == "problem"
    with good.client(password="word") as client:
        client.execute_command("ACL", "SETUSER", "default", "nopass")
    for home in ("redis://localhost", "redis://[::1]", "redis://127.3.2.1", "unix:///run/redis.sock"):
        assert there.audit(home) == []
    there.lines.close()


def test_password_of_our_own_guards_nothing_while_default_has_none(good: Server, client: Any) -> None:
    """As long as a user without password is there, seen where our user may look; the line mends it."""
    as_gate(good, "~{jwtgate:*", "+@all")
    client.execute_command("ACL", "SETUSER", "admin", "on", ">word", "~*", "+@all")
    there = Elsewhere(good.url.replace("//", "//admin:word@"))
    assert there.audit("rediss://admin:word@10.0.0.1") == [("problem", "ACL SETUSER default off")]
    client.execute_command("ACL", "SETUSER", "default", "off")
    assert there.audit("rediss://admin:word@10.0.0.1") == []
    there.lines.close()


@pytest.mark.parametrize(
    ("bind", "protected", "is_open"),
    [
        ("* -::*", "no", True),
        ("127.0.0.1 10.0.0.1", "no", True),
        ("", "no", True),
        ("* -::*", "yes", False),
        ("127.0.0.1 -::1", "no", False),
    ],
)
def test_open_door_is_seen_from_the_server_itself(good: Server, bind: str, protected: str, is_open: bool) -> None:
    """Reached by loopback, but listening everywhere, unprotected, without a password."""
    dial = dial_settings(good.url)
    lines = Lines(Fixed(dial))

    def ask(command: tuple[Any, ...], decode: Callable[[Any], Any]) -> Any:
        answer = lines.ask(command, decode)
        return {**answer, "bind": bind, "protected-mode": protected} if command[0] == "CONFIG" else answer

    found = Auditing(ask, dial, "jwtgate", WATCH).weaknesses()
    assert [(finding.severity, finding.about) for finding in found] == [("problem", "requirepass")] * is_open
    lines.close()


# Who is not there


def test_server_that_leaves_in_the_midst_hides_no_finding(good: Server, client: Any) -> None:
    """What was found stands; what could not be checked is said."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    dial = dial_settings(good.url)
    lines = Lines(Fixed(dial))

    def ask(command: tuple[Any, ...], decode: Callable[[Any], Any]) -> Any:
        if command[0] in ("TIME", "HMGET"):
            raise StoreUnavailable("the line is cut")
        return lines.ask(command, decode)

    found = Auditing(ask, dial, "jwtgate", WATCH).weaknesses()
    lines.close()
    assert [(finding.severity, finding.about) for finding in found] == [
        ("hint", "audit"),
        ("problem", "maxmemory-policy"),
    ]


def test_answer_of_another_kind_is_no_error(good: Server) -> None:
    """A server of somebody else's making may say what it likes; an audit must not end a follower."""
    dial = dial_settings(good.url)
    lines = Lines(Fixed(dial))

    def ask(command: tuple[Any, ...], decode: Callable[[Any], Any]) -> Any:
        answer = lines.ask(command, decode)
        return {**answer, "maxmemory": "lots"} if command[0] == "INFO" else answer

    (finding,) = Auditing(ask, dial, "jwtgate", WATCH).weaknesses()
    lines.close()
    assert (finding.severity, "its own way" in finding.problem) == ("hint", True)


def test_nobody_there_is_not_a_finding() -> None:
    """It raises, so that a start may go on."""
    with pytest.raises(StoreUnavailable):
        audited(f"redis://127.0.0.1:{free_port()}")
