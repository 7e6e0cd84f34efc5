"""A worker process: decides a shared set of tokens through a real middleware, over and over, and writes down what it saw.

Run as ``python -m processes.worker <configuration as JSON>``. Ends when the folder holds a file ``stop``.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

from jwtgate import Gate, Settings

RECORD = struct.Struct("<ddIB")
ADMITTED, REFUSED, UNAVAILABLE, OTHER = range(4)
OF_STATUS = {200: ADMITTED, 401: REFUSED, 503: UNAVAILABLE}

FRESH_SECONDS, FRESH_LIMIT, OLD_PER_SWEEP = 1.5, 200, 12
"""Each sweep shows the newest tokens, which are about to be revoked or just were, and a few older ones."""

SWEPT_LATEST, SWEPT_OLDER = 1000, 300
PAUSE_SECONDS = 0.002


class Tokens:
    """The shared, growing file of tokens. A token's number is its line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._rest = b""
        self.all: list[tuple[bytes, str]] = []
        self._seen_at: list[float] = []

    def refresh(self) -> None:
        """Reads the lines that were added."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        now = time.monotonic()
        for line in lines:
            shape = json.loads(line)
            self.all.append((shape["token"].encode(), shape["id"]))
            self._seen_at.append(now)

    def sample(self) -> list[int]:
        """The fresh ones and a few of the others."""
        now, count = time.monotonic(), len(self.all)
        first = max(0, count - FRESH_LIMIT)
        while first < count and self._seen_at[first] < now - FRESH_SECONDS:
            first += 1
        old = random.sample(range(first), min(first, OLD_PER_SWEEP))
        return [*range(first, count), *old]


class Worker:
    """Both faces share the loop and the history; a face gives ``decide``."""

    def __init__(self, name: str, folder: Path, gate: Gate) -> None:
        self.folder = folder
        self.gate = gate
        self.tokens = Tokens(folder / "tokens")
        self.history = os.open(folder / f"{name}.history", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.status_path = folder / f"{name}.status"
        self.swept = 0
        threading.Thread(target=self._tell, daemon=True).start()

    def _tell(self) -> None:
        """Says every 30 ms how it is, on one line that the tests read."""
        with self.status_path.open("a", buffering=1) as lines:
            while True:
                status = self.gate.status()
                told = {"at": time.monotonic(), "live": status.live, "store": status.store, "swept": self.swept}
                lines.write(json.dumps(told) + "\n")
                time.sleep(0.03)

    @property
    def is_stopping(self) -> bool:
        return (self.folder / "stop").exists()

    def round(self) -> list[int]:
        """What to decide next: a sample, or a large part once the tests ask for it."""
        self.tokens.refresh()
        wanted = self.folder / "sweep"
        if wanted.exists() and (number := int(wanted.read_text() or 0)) > self.swept:
            self.swept = -number
            return self._latest_and_some()
        return self.tokens.sample()

    def _latest_and_some(self) -> list[int]:
        count = len(self.tokens.all)
        first = max(0, count - SWEPT_LATEST)
        return [*range(first, count), *random.sample(range(first), min(first, SWEPT_OLDER))]

    def finish(self, records: list[bytes]) -> None:
        """Writes down one round."""
        os.write(self.history, b"".join(records))
        if self.swept < 0:
            self.swept = -self.swept


class AsgiWorker(Worker):
    """Through the ASGI shell on one event loop."""

    LANES = 3

    def run(self) -> None:
        from jwtgate.asgi import JWTGateMiddleware

        self.app = JWTGateMiddleware(self._served, gate=self.gate)
        asyncio.run(self._run())

    async def _run(self) -> None:
        while not self.is_stopping:
            numbers = self.round()
            lanes = [self._lane(numbers[first :: self.LANES]) for first in range(self.LANES)]
            self.finish([record for records in await asyncio.gather(*lanes) for record in records])
            await asyncio.sleep(PAUSE_SECONDS)

    async def _lane(self, numbers: list[int]) -> list[bytes]:
        records = []
        for number in numbers:
            token, name = self.tokens.all[number]
            start = time.monotonic()
            verdict = await self._decide(token, name)
            records.append(RECORD.pack(start, time.monotonic(), number, verdict))
        return records

    async def _decide(self, token: bytes, name: str) -> int:
        statuses: list[int] = []

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        headers = [(b"authorization", b"Bearer " + token)]
        scope = {"type": "http", "method": "GET", "path": "/", "raw_path": b"/", "headers": headers, "wanted": name}
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            print(f"worker: {error!r}", file=sys.stderr, flush=True)
            return OTHER
        return OF_STATUS.get(statuses[0], OTHER) if len(statuses) == 1 else OTHER

    async def _served(self, scope: Any, receive: Any, send: Any) -> None:
        is_own = scope["jwtgate.token"].claims["tid"] == scope["wanted"]
        await send({"type": "http.response.start", "status": 200 if is_own else 500, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class WsgiWorker(Worker):
    """Through the WSGI shell from two threads."""

    THREADS = 2

    def run(self) -> None:
        from jwtgate.wsgi import JWTGateMiddleware

        self.app = JWTGateMiddleware(self._served, gate=self.gate)
        while not self.is_stopping:
            numbers = self.round()
            lanes: list[list[bytes]] = [[] for _ in range(self.THREADS)]
            threads = [
                threading.Thread(target=self._lane, args=(numbers[first :: self.THREADS], lanes[first]))
                for first in range(self.THREADS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.finish([record for records in lanes for record in records])
            time.sleep(PAUSE_SECONDS)

    def _lane(self, numbers: list[int], records: list[bytes]) -> None:
        for number in numbers:
            token, name = self.tokens.all[number]
            start = time.monotonic()
            verdict = self._decide(token, name)
            records.append(RECORD.pack(start, time.monotonic(), number, verdict))

    def _decide(self, token: bytes, name: str) -> int:
        statuses: list[int] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            statuses.append(int(status[:3]))

        environ = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "HTTP_AUTHORIZATION": "Bearer " + token.decode(),
            "wanted": name,
        }
        try:
            self.app(environ, start_response)  # type: ignore[arg-type]
        except Exception as error:
            print(f"worker: {error!r}", file=sys.stderr, flush=True)
            return OTHER
        return OF_STATUS.get(statuses[0], OTHER) if len(statuses) == 1 else OTHER

    def _served(self, environ: Any, start_response: Any) -> list[bytes]:
        is_own = environ["jwtgate.token"].claims["tid"] == environ["wanted"]
        start_response("200 OK" if is_own else "500 Crossed", [])
        return [b""]


def main() -> None:
    """One worker, until it is told to stop."""
    configuration = json.loads(sys.argv[1])
    gate = Gate(Settings(**configuration["settings"]))
    gate.start()
    shape = AsgiWorker if configuration["face"] == "asgi" else WsgiWorker
    shape(configuration["name"], Path(configuration["folder"]), gate).run()
    gate.close()


if __name__ == "__main__":
    main()
