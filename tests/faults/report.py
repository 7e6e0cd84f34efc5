"""Makes ``benchmarks/results/faults.md`` of the lines of the results file."""

from __future__ import annotations

import os
import platform
import statistics
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from faults.run import FAULTS, MIX, why_not
from faults.stores import STORES

REPORT = Path(__file__).parents[2] / "benchmarks" / "results" / "faults.md"

HEAD = """\
# Faults

`{command}`, {date}; CPython {python}, {system}, {cores} cores. {versions}.

Per run: one store, four workers (two behind the ASGI shell, two behind the WSGI shell) at {rate:,.0f} requests/s together, two processes
that issue, revoke in every way, log in, refresh and log out. The fault happens again and again, with times, lengths and victims drawn from
the seed; `python tests/faults --stores STORE --faults FAULT --seed N --seconds S` repeats a run. Every request is recorded (start, end, verdict), and so
is every receipt; the checker knows only these histories.

- *times*: that the fault happened; *in part*: and more times, when one of a mix could not, since another had taken the server away for longer than
  it waits. That one loses no history then.
- *after receipt*: from a receipt with `effective_everywhere` to the start of the last request that was admitted with a token it killed, the worst
  of all runs; negative: the last one began before the receipt. *After call*: the same for receipts that promise a time (`effective_by`, one lease
  of {lease:g} s at most).
- *slowest*: the longest request, less what its process did not run for: an idle thread in each worker writes down each time that it woke late, and what the
  process computed meanwhile; the rest of that time it stood still (stopped, or not scheduled). A thread of ours that holds the interpreter is no excuse.
  The bar is twice the store's timeout.
- *recovered*: from the end of the fault until every worker was live, admitted, and went on so for half a second without a 503. The bar is 2 s,
  and {healing:g} s where history may be lost (two leases of watching and their jitter; marked ¹).
- *503 in calm*: answers of 503 while nothing was wrong and all had recovered; no bar, and none is expected.
- *wrongly refused*: 401 for a token that nobody had revoked, or a refresh refused of a session that nobody had ended. *in doubt*: 401 for a
  token that was issued less than a minute after a cut-off of its subject, tenant, client or of everything, after history was lost more than once: positions no longer
  tell which came first, and the gate refuses. *errors*: any answer but 200, 401, 503.
"""

COLUMNS = (
    "fault", "runs", "times", "requests", "revocations", "receipts", "after receipt", "after call", "wrongly refused", "in doubt",
    "errors", "slowest", "recovered: median", "worst", "503 in calm",
)  # fmt: skip


def write(found: list[dict[str, Any]], command: str) -> None:
    """Args: found: lines of the results file. command: what made them."""
    runs = [row for row in found if "fault" in row]
    by_pair: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in runs:
        by_pair[row["store"], row["fault"]].append(row)
    parts = [_head(runs, command), _totals(runs)]
    for name, make in STORES.items():
        if any(store == name for store, _ in by_pair):
            parts.append(_table(name, make(), by_pair))
    parts += [_measured(row) for row in found if "measured" in row]
    parts.append(_violations(runs))
    REPORT.write_text("\n".join(parts))


AGAIN_COLUMNS = ("store", "fault", "runs", "requests", "revocations", "told", "proofs", "shown again", "after receipt", "after call",
    "slowest", "recovered", "503 in calm", "violations")  # fmt: skip


