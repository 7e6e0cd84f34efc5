"""``jwtgate keys``: what stands in the file, what running workers make of it, and that a retired key is dead everywhere."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from beside import together
from cli.commanding import Worker, run
from keymaking import make_pairs
from published import Provider
from servers import Server, valkey_binary

from jwtgate import Gate, Settings
from jwtgate.cli.key_files import KeyFiles, new_key
from jwtgate.errors import SettingsError
from jwtgate.runtime import rekeying

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALGORITHMS = (
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)


def keys(*arguments: str, **variables: str) -> Any:
    """The keys that a command ends with, as it tells them to programs."""
    ended = run("keys", *arguments, "--json", **{"SECRET": "", **variables})
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def complaint(*arguments: str, **variables: str) -> str:
    """What a misuse is told."""
    ended = run("keys", *arguments, **{"SECRET": "", **variables})
    assert (ended.returncode, ended.stdout) == (2, "")
    return ended.stderr


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a file with one key."""
    path = tmp_path / "keys.json"
    keys("new", PRIVATE_KEYS=str(path))
    return path


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_new_key_of_each_algorithm_signs_at_once(tmp_path: Path, algorithm: str) -> None:
    """Made, written and read again, it signs what it verifies, under its own name."""
    path = tmp_path / "keys.json"
    KeyFiles(path).write([made := new_key(algorithm)])
    with closing(Gate(Settings(private_keys=path))) as gate:
        assert gate.ready()
        token = gate.issue("alice")
        assert gate.verify(token).header == {"alg": algorithm, "kid": made.kid, "typ": "at+jwt"}


def test_first_key_is_its_owners_alone(path: Path) -> None:
    """And signs what ``token mint`` makes."""
    (key,) = keys("list", PRIVATE_KEYS=str(path))
    assert (key["alg"], key["state"], key["verifies_until"]) == ("ES256", "signs", None)
    assert path.stat().st_mode & 0o777 == 0o600
    ended = run("token", "mint", "alice", SECRET="", PRIVATE_KEYS=str(path))
    assert ended.returncode == 0, ended.stderr
    assert kid_of(ended.stdout.strip()) == key["kid"]


def test_next_key_waits_and_the_one_before_stays(path: Path) -> None:
    """Published at once, signing in ten minutes, the old one until the last token under MAX_TTL has expired."""
    before, after = keys("rotate", PRIVATE_KEYS=str(path), MAX_TTL="900")
    assert (before["state"], after["state"]) == ("signs", "next")
    assert after["signs_from"] - after["made_at"] == 600
    assert 900 + 60 <= before["verifies_until"] - after["signs_from"] <= 900 + 61
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys("list", PRIVATE_KEYS=str(path)) == [before, after]


def test_folder_has_a_file_for_each_key(tmp_path: Path) -> None:
    """The setting takes the folder."""
    keys("new", PRIVATE_KEYS=str(tmp_path))
    listed = keys("rotate", "--alg", "RS256", PRIVATE_KEYS=str(tmp_path))
    assert {file.name for file in tmp_path.iterdir()} == {f"{key['kid']}.json" for key in listed}
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    assert run("token", "mint", "alice", SECRET="", PRIVATE_KEYS=str(tmp_path)).returncode == 0


def test_rotations_at_once_lose_no_key(path: Path) -> None:
    """One after the other."""
    together(*[partial(keys, "rotate", PRIVATE_KEYS=str(path))] * 5)
    assert len(keys("list", PRIVATE_KEYS=str(path))) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("new",), "has keys already"),
        (("rotate", "--alg", "none"), "--alg must be one of HS256"),
        (("rotate", "--file", "/nowhere/keys.json"), "/nowhere"),
        (("list", "--file", "/nowhere/keys.json"), "has no key yet"),
        (("retire", "other"), "no key has that kid"),
        (("retire", "-her"), "no key has that kid"),
        (("retire", "other", "--fil", "/nowhere"), "--fil"),
    ],
)
def test_misuse_is_told(path: Path, arguments: tuple[str, ...], said: str) -> None:
    """And changes nothing."""
    text = path.read_text()
    assert said in complaint(*arguments, PRIVATE_KEYS=str(path), STORE=f"sqlite:///{path.parent}/store.db")
    assert path.read_text() == text


def test_broken_file_is_named_and_not_shown(path: Path) -> None:
    """threats.md 29: it holds private keys."""
    d = json.loads(path.read_text())["keys"][0]["d"]
    path.write_text(path.read_text().replace('"kty": "EC"', '"kty": "RSA"'))
    for arguments in (("list",), ("rotate",)):
        said = complaint(*arguments, PRIVATE_KEYS=str(path))
        assert str(path) in said or "JWTGATE_PRIVATE_KEYS" in said
        assert d not in said


