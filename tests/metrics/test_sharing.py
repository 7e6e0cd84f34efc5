"""Numbers of several processes in one folder: none is lost, none counted twice, whoever ends, hangs, forks or is killed."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from beside import together
from keymaking import SECRET
from processes.world import python_path
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from jwtgate import testing
from jwtgate.metrics import sharing
from jwtgate.metrics.prometheus import GateCollector
from jwtgate.metrics.sharing import SILENT_SECONDS, Sharing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jwtgate.metrics.numbers import Numbers


class Process:
    """Stands for one: its own file, its own numbers."""

    def __init__(self, folder: Path, hits: float = 0.0, prefix: str = "jwtgate") -> None:
        self.hits = hits
        self.sharing = Sharing(folder, [prefix], self.read)

    def read(self) -> Numbers:
        return {
            "jwtgate_cache_hits": {(): [self.hits]},
            "jwtgate_view_age_seconds": {(): [0.5]},
            "jwtgate_view_live": {(): [1.0]},
            "jwtgate_gates": {(): [1.0]},
        }

    def told(self, name: str = "cache_hits") -> list[float]:
        """By a scrape that reaches this one: of each process that has it."""
        found = [numbers.get(f"jwtgate_{name}", {}) for numbers in self.sharing.read_all()]
        return [value for values in found for (value,) in values.values()]

    def end(self) -> None:
        """As a process ends, however it does: its locks are gone."""
        self.sharing.let_go()


def files(folder: Path) -> int:
    """Of processes."""
    return len(list(folder.glob("jwtgate_*.json")))


def test_scrape_of_any_process_tells_all(tmp_path: Path) -> None:
    """Each the same, its own numbers those of now."""
    one, other = Process(tmp_path, 1), Process(tmp_path, 2)
    one.sharing.write()
    other.sharing.write()
    assert sorted(one.told()) == sorted(other.told()) == [1, 2]
    one.hits = 5
    assert sorted(one.told()) == [2, 5]
    assert sorted(other.told()) == [2, 5]


def test_counters_of_the_ended_stay_and_their_gauges_go(tmp_path: Path) -> None:
    """Once, however often it is scraped, and their files are taken away."""
    one, other = Process(tmp_path, 1), Process(tmp_path, 2)
    other.sharing.write()
    other.end()
    for _ in range(3):
        assert sum(one.told()) == 3
        assert one.told("gates") == [1]
    assert files(tmp_path) == 1
    third = Process(tmp_path, 4)
    third.sharing.write()
    third.end()
    assert [sum(one.told()) for _ in range(3)] == [7, 7, 7]


def test_pid_that_comes_again_is_somebody_else(tmp_path: Path) -> None:
    """Locks tell who has ended, not pids: these all have this process's."""
    for hits in (1, 2, 3):
        process = Process(tmp_path, hits)
        process.sharing.write()
        process.end()
    assert sum(Process(tmp_path).told()) == 6


def test_who_dies_between_folding_and_taking_away_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the ended names what was taken in; it is not taken in again."""
    one, other = Process(tmp_path, 1), Process(tmp_path, 2)
    other.sharing.write()
    other.end()
    with monkeypatch.context() as broken:
        broken.setattr(type(tmp_path), "unlink", lambda *_given, **_more: (_ for _ in ()).throw(OSError("killed")))
        assert sum(one.told()) == 3
    assert files(tmp_path) == 2
    assert [sum(one.told()) for _ in range(2)] == [3, 3]


def test_who_read_a_file_before_it_went_counts_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are folded between the reading of the files and that of the ended."""
    one, scraper = Process(tmp_path, 1), Process(tmp_path, 10)
    one.sharing.write()
    scraper.sharing.write()
    ended: list[Process] = []
    for hits in (2, 4):
        ended.append(Process(tmp_path, hits))
        ended[-1].sharing.write()
    whole = scraper.sharing._ended

    def late() -> object:
        for each in ended:
            each.end()
            assert sum(one.told()) == 17
        ended.clear()
        return whole()

    monkeypatch.setattr(scraper.sharing, "_ended", late)
    assert sum(scraper.told()) == 17


