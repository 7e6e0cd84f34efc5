"""The provider of ``provider.mjs`` as a child process on a free loopback port; it ends with this one, however that ends."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx
from idp.browsing import Browser
from idp.node import HERE, node, packages
from servers import free_port

ATTEMPTS, START_SECONDS = 3, 40.0
PROGRAM = ("provider.mjs", "keys.mjs", "faults.mjs", "store.mjs", "world.json", "package.json")
JWKS, DISCOVERY = "/jwks", "/.well-known/openid-configuration"

API, OTHER_API = "https://api.test.example", "https://other.test.example"
PEOPLE = ("alice", "bob", "carol", "dave")
"""Each with the password NAME-password."""

CLIENTS = ("web", "mobile", "desktop")
"""web: sid in access and logout tokens. mobile: in neither. desktop: in logout tokens alone."""

NEIGHBOUR = "neighbour"
"""A client of another application."""


class IdentityProvider:
    """One provider.

    Attributes:
        port: stays the same over restarts; keys and logins do not.
    """

    def __init__(self, **environment: str) -> None:
        """Args: environment: ``IDP_LOGOUT_URI``, ``IDP_ACCESS_TTL``. Starts nothing yet, but skips where nothing can start."""
        self.node, modules = node(), packages()
        self.environment = environment
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="jwtgate-idp-"))
        for name in PROGRAM:
            shutil.copy(HERE / name, self.folder)
        (self.folder / "node_modules").symlink_to(modules, target_is_directory=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=self.issuer, trust_env=False, timeout=20)

    @property
    def issuer(self) -> str:
        """Exactly as its tokens say."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Returns once it serves. A Node that ends or stands still before it does is started anew: no test is about Node."""
        for _ in range(ATTEMPTS):
            line = self._start()
            if line:
                assert json.loads(line) == {"issuer": self.issuer}
                return self
        raise TimeoutError(f"the provider did not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def _start(self) -> bytes:
        """What it says when it serves; nothing, if it does not."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [self.node, str(self.folder / "provider.mjs"), str(self.port), "--leash"],
                env={**os.environ, **self.environment},
                stdin=subprocess.PIPE,  # the leash: whatever ends this process closes it
                stdout=subprocess.PIPE,
                stderr=log,
            )
            assert self.process.stdout is not None
            is_told, _, _ = select.select([self.process.stdout], [], [], START_SECONDS)
            line = self.process.stdout.readline() if is_told else b""
            if not line:
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(1.0)
                log.write(f"{'ended' if is_told else 'stood still'}, {self.process.returncode=}\n".encode())
                self.kill()
        return line

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def kill(self) -> None:
        """Its port refuses connections from now on. May be called twice."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process = None

    def close(self) -> None:
        """Nothing is left."""
        self.kill()
        self.http.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- what it is told, and tells

    def lab(self, **order: Any) -> dict[str, Any]:
        """Its state: keys, faults, logouts; after an order, if any, of ``administer`` in provider.mjs."""
        answer = self.http.post("/lab", json=order) if order else self.http.get("/lab")
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        return state

    def kids(self, state: str) -> set[str]:
        """Of the keys that are active, next or old."""
        return {key["kid"] for key in self.lab()["keys"] if key["state"] == state}

    def misbehave(self, path: str, name: str, **options: Any) -> None:
        """From now on at that path, as ``faults.mjs`` says; ``none`` ends it. Counts anew who asks."""
        self.lab(fault={"path": path, "name": name, **options})

    def asked(self, path: str) -> int:
        """Requests for it since ``misbehave``."""
        return int(self.lab()["faults"][path]["asked"])

    def send_logouts_to(self, url: str) -> None:
        """The back-channel logout URI of every client that people use."""
        self.lab(clients={client: {"backchannel_logout_uri": url} for client in (*CLIENTS, NEIGHBOUR)})

    def browser(self) -> Browser:
        """Somebody's, without cookies."""
        return Browser(self.issuer)

    def log_in(self, user: str, client_id: str = "web", **request: str) -> str:
        """The access token of somebody who has just come."""
        with self.browser() as browser:
            return str(browser.log_in(user, client_id, **request)["access_token"])


def wait_until(holds: Any, what: str, seconds: float = 20.0) -> None:
    """Polls; fails with ``what`` once the time is up."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
