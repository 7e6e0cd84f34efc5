"""The primary that Redis Sentinel or Valkey Sentinel names for a service.

Asked as the Sentinel guidelines for clients say: a Sentinel's word is checked with the server itself, and every reconnection
asks again. redis-py's own Sentinel client is not used: it repeats questions without a bound on their sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from jwtgate.stores.redis.dialling import Address
from jwtgate.stores.redis.places import Guided, exchange

if TYPE_CHECKING:
    from jwtgate.stores.redis.dialling import Connected, Dial, Dials

__all__ = ["SentinelPlace"]


class SentinelPlace(Guided):
    """redis+sentinel://."""

    guides_are = "Sentinel"

    def __init__(self, dials: Dials) -> None:
        super().__init__(dials)
        self._service = dials.service

    def _ask(self, guide: Dial, address: Address) -> Address | None:
        try:
            answer = exchange(guide, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
        except redis.ResponseError as error:
            if "unknown command" in str(error).lower():
                raise redis.ResponseError(f"{address} is no Sentinel") from error
            raise
        if answer is None:
            raise redis.ResponseError(f"the Sentinel at {address} knows no such service; the URL ends with its name")
        return Address(answer[0].decode(), int(answer[1]))

    def _check(self, connection: Connected) -> None:
        """By INFO, which the scripts need as well, and not by ROLE, for which a user may have no right."""
        connection.send_command("INFO", "replication")
        if b"role:master" not in connection.read_response():
            raise redis.ReadOnlyError("the server that the Sentinels name is no primary (yet, or no longer)")
