"""Rows 5 to 7, and 16: how long a worker goes on admitting what has been revoked, and how long ``revoke(wait=True)`` takes.

Four workers follow one store on this machine's cores; this process writes 100 rulings a second. Each worker stamps the moment
at which it applied a ruling (``stamps``); this process stamps the moment at which the store's acknowledgement reached it. The
difference, one sample per worker and ruling, is the latency; a negative one, applied before the writer knew, counts as it is.
Under load the writer itself waits for a core, so the time from before the write was sent is given too, as an upper bound.
"""

from __future__ import annotations

import json
import math
import random
import secrets
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from benchmarks.measuring import Line, Options, median, percentile
from benchmarks.serving import gunicorn, loading, serving, uvicorn
from benchmarks.stamps import FOLDER_VARIABLE, read_stamps
from benchmarks.tokens import SECRET, mint
from jwtgate import Gate, Settings
from jwtgate.runtime import blocking

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["Writer", "gunicorn_workers", "retired_keys", "uvicorn_workers", "waiting"]

WORKERS = 4
RULINGS_PER_SECOND = 100
LEASE_SECONDS = 1.0
KEYS = 240
"""To be retired."""

SETTLING_SECONDS = 2.5
"""An epoch is settled, and receipts complete, once a lease has passed; this process's own beat needs no more."""


@dataclass(frozen=True, slots=True)
class Case:
    """One load and its bars, in milliseconds: percentile to the most it may be."""

    name: str
    path: str | None
    bars: dict[int, float]


UVICORN = (
    Case("idle", None, {99: 2.0}),
    Case("saturated", "/", {50: 2.0, 99: 15.0}),
    Case("2 ms handlers", "/burn", {99: 30.0}),
)
GUNICORN = (Case("saturated", "/", {50: 3.0, 99: 40.0}),)


@dataclass(slots=True)
class Writer:
    """Writes rulings at a steady rate and keeps, by position, when each was sent and acknowledged (nanoseconds)."""

    gate: Gate
    times: dict[int, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        write = self.gate.store.write

        def write_and_stamp(*arguments: Any) -> Any:
            sent = time.monotonic_ns()
            written = write(*arguments)
            self.times[written.end.position] = (sent, time.monotonic_ns())
            return written

        self.gate.store.write = write_and_stamp  # type: ignore[method-assign]

    def write_for(self, seconds: float, per_second: int = RULINGS_PER_SECOND) -> None:
        """Revokes tokens. Falls behind rather than bursting if a write takes longer than its turn."""
        turn = time.monotonic()
        for _ in range(int(seconds * per_second)):
            self.gate.revoke(jti=secrets.token_urlsafe(12), expires_at=time.time() + 600)
            turn = max(turn + 1 / per_second, time.monotonic() - 1)
            time.sleep(max(0.0, turn - time.monotonic()))


@contextmanager
def _workers(options: Options, command: list[str], **more: str) -> Iterator[tuple[str, Writer, Path, str]]:
    token, prefix = mint("HS256")[0], f"propagation-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jwtgate-bench-")))
        variables = {FOLDER_VARIABLE: str(folder), "JWTGATE_PREFIX": prefix, **more}
        url = stack.enter_context(serving(command, options.url, token, **variables))
        gate = stack.enter_context(closing(Gate(Settings(secret=SECRET, store=options.url, prefix=prefix))))
        _await_workers(gate)
        yield url, Writer(gate), folder, token


def _await_workers(gate: Gate) -> None:
    """All registered and settled: ``revoke(wait=True)`` is heard by every one."""
    deadline = time.monotonic() + 20
    time.sleep(SETTLING_SECONDS)
    while gate.revoke(jti="nobody", wait=True).workers < WORKERS:
        if time.monotonic() > deadline:
            raise AssertionError("not all workers follow")
        time.sleep(0.2)


def _load(case: Case, url: str, token: str, seconds: int) -> AbstractContextManager[None]:
    return nullcontext() if case.path is None else loading(url + case.path, token, seconds + 30)


def uvicorn_workers(options: Options) -> list[Line]:
    """Row 5."""
    with _workers(options, uvicorn("stamped_asgi", WORKERS)) as running:
        return _cases(f"5 revoked -> refused, {WORKERS} uvicorn", UVICORN, running, options)


def gunicorn_workers(options: Options) -> list[Line]:
    """Row 6."""
    with _workers(options, gunicorn("stamped_flask", WORKERS, threads=4)) as running:
        return _cases(f"6 revoked -> refused, {WORKERS} gunicorn gthread", GUNICORN, running, options)


def _cases(row: str, cases: tuple[Case, ...], running: tuple[str, Writer, Path, str], options: Options) -> list[Line]:
    runs: dict[str, list[tuple[list[float], list[float]]]] = {case.name: [] for case in cases}
    for _ in range(options.pick(3, 1)):
        for case in cases:
            runs[case.name].append(_run(case, running, options.pick(6, 4)))
    return [_line(f"{row}, {case.name}", case, runs[case.name]) for case in cases]


