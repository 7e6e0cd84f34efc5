"""Resets in forked children and threads that stand still, in what uWSGI shows of itself (its Python API, ``uwsgi`` module)."""

from __future__ import annotations

import logging
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from jwtgate import Gate, Settings
from jwtgate.runtime import forking

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What Python was told; nothing of it stays with this process."""
    told: list[Callable[[], None]] = []
    monkeypatch.setattr(forking.os, "register_at_fork", lambda *, after_in_child: told.append(after_in_child))
    monkeypatch.delitem(sys.modules, "uwsgi", raising=False)
    monkeypatch.delitem(sys.modules, "uwsgidecorators", raising=False)
    return told


def under_uwsgi(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> Any:
    """The module that its processes have."""
    uwsgi = ModuleType("uwsgi")
    vars(uwsgi).update(attributes)
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    return uwsgi


def test_python_alone_is_told_where_there_is_no_uwsgi(registered: list[Any]) -> None:
    """Its hooks run at each fork that Python makes."""
    calls: list[str] = []
    forking.after_fork(lambda: calls.append("reset"))
    registered[0]()
    assert calls == ["reset"]


def test_uwsgi_resets_before_the_hook_of_the_application(registered: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose hook may use the gate already; it is not lost."""
    calls: list[str] = []
    uwsgi = under_uwsgi(monkeypatch, post_fork_hook=lambda: calls.append("application"))
    forking.after_fork(lambda: calls.append("reset"))
    uwsgi.post_fork_hook()
    assert calls == ["reset", "application"]
    assert len(registered) == 1


def test_decorators_that_come_later_take_no_hook_away(registered: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """``uwsgidecorators`` writes over the hook when it is imported, so the reset is in its own chain."""
    chain: list[Any] = []
    under_uwsgi(monkeypatch)
    monkeypatch.setattr(forking, "import_module", {"uwsgidecorators": SimpleNamespace(postfork=chain.append)}.__getitem__)
    forking.after_fork(registered.clear)
    assert chain == [registered.clear]


@pytest.mark.parametrize("name", ["post_fork_hook", "spooler", "mule_msg_hook"])
def test_hooks_of_the_application_are_not_written_over(
    registered: list[Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One that has a hook of its own, and no decorators, is not given any: their import would take it away."""
    uwsgi = under_uwsgi(monkeypatch, **{name: registered.copy})
    monkeypatch.setattr(forking, "import_module", lambda name: pytest.fail(f"imported {name}"))
    forking.after_fork(registered.clear)
    registered.append(registered.clear)
    uwsgi.post_fork_hook()
    assert registered == []
    assert name == "post_fork_hook" or getattr(uwsgi, name) == registered.copy


FORKED_IN_C = """
import ctypes, os, sys, types
uwsgi = sys.modules["uwsgi"] = types.ModuleType("uwsgi")
from jwtgate import Gate, Settings
gate = Gate(Settings(secret={secret!r}))
assert gate.ready(5.0)
name = gate.follower.worker_name()
pid = ctypes.PyDLL(None).fork()
if pid == 0:
    uwsgi.post_fork_hook()
    os._exit(0 if not gate.status().live and gate.ready(5.0) and gate.follower.worker_name() != name else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_worker_that_was_forked_in_c_starts_from_nothing() -> None:
    """As uWSGI forks: its own view and follower, once its hook has run."""
    command = [sys.executable, "-c", FORKED_IN_C.format(secret=SECRET)]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, timeout=30, check=False).returncode == 0


@pytest.mark.parametrize(("attributes", "says"), [({"has_threads": 0}, True), ({"has_threads": 1}, False), (None, False)])
def test_missing_threads_of_uwsgi_are_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, attributes: dict[str, int] | None, says: bool
) -> None:
    """One line a process, which names the option: everything is right without it, and slower."""
    if attributes is not None:
        under_uwsgi(monkeypatch, **attributes)
    gate = Gate(Settings(secret=SECRET))
    with caplog.at_level(logging.WARNING, "jwtgate"):
        assert gate.ready(5.0)
        gate.close()
    assert sum("--enable-threads" in record.getMessage() for record in caplog.records) == says
