"""When a published JWK Set is fetched, and for how long what came of it may be used: one issuer, one process.

Theory of operation. A fetch is due, in this order of urgency

    nothing known      at once, then after growing pauses with jitter
    a kid is unknown   at once, at most one fetch per COOL_DOWN_SECONDS, however it ends
    the set is old     at three quarters of its lifetime, then after growing pauses

and never two at a time: one thread performs them. Invariants: while a set is in use there is at most one fetch per cool-down,
whatever asks for it and however it ends. The last good set serves until its lifetime and ``stale_seconds`` are over, whatever
the endpoint does. A kid is called unknown only by a set that was fetched less than one cool-down ago, else the provider may
have rotated and nobody can know.

Reads no clock and fetches nothing: ``runtime.fetching`` does. RFC 7517 §5, RFC 9111 §4.2, OpenID Connect Core §10.1.1.
"""

from __future__ import annotations

import re
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["COOL_DOWN_SECONDS", "DEFAULT_LIFETIME_SECONDS", "KeyFetching", "lifetime_of"]

COOL_DOWN_SECONDS = 30.0
"""Between two fetches that unknown kids ask for: anybody can invent one."""

DEFAULT_LIFETIME_SECONDS = 300.0
LEAST_LIFETIME_SECONDS = 60.0
MOST_LIFETIME_SECONDS = 3600.0
"""A provider that says a day means browsers; a key that it takes away must go here, too."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0

_MAX_AGE = re.compile(r"(?:^|[\s,;])max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


def lifetime_of(cache_control: str | None) -> float:
    """Seconds a set may be used before it is fetched again (RFC 9111 §5.2.2.1), within our own bounds."""
    match = _MAX_AGE.search(cache_control or "")
    seconds = DEFAULT_LIFETIME_SECONDS if match is None else float(match[1])
    return min(MOST_LIFETIME_SECONDS, max(LEAST_LIFETIME_SECONDS, seconds))


class KeyFetching:
    """One issuer's set as time goes by. All times are boot clock, seconds. The caller holds a lock."""

    def __init__(self, stale_seconds: float, draw: Callable[[], float]) -> None:
        """Args: stale_seconds: ``JWKS_STALE``, for which a set outlives its lifetime. draw: random numbers in [0, 1)."""
        self.stale_seconds = stale_seconds
        self.draw = draw
        self.fetched_at = -inf
        self.asked_at = -inf
        self.expires_at = -inf
        self.due_at = -inf
        self.failures = 0
        self.is_under_way = False

    @property
    def usable_until(self) -> float:
        """From when on what was fetched may not be used any more."""
        return self.expires_at + self.stale_seconds

    def is_usable(self, now: float) -> bool:
        """Whether there is a set, and not too old a one."""
        return now < self.usable_until

    def doubts(self, now: float) -> bool:
        """What an unknown kid means. True: nobody can know; a fetch is due as soon as may be. False: there is no such key."""
        if self.is_usable(now) and now - self.fetched_at < COOL_DOWN_SECONDS:
            return False
        self.due_at = min(self.due_at, max(now, self.asked_at + COOL_DOWN_SECONDS))
        return True

    def is_coming(self, now: float) -> bool:
        """Whether a set may be here in a moment: one is being fetched, or is to be at once, and the last time there was one."""
        return not self.failures and (self.is_under_way or self.due_at <= now)

    def began(self, now: float) -> None:
        """A fetch begins."""
        self.asked_at = now
        self.is_under_way = True
        self.due_at = inf  # until its end says when the next one is

    def succeeded(self, now: float, lifetime_seconds: float) -> None:
        """A set came that can be used."""
        self.failures = 0
        self.is_under_way = False
        self.fetched_at = self.asked_at
        self.expires_at = now + lifetime_seconds
        self.due_at = now + lifetime_seconds * (0.7 + 0.1 * self.draw())

    def failed(self, now: float) -> None:
        """None came, or none that can be used: the one before goes on."""
        self.failures += 1
        self.is_under_way = False
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self.failures - 1, 10))
        self.due_at = now + pause * (0.5 + 0.5 * self.draw())
        if self.is_usable(now):
            self.due_at = max(self.due_at, self.asked_at + COOL_DOWN_SECONDS)