def again(found: list[dict[str, Any]]) -> str:
    """A section for the report that stands, of runs that were made since: one line for each store and fault."""
    runs = [row for row in found if "fault" in row]
    by_pair: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in runs:
        by_pair[row["store"], row["fault"]].append(row)
    lines = [_totals(runs), "| " + " | ".join(AGAIN_COLUMNS) + " |", "|" + "---|" * len(AGAIN_COLUMNS)]
    for (store, fault), rows in by_pair.items():
        total = lambda name, rows=rows: f"{sum(row[name] for row in rows):,}"  # noqa: E731
        recovered = [each["recovered"] for row in rows for each in row["injections"]]
        never = sum(each is None for each in recovered)
        worst = f"{max((each for each in recovered if each is not None), default=0):.2f} s"
        cells = [
            *(store, fault, str(len(rows)), total("requests"), total("revocations")),
            *(total("told"), total("proofs"), total("shown_again")),
            *(_worst(row[name] for row in rows) for name in ("latest_after_receipt", "latest_after_call")),
            f"{max(row['slowest'] for row in rows) * 1000:.0f} ms",
            worst + (f", never {never}" if never else ""),
            *(total("calm_503"), total("violation_count")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join((*lines, "", _violations(runs)))


def _head(runs: list[dict[str, Any]], command: str) -> str:
    versions = ", ".join(sorted({f"{row['store']} {row['version']}" for row in runs}))
    seconds = sum(row["requests"] / row["per_second"] for row in runs if row["per_second"])
    return HEAD.format(
        command=command,
        date=datetime.now(UTC).date(),
        python=platform.python_version(),
        system=platform.system(),
        cores=os.cpu_count(),
        versions=versions,
        rate=sum(row["requests"] for row in runs) / seconds if seconds else 0,
        lease=max((row["lease"] for row in runs), default=1.0),
        healing=2.0 + 2.5 * max((row["lease"] for row in runs), default=1.0),
    )


def _totals(runs: list[dict[str, Any]]) -> str:
    total = lambda name: sum(row[name] for row in runs)  # noqa: E731
    latest = _worst(row["latest_after_receipt"] for row in runs)
    away = max((row["away"] for row in runs), default=0.0)
    return (
        f"**{len(runs)} runs, {len({row['fault'] for row in runs})} faults, {total('requests'):,} requests, {total('revocations'):,} "
        f"revocations acknowledged ({total('everywhere'):,} everywhere; {total('raised'):,} more raised), "
        f"{total('tested_kills'):,} tokens admitted before and shown again after their receipt"
        f"{_used(runs)}. Worst after a receipt: {latest}. "
        f"Violations: {total('violation_count'):,}.** The slowest run had {min((row['per_second'] for row in runs), default=0):,.0f} requests/s. "
        f"The machine let a worker stand still for up to {away * 1000:,.0f} ms without any fault.\n"
    )


def _used(runs: list[dict[str, Any]]) -> str:
    """Of runs that had them."""
    told, proofs, shown = (sum(row.get(name, 0) for row in runs) for name in ("told", "proofs", "shown_again"))
    return (
        f"; {told:,} of the revocations a provider told of; {proofs:,} proofs of possession, shown {shown:,} times more"
        if proofs
        else ""
    )


def _table(name: str, store: Any, by_pair: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    title = name if store is None else store.name
    lines = [f"## {title}\n", "| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    reasons: dict[str, list[str]] = defaultdict(list)
    for fault in (*FAULTS, MIX):
        rows = by_pair.get((name, fault))
        if rows:
            lines.append("| " + " | ".join(_cells(fault, rows)) + " |")
        elif store is not None:
            reasons[why_not(store, fault) or "NOT RUN"].append(fault)
    if store is not None:
        store.close()
    lines += [f"\nNot here, since {reason}: {', '.join(faults)}." for reason, faults in reasons.items()]
    return "\n".join(lines) + "\n"


def _cells(fault: str, rows: list[dict[str, Any]]) -> list[str]:
    injections = [each for row in rows for each in row["injections"]]
    recovered = [each["recovered"] for each in injections if each["recovered"] is not None]
    never = sum(each["recovered"] is None for each in injections)
    left_out = sum(bool(each.get("left_out")) for each in injections)
    count = lambda *letters: sum(text.startswith(letters) for row in rows for text in row["violations"])  # noqa: E731
    mark = "¹" if any(each["loses_history"] for each in injections) else ""
    worst = f"{max(recovered, default=0):.2f} s{mark}" + (f", never {never}" if never else "")
    return [
        fault,
        str(len(rows)),
        f"{len(injections) - left_out}" + (f" (+{left_out} in part)" if left_out else ""),
        f"{sum(row['requests'] for row in rows):,}",
        f"{sum(row['revocations'] for row in rows):,}",
        f"{sum(row['everywhere'] for row in rows):,}",
        _worst(row["latest_after_receipt"] for row in rows),
        _worst(row["latest_after_call"] for row in rows),
        str(count("(e)")),
        str(sum(row["doubtful"] for row in rows)),
        str(count("(c)")),
        f"{max(row['slowest'] for row in rows) * 1000:.0f} ms",
        f"{statistics.median(recovered):.2f} s" if recovered else "-",
        worst,
        str(sum(row["calm_503"] for row in rows)),
    ]


def _worst(values: Any) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known) * 1000:+.1f} ms" if known else "none"


def _measured(row: dict[str, Any]) -> str:
    lines = [f"## {row['measured']}\n", *(f"- {name}: {value}" for name, value in row["results"].items())]
    return "\n".join(lines) + "\n"


def _violations(runs: list[dict[str, Any]]) -> str:
    lines = ["## Violations\n"]
    for row in runs:
        if row["violation_count"]:
            lines.append(
                f"- {row['store']}, {row['fault']}, seed {row['seed']}, {row['seconds']:g} s: {row['violation_count']}"
            )
            lines += [f"  - {text[:300]}" for text in row["violations"][:3]]
    return "\n".join(lines if len(lines) > 1 else [*lines, "None."]) + "\n"
