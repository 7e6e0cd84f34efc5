"""Gates for tests inside one process: each stands for a process of its own, with its own view, follower and clock."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from processes.world import SECRET, wait_until

from jwtgate import Gate, Settings
from jwtgate.core.history import Watch
from jwtgate.errors import InvalidToken, StoreUnavailable
from jwtgate.runtime.clock import boot
from jwtgate.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from processes.checker import Verdict
    from servers import Server


class ShiftedClock:
    """A wall clock that is wrong by some seconds; the boot clock is nobody's to set."""

    boot = staticmethod(boot)

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def wall(self) -> float:
        """NumericDate."""
        return time.time() + self.seconds


def made(url: str, *, clock: ShiftedClock | None = None, **settings: Any) -> Gate:
    """A gate that is not yet started."""
    gate = Gate(Settings(**{"secret": SECRET, "store": url, "handles": ["tenant"], "version_claim": "ver", **settings}))
    if clock is not None:
        gate.clock = clock  # type: ignore[assignment]
        gate.reset_after_fork()  # composes anew, with this clock
    return gate


@contextmanager
def started(url: str, **settings: Any) -> Iterator[Gate]:
    """A live gate; closed at the end."""
    gate = made(url, **settings)
    try:
        assert gate.ready(15.0), gate.status()
        yield gate
    finally:
        gate.close()


def judged(gate: Gate, token: str) -> Verdict:
    """The verdict on one token, where the store is well. Raises: StoreUnavailable: a busy machine's has not answered in time."""
    try:
        gate.verify(token)
    except InvalidToken:
        return "refused"
    return "admitted"


def answer_of(gate: Gate, token: str) -> Verdict:
    """The verdict on one token, whatever the store does."""
    try:
        return judged(gate, token)
    except StoreUnavailable:
        return "unavailable"


def heal(server: Any) -> None:
    """An empty store takes two leases to be believed, so a process with a very short one waits for it.

    The epoch is healed once for all: whoever comes afterwards, with whatever lease, is live at once.
    """
    with started(server.url, lease=0.1) as gate:
        wait_until(lambda: gate.store.workers()[0].is_settled, 10.0, "the epoch has settled")


def worker_names(server: Server) -> set[str]:
    """Who is registered in the store."""
    store = open_store(server.url, prefix="jwtgate", watch=Watch(1.0, 1.0))
    try:
        return {worker.name for worker in store.workers()[2]}
    finally:
        store.close()
