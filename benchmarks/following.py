"""Row 9: what the follower costs a process that does nothing else: its CPU time, idle and under 1,000 rulings a second.

Run as a module it is that process: it makes a gate from the environment, says so once it is live, and after so many seconds
prints the share of a core that it used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing

from benchmarks.measuring import Line, Options, median
from benchmarks.propagation import Writer
from benchmarks.tokens import SECRET
from jwtgate import Gate, Settings

__all__ = ["following"]

BARS = {0: 1.0, 1000: 15.0}
PREFIX = "following"


def following(options: Options) -> list[Line]:
    """Rulings a second and the bar, per cent of a core."""
    lines: list[Line] = []
    with closing(Gate(Settings(secret=SECRET, store=options.url, prefix=PREFIX))) as gate:
        for rate, bar in BARS.items():
            share = median(_share(options, Writer(gate), rate) for _ in range(options.pick(3, 1)))
            lines.append(
                Line(
                    f"9 follower, {rate:,} rulings/s",
                    f"{share:.2f} % of a core",
                    "",
                    "",
                    f"<= {bar:g} %",
                    share <= bar,
                    {"percent": share},
                )
            )
    return lines


def _share(options: Options, writer: Writer, rate: int) -> float:
    seconds = options.pick(10, 4)
    surroundings = {**os.environ, "JWTGATE_SECRET": SECRET, "JWTGATE_STORE": options.url, "JWTGATE_PREFIX": PREFIX}
    command = [sys.executable, "-m", "benchmarks.following", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=surroundings, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if rate:
            writer.write_for(seconds, rate)
        return float(process.stdout.readline())


def _follow(seconds: float) -> None:
    with closing(Gate.from_env()) as gate:
        if not gate.ready(10.0):
            raise SystemExit("the view did not become live")
        time.sleep(1.0)
        print("live", flush=True)
        began, used = time.monotonic(), time.process_time()
        time.sleep(seconds)
        print(100 * (time.process_time() - used) / (time.monotonic() - began), flush=True)


if __name__ == "__main__":
    _follow(float(sys.argv[1]))
