"""The rotation can fail: a worker that refuses a token under either key is a fault, a 503 now and then is none."""

from __future__ import annotations

import time

import pytest

from jwtgate.demo import rotation
from jwtgate.demo.lines import Answer, Worker
from jwtgate.demo.rotation import Rotation
from jwtgate.demo.rounds import Crew
from jwtgate.demo.screen import Screen
from jwtgate.demo.visiting import Login


class Stage:
    """A provider, and one worker that may be told to refuse one of its keys."""

    worker = Worker("Flask", 7)

    def __init__(self, refused="", unsure=()):
        self.refused = refused
        self.unsure = list(unsure)
        self.is_rotated = False

    def rotate(self):
        self.is_rotated = True
        return "new"

    def log_in(self, user):
        assert self.is_rotated
        return Login("under the new key", "")

    def ask(self, token):
        began_at = time.monotonic()
        is_refused = self.is_rotated and self.refused and self.refused in token
        status = 401 if is_refused else self.unsure.pop() if self.unsure else 200
        return Answer(began_at, time.monotonic(), status, "1", b"")


def act_on(stage, monkeypatch):
    for name in ("BEFORE_SECONDS", "AFTER_SECONDS"):
        monkeypatch.setattr(rotation, name, 0.1)
    act = Rotation(Crew((stage,), (stage,), (stage,)), stage, "under the old key", Screen())
    act.play()
    return act


def test_rotation_that_nobody_notices_has_no_faults(monkeypatch, capsys):
    act = act_on(Stage(unsure=[503]), monkeypatch)
    assert act.faults == []
    assert act.requests > 10
    assert "refused: none | 503: 1" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["old", "new"])
def test_refusal_under_either_key_is_a_fault(monkeypatch, capsys, key):
    act = act_on(Stage(refused=f"{key} key"), monkeypatch)
    assert len(act.faults) == 1
    assert "Flask 7 admitted only" in act.faults[0]
    assert "refused: none" not in capsys.readouterr().out
