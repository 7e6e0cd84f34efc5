"""Row 8: what an import costs, each time in a fresh process, with compiled files in place, beside ``import jwt, redis``.

``import jwtgate`` leaves its names for later, so what is timed is where ``Gate`` stands.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from benchmarks.measuring import Line, Options, in_turns, median, ratio

__all__ = ["imports"]

BAR = 1.5
PROGRAM = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"
BASE = "jwt, redis"
OURS = ("jwtgate.gate", "jwtgate.asgi")


def imports(options: Options) -> list[Line]:
    """Two imports, one base."""
    samples = in_turns({names: partial(_import, names) for names in (BASE, *OURS)}, options.pick(25, 9))
    base = median(samples[BASE]) * 1000
    return [_line(names, samples[names], samples[BASE], base) for names in OURS]


def _import(names: str) -> float:
    answer = subprocess.run([sys.executable, "-c", PROGRAM.format(names)], capture_output=True, text=True, check=True)
    return float(answer.stdout)


def _line(names: str, samples: list[float], base: list[float], base_milliseconds: float) -> Line:
    times, own = ratio(samples, base), median(samples) * 1000
    return Line(
        f"8 import {names}",
        f"{own:.0f} ms",
        f"import {BASE} {base_milliseconds:.0f} ms",
        f"{times:.2f}",
        f"<= {BAR:g} x import {BASE}",
        times <= BAR,
        {"milliseconds": own, "ratio": times},
    )
