"""What an SQL store's steps cost, beside what the same database takes for the least that one could ask of it.

The bare question is ``SELECT 1``, the bare transaction one UPDATE of one row with its COMMIT, both by the same driver over one
connection. PostgreSQL and MariaDB are measured where they are installed, started by the tests' own module.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text

from benchmarks.measuring import Line, Options, in_turns, median, ratio
from jwtgate.core.history import Watch, Worker
from jwtgate.core.rulings import Change
from jwtgate.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jwtgate.stores import Store

__all__ = ["stores"]

HANDLES = 4
"""Of a usual token: jti, sid, sub, client_id."""

STEPS = {"look_up": "SELECT 1", "renew": "SELECT 1", "write": "a bare transaction"}
"""Each step and what it is compared with."""


def stores(options: Options) -> list[Line]:
    """Median of a look-up of four handles, of a renewal and of a revocation, per store."""
    lines: list[Line] = []
    for name, url, stack in _databases():
        with stack:
            lines += _measured(name, url, options)
    return lines


def _databases() -> Iterator[tuple[str, str, ExitStack]]:
    """Name, URL, and what ends it."""
    stack = ExitStack()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    yield "SQLite", f"sqlite:///{folder}/store.db", stack
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from databases import DATABASES

    for kind in DATABASES.values():
        if kind.missing() is not None:
            print(f"NOT MEASURED: {kind.name} is not installed", file=sys.stderr)
            continue
        stack = ExitStack()
        yield kind.name, stack.enter_context(kind()).url, stack


def _measured(name: str, url: str, options: Options) -> Iterator[Line]:
    calls = options.pick(200, 40)
    with closing(open_store(url, prefix="bench", watch=Watch(1.0, 1.0))) as store, ExitStack() as stack:
        candidates = {**_bare(url, stack), **_steps(store, stack)}
        samples = in_turns({each: _sampled(call, calls) for each, call in candidates.items()}, options.pick(9, 3))
    for step, base in STEPS.items():
        times = ratio(samples[step], samples[base])
        yield Line(
            f"{name} {step}",
            f"p50 {median(samples[step]) * 1000:.2f} ms",
            f"{base} {median(samples[base]) * 1000:.2f} ms",
            f"{times:.1f}",
            "",
            None,
            {"ms": median(samples[step]) * 1000, "base_ms": median(samples[base]) * 1000, "ratio": times},
        )


def _sampled(call: Callable[[], object], calls: int) -> Callable[[], float]:
    """The median of so many calls in a row, seconds."""

    def sample() -> float:
        taken = []
        for _ in range(calls):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
        return median(taken)

    return sample


def _bare(url: str, stack: ExitStack) -> dict[str, Callable[[], object]]:
    engine = create_engine(url)
    stack.callback(engine.dispose)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE bare (id INTEGER PRIMARY KEY, n INTEGER)"))
        connection.execute(text("INSERT INTO bare VALUES (1, 0)"))
    driver = stack.enter_context(engine.connect()).connection.cursor()

    def ask() -> None:
        driver.execute("SELECT 1")
        driver.fetchall()

    def write() -> None:
        driver.execute("UPDATE bare SET n = n + 1 WHERE id = 1")
        driver.connection.commit()

    if url.startswith("sqlite"):
        driver.execute("PRAGMA synchronous=FULL")
    return {"SELECT 1": ask, "a bare transaction": write}


def _steps(store: Store, stack: ExitStack) -> dict[str, Callable[[], object]]:
    digests = [os.urandom(16) for _ in range(HANDLES)]
    epoch = store.look_up(digests).epoch.name
    feed = stack.enter_context(closing(store.feed()))
    beats = count()
    return {
        "look_up": lambda: store.look_up(digests),
        "renew": lambda: feed.renew(Worker("bench", 1.0, 0, next(beats), is_healing=False), epoch),
        "write": lambda: store.write([Change(os.urandom(16), revoked=True, until=time.time() + 900)], time.time()),
    }
