"""``jwtgate watch`` on a real server: live, through outages, and nobody's worker."""

from __future__ import annotations

import json
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from cli.commanding import begin, run
from servers import Server, valkey_binary

from jwtgate import Gate, Settings
from jwtgate.core.history import Watch
from jwtgate.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS = 15.0


class Watcher:
    """A ``watch --json`` at work, and all it has said."""

    def __init__(self, *options: str, store: str) -> None:
        self.process = begin("watch", "--json", *options, STORE=store)
        self.events: list[dict[str, Any]] = []
        self.complaints = ""
        self.thread = threading.Thread(target=self._listen)
        self.thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def wait(self, is_said: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first such event."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            for event in list(self.events):
                if is_said(event):
                    return event
            time.sleep(0.02)
        raise AssertionError(f"never said; said were {self.events}")

    def named(self, name: str) -> dict[str, Any]:
        """The first of that name."""
        return self.wait(lambda event: event["event"] == name)

    def close(self) -> tuple[int, str]:
        """Ctrl-C, once. Returns: status, complaints."""
        process = self.process
        assert process.stdout is not None and process.stderr is not None
        if not process.stdout.closed:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE_SECONDS)
            finally:
                process.kill()
            self.thread.join()
            self.complaints = process.stderr.read()
            process.stdout.close()
            process.stderr.close()
        return process.returncode, self.complaints


@pytest.fixture
def valkey() -> Iterator[Server]:
    """One of its own, to be hurt."""
    with Server(valkey_binary()) as server:
        yield server


@pytest.fixture
def watch(valkey: Server) -> Iterator[Callable[..., Watcher]]:
    """Starts watchers; ends them."""
    watchers: list[Watcher] = []

    def start(*options: str) -> Watcher:
        watchers.append(Watcher(*options, store=valkey.url))
        watchers[-1].named("watching")
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.close()


@pytest.fixture
def gate(valkey: Server) -> Iterator[Gate]:
    """Writes."""
    gate = Gate(Settings(secret="s" * 32, store=valkey.url))
    yield gate
    gate.close()


def receipt_position(text: str) -> int:
    """The number in it."""
    return int(text.rpartition(":")[2])


@pytest.mark.server
def test_each_ruling_is_shown_as_it_is_written(watch: Callable[..., Watcher], gate: Gate) -> None:
    """Line by line, at once; Ctrl-C ends it with 130 and without a word."""
    gate.revoke(jti="before")
    watcher = watch()
    began = time.monotonic()
    receipt = gate.revoke(sub="alice")
    event = watcher.wait(lambda event: event["event"] == "entry")
    assert time.monotonic() - began < 1.0
    assert event["position"] == receipt_position(receipt.position) - 1, "her tokens, then her sessions"
    assert event["ruling"]["not_before"]["at"] == event["at"] == receipt.at
    gate.suspend("bob")
    gate.reinstate("bob")
    position = receipt_position(receipt.position)
    suspended = watcher.wait(lambda event: event["position"] == position + 1)
    lifted = watcher.wait(lambda event: event["position"] == position + 2)
    assert (suspended["ruling"]["revoked"], lifted["ruling"]["revoked"]) == (True, False)
    assert suspended["digest"] == lifted["digest"] != event["digest"]
    status, complaints = watcher.close()
    assert (status, complaints) == (130, "")
    assert [event["event"] for event in watcher.events] == ["watching", *["entry"] * 4]


@pytest.mark.server
def test_from_start_shows_what_the_log_still_holds(watch: Callable[..., Watcher], gate: Gate) -> None:
    """Then what comes."""
    for name in ("one", "two"):
        gate.revoke(jti=name)
    watcher = watch("--from-start")
    gate.revoke(jti="three")
    watcher.wait(lambda event: event["position"] == 3)
    assert [event["position"] for event in watcher.events] == [None, 1, 2, 3]


@pytest.mark.server
def test_watching_registers_no_worker(watch: Callable[..., Watcher], valkey: Server, gate: Gate) -> None:
    """A receipt waits for no watcher, even a frozen one."""
    watcher = watch()
    store = open_store(valkey.url, prefix="jwtgate", watch=Watch(1.0, 1.0))
    assert store.workers()[2] == ()
    store.close()
    watcher.process.send_signal(signal.SIGSTOP)
    receipt = gate.revoke(sub="alice", wait=True)
    watcher.process.send_signal(signal.SIGCONT)
    assert (receipt.effective_everywhere, receipt.workers) == (True, 0)


@pytest.mark.server
def test_outage_is_said_and_nothing_is_missed(watch: Callable[..., Watcher], valkey: Server, gate: Gate) -> None:
    """The position is kept: what was written while the watcher could not read is shown when it can."""
    watcher = watch()
    first = gate.revoke(jti="one")
    watcher.wait(lambda event: event["event"] == "entry")
    valkey.pause()
    away = watcher.named("away")
    assert away["position"] == receipt_position(first.position)
    valkey.resume()
    watcher.named("back")
    second = gate.revoke(jti="two")
    watcher.wait(lambda event: event["position"] == receipt_position(second.position))
    names = [event["event"] for event in watcher.events]
    assert names == ["watching", "entry", "away", "back", "entry"]


@pytest.mark.server
def test_lost_history_is_said_loudly(watch: Callable[..., Watcher], valkey: Server, gate: Gate) -> None:
    """A new epoch, and a log that no longer leads to where the watcher stood."""
    gate.revoke(jti="zero")
    watcher = watch()
    with valkey.client() as client:
        client.flushall()
    epoch = watcher.named("epoch")
    assert epoch["previous"] == watcher.events[0]["epoch"] != epoch["epoch"]
    watcher.named("rewritten")
    gate.revoke(jti="one")
    assert watcher.wait(lambda event: event["event"] == "entry")["position"] == 1


@pytest.mark.server
def test_for_people_rulings_go_to_standard_output_and_the_rest_beside_it(valkey: Server, gate: Gate) -> None:
    """So that a pipe gets rulings alone."""
    process = begin("watch", STORE=valkey.url)
    assert process.stdout is not None and process.stderr is not None
    assert "watching from position 0" in process.stderr.readline()
    gate.revoke(jti="one")
    line = process.stdout.readline()
    assert "  #1  " in line and "  revoked; until " in line
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, *rest) == (130, "", "")


@pytest.mark.server
def test_reader_that_leaves_ends_the_watch(valkey: Server, gate: Gate) -> None:
    """``jwtgate watch | head -1``."""
    process = begin("watch", "--json", STORE=valkey.url)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    gate.revoke(jti="one")
    assert process.wait(PATIENCE_SECONDS) == 1
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize(("store", "status"), [("memory://", 2), ("redis://127.0.0.1:1", 1)])
def test_nothing_to_watch_is_said_at_once(store: str, status: int) -> None:
    """Before the first answer it is a mistake, not an outage."""
    ended = run("watch", STORE=store)
    assert ended.returncode == status
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
