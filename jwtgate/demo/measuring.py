"""Requests without pause against every worker, each with its beginning and its answer, and what they prove.

The promise is about requests that *begin* after the receipt was returned. A request's beginning is noted before its first
byte is sent, the receipt's return after its last byte was read: both in the disfavour of the gate.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from jwtgate.demo.lines import Answer, Line, Worker

__all__ = ["Revocation", "Track", "Verdict", "hammered", "judge"]


@dataclass(frozen=True, slots=True)
class Revocation:
    """When the call was sent, and when its receipt was there; monotonic seconds."""

    sent_at: float
    returned_at: float


@dataclass(slots=True)
class Track:
    """All answers of one worker to one token, in order. Grows while the requests go on."""

    worker: Worker
    answers: list[Answer] = field(default_factory=list["Answer"])
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one track says of one revocation.

    Attributes:
        admitted, refused, unsure: requests with 200, 401 and 503.
        others: requests with any other answer.
        late: requests that began after the receipt was returned and were admitted. The promise: none.
        after_sent_seconds: from the call to the beginning of the last admitted request; None: none was admitted.
        after_receipt_seconds: from the receipt's return to the same; at most 0 if the promise holds.
    """

    admitted: int
    refused: int
    unsure: int
    others: int
    late: int
    after_sent_seconds: float | None
    after_receipt_seconds: float | None

    @property
    def total(self) -> int:
        """All requests."""
        return self.admitted + self.refused + self.unsure + self.others


def judge(answers: Iterable[Answer], revocation: Revocation | None) -> Verdict:
    """Args: revocation: None while it has not returned."""
    answers = tuple(answers)
    admitted = [answer.began_at for answer in answers if answer.is_admitted]
    refused = sum(answer.is_refused for answer in answers)
    unsure = sum(answer.is_unsure for answer in answers)
    others = len(answers) - len(admitted) - refused - unsure
    if revocation is None or not admitted:
        return Verdict(len(admitted), refused, unsure, others, 0, None, None)
    late = sum(began_at > revocation.returned_at for began_at in admitted)
    last = max(admitted)
    return Verdict(
        len(admitted), refused, unsure, others, late, last - revocation.sent_at, last - revocation.returned_at
    )  # fmt: skip


@contextmanager
def hammered(lines: Iterable[Line], token: str, *, pause_seconds: float) -> Generator[dict[Worker, Track]]:
    """One thread per line asks with the token over and over, until the context ends."""
    is_over = threading.Event()
    tracks = {line.worker: Track(line.worker) for line in lines}
    threads = [
        threading.Thread(target=_hammer, args=(line, token, tracks[line.worker], is_over, pause_seconds), daemon=True)
        for line in lines
    ]
    for thread in threads:
        thread.start()
    try:
        yield tracks
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def _hammer(line: Line, token: str, track: Track, is_over: threading.Event, pause_seconds: float) -> None:
    while not is_over.is_set():
        try:
            track.answers.append(line.ask(token))
        except (OSError, HTTPException) as error:
            track.fault = f"{line.worker} broke its connection: {error!r}"
            return
        is_over.wait(pause_seconds)
