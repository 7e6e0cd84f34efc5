"""``jwtgate revoke``: what it writes, what its receipt says, and what it leaves alone."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import pytest
from cli.commanding import COMMAND, SECRET, Worker, environ, run
from servers import Server, valkey_binary

from jwtgate import Gate, Receipt, Settings
from jwtgate.cli import main, revocation
from jwtgate.core.history import Epoch, LogEnd, NotDurable, NotWritten, Written
from jwtgate.errors import BadSignature, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, str]]:
    """Of the worker and of the command, on a store of their own."""
    with Server(valkey_binary()) as server:
        yield {"STORE": server.url, "HANDLES": "tenant"}


@pytest.fixture(scope="module")
def worker(settings: dict[str, str]) -> Iterator[Worker]:
    """One, live."""
    with Worker(**settings) as worker:
        yield worker


@pytest.fixture(scope="module")
def gate(settings: dict[str, str], worker: Worker) -> Iterator[Gate]:
    """Issues tokens, on a store whose history the worker has healed."""
    gate = Gate(Settings(secret=SECRET, store=settings["STORE"], handles=["tenant"]))
    yield gate
    gate.close()


def named_by(target: str, token: str, gate: Gate) -> tuple[list[str], str]:
    """Options that name the token, and what goes to standard input."""
    claims = gate.verify(token)
    options = {
        "token": ["--token", "-"],
        "jti": ["--jti", str(claims.token_id)],
        "sub": ["--sub", "alice"],
        "access_only": ["--sub", "alice", "--access-only"],
        "claim": ["--claim", "tenant=acme=corp"],
        "everything": ["--everything"],
    }
    return options[target], token if target == "token" else ""


@pytest.mark.server
@pytest.mark.parametrize("target", ["token", "jti", "sub", "access_only", "claim", "everything"])
def test_token_is_refused_by_a_live_worker_once_the_receipt_is_there(
    settings: dict[str, str], worker: Worker, gate: Gate, target: str
) -> None:
    """The promise, from a shell: no request that begins after the receipt is admitted."""
    token = gate.issue("alice", claims={"tenant": "acme=corp"})
    assert [worker.verdict(token) for _ in range(3)] == ["admitted"] * 3
    options, text = named_by(target, token, gate)
    gate.close()  # it followed, to verify: one worker is left
    ended = run("revoke", *options, "--wait", "--json", text=text, **settings)
    assert worker.verdict(token) == "revoked"
    assert ended.returncode == 0, ended.stderr
    receipt = json.loads(ended.stdout)
    assert receipt["effective_everywhere"] is True
    assert receipt["workers"] == 1
    assert ended.stderr == ""


@pytest.mark.server
def test_token_from_a_file_kills_it_alone(settings: dict[str, str], worker: Worker, gate: Gate, tmp_path: Any) -> None:
    """``@file``, with the line end that editors add."""
    token, other = gate.issue("alice"), gate.issue("alice")
    (tmp_path / "token").write_text(token + "\n")
    ended = run("revoke", "--token", f"@{tmp_path / 'token'}", "--wait", **settings)
    assert ended.returncode == 0, ended.stderr
    assert "effective everywhere from now on" in ended.stdout
    assert "1 worker acknowledged it" in ended.stdout
    assert (worker.verdict(token), worker.verdict(other)) == ("revoked", "admitted")


@pytest.mark.server
def test_command_registers_as_no_worker(settings: dict[str, str], worker: Worker, gate: Gate) -> None:
    """Nobody's receipt is to wait for a command that has ended."""
    registered = {each.name for each in gate.store.workers()[2]}
    assert len(registered) == 1
    assert run("revoke", "--sub", "alice", **settings).returncode == 0
    assert {each.name for each in gate.store.workers()[2]} == registered


