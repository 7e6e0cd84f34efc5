"""A worker process: decides a shared set of tokens through a real middleware, over and over, and writes down what it saw.

Run as ``python -m processes.worker <configuration as JSON>``. Ends when the folder holds a file ``stop``, or is gone.
``SIGUSR1`` makes it fork: the child goes on recording, under a name of its own, for a few seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

from processes.cripples import CRIPPLES
from processes.proving import Shower

from jwtgate import Gate, Settings
from jwtgate.runtime.clock import boot

RECORD = struct.Struct("<ddIB")
"""One request: start, end, number of the token, verdict."""

IDLE = struct.Struct("<ddd")
"""One time that an idle thread slept too long: when it should have woken, when it did, the process's CPU time meanwhile."""

ADMITTED, REFUSED, UNAVAILABLE, OTHER = range(4)
OF_STATUS = {200: ADMITTED, 401: REFUSED, 503: UNAVAILABLE}

FRESH_SECONDS, FRESH_LIMIT, OLD_PER_BATCH = 1.5, 200, 12
"""Each batch shows the newest tokens, which are about to be revoked or just were, and a few older ones."""

SWEPT_LATEST = 1000
PAUSE_SECONDS = 0.002
BATCH_SECONDS = 0.05
DEBT_SECONDS = 3.0
"""A lane that waited for the store is behind its pace, and makes up for this much of it."""

TELL_SECONDS = 0.03
IDLE_SECONDS, OVERSLEPT_SECONDS = 0.01, 0.005
CHILD_SECONDS = 6.0


class SteppedClock:
    """A wall clock that others can set; the boot clock is nobody's to set."""

    boot = staticmethod(boot)

    def __init__(self) -> None:
        self.seconds = 0.0

    def wall(self) -> float:
        """NumericDate."""
        return time.time() + self.seconds


