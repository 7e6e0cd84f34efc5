"""Row 10: bytes per ruling in the view, bytes per admitted token, and no growth under forged tokens.

Each is measured in a fresh process. Bytes are what tracemalloc says is still held after a collection; what the process has
grown by in resident memory stands beside it. Forged tokens differ in every claim and signature; they come through the ASGI
shell, and after the first tenth resident memory must stay where it is.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
import tracemalloc
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import peers
from benchmarks.measuring import Line, Options
from benchmarks.requests import scope_with
from benchmarks.tokens import SECRET, forge, mint
from jwtgate import Gate, Settings
from jwtgate.asgi import JWTGateMiddleware
from jwtgate.core.rulings import Change
from jwtgate.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["admitted", "forged", "rulings"]

RULINGS_BAR_BYTES = 250
ADMITTED_BAR_KIB = 2.5
GROWTH_BAR_MIB = 1.0
"""Flat: what an allocator's own unrest amounts to, a byte per forged token."""

LEASE = "3.0"
"""Longer than the default, so that a machine which others starve lapses less; it changes no size."""

ATTEMPTS = 5


def rulings(options: Options) -> list[Line]:
    """Rulings as they come from the store, loaded by a fresh process."""
    count, prefix = options.pick(200_000, 50_000), "memory-rulings"
    with closing(Gate(Settings(secret=SECRET, store=options.url, prefix=prefix, lease=float(LEASE)))) as gate:
        until = time.time() + 3600
        for _ in range(count // 200):
            _write(gate, [Change(os.urandom(16), revoked=True, until=until) for _ in range(200)])
    traced = _child("rulings", options, prefix, count, "trace")
    plain = _child("rulings", options, prefix, count)
    each, resident = traced["traced"] / count, plain["resident"] / count
    return [
        Line(
            f"10 memory, one of {count:,} rulings",
            f"{each:.0f} bytes",
            f"resident {resident:.0f} bytes",
            "",
            f"<= {RULINGS_BAR_BYTES} bytes",
            each <= RULINGS_BAR_BYTES,
            {"bytes": each, "resident bytes": resident},
        )
    ]


def admitted(options: Options) -> list[Line]:
    """Tokens of eight claims, admitted through the ASGI shell."""
    count = options.pick(20_000, 5_000)
    traced = _child("admitted", options, "memory-admitted", count, "trace")
    plain = _child("admitted", options, "memory-admitted", count)
    each, resident = traced["traced"] / count / 1024, plain["resident"] / count / 1024
    return [
        Line(
            f"10 memory, one of {count:,} admitted tokens",
            f"{each:.2f} KiB",
            f"resident {resident:.2f} KiB",
            "",
            f"<= {ADMITTED_BAR_KIB} KiB",
            each <= ADMITTED_BAR_KIB,
            {"KiB": each, "resident KiB": resident},
        )
    ]


def forged(options: Options) -> list[Line]:
    """Distinct tokens with a wrong signature."""
    count = options.pick(1_000_000, 100_000)
    found = _child("forged", options, "memory-forged", count)
    growth = found["resident"] / 2**20
    return [
        Line(
            f"10 memory, {count:,} forged tokens",
            f"{growth:+.2f} MiB; {found['admitted']:+d} admitted; {found['look_ups']} look-ups",
            "",
            "",
            f"flat (<= {GROWTH_BAR_MIB:g} MiB)",
            growth <= GROWTH_BAR_MIB and found["admitted"] == 0,
            {"MiB": growth, **found},
        )
    ]


# --- the parent's side


def _write(gate: Gate, changes: list[Change]) -> None:
    """Once more where it timed out: a ruling that is written twice is one ruling."""
    for attempt in range(ATTEMPTS):
        try:
            gate.store.write(changes, time.time())
        except StoreUnavailable:
            if attempt == ATTEMPTS - 1:
                raise
        else:
            return


def _child(what: str, options: Options, prefix: str, count: int, *flags: str) -> dict[str, Any]:
    surroundings = {
        **os.environ,
        "JWTGATE_SECRET": SECRET,
        "JWTGATE_STORE": options.url,
        "JWTGATE_PREFIX": prefix,
        "JWTGATE_LEASE": LEASE,
    }
    command = [sys.executable, "-m", "benchmarks.memory", what, str(count), *flags]
    answer = subprocess.run(command, capture_output=True, env=surroundings, text=True, check=False)
    if answer.returncode:
        raise AssertionError(answer.stderr)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


# --- the fresh process


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _held(fill: Callable[[], None], *, is_traced: bool) -> dict[str, int]:
    gc.collect()
    if is_traced:
        tracemalloc.start()
    resident = _resident()
    fill()
    gc.collect()
    return {"traced": tracemalloc.get_traced_memory()[0] if is_traced else 0, "resident": _resident() - resident}


def _load_rulings(gate: Gate, count: int, *, is_traced: bool) -> dict[str, int]:
    def fill() -> None:
        gate.ready(60.0)

    found = _held(fill, is_traced=is_traced)
    if gate.status().rulings != count:
        raise AssertionError(f"{gate.status()}")
    return found


def _admit(gate: Gate, count: int, *, is_traced: bool) -> dict[str, int]:
    gate.ready(20.0)
    scopes = [scope_with(token) for token in mint("HS256", count, secret=os.environ["JWTGATE_SECRET"])]

    def fill() -> None:
        """Again where the lease had lapsed meanwhile: what was admitted without a live view is not remembered."""
        for _ in range(ATTEMPTS):
            _call_all(gate, scopes, {200})
            if gate.status().admitted == count:
                return

    found = _held(fill, is_traced=is_traced)
    if gate.status().admitted != count:
        raise AssertionError(f"{gate.status()}")
    return found


def _forge(gate: Gate, count: int) -> dict[str, int]:
    gate.ready(20.0)
    _call_all(gate, [scope_with(token) for token in mint("HS256", 100, secret=os.environ["JWTGATE_SECRET"])], {200})
    _refuse_all(gate, count // 10)
    before, resident = gate.status(), _resident()
    _refuse_all(gate, count - count // 10)
    after = gate.status()
    return {
        "resident": _resident() - resident,
        "admitted": after.admitted - before.admitted,
        "look_ups": after.look_ups - before.look_ups,
    }


def _refuse_all(gate: Gate, count: int) -> None:
    """A thousand at a time. 503 is a refusal, too: the view was not live and the store did not answer in time."""
    for _ in range(count // 1000):
        _call_all(gate, [scope_with(token) for token in forge(1000)], {401, 503})


def _call_all(gate: Gate, scopes: list[dict[str, Any]], statuses: set[int]) -> None:
    app = JWTGateMiddleware(peers.bare_asgi, gate=gate)

    async def send(message: dict[str, Any]) -> None:
        if "status" in message and message["status"] not in statuses:
            raise AssertionError(f"answered {message['status']} instead of {statuses}")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def call_all() -> None:
        for scope in scopes:
            await app(scope, receive, send)

    asyncio.run(call_all())


def _main(what: str, count: int, *, is_traced: bool) -> None:
    with closing(Gate.from_env()) as gate:
        if what == "rulings":
            found = _load_rulings(gate, count, is_traced=is_traced)
        elif what == "admitted":
            found = _admit(gate, count, is_traced=is_traced)
        else:
            found = _forge(gate, count)
    print(json.dumps(found))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), is_traced="trace" in sys.argv)
