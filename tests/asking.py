"""Which failed tests are asked again, and when: those that waited in vain on a busy machine, never an answer that was wrong.

A run keeps several processes at work beside each other, on a machine that may have other work. Who only waited in vain is asked
once more at once (``reruns``, by pytest-rerunfailures). If that was in vain, too, it is asked in the end, when nothing of the run
is left beside it, and must pass then. The summary tells each of them. One failure of another kind, anywhere in the run, and nobody
is asked in the end: the run has failed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST = 60
"""Where more tests than this failed it was not a busy moment."""

IN_THE_END = "JWTGATE_TEST_IN_THE_END"
"""Set in the run of those asked in the end: it asks nobody after it."""


def waited_in_vain(error: BaseException, only: Sequence[str], never: Sequence[str]) -> bool:
    """As pytest-rerunfailures decides: what it is asked again for may be anywhere in the chain, what not is the error itself."""
    chain: list[BaseException] = [error]
    while (before := chain[-1].__cause__ or (None if chain[-1].__suppress_context__ else chain[-1].__context__)) is not None:
        chain.append(before)
    texts = [f"{type(each).__name__}: {each}" for each in chain]
    return any(re.search(rule, text) for rule in only for text in texts) and not any(
        re.search(rule, texts[0]) for rule in never
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Each report of a failure says of which kind it is."""
    report: pytest.TestReport = yield
    if report.failed and call.excinfo is not None:
        rules = (item.config.getini(name) for name in ("only_rerun", "rerun_except"))
        report.waited_in_vain = waited_in_vain(call.excinfo.value, *rules)
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Only where tests ran beside each other can one run with nothing beside it."""
    if config.getoption("dist") != "no" and IN_THE_END not in os.environ:
        config.pluginmanager.register(InTheEnd(config))


class InTheEnd:
    """Keeps what failed, and asks it again when all the others are done."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.failed: dict[str, bool] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A worker that crashed is reported without a kind."""
        if report.failed:
            self.failed[report.nodeid] = self.failed.get(report.nodeid, True) and getattr(report, "waited_in_vain", False)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """After this the workers are gone; before it nothing was summed up."""
        if exitstatus != pytest.ExitCode.TESTS_FAILED or len(self.failed) > MOST or not all(self.failed.values()):
            return
        command = [sys.executable, "-m", "pytest", "-q", "-n", "0", *self.failed]
        environment = {**os.environ, IN_THE_END: "1"}
        done = subprocess.run(command, cwd=self.config.rootpath, env=environment, capture_output=True, text=True, check=False)
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        assert terminal is not None
        terminal.ensure_newline()
        terminal.write_sep("=", f"asked in the end, with nothing beside them: {len(self.failed)}")
        terminal.write(done.stdout + done.stderr)
        if done.returncode == 0:
            again = [report for kind in ("failed", "error") for report in terminal.stats.pop(kind, [])]
            terminal.stats.setdefault("rerun", []).extend(again)
            session.exitstatus = pytest.ExitCode.OK
