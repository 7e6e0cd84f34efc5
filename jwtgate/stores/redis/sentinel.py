"""The primary that Redis Sentinel or Valkey Sentinel names for a service.

Asked as the Sentinel guidelines for clients say: a Sentinel's word is checked with the server itself, and every reconnection
asks again. redis-py's own Sentinel client is not used: it repeats questions without a bound on their sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from jwtgate.stores.redis.answers import pairs
from jwtgate.stores.redis.dialling import GUIDE_SECONDS, Address
from jwtgate.stores.redis.places import Guided, exchange

if TYPE_CHECKING:
    from jwtgate.stores.redis.dialling import Connected, Dial, Dials

__all__ = ["SentinelPlace"]


class SentinelPlace(Guided):
    """redis+sentinel://."""

    guides_are = "Sentinel"

    def __init__(self, dials: Dials) -> None:
        super().__init__(dials)
        self.service = dials.service

    def _ask(self, guide: Dial, address: Address) -> Address | None:
        try:
            answer = exchange(guide, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        except redis.ResponseError as error:
            if "unknown command" in str(error).lower():
                raise redis.ResponseError(f"{address} is no Sentinel") from error
            raise
        if answer is None:
            raise redis.ResponseError(f"the Sentinel at {address} knows no such service; the URL ends with its name")
        return Address(answer[0].decode(), int(answer[1]))

    def inquire(self) -> dict[str, str]:
        """What the first Sentinel that answers knows of the service; nothing where none does."""
        for address in self._guides:
            try:
                return pairs(exchange(self._guide.at(address, seconds=GUIDE_SECONDS), "SENTINEL", "MASTER", self.service))
            except (redis.RedisError, OSError, ValueError):
                continue
        return {}

    def _check(self, connection: Connected) -> None:
        """By INFO, which the scripts need as well, and not by ROLE, for which a user may have no right."""
        connection.send_command("INFO", "replication")
        if b"role:master" not in connection.read_response():
            raise redis.ReadOnlyError("the server that the Sentinels name is no primary (yet, or no longer)")
