"""``jwtgate console``: the operator's page on this machine, over the store of the application's settings.

Needs no account: who can run the command gets a link that works once. It listens on the loopback interface, by plain http; on
any other only where that is said aloud, since whoever reads the network then reads the cookie, too.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from jwtgate.cli.answering import INTERRUPTED, USAGE, Misuse, answering
from jwtgate.cli.gates import operator, quiet
from jwtgate.cli.printing import complain, say
from jwtgate.gate import Gate
from jwtgate.settings import Settings

if TYPE_CHECKING:
    from jwtgate.console.door import Door

__all__ = ["console"]

HTTP_PORT = 80

MODULES = ("jinja2", "uvicorn")
"""What the extra ``console`` installs besides the extra ``cli`` (pyproject.toml)."""


@answering
def console(
    *,
    host: Annotated[str, typer.Option(help="Where to listen: the loopback interface.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0: any that is free.")] = 8900,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Listen on another interface, by plain http, which others can read.")
    ] = False,
) -> int:
    """Look at sessions, rulings and workers in a browser, and act on them; until Ctrl-C (status 130)."""
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        print(f"jwtgate console needs {', '.join(missing)}:\n\n    pip install 'jwtgate[console]'\n", file=sys.stderr)
        return USAGE
    if not is_loopback(host) and not plain_http:
        raise Misuse("--host is not this machine's loopback interface, and this is plain http: add --plain-http if you mean it")
    if is_any(host):
        raise Misuse("--host names every address of this machine: name the one that the browser will open")
    settings = Settings.from_env()
    if settings.store == "memory://":
        raise Misuse("JWTGATE_STORE is memory://, the memory of one process: there is nothing to look at from another one.")
    listening = _listen(host, port)
    gate = Gate(settings)
    try:
        return _serve(gate, host, listening)
    finally:
        gate.close()
        listening.close()


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_any(host: str) -> bool:
    """Whether it stands for all addresses: no browser could then be told by its ``Host`` from one that is led here."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def _listen(host: str, port: int) -> socket.socket:
    """Raises: Misuse."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Misuse(f"cannot listen on --host and --port: {error.strerror or 'no such address'}") from None


def hosts_of(host: str, port: int) -> frozenset[bytes]:
    """What ``Host`` may say, lower-case; on the loopback interface its usual names, too."""
    names = {f"[{host.lower()}]" if ":" in host else host.lower()}
    if is_loopback(host):
        names.update(("localhost", "127.0.0.1", "[::1]"))
    told = {f"{name}:{port}" for name in names}
    if port == HTTP_PORT:  # browsers leave it out
        told |= names
    return frozenset(name.encode() for name in told)


def _serve(gate: Gate, host: str, listening: socket.socket) -> int:
    import uvicorn  # here, since it is an extra's

    from jwtgate.console.door import Door

    port: int = listening.getsockname()[1]
    door = Door(gate, by=operator(), hosts=hosts_of(host, port))
    # No access log: addresses of pages name subjects.
    config = uvicorn.Config(door, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    _tell(door, host, port)
    try:
        with quiet():
            server.run(sockets=[listening])
    finally:
        door.close()
    return INTERRUPTED


def _tell(door: Door, host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    say(f"http://{shown}:{port}/enter?code={door.code}", "bold")
    complain("the link works once, for ten minutes; Ctrl-C ends the console")
    if not is_loopback(host):
        complain("this is plain http: whoever is on the way reads everything, the cookie too")
