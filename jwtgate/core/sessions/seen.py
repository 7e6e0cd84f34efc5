"""Which sessions were seen lately, to be told to the store in batches: no request makes a round trip for it.

A token's first hit since the last telling puts it on the list; all later ones cost one comparison. Appending and taking are
single operations of a deque, so requests and the follower need no lock. Bounded; what does not fit is told another time.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from jwtgate.core.lru import Admitted

__all__ = ["SeenSessions"]


class SeenSessions:
    """Of one process."""

    __slots__ = ("_waiting",)

    def __init__(self, most: int) -> None:
        """Args: most: entries that wait to be told."""
        self._waiting: deque[Admitted] = deque(maxlen=most)

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, entry: Admitted) -> None:
        """A token that was just shown, and had not been since the last telling."""
        entry.is_seen = True
        self._waiting.append(entry)

    def take(self, most: int, keeps: Callable[[str], bool]) -> tuple[str, ...]:
        """Names of sessions to tell of, each once; their tokens are listed again when they are next shown.

        Args: most: how many. keeps: whether a session stands in the partition that is told; the others go on waiting.
        """
        sids: dict[str, None] = {}
        with suppress(IndexError):
            for _ in range(len(self._waiting)):
                if len(sids) >= most:
                    break
                entry = self._waiting.popleft()
                sid = entry.token.session_id
                if sid is not None and not keeps(sid):
                    self._waiting.append(entry)
                    continue
                entry.is_seen = False
                if sid is not None:
                    sids[sid] = None
        return tuple(sids)
