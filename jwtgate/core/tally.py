"""The plain numbers that a process keeps of its requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jwtgate.errors import JWTGateError

__all__ = ["Tally"]


class Tally:
    """Plain numbers of one process. Increments are single bytecode runs; nothing waits for them."""

    __slots__ = ("ended", "hits", "look_ups", "misses", "refused")

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0
        self.look_ups = 0
        self.refused: dict[str, int] = {}
        self.ended: dict[str, int] = {}

    def count(self, error: JWTGateError) -> None:
        """One more refusal, by its precise reason."""
        self.refused[error.reason] = self.refused.get(error.reason, 0) + 1

    def count_ended(self, error: JWTGateError) -> None:
        """One more live connection that the gate has ended, by the precise reason."""
        self.ended[error.reason] = self.ended.get(error.reason, 0) + 1
