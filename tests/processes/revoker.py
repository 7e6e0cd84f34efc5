"""A process that issues tokens, lets them be seen, and revokes them in every way there is; it writes down what it was told.

Run as ``python -m processes.revoker <configuration as JSON>``. Ends when the folder holds a file ``stop``.
"""

from __future__ import annotations

import base64
import json
import os
import random
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import jwt

from jwtgate import Gate, Settings
from jwtgate.errors import JWTGateError

KINDS = ("jti", "sid", "sub", "tenant", "client_id", "token", "suspend", "version")
CUTTING = ("sub", "tenant", "client_id")
RIPE_SECONDS = 0.15
"""Long enough for every worker to have admitted a token before it is revoked."""

EVERYTHING_SECONDS = 1.3
INNOCENTS = 8
LANES = 3


class Lane(threading.Thread):
    """One thread that issues and revokes, with subjects of its own."""

    def __init__(self, name: str, revoker: Revoker, *, revokes_everything: bool) -> None:
        super().__init__(name=name)
        self.revoker = revoker
        self.gate = revoker.gate
        self.ripening: deque[tuple[float, str, dict[str, Any]]] = deque()
        self.suspended: deque[tuple[float, str, int]] = deque()
        self.count = 0
        self.revokes_everything = revokes_everything
        self.everything_at = time.monotonic() + EVERYTHING_SECONDS

    def run(self) -> None:
        try:
            while not self.revoker.is_stopping:
                until = time.monotonic() + self.revoker.pause_seconds
                self.step()
                time.sleep(max(0.0, until - time.monotonic()))
        except BaseException as error:
            print(f"revoker: {error!r}", file=sys.stderr, flush=True)
            raise

    def step(self) -> None:
        """A new victim, and the oldest ripe one dies."""
        kind = random.choice(KINDS)
        victims = [self.publish(self.handles(kind)), None]
        if victims[0] is None:
            return
        self.ripening.append((time.monotonic(), kind, victims[0]))
        now = time.monotonic()
        if self.suspended and self.suspended[0][0] < now - 2 * RIPE_SECONDS:
            _, sub, number = self.suspended.popleft()
            self.call("reinstate", sub, lifts=number)
        if self.revokes_everything and now > self.everything_at:
            self.everything_at = now + EVERYTHING_SECONDS
            self.call("everything", "")
            for _ in range(INNOCENTS):
                self.publish(self.handles("jti"))
        elif self.ripening and self.ripening[0][0] < now - RIPE_SECONDS:
            _, kind, victim = self.ripening.popleft()
            self.kill(kind, victim)

    def kill(self, kind: str, victim: dict[str, Any]) -> None:
        """Revokes, and where that only cuts off issues a successor that must live."""
        handles = victim["handles"]
        if kind == "version":
            self.call("version", handles["sub"], version=victim["ver"] + 1)
            self.publish({**handles, "jti": ""}, version=victim["ver"] + 1)
        elif kind == "suspend":
            self.suspended.append((time.monotonic(), handles["sub"], self.call("suspend", handles["sub"])))
        elif kind == "token":
            self.call("token", victim["id"], token=victim["token"])
        else:
            self.call(kind, handles[kind])
            if kind in CUTTING:
                self.publish({**handles, "jti": ""})

    def handles(self, kind: str) -> dict[str, str]:
        """Fresh ones, of which an empty jti or sid is filled in or left out."""
        self.count += 1
        name = f"{self.name}-{self.count}"
        handles = {"jti": "", "sub": f"user-{name}", "tenant": f"tenant-{name}", "client_id": f"client-{name}"}
        if kind == "sid":
            handles["sid"] = f"session-{name}"
        if kind == "token" and self.count % 2:
            del handles["jti"]
        return handles

    def publish(self, handles: dict[str, str], *, version: int = 1) -> dict[str, Any] | None:
        """Issues a token and shows it to all workers. None where the store could not be asked."""
        self.count += 1
        name = f"{self.name}-{self.count}"
        claims = {"tid": name, "ver": version, "tenant": handles["tenant"], "client_id": handles["client_id"]}
        began = time.monotonic()
        try:
            token = self.gate.issue(handles["sub"], claims=claims)
        except JWTGateError:
            return None
        payload = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        handles = dict(handles)
        if "jti" in handles:
            handles["jti"] = payload["jti"]
        else:
            del payload["jti"]
        if "sid" in handles:
            payload["sid"] = handles["sid"]
        if "sid" in handles or "jti" not in handles:
            token = jwt.encode(payload, self.revoker.secret, "HS256", headers={"typ": "at+jwt"})
        victim = {
            "id": name,
            "token": token,
            "handles": handles,
            "ver": version,
            "iat": payload["iat"],
            "began": began,
            "ended": time.monotonic(),
        }
        self.revoker.append("tokens", victim)
        return victim

    def call(self, kind: str, value: str, *, version: int = 0, token: str = "", lifts: int = -1) -> int:
        """One revocation; what it was told goes into the record, whatever it was."""
        gate, wait = self.gate, random.random() < 0.5
        number = self.revoker.next_number()
        record: dict[str, Any] = {"number": number, "kind": kind, "value": value, "version": version, "lifts": lifts}
        self.revoker.append("rulings", {**record, "began": time.monotonic(), "wait": wait})
        try:
            match kind:
                case "everything":
                    receipt = gate.revoke(everything=True, wait=wait)
                case "suspend":
                    receipt = gate.suspend(value, wait=wait)
                case "reinstate":
                    receipt = gate.reinstate(value, wait=wait)
                case "version":
                    receipt = gate.require_version(value, version, wait=wait)
                case "tenant" | "client_id":
                    receipt = gate.revoke(claim=(kind, value), wait=wait)
                case "token":
                    receipt = gate.revoke(token=token, wait=wait)
                case _:
                    receipt = gate.revoke(**{kind: value}, wait=wait)  # type: ignore[arg-type]
        except JWTGateError as error:
            told: dict[str, Any] = {"error": str(error)}
            returned = time.monotonic()
        else:
            returned = time.monotonic()
            told = {
                "everywhere": receipt.effective_everywhere,
                "effective_by": receipt.effective_by,
                "at": receipt.at,
                "waited": receipt.waited_seconds,
                "workers": receipt.workers,
            }
        self.revoker.append("rulings", {"number": number, "returned": returned, "wall": time.time(), **told})
        return number


