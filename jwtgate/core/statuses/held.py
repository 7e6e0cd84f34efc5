"""The status lists of one issuer that a process follows: what a request finds there, and which is fetched next.

The order of draft-ietf-oauth-status-list §8.3: whoever asks here has verified the token itself entirely, so nobody who cannot
sign as the issuer causes a fetch, or has anything remembered. A list that is seen for the first time is awaited for a moment;
from then on it is fetched ahead of need, and used until its lifetime and ``stale_seconds`` are over, never past its ``exp``.

Invariant: what is remembered dies with a newer list. A decision holds the very ``HeldList`` that it read. When another takes
its place, or it is given up, ``View.turn_list`` marks it as over and finds the remembered tokens that depend on it, both in one
step under the lock under which tokens are remembered; a late decision finds the mark and is not remembered. Nothing is
remembered longer than the list that it was read in may be used.

Reads no clock and fetches nothing: ``runtime.list_fetching`` does. When to fetch is ``keys.fetching``, one for each list.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from jwtgate.core.handles import digest_of
from jwtgate.core.keys.fetching import KeyFetching
from jwtgate.core.keys.ring import AWAITED_SECONDS, Awaited
from jwtgate.core.statuses.claim import reference_of
from jwtgate.core.statuses.status_list import VALID
from jwtgate.errors import InvalidToken, Revoked, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from jwtgate.core.lru import Admitted
    from jwtgate.core.statuses.claim import ListRules
    from jwtgate.core.statuses.status_list import StatusList

__all__ = ["FetchedList", "FollowedList", "HeldList", "StatusUnavailable", "Statuses"]

MOST_LISTS = 128
"""Of one issuer. A publisher begins a new one now and then; an issuer that names more is at fault, and its tokens get 503."""

KEPT_SECONDS = 300.0
"""A list that no token names any more is followed so long at least."""

LEAST_LIFETIME_SECONDS = 1.0
DEFAULT_LIFETIME_SECONDS = 300.0
MOST_LIFETIME_SECONDS = 3600.0
"""Own bounds of what the publisher's ``ttl`` may say: §13.7 leaves them to whoever consumes."""


class StatusUnavailable(UnavailableError):
    """Whether the token is still good its issuer's status list would say, which cannot be had."""

    reason = "status_unavailable"


class StatusAwaited(StatusUnavailable, Awaited):
    """It is being fetched at this moment."""


@dataclass(frozen=True, slots=True)
class FetchedList:
    """What a good Status List Token says. Times are NumericDates.

    Attributes:
        ttl_seconds, ends_at: None where it does not say.
    """

    status_list: StatusList
    issued_at: float
    ttl_seconds: float | None
    ends_at: float | None


class HeldList:
    """One list that requests read.

    Attributes:
        status_list: the entries.
        issued_at: its ``iat``.
        usable_until: boot-clock seconds; nothing that was read in it is remembered longer.
        handle: of the list's address: remembered tokens are found by it.
        is_over: another has taken its place; set and read under the view's lock.
    """

    __slots__ = ("handle", "is_over", "issued_at", "status_list", "usable_until")

    def __init__(self, status_list: StatusList, issued_at: float, usable_until: float, handle: bytes) -> None:
        self.status_list = status_list
        self.issued_at = issued_at
        self.usable_until = usable_until
        self.handle = handle
        self.is_over = False

    def is_against(self, entry: Admitted) -> bool:
        """Whether it refuses a remembered token whose status stands at its address."""
        index = entry.token.claims["status"]["status_list"]["idx"]
        return index >= len(self.status_list) or self.status_list.value(index) != VALID


class FollowedList:
    """One address. Everything but ``held`` is for whoever has the lock."""

    __slots__ = ("awaited_until", "fetching", "handle", "held", "said", "uri", "wanted_until")

    def __init__(self, uri: str, handle: bytes, fetching: KeyFetching, now: float) -> None:
        self.uri = uri
        self.handle = handle
        self.fetching = fetching
        self.held: HeldList | None = None
        self.awaited_until = now + AWAITED_SECONDS
        self.wanted_until = now + KEPT_SECONDS
        self.said = ""


