"""``jwtgate doctor``: run on bad servers and bad settings, and its advice followed, line by line, until it passes."""

from __future__ import annotations

import json
import shlex
import subprocess
import threading
import time
from contextlib import ExitStack, closing
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from beside import beside
from cli.commanding import run
from published import Provider
from servers import Server, free_port

from jwtgate import Gate, Settings
from jwtgate.core.history import Watch, Worker
from jwtgate.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RANDOM = "kT0Zb8yqW3v-XrLm5Jd7uHf2_PcGnE9aQsVtB4iC"
CHOICES = {"JWTGATE_AUDIENCE": "api", "JWTGATE_SECRET": RANDOM}
"""What an operator writes where a line leaves it to him."""


@pytest.fixture
def good(tmp_path: Path) -> dict[str, str]:
    """Settings of which nothing bad can be said, without the store."""
    path = tmp_path / "secret"
    path.write_text(RANDOM)
    return {"SECRET": "", "SECRET_FILE": str(path), "AUDIENCE": "api"}


@pytest.fixture
def sound(own_server: Server) -> Iterator[Server]:
    """A server of which nothing bad can be said."""
    own_server.options = ("--appendonly", "yes")
    yield own_server.start()


def findings(**settings: str) -> tuple[int, list[dict[str, Any]]]:
    """By ``--json``. Returns: status, findings."""
    ended = run("doctor", "--json", **settings)
    assert ended.stderr == ""
    return ended.returncode, json.loads(ended.stdout)


def follow(remedy: str, settings: dict[str, str], client: Any) -> None:
    """Mechanically: a setting is set, a command is sent to the server as an administrator."""
    name, equals, value = remedy.partition("=")
    if equals and name.startswith("JWTGATE_"):
        settings[name.removeprefix("JWTGATE_")] = CHOICES[name] if value.startswith("<") else value
    elif equals and name == "WEB_CONCURRENCY":
        raise AssertionError("not in these tests")
    else:
        client.execute_command(*shlex.split(remedy))


def test_sound_setup_passes_with_one_line(sound: Server, good: dict[str, str]) -> None:
    """Nothing to say is said in one line; for programs, an empty list."""
    ended = run("doctor", **good, STORE=sound.url)
    healed = "not healed yet, which the first worker sees to"
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"Nothing found. Store: {sound.url}, {healed}, 0 workers live, lease 1 s.\n"
    assert findings(**good, STORE=sound.url) == (0, [])


def test_issuer_whose_keys_do_not_come_is_a_problem(sound: Server, good: dict[str, str]) -> None:
    """It says which, and why, and how to look; the others' are fetched and not spoken of."""
    with Provider() as one, Provider() as other:
        other.metadata = {"issuer": f"{other.issuer}/"}
        issuers = [{"issuer": each.issuer, "audience": "api"} for each in (one, other)]
        settings = {**good, "SECRET_FILE": "", "AUDIENCE": "", "JWKS_HTTP": "1", "STORE": sound.url}
        status, (found,) = findings(**settings, ISSUERS=json.dumps(issuers))
        assert (status, found["about"]) == (1, "JWTGATE_ISSUERS[1].issuer")
        assert f"'{other.issuer}/'" in found["problem"]
        assert found["remedy"] == f"curl -i {other.issuer}/.well-known/openid-configuration"
        one.how = "fail"
        url = one.url.replace("//", "//user:hunter2pw@")
        status, (found,) = findings(**{**settings, "AUDIENCE": "api"}, ISSUER=one.issuer, JWKS_URL=url)
        assert (status, found["about"]) == (1, "JWTGATE_JWKS_URL")
        assert "status is 500" in found["problem"] and "hunter2pw" not in json.dumps(found)


