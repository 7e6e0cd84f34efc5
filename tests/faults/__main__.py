"""``python tests/faults``: the long run, in parts, side by side, resumable; and the report made of what it found.

Each run is one line of the results file; what stands there is not run again. The report is made of all lines, however many
calls it took to write them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from subprocess import DEVNULL, PIPE
from subprocess import run as run_process
from threading import Lock, Thread

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
sys.path[:] = [folder for folder in sys.path if folder != str(Path(__file__).parent)]

from faults.cached import measure as measure_cached
from faults.healing import measure as measure_healing
from faults.report import REPORT, again, write
from faults.run import FAULTS, MIX, run, why_not
from faults.stores import STORES

RESULTS = Path(tempfile.gettempdir()) / "jwtgate-faults.jsonl"
LONG = {"seeds": 10, "seconds": 60.0, "jobs": 4}
ONCE_SECONDS = 10.0
SHORT = {"seeds": 1, "seconds": 15.0, "jobs": 2}
"""Four runs take two cores of 2026 nearly whole; on a machine that does something else, fewer."""

RUN_SECONDS = 300.0
"""Of a minute's run; one that hangs is itself a finding."""

Task = tuple[str, str, int, float]

LONG_FAULTS = (
    "worker paused",
    "worker killed",
    "wall clock stepped",
    "partition of some workers",
    "one-way cut, answers",
    "server paused",
    "killed, restarted with its data",
    "killed, restarted empty",
    "restored from a backup",
    "failover, master killed",
    "failover, demoted master answers",
    MIX,
)
"""What runs for a minute per seed; every other fault, and every store that these seeds did not meet, runs once and shorter."""


def tasks(options: argparse.Namespace) -> list[Task]:
    """What is asked for, each at most once: seeds of a fault go round the stores that it applies to."""
    planned: list[Task] = []
    stores = {name: store for name in options.stores if (store := STORES[name]()) is not None}
    for fault in options.faults:
        apt = [name for name, store in stores.items() if why_not(store, fault) is None]
        if not options.long:
            planned += [(name, fault, seed, options.seconds) for name in apt for seed in range(1, options.seeds + 1)]
            continue
        is_long = fault in LONG_FAULTS
        met = [name for _, name in zip(range(options.seeds if is_long else 0), cycle(apt), strict=False)] if apt else []
        planned += [(name, fault, seed, options.seconds) for seed, name in enumerate(met, 1)]
        planned += [(name, fault, 1, ONCE_SECONDS) for name in apt if name not in met]
    for store in stores.values():
        store.close()
    if options.seed is not None:
        planned = list(dict.fromkeys((name, fault, options.seed, seconds) for name, fault, _, seconds in planned))
    return sorted(planned, key=lambda task: (-task[3], task[2]))


def perform(task: Task, out: Path, lock: Lock) -> None:
    """In a process of its own: a run has threads, proxies and clients."""
    command = [sys.executable, __file__, "--one", json.dumps(task)]
    done = run_process(command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, text=True, timeout=RUN_SECONDS, check=False)
    with lock:
        if done.returncode:
            print(f"{task}: FAILED TO RUN\n{done.stderr[-3000:]}", flush=True)
            return
        row = json.loads(done.stdout.splitlines()[-1])
        with out.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        worst = max((each["recovered"] or 0.0 for each in row["injections"]), default=0.0)
        print(
            f"{row['store']:12} {row['fault']:34} seed {row['seed']:2} {row['per_second']:6.0f}/s {row['revocations']:5} revocations "
            f"({row['told']} told) {row['proofs']} proofs, {row['shown_again']} shown again, "
            f"slowest {row['slowest']:.3f} s, recovered in {worst:.2f} s, {row['violation_count']} violations",
            flush=True,
        )
        for text in row["violations"][:3]:
            print(f"    {text[:300]}", flush=True)


def rows(out: Path) -> list[dict[str, object]]:
    """What the results file holds."""
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python tests/faults", description=__doc__)
    parser.add_argument("--long", action="store_true", help="10 seeds of 60 s of the main faults, the others once per store")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES), metavar="STORE", help=", ".join(STORES))
    names = [*FAULTS, MIX]
    parser.add_argument("--faults", nargs="+", choices=names, default=names, metavar="FAULT", help=", ".join(names))
    parser.add_argument("--seeds", type=int, help="seeds 1 to this number, of each fault")
    parser.add_argument("--seed", type=int, help="this one only: replays a run")
    parser.add_argument("--seconds", type=float, help="of each run")
    parser.add_argument("--jobs", type=int, help="runs side by side")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"results file, added to; {RESULTS} by default")
    parser.add_argument("--report", action="store_true", help="only make the report of what is there")
    parser.add_argument(
        "--again", action="store_true", help="only print a section on what is there, for the report that stands"
    )
    parser.add_argument("--plan", action="store_true", help="only say what would be run")
    parser.add_argument("--cached", action="store_true", help="only measure the hot path through a dead store")
    parser.add_argument("--healing", action="store_true", help="only measure how 200,000 rulings are healed by 8 workers")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for name, value in (LONG if options.long else SHORT).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _end_with_parent() -> None:
    """A run whose caller was killed ends in order, with its servers and workers."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=watch, daemon=True).start()


def main() -> int:
    """Exit status 1: something was violated."""
    options = parsed()
    if options.one:
        _end_with_parent()
        print(json.dumps(run(*json.loads(options.one)).shape()))
        return 0
    for is_wanted, measure in ((options.cached, measure_cached), (options.healing, measure_healing)):
        if is_wanted:
            row = measure()
            with options.out.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            print(json.dumps(row, indent=2))
            return 0
    if options.again:
        print(again(rows(options.out)))
        return 0
    if not options.report:
        known = {(row.get("store"), row.get("fault"), row.get("seed"), row.get("seconds")) for row in rows(options.out)}
        todo = [task for task in tasks(options) if task not in known or options.seed is not None]
        print(
            f"{len(todo)} runs, {sum(task[3] for task in todo) / 60:.0f} minutes of requests, {options.jobs} side by side",
            flush=True,
        )
        if options.plan:
            print("\n".join(f"{name:12} {fault:34} seed {seed:2} {seconds:.0f} s" for name, fault, seed, seconds in todo))
            return 0
        lock = Lock()
        with ThreadPoolExecutor(options.jobs) as pool:
            list(pool.map(lambda task: perform(task, options.out, lock), todo))
    found = rows(options.out)
    if options.long or options.report:
        arguments = [each for each in sys.argv[1:] if each != "--report"]
        write(found, shlex.join(["python", "tests/faults", *(arguments or ["--long"])]))
        print(f"{REPORT} is written", flush=True)
    return int(any(row.get("violation_count") for row in found))


if __name__ == "__main__":
    sys.exit(main())
