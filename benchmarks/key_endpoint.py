"""An endpoint of keys in a process of its own, which answers the first who asks at a path, and then does as the path says."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.request import urlopen

from benchmarks.tokens import PublishedKey

__all__ = ["HOWS", "Endpoint"]

HOWS = ("answers", "fails", "hangs")
HANG_SECONDS = 600.0


class Endpoint:
    """The process. ``/HOW/NAME`` is a JWK Set; each path is counted by itself."""

    def __init__(self) -> None:
        self.key = PublishedKey()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.key_endpoint", self.key.jwk_set], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def counted(self, path: str) -> int:
        """Requests for a path so far."""
        with urlopen(f"{self.url}/counts", timeout=10) as answer:
            return int(json.load(answer).get(path, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()


def _serve(jwk_set: bytes) -> None:
    asked: Counter[str] = Counter()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/counts":
                self._send(200, json.dumps(asked).encode())
                return
            with lock:
                asked[self.path] += 1
                is_first = asked[self.path] == 1
            how = "answers" if is_first else self.path.split("/")[1]
            if how == "hangs":
                time.sleep(HANG_SECONDS)
            else:
                self._send(500 if how == "fails" else 200, jwk_set)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve(sys.argv[1].encode())
