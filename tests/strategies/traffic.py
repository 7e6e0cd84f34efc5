"""A loop of requests on both workers while something is revoked: who was admitted, and who no more after which moment.

Each worker is asked by a thread of its own, for every device in turn, from before the revocation until well after it. What
counts is when a request *began*: from the moment on none may be admitted that the row refuses, and all that it spares.
"""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from strategies.serving import ask

if TYPE_CHECKING:
    from strategies.serving import Device, Pair, Worker

ROUNDS_BEFORE = 3
ROUNDS_AFTER = 40
PAUSE_SECONDS = 0.001
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Asked:
    """One request. ``began_at``: NumericDate."""

    worker: int
    who: str
    began_at: float
    status: int


class Traffic:
    """``with Traffic(pair, phone=phone, laptop=laptop) as traffic: receipt = …`` and then what must be true of it.

    The moment is the end of the block, or what ``moment_is`` was told in it.
    """

    def __init__(self, pair: Pair, path: str = "/me", **devices: Device) -> None:
        self.path = path
        self.devices = devices
        self.asked: list[Asked] = []
        self.moment: float | None = None
        self.errors: list[Exception] = []
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number, worker)) for number, worker in enumerate(pair.workers)
        ]

    def __enter__(self) -> Self:
        """Returns once both workers have admitted everybody: so all is remembered, and something can be lost."""
        for thread in self._threads:
            thread.start()
        try:
            self._wait(0.0, ROUNDS_BEFORE)
        except BaseException:
            self._stop()
            raise
        first = [each for each in list(self.asked) if each.status != 200]
        if first:
            self._stop()
        assert not first, f"not admitted in the first place: {first[0]}"
        return self

    def moment_is(self, at: float) -> None:
        """NumericDate from which it holds."""
        self.moment = at

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.moment = self.moment or time.time()
                self._wait(self.moment, ROUNDS_AFTER)
        finally:
            self._stop()
        if kind is None and self.errors:
            raise self.errors[0]

    def _stop(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _wait(self, since: float, rounds: int) -> None:
        """Until each worker has been asked so often for each device, in requests that began after a moment."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        wanted = {(number, who) for number in range(len(self._threads)) for who in self.devices}
        while True:
            counts = dict.fromkeys(wanted, 0)
            for each in list(self.asked):
                if each.began_at >= since:
                    counts[each.worker, each.who] += 1
            if min(counts.values()) >= rounds:
                return
            if self.errors:
                raise self.errors[0]
            assert time.monotonic() < deadline, f"the workers answer too slowly: {counts}"
            time.sleep(0.01)

    def _run(self, number: int, worker: Worker) -> None:
        connections = {who: worker.connect(device.address) for who, device in self.devices.items()}
        try:
            while not self._end.is_set():
                for who, device in self.devices.items():
                    began_at = time.time()
                    status = self._status(connections[who], device)
                    if status is not None:
                        self.asked.append(Asked(number, who, began_at, status))
                time.sleep(PAUSE_SECONDS)
        except Exception as error:  # raised again where the test waits
            self.errors.append(error)
        finally:
            for connection in connections.values():
                connection.close()

    def _status(self, connection: http.client.HTTPConnection, device: Device) -> int | None:
        """None: the server closed a connection that was idle; the next request opens another."""
        try:
            return ask(connection, "GET", self.path, device.headers, None).status
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            connection.close()
            return None

    # --- what must be true of it

    def refused(self, *names: str, status: int = 401) -> None:
        """Nobody of these was admitted by a request that began after the moment, on either worker."""
        assert self.moment is not None
        for who in names:
            after = [each for each in self.asked if each.who == who and each.began_at >= self.moment]
            wrong = [each for each in after if each.status != status]
            late = [round(each.began_at - self.moment, 4) for each in wrong]
            assert not wrong, f"{who}: {len(wrong)} of {len(after)} not {status}, at {late}: {wrong[0]}"
            assert {each.worker for each in after} == {0, 1}

    def admitted(self, *names: str) -> None:
        """These were admitted all the time, on both workers."""
        for who in names:
            mine = [each for each in self.asked if each.who == who]
            wrong = [each for each in mine if each.status != 200]
            assert not wrong, f"{who}: {len(wrong)} of {len(mine)} refused: {wrong[0]}"
            assert {each.worker for each in mine} == {0, 1}
