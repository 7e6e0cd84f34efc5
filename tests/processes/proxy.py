"""A TCP proxy on loopback that fails as networks do: it holds bytes back in either direction, delays them, or cuts.

What is held is delivered later, as a network that heals does: a question whose asker has long given up still arrives.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from typing import Self

POLL_SECONDS = 0.05


class Proxy:
    """Between any number of clients and one server. ``close`` ends its threads."""

    def __init__(self, port: int) -> None:
        """Args: port: of the server on 127.0.0.1."""
        self._target = port
        self._questions, self._answers = threading.Event(), threading.Event()
        self._questions.set()
        self._answers.set()
        self._is_cut = False
        self._is_closed = False
        self.delay_seconds = 0.0
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(POLL_SECONDS)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def hold(self, *, questions: bool = True, answers: bool = True) -> None:
        """Nothing gets through in these directions until ``pass_on``; connections are accepted."""
        if questions:
            self._questions.clear()
        if answers:
            self._answers.clear()

    def cut(self) -> None:
        """Closes every connection and each new one until ``pass_on``."""
        self._is_cut = True
        self.drop()

    def drop(self) -> None:
        """Closes every connection once."""
        with self._lock:
            for each in self._sockets:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def pass_on(self) -> None:
        """Ends every fault."""
        self._is_cut = False
        self.delay_seconds = 0.0
        self._questions.set()
        self._answers.set()

    def close(self) -> None:
        """Ends all threads and connections."""
        self._is_closed = True
        self.pass_on()
        self.drop()
        for thread in list(self._threads):
            thread.join(30.0)
            assert not thread.is_alive()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        with self._lock:
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            if self._is_cut or self._is_closed:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=1.0)
            except OSError:
                client.close()
                continue
            self._start(self._serve, client, server)

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """One connection: this thread carries the questions, another the answers."""
        with client, server:
            for each in (client, server):
                each.settimeout(None)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._sockets |= {client, server}
            answers = threading.Thread(target=self._carry, args=(server, client, self._answers), daemon=True)
            answers.start()
            self._carry(client, server, self._questions)
            answers.join()
            with self._lock:
                self._sockets -= {client, server}

    def _carry(self, source: socket.socket, target: socket.socket, may_pass: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.delay_seconds:
                    time.sleep(random.uniform(0.5, 1.0) * self.delay_seconds)
                may_pass.wait()
                target.sendall(data)
        may_pass.wait()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