def test_running_workers_are_counted(sound: Server, good: dict[str, str]) -> None:
    """Who renews is live; who does not is silent, which is information."""
    with ExitStack() as stack:
        gates = [
            stack.enter_context(closing(Gate(Settings(secret=RANDOM, audience=["api"], store=sound.url)))) for _ in range(2)
        ]
        assert all(gate.ready(10) for gate in gates)
        store = stack.enter_context(closing(open_store(sound.url, prefix="jwtgate", watch=Watch(1.0, 1.0))))
        store.feed().renew(Worker("gone", 60.0, 0, 1, is_healing=False), None)
        ended = run("doctor", **good, STORE=sound.url)
    assert ended.stdout == f"Nothing found. Store: {sound.url}, healed, 2 workers live, 1 silent, lease 1 s.\n"
    assert ended.returncode == 0


def test_another_lease_than_the_workers_is_a_problem(sound: Server, good: dict[str, str]) -> None:
    """H3: such a process would not follow."""
    with closing(Gate(Settings(secret=RANDOM, audience=["api"], store=sound.url))) as gate:
        assert gate.ready(10)
        status, found = findings(**good, STORE=sound.url, LEASE="2")
    assert (status, [finding["remedy"] for finding in found]) == (1, ["JWTGATE_LEASE=1"])


def registered(server: Server, lease_seconds: float, stop: threading.Event) -> None:
    """A worker that renews, and heals without an end."""
    with closing(open_store(server.url, prefix="jwtgate", watch=Watch(lease_seconds, lease_seconds))) as store:
        with closing(store.feed()) as feed:
            for beat in count(1):
                feed.renew(Worker("one", lease_seconds, 0, beat, is_healing=True), store.look_up([]).epoch.name)
                if stop.wait(0.1):
                    return


def test_history_that_is_not_healed_though_workers_run_is_a_problem(sound: Server, good: dict[str, str]) -> None:
    """It lasts two leases where all is well."""
    stop = threading.Event()
    with beside(partial(registered, sound, 0.5, stop), end=stop.set):
        status, found = findings(**good, STORE=sound.url, LEASE="0.5")
    assert (status, [finding["about"] for finding in found]) == (1, ["history"])


def test_long_lease_is_not_waited_for(sound: Server, good: dict[str, str]) -> None:
    """Who is registered is told; that nobody has renewed in a few seconds says nothing."""
    stop = threading.Event()
    stop.set()
    registered(sound, 50.0, stop)
    with sound.client() as client:
        record = client.hget("{jwtgate:0}:rulings", "epoch")
        client.hset("{jwtgate:0}:rulings", "epoch", record.replace(b'"healed":0', b'"healed":1'))
    ended = run("doctor", **good, STORE=sound.url, LEASE="50")
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (
        0,
        f"1 hint. Store: {sound.url}, healed, 1 worker registered, lease 50 s.",
    )


def test_advice_is_followed_until_it_passes(own_server: Server) -> None:
    """Everything at once: eviction, no persistence, missing rights, wrong types, garbage, and settings to match."""
    own_server.options = ("--maxmemory-policy", "volatile-lru", "--appendfsync", "no", "--timeout", "1")
    own_server.start()
    settings = {
        "SECRET": "changeme" * 5,
        "STORE": own_server.url.replace("//", "//gate:word@"),
        "ON_STORE_DOWN": "admit",
        "LOCATIONS": "header,cookie",
        "CSRF": "off",
        "COOKIE": "token",
        "COOKIE_SECURE": "0",
    }
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "gate", "on", ">word", "~{jwtgate:0}:rulings", "+info", "+eval")
        for name in ("until", "log", "s:one"):
            client.hset(f"{{jwtgate:0}}:{name}", "foreign", "hash")
        client.delete("{jwtgate:0}:s:one")
        client.hset("{jwtgate:0}:rulings", mapping={"epoch": "{}", "end": "?"})
        client.hset("{jwtgate:0}:workers", "two words", "garbage")
        rounds: list[set[str]] = []
        status = 1
        while status and len(rounds) < 6:
            status, found = findings(**settings)
            rounds.append({finding["about"] for finding in found if finding["severity"] == "problem"})
            for finding in found:
                if finding["remedy"] != "JWTGATE_SECRET_FILE=<path of a file that holds it>":
                    follow(finding["remedy"], settings, client)
    assert {"JWTGATE_SECRET", "JWTGATE_AUDIENCE", "JWTGATE_ON_STORE_DOWN", "JWTGATE_CSRF", "JWTGATE_COOKIE_SECURE"} < rounds[0]
    assert {"ACL", "maxmemory-policy", "appendonly"} < rounds[0]
    assert {"{jwtgate:0}:until", "{jwtgate:0}:log", "{jwtgate:0}:workers", "appendfsync"} < set().union(*rounds[1:])
    assert rounds[-1] == set() and status == 0
    gate = Gate(Settings.from_env({f"JWTGATE_{name}": value for name, value in settings.items()}))
    assert gate.ready(10)
    assert gate.revoke(sub="alice", wait=True).effective_everywhere
    gate.close()


