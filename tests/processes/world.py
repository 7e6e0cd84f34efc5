"""Starts worker and revoker processes on one store, and turns what they wrote down into histories for the checker."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from processes.checker import VERDICTS, Absence, Decision, Findings, Revocation, check, check_once
from processes.proving import shown_in
from processes.revoker import TOLD
from processes.worker import IDLE, RECORD

import jwtgate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

SECRET = "a secret of at least thirty-two bytes"
START_SECONDS = 30.0
RECOVERY_SECONDS = 15.0
DOUBT_SECONDS = 62.0
"""After history was lost twice, positions no longer tell which of two epochs was earlier, and a token that was issued less than
MAX_SKEW_SECONDS after a cut-off is refused, lest a clock that ran ahead save an older one."""

LATE_SECONDS = 5.0
"""A write whose call failed may still be carried out when a stopped server goes on; none of the faults lasts longer."""


def python_path() -> str:
    """Where child processes find the package and these modules, installed or not."""
    parts = [str(Path(jwtgate.__file__).parents[1]), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.pathsep.join(part for part in parts if part)


def child(
    module: str, *arguments: str, stderr: Any = None, environment: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A Python process of ours."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": python_path(), **(environment or {})},
    )


def ended(process: subprocess.Popen[Any], seconds: float = 40.0) -> int:
    """Waits for a child; one that hangs is killed and fails the test."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"process {process.args!r} did not end in {seconds} s") from None


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Polls; fails with ``what`` once the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class World:
    """Worker and revoker processes around a folder of plain files."""

    def __init__(
        self,
        *,
        lease: float,
        rate: float,
        workers: dict[str, Any] | None = None,
        revokers: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        """Args:
        rate: revocations a second of all revokers together.
        workers, revokers: more of the configuration of each.
        settings: more of ``jwtgate.Settings``.
        """
        self.of_workers, self.of_revokers = workers or {}, revokers or {}
        self.folder = Path(tempfile.mkdtemp(prefix="jwtgate-world-"))
        self.lease = lease
        self.rate = rate
        self.reach = lease + (settings.get("grace", 30.0) if settings.get("on_store_down") == "cached" else 0.0)
        self.settings = {
            "secret": SECRET,
            "lease": lease,
            "handles": ["tenant"],
            "version_claim": "ver",
            **settings,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.sweeps = 0
        self._marks: dict[str, int] = {}
        (self.folder / "tokens").touch()

    def start_worker(self, name: str, face: str, url: str, **more: Any) -> None:
        """Args: face: asgi or wsgi."""
        self._start("processes.worker", name, url, face=face, **{**self.of_workers, **more})

    def start_revokers(self, count: int, url: str) -> None:
        """They wait for ``go``."""
        for index in range(count):
            self.start_revoker(f"revoker-{index}", url, self.rate / count)

    def start_revoker(self, name: str, url: str, rate: float) -> None:
        """Its name begins with ``revoker``; it waits for ``go``."""
        self._start("processes.revoker", name, url, rate=rate, **self.of_revokers)

    def _start(self, module: str, name: str, url: str, **more: Any) -> None:
        settings = {**self.settings, "store": url}
        configuration = {"name": name, "folder": str(self.folder), "settings": settings, **more}
        with (self.folder / f"{name}.stderr").open("ab") as stderr:
            self.processes[name] = child(module, json.dumps(configuration), stderr=stderr)

    def go(self) -> None:
        """Once all are live, the revokers begin."""
        self.wait_live(0.0, START_SECONDS)
        (self.folder / "go").touch()

    def status(self, name: str) -> dict[str, Any]:
        """The last thing a process said of itself."""
        path = self.folder / f"{name}.status"
        lines = _tail(path).rpartition(b"\n")[0].splitlines() if path.exists() else []
        return json.loads(lines[-1]) if lines else {"at": 0.0, "live": False, "store": "", "swept": 0}  # type: ignore[no-any-return]

    def statuses(self) -> dict[str, list[dict[str, Any]]]:
        """Everything that each process said of itself."""
        return {path.stem: list(self._lines(path.name)) for path in self.folder.glob("*.status")}

    def wait_live(self, since: float, seconds: float = RECOVERY_SECONDS) -> None:
        """Until every process has said, after ``since``, that it is live."""
        for name, process in self.processes.items():

            def is_live(name: str = name, process: subprocess.Popen[bytes] = process) -> bool:
                assert process.poll() is None, f"{name} ended with {process.returncode}: {self.stderr(name)}"
                status = self.status(name)
                return bool(status["live"] and status["at"] > since)

            wait_until(is_live, seconds, f"{name} is live again; it says {self.status(name)}; {self.stderr(name)}")

    def stderr(self, name: str) -> str:
        """The end of what it logged."""
        return (self.folder / f"{name}.stderr").read_text(errors="replace")[-2000:]

    def sweep(self) -> None:
        """Has every worker decide the latest tokens, and many of the others, once more."""
        self.sweeps += 1
        partial = self.folder / "sweep.new"
        partial.write_text(str(self.sweeps))
        partial.rename(self.folder / "sweep")
        for name in [name for name in self.processes if not name.startswith("revoker")]:
            wait_until(lambda name=name: self.status(name)["swept"] >= self.sweeps, 30.0, f"{name} has swept")  # type: ignore[misc]

    def signal(self, name: str, number: signal.Signals) -> None:
        """To one of its own processes."""
        process = self.processes[name]
        assert process.poll() is None
        os.kill(process.pid, number)

    def kill(self, name: str) -> None:
        """SIGKILL; it is no longer one of the processes."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def step_wall(self, name: str, seconds: float) -> None:
        """Sets a worker's wall clock, and its children's: so many seconds off."""
        partial = self.folder / f"{name}.wall.new"
        partial.write_text(str(seconds))
        partial.rename(self.folder / f"{name}.wall")

    def stop(self) -> None:
        """An orderly end of all; each must end with status 0."""
        (self.folder / "stop").touch()
        codes = {name: ended(process, 20.0) for name, process in self.processes.items()}
        assert set(codes.values()) <= {0}, {name: (code, self.stderr(name)) for name, code in codes.items() if code}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- what they wrote down

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        for line in (self.folder / name).read_bytes().rpartition(b"\n")[0].splitlines():
            yield json.loads(line)

    def tokens(self) -> list[dict[str, Any]]:
        """In the order of their numbers."""
        return list(self._lines("tokens"))

    def mark(self) -> float:
        """From now on ``decisions`` tells only what comes after; returns the time."""
        now = time.monotonic()
        for path in self.folder.glob("*.history"):
            size = path.stat().st_size
            self._marks[path.name] = size - size % RECORD.size
        return now

    def decisions(self, since: float = 0.0) -> list[Decision]:
        """Of all workers. The histories are read before the tokens and the calls, so that these know all of them."""
        histories = {}
        for path in self.folder.glob("*.history"):
            with path.open("rb") as file:
                file.seek(self._marks.get(path.name, 0))
                histories[path.stem] = file.read()
        names = [token["id"] for token in self.tokens()]
        decisions = []
        for process, text in histories.items():
            for start, end, number, verdict in RECORD.iter_unpack(text[: len(text) - len(text) % RECORD.size]):
                if start >= since:
                    decisions.append(Decision(start, end, names[number], VERDICTS[verdict], process))
        return sorted(decisions, key=lambda decision: decision.start)

    def absences(self) -> dict[str, list[Absence]]:
        """When each worker was late to run: what it did not compute meanwhile it was not running for."""
        return {
            path.stem: [
                Absence(wakes, woke, max(0.0, woke - wakes - spent)) for wakes, woke, spent in IDLE.iter_unpack(_whole(path))
            ]
            for path in self.folder.glob("*.idle")
        }

    def calls(self) -> list[dict[str, Any]]:
        """Every call of a revoker: what it asked, and what it was told once it returned."""
        calls: list[dict[str, Any]] = []
        for path in self.folder.glob("*.rulings"):
            by_number: dict[int, dict[str, Any]] = {}
            for line in self._lines(path.name):
                by_number.setdefault(line["number"], {"by": path.stem}).update(line)
            calls += by_number.values()
        return calls

    def revocations(self, *, loses_history: bool, troubled: Sequence[tuple[float, float]] = ()) -> list[Revocation]:
        """Args:
        loses_history: after lost history the second of a cut-off is ambiguous, and is refused.
        troubled: from when to when some process could not hear of a lift: what it knows goes on refusing (R1).
        """
        ledger = _Ledger(self.tokens(), loses_history=loses_history, reach=self.reach, troubled=troubled)
        calls = self.calls()
        lifting = {(call["by"], call["lifts"]): call for call in calls if call["kind"] == "reinstate"}
        return [
            ledger.revocation(call, lifting.get((call["by"], call["number"]))) for call in calls if call["kind"] != "reinstate"
        ]

    def refused_refreshes(self, since: float = 0.0, *, loses_history: bool = False) -> list[str]:
        """Of sessions that nobody ended: no token of theirs was revoked by then."""
        late = DOUBT_SECONDS if loses_history else LATE_SECONDS
        calls = self.calls()
        ends = {call["value"]: call["began"] for call in calls if call["kind"] == "session"}
        cuts = [(call["began"], call.get("returned", inf) + late) for call in calls if call["kind"] == "everything"]
        return [
            f"(e) refresh refused of a live session: {line}"
            for path in self.folder.glob("*.refreshes")
            for line in self._lines(path.name)
            if since <= line["ended"] < ends.get(line["sid"], inf)
            and not any(began < line["ended"] and line["since"] < returned for began, returned in cuts)
        ]

    def check(
        self,
        *,
        since: float = 0.0,
        loses_history: bool = False,
        troubled: Sequence[tuple[float, float]] = (),
        patience: float = inf,
    ) -> Findings:
        """All decisions from ``since`` on, against every revocation there was; arguments as of ``revocations`` and ``check``."""
        decisions = self.decisions(since)  # first: see there
        revocations = self.revocations(loses_history=loses_history, troubled=troubled)
        found = check(decisions, revocations, patience=patience, absences=self.absences())
        found.violations += self.refused_refreshes(since, loses_history=loses_history)
        check_once(found, shown_in(self.folder), since=since, patience=patience, absences=self.absences())
        return found


def _tail(path: Path, size: int = 4096) -> bytes:
    """The end of a file that may be long."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read()


def _whole(path: Path) -> bytes:
    """Records, without one that is being written."""
    text = path.read_bytes()
    return text[: len(text) - len(text) % IDLE.size]


class _Ledger:
    """Which tokens a call was about: by their handles and by when they were issued."""

    def __init__(
        self, tokens: Iterable[dict[str, Any]], *, loses_history: bool, reach: float, troubled: Sequence[tuple[float, float]]
    ) -> None:
        self.reach = reach
        self.troubled = troubled
        self.loses_history = loses_history
        self.tokens = list(tokens)
        self.by_handle: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for token in self.tokens:
            for kind, value in (*token["handles"].items(), ("token", token["id"])):
                self.by_handle.setdefault((kind, value), []).append(token)

    def revocation(self, call: dict[str, Any], lift: dict[str, Any] | None) -> Revocation:
        """A call that was never answered promises nothing and may have been carried out."""
        killed, touched, doubtful = set(), set(), set()
        until = call.get("returned", inf) if "at" in call else call.get("returned", inf) + LATE_SECONDS
        for token in self._about(call):
            if call["kind"] in TOLD:  # by its time alone, whatever becomes of the history: nothing is ambiguous
                killed |= {token["id"]} if token["iat"] <= call["cut_at"] else set()
            elif self._is_before(call, token):
                killed.add(token["id"])
            elif token["began"] <= until or self._is_ambiguous(call, token):
                touched.add(token["id"])
            elif self.loses_history and token["began"] <= until + DOUBT_SECONDS:
                doubtful.add(token["id"])
        return Revocation(
            began=call["began"],
            killed=frozenset(killed),
            touched=frozenset(touched),
            doubtful=frozenset(doubtful),
            dead_from=_holds_from(call, self.reach),
            returned=call["returned"] if "at" in call else None,
            is_everywhere=bool(call.get("everywhere")),
            lifted_from=inf if lift is None else lift["began"],
            lifted_until=self._lifted_until(lift),
            name=f"{call['by']}:{call['number']}:{call['kind']}",
        )

    def _lifted_until(self, lift: dict[str, Any] | None) -> float:
        """Receipts are about killing: a worker that is cut off goes on refusing what it knows (R1), lifted or not."""
        if lift is None:
            return inf
        heard = _holds_from(lift, self.reach) or inf
        return max([heard, *(until for begin, until in self.troubled if lift["began"] <= until and begin <= heard)])

    def _about(self, call: dict[str, Any]) -> list[dict[str, Any]]:
        kind, value = call["kind"], call["value"]
        if kind == "everything":
            return self.tokens
        if kind in ("suspend", "version", *TOLD):
            named = self.by_handle.get(("sub", value), [])
            return [token for token in named if kind != "version" or token["ver"] < call["version"]]
        return self.by_handle.get(("sid" if kind == "session" else kind, value), [])

    def _is_before(self, call: dict[str, Any], token: dict[str, Any]) -> bool:
        is_cut_off = call["kind"] in ("everything", "sub", "tenant", "client_id")
        return not is_cut_off or token["ended"] <= call["began"]

    def _is_ambiguous(self, call: dict[str, Any], token: dict[str, Any]) -> bool:
        return self.loses_history and "at" in call and token["iat"] <= math.ceil(call["at"])


def _holds_from(call: dict[str, Any], reach: float) -> float | None:
    """On the monotonic clock; the receipt says it on the wall clock, read in the same process at the same time."""
    if call.get("everywhere"):
        return float(call["returned"])
    if "at" not in call:
        return None
    promised = inf if call["effective_by"] is None else call["effective_by"] - call["wall"]
    return float(call["returned"] + min(promised, reach))
