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
import uuid
from collections import deque
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
from processes.proving import Prover

from jwtgate import Gate, Settings
from jwtgate.errors import JWTGateError, UnavailableError
from jwtgate.runtime import blocking

if TYPE_CHECKING:
    from jwtgate.messages import Receipt, TokenPair

KINDS = ("jti", "sid", "sub", "tenant", "client_id", "token", "suspend", "version")
CUTTING = ("sub", "tenant", "client_id")
TOLD = ("told", "told with sid")
"""By a provider: what its subject had by a time is dead, or of that what names no session. Where our settings hear one."""

RIPE_SECONDS = 0.15
"""Long enough for every worker to have admitted a token before it is revoked."""

EVERYTHING_SECONDS = 1.3
INNOCENTS = 8
LANES = 3
DEBT_SECONDS = 1.0
"""A lane that waited for the store is behind its pace, and makes up for this much of it."""

ATTEMPTS, ATTEMPT_SECONDS = 40, 0.2
"""A refresh whose answer was lost is asked again, as a client would, within REFRESH_GRACE."""


@dataclass
class Login:
    """A session that this process holds the refresh token of."""

    handles: dict[str, str]
    refresh_token: str
    began: float


def claims_of(handles: dict[str, str], name: str, version: int) -> dict[str, Any]:
    """Of every token: ``tid`` is how the judge knows it again."""
    return {"tid": name, "ver": version, "tenant": handles["tenant"], "client_id": handles["client_id"]}


def payload_of(token: str) -> dict[str, Any]:
    """Unverified: it is our own."""
    payload: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return payload


def both_clocks() -> tuple[float, float]:
    """Monotonic and wall time of one moment: a pause between the two readings would shift what the receipt says."""
    while True:
        wall = time.time()
        now = time.monotonic()
        if time.time() - wall < 0.001:
            return now, wall


