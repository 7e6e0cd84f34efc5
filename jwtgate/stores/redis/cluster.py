"""The node of a Redis or Valkey cluster that has the slot of a store's keys (cluster specification).

All keys of a store share one hash tag and so one slot: one node at a time is the store, and the others tell which.
MOVED and ASK say that a command was not executed, so following them repeats nothing.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import MovedError, TryAgainError

from jwtgate.stores.redis.dialling import Address
from jwtgate.stores.redis.places import Guided, exchange

if TYPE_CHECKING:
    from redis.exceptions import AskError

    from jwtgate.stores.redis.dialling import Connected, Dial, Dials

__all__ = ["ClusterPlace", "slot_of"]

SLOTS = 16384


def slot_of(tag: str) -> int:
    """The slot of all keys with this hash tag: CRC16 (XMODEM)."""
    return crc_hqx(tag.encode(), 0) % SLOTS


class ClusterPlace(Guided):
    """redis+cluster://."""

    guides_are = "cluster node"

    def __init__(self, dials: Dials, slot: int) -> None:
        super().__init__(dials)
        self._seeds = dials.hosts
        self._slot = slot

    def _ask(self, guide: Dial, address: Address) -> Address | None:
        try:
            answer = exchange(guide, "CLUSTER", "SLOTS")
        except redis.ResponseError as error:
            if "cluster support disabled" in str(error):
                raise redis.ResponseError(f"{address} is no node of a cluster; one server is named by redis://") from error
            raise
        nodes: dict[Address, None] = {}
        primary = None
        for first, last, *members in answer:
            there = [_address(member, address) for member in members]
            nodes.update(dict.fromkeys(there))
            if first <= self._slot <= last:
                primary = there[0]
        if primary is not None:
            self._learn(nodes, primary)
        return primary

    def _check(self, connection: Connected) -> None:
        """Nothing to ask: a node that has not the slot says MOVED."""

    def _learn(self, nodes: dict[Address, None], primary: Address) -> None:
        """The primary itself comes last: if it was replaced, it hears of it last."""
        others = [node for node in nodes if node != primary]
        self._guides = (*others, *(seed for seed in self._seeds if seed not in nodes), primary)

    def failed(self, error: Exception) -> bool:
        """See ``Place``."""
        if isinstance(error, TryAgainError):  # the slot is moving: this node is still right, or will say MOVED
            self._fresh_until = 0.0
            return False
        return super().failed(error)

    def redirected(self, error: AskError) -> Dial:
        """See ``Place``."""
        host = str(error.host) or (self._primary.host if self._primary is not None else "")  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType] - untyped there
        there = Address(host, int(error.port))
        if isinstance(error, MovedError):
            with self._lock:
                self._settle_on(there)
        return self.dial.at(there)


def _address(member: Any, asked: Address) -> Address:
    """A node that does not know its own address is where it was asked."""
    host = member[0].decode() if member[0] else ""
    return Address(asked.host if host in ("", "?") else host, int(member[1]))
