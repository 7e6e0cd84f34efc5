"""The chat's act can fail: whatever is not closed, not kept, or not heard is a fault."""

from __future__ import annotations

import json
import time

import pytest

from jwtgate.demo import conversation
from jwtgate.demo.conversation import Conversation
from jwtgate.demo.lines import Answer, Worker
from jwtgate.demo.screen import Screen


class Socket:
    """Of one device at one worker; what is said it tells all who are open."""

    closed_at = 0.0

    def __init__(self, stage, token):
        self.stage, self.device, self.code, self.heard = stage, token, None, []
        stage.sockets.append(self)
        self.worker = 100 if stage.wrong == "one worker" else 100 + len(stage.sockets) % 2

    def say(self, text):
        for each in self.stage.sockets:
            is_told = each.code is None or self.stage.wrong == "speaks to the dead"
            if is_told and not (self.stage.wrong == "deaf" and each.device == "Phone"):
                each.heard.append(text)

    def has_heard(self, text):
        return text in self.heard

    def close(self):
        self.stage.left.append(self)


class Stage:
    """Two workers of the chat, and a worker of the other application that ends sessions; one of them may do wrong."""

    def __init__(self, wrong=None):
        self.wrong, self.sockets, self.left, self.worker = wrong, [], [], Worker("Flask", 7)

    def ask(self, token, path="/", posted=None, *, method=None):
        now = time.monotonic()
        if method is None:
            assert path == "/chat/login"
            pair = {"access_token": posted["device"], "session_id": f"sid-{posted['device']}"}
            return Answer(now, now, 503 if self.wrong == "no login" else 200, None, json.dumps(pair).encode())
        assert (token, method) == ("Laptop", "DELETE")
        if path == "/auth/sessions/sid-Laptop":
            return Answer(now, now, 200, None, b"{}")
        assert path == "/auth/sessions/sid-Phone"
        ended = {"closes all": ("Phone", "Laptop"), "closes none": ()}.get(self.wrong, ("Phone",))
        for socket in self.sockets:
            if socket.device in ended:
                socket.code, socket.closed_at = 1000 if self.wrong == "another code" else 4401, now + 0.006
        return Answer(now, now, 404 if self.wrong == "no such session" else 200, None, b"{}")


class Probe:
    def __init__(self, stage, pid):
        self.worker, self.ask = Worker("FastAPI", pid), stage.ask


def played_on(stage, monkeypatch):
    monkeypatch.setattr(conversation, "PATIENCE_SECONDS", 0.02)
    monkeypatch.setattr(conversation, "listening", lambda sockets: Screen().waiting("listening"))
    lines = [Probe(stage, 100), Probe(stage, 101)]
    act = Conversation(lines, stage, lambda token: Socket(stage, token), Screen())
    act.play()
    return act.faults


def test_chat_that_keeps_the_promise_has_no_faults(monkeypatch, capsys):
    """And says in one line what became of either device."""
    stage = Stage()
    assert played_on(stage, monkeypatch) == []
    printed = capsys.readouterr().out
    assert "4 WebSockets of two devices, to FastAPI 100 and FastAPI 101; what the laptop says is heard by 4 of 4" in printed
    assert "chat, phone, ended at Flask 7: closed 4401 after 6 ms; laptop: still open, and heard by 2 of 2" in printed
    assert stage.left == stage.sockets[::-1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("closes none", "closed the phone's sockets with 4401, but: 2 of 2 still open"),
        ("another code", "closed the phone's sockets with 4401, but: closed 1000 after 6 ms"),
        ("closes all", "kept the laptop's sockets open"),
        ("speaks to the dead", "kept from the phone what was said after its end"),
        ("deaf", "let all hear the laptop (2 of 4 did)"),
        ("no such session", "ended the session when asked to (404)"),
        ("one worker", "opened a socket of the phone to each worker"),
    ],
)
def test_what_goes_wrong_in_the_chat_is_a_fault(wrong, words, monkeypatch):
    """One sentence each."""
    assert f"nobody {words}" in played_on(Stage(wrong), monkeypatch)


def test_login_that_is_refused_breaks_the_show_off(monkeypatch):
    """As any other answer that the show cannot go on without."""
    with pytest.raises(conversation.http.client.HTTPException, match="login of the phone was answered with 503"):
        played_on(Stage("no login"), monkeypatch)