class Lane(threading.Thread):
    """One thread that issues and revokes, with subjects of its own."""

    def __init__(self, name: str, revoker: Revoker, *, revokes_everything: bool) -> None:
        super().__init__(name=name)
        self.revoker = revoker
        self.gate = revoker.gate
        self.ripening: list[tuple[float, int, str, dict[str, Any]]] = []
        self.suspended: deque[tuple[float, str, int]] = deque()
        self.sessions: list[Login] = []
        self.count = 0
        self.revokes_everything = revokes_everything
        self.everything_at = time.monotonic() + revoker.everything_seconds

    def run(self) -> None:
        try:
            due = time.monotonic()
            while not self.revoker.is_stopping:
                due = max(due + self.revoker.pause_seconds, time.monotonic() - DEBT_SECONDS)
                self.step()
                time.sleep(max(0.0, due - time.monotonic()))
        except BaseException as error:
            print(f"revoker: {error!r}", file=sys.stderr, flush=True)
            raise

    def step(self) -> None:
        """A new victim, and the oldest ripe one dies."""
        if random.random() < self.revoker.session_share:
            self.step_of_sessions()
        kind = random.choice(self.revoker.kinds)
        victim = self.publish(self.handles(kind))
        now = time.monotonic()
        if victim is not None:
            ripe = now + random.uniform(RIPE_SECONDS, max(RIPE_SECONDS, self.revoker.ripe_seconds))
            heappush(self.ripening, (ripe, self.count, kind, victim))
        if self.suspended and self.suspended[0][0] < now - 2 * RIPE_SECONDS:
            _, sub, number = self.suspended.popleft()
            self.call("reinstate", sub, lifts=number)
        if self.revokes_everything and now > self.everything_at:
            self.everything_at = now + self.revoker.everything_seconds
            self.call("everything", "")
            for _ in range(INNOCENTS):
                self.publish(self.handles("jti"))
        elif self.ripening and self.ripening[0][0] < now:
            _, _, kind, victim = heappop(self.ripening)
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
        elif kind in TOLD:
            self.call(kind, handles["sub"], cut_at=victim["iat"])
            self.publish({**handles, "jti": ""})
        else:
            self.call(kind, handles[kind])
            if kind in CUTTING:
                self.publish({**handles, "jti": ""})

    # --- sessions

    def step_of_sessions(self) -> None:
        """One of the lane's sessions starts, is refreshed, or ends."""
        turn = random.random()
        if turn < 0.4 or not self.sessions:
            self.log_in()
        elif turn < 0.8:
            self.refresh(random.choice(self.sessions))
        else:
            login = self.sessions.pop(random.randrange(len(self.sessions)))
            self.call("session", login.handles["sid"])

    def log_in(self) -> None:
        """A session of a subject of its own."""
        handles = self.handles("session")
        began = time.monotonic()
        try:
            pair = self.gate.sessions.start(handles["sub"], claims=claims_of(handles, self.revoker.name_of(self), 1))
        except JWTGateError:
            return
        handles["sid"] = pair.session_id
        self.sessions.append(Login(handles, pair.refresh_token, began))
        self.reveal_pair(pair, handles, began)

    def refresh(self, login: Login) -> None:
        """Until it is answered. What it is refused with is written down: only ``everything`` explains a refusal."""
        began = time.monotonic()
        for _ in range(ATTEMPTS):
            try:
                pair = self.gate.sessions.refresh(login.refresh_token)
            except UnavailableError:
                if self.revoker.is_stopping:
                    return
                time.sleep(ATTEMPT_SECONDS)
                continue
            except JWTGateError as error:
                told = {"since": login.began, "ended": time.monotonic(), "sid": login.handles["sid"]}
                self.revoker.append("refreshes", {**told, "error": type(error).__name__})
                break
            login.refresh_token = pair.refresh_token
            self.reveal_pair(pair, login.handles, began)
            return
        self.sessions.remove(login)

    def reveal_pair(self, pair: TokenPair, handles: dict[str, str], began: float) -> None:
        """The access token goes to the workers."""
        payload = payload_of(pair.access_token)
        self.reveal(pair.access_token, payload, {**handles, "jti": payload["jti"]}, began)

    # --- tokens

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
        began = time.monotonic()
        try:
            token = self.gate.issue(handles["sub"], claims=claims_of(handles, self.revoker.name_of(self), version))
        except JWTGateError:
            return None
        payload = payload_of(token)
        handles = dict(handles)
        if "jti" in handles:
            handles["jti"] = payload["jti"]
        else:
            del payload["jti"]
        if "sid" in handles:
            payload["sid"] = handles["sid"]
        if "sid" in handles or "jti" not in handles:
            token = jwt.encode(payload, self.revoker.secret, "HS256", headers={"typ": "at+jwt"})
        return self.reveal(token, payload, handles, began)

    def reveal(self, token: str, payload: dict[str, Any], handles: dict[str, str], began: float) -> dict[str, Any]:
        """One line for the workers and for the judge."""
        victim = {
            "id": payload["tid"],
            "token": token,
            "handles": handles,
            "ver": payload["ver"],
            "iat": payload["iat"],
            "began": began,
            "ended": time.monotonic(),
        }
        self.revoker.append("tokens", victim)
        return victim

    def call(self, kind: str, value: str, *, version: int = 0, token: str = "", lifts: int = -1, cut_at: int = 0) -> int:
        """One revocation; what it was told goes into the record, whatever it was."""
        gate, wait = self.gate, random.random() < 0.5
        number = self.revoker.next_number()
        record: dict[str, Any] = {"number": number, "kind": kind, "value": value, "version": version, "lifts": lifts}
        record["cut_at"] = cut_at
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
                case "session":
                    receipt = gate.sessions.end(value, wait=wait)
                case "told" | "told with sid":
                    receipt = self.hear(value, f"ended-{number}" if kind == "told with sid" else None, cut_at)
                case _:
                    receipt = gate.revoke(**{kind: value}, wait=wait)  # type: ignore[arg-type]
        except JWTGateError as error:
            told: dict[str, Any] = {"error": str(error)}
            returned, wall = both_clocks()
        else:
            returned, wall = both_clocks()
            told = {
                "everywhere": receipt.effective_everywhere,
                "effective_by": receipt.effective_by,
                "at": receipt.at,
                "waited": receipt.waited_seconds,
                "workers": receipt.workers,
            }
        self.revoker.append("rulings", {"number": number, "returned": returned, "wall": wall, **told})
        return number

    def hear(self, sub: str, sid: str | None, cut_at: int) -> Receipt:
        """A logout token of a provider who signs with our secret; it waits for its receipt as long as a provider does."""
        whom = {"sub": sub} if sid is None else {"sub": sub, "sid": sid}
        events = {"http://schemas.openid.net/event/backchannel-logout": {}}
        claims = {"iss": self.revoker.issuer, "aud": self.revoker.audience, "iat": cut_at, "exp": int(time.time()) + 120}
        claims |= {"jti": str(uuid.uuid4()), "events": events, **whom}
        token = jwt.encode(claims, self.revoker.secret, "HS256", headers={"typ": "logout+jwt"})
        receipt = blocking.run(self.gate.plans.hear_logout(token), self.gate.performer)
        assert receipt is not None, "it was told once"
        return receipt


class Revoker:
    """What its lanes share."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.folder = Path(configuration["folder"])
        self.name = configuration["name"]
        self.gate = Gate(Settings(**configuration["settings"]))
        self.secret = configuration["settings"]["secret"]
        self.issuer = configuration["settings"].get("issuer")
        self.audience = configuration["settings"].get("logout_audience")
        self.kinds = KINDS if self.audience is None else (*KINDS, *TOLD)
        self.proofs_per_second = configuration.get("proofs_per_second", 0.0)
        self.lanes = configuration.get("lanes", LANES)
        self.pause_seconds = self.lanes / configuration["rate"]
        self.ripe_seconds = configuration.get("ripe_seconds", RIPE_SECONDS)
        self.everything_seconds = configuration.get("everything_seconds", EVERYTHING_SECONDS)
        self.session_share = configuration.get("session_share", 0.0)
        files = {"tokens": "tokens", "rulings": f"{self.name}.rulings", "refreshes": f"{self.name}.refreshes"}
        self.files = {kind: os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) for kind, name in files.items()}
        self.lock = threading.Lock()
        self.number = self.names = 0
        self.parent = os.getppid()
        self.gate.claims(lambda session: {"tid": self.name_of(threading.current_thread())})

    @property
    def is_stopping(self) -> bool:
        return (self.folder / "stop").exists() or os.getppid() != self.parent

    def name_of(self, lane: threading.Thread) -> str:
        """A fresh name for a token."""
        with self.lock:
            self.names += 1
            return f"{lane.name}-{self.names}"

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
            for index in range(self.lanes)
        ]
        if self.proofs_per_second:
            Prover(self, self.proofs_per_second).start()
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
        self.gate.close()


if __name__ == "__main__":
    Revoker(json.loads(sys.argv[1])).run()