def test_kid_that_no_token_could_carry_is_a_mistake_and_is_not_printed(path: Path) -> None:
    """Every login would fail; and whoever names a key writes nothing else on the operator's terminal."""
    document = json.loads(path.read_text())
    document["keys"][0]["kid"] = "a\u202e\x1b[2J"
    path.write_text(json.dumps(document))
    said = complaint("retire", "other", PRIVATE_KEYS=str(path), STORE=f"sqlite:///{path.parent}/store.db")
    assert "no key has that kid" in said and said.strip().isprintable()
    document["keys"][0]["kid"] = "a\ud800"
    path.write_text(json.dumps(document))
    with pytest.raises(SettingsError, match="has a kid that is no Unicode text"):
        Settings(private_keys=path)


@pytest.mark.parametrize("length", [43, 5000])
@pytest.mark.parametrize("command", [("list",), ("new",), ("rotate",), ("retire", "x")])
def test_key_pasted_for_a_path_is_not_told(tmp_path: Path, command: tuple[str, ...], length: int) -> None:
    """threats.md 29: a terminal, or what a job keeps of it, is a log; and one that is too long for a path is a misuse, too."""
    pasted = json.dumps({"keys": [{"kty": "oct", "kid": "x", "k": "hunter2/" + "A" * length}]})
    assert "hunter2" not in complaint(*command, PRIVATE_KEYS=pasted, STORE=f"sqlite:///{tmp_path}/store.db")


def test_process_that_only_signs_follows_its_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks it for a verdict, so nobody follows the store for it; it must not sign with yesterday's key."""
    monkeypatch.setattr(rekeying, "LOOK_SECONDS", 0.0)
    with closing(Gate(Settings(private_keys=path))) as gate:
        first = kid_of(gate.issue("alice"))
        path.unlink()
        (key,) = keys("new", PRIVATE_KEYS=str(path))
        assert kid_of(gate.issue("alice")) == key["kid"] != first
        text = path.read_text()
        path.write_text("{")
        assert kid_of(gate.issue("alice")) == key["kid"]
        path.write_text(text)
        assert kid_of(gate.issue("alice")) == key["kid"]


def test_key_pasted_for_a_path_is_not_shown(path: Path) -> None:
    """threats.md 29: an error of the file system would quote it."""
    text = path.read_text().replace("\n", "")
    with pytest.raises(SettingsError) as caught:
        Settings(private_keys=text)
    assert json.loads(text)["keys"][0]["d"] not in str(caught.value)


def test_owner_and_link_outlive_a_rotation(path: Path) -> None:
    """Workers that are not root go on reading it."""
    path.chmod(0o600)
    os.chown(path, 12345, 12345) if os.geteuid() == 0 else None
    owner = path.stat().st_uid
    link = path.with_name("link.json")
    link.symlink_to(path)
    keys("rotate", PRIVATE_KEYS=str(link))
    assert link.is_symlink() and len(json.loads(path.read_text())["keys"]) == 2
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (owner, 0o600)


def test_key_that_signs_alone_is_not_retired(path: Path) -> None:
    """What is made with it would be dead at once."""
    pem = make_pairs()["p256"].private_pem
    kid = kid_of(run("token", "mint", "alice", SECRET="", PRIVATE_KEY=pem).stdout.strip())
    said = complaint("retire", kid, PRIVATE_KEY=pem, STORE=f"sqlite:///{path.parent}/store.db")
    assert "another one first" in said


def test_ruling_that_was_not_written_is_told_apart_from_one_that_may_be(path: Path) -> None:
    """The key is retired in the file either way."""
    keys("rotate", PRIVATE_KEYS=str(path))
    old = keys("list", PRIVATE_KEYS=str(path))[0]
    ended = run("keys", "retire", old["kid"], SECRET="", PRIVATE_KEYS=str(path), STORE="redis://127.0.0.1:1")
    assert ended.returncode == 1
    assert "JWTGATE_STORE" in ended.stderr
    assert ended.stderr.endswith("No ruling was written; workers that read the file turn to it. Ask again.\n")


def test_last_key_is_not_retired(path: Path) -> None:
    """Nobody could log in any more."""
    (key,) = keys("list", PRIVATE_KEYS=str(path))
    assert "rotate first" in complaint("retire", key["kid"], PRIVATE_KEYS=str(path), STORE=f"sqlite:///{path.parent}/store.db")
    assert keys("list", PRIVATE_KEYS=str(path)) == [key]


