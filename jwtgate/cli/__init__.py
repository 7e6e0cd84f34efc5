"""The command ``jwtgate``."""

from jwtgate.cli.entry import main

__all__ = ["main"]
