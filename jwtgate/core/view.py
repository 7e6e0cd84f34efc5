"""One process's knowledge: live rulings, the place in the change log, the lease, the admitted tokens.

Invariant: while ``now < lease_until`` (boot clock), every ruling acknowledged to anybody before ``lease_until`` minus one
lease is applied here: it is in ``rulings`` (or the view is incomplete) and nothing in ``admitted`` carries its handle.
So a hit needs two comparisons and no lock.

The rules of the design kept here, by letter:

F1  ``load`` installs a snapshot and clears the admitted tokens; until then the view is not live. An empty view never means
    "not revoked". A reload merges: knowledge is never given up, whether or not history was lost.
F3  ``grant`` counts the lease from the moment the read was sent; liveness is a comparison at decision time, never a timer.
F4  ``apply`` and ``admit`` run under the same lock; the position moves only after the evictions.
R1  ``fence`` and a lapsed lease stop admission from memory; ``rulings`` go on refusing.
R3  ``admit`` refuses a late fill: facts of another epoch, older than what is remembered, or ruled on since.
W4  ``give_up`` ends the lease and the grace before the worker deregisters.

Reads no clock: times are arguments. Decides no request: ``core.gate`` does.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import TYPE_CHECKING

from jwtgate.core.history import Entry, LogEnd, Written
from jwtgate.core.lru import Admitted, AdmittedTokens
from jwtgate.core.rulings import Ruling, UnreadableRuling, merge
from jwtgate.core.sessions.seen import SeenSessions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["Known", "View"]

RECENT_LIMIT = 4096
"""Handles ruled on most recently, remembered with their positions for late fills (R3): half a MiB at the most, and at 1,000
rulings a second still four seconds, longer than any look-up may take."""


@dataclass(slots=True)
class Known:
    """What is known of some handles at one position of one epoch; rulings are encoded, None where there is none.

    ``ends_at``: under ``VALIDITY=allowlist``, when the token's session ends, on the boot clock.
    """

    epoch: str
    position: int
    rulings: list[bytes | None]
    is_complete: bool = True
    ends_at: float = inf


class Rulings(dict[bytes, bytes]):
    """Handle to encoded ruling, and whether none is left out: one object, so a reader without a lock gets both together."""

    __slots__ = ("is_complete",)

    def __init__(self) -> None:
        super().__init__()
        self.is_complete = True


class View:
    """See the module. ``lock`` guards every method that says so."""

    def __init__(
        self,
        lock: AbstractContextManager[object],
        *,
        lease_seconds: float,
        grace_seconds: float,
        admitted_limit: int,
        rulings_limit: int,
        wide_handles: frozenset[bytes],
    ) -> None:
        """Args: wide_handles: digests of the issuer-wide handles: a ruling on one of them clears the admitted tokens."""
        self.lock = lock
        self.lease_seconds = lease_seconds
        self.grace_seconds = grace_seconds
        self.rulings_limit = rulings_limit
        self.wide_handles = wide_handles
        self.lease_until = -inf
        self.grace_until = -inf
        self.granted_at: float | None = None
        self.epoch: str | None = None
        self.end: LogEnd | None = None
        self.rulings = Rulings()
        self.admitted = AdmittedTokens(admitted_limit)
        self.seen = SeenSessions(admitted_limit)
        self.recent: OrderedDict[bytes, int] = OrderedDict()
        self.recent_floor = -1
        self._to_purge: Iterator[tuple[bytes, bytes]] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it holds every live ruling."""
        return self.rulings.is_complete

    def is_live(self, now: float) -> bool:
        """Whether memory alone may admit at boot time ``now`` (R1)."""
        return now < self.lease_until

    def known(self, digests: Iterable[bytes]) -> Known:
        """What memory says. The position is read first: what is applied meanwhile makes the answer only stricter."""
        epoch, end = self.epoch, self.end
        rulings = self.rulings
        found = [rulings.get(digest) for digest in digests]
        return Known(epoch or "", -1 if end is None else end.position, found, rulings.is_complete)

    # --- the follower's side

    def grant(self, sent_at: float) -> None:
        """F3: trusts the view for one lease from when the granting read was sent; takes the lock."""
        with self.lock:
            self.granted_at = sent_at
            self.lease_until = max(self.lease_until, sent_at + self.lease_seconds)
            self.grace_until = max(self.grace_until, sent_at + self.lease_seconds + self.grace_seconds)

    def fence(self) -> None:
        """Stops trusting memory at once: history may be lost or has a gap. What is known goes on refusing."""
        with self.lock:
            self.lease_until = -inf

    def give_up(self) -> None:
        """W4: neither lease nor grace, and nothing admitted; takes the lock."""
        with self.lock:
            self.lease_until = self.grace_until = -inf
            self.granted_at = None
            self.admitted.clear()

    def forget_admitted(self) -> None:
        """Clears the admitted tokens: the wall clock stepped, their deadlines mean nothing."""
        with self.lock:
            self.admitted.clear()

    def load(self, snapshot: dict[bytes, bytes], epoch: str, end: LogEnd) -> None:
        """F1: installs what the store holds, merged with what is known; takes the lock."""
        with self.lock:
            self.lease_until = -inf
            self.admitted.clear()
            self.recent.clear()
            self.recent_floor = end.position
            rulings = Rulings()
            for source in (snapshot, self.rulings):
                for digest, text in source.items():
                    self._learn(rulings, digest, text, epoch)
            self.rulings = rulings  # in one step: readers hold no lock, and at no moment is less known than before
            self.epoch, self.end = epoch, end

    def apply(self, entries: Iterable[Entry]) -> None:
        """F4: evicts under each handle, then moves the position; takes the lock. The entries must follow ``end``."""
        with self.lock:
            for entry in entries:
                self._rule(entry.digest, entry.ruling, entry.position, self.epoch or "")
                self.end = LogEnd(entry.position, entry.link, entry.cursor)

    def learn(self, written: Written, digests: Iterable[bytes]) -> None:
        """Applies this process's own write at once; the follower will meet it again in the log. Takes the lock."""
        first = written.end.position - len(written.rulings) + 1
        with self.lock:
            for offset, (digest, text) in enumerate(zip(digests, written.rulings, strict=True)):
                self._rule(digest, text, first + offset, written.epoch.name)

    def purge(self, now: float, slice_size: int) -> bool:
        """Forgets rulings that no token can be under any more: looks at the next slice, says whether more is left.

        Args: now: wall clock, seconds. slice_size: rulings to look at.
        """
        if self._to_purge is None:
            self._to_purge = iter(self.rulings.copy().items())
        batch = list(islice(self._to_purge, slice_size))
        for digest, text in batch:
            try:
                until = Ruling.decode(text).until
            except UnreadableRuling:
                continue
            if until is not None and until < now:
                with self.lock:
                    if self.rulings.get(digest) == text:
                        del self.rulings[digest]
        if len(batch) < slice_size:
            self._to_purge = None
        return self._to_purge is not None

    # --- the requests' side

    def admit(self, key: bytes, entry: Admitted, facts: Known, handles: Iterable[bytes], now: float) -> bool:
        """R3: remembers a verified token unless something was ruled on it since ``facts``; one step under the lock.

        Args:
            key: digest of token and source.
            entry: the verified token.
            facts: what the verdict was based on.
            handles: all digests of the token, the issuer-wide one too.
            now: boot clock.
        """
        with self.lock:
            if not now < self.lease_until or facts.epoch != self.epoch or facts.position < self.recent_floor:
                return False
            if any(self.recent.get(handle, -1) > facts.position for handle in handles):
                return False
            self.admitted.insert(key, entry)
        if not entry.is_seen:
            self.seen.note(entry)
        return True

    # --- under the lock

    def _rule(self, digest: bytes, text: bytes, position: int, epoch: str) -> None:
        if digest in self.wide_handles:
            self.admitted.clear()
        else:
            self.admitted.evict(digest)
        self.recent[digest] = max(position, self.recent.pop(digest, -1))
        if len(self.recent) > RECENT_LIMIT:
            _, oldest = self.recent.popitem(last=False)
            self.recent_floor = max(self.recent_floor, oldest)
        self._learn(self.rulings, digest, text, epoch)

    def _learn(self, rulings: Rulings, digest: bytes, text: bytes, epoch: str) -> None:
        """Merges; of two texts of which one cannot be read the other stands."""
        known = rulings.get(digest)
        if known is None:
            if len(rulings) >= self.rulings_limit:
                rulings.is_complete = False
                return
            rulings[digest] = text
        elif known != text:
            try:
                one = Ruling.decode(known)
            except UnreadableRuling:
                rulings[digest] = text
                return
            with suppress(UnreadableRuling):
                rulings[digest] = merge(one, Ruling.decode(text), epoch).encode()