def test_key_is_not_retired_under_the_name_of_another_issuer(path: Path) -> None:
    """Nobody would look for the ruling there, and the receipt would be a lie."""
    (key,) = keys("list", PRIVATE_KEYS=str(path))
    keys("rotate", PRIVATE_KEYS=str(path))
    text = path.read_text()
    provider = {"issuer": "https://idp.example", "public_key": make_pairs()["rsa"].public_pem}
    issuers = json.dumps([{"issuer": "https://own.example", "private_keys": str(path)}, provider])
    variables = {"ISSUERS": issuers, "STORE": f"sqlite:///{path.parent}/store.db"}
    retire = ("retire", key["kid"], "--file", str(path), "--issuer")
    assert "holds no key of that issuer" in complaint(*retire, "https://idp.example", **variables)
    assert path.read_text() == text
    ended = run("keys", *retire, "https://own.example", SECRET="", **variables)
    assert ended.returncode == 0, ended.stderr
    assert keys("list", PRIVATE_KEYS=str(path))[0]["state"] == "gone"


def test_key_of_an_issuer_whose_keys_do_not_come_is_not_retired(tmp_path: Path) -> None:
    """Which one would it be? That there is none of that name would be a guess."""
    with Provider() as provider:
        provider.how = "fail"
        settings = {"ISSUER": provider.issuer, "JWKS_HTTP": "1", "STORE": f"sqlite:///{tmp_path}/store.db"}
        said = complaint("retire", provider.kid, **settings)
    assert "have not come" in said and "status is 500" in said


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """URL of a server."""
    with Server(valkey_binary()) as server:
        yield server.url


@pytest.fixture
def workers(path: Path, store: str) -> Iterator[list[Worker]]:
    """Two, live, on the file."""
    with ExitStack() as stack:
        yield [stack.enter_context(Worker(PRIVATE_KEYS=str(path), STORE=store, SECRET="")) for _ in range(2)]


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


@pytest.mark.server
def test_rotation_logs_nobody_out_and_needs_no_restart(path: Path, workers: list[Worker]) -> None:
    """Tokens under the old key go on, and the next one signs when its time has come, in every worker."""
    tokens = [worker.issue("alice") for worker in workers]
    first, second = keys("rotate", PRIVATE_KEYS=str(path))
    document = json.loads(path.read_text())
    document["keys"][1]["nbf"] = int(time.time()) + 3  # ten minutes are long
    path.write_text(json.dumps(document))
    deadline = time.monotonic() + 20
    for worker in workers:
        while kid_of(token := worker.issue("alice")) != second["kid"]:
            assert kid_of(token) == first["kid"] and time.monotonic() < deadline
            time.sleep(0.1)
        tokens.append(token)
    assert [worker.verdict(token) for worker in workers for token in tokens] == ["admitted"] * 8


@pytest.mark.server
def test_retired_key_is_dead_everywhere_once_the_receipt_is_there(path: Path, store: str, workers: list[Worker]) -> None:
    """Also where a worker remembers its token, and although the file is still the old one there; those of others live on."""
    old = workers[0].issue("alice")
    keys("rotate", PRIVATE_KEYS=str(path))
    document = json.loads(path.read_text())
    document["keys"][1]["nbf"] = int(time.time())
    copy = path.with_name("copy.json")
    copy.write_text(json.dumps(document))
    copy.chmod(0o600)
    with Worker(PRIVATE_KEYS=str(copy), STORE=store, SECRET="") as other:
        new = other.issue("alice")
        everybody = [*workers, other]
        assert [worker.verdict(old) for worker in everybody for _ in range(2)] == ["admitted"] * 6
        receipt = keys("retire", kid_of(old), PRIVATE_KEYS=str(path), STORE=store)
        verdicts = [worker.verdict(old) for worker in everybody]
        assert receipt["effective_everywhere"] and receipt["workers"] == 3
        assert set(verdicts) <= {"revoked", "unknown_key"} and verdicts[2] == "revoked"
        assert other.verdict(new) == "admitted"


@pytest.mark.server
def test_key_that_leaves_the_file_takes_its_remembered_tokens_along(path: Path, workers: list[Worker]) -> None:
    """Without any ruling: whoever edits the file means it."""
    old = workers[0].issue("alice")
    assert [worker.verdict(old) for worker in workers for _ in range(2)] == ["admitted"] * 4
    path.unlink()
    keys("new", PRIVATE_KEYS=str(path))
    deadline = time.monotonic() + 20
    for worker in workers:
        while worker.verdict(old) == "admitted":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert worker.verdict(old) == "unknown_key"


@pytest.mark.server
def test_file_that_cannot_be_used_changes_nothing(path: Path, workers: list[Worker]) -> None:
    """The last good keys stay, and are taken up again."""
    token = workers[0].issue("alice")
    text = path.read_text()
    path.write_text(text[:40])
    time.sleep(2.5)
    assert [worker.verdict(worker.issue("alice")) for worker in workers] == ["admitted"] * 2
    path.write_text(text)
    assert [worker.verdict(token) for worker in workers] == ["admitted"] * 2
