"""A process that issues tokens and publishes their status: takes commands as JSON lines, serves the lists by HTTP."""

from __future__ import annotations

import json
import sys
import threading
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from jwtgate import Gate, Settings
from jwtgate.wsgi import JWTGateMiddleware


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Commands:
    """What the test may ask for."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def issue(self, sub: str, count: int = 1, **more: Any) -> list[str]:
        return [self.gate.issue(sub, **more) for _ in range(count)]

    def start(self, sub: str) -> dict[str, Any]:
        return {**self.gate.sessions.start(sub).as_dict()}

    def refresh(self, refresh_token: str) -> dict[str, Any]:
        return {**self.gate.sessions.refresh(refresh_token).as_dict()}

    def revoke(self, **target: Any) -> None:
        self.gate.revoke(wait=True, **target)

    def revoke_each(self, jtis: list[str]) -> None:
        for jti in jtis:
            self.gate.revoke(jti=jti)

    def suspend(self, sub: str) -> None:
        self.gate.suspend(sub, wait=True)

    def reinstate(self, sub: str) -> None:
        self.gate.reinstate(sub, wait=True)

    def ready(self) -> bool:
        return self.gate.ready(10.0)


def main() -> None:
    settings = json.loads(sys.argv[1])
    server = make_server("127.0.0.1", 0, lambda _, __: [], server_class=Server, handler_class=Quiet)
    origin = f"http://127.0.0.1:{server.server_port}"
    gate = Gate(Settings(**settings, issuer=origin, status_lists=f"{origin}/auth/status", endpoints="/auth", jwks_http=True))
    server.set_app(JWTGateMiddleware(lambda _, __: [], gate=gate))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    commands = Commands(gate)
    print(json.dumps(origin), flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(commands, name)(**arguments)), flush=True)
    gate.close()


if __name__ == "__main__":
    main()
