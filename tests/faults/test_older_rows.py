"""An older dump loaded into a running database: the same epoch record, and a log that begins again from an earlier place."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from faults.of_databases import _copied, _put_back
from processes.gates import answer_of, judged, started
from processes.world import wait_until
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.server, pytest.mark.faults]

ROUNDS = 6


def test_acknowledgement_of_what_was_lost_proves_nothing(tmp_path: Path) -> None:
    """W2, H2: positions of two branches are not comparable, though the epoch is the same."""
    url = f"sqlite:///{tmp_path}/store.db"
    scene: Any = SimpleNamespace(store=SimpleNamespace(engine=create_engine(url, poolclass=NullPool)))
    with ExitStack() as stack:
        here, *others = [stack.enter_context(started(url, lease=2.0)) for _ in range(3)]
        for _ in range(ROUNDS):
            wait_until(lambda: all(gate.status().live for gate in (here, *others)), 30.0, "all are live")
            rows = _copied(scene)
            for _ in range(10):
                here.revoke(jti="another", wait=True)
            token = here.issue("alice")
            assert {judged(gate, token) for gate in others} == {"admitted"}
            _put_back(scene, rows)
            receipt = here.revoke(token=token, wait=True)
            answers = [answer_of(gate, token) for gate in others]
            assert not receipt.effective_everywhere or "admitted" not in answers


def test_cut_off_on_a_shorter_branch_is_no_older_than_the_tokens_of_the_longer_one(tmp_path: Path) -> None:
    """W1: by position such a token is younger than the cut-off that came after it; it dies all the same, when it was said to."""
    url = f"sqlite:///{tmp_path}/store.db"
    scene: Any = SimpleNamespace(store=SimpleNamespace(engine=create_engine(url, poolclass=NullPool)))
    with ExitStack() as stack:
        here, *others = [stack.enter_context(started(url, lease=1.0)) for _ in range(3)]
        for _ in range(2):
            wait_until(lambda: all(gate.status().live for gate in (here, *others)), 30.0, "all are live")
            rows = _copied(scene)
            for _ in range(10):
                here.revoke(jti="another", wait=True)
            token = here.issue("alice")
            assert {judged(gate, token) for gate in others} == {"admitted"}
            _put_back(scene, rows)
            receipt = here.revoke(sub="alice")
            assert receipt.effective_by is not None
            time.sleep(max(0.0, receipt.effective_by - time.time()))
            assert "admitted" not in [answer_of(gate, token) for gate in others]
            wait_until(lambda: all(gate.status().live for gate in (here, *others)), 30.0, "all are live")
            assert "admitted" not in [answer_of(gate, token) for gate in others]
