"""When the demo may be interrupted: at any moment, but never between starting a process and having noted it."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Interruption"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """While entered, Ctrl-C, SIGTERM and SIGHUP raise ``KeyboardInterrupt``; inside ``held`` they wait for its end."""

    def __init__(self) -> None:
        self._held = 0
        self._has_arrived = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # started by nohup: meant to outlive its terminal
            self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, *_: object) -> None:
        if not self._held:
            raise KeyboardInterrupt
        self._has_arrived = True

    @contextmanager
    def held(self) -> Generator[None]:
        """Raises: KeyboardInterrupt: at the end, if it came meanwhile."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._has_arrived and not self._held:
            self._has_arrived = False
            raise KeyboardInterrupt
