"""The admitted tokens: least recently used out first, and out at once under any of their handles.

Invariant: every entry was verified in full by the one decision function, and each of its handles leads back to it, so
evicting a handle leaves nothing behind that carries it. The key is a digest of the token and of where it came from: no
bearer secret stays in memory, and a token shown as a cookie is never served to a header.

Reading takes no lock: ``get`` and ``touch`` are single dictionary operations. Everything else is called under the view's
lock. Knows neither the lease nor the clock.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jwtgate.core.possession.binding import Bond
    from jwtgate.messages import Token

__all__ = ["Admitted", "AdmittedTokens"]


class Admitted:
    """One admitted token.

    Attributes:
        token: what the application receives.
        deadline: boot-clock seconds from which it is dead by its own time bounds.
        handles: digests of all its handles but the issuer-wide one.
        is_seen: whether it need not be put on the list of sessions seen; always, where it is of no session of ours.
        dress, remote_user: what the ASGI and the WSGI shell keep with it so that a hit makes nothing anew; None until the
            shell has served it. One each: both may stand before one gate in one process.
        served: requests that were served with it; counted only under ``ROTATE_AFTER``.
        bond: what each request must show that it holds; None: nothing.
    """

    __slots__ = ("bond", "deadline", "dress", "handles", "is_seen", "remote_user", "served", "token")

    def __init__(
        self, token: Token, deadline: float, handles: tuple[bytes, ...], *, is_seen: bool = True, bond: Bond | None = None
    ) -> None:
        self.token = token
        self.deadline = deadline
        self.handles = handles
        self.is_seen = is_seen
        self.dress: dict[str, Any] | None = None
        self.remote_user: str | None = None
        self.served = 0
        self.bond = bond


class AdmittedTokens:
    """At most ``size`` entries, indexed by handle."""

    __slots__ = ("_entries", "_index", "get", "size", "touch")

    def __init__(self, size: int) -> None:
        self.size = size
        self._entries: OrderedDict[bytes, Admitted] = OrderedDict()
        self._index: dict[bytes, bytes | set[bytes]] = {}
        self.get = self._entries.get
        self.touch = self._entries.move_to_end
        """Marks as recently used; KeyError if it was evicted meanwhile."""

    def __len__(self) -> int:
        return len(self._entries)

    def insert(self, key: bytes, entry: Admitted) -> None:
        """Adds or replaces; the least recently used goes when there is no room."""
        if key in self._entries:
            self._drop(key)
        while len(self._entries) >= self.size:
            self._unlink(*self._entries.popitem(last=False))  # one step: hits reorder meanwhile, without the lock
        self._entries[key] = entry
        for handle in entry.handles:
            known = self._index.get(handle)
            if known is None or known == key:
                self._index[handle] = key
            elif isinstance(known, set):
                known.add(key)
            else:
                self._index[handle] = {known, key}

    def evict(self, handle: bytes) -> None:
        """Drops every entry that carries the handle."""
        known = self._index.get(handle)
        if known is None:
            return
        for key in (known,) if isinstance(known, bytes) else tuple(known):
            self._drop(key)

    def under(self, handle: bytes) -> list[tuple[bytes, Admitted]]:
        """Every entry that carries the handle, with its key."""
        known = self._index.get(handle, ())
        keys = (known,) if isinstance(known, bytes) else known
        return [(key, self._entries[key]) for key in keys]

    def remove(self, key: bytes, entry: Admitted) -> None:
        """Drops this very entry, if it is still there."""
        if self._entries.get(key) is entry:
            self._drop(key)

    def clear(self) -> None:
        """Drops everything."""
        self._entries.clear()
        self._index.clear()

    def _drop(self, key: bytes) -> None:
        self._unlink(key, self._entries.pop(key))

    def _unlink(self, key: bytes, entry: Admitted) -> None:
        for handle in entry.handles:
            known = self._index[handle]
            if isinstance(known, bytes):
                del self._index[handle]
                continue
            known.discard(key)
            if len(known) == 1:
                self._index[handle] = known.pop()
