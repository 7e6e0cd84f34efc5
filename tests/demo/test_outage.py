"""The outage act can fail: each thing that a gate might do wrong while its store is away is a fault."""

from __future__ import annotations

import time

import pytest

from jwtgate.demo import outage
from jwtgate.demo.lines import Answer, Worker
from jwtgate.demo.outage import Outage, Tokens
from jwtgate.demo.rounds import Crew
from jwtgate.demo.screen import Screen

LEASE_SECONDS = 0.2


class Stage:
    """A store that can be away, and one worker in front of it, which may be told to do one thing wrong."""

    worker = Worker("Flask", 7)

    def __init__(self, wrong=None):
        self.wrong = wrong
        self.killed_at = None
        self.is_back = False

    def kill_store(self):
        self.killed_at = time.monotonic()

    def start_store(self):
        self.is_back = True

    def ask(self, token):
        began_at = time.monotonic()
        status = self.status(token, began_at)
        retry_after = "1" if status == 503 and self.wrong != "no Retry-After" else None
        return Answer(began_at, time.monotonic(), status, retry_after, b"")

    ask_until_sure = ask

    def status(self, token, now):
        lease_seconds = LEASE_SECONDS * (2 if self.wrong == "goes on" else 0.5)
        is_away = self.killed_at is not None and now > self.killed_at + lease_seconds and not self.is_back
        if token == "living":
            unknown = 401 if self.wrong == "401" else 503
            return unknown if is_away else 200
        return 200 if self.is_back and self.wrong == "forgets" else 401


def faults_of(stage, monkeypatch):
    for name in ("BEFORE_SECONDS", "UNSURE_SECONDS", "AFTER_SECONDS"):
        monkeypatch.setattr(outage, name, 0.1)
    monkeypatch.setattr(outage, "PATIENCE_SECONDS", 1.0)
    tokens = Tokens("living", "revoked", {"one user": "earlier"})
    act = Outage(Crew((stage,), (stage,), (stage,)), tokens, stage, Screen(), LEASE_SECONDS)
    act.play()
    return act.faults


def test_outage_that_keeps_the_promise_has_no_faults(monkeypatch, capsys):
    assert faults_of(Stage(), monkeypatch) == []
    printed = capsys.readouterr().out
    assert "Retry-After: 1 s" in printed
    assert "2 of 2 answers are 401" in printed


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("goes on", "Flask 7 went on for 0."),
        ("401", "Flask 7 answered neither 200 nor 503 to a living token"),
        ("no Retry-After", "Flask 7 gave a 503 without Retry-After"),
        ("forgets", "Flask 7 did not refuse a revoked token all along"),
        ("forgets", "revoked before the kill, but after it Flask 7 answered 200: one user"),
    ],
)
def test_what_goes_wrong_in_an_outage_is_a_fault(wrong, words, monkeypatch):
    assert any(fault.startswith(words) for fault in faults_of(Stage(wrong), monkeypatch))