class Revoker:
    """What its lanes share."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.folder = Path(configuration["folder"])
        self.name = configuration["name"]
        self.gate = Gate(Settings(**configuration["settings"]))
        self.secret = configuration["settings"]["secret"]
        self.pause_seconds = LANES / configuration["rate"]
        files = {"tokens": "tokens", "rulings": f"{self.name}.rulings"}
        self.files = {kind: os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for kind, name in files.items()}
        self.lock = threading.Lock()
        self.number = 0

    @property
    def is_stopping(self) -> bool:
        return (self.folder / "stop").exists()

    def next_number(self) -> int:
        with self.lock:
            self.number += 1
            return self.number

    def append(self, kind: str, shape: dict[str, Any]) -> None:
        """One line, in one write: other processes append to the same file."""
        os.write(self.files[kind], json.dumps(shape).encode() + b"\n")

    def tell(self) -> None:
        with (self.folder / f"{self.name}.status").open("a", buffering=1) as lines:
            while True:
                status = self.gate.status()
                lines.write(json.dumps({"at": time.monotonic(), "live": status.live, "store": status.store}) + "\n")
                time.sleep(0.03)

    def run(self) -> None:
        self.gate.start()
        threading.Thread(target=self.tell, daemon=True).start()
        while not (self.folder / "go").exists() and not self.is_stopping:
            time.sleep(0.01)
        lanes = [
            Lane(f"{self.name}.{index}", self, revokes_everything=index == 0 and self.name.endswith("0"))
            for index in range(LANES)
        ]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        self.gate.close()


if __name__ == "__main__":
    Revoker(json.loads(sys.argv[1])).run()
