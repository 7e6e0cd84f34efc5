"""A process that forks with a gate at work, and scrapes what both have counted. Alone: a fork among threads warns."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from keymaking import SECRET
from prometheus_client import CollectorRegistry, generate_latest

from jwtgate import testing
from jwtgate.metrics import sharing
from jwtgate.metrics.prometheus import GateCollector


def main() -> None:
    """Prints what a scrape says of misses and gates, and how many files there are before and after it."""
    registry, folder = CollectorRegistry(), Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    with testing.gate(secret=SECRET) as gate:
        registry.register(GateCollector(gate))
        gate.verify(gate.issue("alice"))
        generate_latest(registry)
        child = os.fork()
        if not child:
            gate.start()
            for number in range(3):
                gate.verify(gate.issue(f"bob-{number}"))
            sharing._write_all()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        before = len(list(folder.glob("*.json")))
        told = generate_latest(registry).decode().splitlines()
    print(*(line for line in told if line.startswith(("jwtgate_cache_misses_total", "jwtgate_gates "))), sep=",")
    print(before, len(list(folder.glob("*.json"))))


if __name__ == "__main__":
    sys.exit(main())
