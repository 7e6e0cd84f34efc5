"""The keys of a gate, kept those of its files: looked at about every second, in a follower's thread.

A file that changed is read again, and so are all when a key's time comes. Invariant: what cannot be read, or would not have
been accepted at the start, changes nothing: the last good keys stay, and one log line says why. A key that is gone takes its
remembered tokens with it (``View.turn_to``); requests need not wait for any of this.
"""

from __future__ import annotations

import logging
import os
import threading
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from jwtgate.core.keys.ring import named
from jwtgate.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jwtgate.core.effects import Clock
    from jwtgate.core.tokens.policy import IssuerPolicy
    from jwtgate.runtime.key_desk import KeyDesk

    Policies = Mapping[str | None, IssuerPolicy]

__all__ = ["Rekeying"]

logger = logging.getLogger("jwtgate")

LOOK_SECONDS = 1.0


class Rekeying:
    """One per gate and process. Thread-safe; who comes while another looks goes on."""

    def __init__(self, files: tuple[str, ...], reread: Callable[[], Policies], desk: KeyDesk, clock: Clock) -> None:
        """Args: files: files and folders. reread: builds the policies anew; raises SettingsError."""
        self._files = tuple(map(Path, files))
        self._reread = reread
        self._desk = desk
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = -inf
        self._seen: list[object] = []
        self._said = ""

    def look(self) -> None:
        """Costs a clock read most of the times that it is called, and a ``stat`` per file once a second."""
        now = self._clock.boot()
        if not self._files or now - self._looked_at < LOOK_SECONDS or not self._lock.acquire(blocking=False):
            return
        try:
            self._looked_at = now
            seen = list(self._signatures())
            if seen != self._seen or self._clock.wall() >= self._desk.changes_at():
                self._turn()
                self._seen = seen
        except (SettingsError, OSError) as error:  # tried again, since what was seen is not remembered
            if str(error) != self._said:
                self._said = str(error)
                logger.warning("keys not read anew, the last good ones stay: %s", error)
        finally:
            self._lock.release()

    def _turn(self) -> None:
        fresh = self._reread()
        self._said = ""
        self._desk.configure({issuer: policy.keys for issuer, policy in fresh.items()})
        logger.info("keys read anew: %s", named(key for policy in fresh.values() for key in policy.keys.keys))

    def _signatures(self) -> Iterator[object]:
        """What changes with a file: where it is, how long, and when it was written."""
        for file in self._files:
            for path in (file, *(sorted(file.glob("*.json")) if os.path.isdir(file) else ())):  # noqa: PTH112 - raises nothing
                try:
                    found = path.stat()
                except OSError as error:
                    yield str(path), error.errno
                else:
                    yield str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
