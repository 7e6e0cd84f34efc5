"""Ways to break a gate on purpose: a suite that does not notice them proves nothing."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate import Gate


def trust_for_ever(gate: Gate) -> None:
    """Its lease never lapses: it acts on old knowledge for as long as it cannot hear of new (without F3, R1)."""

    def trust() -> None:
        gate.ready(30.0)
        while True:
            gate.view.lease_until = inf
            time.sleep(0.001)

    threading.Thread(target=trust, daemon=True).start()


def stop_following(gate: Gate) -> None:
    """Once live it never hears of anything again, and believes itself live."""

    def stop() -> None:
        gate.ready(30.0)
        gate.follower.let_go()
        gate.follower.start = lambda: None  # type: ignore[method-assign]
        gate.view.lease_until = inf

    threading.Thread(target=stop, daemon=True).start()


def take_twice(gate: Gate) -> None:
    """Whatever may be used once it takes for new."""
    mark = gate.store.mark
    gate.store.mark = lambda *what: replace(mark(*what), is_new=True)  # type: ignore[method-assign]


CRIPPLES: dict[str, Callable[[Gate], None]] = {
    "trust for ever": trust_for_ever,
    "stop following": stop_following,
    "take twice": take_twice,
}