@pytest.mark.server
@pytest.mark.parametrize("foreign", [True, False])
def test_foreign_token_and_junk_revoke_nothing(settings: dict[str, str], worker: Worker, gate: Gate, foreign: bool) -> None:
    """Status 1 for what another key signed, 2 for what is no token; neither is repeated."""
    end = gate.store.workers()[1]
    text = Gate(Settings(secret=SECRET[::-1])).issue("alice") if foreign else "eyJhbGciOiJub25lIn0.junk"
    ended = run("revoke", "--token", "-", text=text, **settings)
    assert ended.returncode == (1 if foreign else 2)
    assert "Nothing was revoked." in ended.stderr
    assert text.split(".")[1] not in ended.stderr + ended.stdout
    assert gate.store.workers()[1] == end


@pytest.mark.server
def test_store_that_is_away_has_status_1_and_one_line(own_server: Server) -> None:
    """Never a silent success (W5); no password in the line."""
    url = f"redis://operator:hunter2@127.0.0.1:{own_server.port}"
    ended = run("revoke", "--sub", "alice", STORE=url)
    assert ended.returncode == 1
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert "JWTGATE_STORE" in line
    assert line.endswith("Nothing was revoked.")
    assert "hunter2" not in line


def test_memory_of_this_process_is_no_place_to_revoke_in() -> None:
    """JWTGATE_STORE forgotten in the operator's shell must not look like a success."""
    ended = run("revoke", "--sub", "alice")
    assert ended.returncode == 2
    assert "memory://" in ended.stderr
    assert ended.stdout == ""