def test_nobody_waits_for_the_lock_of_the_ended(tmp_path: Path) -> None:
    """A process that hangs in the middle of it holds up no scrape: others read, and fold another time."""
    one, other = Process(tmp_path, 1), Process(tmp_path, 2)
    other.sharing.write()
    other.end()
    lock = os.open(next(tmp_path.glob("*")).with_name(f"{one.sharing._stem}_lock"), os.O_RDWR | os.O_CREAT)
    sharing.fcntl.flock(lock, sharing.fcntl.LOCK_EX)
    assert sum(one.told()) == 3
    assert files(tmp_path) == 2
    os.close(lock)
    assert sum(one.told()) == 3
    assert files(tmp_path) == 1


def test_file_is_written_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The follower looks often; the folder is spared."""
    now = [1000.0]
    monkeypatch.setattr(sharing, "boot", lambda: now[0])
    process = Process(tmp_path)
    written: list[float] = []
    monkeypatch.setattr(process.sharing, "_read", lambda: written.append(now[0]) or {})
    for _ in range(25):
        process.sharing.look()
        now[0] += 0.25
    assert written == [1000.0 + number for number in range(7)]


def test_process_that_hangs_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its view grows older and is not live any more; within a few seconds it is only late."""
    now = [1000.0]
    monkeypatch.setattr(sharing, "boot", lambda: now[0])
    one, other = Process(tmp_path), Process(tmp_path)
    other.sharing.write()
    now[0] += SILENT_SECONDS
    assert max(one.told("view_age_seconds")) == 0.5
    assert min(one.told("view_live")) == 1.0
    now[0] += 10
    assert max(one.told("view_age_seconds")) == 10.5
    assert min(one.told("view_live")) == 0.0


def test_applications_of_other_prefixes_are_not_mixed_in(tmp_path: Path) -> None:
    """Two may share a folder."""
    one, other = Process(tmp_path, 1), Process(tmp_path, 2, prefix="other")
    other.sharing.write()
    assert one.told() == [1]
    assert other.told() == [2]