class Tokens:
    """The shared, growing file of tokens. A token's number is its line."""

    def __init__(self, path: Path, fresh_seconds: float) -> None:
        self._file = path.open("rb", buffering=0)
        self._rest = b""
        self._position = 0
        self._fresh_seconds = fresh_seconds
        self.lock = threading.Lock()
        self.all: list[tuple[bytes, str]] = []
        self._seen_at: list[float] = []

    def refresh(self) -> None:
        """Reads the lines that were added; leaves it to another thread that is at it."""
        if not self.lock.acquire(blocking=False):
            return
        added = self._file.read()
        self._position += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        now = time.monotonic()
        for line in lines:
            shape = json.loads(line)
            self._seen_at.append(now)
            self.all.append((shape["token"].encode(), shape["id"]))
        self.lock.release()

    def sample(self, count: int | None = None) -> list[int]:
        """The fresh ones and a few of the others; a fair draw of ``count`` of them."""
        self.refresh()
        now, end = time.monotonic(), len(self.all)
        first = max(0, end - FRESH_LIMIT)
        while first < end and self._seen_at[first] < now - self._fresh_seconds:
            first += 1
        old = random.sample(range(first), min(first, OLD_PER_BATCH))
        if count is None:
            return [*range(first, end), *old]
        fresh = random.sample(range(first, end), min(end - first, count - count // 4))
        return fresh + old[: count - len(fresh)]

    def latest_and_some(self, latest: int) -> list[int]:
        """A large part of them."""
        self.refresh()
        end = len(self.all)
        first = max(0, end - latest)
        return [*range(first, end), *random.sample(range(first), min(first, latest // 3))]

    def reset_after_fork(self) -> None:
        """The child reads on by itself."""
        self._file = Path(self._file.name).open("rb", buffering=0)
        self._file.seek(self._position)
        self.lock = threading.Lock()


class Pace:
    """When a lane's next request is due. Without a rate: at once, with a short pause after each batch."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._due = time.monotonic()

    @property
    def batch(self) -> int | None:
        """How many to decide until the next look around."""
        return max(1, round(self.rate * BATCH_SECONDS)) if self.rate else None

    def until_next(self) -> float:
        """Seconds to sleep after one request."""
        if not self.rate:
            return 0.0
        now = time.monotonic()
        self._due = max(self._due + 1 / self.rate, now - DEBT_SECONDS)
        return max(0.0, self._due - now)


class Worker:
    """Both faces share lanes and history; a face runs ``LANES`` of them."""

    LANES = 1

    def __init__(self, configuration: dict[str, Any], gate: Gate, clock: SteppedClock) -> None:
        self.name = configuration["name"]
        self.folder = Path(configuration["folder"])
        self.gate = gate
        self.clock = clock
        self.rate = configuration.get("rate", 0.0) / self.LANES
        self.tokens = Tokens(self.folder / "tokens", configuration.get("fresh_seconds", FRESH_SECONDS))
        self.swept_latest = configuration.get("swept_latest", SWEPT_LATEST)
        self.shows_proofs = configuration.get("shows_proofs", False)
        self.ends_at = float("inf")
        self.children: list[int] = []
        self.must_fork = False
        self.wrap()
        self._begin()

    def wrap(self) -> None:
        """Puts the middleware around the application."""
        raise NotImplementedError

    def run(self) -> None:
        """Lanes until the end, or until ``must_fork``."""
        raise NotImplementedError

    def shown(self, token: bytes, proof: str, name: str, loop: asyncio.AbstractEventLoop) -> int:
        """The status of a request that shows a proof with its token. Args: loop: of the calling thread."""
        raise NotImplementedError

    def _begin(self) -> None:
        """What each process has of its own."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self.history = os.open(self.folder / f"{self.name}.history", flags)
        self.idle = os.open(self.folder / f"{self.name}.idle", flags)
        self.swept = 0
        self.parent = os.getppid()
        for target in (self._tell, self._idle):
            threading.Thread(target=target, daemon=True).start()

    def _tell(self) -> None:
        """Says every 30 ms how it is, on one line that the tests read; sets its clock as it is told to."""
        wall = self.folder / f"{self.name.partition('+')[0]}.wall"
        with (self.folder / f"{self.name}.status").open("a", buffering=1) as lines:
            while True:
                status = self.gate.status()
                told = {"at": time.monotonic(), "live": status.live, "store": status.store, "swept": self.swept}
                lines.write(json.dumps(told) + "\n")
                with contextlib.suppress(OSError, ValueError):
                    self.clock.seconds = float(wall.read_text())
                time.sleep(TELL_SECONDS)

    def _idle(self) -> None:
        """Writes down when this process did not get to run. A thread that hogs the interpreter shows in the CPU time."""
        while True:
            wakes, spent = time.monotonic() + IDLE_SECONDS, time.process_time()
            time.sleep(IDLE_SECONDS)
            now = time.monotonic()
            if now - wakes > OVERSLEPT_SECONDS:
                os.write(self.idle, IDLE.pack(wakes, now, time.process_time() - spent))

    @property
    def is_stopping(self) -> bool:
        return time.monotonic() > self.ends_at or (self.folder / "stop").exists() or os.getppid() != self.parent

    def batch(self, lane: int, pace: Pace) -> list[int]:
        """What to decide next: a sample, or for the first lane a large part once the tests ask for it."""
        wanted = self.folder / "sweep"
        if lane == 0 and wanted.exists() and (number := int(wanted.read_text() or 0)) > self.swept:
            self.swept = -number
            return self.tokens.latest_and_some(self.swept_latest)
        return self.tokens.sample(pace.batch)

    def is_sweeping(self, lane: int) -> bool:
        """Then at full speed."""
        return lane == 0 and self.swept < 0

    def finish(self, lane: int, records: list[bytes]) -> None:
        """Writes down one batch."""
        os.write(self.history, b"".join(records))
        if lane == 0 and self.swept < 0:
            self.swept = -self.swept

    def live(self) -> None:
        """Until the end; forks between two requests of its main thread, with the follower and its pool at work."""
        signal.signal(signal.SIGUSR1, self._on_signal)
        if self.shows_proofs:  # a forked child does not: its parent has shown them
            Shower(self).start()
        while not self.is_stopping:
            self.run()
            if self.must_fork and not self.is_stopping:
                self._fork()
        for child in self.children:
            os.waitpid(child, 0)

    def _on_signal(self, *_: object) -> None:
        self.must_fork = True

    def _fork(self) -> None:
        self.must_fork = False
        with self.tokens.lock:
            child = os.fork()
        if child:
            self.children.append(child)
            return
        self.ends_at = time.monotonic() + CHILD_SECONDS
        self.name = f"{self.name}+{os.getpid()}"
        self.children = []
        self.tokens.reset_after_fork()
        self._begin()


class AsgiWorker(Worker):
    """Through the ASGI shell on one event loop."""

    LANES = 3

    def wrap(self) -> None:
        from jwtgate.asgi import JWTGateMiddleware

        self.app = JWTGateMiddleware(self._served, gate=self.gate)

    def run(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        await asyncio.gather(*(self._lane(number) for number in range(self.LANES)))

    async def _lane(self, lane: int) -> None:
        pace = Pace(self.rate)
        while not self.is_stopping and not self.must_fork:
            records = []
            for number in self.batch(lane, pace):
                token, name = self.tokens.all[number]
                start = time.monotonic()
                verdict = await self._decide(token, name)
                records.append(RECORD.pack(start, time.monotonic(), number, verdict))
                if not self.is_sweeping(lane) and (pause := pace.until_next()):
                    await asyncio.sleep(pause)
            self.finish(lane, records)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _decide(self, token: bytes, name: str) -> int:
        return OF_STATUS.get(await self._status((b"authorization", b"Bearer " + token), name=name), OTHER)

    def shown(self, token: bytes, proof: str, name: str, loop: asyncio.AbstractEventLoop) -> int:
        headers = ((b"authorization", b"DPoP " + token), (b"dpop", proof.encode()))
        return loop.run_until_complete(self._status(*headers, name=name))

    async def _status(self, *headers: tuple[bytes, bytes], name: str) -> int:
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "headers": list(headers), "wanted": name}
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            print(f"worker: {error!r}", file=sys.stderr, flush=True)
            return 0
        return statuses[0] if len(statuses) == 1 else 0

    async def _served(self, scope: Any, receive: Any, send: Any) -> None:
        is_own = scope["jwtgate.token"].claims["tid"] == scope["wanted"]
        await send({"type": "http.response.start", "status": 200 if is_own else 500, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class WsgiWorker(Worker):
    """Through the WSGI shell from two threads."""

    LANES = 2

    def wrap(self) -> None:
        from jwtgate.wsgi import JWTGateMiddleware

        self.app = JWTGateMiddleware(self._served, gate=self.gate)

    def run(self) -> None:
        """Forks while its lanes are at work: in the child they are gone."""
        self._parent = os.getpid()
        threads = [threading.Thread(target=self._lane, args=(number,)) for number in range(self.LANES)]
        for thread in threads:
            thread.start()
        while not self.is_stopping:
            time.sleep(BATCH_SECONDS)
            if self.must_fork:
                self._fork()
                if os.getpid() != self._parent:
                    return
        for thread in threads:
            thread.join()

    def _lane(self, lane: int) -> None:
        pace = Pace(self.rate)
        while not self.is_stopping:
            records = []
            for number in self.batch(lane, pace):
                token, name = self.tokens.all[number]
                start = time.monotonic()
                verdict = self._decide(token, name)
                records.append(RECORD.pack(start, time.monotonic(), number, verdict))
                if not self.is_sweeping(lane) and (pause := pace.until_next()):
                    time.sleep(pause)
            self.finish(lane, records)
            time.sleep(PAUSE_SECONDS)

    def _decide(self, token: bytes, name: str) -> int:
        return OF_STATUS.get(self._status(name, HTTP_AUTHORIZATION="Bearer " + token.decode()), OTHER)

    def shown(self, token: bytes, proof: str, name: str, loop: asyncio.AbstractEventLoop) -> int:
        return self._status(name, HTTP_AUTHORIZATION="DPoP " + token.decode(), HTTP_DPOP=proof)

    def _status(self, name: str, **headers: str) -> int:
        statuses: list[int] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            statuses.append(int(status[:3]))

        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wanted": name, **headers}
        try:
            self.app(environ, start_response)  # type: ignore[arg-type]
        except Exception as error:
            print(f"worker: {error!r}", file=sys.stderr, flush=True)
            return 0
        return statuses[0] if len(statuses) == 1 else 0

    def _served(self, environ: Any, start_response: Any) -> list[bytes]:
        is_own = environ["jwtgate.token"].claims["tid"] == environ["wanted"]
        start_response("200 OK" if is_own else "500 Crossed", [])
        return [b""]


def main() -> None:
    """One worker, until it is told to stop."""
    configuration = json.loads(sys.argv[1])
    gate = Gate(Settings(**configuration["settings"]))
    clock = SteppedClock()
    gate.clock = clock  # type: ignore[assignment]
    gate.reset_after_fork()  # composes anew, with this clock
    gate.start()
    if "cripple" in configuration:
        CRIPPLES[configuration["cripple"]](gate)
    shape = AsgiWorker if configuration["face"] == "asgi" else WsgiWorker
    shape(configuration, gate, clock).live()
    gate.close()


if __name__ == "__main__":
    main()