def test_replica_is_named(sound: Server, good: dict[str, str]) -> None:
    """With its primary's address, which is the remedy."""
    with sound.client() as client:
        client.replicaof("127.0.0.1", free_port())
        status, found = findings(**good, STORE=sound.url)
    assert status == 1
    assert "role" in {finding["about"] for finding in found}


# A store that cannot be used


@pytest.mark.parametrize("where", ["redis://127.0.0.1:1", "redis://:s3cr3t-w0rd@nowhere.invalid", "unix:///nowhere/socket"])
def test_unreachable_store_is_one_problem(good: dict[str, str], where: str) -> None:
    """It names the variable and the host, never the password."""
    ended = run("doctor", **good, STORE=where)
    assert ended.returncode == 1
    assert "JWTGATE_STORE" in ended.stdout and "s3cr3t" not in ended.stdout
    assert "nowhere" in ended.stdout or "127.0.0.1:1" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "1 problem."


@pytest.mark.parametrize(
    ("rewrite", "told"),
    [
        (("//", "//:s3cr3t-w0rd@"), "refuses the user or the password"),
        (("//", "//user:s3cr3t-w0rd@"), "refuses the user or the password"),
        (("", ""), "asks for one"),
        (("//", "//:right-w0rd@"), "has no database of that number"),
    ],
)
def test_store_that_does_not_let_us_in_is_one_problem(
    own_server: Server, good: dict[str, str], rewrite: tuple[str, str], told: str
) -> None:
    """Wrong password, no password, wrong database: one clear line each."""
    own_server.options = ("--requirepass", "right-w0rd", "--appendonly", "yes")
    own_server.start()
    ended = run("doctor", "--json", **good, STORE=own_server.url.replace(*rewrite, 1) + "/9999")
    (finding,) = json.loads(ended.stdout)
    assert (ended.returncode, finding["about"], finding["severity"]) == (1, "JWTGATE_STORE", "problem")
    assert told in finding["problem"] and "JWTGATE_STORE" in finding["problem"]
    assert "w0rd" not in ended.stdout + ended.stderr


@pytest.mark.parametrize(("scheme", "path"), [("redis+cluster", ""), ("redis+sentinel", "/service")])
def test_server_of_another_kind_is_one_problem(sound: Server, good: dict[str, str], scheme: str, path: str) -> None:
    """It runs: what mends it is another URL, and no server that were to be started."""
    status, (finding,) = findings(**good, STORE=f"{scheme}://127.0.0.1:{sound.port}{path}")
    assert (status, finding["about"]) == (1, "JWTGATE_STORE")
    assert "is not what its URL says" in finding["problem"]
    assert finding["remedy"].startswith("JWTGATE_STORE=redis://<host>:<port>")


@pytest.mark.parametrize("url", ["mongodb://h", "redis://", "redis://h/x", "redis://h?socket_timeout=9"])
def test_store_that_is_no_store_is_one_problem(good: dict[str, str], url: str) -> None:
    """Before anything is connected."""
    status, (finding,) = findings(**good, STORE=url)
    assert (status, finding["about"]) == (1, "JWTGATE_STORE")


