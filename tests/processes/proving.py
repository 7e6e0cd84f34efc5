"""What may be used once, under fire: DPoP proofs that every worker is shown, at once and again later; one may take each.

A revoker makes tokens that are bound to a key of its own, with a proof each; ``World.twice`` judges by what came of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
import uuid
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import jwt
from holders import URL, Holder

if TYPE_CHECKING:
    from pathlib import Path

    from processes.revoker import Revoker
    from processes.worker import Worker

SETTINGS = {"dpop": "on", "public_url": URL}
FAST_SECONDS = 4
"""Of some clients' clocks. Only their proofs are taken soon after history was lost: the others' may have been shown before."""

LOOK_SECONDS = 0.02
AGAIN_SECONDS = (0.1, 8.0)
"""After which a proof is shown once more: within its window, and across what may have happened to the store meanwhile."""


class Prover(threading.Thread):
    """Of a revoker."""

    def __init__(self, revoker: Revoker, rate: float) -> None:
        super().__init__(name=f"{revoker.name}.prover", daemon=True)
        self.revoker = revoker
        self.pause_seconds = 1.0 / rate
        self.holder = Holder()

    def run(self) -> None:
        file = os.open(self.revoker.folder / "proofs", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        while not self.revoker.is_stopping:
            os.write(file, json.dumps(self.made()).encode() + b"\n")
            time.sleep(self.pause_seconds)

    def made(self) -> dict[str, str]:
        """A token of a subject that nobody revokes, and a proof for it."""
        name, now = str(uuid.uuid4()), int(time.time())
        claims = {"iss": self.revoker.issuer, "sub": f"holder-{name}", "jti": name, "iat": now, "exp": now + 600, "tid": name}
        bound = {**claims, "cnf": {"jkt": self.holder.thumbprint}}
        token = jwt.encode(bound, self.revoker.secret, "HS256", headers={"typ": "at+jwt"})
        return {"id": name, "token": token, "proof": self.holder.proof(token, iat=now + random.choice((0, FAST_SECONDS)))}


class Shower(threading.Thread):
    """Of a worker: shows each proof twice, and writes down what came of it."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(name="shower", daemon=True)
        self.worker = worker
        self.due: list[tuple[float, str, dict[str, str]]] = []

    def run(self) -> None:
        path = self.worker.folder / "proofs"
        while not path.exists():
            time.sleep(LOOK_SECONDS)
        loop = asyncio.new_event_loop()
        with path.open("rb", buffering=0) as proofs, (self.worker.folder / f"{self.worker.name}.shown").open("a", 1) as shown:
            proofs.seek(0, os.SEEK_END)  # the latest are enough for a worker that comes late
            rest = b""
            while not self.worker.is_stopping:
                *lines, rest = (rest + proofs.read()).split(b"\n")
                for each in map(json.loads, lines):
                    shown.write(self.show(each, loop))
                    heappush(self.due, (time.monotonic() + random.uniform(*AGAIN_SECONDS), each["id"], each))
                while self.due and self.due[0][0] < time.monotonic():
                    shown.write(self.show(heappop(self.due)[2], loop))
                time.sleep(LOOK_SECONDS)
        loop.close()

    def show(self, each: dict[str, str], loop: asyncio.AbstractEventLoop) -> str:
        """One request, as one line."""
        start = time.monotonic()
        status = self.worker.shown(each["token"].encode(), each["proof"], each["id"], loop)
        told: dict[str, Any] = {"id": each["id"], "start": start, "end": time.monotonic(), "status": status}
        return json.dumps(told) + "\n"


def shown_in(folder: Path) -> list[dict[str, Any]]:
    """All that workers wrote down; one that was killed may have left half a line."""
    return [
        {**json.loads(line), "process": path.stem}
        for path in folder.glob("*.shown")
        for line in path.read_bytes().rpartition(b"\n")[0].splitlines()
    ]
