"""What the demo proves from its samples: it must be able to fail."""

from __future__ import annotations

from collections import Counter
from http.client import HTTPException
from threading import Condition
from time import monotonic, sleep
from types import SimpleNamespace

import pytest

from jwtgate.demo.lines import Answer, Worker
from jwtgate.demo.measuring import Revocation, Track, hammered, judge
from jwtgate.demo.rounds import Cast, Crew, Round
from jwtgate.demo.screen import Screen

WORKER = Worker("FastAPI", 7)
RECEIPT = b'{"effective_everywhere": true, "workers": 1, "waited_seconds": 0.004}'


def answer(began_at, status, *, body=b""):
    return Answer(began_at, began_at + 0.001, status, None, body)


def test_requests_admitted_before_the_receipt_are_no_fault():
    verdict = judge([answer(1.0, 200), answer(2.5, 200), answer(3.5, 401)], Revocation(2.0, 3.0))
    assert (verdict.admitted, verdict.refused, verdict.late) == (2, 1, 0)
    assert verdict.after_sent_seconds == 0.5
    assert verdict.after_receipt_seconds == -0.5


def test_request_that_began_after_the_receipt_and_was_admitted_is_late():
    verdict = judge([answer(1.0, 200), answer(3.1, 401), answer(3.2, 200)], Revocation(2.0, 3.0))
    assert verdict.late == 1
    assert verdict.after_receipt_seconds == pytest.approx(0.2)


def test_request_that_began_before_and_ended_after_the_receipt_may_be_admitted():
    assert judge([Answer(2.9, 3.4, 200, None, b"")], Revocation(2.0, 3.0)).late == 0


def test_every_kind_of_answer_is_counted():
    verdict = judge([answer(1.0, status) for status in (200, 401, 503, 500)], None)
    assert (verdict.admitted, verdict.refused, verdict.unsure, verdict.others, verdict.total) == (1, 1, 1, 1, 4)
    assert verdict.after_sent_seconds is None


class ScriptedLine:
    """A worker that decides by rule; it notes revocations. One clock for all threads, which never goes back."""

    worker = WORKER

    def __init__(self, decide):
        self.decide = decide
        self.clock = 0.0
        self.asked = Counter()
        self.is_revoked = False
        self.changed = Condition()

    def ask(self, token, path="/", posted=None):
        with self.changed:
            self.clock += 0.002  # an answer ends before the next one begins
            if posted is not None:
                self.is_revoked = True
                return answer(self.clock, 200, body=RECEIPT)
            self.asked[token] += 1
            self.changed.notify_all()
            return answer(self.clock, self.decide(token, is_revoked=self.is_revoked))

    ask_until_sure = ask

    def wait(self, *tokens):
        """Until each of the tokens was shown three times more."""
        with self.changed:
            wanted = {token: self.asked[token] + 3 for token in tokens}
            assert self.changed.wait_for(lambda: all(self.asked[token] >= wanted[token] for token in tokens), 60)


class RefusingLine(ScriptedLine):
    """It lets nobody revoke."""

    def ask(self, token, path="/", posted=None):
        answered = super().ask(token, path)
        return answered if posted is None else answer(answered.began_at, 403)


def honest(token, *, is_revoked):
    return 401 if is_revoked and token == "victim" else 200


def faults_with(decide, monkeypatch, *, control=("the other", "control"), kind=ScriptedLine):
    line = kind(decide)
    tokens = ("victim",) if control is None else ("victim", control[1])
    monkeypatch.setattr("jwtgate.demo.rounds.time", SimpleNamespace(sleep=lambda _: line.wait(*tokens)))
    cast = Cast("one token", {"jti": "1"}, "victim", control, lambda: "fresh", "admin")
    game = Round(Crew((line,), (line,), (line,)), cast, line, Screen())
    game.play()
    return game.faults


def test_honest_worker_has_no_faults(monkeypatch, capsys):
    assert faults_with(honest, monkeypatch) == []
    printed = capsys.readouterr().out
    assert "Revoked: one token, at FastAPI 7; the other token: the other" in printed
    assert "receipt after 0." in printed or "receipt after 1." in printed
    assert "and after the receipt: never" in printed
    assert "a token issued afterwards is admitted by 1 of 1 workers" in printed


def test_worker_that_goes_on_after_the_receipt_is_found_out(monkeypatch, capsys):
    faults = faults_with(lambda token, *, is_revoked: 200, monkeypatch)
    assert any("requests that began after the receipt" in fault for fault in faults)
    assert "FastAPI 7 never refused the revoked token" in faults
    assert "AFTER" in capsys.readouterr().out


def test_worker_that_refuses_everybody_is_found_out(monkeypatch):
    faults = faults_with(lambda token, *, is_revoked: 401 if is_revoked else 200, monkeypatch)
    assert any(fault.startswith("FastAPI 7 admitted only ") and "with the other token" in fault for fault in faults)
    assert "FastAPI 7 answered 401 where it should admit a token issued afterwards" in faults


def test_worker_that_never_admitted_proves_nothing(monkeypatch):
    faults = faults_with(lambda token, *, is_revoked: 401, monkeypatch, control=None)
    assert "FastAPI 7 answered 401 where it should admit the token, before its revocation" in faults


def test_worker_that_breaks_down_is_found_out(monkeypatch):
    faults = faults_with(lambda token, *, is_revoked: 500 if is_revoked else 200, monkeypatch)
    assert any("neither 200 nor 401 nor 503" in fault for fault in faults)


def test_revocation_that_is_refused_is_a_fault(monkeypatch):
    faults = faults_with(honest, monkeypatch, control=None, kind=RefusingLine)
    assert "FastAPI 7 answered 403 to the revocation" in faults


def test_broken_connection_ends_the_track_with_a_fault():
    class Broken:
        worker = WORKER

        def ask(self, token):
            raise HTTPException("gone")

    with hammered([Broken()], "token", pause_seconds=0.0) as tracks:
        until = monotonic() + 10.0
        while tracks[WORKER].fault is None:
            assert monotonic() < until
            sleep(0.001)
    assert tracks[WORKER].fault == "FastAPI 7 broke its connection: HTTPException('gone')"
    assert tracks[WORKER].answers == Track(WORKER).answers