# Settings


def test_each_mistake_in_the_settings_is_a_problem() -> None:
    """They are what a doctor is asked about; status 2 is for the command line."""
    status, found = findings(SECRET="short", LEASE="soon")
    assert status == 1
    assert {finding["about"] for finding in found} == {"JWTGATE_SECRET", "JWTGATE_LEASE"}
    assert run("doctor", "--deeply").returncode == 2


def test_private_keys_that_others_may_read_are_a_problem(sound: Server, good: dict[str, str], tmp_path: Path) -> None:
    """The line that mends it is a line for a shell."""
    path = tmp_path / "own keys.json"
    assert run("keys", "new", SECRET="", PRIVATE_KEYS=str(path)).returncode == 0
    settings = {**good, "SECRET_FILE": "", "PRIVATE_KEYS": str(path), "STORE": sound.url}
    assert findings(**settings) == (0, [])
    path.chmod(0o644)
    status, (finding,) = findings(**settings)
    assert (status, finding["severity"], finding["about"]) == (1, "problem", "JWTGATE_PRIVATE_KEYS")
    subprocess.run(["/bin/sh", "-c", finding["remedy"]], check=True)
    assert findings(**settings) == (0, [])


def test_private_key_of_an_entry_is_looked_at(sound: Server, tmp_path: Path) -> None:
    """The entry is named."""
    path = tmp_path / "own.json"
    assert run("keys", "new", SECRET="", PRIVATE_KEYS=str(path)).returncode == 0
    path.chmod(0o640)
    issuers = json.dumps([{"issuer": "https://ours", "private_keys": str(path), "audience": "api"}])
    status, (finding,) = findings(SECRET="", ISSUERS=issuers, STORE=sound.url)
    assert (status, finding["about"]) == (1, "JWTGATE_ISSUERS[0].private_keys")


def test_hints_alone_pass(sound: Server) -> None:
    """They are advice."""
    status, found = findings(SECRET=RANDOM, AUDIENCE="api", STORE=sound.url)
    assert (status, [finding["severity"] for finding in found]) == (0, ["hint"])


def test_strict_does_not_end_the_examination(own_server: Server, good: dict[str, str]) -> None:
    """All is said, not only what a start would stumble over."""
    own_server.start()
    status, found = findings(**good, STORE=own_server.url, STRICT="1", ON_STORE_DOWN="admit")
    assert (status, [finding["about"] for finding in found]) == (1, ["JWTGATE_ON_STORE_DOWN", "appendonly"])


def test_memory_store_is_a_problem(good: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All the more with several workers."""
    assert [finding["about"] for finding in findings(**good)[1]] == ["JWTGATE_STORE"]
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    assert [finding["about"] for finding in findings(**good)[1]] == ["WEB_CONCURRENCY", "JWTGATE_STORE"]


# What people see


def test_people_get_problem_and_remedy_on_lines_of_their_own(own_server: Server, good: dict[str, str]) -> None:
    """The remedy can be copied whole; the last line counts."""
    own_server.start()
    lines = run("doctor", **good, STORE=own_server.url, LEASE="9").stdout.splitlines()
    assert lines[0].startswith("problem  appendonly is no, so ")
    assert lines[1] == "         CONFIG SET appendonly yes"
    assert lines[3].startswith("hint     JWTGATE_LEASE is 9 s: ")
    assert lines[-1].startswith("1 problem, 1 hint. Store: redis://127.0.0.1:")


def test_silent_server_takes_no_longer_than_its_timeouts(own_server: Server, good: dict[str, str]) -> None:
    """A server that stands still is told soon."""
    own_server.start()
    own_server.pause()
    began = time.monotonic()
    status, found = findings(**good, STORE=own_server.url)
    own_server.resume()
    assert time.monotonic() - began < 10
    assert (status, [finding["about"] for finding in found]) == (1, ["JWTGATE_STORE"])
    assert "no answer in time" in found[0]["problem"]
