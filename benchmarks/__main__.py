"""``python -m benchmarks [--quick] [--only NAME...] [--json FILE] [--write]``: the one command."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

from benchmarks import valkey
from benchmarks.measuring import Line, Options
from benchmarks.table import as_markdown, as_text

RESULTS = Path(__file__).parent / "results" / "latest.md"

ROWS = {
    "asgi-hit": "hits:asgi_hits",
    "wsgi-hit": "hits:wsgi_hits",
    "metered-hit": "metered:metered_hits",
    "first-seen": "first_seen:first_seen",
    "throughput": "throughput:throughput",
    "propagation": "propagation:uvicorn_workers",
    "propagation-gunicorn": "propagation:gunicorn_workers",
    "wait": "propagation:waiting",
    "retired-keys": "propagation:retired_keys",
    "import": "imports:imports",
    "exchange": "exchanges:exchanges",
    "follower": "following:following",
    "rulings": "memory:rulings",
    "admitted": "memory:admitted",
    "forged": "memory:forged",
    "sessions": "sessions:speed",
    "double-refresh": "races:double_refreshes",
    "rotations": "sessions:rotations",
    "stolen": "sessions:stolen",
    "left-behind": "sessions:left_behind",
    "stores": "stores:stores",
    "console": "console:pages",
    "unknown-kids": "unknown_kids:unknown_kids",
    "live-closing": "live:closings",
    "live-memory": "live:connections",
}


def main() -> None:
    """Exit status 0 unless a benchmark itself fails; a missed bar is only printed."""
    arguments = _arguments()
    lines: list[Line] = []
    failed: list[str] = []
    with valkey.running() as url:
        options = Options(is_quick=arguments.quick, url=url)
        for name in arguments.only or ROWS:
            began = time.monotonic()
            module, _, function = ROWS[name].partition(":")
            try:
                lines += getattr(import_module(f"benchmarks.{module}"), function)(options)
            except Exception:
                failed.append(name)
                traceback.print_exc()
            print(f"--- {name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    print(as_text(lines))
    if arguments.json:
        shapes = [{"row": line.row, "bar": line.bar, "is_met": line.is_met, "values": line.values} for line in lines]
        Path(arguments.json).write_text(json.dumps(shapes, indent=2) + "\n", encoding="utf-8")
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(as_markdown(lines, _command(), _place()), encoding="utf-8")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, shorter runs")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="NAME", help=f"of: {', '.join(ROWS)}")
    parser.add_argument("--json", metavar="FILE", help="write the bare numbers")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.relative_to(Path(__file__).parents[1])}")
    return parser.parse_args()


def _command() -> str:
    return " ".join(["python -m benchmarks", *sys.argv[1:]])


def _place() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
