"""``python -m pairs.running daphne PORT``: of the servers that have no command line which takes a factory."""

from __future__ import annotations

import logging
import sys

from pairs import asgi_applications, wsgi_applications


def daphne(port: str) -> None:
    """As its own command does."""
    from daphne.server import Server

    Server(asgi_applications.application(), [f"tcp:port={port}:interface=127.0.0.1"]).run()


def werkzeug(port: str) -> None:
    """The development server, which Flask's command runs."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(port), wsgi_applications.application(), threaded=True)


if __name__ == "__main__":
    {made.__name__: made for made in (daphne, werkzeug)}[sys.argv[1]](sys.argv[2])
