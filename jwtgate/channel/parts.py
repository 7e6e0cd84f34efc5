"""A WSGI response that comes in parts: none is sent once its token is dead.

A part that is not there yet nobody can wait for but the application, in its own thread; so such a response ends when its next
part would come (``core.live``). The first one is sent as the request was decided, and so is what an application pushes with the
``write`` of PEP 3333, which it should not use.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from jwtgate.core.live import LiveConnection, nobody
from jwtgate.errors import JWTGateError
from jwtgate.runtime import blocking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jwtgate.core.lru import Admitted
    from jwtgate.gate import Gate
    from jwtgate.messages import Credential

__all__ = ["Parts"]

logger = logging.getLogger("jwtgate")


class Parts:
    """An application's iterable (PEP 3333). Used by one thread at a time."""

    __slots__ = ("_find", "_gate", "_live", "_next", "_parts", "_sent", "entry")

    def __init__(self, gate: Gate, entry: Admitted, parts: Iterable[bytes], find: Callable[[], Credential | None]) -> None:
        """Args: find: the token of the request; asked for once there is a second part."""
        self.entry = entry
        self._gate = gate
        self._parts = parts
        self._next = iter(parts).__next__
        self._find = find
        self._sent = 0
        self._live: LiveConnection | None = None

    def __iter__(self) -> Parts:
        """Itself."""
        return self

    def __next__(self) -> bytes:
        """The next part, if it may still be sent."""
        try:
            part = self._next()
        except StopIteration:
            self._let_go()
            raise
        self._sent += 1
        if self._sent > 1 and not self._passes():
            self._let_go()
            self._next = iter(()).__next__
            raise StopIteration
        return part

    def __del__(self) -> None:
        """Not everybody who stands between a server and an application hands ``close`` on."""
        self._let_go()

    def _let_go(self) -> None:
        if self._live is not None:
            self._gate.view.live.unwatch(self._live)

    def close(self) -> None:
        """Lets go, and has the application do so."""
        self._let_go()
        close = getattr(self._parts, "close", None)
        if close is not None:
            close()

    def _passes(self) -> bool:
        gate = self._gate
        live = self._live or self._watched()
        if live is None or gate.decision.vouches(live):
            return True
        gate.start()
        try:
            blocking.run(gate.plans.again(live), gate.performer)
        except JWTGateError as error:
            logger.info("ended a live response: %s (%s)", error.reason, error)
            gate.tally.count_ended(error)
            return False
        return True

    def _watched(self) -> LiveConnection | None:
        credential = self._find()
        if credential is None:
            return None
        live = self._live = LiveConnection(credential.token, credential.source, self.entry, nobody)
        self._gate.view.live.watch(live)
        return live