def _run(case: Case, running: tuple[str, Writer, Path, str], seconds: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the acknowledgement, and from before the sending, of every ruling at every worker."""
    url, writer, folder, token = running
    writer.times.clear()
    with _load(case, url, token, seconds):
        writer.write_for(seconds)
        time.sleep(0.5)
    return _samples(writer, folder)


def retired_keys(options: Options) -> list[Line]:
    """Row 16: the workers verify with many keys, and one after the other is retired, with all they remember under it."""
    case = UVICORN[1]
    with tempfile.TemporaryDirectory(prefix="jwtgate-bench-") as name:
        keys = Path(name) / "keys.json"
        keys.write_text(json.dumps({"keys": [_public_key(number) for number in range(KEYS)]}))
        with _workers(options, uvicorn("stamped_asgi", WORKERS), JWTGATE_JWKS_FILE=str(keys)) as (url, writer, folder, token):
            (policy,) = Settings(secret=SECRET, jwks_file=keys).policies.values()
            runs = []
            handles = [key.handle for key in policy.keys.keys if not key.is_own]
            for _ in range(options.pick(3, 1)):
                writer.times.clear()
                with _load(case, url, token, 30):
                    for handle in [handles.pop() for _ in range(KEYS // 4)]:
                        blocking.run(writer.gate.plans.retire((handle,), wait=False), writer.gate.performer)
                        time.sleep(0.05)
                    time.sleep(0.5)
                runs.append(_samples(writer, folder))
    return [_line(f"16 key retired -> refused, {WORKERS} uvicorn, {case.name}", case, runs)]


def _public_key(number: int) -> dict[str, Any]:
    jwk = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True)
    return {**jwk, "kid": f"key-{number}"}


def _samples(writer: Writer, folder: Path) -> tuple[list[float], list[float]]:
    workers = read_stamps(folder)
    if len(workers) != WORKERS:
        raise AssertionError(f"{len(workers)} workers instead of {WORKERS}")
    samples = [(_since(acknowledged, stamps[at]), _since(sent, stamps[at]))
               for at, (sent, acknowledged) in writer.times.items() for stamps in workers]  # fmt: skip
    return [one for one, _ in samples], [other for _, other in samples]


def _since(began: int, applied: int) -> float:
    """Never applied is infinitely late."""
    return (applied - began) / 1e6 if applied else math.inf


def _line(row: str, case: Case, runs: list[tuple[list[float], list[float]]]) -> Line:
    figures = {percent: median(percentile(run, percent) for run, _ in runs) for percent in (50, 99)}
    bounds = {percent: median(percentile(run, percent) for _, run in runs) for percent in (50, 99)}
    slowest = max(max(run) for run, _ in runs)
    return Line(
        row,
        f"p50 {figures[50]:.2f} ms, p99 {figures[99]:.2f} ms, max {slowest:.1f} ms",
        f"from before sending: p50 {bounds[50]:.2f} ms, p99 {bounds[99]:.2f} ms",
        "",
        ", ".join(f"p{percent} <= {bar:g} ms" for percent, bar in case.bars.items()),
        all(figures[percent] <= bar for percent, bar in case.bars.items()),
        {
            "p50": figures[50],
            "p99": figures[99],
            "max": slowest,
            "p50 from sending": bounds[50],
            "p99 from sending": bounds[99],
        },
    )


def waiting(options: Options) -> list[Line]:
    """Row 7: every receipt must say that it is effective everywhere. Where a worker did not answer it is by waiting its lease."""
    case = UVICORN[1]
    with _workers(options, uvicorn("stamped_asgi", WORKERS)) as (url, writer, _, token), _load(case, url, token, 60):
        waited = [_wait(writer.gate) for _ in range(options.pick(300, 100))]
    waits, silent = [taken for taken, _ in waited], sum(workers < WORKERS for _, workers in waited)
    p99, slowest = percentile(waits, 99), max(waits)
    return [
        Line(
            f"7 revoke(wait=True), {WORKERS} uvicorn, {case.name}",
            f"p50 {percentile(waits, 50):.1f} ms, p99 {p99:.1f} ms, max {slowest:.1f} ms",
            f"{silent} of {len(waits)} without every worker's word",
            "",
            f"p99 <= 50 ms, max <= {LEASE_SECONDS:g} s",
            p99 <= 50 and slowest <= LEASE_SECONDS * 1000,
            {"p50": percentile(waits, 50), "p99": p99, "max": slowest, "silent": silent},
        )
    ]


def _wait(gate: Gate) -> tuple[float, int]:
    began = time.monotonic()
    receipt = gate.revoke(jti=secrets.token_urlsafe(12), expires_at=time.time() + 600, wait=True)
    taken = (time.monotonic() - began) * 1000
    if not receipt.effective_everywhere:
        raise AssertionError(f"an incomplete receipt: {receipt}")
    time.sleep(0.02 + random.random() * 0.01)
    return taken, receipt.workers
