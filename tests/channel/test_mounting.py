"""The path that an application routes on, by the word of its server."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from jwtgate.channel.mounting import told_path


@pytest.fixture(params=[True, False])
def is_on_twisted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether its reactor runs; it may be imported all the same."""
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", SimpleNamespace(running=request.param))
    return bool(request.param)


@pytest.mark.parametrize(
    ("scope", "elsewhere", "on_daphne"),
    [
        ({"path": "/a"}, "/a", "/a"),
        ({"path": "/a", "root_path": ""}, "/a", "/a"),
        ({"path": "/x/a", "root_path": "/x"}, "/a", None),
        ({"path": "/a/x/b", "root_path": "/x"}, None, None),
        ({"path": "/x/m/a", "root_path": "/x/m", "app_root_path": "/x"}, "/a", None),
        ({"path": "/m/a", "root_path": "/m", "app_root_path": ""}, "/a", "/a"),
        ({"path": "/a/x.js", "root_path": "/x", "app": SimpleNamespace(root_path="/x")}, "/a/x.js", "/a/x.js"),
        ({"path": "/x/a", "root_path": "/x", "app": SimpleNamespace(root_path="/x")}, "/a", "/a"),
        ({"path": "/a/x.js", "root_path": "/x", "app": SimpleNamespace(root_path="")}, None, None),
        ({"path": "/x/a", "root_path": "/x", "app": SimpleNamespace(root_path="")}, "/a", None),
        ({"path": "/x/m/a", "root_path": "/x/m", "app_root_path": "/x", "app": SimpleNamespace(root_path="/x")}, "/a", "/a"),
        ({"path": "/m/a/x/m", "root_path": "/x/m", "app_root_path": "/x", "app": SimpleNamespace(root_path="/x")}, None, None),
    ],
)
def test_root_path_is_believed_of_a_server_that_asks_no_client(
    scope: Any, elsewhere: str | None, on_daphne: str | None, *, is_on_twisted: bool
) -> None:
    """Daphne takes it out of ``Daphne-Root-Path``; where an application mounts another within is its own word, as what FastAPI
    was made with, which overrules the server; another router may stand within a mount."""
    assert told_path(scope) == (on_daphne if is_on_twisted else elsewhere)


def test_without_twisted_there_is_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not imported for this."""
    monkeypatch.delitem(sys.modules, "twisted.internet.reactor", raising=False)
    assert told_path({"path": "/x/a", "root_path": "/x"}) == "/a"
    assert "twisted.internet.reactor" not in sys.modules
