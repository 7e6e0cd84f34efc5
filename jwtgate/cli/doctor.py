"""``jwtgate doctor``: what would break the promise, and the line that mends it."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from jwtgate.cli.answering import FAILED, answering
from jwtgate.cli.examining import examine
from jwtgate.cli.options import Json
from jwtgate.cli.printing import dump, plain, say

if TYPE_CHECKING:
    from jwtgate.cli.examining import Examination
    from jwtgate.stores.contract import Weakness

__all__ = ["doctor"]

INDENT = " " * 9
STYLES = {"problem": "bold red", "hint": "yellow"}
WIDEST = 100
OF_SERVER = re.compile(r"(CONFIG SET|ACL SETUSER|DEL|HDEL|XDEL) ")
LASTING = re.compile(r"(CONFIG SET|ACL SETUSER) ")


@answering
def doctor(*, as_json: Json = False) -> int:
    """Examine the settings and the live store: whatever would break the promise, and the line that mends it.

    Status 1 if a problem was found; hints alone are advice.
    """
    examination = examine(os.environ)
    if as_json:
        dump([_as_dict(finding) for finding in examination.findings])
    else:
        for finding in examination.findings:
            _tell(finding)
        _sum_up(examination)
    return 0 if examination.is_sound else FAILED


def _as_dict(finding: Weakness) -> dict[str, str]:
    return {
        "severity": finding.severity,
        "problem": finding.problem,
        "remedy": finding.remedy,
        "about": finding.about,
    }


def _tell(finding: Weakness) -> None:
    """The remedy keeps to one line, however narrow the terminal, since it is copied."""
    columns = min(shutil.get_terminal_size().columns, WIDEST) if sys.stdout.isatty() else sys.maxsize
    lines = textwrap.wrap(plain(finding.problem), columns - len(INDENT), break_on_hyphens=False)
    for mark, line in zip((f"{finding.severity:9}", *([INDENT] * len(lines))), lines, strict=False):
        say(line, STYLES[finding.severity], mark=mark)
    say(INDENT + plain(finding.remedy), "cyan")
    say("")


def _sum_up(examination: Examination) -> None:
    findings, condition = examination.findings, examination.condition
    if any(OF_SERVER.match(finding.remedy) for finding in findings):
        say("CONFIG, ACL and DEL lines are for redis-cli, as a user who may do so.", "dim")
    if any(LASTING.match(finding.remedy) for finding in findings):
        say("CONFIG REWRITE, and ACL SAVE where users have a file, make them outlast a restart.", "dim")
        say("A server that was started without a configuration file wants them on its command line.", "dim")
    if not findings:
        say(f"Nothing found. {condition}.", "green")
        return
    counts = [_counted(findings, "problem"), _counted(findings, "hint")]
    told = ", ".join(count for count in counts if count)
    say(f"{told}. {condition}." if condition else f"{told}.", "bold" if examination.is_sound else "bold red")


def _counted(findings: tuple[Weakness, ...], severity: str) -> str:
    count = sum(finding.severity == severity for finding in findings)
    return f"{count} {severity}{'' if count == 1 else 's'}" if count else ""