class Statuses:
    """See the module. Requests come in any thread; the lists change in one alone."""

    def __init__(
        self,
        rules: ListRules,
        namespace: str,
        lock: AbstractContextManager[object],
        boot: Callable[[], float],
        draw: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        """Args: lock: its own. boot: the clock. draw: random numbers in [0, 1). wake: tells the thread that there is more."""
        self.rules = rules
        self.namespace = namespace
        self.lock = lock
        self.boot = boot
        self.draw = draw
        self.wake = wake
        self.followed: dict[str, FollowedList] = {}

    # --- the requests' side

    def read(self, claims: Mapping[str, Any]) -> HeldList | None:
        """The list that vouches for a token that was verified; None: it names none.

        Raises: InvalidToken: its reference cannot be. Revoked. StatusUnavailable; StatusAwaited.
        """
        reference = reference_of(claims, self.rules)
        if reference is None:
            return None
        now = self.boot()
        followed = self.followed.get(reference.uri)
        held = None if followed is None else followed.held
        if followed is None or held is None or now >= held.usable_until:
            raise self._missing(reference.uri, now)
        followed.wanted_until = max(followed.wanted_until, held.usable_until, now + KEPT_SECONDS)
        if reference.idx >= len(held.status_list):
            raise InvalidToken("idx is beyond the end of the status list")
        if held.status_list.value(reference.idx) != VALID:
            raise Revoked("the status list of its issuer says so")
        return held

    def _missing(self, uri: str, now: float) -> StatusUnavailable:
        with self.lock:
            followed = self.followed.get(uri)
            is_new = followed is None
            if followed is None:
                if len(self.followed) >= MOST_LISTS:
                    return StatusUnavailable(f"the issuer's tokens name more than {MOST_LISTS} status lists")
                followed = FollowedList(uri, self.handle_of(uri), KeyFetching(self.rules.stale_seconds, self.draw), now)
                self.followed[uri] = followed
            followed.wanted_until = max(followed.wanted_until, now + KEPT_SECONDS)
            fetching = followed.fetching
            is_awaited = not fetching.failures and fetching.fetched_at == -inf and now < followed.awaited_until
        if is_new:
            self.wake()
        if is_awaited:
            return StatusAwaited("a status list is being fetched")
        return StatusUnavailable("the status list is not here, or too old")

    def handle_of(self, uri: str) -> bytes:
        """The digest by which remembered tokens of a list are found; no claim of that name can be configured as a handle."""
        return digest_of(self.namespace, "status list", uri)

    # --- the side of the thread that fetches

    def next_due(self, now: float) -> tuple[FollowedList | None, float]:
        """The list that is to be fetched now, if one is; else how many seconds from now one will be."""
        with self.lock:
            first = min(self.followed.values(), key=lambda each: each.fetching.due_at, default=None)
        if first is None:
            return None, inf
        left = first.fetching.due_at - now
        return (first, 0.0) if left <= 0 else (None, left)

    def unwanted(self, now: float) -> tuple[FollowedList, ...]:
        """Takes those away that no token has named for long: nothing remembered depends on them."""
        with self.lock:
            unwanted = tuple(each for each in self.followed.values() if now >= each.wanted_until)
            for each in unwanted:
                del self.followed[each.uri]
        return unwanted

    def begin(self, followed: FollowedList, now: float) -> None:
        """A fetch begins."""
        with self.lock:
            followed.fetching.began(now)

    def fail(self, followed: FollowedList, now: float) -> None:
        """Nothing came that can be used: the last good one goes on."""
        with self.lock:
            followed.fetching.failed(now)

    def lose(self, followed: FollowedList, now: float) -> HeldList | None:
        """Its publisher says that there is no such list: what it once said holds no longer. Returns: the one until now."""
        held = followed.held
        with self.lock:
            fetching = KeyFetching(self.rules.stale_seconds, self.draw)
            fetching.failures = followed.fetching.failures
            fetching.failed(now)
            followed.fetching, followed.held = fetching, None
        return held

    def pass_over(self, followed: FollowedList, fetched: FetchedList, began_at: float) -> None:
        """An older one came than is held, from a cache on the way or from whoever would bring back what is dead.

        The one that is held goes on, no longer than it would, and is asked for again as if this one had been it.
        """
        with self.lock:
            followed.fetching.succeeded(began_at, lifetime_of(fetched.ttl_seconds))

    def install(self, followed: FollowedList, fetched: FetchedList, began_at: float, wall: float) -> HeldList | None:
        """A good one came: requests find it from now on.

        Args: began_at: when it was asked for, from which everything counts; boot clock. wall: NumericDate of that moment.
        Returns: the one until now, for ``View.turn_list``.
        """
        lifetime = lifetime_of(fetched.ttl_seconds)
        usable_until = began_at + lifetime + self.rules.stale_seconds
        if fetched.ends_at is not None:
            usable_until = min(usable_until, began_at + (fetched.ends_at - wall))
        held, before = HeldList(fetched.status_list, fetched.issued_at, usable_until, followed.handle), followed.held
        with self.lock:
            followed.fetching.succeeded(began_at, lifetime)
            followed.held = held
        return before


def lifetime_of(ttl_seconds: float | None) -> float:
    """Seconds after which a list is fetched again, within our own bounds."""
    seconds = DEFAULT_LIFETIME_SECONDS if ttl_seconds is None else ttl_seconds
    return min(MOST_LIFETIME_SECONDS, max(LEAST_LIFETIME_SECONDS, seconds))
