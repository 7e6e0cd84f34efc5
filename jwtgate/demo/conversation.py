"""The chat of two devices, over real WebSockets to every worker: one device is ended at the other application.

All its sockets are closed by the gate; the other device's stay, and go on talking.
"""

from __future__ import annotations

import http.client
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jwtgate.demo.talking import listening

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jwtgate.demo.lines import Line
    from jwtgate.demo.screen import Screen
    from jwtgate.demo.talking import Talker

__all__ = ["Conversation"]

CLOSED = 4401
"""``JWTGATE_WS_CLOSE``, as it is by default."""

PATIENCE_SECONDS = 5.0
MOST_SOCKETS = 50
"""Of one device: workers share a listening socket, so which of them accepts is not for the client to say."""


@dataclass(frozen=True, slots=True)
class Device:
    """One login. Attributes: sockets: at least one to each worker."""

    name: str
    session_id: str
    token: str
    sockets: Sequence[Talker]

    @property
    def still_open(self) -> int:
        """How many."""
        return sum(socket.code is None for socket in self.sockets)

    def have_heard(self, text: str) -> int:
        """How many."""
        return sum(socket.has_heard(text) for socket in self.sockets)


class Conversation:
    """Plays it. ``faults`` has what went against the promise."""

    def __init__(self, lines: Sequence[Line], ender: Line, call: Callable[[str], Talker], screen: Screen) -> None:
        """Args: lines: one to each worker of the chat. ender: who is asked to end the session. call: opens a socket."""
        self.lines = lines
        self.ender = ender
        self.call = call
        self.screen = screen
        self.faults: list[str] = []

    def play(self) -> None:
        """Raises: OSError, HTTPException."""
        with ExitStack() as undo:
            phone, laptop = self._log_in("Phone", undo), self._log_in("Laptop", undo)
            both = [*phone.sockets, *laptop.sockets]
            with listening(both):
                heard = self._say(laptop, "hello", both)
                workers = " and ".join(str(line.worker) for line in self.lines)
                opened = f"[bold]The chat[/]: {len(both)} WebSockets of two devices, to {workers}"
                self.screen.say(f"{opened}; what the laptop says is {heard}")
                began_at = self._end(phone, laptop)
                closed = _in_words(phone, began_at)
                self._expect(f"closed the phone's sockets with {CLOSED}, but: {closed}", _has_ended(phone))
                heard = self._say(laptop, "still here", laptop.sockets)
                is_kept = laptop.still_open == len(laptop.sockets)
                self._expect("kept the laptop's sockets open", is_kept)
                self._expect("kept from the phone what was said after its end", not phone.have_heard("still here"))
                kept = "still open" if is_kept else f"only {laptop.still_open} of {len(laptop.sockets)} still open"
                self._end(laptop, laptop)
                self.screen.say(f"  chat, phone, ended at {self.ender.worker}: {closed}; laptop: {kept}, and {heard}\n")

    def _log_in(self, name: str, undo: ExitStack) -> Device:
        """With its sockets, at least one to each worker."""
        answer = self.lines[0].ask(None, "/chat/login", {"device": name})
        if not answer.is_admitted:
            raise http.client.HTTPException(f"the login of the {name.lower()} was answered with {answer.status}")
        pair: dict[str, Any] = json.loads(answer.body)
        wanted = {line.worker.pid for line in self.lines}
        sockets: list[Talker] = []
        while not wanted <= {socket.worker for socket in sockets} and len(sockets) < MOST_SOCKETS:
            sockets.append(self.call(pair["access_token"]))
            undo.callback(sockets[-1].close)
        self._expect(f"opened a socket of the {name.lower()} to each worker", len(sockets) < MOST_SOCKETS)
        return Device(name, pair["session_id"], pair["access_token"], sockets)

    def _say(self, device: Device, text: str, hearers: Sequence[Talker]) -> str:
        """Said by one socket, and how many have heard it."""
        device.sockets[0].say(text)
        _await(lambda: all(socket.has_heard(text) for socket in hearers))
        heard = sum(socket.has_heard(text) for socket in hearers)
        self._expect(f"let all hear the {device.name.lower()} ({heard} of {len(hearers)} did)", heard == len(hearers))
        return f"heard by {heard} of {len(hearers)}"

    def _end(self, device: Device, other: Device) -> float:
        """By the other device's token. Returns: when it was asked for."""
        answer = self.ender.ask(other.token, f"/auth/sessions/{device.session_id}", method="DELETE")
        self._expect(f"ended the session when asked to ({answer.status})", answer.is_admitted)
        _await(lambda: device.still_open == 0)
        return answer.began_at

    def _expect(self, words: str, has_happened: bool) -> None:  # noqa: FBT001 - what is expected
        if not has_happened:
            self.faults.append(f"nobody {words}")


def _has_ended(device: Device) -> bool:
    return all(socket.code == CLOSED for socket in device.sockets)


def _in_words(device: Device, began_at: float) -> str:
    codes = sorted({str(socket.code) for socket in device.sockets if socket.code is not None})
    if device.still_open or not codes:
        return f"{device.still_open} of {len(device.sockets)} still open"
    last = max(socket.closed_at for socket in device.sockets)
    return f"closed {' and '.join(codes)} after {(last - began_at) * 1000:.0f} ms"


def _await(has_happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not has_happened() and time.monotonic() < deadline:
        time.sleep(0.002)
