"""The change log, watched by whoever only wants to know: nothing is registered, so that no receipt waits for a watcher."""

from jwtgate.watching.events import Event, Reader
from jwtgate.watching.lines import Line, Read, watched

__all__ = ["Event", "Line", "Read", "Reader", "watched"]