def test_half_written_file_is_read_again_and_then_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By length and checksum; no scrape fails for what another process, or a stranger, left there."""
    one, other = Process(tmp_path, 1), Process(tmp_path, 2)
    other.sharing.write()
    (path,) = [each for each in tmp_path.glob("jwtgate_*.json")]
    whole = path.read_bytes()
    for broken in (b"", whole[:30], whole[:-3], b"x" * 50, whole.replace(b"[2]", b"[9]")):
        path.write_bytes(broken)
        assert one.told() == [1]
    path.write_bytes(whole)
    assert sorted(one.told()) == [1, 2]
    assert json.loads(whole.partition(b"\n")[2])["numbers"]["jwtgate_cache_hits"] == [[[], [2]]]


def test_folder_that_cannot_be_written_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Metrics never harm what they measure."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    process = Process(folder, 1)
    folder.rmdir()
    for _ in range(3):
        process.sharing.write()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "metrics cannot be shared in PROMETHEUS_MULTIPROC_DIR"
    ]
    assert process.told() == [1]
    folder.mkdir()
    process.sharing.write()
    assert files(folder) == 1


def open_files(folder: Path) -> int:
    """Those of this process that lie there."""
    found = 0
    for each in os.listdir("/dev/fd"):
        with suppress(OSError):  # the folder's own, closed by now
            found += os.readlink(f"/dev/fd/{each}").startswith(str(folder))
    return found


def test_file_that_cannot_get_its_name_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again a second later: each try must leave nothing open."""
    process = Process(tmp_path)
    opened = open_files(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(sharing.os, "rename", lambda *_: (_ for _ in ()).throw(OSError("no")))
        for _ in range(3):
            process.sharing.write()
    assert open_files(tmp_path) == opened
    assert list(tmp_path.iterdir()) == []
    process.sharing.write()
    assert files(tmp_path) == 1


def test_file_that_goes_while_it_is_looked_at_is_somebody_elses_to_count(tmp_path: Path, monkeypatch: Any) -> None:
    """Another scrape has taken it in meanwhile: it is counted by what was read of it, once."""
    one, other = Process(tmp_path, 1), Process(tmp_path, 2)
    other.sharing.write()
    other.end()
    ended = one.sharing._ended

    def late() -> object:
        before = ended()
        assert sum(Process(tmp_path, 0).told()) == 3
        return before

    monkeypatch.setattr(one.sharing, "_ended", late)
    assert sum(one.told()) == 3
    monkeypatch.undo()
    assert sum(one.told()) == 3


def test_threads_scrape_and_write_at_once(tmp_path: Path) -> None:
    """Every scrape is whole: each process's hits are a thousand."""
    processes = [Process(tmp_path, 1000) for _ in range(3)]
    for process in processes:
        process.sharing.write()
    wrong: list[float] = []

    def work(process: Process) -> None:
        for _ in range(30):
            process.sharing.write()
            told = sum(process.told())
            if told != 3000:
                wrong.append(told)

    together(*[partial(work, each) for each in processes])
    assert wrong == []


def test_whatever_fails_in_reading_disturbs_no_follower(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes the file between two renewals of its lease."""
    process = Process(tmp_path)
    monkeypatch.setattr(process.sharing, "_read", lambda: {}["nothing"])
    process.sharing.look()
    process.sharing.write()
    assert [record.message for record in caplog.records] == ["metrics cannot be shared"]


def test_metrics_of_prometheus_client_stand_beside(tmp_path: Path) -> None:
    """In one folder and one registry, as its documentation has it."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(tmp_path))
    process = Process(tmp_path, 1)
    process.sharing.write()
    assert generate_latest(registry) == b""
    assert process.told() == [1]


# --- with gates


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where workers meet."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    return tmp_path


def test_follower_of_a_gate_writes_its_file(folder: Path) -> None:
    """Nobody has to scrape this process; once it follows no more its view is told of no more."""
    with testing.gate(secret=SECRET) as gate:
        collector = GateCollector(gate)
        assert files(folder) == 0
        gate.clock.advance(1.0)
        assert files(folder) == 1
        gate.verify(gate.issue("alice"))
        gate.close()
        (path,) = folder.glob("jwtgate_*.json")
        told = json.loads(path.read_bytes().partition(b"\n")[2])["numbers"]
    assert told["jwtgate_cache_misses"] == [[[], [1.0]]]
    assert told["jwtgate_view_live"] == []
    assert collector is not None


def test_collectors_of_one_gate_share_its_file(folder: Path) -> None:
    """Some make a registry for each scrape: the process is one worker all the same."""
    with testing.gate(secret=SECRET) as gate:
        gate.verify(gate.issue("alice"))
        for _ in range(3):
            registry = CollectorRegistry()
            registry.register(GateCollector(gate))
            assert b"\njwtgate_gates 1.0\n" in generate_latest(registry)
            assert b"\njwtgate_cache_misses_total 1.0\n" in generate_latest(registry)
        assert len(gate.onlookers.chores) == 1
    assert files(folder) == 1


def test_forked_child_tells_its_own_and_leaves_its_parents(folder: Path) -> None:
    """The child counts from nothing in a file of its own; what it counted stays when it has ended."""
    command = [sys.executable, "-W", "error", "-m", "metrics.forked"]
    ended = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": python_path()}, capture_output=True, text=True, check=False
    )
    assert ended.stdout.splitlines() == ["jwtgate_cache_misses_total 4.0,jwtgate_gates 1.0", "2 1"], ended.stderr


def test_scrape_that_is_dropped_leaves_no_open_file(folder: Path) -> None:
    """A collector that goes, in a test or a reload, counts as one that has ended."""
    one, other = Process(folder, 1), Process(folder, 2)
    other.sharing.write()
    del other
    gc.collect()
    assert sum(one.told()) == 3
    assert files(folder) == 1


def told_with(folder: Path, name: str, plant: Callable[[Path], object]) -> list[float]:
    """By a scrape of a process that has counted three, beside a file that somebody else has put there."""
    process = Process(folder, 3)
    process.told()
    (own,) = folder.glob("jwtgate_*.json")
    plant(folder / f"{own.name[:16]}_{name}")
    return process.told()


def huge(path: Path) -> None:
    """Of a terabyte, none of which is there."""
    path.touch()
    os.truncate(path, 2**40)


STRANGE = {
    "a list": [],
    "no numbers": {},
    "words for numbers": {"numbers": {"jwtgate_cache_hits": [[[], ["many"]]]}},
    "labels too many": {"numbers": {"jwtgate_cache_hits": [[[{}], [1.0]]]}},
    "no time": {"numbers": {}, "taken_at": []},
}


@pytest.mark.parametrize("name", ["1_other.json", "ended"])
@pytest.mark.parametrize("shape", STRANGE.values(), ids=STRANGE)
def test_file_of_a_stranger_breaks_no_scrape(tmp_path: Path, name: str, shape: Any) -> None:
    """However well it is made: what is not as ours is not read."""
    assert told_with(tmp_path, name, lambda path: path.write_bytes(sharing._packed(shape))) == [3]


@pytest.mark.parametrize("name", ["1_other.json", "ended"])
@pytest.mark.parametrize(
    "plant",
    [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"), huge],
)
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, name: str, plant: Callable[[Path], object]) -> None:
    """A pipe would be waited for, a device or a huge file read without end."""
    assert told_with(tmp_path, name, plant) == [3]


def test_lock_that_is_a_link_makes_no_file_elsewhere(tmp_path: Path) -> None:
    """Whoever may write in the folder writes nowhere else by it."""
    one, other = Process(tmp_path, 1), Process(tmp_path, 2)
    other.sharing.write()
    (path,) = other.sharing._own
    (tmp_path / f"{path.name[:16]}_lock").symlink_to(tmp_path / "elsewhere")
    other.end()
    assert sorted(one.told()) == [1, 2]
    assert not (tmp_path / "elsewhere").exists()


def test_full_disk_leaves_what_was_told(tmp_path: Path) -> None:
    """Half of the new numbers over the old ones would be none: another worker's scrape would count less than before."""
    one, other = Process(tmp_path, 1), Process(tmp_path, 2)
    other.sharing.write()
    other.hits = 1e300

    def only_ten_bytes_more(file: int, text: bytes, offset: int) -> int:
        return write(file, text[: max(0, size + 10 - offset)], offset)

    (path,), write = other.sharing._own, os.pwrite
    size = path.stat().st_size
    other.sharing._read = lambda: {**other.read(), "jwtgate_store_call_seconds": {("write",): [1e300] * 15}}
    with patch.object(os, "pwrite", only_ten_bytes_more):
        other.sharing.write()
    assert sorted(one.told()) == [1, 2]
    other.sharing.write()
    assert sorted(one.told()) == [1, 1e300]


def test_full_disk_leaves_no_draft(tmp_path: Path) -> None:
    """Else each scrape would leave one more; what the ended counted stays in their files."""
    one, other = Process(tmp_path, 1), Process(tmp_path, 2)
    other.sharing.write()
    other.end()
    with patch("pathlib.Path.replace", side_effect=OSError):
        assert sorted(one.told()) == [1, 2]
    assert not list(tmp_path.glob(".jwtgate_*"))
    assert sorted(one.told()) == [1, 2]