class FakeGate:
    """Takes what ``Gate.revoke`` takes, and gives what it was told to."""

    def __init__(self, outcome: Receipt | Exception) -> None:
        self.outcome = outcome
        self.asked: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def revoke(self, **arguments: Any) -> Receipt:
        self.asked.append(arguments)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def receipt(*, everywhere: bool = True, by: float | None = 0.0) -> Receipt:
    """One that was waited for in vain, or not."""
    return Receipt("epoch:7", time.time(), everywhere, by and time.time() + by, 3, 0.25)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a fake gate in the place of the one that the environment gives."""

    def put(outcome: Receipt | Exception) -> FakeGate:
        gate = FakeGate(outcome)
        monkeypatch.setattr(revocation, "opened", lambda errand: gate)
        return gate

    return put


WRITTEN = Written(Epoch("e", 1.0, 1.0, is_healed=True, is_settled=True), LogEnd(1, "l", "1-1"), 1.0, (b"{}",), ())
NONE = {"access_only": False, "issuer": None, "wait": False}


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["--jti", "7"], {"jti": "7"}),
        (["--sid", "7"], {"sid": "7"}),
        (["--sub", "7", "--access-only"], {"sub": "7", "access_only": True}),
        (["--sub", ""], {"sub": ""}),
        (["--claim", "client_id=a=b"], {"claim": ("client_id", "a=b")}),
        (["--everything", "--yes"], {"everything": True}),
        (["--everything"], {"everything": True}),
        (["--sub", "7", "--issuer", "https://i", "--wait"], {"sub": "7", "issuer": "https://i", "wait": True}),
        (["--jti", "7", "--expires-at", "1900000000.5"], {"jti": "7", "expires_at": 1900000000.5}),
        (["--jti", "7", "--expires-at", "2030-01-31T12:00:00+00:00"], {"jti": "7", "expires_at": 1896091200.0}),
    ],
)
def test_options_are_the_arguments_of_the_gate(fake: Any, options: list[str], asked: dict[str, Any]) -> None:
    """Word for word."""
    gate = fake(receipt())
    assert main(["revoke", *options]) == 0
    assert gate.asked == [{**NONE, **asked}]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--wait"],
        ["--sub", "a", "--jti", "b"],
        ["--sub", "a", "--sub", "b"],
        ["--sub", "a", "--everything", "--yes"],
        ["--claim", "a=b", "--claim", "c=d"],
        ["--claim", "tenant"],
        ["--claim", "=acme"],
        ["--token", "hidden-value"],
        ["--token", "@/no/such/hidden-value"],
        ["--token", "-"],
        ["--jti", "a", "--expires-at", "hidden-value"],
    ],
)
def test_wrong_usage_asks_the_gate_for_nothing(
    fake: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    """Two targets are two commands: one of them would be left alive."""
    monkeypatch.setattr("sys.stdin", io.StringIO(" \n"))
    gate = fake(receipt())
    assert main(["revoke", *options]) == 2
    assert gate.asked == []
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("jwtgate: ")
    assert "hidden-value" not in printed.err


@pytest.mark.parametrize(
    ("outcome", "status", "told"),
    [
        (ValueError("several issuers are configured: issuer= must name one of them"), 2, "--issuer must name one"),
        (TypeError("access_only goes with sub"), 2, "--access-only goes with sub"),
        (ValueError("token= tells its end itself: issuer= and expires_at= do not"), 2, "--token tells its end itself: --issuer and --expires-at"),
        (BadSignature("the signature does not verify"), 1, "the signature does not verify. Nothing was revoked"),
        (NotDurable(WRITTEN, "the ruling stands, but"), 1, "jwtgate: the ruling stands, but.\n"),
        (StoreUnavailable("the store failed"), 1, "the store failed. Whether the ruling was written is not known; revoking"),
        (NotWritten("the store refused"), 1, "jwtgate: the store refused. Nothing was revoked.\n"),
    ],
)  # fmt: skip
def test_refusals_of_the_gate_are_told_in_options(
    fake: Any, capsys: pytest.CaptureFixture[str], outcome: Exception, status: int, told: str
) -> None:
    """Whoever types options reads of options."""
    fake(outcome)
    assert main(["revoke", "--sub", "alice"]) == status
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (replace(receipt(), replicas=2), 0, "2 replicas had it"),
        (replace(receipt(), replicas=1), 0, "1 replica had it"),
        (replace(receipt(), fsyncs=1), 0, "on the server's disk"),
        (receipt(), 0, "effective everywhere from now on"),
        (receipt(everywhere=False, by=0.9), 1, "Effective everywhere by 2"),
        (receipt(everywhere=False, by=None), 1, "not everybody may hear of it"),
        (receipt(everywhere=False, by=None), 1, "jwtgate doctor says how to take it off"),
    ],
)
def test_receipt_is_told_in_words_and_waiting_in_vain_has_status_1(
    fake: Any, capsys: pytest.CaptureFixture[str], given: Receipt, status: int, told: str
) -> None:
    """Without --wait a later moment is no failure."""
    fake(given)
    assert main(["revoke", "--sub", "alice", "--wait"]) == status
    assert main(["revoke", "--sub", "alice"]) == 0
    printed = capsys.readouterr().out
    assert printed.count(told) == 2
    assert "3 workers" in printed
    assert "epoch:7" in printed


def on_a_terminal(keys: bytes) -> tuple[int, str]:
    """``revoke --everything`` where somebody can be asked: its status and what it said. The store is never reached."""
    master, slave = pty.openpty()
    try:
        with subprocess.Popen(
            [*COMMAND, "revoke", "--everything"],
            env=environ(STORE="redis://127.0.0.1:1"), stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            os.write(master, keys)
            try:
                out, complaint = process.communicate(timeout=20)
            finally:
                process.kill()  # else it would be waited for, and it may wait for us
    finally:
        os.close(master)
        os.close(slave)
    assert out == ""
    return process.returncode, complaint


@pytest.mark.parametrize("keys", [b"\n", b"n\n", b"no\n", b"\x04"])
def test_everything_is_confirmed_on_a_terminal(keys: bytes) -> None:
    """Anything but yes leaves all as it was."""
    status, said = on_a_terminal(keys)
    assert status == 1
    assert "Revoke everything? [y/N]" in said
    assert said.endswith("Nothing was revoked.\n")


def test_confirmed_everything_goes_to_the_store() -> None:
    """Which is not there, in this test."""
    status, said = on_a_terminal(b"y\n")
    assert status == 1
    assert "the store (JWTGATE_STORE) failed" in said
